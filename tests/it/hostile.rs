//! What means harm is refused, with its own code, over every path; the process lives, and its answers stay small and quote
//! nothing. How much time a refusal takes is measured in `benches/hostile.rs`.

mod corpus;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{Kit, Server, Tenant, on_each_database};
use tokio::time::timeout;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use self::corpus::{Hostile, corpus};

/// Longer than any refusal takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(1);

/// The largest part of an answer that errors may be.
const ERRORS_BYTES_MAX: usize = 16 * 1024;

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_default()
}

async fn post(server: &Server, key: &str, body: Vec<u8>) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let request = client.post(server.url("/graphql")).bearer_auth(key);
    let request = request
        .header("content-type", "application/json")
        .body(body);
    Ok(request.send().await?.json().await?)
}

/// The answer that a body of the corpus must have, whoever sends it and however.
fn check(hostile: &Hostile, answer: &Value) {
    let name = hostile.name;
    assert_eq!(code(answer), hostile.code, "{name}: {answer}");
    let errors = answer["errors"].as_array().map_or(0, Vec::len);
    assert!(errors <= 20, "{name}: {errors} errors");
    let bytes = answer["errors"].to_string().len();
    assert!(bytes <= ERRORS_BYTES_MAX, "{name}: {bytes} bytes of errors");
    for word in ["secretword", "aaaaaaaa", "xxxxxxxx", "f17"] {
        assert!(
            !answer.to_string().contains(word),
            "{name} is quoted: {answer}"
        );
    }
    assert!(
        !answer.to_string().contains("Did you mean"),
        "{name}: {answer}"
    );
}

async fn lives(server: &Server, tenant: &Tenant) -> anyhow::Result<()> {
    let alive = post(
        server,
        &tenant.secret_key,
        br#"{"query":"{ tenant { name } }"}"#.to_vec(),
    );
    assert_eq!(alive.await?["data"]["tenant"]["name"], "acme");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_body_is_refused_by_post() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        for hostile in corpus() {
            for key in [&acme.secret_key, &acme.publishable_key] {
                let answer = post(&server, key, hostile.body.clone()).await;
                check(&hostile, &answer.context(hostile.name)?);
            }
        }
        lives(&server, &acme).await?;
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_document_is_refused_by_get_in_a_batch_and_as_a_persisted_one()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        for hostile in corpus() {
            let Ok(body) = serde_json::from_slice::<Value>(&hostile.body) else {
                continue;
            };
            // once read, names that are given twice are one
            if body.to_string().len() < hostile.body.len() / 2 {
                continue;
            }
            let text = body["query"].as_str().unwrap_or_default();
            if text.len() < 30_000 && body["variables"].is_null() {
                let url =
                    reqwest::Url::parse_with_params(&server.url("/graphql"), [("query", text)])?;
                let answer = client.get(url).bearer_auth(&acme.secret_key).send().await?;
                check(&hostile, &answer.json().await?);
            }
            if hostile.body.len() < 500_000 {
                let batch = json!([{"query": "{ tenant { name } }"}, body]).to_string();
                let answer = post(&server, &acme.secret_key, batch.into_bytes()).await?;
                // what is too much for the reader refuses the whole batch
                let part = if answer.is_array() {
                    &answer[1]
                } else {
                    &answer
                };
                check(&hostile, part);
            }
            let mut persisted = body.clone();
            let hash = sha256(text);
            persisted["extensions"] = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
            let bytes = persisted.to_string().into_bytes();
            if bytes.len() < 1024 * 1024 {
                check(&hostile, &post(&server, &acme.secret_key, bytes).await?);
            }
            // one that its variables make too much is registered, and harmless without them
            if !hostile.code.is_empty() && body["variables"].is_null() && text != "{ __typename }" {
                let named = json!({"documentId": format!("sha256:{hash}")}).to_string();
                let answer = post(&server, &acme.secret_key, named.into_bytes()).await?;
                assert!(
                    ["PERSISTED_QUERY_NOT_FOUND", hostile.code].contains(&code(&answer)),
                    "{}: {answer}",
                    hostile.name
                );
            }
        }
        lives(&server, &acme).await?;
        server.stop().await
    })
    .await
}

