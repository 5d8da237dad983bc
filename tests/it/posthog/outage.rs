//! PostHog down, slow or limiting: the contact stands, each joined field says why it is missing.

use std::time::{Duration, Instant};

use posthog_double::{Double, Endpoint, Failure};
use serde_json::{Value, json};
use tests::{Kind, Kit, Tenant, on_each_database};

use super::stage::{Sent, Stage, contact, requests, send};

const fn status(code: u16) -> Failure {
    Failure::Status {
        code,
        retry_after: None,
        times: None,
    }
}

/// Asks for a window that nobody asked for before, so that no answer is known.
async fn ask(stage: &Stage, tenant: &Tenant, id: &str, minutes: u32) -> Value {
    let query = format!(
        "query($ids: [ID!]!) {{ people(ids: $ids) {{ id analytics {{ activity(window: \"PT{minutes}M\") {{ eventCount }} }} }} }}"
    );
    stage.gql(tenant, &query, json!({"ids": [id]})).await
}

/// The contact without its activity, and one error at the activity's path.
fn assert_missing(answer: &Value, id: &str, code: &str) {
    assert_eq!(
        answer["data"],
        json!({"people": [{"id": id, "analytics": {"activity": null}}]}),
        "{answer}"
    );
    assert_eq!(
        answer["errors"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
    assert_eq!(
        answer["errors"][0]["path"],
        json!(["people", 0, "analytics", "activity"])
    );
    assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
}

fn asked(double: &Double) -> usize {
    requests(double, Endpoint::Query).len() - 1 // the probe's
}

#[tokio::test]
async fn after_five_failures_posthog_is_left_alone_and_then_tried_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let id = contact(&tenant, &["ann"], json!({})).await;
        double.fail(Endpoint::Query, status(500));
        for minutes in 1..=7 {
            let answer = ask(&stage, &tenant, &id, minutes).await;
            assert_missing(&answer, &id, "POSTHOG_UNAVAILABLE");
            let shut = minutes > 5;
            let message = if shut {
                "PostHog failed repeatedly and is left alone for a while"
            } else {
                "PostHog failed with 500"
            };
            assert_eq!(answer["errors"][0]["message"], message);
            assert_eq!(
                answer["errors"][0]["extensions"]["retryAfter"],
                if shut { json!(10) } else { Value::Null }
            );
        }
        assert_eq!(asked(&double), 5);
        stage.advance(10);
        assert_missing(
            &ask(&stage, &tenant, &id, 1).await,
            &id,
            "POSTHOG_UNAVAILABLE",
        );
        assert_missing(
            &ask(&stage, &tenant, &id, 2).await,
            &id,
            "POSTHOG_UNAVAILABLE",
        );
        assert_eq!(asked(&double), 6, "one trial");
        stage.advance(19);
        assert_missing(
            &ask(&stage, &tenant, &id, 1).await,
            &id,
            "POSTHOG_UNAVAILABLE",
        );
        assert_eq!(
            asked(&double),
            6,
            "which failed, so the wait is twice as long"
        );
        double.heal();
        stage.advance(1);
        for minutes in 1..=3 {
            let answer = ask(&stage, &tenant, &id, minutes).await;
            assert_eq!(
                answer["data"]["people"][0]["analytics"]["activity"]["eventCount"], 0,
                "{answer}"
            );
        }
        assert_eq!(asked(&double), 9);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_limit_is_told_with_its_wait_and_kept_for_its_tenant_alone() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let other = stage.connected("other", &double).await;
        let id = contact(&tenant, &["ann"], json!({})).await;
        let others = contact(&other, &["ann"], json!({})).await;
        double.fail(
            Endpoint::Query,
            Failure::Status {
                code: 429,
                retry_after: Some(59),
                times: Some(1),
            },
        );
        for wait in [59, 40, 1] {
            let answer = ask(&stage, &tenant, &id, 1).await;
            assert_missing(&answer, &id, "POSTHOG_RATE_LIMITED");
            assert_eq!(answer["errors"][0]["extensions"]["retryAfter"], wait);
            stage.advance(if wait == 59 { 19 } else { 39 });
            if wait == 1 {
                break;
            }
        }
        let before = requests(&double, Endpoint::Query).len();
        let answer = ask(&stage, &other, &others, 1).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        let answer = ask(&stage, &tenant, &id, 1).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        assert_eq!(requests(&double, Endpoint::Query).len(), before + 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_budget_of_queries_is_spent_before_posthog_says_so() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let id = contact(&tenant, &["ann"], json!({})).await;
        for minutes in 1..=60 {
            let answer = ask(&stage, &tenant, &id, minutes).await;
            assert_eq!(answer.get("errors"), None, "{answer}");
        }
        assert_missing(
            &ask(&stage, &tenant, &id, 61).await,
            &id,
            "POSTHOG_RATE_LIMITED",
        );
        assert_eq!(asked(&double), 60);
        stage.advance(1);
        for minutes in 61..=63 {
            let answer = ask(&stage, &tenant, &id, minutes).await;
            assert_eq!(answer.get("errors"), None, "{answer}");
        }
        assert_missing(
            &ask(&stage, &tenant, &id, 64).await,
            &id,
            "POSTHOG_RATE_LIMITED",
        );
        Ok(())
    })
    .await
}

