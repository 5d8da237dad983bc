//! How many events a second are durable before they are acknowledged, and how long a nudge takes from an
//! acknowledged `track` to the frame at the client. Run on a release build:
//!
//! `cargo build --release --bins && cargo bench -p tests --bench events`
//!
//! `TEST_DATABASES` and `TEST_POSTGRES_URL` as for the tests. The load generator, the server and the database
//! share the machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{on_each_place, process::Growthos};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use uuid::Uuid;

const BATCH: usize = 50;
const CONNECTIONS: usize = 8;
const LOAD: Duration = Duration::from_secs(15);
/// Visitors whose events arrive; half of them new as the run goes on.
const PEOPLE: usize = 2_000;
const NUDGES: usize = 300;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    on_each_place(async |kind, url| {
        let bench = Bench::start(url).await?;
        println!(
            "{kind}: {:.0} events/s accepted in batches of {BATCH}",
            bench.ingest().await?
        );
        let (median, p99) = bench.nudge().await?;
        println!("{kind}: track to frame, median {median:.1?}, p99 {p99:.1?}");
        Ok(())
    })
    .await
}

struct Bench {
    growthos: Growthos,
}

impl Bench {
    async fn start(database_url: &str) -> anyhow::Result<Self> {
        let growthos = Growthos::start(database_url).await?;
        Ok(Self { growthos })
    }

    /// Events a second.
    async fn ingest(&self) -> anyhow::Result<f64> {
        let accepted = Arc::new(AtomicUsize::new(0));
        let end = Instant::now() + LOAD;
        let mut senders = JoinSet::new();
        for sender in 0..CONNECTIONS {
            let (url, token) = (
                format!("{}/batch/", self.growthos.base),
                self.growthos.key("publishableKey")?,
            );
            let accepted = Arc::clone(&accepted);
            senders.spawn(async move {
                let client = reqwest::Client::new();
                let mut number = sender * 7_919;
                while Instant::now() < end {
                    let events: Vec<Value> = (0..BATCH)
                        .map(|_| {
                            number += 1;
                            json!({
                                "uuid": Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{sender}/{number}").as_bytes()),
                                "event": "$pageview",
                                "distinct_id": format!("visitor-{}", number % PEOPLE),
                                "properties": {"$current_url": "https://shop.example/pricing", "$lib": "bench", "step": number},
                            })
                        })
                        .collect();
                    let body = json!({"api_key": token, "batch": events});
                    let answer = client.post(&url).json(&body).send().await?;
                    ensure!(answer.status() == 200, "a batch was refused: {}", answer.status());
                    accepted.fetch_add(BATCH, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = senders.join_next().await {
            done??;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let accepted = accepted.load(Ordering::Relaxed) as f64;
        Ok(accepted / LOAD.as_secs_f64())
    }

    async fn ask(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let answer: Value = reqwest::Client::new()
            .post(format!("{}/graphql", self.growthos.base))
            .bearer_auth(self.growthos.key("secretKey")?)
            .json(&json!({"query": query, "variables": variables}))
            .send()
            .await?
            .json()
            .await?;
        ensure!(answer["errors"].is_null(), "{answer}");
        Ok(answer["data"].clone())
    }

    /// Median and 99th percentile from the acknowledged `track` to the frame.
    async fn nudge(&self) -> anyhow::Result<(Duration, Duration)> {
        let saved = self
            .ask(
                "mutation($input: NudgeSaveInput!) { nudgeSave(input: $input) { nudge { id } userErrors { message } } }",
                json!({"input": {"key": "bench", "name": "Bench", "surface": "app",
                    "content": {"title": "Hello", "body": "There"}, "trigger": {"event": "ping"}}}),
            )
            .await?;
        let nudge = &saved["nudgeSave"]["nudge"]["id"];
        self.ask(
            "mutation($id: ID!) { nudgePublish(input: {id: $id}) { userErrors { message } } }",
            json!({"id": nudge}),
        )
        .await?;
        let made = self
            .ask(
                "mutation { identify(input: {userId: \"listener\"}) { contact { id } } }",
                json!({}),
            )
            .await?;
        let minted = self
            .ask(
                "mutation($id: ID!) { contactTokenCreate(input: {contactId: $id}) { token } }",
                json!({"id": made["identify"]["contact"]["id"]}),
            )
            .await?;
        let token = minted["contactTokenCreate"]["token"]
            .as_str()
            .context("no token")?;
        let mut request = format!("{}/graphql", self.growthos.base.replacen("http", "ws", 1))
            .into_client_request()?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        let (mut socket, _) = connect_async(request).await?;
        let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}});
        socket.send(Message::text(init.to_string())).await?;
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": {
            "query": "subscription { nudges { __typename ... on NudgeDelivered { delivery { id } } } }"}});
        socket
            .next()
            .await
            .ok_or_else(|| anyhow!("no acknowledgement"))??;
        socket.send(Message::text(subscribe.to_string())).await?;
        // The load before must have been heard.
        sleep(Duration::from_secs(5)).await;
        let mut took = vec![];
        for _ in 0..NUDGES {
            self.ask(
                "mutation { track(input: {event: \"ping\", userId: \"listener\"}) { accepted } }",
                json!({}),
            )
            .await?;
            let acknowledged = Instant::now();
            loop {
                let frame = timeout(Duration::from_secs(30), socket.next())
                    .await?
                    .ok_or_else(|| anyhow!("the socket closed"))??;
                if frame
                    .to_text()
                    .is_ok_and(|text| text.contains("NudgeDelivered"))
                {
                    break;
                }
            }
            took.push(acknowledged.elapsed());
        }
        took.sort_unstable();
        Ok((took[took.len() / 2], took[took.len() * 99 / 100]))
    }
}