fn sha256(text: &str) -> String {
    api::base::fingerprint(text.as_bytes())
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn socket(server: &Server, key: &str) -> anyhow::Result<Socket> {
    let mut request = server.ws_url().into_client_request()?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = connect_async(request).await?;
    let init =
        json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {key}")}});
    socket.send(Message::text(init.to_string())).await?;
    loop {
        let heard = timeout(PATIENCE, socket.next()).await?;
        if heard
            .context("the socket ended")??
            .to_text()?
            .contains("connection_ack")
        {
            break;
        }
    }
    Ok(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_document_is_refused_on_a_websocket() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        for hostile in corpus() {
            let mut socket = socket(&server, &acme.secret_key).await?;
            let mut message = br#"{"type":"subscribe","id":"1","payload":"#.to_vec();
            message.extend(&hostile.body);
            message.push(b'}');
            let Ok(text) = String::from_utf8(message) else {
                continue;
            };
            if text.len() > 1024 * 1024 {
                continue;
            }
            socket.send(Message::text(text)).await?;
            let told = loop {
                match timeout(PATIENCE, socket.next())
                    .await?
                    .context("the socket ended")??
                {
                    Message::Text(text) => {
                        let told: Value = serde_json::from_str(&text)?;
                        if told["id"] == "1" {
                            break told;
                        }
                    }
                    Message::Close(close) => {
                        break json!({"close": u16::from(close.context("no code")?.code)});
                    }
                    _ => {}
                }
            };
            if let Some(close) = told["close"].as_u64() {
                assert_eq!(close, 4400, "{}", hostile.name);
            } else if told["type"] == "error" {
                check(&hostile, &json!({"errors": told["payload"]}));
            } else {
                assert_eq!(hostile.code, "", "{}: {told}", hostile.name);
            }
        }
        lives(&server, &acme).await?;
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn errors_are_twenty_at_most_and_small_and_tell_where_without_quoting() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let made =
            r#"mutation { contactUpsert(input: {externalId: "u1"}) { userErrors { code } } }"#;
        kit.gql(&acme.secret_key, made, json!({})).await;
        // fields that fail, since there is no PostHog, each under a name of 128 bytes
        let long = "a".repeat(128);
        let fails = (0..30)
            .map(|n| format!("{}{n:02}: metric(key: \"m\") {{ value }} ", &long[2..]))
            .collect::<Vec<_>>()
            .concat();
        let fails =
            format!("{{ contact(by: {{externalId: \"u1\"}}) {{ analytics {{ {fails} }} }} }}");
        let answer = kit.gql(&acme.secret_key, &fails, json!({})).await;
        assert_eq!(
            answer["errors"].as_array().map(Vec::len),
            Some(20),
            "{answer}"
        );
        assert!(answer["errors"].to_string().len() <= ERRORS_BYTES_MAX);
        let unknown = format!("{{ contacts {{ {long}: secretWord }} }}");
        let answer = kit.gql(&acme.secret_key, &unknown, json!({})).await;
        ensure!(
            answer["errors"][0]["message"] == "Unknown field \"…\" on type \"ContactConnection\".",
            "{answer}"
        );
        assert_eq!(
            answer["errors"][0]["locations"][0],
            json!({"line": 1, "column": 14})
        );
        Ok(())
    })
    .await
}

/// A kit's `Value` never holds what a client may not see, whoever asks: names that are hidden are not suggested either.
#[tokio::test]
async fn a_hidden_field_is_never_suggested() -> anyhow::Result<()> {
    on_each_database(async |kit: Kit| {
        let acme = kit.tenant("acme").await?;
        for credential in [&acme.publishable_key, &acme.secret_key] {
            let near = kit
                .gql(credential, "{ tenantz tenan { name } }", json!({}))
                .await;
            let far = kit
                .gql(credential, "{ qqqqqqq qqqqq { name } }", json!({}))
                .await;
            assert_eq!(near["errors"][0]["message"], far["errors"][0]["message"]);
            assert_eq!(
                near["errors"][0]["message"],
                "Unknown field \"…\" on type \"Query\"."
            );
        }
        Ok(())
    })
    .await
}
