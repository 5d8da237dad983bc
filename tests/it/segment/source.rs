//! What only PostHog knows, in rules.

use std::sync::Arc;

use chrono::TimeDelta;
use posthog_double::{Double, DoubleOptions, Endpoint, Failure};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::kit::{members, person, save, saved, summed, told};
use crate::{
    contact::ask,
    nudge::kit::{identify, track},
};

/// A tenant whose PostHog knows ann (pro), bob and cid.
async fn people(kit: &Kit) -> anyhow::Result<(Tenant, Double)> {
    let clock = kit.app.env.clock.clone();
    let double = Double::start(DoubleOptions::new(Arc::new(move || clock.now()))).await?;
    let acme = kit.tenant("acme").await?;
    let connect = "mutation($host: String!, $token: String!, $key: String!) { posthogConnect(input: {ingestHost: $host, apiHost: $host, uiHost: $host, projectId: \"@current\", projectToken: $token, personalApiKey: $key}) { userErrors { message } } }";
    let options = double.options();
    let input = json!({"host": double.url(), "token": options.project_token, "key": options.personal_api_key});
    let done = ask(kit, &acme.secret_key, connect, input).await;
    assert_eq!(done["posthogConnect"]["userErrors"], json!([]));
    for (name, plan) in [("ann", "pro"), ("bob", "free"), ("cid", "free")] {
        person(kit, &acme, name, json!({ "plan": plan })).await;
        track(kit, &acme, name, "signup", json!({"$set": {"plan": plan}})).await?;
    }
    kit.app.worker.drain().await?;
    Ok((acme, double))
}

async fn sources(kit: &Kit, tenant: &Tenant, key: &str) -> Value {
    let document = "query($key: String!) { segment(key: $key) { state sources { rule size syncedAt nextSyncAt failure } } }";
    let mut data = ask(kit, &tenant.secret_key, document, json!({ "key": key })).await;
    data["segment"].take()
}

/// How many queries PostHog was asked.
fn queries(double: &Double) -> usize {
    let requests = double.requests().into_iter();
    requests
        .filter(|request| request.endpoint == Some(Endpoint::Query))
        .count()
}

/// Lets the next sync come.
async fn later(kit: &Kit) -> anyhow::Result<()> {
    kit.advance(TimeDelta::minutes(16));
    kit.app.worker.drain().await?;
    Ok(())
}

