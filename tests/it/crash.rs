//! kill -9 at random moments, with the real binaries, on both databases: what was acknowledged is there, once,
//! and reached PostHog under one uuid.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::{
    Kind, on_each_place,
    process::{Growthos, Process, binary},
};
use tokio::{process::Command, task::JoinSet, time::sleep};
use uuid::Uuid;

const EVENTS: usize = 10_000;
const BATCH: usize = 25;
const SENDERS: usize = 4;
const KILLS: usize = 20;
/// Each is known by a browser's id first, and by a user's id later on.
const PEOPLE: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_survive_kill_9_and_reach_posthog_once() -> anyhow::Result<()> {
    on_each_place(async |kind: Kind, url: &str| {
        survive(url).await.with_context(|| format!("on {kind}"))
    })
    .await
}

async fn survive(database_url: &str) -> anyhow::Result<()> {
    let (_double, posthog) = Process::start_announced({
        let mut command = Command::new(binary("posthog-double", "TEST_POSTHOG_DOUBLE")?);
        command.args(["--port", "0"]);
        command
    })
    .await?;
    let mut growthos = Growthos::start(database_url).await?;
    let base = growthos.base.clone();
    connect(&growthos, &posthog).await?;

    let sent = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send(
            base.clone(),
            growthos.key("publishableKey")?,
            sender,
            Arc::clone(&sent),
        ));
    }
    // Spread over the whole run, at moments that no step of the product knows of.
    for kill in 0..KILLS {
        let due = EVENTS * (kill + 1) / (KILLS + 1);
        while sent.load(Ordering::Relaxed) < due {
            sleep(Duration::from_millis(3)).await;
        }
        sleep(Duration::from_millis(u64::try_from(kill * 7 % 40)?)).await;
        growthos.kill_and_serve().await?;
    }
    let mut acknowledged = HashSet::new();
    while let Some(done) = senders.join_next().await {
        acknowledged.extend(done??);
    }
    ensure!(
        acknowledged.len() == EVENTS,
        "only {} were acknowledged",
        acknowledged.len()
    );

    let stored = graphql(
        &base,
        &growthos.key("secretKey")?,
        "{ events(first: 1, filter: {name: {eq: \"tick\"}}) { totalCount } contacts(first: 1) { totalCount } }",
        json!({}),
    )
    .await?;
    ensure!(
        stored["data"]["events"]["totalCount"] == json!(EVENTS),
        "each event is in the log once: {stored}"
    );
    ensure!(
        stored["data"]["contacts"]["totalCount"] == json!(PEOPLE),
        "each person is one contact: {stored}"
    );
    forwarded(&posthog, &acknowledged).await
}

/// Sends its share in batches; what is not acknowledged is sent again as it was.
async fn send(
    base: String,
    token: String,
    sender: usize,
    sent: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Uuid>> {
    let client = reqwest::Client::new();
    let mut acknowledged = vec![];
    for batch in 0..EVENTS / SENDERS / BATCH {
        let first = (batch * SENDERS + sender) * BATCH;
        let mut uuids = vec![];
        let mut events = vec![];
        for number in first..first + BATCH {
            let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("tick {number}").as_bytes());
            let person = number % PEOPLE;
            uuids.push(uuid);
            events.push(json!({
                "uuid": uuid, "event": "tick", "distinct_id": format!("browser-{person}"),
                "timestamp": "2026-11-01T10:00:00.000Z", "properties": {"number": number, "$set": {"last": number}},
            }));
            if number / PEOPLE == 5 {
                events.push(json!({
                    "uuid": Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("identify {person}").as_bytes()),
                    "event": "$identify", "distinct_id": format!("user-{person}"),
                    "timestamp": "2026-11-01T10:00:01.000Z",
                    "properties": {"$anon_distinct_id": format!("browser-{person}")},
                }));
            }
        }
        let body = json!({"api_key": token, "batch": events});
        loop {
            let answer = client
                .post(format!("{base}/batch/"))
                .timeout(Duration::from_secs(20))
                .json(&body)
                .send()
                .await;
            match answer {
                Ok(answer) if answer.status() == 200 => break,
                // Anything but an outage is a bug: it would make a client drop its events.
                Ok(answer) => ensure!(answer.status() == 503, "a batch was refused: {answer:?}"),
                Err(_) => {}
            }
            sleep(Duration::from_millis(20)).await;
        }
        sent.fetch_add(BATCH, Ordering::Relaxed);
        acknowledged.extend(uuids);
    }
    Ok(acknowledged)
}

async fn connect(growthos: &Growthos, posthog: &Value) -> anyhow::Result<()> {
    let url = &posthog["url"];
    let connected = graphql(
        &growthos.base,
        &growthos.key("secretKey")?,
        "mutation($input: PosthogConnectInput!) { posthogConnect(input: $input) { connection { id } userErrors { field message } } }",
        json!({"input": {
            "ingestHost": url, "apiHost": url, "uiHost": url,
            "projectId": posthog["projectId"].to_string(),
            "projectToken": posthog["token"], "personalApiKey": posthog["key"],
        }}),
    )
    .await?;
    ensure!(
        connected["data"]["posthogConnect"]["connection"]["id"].is_string(),
        "posthogConnect: {connected}"
    );
    Ok(())
}

async fn graphql(base: &str, key: &str, query: &str, variables: Value) -> anyhow::Result<Value> {
    Ok(reqwest::Client::new()
        .post(format!("{base}/graphql"))
        .bearer_auth(key)
        .json(&json!({"query": query, "variables": variables}))
        .send()
        .await?
        .json()
        .await?)
}

/// Waits until PostHog has all of them, and holds what it got against what was sent.
async fn forwarded(posthog: &Value, acknowledged: &HashSet<Uuid>) -> anyhow::Result<()> {
    let url = format!(
        "{}/_double/events?event=tick",
        posthog["url"].as_str().unwrap_or_default()
    );
    let client = reqwest::Client::new();
    let mut got: Vec<Value> = vec![];
    for _ in 0..600 {
        got = client.get(&url).send().await?.json().await?;
        let uuids: HashSet<&str> = got
            .iter()
            .filter_map(|event| event["uuid"].as_str())
            .collect();
        if uuids.len() >= acknowledged.len() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    // PostHog tells one event from another by these; only its own number says which event it is.
    let mut by_number: HashMap<String, HashSet<(String, String, String)>> = HashMap::new();
    let mut uuids = HashSet::new();
    for event in &got {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        uuids.insert(text("uuid").parse::<Uuid>()?);
        by_number
            .entry(event["properties"]["number"].to_string())
            .or_default()
            .insert((text("uuid"), text("distinct_id"), text("timestamp")));
    }
    ensure!(
        uuids == *acknowledged,
        "PostHog has {} of {}",
        uuids.len(),
        acknowledged.len()
    );
    let twice: Vec<_> = by_number
        .iter()
        .filter(|(_, sent)| sent.len() > 1)
        .take(3)
        .collect();
    ensure!(
        twice.is_empty(),
        "sent under more than one identity: {twice:?}"
    );
    Ok(())
}
