use std::collections::BTreeMap;

use chrono::TimeDelta;
use posthog_double::{Double, Endpoint, Failure};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::kit::{ROWS, connect, double, ids, metric, page, queries, saved, values, walked};
use crate::{
    contact::{ask, upsert},
    posthog::stage::{Sent, requests, send},
};

const SUM: &str = "sumIf(toFloat(properties.amount), event = 'purchase')";

/// Contacts `u0`…, who bought for 0, 1, 2… in one purchase each; the first bought nothing, and PostHog never heard of them.
async fn buyers(kit: &Kit, tenant: &Tenant, double: &Double, count: usize) {
    metric(kit, tenant, "revenue", SUM).await;
    metric(kit, tenant, "purchases", "countIf(event = 'purchase')").await;
    let names: Vec<String> = (0..count).map(|n| format!("u{n}")).collect();
    let mut events = vec![];
    for (n, name) in names.iter().enumerate() {
        upsert(kit, tenant, json!({"externalId": name})).await;
        if n > 0 {
            events.push(Sent("purchase", name, 60, json!({"amount": n})));
        }
    }
    send(double, &events).await;
}

fn revenue(direction: &str) -> Value {
    json!({"metric": "revenue", "direction": direction})
}

#[tokio::test]
async fn a_page_asks_posthog_once_for_its_columns_and_whatever_else_is_selected()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let double = double(&kit).await?;
        connect(&kit, &acme, &double).await;
        double.set_flags(json!({"flags": [
            {"id": 1, "key": "beta", "active": true, "filters": {"groups": [{"properties": [], "rollout_percentage": 100}]}},
            {"id": 2, "key": "off", "active": false, "filters": {"groups": []}},
        ]}));
        buyers(&kit, &acme, &double, 30).await;
        let columns = json!([{"metric": {"key": "revenue"}}, {"metric": {"key": "purchases"}}, {"flag": {"key": "beta"}}, {"flag": {"key": "off"}}]);
        saved(&kit, &acme, json!({"key": "buyers", "columns": columns})).await;
        let document = "{ contactView(key: \"buyers\") { rows(first: 30) { edges { node {
            contact { externalId analytics { metric(key: \"purchases\") { value } activity(window: \"P1D\") { eventCount } featureFlag(key: \"beta\") { enabled } } }
            cells { value text asOf error { code } } } } } } }";
        let (before, flags) = (queries(&double).len(), requests(&double, Endpoint::Flags).len());
        let shown = ask(&kit, &acme.secret_key, document, json!({})).await;
        assert_eq!(queries(&double)[before..], ["growthos.contacts"]);
        assert_eq!(requests(&double, Endpoint::Flags).len(), flags, "flags are decided here");
        let edges = shown["contactView"]["rows"]["edges"].as_array().unwrap();
        assert_eq!(edges.len(), 30);
        let of = |id: &str| &edges.iter().find(|edge| edge["node"]["contact"]["externalId"] == id).unwrap()["node"];
        let now = api::base::instant::text(kit.now());
        let cell = |value: Value, text: Value| json!({"value": value, "text": text, "asOf": now, "error": null});
        assert_eq!(of("u7")["cells"], json!([cell(json!(7.0), json!("7.0")), cell(json!(1), json!("1")), cell(json!(true), json!("true")), cell(json!(false), json!("false"))]));
        assert_eq!(of("u7")["contact"]["analytics"], json!({"metric": {"value": 1}, "activity": {"eventCount": 1}, "featureFlag": {"enabled": true}}));
        assert_eq!(of("u0")["cells"][1]["value"], 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn in_a_metrics_order_every_page_is_of_one_ranking() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let double = double(&kit).await?;
        connect(&kit, &acme, &double).await;
        buyers(&kit, &acme, &double, 8).await;
        // PostHog knows more people than there are here; some of them are another tenant's.
        upsert(&kit, &bolt, json!({"externalId": "of-bolt"})).await;
        // And one of ours as two: the greater value counts, once.
        ask(&kit, &acme.secret_key, "mutation { identify(input: {userId: \"u2\", anonymousId: \"browser-of-u2\"}) { accepted } }", json!({})).await;
        send(&double, &[
            Sent("purchase", "of-bolt", 60, json!({"amount": 1000})),
            Sent("purchase", "nobody", 60, json!({"amount": 2000})),
            Sent("purchase", "browser-of-u2", 60, json!({"amount": 6})),
            Sent("purchase", "u3", 120, json!({"amount": -13})),
        ]).await;
        let filter = json!({"not": {"externalId": {"eq": "u5"}}});
        saved(&kit, &acme, json!({"key": "best", "filter": filter, "orderBy": revenue("DESC"), "columns": [{"metric": {"key": "purchases"}}]})).await;
        saved(&kit, &acme, json!({"key": "worst", "orderBy": revenue("ASC"), "columns": []})).await;
        let sk = &acme.secret_key;
        let ranked = |double: &Double| queries(double).iter().filter(|name| *name == "growthos.ranking").count();
        // u2 and u6 stand at 6: the later id first, as the list goes down.
        let best = ["u7", "u6", "u2", "u4", "u1", "u3"];
        let expected = |mut ids: Vec<&'static str>| { ids.retain(|id| *id != "u5"); ids };
        assert_eq!(walked(&kit, sk, "best", false).await, expected(best.to_vec()));
        assert_eq!(walked(&kit, sk, "best", true).await, expected(best.to_vec()));
        assert_eq!(ranked(&double), 1);
        let all = page(&kit, sk, "best", json!({"first": 100})).await;
        assert_eq!((&all["totalCount"], values(&all, 0)), (&json!(6), [1, 1, 2, 1, 1, 2].map(Value::from).to_vec()));
        assert_eq!(walked(&kit, sk, "worst", false).await, ["u3", "u1", "u2", "u4", "u5", "u6", "u7"]);
        assert_eq!(ranked(&double), 2);

        // Whoever buys meanwhile moves when the ranking is made anew, and no page before.
        let first = page(&kit, sk, "best", json!({"first": 1})).await;
        send(&double, &[Sent("purchase", "u1", 60, json!({"amount": 500}))]).await;
        kit.advance(TimeDelta::minutes(4));
        assert_eq!(walked(&kit, sk, "best", false).await, expected(best.to_vec()));
        kit.advance(TimeDelta::minutes(2));
        let after = json!({"first": 2, "after": first["pageInfo"]["endCursor"]});
        assert_eq!(ids(&page(&kit, sk, "best", after).await), ["u6", "u2"], "a page goes on behind its cursor");
        assert_eq!(ids(&page(&kit, sk, "best", json!({"first": 2})).await), ["u1", "u7"]);
        assert_eq!(ranked(&double), 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_metric_lets_through_those_within_its_bounds_in_any_order() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let double = double(&kit).await?;
        connect(&kit, &acme, &double).await;
        buyers(&kit, &acme, &double, 7).await;
        send(&double, &[Sent("purchase", "u5", 30, json!({"amount": 0})), Sent("purchase", "u1", 30, json!({"amount": 0}))]).await;
        let rank = "mutation { contactUpsert(input: {externalId: \"u4\", traits: {tier: \"a\"}}) { userErrors { code } } b: contactUpsert(input: {externalId: \"u6\", traits: {tier: \"b\"}}) { userErrors { code } } }";
        ask(&kit, &acme.secret_key, rank, json!({})).await;
        for (key, bounds, order, expected) in [
            ("newest", json!({"key": "revenue", "gte": 4}), Value::Null, vec!["u6", "u5", "u4"]),
            ("oldest", json!({"key": "revenue", "gt": 1, "lt": 5}), json!({"field": "CREATED_AT", "direction": "ASC"}), vec!["u2", "u3", "u4"]),
            ("tiers", json!({"key": "revenue", "gt": 3.5}), json!({"trait": "tier", "direction": "DESC"}), vec!["u6", "u4", "u5"]),
            ("twice", json!({"key": "purchases", "eq": 2}), revenue("DESC"), vec!["u5", "u1"]),
            ("few", json!({"key": "revenue", "lte": 2}), revenue("ASC"), vec!["u1", "u2"]),
        ] {
            saved(&kit, &acme, json!({"key": key, "metricFilter": bounds, "orderBy": order, "columns": []})).await;
            assert_eq!(walked(&kit, &acme.secret_key, key, false).await, expected, "{key}");
            assert_eq!(walked(&kit, &acme.secret_key, key, true).await, expected, "{key}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn while_posthog_is_away_rows_stand_and_what_it_knows_is_missing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let double = double(&kit).await?;
        connect(&kit, &acme, &double).await;
        buyers(&kit, &acme, &double, 3).await;
        let columns = json!([{"metric": {"key": "revenue"}}, {"identifier": {"kind": "EXTERNAL_ID"}}]);
        saved(&kit, &acme, json!({"key": "newest", "columns": columns})).await;
        saved(&kit, &acme, json!({"key": "best", "columns": columns, "orderBy": revenue("DESC")})).await;
        double.fail(Endpoint::Query, Failure::Status { code: 503, retry_after: None, times: None });
        let rows = page(&kit, &acme.secret_key, "newest", json!({})).await;
        assert_eq!((ids(&rows), values(&rows, 0), values(&rows, 1)), (vec!["u2", "u1", "u0"], vec![Value::Null; 3], ["u2", "u1", "u0"].map(Value::from).to_vec()));
        assert_eq!(rows["edges"][0]["node"]["cells"][0], json!({"value": null, "text": null, "asOf": null, "error": {"code": "POSTHOG_UNAVAILABLE"}}));
        let ranked = kit.gql(&acme.secret_key, ROWS, json!({"key": "best"})).await;
        assert_eq!((&ranked["data"], &ranked["errors"][0]["extensions"]["code"]), (&json!({"contactView": {"rows": null}}), &json!("POSTHOG_UNAVAILABLE")));
        double.heal();
        kit.advance(TimeDelta::minutes(2));
        assert_eq!(ids(&page(&kit, &acme.secret_key, "best", json!({})).await), ["u2", "u1"]);

        // Who may not ask PostHog sees the contacts, and no ranking; a metric that is gone is told of in its cell.
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        let seen = page(&kit, &reader, "newest", json!({})).await;
        assert_eq!((ids(&seen).len(), &seen["edges"][0]["node"]["cells"][0]["error"]["code"]), (3, &json!("FORBIDDEN")));
        let ranked = kit.gql(&reader, ROWS, json!({"key": "best"})).await;
        assert_eq!((&ranked["data"]["contactView"]["rows"], &ranked["errors"][0]["extensions"]["code"]), (&Value::Null, &json!("FORBIDDEN")));
        let metrics = ask(&kit, &acme.secret_key, "{ metrics { edges { node { id key } } } }", json!({})).await;
        let by_key: BTreeMap<&str, &Value> = metrics["metrics"]["edges"].as_array().unwrap().iter().map(|edge| (edge["node"]["key"].as_str().unwrap(), &edge["node"]["id"])).collect();
        let delete = "mutation($id: ID!) { metricDelete(input: {id: $id}) { deletedId } }";
        ask(&kit, &acme.secret_key, delete, json!({"id": by_key["revenue"]})).await;
        let seen = page(&kit, &acme.secret_key, "newest", json!({})).await;
        assert_eq!(seen["edges"][0]["node"]["cells"][0]["error"]["code"], "NOT_FOUND");
        let ranked = kit.gql(&acme.secret_key, ROWS, json!({"key": "best"})).await;
        assert_eq!(ranked["errors"][0]["extensions"]["code"], "NOT_FOUND", "{ranked}");
        Ok(())
    })
    .await
}
