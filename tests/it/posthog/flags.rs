//! Feature flags of contacts: decided here, asked for where they must be.

use std::time::{Duration, Instant};

use api::posthog::{FlagSource, FlagSubject};
use posthog_double::{Double, Endpoint, Failure};
use serde_json::{Value, json};
use tests::{Tenant, on_each_database};

use super::stage::{Stage, contact, requests};

const FLAG: &str = "key enabled variant payload reason source asOf";

fn flag(key: &str, properties: &Value) -> Value {
    json!({"id": 1, "key": key, "name": "", "active": true, "filters": {
        "groups": [{"properties": properties, "rollout_percentage": 100}],
        "payloads": {"true": "{\"copy\": \"hello\"}"},
    }})
}

/// `local` is decided here, `continuous` by PostHog alone.
fn definitions() -> Value {
    let mut continuous = flag("continuous", &json!([]));
    continuous["ensure_experience_continuity"] = json!(true);
    let pro = json!([{"key": "plan", "value": "pro", "operator": "exact", "type": "person"}]);
    let mut variants = flag("variants", &json!([]));
    variants["name"] = json!("An experiment");
    variants["filters"]["multivariate"] =
        json!({"variants": [{"key": "test", "name": "", "rollout_percentage": 100}]});
    json!({"flags": [flag("local", &pro), continuous, variants]})
}

async fn ask(stage: &Stage, tenant: &Tenant, ids: &[&str], fields: &str) -> Value {
    let query =
        format!("query($ids: [ID!]!) {{ people(ids: $ids) {{ analytics {{ {fields} }} }} }}");
    stage.gql(tenant, &query, json!({"ids": ids})).await
}

fn of<'a>(answer: &'a Value, at: usize, field: &str) -> &'a Value {
    &answer["data"]["people"][at]["analytics"][field]
}

/// Requests for flags, without the connection's probe.
fn remote(double: &Double) -> Vec<Value> {
    requests(double, Endpoint::Flags)
        .into_iter()
        .filter_map(|request| request.body)
        .skip(1)
        .collect()
}

fn polls(double: &Double) -> Vec<Option<u16>> {
    requests(double, Endpoint::Definitions)
        .into_iter()
        .skip(1)
        .map(|request| request.status)
        .collect()
}

#[tokio::test]
async fn flags_are_decided_here_and_only_what_must_be_is_asked_of_posthog() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(definitions());
        let pro = contact(&tenant, &["ann"], json!({"plan": "pro"})).await;
        let free = contact(&tenant, &["bob"], json!({"plan": "free"})).await;
        let answer = ask(&stage, &tenant, &[&pro, &free], &format!("local: featureFlag(key: \"local\") {{ {FLAG} }} none: featureFlag(key: \"variants\") {{ variant }}")).await;
        assert_eq!(
            of(&answer, 0, "local"),
            &json!({
                "key": "local", "enabled": true, "variant": null, "payload": {"copy": "hello"}, "reason": "condition_match",
                "source": "LOCAL", "asOf": stage.now(),
            }),
            "{answer}"
        );
        assert_eq!(of(&answer, 1, "local")["enabled"], false);
        assert_eq!(of(&answer, 1, "local")["payload"], Value::Null);
        assert_eq!(of(&answer, 0, "none")["variant"], "test");
        assert_eq!(remote(&double).len(), 0);

        let answer = ask(&stage, &tenant, &[&pro, &free], "featureFlags { key enabled source } two: featureFlags(keys: [\"variants\", \"local\"]) { key }").await;
        assert_eq!(
            of(&answer, 0, "featureFlags"),
            &json!([
                {"key": "local", "enabled": true, "source": "LOCAL"},
                {"key": "continuous", "enabled": true, "source": "REMOTE"},
                {"key": "variants", "enabled": true, "source": "LOCAL"},
            ]),
            "{answer}"
        );
        assert_eq!(of(&answer, 0, "two"), &json!([{"key": "variants"}, {"key": "local"}]));
        let mut asked = remote(&double);
        asked.sort_by_key(|body| body["distinct_id"].as_str().unwrap_or_default().to_owned());
        assert_eq!(asked.len(), 2, "one a contact");
        assert_eq!(asked[0]["distinct_id"], "ann");
        assert_eq!(asked[0]["person_properties"], json!({"plan": "pro"}));
        assert_eq!(asked[0]["flag_keys_to_evaluate"], json!(["continuous"]));
        ask(&stage, &tenant, &[&pro, &free], "featureFlags { key }").await;
        assert_eq!(remote(&double).len(), 2, "kept for 30 seconds");
        assert_eq!(double.events().len(), 0, "a read is no exposure");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn definitions_are_polled_every_thirty_seconds_while_read() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(definitions());
        let list = async || stage.gql(&tenant, "{ featureFlags { key name active variants { key name rolloutPercentage } } }", json!({})).await["data"]["featureFlags"].clone();
        let plain = |key: &str| json!({"key": key, "name": "", "active": true, "variants": []});
        let experiment = json!({"key": "variants", "name": "An experiment", "active": true, "variants": [{"key": "test", "name": null, "rolloutPercentage": 100.0}]});
        assert_eq!(list().await, json!([plain("local"), plain("continuous"), experiment]));
        list().await;
        assert_eq!(polls(&double), [Some(200)]);
        stage.advance(30);
        list().await;
        settle(&double, 2).await;
        assert_eq!(polls(&double), [Some(200), Some(304)], "by ETag");
        double.set_flags(json!({"flags": [flag("new", &json!([]))]}));
        stage.advance(30);
        assert_eq!(list().await.as_array().unwrap().len(), 3, "what is there is shown while news is fetched");
        settle(&double, 3).await;
        assert_eq!(list().await, json!([plain("new")]));
        double.fail(Endpoint::Definitions, Failure::Status { code: 503, retry_after: None, times: None });
        stage.advance(30);
        list().await;
        settle(&double, 4).await;
        assert_eq!(list().await, json!([plain("new")]), "the last good ones stay");
        Ok(())
    })
    .await
}

