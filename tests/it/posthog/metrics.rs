//! Metrics: defined by tenants, checked before they reach PostHog.

use posthog_double::{Endpoint, Failure};
use serde_json::{Value, json};
use tests::on_each_database;

use super::stage::{Sent, Stage, contact, requests, send};

#[tokio::test]
async fn hostile_expressions_never_reach_posthog() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let before = double.requests().len();
        for expression in [
            "count() FROM system.users --",
            "(SELECT groupArray(properties) FROM persons)",
            "count(); DROP TABLE events",
            "sum(length(url('http://169.254.169.254/', 'RawBLOB', 'x String')))",
            "max(sleepEachRow(3))",
            "sum(1) SETTINGS max_execution_time = 0",
            "any(dictGet('x', 'y', 1))",
            "max(person.properties.email)",
            "sum({ids})",
            "properties.amount",
            "count(",
        ] {
            let saved = stage.save_metric(&tenant, "bad", expression).await;
            assert_eq!(saved["metric"], Value::Null, "{expression}");
            assert_eq!(
                saved["userErrors"][0]["field"], "expression",
                "{expression}"
            );
            assert_eq!(saved["userErrors"][0]["code"], "INVALID");
        }
        assert_eq!(double.requests().len(), before);
        let listed = stage
            .gql(&tenant, "{ metrics { totalCount } }", json!({}))
            .await;
        assert_eq!(listed["data"]["metrics"]["totalCount"], 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn posthogs_objections_come_back_with_their_place() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let saved = stage
            .save_metric(&tenant, "odd", "max(reverse(event))")
            .await;
        assert_eq!(saved["metric"], Value::Null);
        let message = saved["userErrors"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with("PostHog says: Unsupported function call 'reverse(String)'"),
            "{message}"
        );
        assert_eq!(saved["userErrors"][0]["field"], "expression");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_metric_is_saved_without_posthog_changed_by_its_key_and_deleted_by_its_owner()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let tenant = stage.kit.tenant("acme").await?;
        let other = stage.kit.tenant("other").await?;
        let saved = stage.save_metric(&tenant, "revenue", "SUM( toFloat(properties.amount) )").await;
        assert_eq!(
            saved,
            json!({"metric": {"id": saved["metric"]["id"], "key": "revenue", "expression": "sum(toFloat(properties.amount))", "window": "P30D"},
                   "checkedByPosthog": false, "userErrors": []})
        );
        let changed = stage.save_metric(&tenant, "revenue", "count()").await;
        assert_eq!(changed["metric"]["id"], saved["metric"]["id"]);
        let refused = stage.save_metric(&tenant, "Revenue!", "count()").await;
        assert_eq!(refused["userErrors"][0]["field"], "key");

        let delete = "mutation($id: ID!) { metricDelete(input: {id: $id}) { deletedId userErrors { code field } } }";
        let id = json!({"id": saved["metric"]["id"]});
        let foreign = stage.gql(&other, delete, id.clone()).await;
        assert_eq!(foreign["data"]["metricDelete"], json!({"deletedId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}));
        let listed = stage.gql(&tenant, "{ metrics(first: 5) { totalCount edges { node { key name expression } } } }", json!({})).await;
        assert_eq!(
            listed["data"]["metrics"],
            json!({"totalCount": 1, "edges": [{"node": {"key": "revenue", "name": "revenue", "expression": "count()"}}]})
        );
        let deleted = stage.gql(&tenant, delete, id.clone()).await;
        assert_eq!(deleted["data"]["metricDelete"]["deletedId"], id["id"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_metric_that_posthog_cannot_compute_takes_no_other_with_it() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        double.fail(Endpoint::Query, Failure::Status { code: 503, retry_after: None, times: Some(1) });
        let saved = stage.save_metric(&tenant, "odd", "max(reverse(event))").await;
        assert_eq!(saved["checkedByPosthog"], false, "{saved}");
        stage.save_metric(&tenant, "events", "count()").await;
        let id = contact(&tenant, &["ann"], json!({})).await;
        send(&double, &[Sent("a", "ann", 1, json!({}))]).await;
        let query = "query($ids: [ID!]!) { people(ids: $ids) { analytics { activity { eventCount } odd: metric(key: \"odd\") { value } events: metric(key: \"events\") { value } } } }";
        for _ in 0..2 {
            let answer = stage.gql(&tenant, query, json!({"ids": [id]})).await;
            assert_eq!(
                answer["data"]["people"][0]["analytics"],
                json!({"activity": {"eventCount": 1}, "odd": null, "events": {"value": 1}})
            );
            assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
            stage.advance(30);
        }
        let asked = requests(&double, Endpoint::Query).len();
        stage.gql(&tenant, query, json!({"ids": [contact(&tenant, &["bob"], json!({})).await]})).await;
        assert_eq!(requests(&double, Endpoint::Query).len(), asked + 5, "{asked}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_room_asks_for_scopes() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let tenant = stage.kit.tenant("acme").await?;
        let actor = |scope: &str| api::base::Actor::SecretKey {
            id: entity::Id::from_uuid(uuid::Uuid::nil()),
            scopes: [scope.to_owned()].into(),
        };
        let save = "mutation { metricSave(input: {key: \"a\", expression: \"count()\"}) { metric { key } } }";
        let connect = "mutation { posthogConnect(input: {ingestHost: \"US\", projectId: 1, projectToken: \"phx_a\"}) { userErrors { field } } }";
        for (document, scope, other) in [
            ("{ metrics { totalCount } }", "analytics:read", "contacts:read"),
            ("{ hogql(query: \"SELECT 1\") { columns } }", "analytics:read", "contacts:read"),
            ("{ featureFlags { key } }", "analytics:read", "contacts:read"),
            (save, "analytics:write", "analytics:read"),
            ("mutation { metricDelete(input: {id: \"x\"}) { deletedId } }", "analytics:write", "analytics:read"),
            (connect, "tenant:write", "tenant:read"),
            ("mutation { posthogDisconnect(input: {id: \"x\"}) { disconnectedId } }", "tenant:write", "tenant:read"),
        ] {
            let code = async |scope: &str| {
                let answer = stage.gql_as(&tenant, actor(scope), document, json!({})).await;
                answer["errors"][0]["extensions"]["code"].as_str().map(str::to_owned)
            };
            assert_ne!(code(scope).await.as_deref(), Some("FORBIDDEN"), "{document}");
            assert_eq!(code(other).await.as_deref(), Some("FORBIDDEN"), "{document}");
        }
        Ok(())
    })
    .await
}