#[tokio::test]
async fn posthogs_cohorts_experiments_flags_and_queries_say_who_is_in() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = people(&kit).await?;
        double.set_cohort(7, &["ann", "bob", "nobody"]);
        for (name, variant) in [("ann", "test"), ("bob", "control"), ("bob", "test"), ("cid", "test")] {
            let shown = json!({"$feature_flag": "price", "$feature_flag_response": variant});
            track(&kit, &acme, name, "$feature_flag_called", shown).await?;
        }
        let pro = json!([{"key": "plan", "value": "pro", "operator": "exact", "type": "person"}]);
        let filters = json!({"groups": [{"properties": pro, "rollout_percentage": 100}], "multivariate": {"variants": [{"key": "a", "name": "", "rollout_percentage": 100}]}});
        double.set_flags(json!({"flags": [{"id": 1, "key": "beta", "name": "", "active": true, "filters": filters}]}));
        kit.app.worker.drain().await?;

        let query = "SELECT distinct_id, count() AS n FROM events WHERE event = 'signup' AND distinct_id != 'bob' GROUP BY distinct_id";
        for (key, rule, expected) in [
            ("cohort", json!({"cohort": {"id": 7}}), "ann bob"),
            ("outside", json!({"not": {"cohort": {"id": 7}}}), "cid"),
            ("both", json!({"and": [{"cohort": {"id": 7}}, {"trait": {"key": "plan", "eq": "free"}}]}), "bob"),
            ("experiment", json!({"experiment": {"flagKey": "price", "variant": "test"}}), "ann cid"),
            ("control", json!({"experiment": {"flagKey": "price", "variant": "control"}}), ""),
            ("flag", json!({"flag": {"key": "beta"}}), "ann"),
            ("variant", json!({"flag": {"key": "beta", "variant": "a"}}), "ann"),
            ("other", json!({"flag": {"key": "beta", "variant": "b"}}), ""),
            ("hogql", json!({"hogql": {"query": query}}), "ann cid"),
        ] {
            let before = queries(&double);
            saved(&kit, &acme, key, rule.clone()).await?;
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(members(&kit, &acme, key).await, expected, "{key}: {}", sources(&kit, &acme, key).await);
            let asked = queries(&double) - before;
            let is_known = key == "outside" || key == "both" || rule.get("flag").is_some();
            assert_eq!(asked, usize::from(!is_known), "{key}: rules that ask the same share it");
            let document = "query($rule: SegmentRuleInput!) { segmentEstimate(rule: $rule) { count } }";
            let data = ask(&kit, &acme.secret_key, document, json!({ "rule": rule })).await;
            assert_eq!(data["segmentEstimate"]["count"], expected.len(), "{key}");
        }

        // What changes there, changes here.
        let seen = told(&acme).await?.len();
        double.set_cohort(7, &["bob", "cid"]);
        later(&kit).await?;
        assert_eq!(members(&kit, &acme, "cohort").await, ["bob", "cid"]);
        assert_eq!(members(&kit, &acme, "outside").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "both").await, ["bob", "cid"]);
        let mut changes = summed(&told(&acme).await?[seen..]);
        changes.sort();
        assert_eq!(changes, [
            "segment.entered both synced", "segment.entered cohort synced", "segment.entered outside synced",
            "segment.left cohort synced", "segment.left outside synced",
        ]);
        // And a trait of here decides a flag at the next time.
        person(&kit, &acme, "bob", json!({"plan": "pro"})).await;
        later(&kit).await?;
        assert_eq!(members(&kit, &acme, "flag").await, ["ann", "bob"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn until_posthog_answers_nobody_enters_and_then_everybody_stays() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = people(&kit).await?;
        double.set_cohort(7, &["ann"]);
        double.fail(
            Endpoint::Query,
            Failure::Status {
                code: 503,
                retry_after: None,
                times: None,
            },
        );
        let rule = json!({"not": {"cohort": {"id": 7}}});
        let made = save(&kit, &acme, json!({"key": "outside", "rule": rule})).await;
        assert_eq!(made["segment"]["state"], "WAITING");
        kit.app.worker.drain().await?;
        // Nor by what happens meanwhile.
        track(&kit, &acme, "bob", "login", json!({})).await?;
        kit.app.worker.drain().await?;
        assert!(members(&kit, &acme, "outside").await.is_empty());
        let seen = sources(&kit, &acme, "outside").await;
        assert_eq!(seen["state"], "WAITING");
        let source = &seen["sources"][0];
        assert_eq!(
            (&source["rule"], &source["syncedAt"]),
            (&json!({"cohort": {"id": 7}}), &Value::Null)
        );
        assert!(
            source["failure"].as_str().unwrap().contains("503"),
            "{source}"
        );

        double.heal();
        later(&kit).await?;
        assert_eq!(members(&kit, &acme, "outside").await, ["bob", "cid"]);
        let seen = sources(&kit, &acme, "outside").await;
        assert_eq!(
            (
                &seen["state"],
                &seen["sources"][0]["size"],
                &seen["sources"][0]["failure"]
            ),
            (&json!("LIVE"), &json!(1), &Value::Null)
        );

        double.fail(
            Endpoint::Query,
            Failure::Status {
                code: 503,
                retry_after: None,
                times: None,
            },
        );
        double.set_cohort(7, &[]);
        later(&kit).await?;
        assert_eq!(members(&kit, &acme, "outside").await, ["bob", "cid"]);
        assert!(sources(&kit, &acme, "outside").await["sources"][0]["failure"].is_string());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_query_that_posthog_refuses_says_so_and_one_that_cannot_be_sent_is_not_saved()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, _double) = people(&kit).await?;
        let bolt = kit.tenant("bolt").await?;
        for (rule, field) in [
            (json!({"hogql": {"query": "SELECT person_id FROM events"}}), "rule.hogql.query"),
            (json!({"hogql": {"query": "SELECT distinct_id FROM events WHERE event = {x}"}}), "rule.hogql.query"),
            (json!({"and": [{"hogql": {"query": "DROP TABLE events"}}]}), "rule.and.0.hogql.query"),
            (json!({"cohort": {"id": 0}}), "rule.cohort.id"),
            (json!({"flag": {"key": ""}}), "rule.flag.key"),
        ] {
            let refused = save(&kit, &acme, json!({"key": "broken", "rule": rule})).await;
            assert_eq!((&refused["segment"], &refused["userErrors"][0]["field"]), (&Value::Null, &json!(field)), "{refused}");
        }
        saved(&kit, &acme, "unknown", json!({"hogql": {"query": "SELECT no_such_column AS distinct_id FROM events"}})).await?;
        let seen = sources(&kit, &acme, "unknown").await;
        assert_eq!(seen["state"], "WAITING");
        assert!(seen["sources"][0]["failure"].as_str().unwrap().contains("no_such_column"), "{seen}");
        // A tenant without PostHog is told what is missing.
        saved(&kit, &bolt, "cohort", json!({"cohort": {"id": 7}})).await?;
        let seen = sources(&kit, &bolt, "cohort").await;
        assert_eq!(seen["state"], "WAITING");
        assert!(seen["sources"][0]["failure"].is_string(), "{seen}");

        // Who may not ask PostHog may not ask it so.
        let few = kit.key(&acme, &["segments:read", "segments:write", "contacts:read"]).await?;
        let document = "mutation { segmentSave(input: {key: \"mine\", rule: {cohort: {id: 7}}}) { segment { id } userErrors { code field } } }";
        let data = ask(&kit, &few, document, json!({})).await;
        assert_eq!(data["segmentSave"], json!({"segment": null, "userErrors": [{"code": "INVALID", "field": "rule"}]}));
        let estimate = "{ segmentEstimate(rule: {cohort: {id: 8}}) { count } }";
        for credential in [&few, &acme.secret_key] {
            let answer = kit.gql(credential, estimate, json!({})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_source_follows_merges_and_is_forgotten_with_its_last_rule() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = people(&kit).await?;
        track(&kit, &acme, "anon-1", "visit", json!({})).await?;
        kit.app.worker.drain().await?;
        double.set_cohort(7, &["anon-1"]);
        let id = saved(&kit, &acme, "cohort", json!({"cohort": {"id": 7}})).await?;
        assert_eq!(members(&kit, &acme, "cohort").await, ["?"]);
        identify(&kit, &acme, "ann", "anon-1").await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "cohort").await, ["ann"]);
        later(&kit).await?;
        assert_eq!(members(&kit, &acme, "cohort").await, ["ann"]);
        let asked = queries(&double);
        let document =
            "mutation($id: ID!) { segmentDelete(input: {id: $id}) { userErrors { message } } }";
        ask(&kit, &acme.secret_key, document, json!({ "id": id })).await;
        later(&kit).await?;
        later(&kit).await?;
        assert_eq!(queries(&double), asked);
        let left = acme
            .cx
            .db()
            .find::<entity::segment_source_member::Entity>()
            .all()
            .await?;
        assert_eq!(left.len(), 0);
        Ok(())
    })
    .await
}