/// Waits for the poll beside the request: its answer, and a moment to be taken in.
async fn settle(double: &Double, count: usize) {
    for _ in 0..500 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if polls(double).iter().flatten().count() == count {
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn posthogs_last_word_stands_while_it_does_not_answer_and_else_a_flag_is_off()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(definitions());
        let ann = contact(&tenant, &["ann"], json!({})).await;
        let bob = contact(&tenant, &["bob"], json!({})).await;
        let fields = "featureFlag(key: \"continuous\") { enabled source } none: featureFlag(key: \"no-such\") { key }";
        let answer = ask(&stage, &tenant, &[&ann], fields).await;
        assert_eq!(answer["data"]["people"][0]["analytics"], json!({"featureFlag": {"enabled": true, "source": "REMOTE"}, "none": null}));
        double.fail(Endpoint::Flags, Failure::Status { code: 502, retry_after: None, times: None });
        stage.advance(31);
        let before = remote(&double).len();
        let answer = ask(&stage, &tenant, &[&ann, &bob], "featureFlag(key: \"continuous\") { enabled source }").await;
        assert_eq!(of(&answer, 0, "featureFlag"), &json!({"enabled": true, "source": "LAST_KNOWN"}), "{answer}");
        assert_eq!(of(&answer, 1, "featureFlag"), &json!({"enabled": false, "source": "DEFAULT"}));
        assert_eq!(remote(&double).len(), before + 4, "each is asked for once more after a gateway's failure");
        double.heal();
        double.fail(Endpoint::Flags, Failure::Quota);
        stage.advance(31);
        let answer = ask(&stage, &tenant, &[&ann], "featureFlag(key: \"continuous\") { enabled source }").await;
        assert_eq!(of(&answer, 0, "featureFlag")["source"], "LAST_KNOWN");
        Ok(())
    })
    .await
}

/// Flags of so many contacts that only PostHog can decide: where each came from, and how long the page took.
async fn page(stage: &Stage, tenant: &Tenant, ids: &[String]) -> (Vec<String>, Duration) {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let begun = Instant::now();
    let fields = "featureFlag(key: \"continuous\") { source }";
    let answer = ask(stage, tenant, &ids, fields).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let sources = (0..ids.len())
        .map(|at| of(&answer, at, "featureFlag")["source"].as_str())
        .map(|source| source.unwrap_or_default().to_owned());
    (sources.collect(), begun.elapsed())
}

async fn crowd(tenant: &Tenant, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        ids.push(contact(tenant, &[&format!("c{number}")], json!({})).await);
    }
    ids
}

