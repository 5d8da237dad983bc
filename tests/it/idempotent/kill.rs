//! kill -9 at moments all over a call, with the real binary: under one key it works once or not at all.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::{Kind, on_each_place, process::Growthos};
use tokio::time::sleep;

/// A tenant has at most 100 keys.
const KILLS: u64 = 20;

const CREATE: &str = "mutation($key: String!) { apiKeyCreate(input: {kind: SECRET, name: $key, scopes: [\"contacts:read\"]}) @idempotent(key: $key) { key apiKey { id } userErrors { message } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_sent_again_after_kill_9_has_worked_once_at_most() -> anyhow::Result<()> {
    on_each_place(async |kind: Kind, url: &str| {
        survive(url).await.with_context(|| format!("on {kind}"))
    })
    .await
}

async fn survive(database_url: &str) -> anyhow::Result<()> {
    let mut growthos = Growthos::start(database_url).await?;
    let (base, key) = (growthos.base.clone(), growthos.key("secretKey")?);
    let mut answered = HashMap::new();
    for round in 0..KILLS {
        // Several in flight, so that the kill meets them at different steps.
        let calls: Vec<String> = (0..4).map(|n| format!("k{round}-{n}")).collect();
        let mut sent = tokio::task::JoinSet::new();
        for call in calls.clone() {
            sent.spawn(create(base.clone(), key.clone(), call));
        }
        sleep(Duration::from_micros(500 + round * 1_200)).await;
        growthos.kill_and_serve().await?;
        // Whoever got an answer before has a promise; the others do not know.
        while let Some(done) = sent.join_next().await {
            if let (call, Ok(answer)) = done? {
                answered.insert(call, answer);
            }
        }
        for call in calls {
            let (_, again) = create(base.clone(), key.clone(), call.clone()).await;
            let again = again?;
            if let Some(first) = answered.get(&call) {
                ensure!(*first == again, "{first} and then {again}");
            }
            answered.insert(call, again);
        }
    }
    let listed = ask(&base, &key, "{ tenant { apiKeys { name } } }", Value::Null).await?;
    let mut times: HashMap<&str, usize> = HashMap::new();
    for key in listed["data"]["tenant"]["apiKeys"]
        .as_array()
        .with_context(|| listed.to_string())?
    {
        *times
            .entry(key["name"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    for (call, answer) in &answered {
        let made = times.get(call.as_str()).copied().unwrap_or_default();
        let told = &answer["data"]["apiKeyCreate"]["apiKey"]["id"];
        let code = &answer["errors"][0]["extensions"]["code"];
        ensure!(
            (told.is_string() && made == 1) || (code == "CONFLICT" && made <= 1),
            "{call} was made {made} times: {answer}"
        );
    }
    Ok(())
}

/// Sends the call; without an answer, where the process died before.
async fn create(base: String, key: String, call: String) -> (String, anyhow::Result<Value>) {
    let answer = ask(&base, &key, CREATE, json!({ "key": call })).await;
    (call, answer)
}

async fn ask(base: &str, key: &str, query: &str, variables: Value) -> anyhow::Result<Value> {
    Ok(reqwest::Client::new()
        .post(format!("{base}/graphql"))
        .bearer_auth(key)
        .json(&json!({"query": query, "variables": variables}))
        .send()
        .await?
        .json()
        .await?)
}
