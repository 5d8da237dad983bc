//! A tenant's own queries.

use posthog_double::{Endpoint, Failure};
use serde_json::{Value, json};
use tests::on_each_database;

use super::stage::{Sent, Stage, requests, send};

const RUN: &str = "query($query: String!, $values: JSON, $maxAge: Duration) {
    hogql(query: $query, values: $values, maxAge: $maxAge) { columns types rows hasMore limit asOf isCached } }";

#[tokio::test]
async fn a_query_runs_over_the_tenants_own_project() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        send(&double, &[Sent("a", "ann", 1, json!({})), Sent("a", "bob", 2, json!({})), Sent("b", "ann", 3, json!({}))]).await;
        let query = "select event, count() as n from events where distinct_id in {ids} group by event order by event -- mine";
        let answer = stage.gql(&tenant, RUN, json!({"query": query, "values": {"ids": ["ann", "') OR 1=1 --"]}})).await;
        assert_eq!(
            answer["data"]["hogql"],
            json!({
                "columns": ["event", "n"], "types": ["String", "UInt64"], "rows": [["a", 1], ["b", 1]],
                "hasMore": false, "limit": 100, "asOf": stage.now(), "isCached": false,
            }),
            "{answer}"
        );
        let sent = requests(&double, Endpoint::Query).pop().unwrap().body.unwrap();
        assert_eq!(
            sent["query"]["query"],
            "SELECT event, count() AS n FROM events WHERE distinct_id IN {ids} GROUP BY event ORDER BY event ASC LIMIT 100"
        );
        assert_eq!(sent["query"]["values"], json!({"ids": ["ann", "') OR 1=1 --"]}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_answer_is_kept_for_those_who_take_an_older_one() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let first = stage.now();
        let run = async |age: Option<&str>| {
            let variables = json!({"query": "SELECT count() FROM events", "maxAge": age});
            let answer = stage.gql(&tenant, RUN, variables).await;
            let table = &answer["data"]["hogql"];
            (
                table["rows"][0][0].clone(),
                table["isCached"].clone(),
                table["asOf"].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(
            run(Some("PT1H")).await,
            (json!(0), json!(false), first.clone())
        );
        send(&double, &[Sent("a", "ann", 1, json!({}))]).await;
        stage.advance(60);
        assert_eq!(run(Some("PT1M")).await, (json!(0), json!(true), first));
        assert_eq!(
            run(Some("PT59S")).await,
            (json!(1), json!(false), stage.now())
        );
        send(&double, &[Sent("b", "ann", 1, json!({}))]).await;
        assert_eq!(run(None).await, (json!(2), json!(false), stage.now()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_refused_here_never_reaches_posthog_and_what_posthog_refuses_is_told()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        let before = double.requests().len();
        for (query, values) in [
            ("SELECT 1; SELECT 2", json!(null)),
            ("SELECT * FROM system.tables", json!({})),
            ("SELECT * FROM query_log", json!({})),
            ("SELECT * FROM url('http://169.254.169.254/')", json!({})),
            ("INSERT INTO events SELECT 1", json!({})),
            ("SELECT {a}", json!({})),
            ("SELECT 1", json!({"a": 1})),
            ("SELECT {a}", json!({"a": {"kind": "HogQLQuery"}})),
            ("SELECT 1", json!([1])),
        ] {
            let answer = stage
                .gql(&tenant, RUN, json!({"query": query, "values": values}))
                .await;
            assert_eq!(answer["data"], json!({"hogql": null}), "{query}");
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
                "{answer}"
            );
        }
        assert_eq!(double.requests().len(), before);
        let answer = stage
            .gql(
                &tenant,
                RUN,
                json!({"query": "SELECT nonsense FROM events"}),
            )
            .await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        assert!(
            answer["errors"][0]["message"]
                .as_str()
                .unwrap()
                .starts_with("PostHog refused the query: "),
            "{answer}"
        );
        double.fail(
            Endpoint::Query,
            Failure::Status {
                code: 503,
                retry_after: None,
                times: None,
            },
        );
        let answer = stage.gql(&tenant, RUN, json!({"query": "SELECT 1"})).await;
        assert_eq!(answer["data"], json!({"hogql": Value::Null}));
        assert_eq!(
            answer["errors"][0]["extensions"]["code"],
            "POSTHOG_UNAVAILABLE"
        );
        Ok(())
    })
    .await
}