#[tokio::test]
async fn a_page_waits_three_seconds_for_all_its_flags_and_asks_no_more_after_a_timeout()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(definitions());
        let ids = crowd(&tenant, 20).await;
        let (sources, _) = page(&stage, &tenant, &ids[19..]).await;
        assert_eq!(sources, ["REMOTE"]);
        stage.advance(31);
        double.fail(Endpoint::Flags, Failure::Timeout { times: None });
        let before = requests(&double, Endpoint::Flags).len();
        let (sources, took) = page(&stage, &tenant, &ids).await;
        assert_eq!(sources[..19], vec!["DEFAULT"; 19]);
        assert_eq!(sources[19], "LAST_KNOWN");
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(requests(&double, Endpoint::Flags).len(), before + 4);
        // Pages that go on hanging are PostHog's failure: soon it is not asked at all.
        page(&stage, &tenant, &ids).await;
        let (_, took) = page(&stage, &tenant, &ids).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_slow_posthog_answers_in_time_stands_beside_what_it_does_not() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(definitions());
        let ids = crowd(&tenant, 20).await;
        double.fail(
            Endpoint::Flags,
            Failure::Slow {
                delay_ms: 1_200,
                times: None,
            },
        );
        let (sources, took) = page(&stage, &tenant, &ids).await;
        let count = |source: &str| sources.iter().filter(|own| *own == source).count();
        assert_eq!((count("REMOTE"), count("DEFAULT")), (8, 12), "{sources:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        // PostHog does answer: a page that was cut short does not shut it out.
        double.heal();
        let (sources, _) = page(&stage, &tenant, &ids).await;
        assert!(
            sources.iter().all(|source| source == "REMOTE"),
            "{sources:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_definitions_only_those_whom_posthog_does_not_answer_for_fail() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.kit.tenant("acme").await?;
        let mut input = super::stage::connect_input(&double);
        input["input"]["personalApiKey"] = Value::Null;
        stage.gql(&tenant, super::stage::CONNECT, input).await;
        double.set_flags(definitions());
        let ids = crowd(&tenant, 2).await;
        let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
        ask(
            &stage,
            &tenant,
            &refs[..1],
            "featureFlag(key: \"local\") { source }",
        )
        .await;
        double.fail(
            Endpoint::Flags,
            Failure::Status {
                code: 503,
                retry_after: None,
                times: None,
            },
        );
        let answer = ask(
            &stage,
            &tenant,
            &refs,
            "featureFlag(key: \"local\") { source }",
        )
        .await;
        assert_eq!(
            of(&answer, 0, "featureFlag"),
            &json!({"source": "REMOTE"}),
            "{answer}"
        );
        assert_eq!(of(&answer, 1, "featureFlag"), &Value::Null);
        assert_eq!(
            answer["errors"][0]["path"],
            json!(["people", 1, "analytics", "featureFlag"])
        );
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_definitions_posthog_decides_and_without_posthog_nobody_does() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.kit.tenant("acme").await?;
        let mut input = super::stage::connect_input(&double);
        input["input"]["personalApiKey"] = Value::Null;
        stage.gql(&tenant, super::stage::CONNECT, input).await;
        double.set_flags(definitions());
        let ann = contact(&tenant, &["ann"], json!({"plan": "pro"})).await;
        let fields =
            "featureFlags { key enabled source } featureFlag(key: \"local\") { payload source }";
        let answer = ask(&stage, &tenant, &[&ann], fields).await;
        assert_eq!(
            of(&answer, 0, "featureFlags").as_array().unwrap().len(),
            3,
            "{answer}"
        );
        assert_eq!(
            of(&answer, 0, "featureFlag"),
            &json!({"payload": {"copy": "hello"}, "source": "REMOTE"})
        );
        let bob = contact(&tenant, &["bob"], json!({})).await;
        double.fail(
            Endpoint::Flags,
            Failure::Status {
                code: 503,
                retry_after: None,
                times: None,
            },
        );
        let answer = ask(&stage, &tenant, &[&bob], fields).await;
        assert_eq!(
            answer["data"]["people"][0]["analytics"],
            json!({"featureFlags": null, "featureFlag": null})
        );
        assert_eq!(
            answer["errors"][0]["extensions"]["code"],
            "POSTHOG_UNAVAILABLE"
        );
        let listed = stage
            .gql(&tenant, "{ featureFlags { key } }", json!({}))
            .await;
        assert_eq!(listed["data"]["featureFlags"], Value::Null);
        assert_eq!(
            listed["errors"][0]["extensions"]["code"],
            "POSTHOG_NOT_CONNECTED"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_asks_by_id_gets_its_contacts_flags() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(definitions());
        contact(&tenant, &["ann", "anon-1"], json!({"plan": "pro"})).await;
        let values = async |distinct_id: &str, properties: Value| {
            let subject = FlagSubject {
                distinct_id: distinct_id.into(),
                properties: properties.as_object().cloned().unwrap(),
                ..FlagSubject::default()
            };
            let values = stage
                .posthog
                .flags_for(&tenant.cx, subject, Some(vec!["local".into()]))
                .await
                .unwrap();
            values
                .into_iter()
                .map(|value| (value.enabled, value.source))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            values("anon-1", json!({})).await,
            [(true, FlagSource::Local)]
        );
        assert_eq!(
            values("anon-1", json!({"plan": "free"})).await,
            [(false, FlagSource::Local)],
            "what the client says counts more"
        );
        assert_eq!(
            values("stranger", json!({"plan": "pro"})).await,
            [(true, FlagSource::Local)]
        );
        assert_eq!(
            values("stranger", json!({})).await,
            [(false, FlagSource::Remote)]
        );
        Ok(())
    })
    .await
}