/// The database makes no difference here, and each case waits for real time-outs.
#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up_after_ten_seconds() -> anyhow::Result<()> {
    let stage = Stage::new(Kit::new(Kind::Sqlite).await?);
    let double = stage.double().await;
    let tenant = stage.connected("acme", &double).await;
    let id = contact(&tenant, &["ann"], json!({})).await;
    double.fail(Endpoint::Query, Failure::Timeout { times: Some(1) });
    double.fail(Endpoint::Query, Failure::HalfOpen { times: Some(1) });
    double.fail(Endpoint::Query, Failure::Reset { times: Some(1) });
    let began = Instant::now();
    let (silent, half) = tokio::join!(ask(&stage, &tenant, &id, 1), ask(&stage, &tenant, &id, 2));
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(14)).contains(&took),
        "{took:?}"
    );
    for answer in [silent, half] {
        assert_missing(&answer, &id, "POSTHOG_UNAVAILABLE");
        assert_eq!(
            answer["errors"][0]["message"],
            "PostHog did not answer in time"
        );
    }
    let reset = ask(&stage, &tenant, &id, 3).await;
    assert_missing(&reset, &id, "POSTHOG_UNAVAILABLE");
    assert!(
        reset["errors"][0]["message"]
            .as_str()
            .unwrap()
            .starts_with("PostHog cannot be reached"),
        "{reset}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_known_is_shown_while_posthog_is_down() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let id = contact(&tenant, &["ann"], json!({})).await;
        send(&double, &[Sent("a", "ann", 1, json!({}))]).await;
        ask(&stage, &tenant, &id, 5).await;
        double.fail(Endpoint::Query, status(503));
        let query = "query($ids: [ID!]!) { people(ids: $ids) { analytics { known: activity(window: \"PT5M\") { eventCount } unknown: activity(window: \"PT6M\") { eventCount } } } }";
        let answer = stage.gql(&tenant, query, json!({"ids": [id]})).await;
        assert_eq!(answer["data"]["people"][0]["analytics"], json!({"known": {"eventCount": 1}, "unknown": null}));
        assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn doctor_tells_whose_posthog_does_not_answer_and_why() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let told = async || -> Vec<_> {
            let config = &stage.kit.app.config;
            let findings = api::doctor::examine(config, api::base::Clock::System.now()).await;
            let posthog = findings
                .into_iter()
                .filter(|found| found.check == "posthog");
            posthog.map(|found| (found.ok, found.message)).collect()
        };
        assert_eq!(told().await, [(true, "no tenant is connected".to_owned())]);
        let (well, ill) = (stage.double().await, stage.double().await);
        let acme = stage.connected("acme", &well).await;
        let beta = stage.connected("beta", &ill).await;
        assert_eq!(
            told().await,
            [(true, "all 2 connected projects answer".to_owned())]
        );
        ill.fail(Endpoint::Query, status(503));
        assert_eq!(
            told().await,
            [(
                false,
                format!("{} at {}: PostHog failed with 503", beta.id, ill.url())
            )]
        );
        drop(ill);
        let found = told().await;
        assert_eq!(found.len(), 1, "{found:?}");
        let (ok, message) = &found[0];
        assert!(
            !ok && message.contains("PostHog cannot be reached"),
            "{message}"
        );
        assert!(message.starts_with(&beta.id.to_string()), "{message}");
        stage.disconnect(&beta).await;
        assert_eq!(
            told().await,
            [(true, "the one connected project answers".to_owned())]
        );
        // What was sealed with another key opens no more.
        let mut config = (*stage.kit.app.config).clone();
        config.secret_key = Some("another key than every kit has".into());
        let findings = api::doctor::examine(&config, api::base::Clock::System.now()).await;
        let found = findings
            .iter()
            .find(|found| found.check == "posthog")
            .unwrap();
        assert!(found.message.contains("was secret_key changed?"), "{found}");
        assert!(found.message.starts_with(&acme.id.to_string()), "{found}");
        Ok(())
    })
    .await
}
