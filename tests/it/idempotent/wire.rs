//! What a client sees of `@idempotent`: the same bytes, on every channel, from many at once and after a restart.

use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use reqwest::Client;
use serde_json::{Value, json};
use tests::{Server, on_each_database};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use super::{events, track};

/// Its fields stand in no alphabetical order, and one of them is drawn anew for each request.
const TRACK: &str = "mutation($key: String!) { t: track(input: {event: \"paid\", userId: \"u1\"}) @idempotent(key: $key) { requestId contact { id externalId createdAt } accepted userErrors { message } } }";

async fn post(server: &Server, key: &str, body: Value) -> anyhow::Result<String> {
    post_by(&Client::new(), server, key, body).await
}

async fn post_by(
    client: &Client,
    server: &Server,
    key: &str,
    body: Value,
) -> anyhow::Result<String> {
    Ok(client
        .post(server.url("/graphql"))
        .bearer_auth(key)
        .json(&body)
        .send()
        .await?
        .text()
        .await?)
}

fn keyed(key: &str) -> Value {
    json!({"query": TRACK, "variables": {"key": key}})
}

#[tokio::test]
async fn an_answer_is_given_again_byte_for_byte_on_every_channel_and_by_another_process()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let server = kit.serve().await?;
        let first = post(&server, sk, keyed("k1")).await?;
        assert!(
            first.starts_with(r#"{"data":{"t":{"requestId":""#) && first.ends_with(r#""accepted":true,"userErrors":[]}}}"#),
            "{first}"
        );
        assert_eq!(post(&server, sk, keyed("k1")).await?, first);
        let second = post(&server, sk, keyed("k2")).await?;
        assert_ne!(second, first);
        let batch = json!([keyed("k1"), keyed("k2"), keyed("k1"), keyed("k2")]);
        assert_eq!(
            post(&server, sk, batch).await?,
            format!("[{first},{second},{first},{second}]")
        );
        let streamed = Client::new()
            .post(server.url("/graphql"))
            .bearer_auth(sk)
            .header("accept", "text/event-stream")
            .json(&keyed("k1"))
            .send()
            .await?
            .text()
            .await?;
        assert_eq!(
            streamed,
            format!("event: next\ndata: {first}\n\nevent: complete\ndata: \n\n")
        );

        let mut request = server.ws_url().into_client_request()?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("graphql-transport-ws"),
        );
        let (mut socket, _) = connect_async(request).await?;
        let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {sk}")}});
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": keyed("k1")});
        socket.send(Message::text(init.to_string())).await?;
        let next = loop {
            match socket.next().await.unwrap()? {
                Message::Text(text) if text.contains("connection_ack") => {
                    socket.send(Message::text(subscribe.to_string())).await?;
                }
                Message::Text(text) if text.contains(r#""type":"next""#) => break text,
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            next.as_str(),
            format!(r#"{{"id":"1","type":"next","payload":{first}}}"#)
        );
        assert_eq!(events(&kit, &acme).await, 2);
        drop(socket);

        // As after a restart: nothing of it is kept in a process.
        let other = kit.another_process().await?;
        server.stop().await?;
        let caller = other.principals.by_token(sk).await?;
        let request = async_graphql::Request::new(TRACK)
            .variables(async_graphql::Variables::from_json(json!({"key": "k1"})));
        let again = other.execute(&caller, request, "another request").await;
        let first: Value = serde_json::from_str(&first)?;
        assert_eq!(serde_json::to_value(&again.data)?, first["data"]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_at_once_one_works_and_each_gets_its_answer_in_the_end() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        // The contact is there before, so that the calls meet at nothing but the key.
        track(&kit, &acme.secret_key, "warm", "seen").await;
        let server = kit.serve().await?;
        let (server, sk, client) = (&server, &acme.secret_key, &Client::new());
        let until_answered = async |_| {
            for _ in 0..1_000 {
                let answer = post_by(client, server, sk, keyed("k1")).await?;
                if !answer.contains("\"errors\"") {
                    return Ok(answer);
                }
                let refused: Value = serde_json::from_str(&answer)?;
                anyhow::ensure!(
                    refused["errors"][0]["extensions"]["code"] == "CONFLICT"
                        && refused["errors"][0]["extensions"]["retryAfter"] == 1,
                    "{refused}"
                );
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            anyhow::bail!("no answer")
        };
        let answers = join_all((0..50).map(until_answered)).await;
        let mut answers = answers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(events(&kit, &acme).await, 2);
        Ok(())
    })
    .await
}
