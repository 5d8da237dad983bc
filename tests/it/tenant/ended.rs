//! Credentials that end while a socket is open: what a socket was let in with is asked for again before each operation.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{OPERATOR, on_each_database};
use tokio_tungstenite::tungstenite::Message;

use super::attacks::{scene, socket};

fn bearer(token: &str) -> Value {
    json!({"authorization": format!("Bearer {token}")})
}

/// What the server says next to a query.
async fn asked<S, E: std::fmt::Debug>(socket: &mut S, id: &str) -> Message
where
    S: futures_util::Stream<Item = Result<Message, E>> + futures_util::Sink<Message> + Unpin,
{
    let query = json!({"type": "subscribe", "id": id, "payload": {"query": "{ __typename }"}});
    assert!(socket.send(Message::text(query.to_string())).await.is_ok());
    socket.next().await.unwrap().unwrap()
}

fn assert_ended(said: &Message, what: &str) {
    let Message::Close(Some(close)) = said else {
        panic!("{what}: the socket is still open: {said}");
    };
    assert_eq!(u16::from(close.code), 4403, "{what}");
    assert_eq!(
        close.reason.as_str(),
        "forbidden: the credential has ended",
        "{what}"
    );
}

#[tokio::test]
async fn what_ends_elsewhere_ends_on_open_sockets() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let key = kit.key(&scene.acme, &["contacts:read"]).await?;
        let other = kit.key(&scene.acme, &["*"]).await?;
        let anna = scene
            .acme
            .cx
            .write(async |tx| crate::rows::contact(tx, "anna").await)
            .await?;
        let contact = kit.contact_token(&scene.acme, anna.id).await?;
        let server = kit.serve().await?;
        let url = server.ws_url();
        let mut of_key = socket(&url, bearer(&key), None).await?;
        let mut of_member = socket(&url, bearer(&scene.token), None).await?;
        let mut of_contact = socket(&url, bearer(&contact), None).await?;
        for socket in [&mut of_key, &mut of_member, &mut of_contact] {
            let answer = asked(socket, "1").await;
            assert!(answer.to_text()?.contains("\"Query\""), "{answer}");
            let complete = socket.next().await.unwrap()?;
            assert_eq!(complete.to_text()?, r#"{"id":"1","type":"complete"}"#);
        }

        let known = kit
            .gql(&other, "{ tenant { apiKeys { id name } issuers { id } } }", json!({}))
            .await;
        let tenant = &known["data"]["tenant"];
        let keys = tenant["apiKeys"].as_array().unwrap();
        let id = keys.iter().find(|row| row["name"] == "contacts:read").unwrap();
        let revoked = kit
            .gql(
                &other,
                "mutation ($id: ID!) { apiKeyRevoke(input: {id: $id}) { userErrors { message } } }",
                json!({"id": id["id"]}),
            )
            .await;
        assert_eq!(revoked["data"]["apiKeyRevoke"]["userErrors"], json!([]), "{revoked}");
        assert_ended(&asked(&mut of_key, "2").await, "a revoked key");
        let answer = asked(&mut of_member, "2").await;
        assert!(answer.to_text()?.contains("\"Query\""), "not its key: {answer}");

        let deleted = kit
            .gql(
                &other,
                "mutation ($id: ID!) { issuerDelete(input: {id: $id}) { userErrors { message } } }",
                json!({"id": tenant["issuers"][0]["id"]}),
            )
            .await;
        assert_eq!(deleted["data"]["issuerDelete"]["userErrors"], json!([]), "{deleted}");
        let complete = of_member.next().await.unwrap()?;
        assert_eq!(complete.to_text()?, r#"{"id":"2","type":"complete"}"#);
        assert_ended(&asked(&mut of_member, "3").await, "a deleted issuer");

        let suspended = kit
            .gql(
                OPERATOR,
                "mutation ($id: ID!) { tenantSuspend(input: {id: $id}) { userErrors { message } } }",
                json!({"id": scene.acme.cx.tenant().to_string()}),
            )
            .await;
        assert_eq!(suspended["data"]["tenantSuspend"]["userErrors"], json!([]), "{suspended}");
        assert_ended(&asked(&mut of_contact, "2").await, "a suspended tenant");
        server.stop().await
    })
    .await
}
