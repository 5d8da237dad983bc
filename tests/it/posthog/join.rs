//! Activity and metrics in contacts: one query a page, whatever it selects.

use futures_util::future::join_all;
use posthog_double::{Double, Endpoint, Failure};
use serde_json::{Value, json};
use tests::{Tenant, on_each_database};

use super::stage::{Sent, Stage, contact, requests, send};

const ACTIVITY: &str =
    "eventCount pageviewCount sessionCount activeDays firstSeenAt lastSeenAt lastUrl asOf";

async fn page(stage: &Stage, tenant: &Tenant, ids: &[String], fields: &str) -> Value {
    let query =
        format!("query($ids: [ID!]!) {{ people(ids: $ids) {{ id analytics {{ {fields} }} }} }}");
    stage.gql(tenant, &query, json!({"ids": ids})).await
}

fn of<'a>(answer: &'a Value, at: usize, field: &str) -> &'a Value {
    &answer["data"]["people"][at]["analytics"][field]
}

fn queries(double: &Double) -> Vec<Value> {
    let bodies = requests(double, Endpoint::Query)
        .into_iter()
        .filter_map(|request| request.body);
    bodies
        .filter(|body| body["query"]["kind"] == "HogQLQuery")
        .collect()
}

#[tokio::test]
async fn a_page_of_a_hundred_contacts_costs_one_query_whatever_it_selects() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.set_flags(json!({"flags": [{"id": 1, "key": "beta", "active": true, "filters": {"groups": [{"properties": [], "rollout_percentage": 100}]}}]}));
        assert_eq!(stage.save_metric(&tenant, "revenue", "sum(toFloat(properties.amount))").await["checkedByPosthog"], true);
        stage.save_metric(&tenant, "purchases", "countIf(event = 'purchase')").await;
        let mut ids = Vec::new();
        let mut events = Vec::new();
        let names: Vec<String> = (0..100).map(|n| format!("user-{n}")).collect();
        for (n, name) in names.iter().enumerate() {
            ids.push(contact(&tenant, &[name], json!({})).await);
            for purchase in 0..n {
                events.push(Sent("purchase", name, i64::try_from(purchase).unwrap() * 600, json!({"amount": 1.5})));
            }
        }
        send(&double, &events).await;
        let fields = format!(
            "activity {{ {ACTIVITY} }} day: activity(window: \"P1D\") {{ eventCount }}
             revenue: metric(key: \"revenue\") {{ key value asOf }} purchases: metric(key: \"purchases\") {{ value }}
             featureFlag(key: \"beta\") {{ key enabled source reason }} featureFlags {{ key }} personUrl"
        );
        let answer = page(&stage, &tenant, &ids, &fields).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        let asked = queries(&double);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["refresh"], "force_blocking");
        assert_eq!(asked[0]["query"]["values"]["ids"].as_array().unwrap().len(), 100);
        assert!(asked[0]["client_query_id"].is_string());
        for n in [0_u32, 1, 40, 99] {
            let at = usize::try_from(n)?;
            assert_eq!(of(&answer, at, "activity")["eventCount"], n);
            assert_eq!(of(&answer, at, "day")["eventCount"], n);
            assert_eq!(of(&answer, at, "revenue"), &json!({"key": "revenue", "value": expected(f64::from(n) * 1.5), "asOf": stage.now()}));
            assert_eq!(of(&answer, at, "purchases")["value"], n);
            assert_eq!(
                of(&answer, at, "featureFlag"),
                &json!({"key": "beta", "enabled": true, "source": "LOCAL", "reason": "condition_match"})
            );
            assert_eq!(of(&answer, at, "personUrl"), &json!(format!("https://us.posthog.com/project/1/person/user-{n}")));
        }
        // Whatever is asked of the same page within a minute costs nothing more.
        page(&stage, &tenant, &ids, &fields).await;
        assert_eq!(queries(&double).len(), 1);
        assert_eq!(requests(&double, Endpoint::Flags).len(), 1, "the probe's alone");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_of_contacts_through_the_whole_schema_costs_one_query_too() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        stage.save_metric(&tenant, "events", "count()").await;
        let names: Vec<String> = (0..100).map(|n| format!("user-{n}")).collect();
        for name in &names {
            contact(&tenant, &[name], json!({"email": format!("{name}@example.com")})).await;
        }
        send(&double, &[Sent("a", "user-7", 1, json!({}))]).await;
        let document = "{ contacts(first: 100) { edges { node { email identifiers { value } analytics {
            activity { eventCount } day: activity(window: \"P1D\") { eventCount } metric(key: \"events\") { value } personUrl } } } } }";
        let answer = stage.kit.gql(&tenant.secret_key, document, json!({})).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        let edges = answer["data"]["contacts"]["edges"].as_array().unwrap();
        assert_eq!(edges.len(), 100);
        let seventh = edges.iter().find(|edge| edge["node"]["email"] == "user-7@example.com").unwrap();
        assert_eq!(
            seventh["node"]["analytics"],
            json!({"activity": {"eventCount": 1}, "day": {"eventCount": 1}, "metric": {"value": 1},
                   "personUrl": "https://us.posthog.com/project/1/person/user-7"})
        );
        assert_eq!(queries(&double).len(), 1);
        Ok(())
    })
    .await
}

