//! The stream of a contact's nudges as server-sent events, over either HTTP.

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tests::{Server, on_each_database};
use tokio::time::timeout;

use super::kit::{Ear, published, track};

/// Long enough for a busy machine; nothing waits for it where all is well.
const PATIENCE: Duration = Duration::from_secs(30);

async fn open(
    client: &Client,
    server: &Server,
    token: &str,
    last_event_id: &str,
) -> anyhow::Result<Response> {
    let query = "subscription { nudges { ... on NudgeDelivered { delivery { nudge { key } } } } }";
    Ok(client
        .post(server.url("/graphql"))
        .bearer_auth(token)
        .header("accept", "text/event-stream")
        .header("last-event-id", last_event_id)
        .json(&json!({ "query": query }))
        .send()
        .await?
        .error_for_status()?)
}

/// What is streamed until `count` events have come, or the stream has ended: each event's id, and its data.
async fn hear(stream: &mut Response, count: usize) -> anyhow::Result<Vec<(String, Value)>> {
    let mut text = String::new();
    while text.matches("\n\n").count() - text.matches(":\n\n").count() < count {
        let chunk = timeout(PATIENCE, stream.chunk())
            .await
            .with_context(|| format!("only this came: {text}"))??;
        let Some(chunk) = chunk else { break };
        text.push_str(std::str::from_utf8(&chunk)?);
    }
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    text.split_terminator("\n\n")
        .filter(|event| *event != ":")
        .map(|event| {
            let data = field(event, "data: ");
            let data = if data.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&data)?
            };
            Ok((field(event, "id: "), data))
        })
        .collect()
}

fn keys(events: &[(String, Value)]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|(_, data)| data["data"]["nudges"]["delivery"]["nudge"]["key"].as_str())
        .collect()
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_event_that_the_client_saw_last() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for key in ["one", "two", "three", "four"] {
            published(&kit, &acme, key, json!({"trigger": {"event": key}})).await?;
        }
        let server = kit.serve().await?;
        let mut ear = Ear::of(&kit, &acme);
        let contact = track(&kit, &acme, "u1", "one", json!({})).await?;
        ear.listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let plain = Client::new();
        let http2 = Client::builder().http2_prior_knowledge().build()?;

        let mut first = open(&plain, &server, &token, "").await?;
        let heard = hear(&mut first, 1).await?;
        assert_eq!(keys(&heard), ["one"]);
        drop(first);
        track(&kit, &acme, "u1", "two", json!({})).await?;
        track(&kit, &acme, "u1", "three", json!({})).await?;
        ear.listen().await?;
        let mut again = open(&http2, &server, &token, &heard[0].0).await?;
        let missed = hear(&mut again, 2).await?;
        assert_eq!(keys(&missed), ["two", "three"]);
        let mut last = open(&plain, &server, &token, &missed[1].0).await?;
        track(&kit, &acme, "u1", "four", json!({})).await?;
        ear.listen().await?;
        let live = hear(&mut last, 1).await?;
        assert_eq!(keys(&live), ["four"]);
        assert_eq!(hear(&mut again, 1).await?, live);

        let mut foreign = open(&plain, &server, &token, "nonsense").await?;
        let refused = hear(&mut foreign, 2).await?;
        assert_eq!(
            refused[0].1["errors"][0]["extensions"]["code"],
            "BAD_CURSOR"
        );
        // An open stream notices by itself when its token is over.
        kit.advance(TimeDelta::hours(2));
        for stream in [&mut again, &mut last] {
            let over = hear(stream, 2).await?;
            assert_eq!(
                over[0].1["errors"][0]["extensions"]["code"],
                "UNAUTHENTICATED"
            );
            assert_eq!(over[1].1, Value::Null, "complete");
        }
        server.stop().await
    })
    .await
}