/// PostHog sums a column of numbers that may be missing: over no event that is null.
fn expected(sum: f64) -> Value {
    if sum == 0.0 { Value::Null } else { json!(sum) }
}

#[tokio::test]
async fn activity_is_merged_over_every_id_of_a_contact_and_a_merge_shows_at_once()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let day = 86_400;
        send(
            &double,
            &[
                Sent("$pageview", "anon-1", 3 * day, json!({"$current_url": "/pricing", "$session_id": "s1"})),
                Sent("$pageview", "ann", 2 * day, json!({"$current_url": "/docs", "$session_id": "s2"})),
                Sent("signup", "ann", 2 * day - 60, json!({"$session_id": "s2"})),
                Sent("$pageview", "anon-2", 60 * day, json!({"$current_url": "/old"})),
                Sent("$pageview", "bob", 1, json!({"$current_url": "/bob"})),
            ],
        )
        .await;
        let ann = contact(&tenant, &["ann"], json!({})).await;
        let only = page(&stage, &tenant, std::slice::from_ref(&ann), "activity { eventCount }").await;
        assert_eq!(of(&only, 0, "activity")["eventCount"], 2);
        let anonymous = contact(&tenant, &["anon-1"], json!({})).await;
        assert_ne!(anonymous, ann);
        let root = contact(&tenant, &["ann", "anon-1", "anon-2"], json!({})).await;
        let answer = page(&stage, &tenant, &[root], &format!("activity {{ {ACTIVITY} }} all: activity(window: \"P90D\") {{ eventCount }}")).await;
        let ago = |seconds: i64| super::stage::shown(stage.kit.now() - chrono::TimeDelta::seconds(seconds));
        assert_eq!(
            of(&answer, 0, "activity"),
            &json!({
                "eventCount": 3, "pageviewCount": 2, "sessionCount": 2, "activeDays": 2,
                "firstSeenAt": ago(3 * day), "lastSeenAt": ago(2 * day - 60), "lastUrl": "/docs", "asOf": stage.now(),
            })
        );
        assert_eq!(of(&answer, 0, "all")["eventCount"], 4);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_contact_without_events_has_zeros_and_what_its_metrics_say_of_nothing()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        stage.save_metric(&tenant, "state", "if(count() > 1, 'active', 'idle')").await;
        stage.save_metric(&tenant, "names", "groupUniqArray(event)").await;
        send(&double, &[Sent("a", "busy", 5, json!({})), Sent("a", "busy", 6, json!({}))]).await;
        let ids = [contact(&tenant, &["busy"], json!({})).await, contact(&tenant, &["quiet"], json!({})).await];
        let answer = page(&stage, &tenant, &ids, &format!("activity {{ {ACTIVITY} }} state: metric(key: \"state\") {{ value }} names: metric(key: \"names\") {{ value }}")).await;
        assert_eq!(
            of(&answer, 1, "activity"),
            &json!({
                "eventCount": 0, "pageviewCount": 0, "sessionCount": 0, "activeDays": 0,
                "firstSeenAt": null, "lastSeenAt": null, "lastUrl": null, "asOf": stage.now(),
            })
        );
        assert_eq!((of(&answer, 0, "state"), of(&answer, 0, "names")), (&json!({"value": "active"}), &json!({"value": ["a"]})));
        assert_eq!((of(&answer, 1, "state"), of(&answer, 1, "names")), (&json!({"value": "idle"}), &json!({"value": []})));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_joined_is_kept_for_a_minute_and_says_its_age() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let ids = [contact(&tenant, &["ann"], json!({})).await];
        send(&double, &[Sent("a", "ann", 0, json!({}))]).await;
        stage.advance(1);
        let first = stage.now();
        let count = async || {
            let answer = page(&stage, &tenant, &ids, "activity { eventCount asOf }").await;
            let activity = of(&answer, 0, "activity").clone();
            (
                activity["eventCount"].as_u64().unwrap(),
                activity["asOf"].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(count().await, (1, first.clone()));
        send(&double, &[Sent("b", "ann", 0, json!({}))]).await;
        stage.advance(59);
        assert_eq!(count().await, (1, first.clone()));
        stage.advance(1);
        assert_eq!(
            count().await,
            (2, stage.now()),
            "PostHog's own result cache is passed over"
        );
        assert_eq!(queries(&double).len(), 2);

        // Should PostHog serve a stored result all the same, its age is shown.
        let stored = stage.now();
        double.fail(Endpoint::Query, Failure::StaleCache);
        send(&double, &[Sent("c", "ann", 0, json!({}))]).await;
        stage.advance(61);
        assert_eq!(count().await, (2, stored));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn requests_for_the_same_page_at_the_same_time_share_one_query() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let ids = [
            contact(&tenant, &["ann"], json!({})).await,
            contact(&tenant, &["bob"], json!({})).await,
        ];
        double.fail(
            Endpoint::Query,
            Failure::Slow {
                delay_ms: 200,
                times: None,
            },
        );
        let answers =
            join_all((0..20).map(|_| page(&stage, &tenant, &ids, "activity { eventCount }"))).await;
        for answer in answers {
            assert_eq!(of(&answer, 1, "activity")["eventCount"], 0, "{answer}");
        }
        assert_eq!(queries(&double).len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_tenants_with_the_same_ids_never_see_each_other() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let (one, two) = (stage.double().await, stage.double().await);
        let acme = stage.connected("acme", &one).await;
        let other = stage.connected("other", &two).await;
        stage.save_metric(&acme, "events", "count()").await;
        let ids = [
            [contact(&acme, &["ann"], json!({})).await],
            [contact(&other, &["ann"], json!({})).await],
        ];
        send(&one, &[Sent("a", "ann", 1, json!({}))]).await;
        send(
            &two,
            &[
                Sent("a", "ann", 1, json!({})),
                Sent("b", "ann", 1, json!({})),
            ],
        )
        .await;
        for _ in 0..2 {
            let (first, second) = tokio::join!(
                page(
                    &stage,
                    &acme,
                    &ids[0],
                    "activity { eventCount } metric(key: \"events\") { value }"
                ),
                page(
                    &stage,
                    &other,
                    &ids[1],
                    "activity { eventCount } metric(key: \"events\") { value }"
                ),
            );
            assert_eq!(of(&first, 0, "activity")["eventCount"], 1);
            assert_eq!(of(&first, 0, "metric")["value"], 1);
            assert_eq!(of(&second, 0, "activity")["eventCount"], 2);
            assert_eq!(
                of(&second, 0, "metric"),
                &Value::Null,
                "another tenant's metric"
            );
            assert_eq!(second["errors"][0]["extensions"]["code"], "NOT_FOUND");
        }
        // Another tenant's contact is nobody.
        let foreign = page(
            &stage,
            &other,
            &ids[0],
            "activity { eventCount } featureFlags { key } personUrl",
        )
        .await;
        assert_eq!(of(&foreign, 0, "activity"), &Value::Null, "{foreign}");
        assert_eq!(of(&foreign, 0, "personUrl"), &Value::Null);
        assert_eq!(of(&foreign, 0, "featureFlags"), &json!([]));
        assert_eq!((queries(&one).len(), queries(&two).len()), (1, 1));

        // A tenant that connects elsewhere sees nothing of before.
        let mut input = super::stage::connect_input(&two);
        input["input"]["projectId"] = json!("@current");
        stage.gql(&acme, super::stage::CONNECT, input).await;
        let moved = page(&stage, &acme, &ids[0], "activity { eventCount }").await;
        assert_eq!(of(&moved, 0, "activity")["eventCount"], 2);
        Ok(())
    })
    .await
}
