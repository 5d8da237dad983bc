use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::TimeDelta;
use posthog_double::{Double, Endpoint, Failure};
use serde_json::{Value, json};

use crate::client::{TOKEN, double, double_with, keyed, now, post};

const PATH: &str = "/api/projects/7/query/";

fn count(refresh: &str) -> Value {
    let query = "SELECT count() AS n FROM events WHERE distinct_id IN {ids}";
    json!({"query": {"kind": "HogQLQuery", "query": query, "values": {"ids": ["ann"]}}, "refresh": refresh})
}

async fn track(double: &Double) {
    post(
        double,
        "/e",
        &json!({"api_key": TOKEN, "event": "a", "distinct_id": "ann"}),
    )
    .await;
}

#[tokio::test]
async fn a_query_answers_in_posthogs_shape() {
    let double = double().await;
    track(&double).await;
    let answer = keyed(&double, "POST", PATH, &count("force_blocking")).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["results"], json!([[1]]));
    assert_eq!(body["columns"], json!(["n"]));
    assert_eq!(body["types"], json!([["n", "UInt64"]]));
    assert_eq!(
        (&body["hasMore"], &body["limit"], &body["offset"]),
        (&json!(false), &json!(100), &json!(0))
    );
    assert_eq!(
        (&body["is_cached"], &body["last_refresh"]),
        (&json!(false), &json!("2026-11-22T15:00:00.000000Z"))
    );
    let record = double.requests().pop().unwrap();
    assert_eq!(record.endpoint, Some(Endpoint::Query));
    assert_eq!(
        record.body.unwrap()["query"]["values"],
        json!({"ids": ["ann"]})
    );
}

#[tokio::test]
async fn blocking_is_stale_for_a_while_and_force_blocking_never() {
    let passed_s = Arc::new(AtomicI64::new(0));
    let clock = passed_s.clone();
    let double = double_with(|options| {
        options.clock = Arc::new(move || now() + TimeDelta::seconds(clock.load(Ordering::Relaxed)));
    })
    .await;
    let ask = async |refresh| {
        let body = keyed(&double, "POST", PATH, &count(refresh)).await.json();
        (
            body["results"][0][0].clone(),
            body["is_cached"].clone(),
            body["last_refresh"].clone(),
        )
    };
    let at = |text: &str| json!(format!("2026-11-22T{text}.000000Z"));
    assert_eq!(
        ask("blocking").await,
        (json!(0), json!(false), at("15:00:00"))
    );
    track(&double).await;
    passed_s.store(60, Ordering::Relaxed);
    assert_eq!(
        ask("blocking").await,
        (json!(0), json!(true), at("15:00:00"))
    );
    assert_eq!(
        ask("force_blocking").await,
        (json!(1), json!(false), at("15:01:00"))
    );
    track(&double).await;
    double.fail(Endpoint::Query, Failure::StaleCache);
    assert_eq!(
        ask("force_blocking").await,
        (json!(1), json!(true), at("15:01:00"))
    );
    double.heal();
    passed_s.store(3 * 3600, Ordering::Relaxed);
    assert_eq!(
        ask("blocking").await,
        (json!(2), json!(false), at("18:00:00"))
    );
}

#[tokio::test]
async fn queries_that_cannot_be_run_are_validation_errors() {
    let double = double().await;
    for (path, query, detail) in [
        (
            PATH,
            json!({"kind": "HogQLQuery", "query": "SELECT nope FROM events"}),
            "Unable to resolve field: nope",
        ),
        (
            PATH,
            json!({"kind": "TrendsQuery"}),
            "the PostHog double does not run queries of kind 'TrendsQuery'",
        ),
        (
            "/api/projects/7/query/TrendsQuery/",
            json!({"kind": "HogQLQuery", "query": "SELECT 1"}),
            "The query kind in the path is not the kind of the query.",
        ),
    ] {
        let answer = keyed(&double, "POST", path, &json!({"query": query})).await;
        let expected = json!({"type": "validation_error", "code": "invalid_input", "detail": detail, "attr": null});
        assert_eq!((answer.status, answer.json()), (400, expected));
    }
    assert_eq!(
        keyed(
            &double,
            "POST",
            "/api/projects/8/query/",
            &count("blocking")
        )
        .await
        .status,
        404
    );
    assert_eq!(
        keyed(
            &double,
            "POST",
            "/api/environments/7/query",
            &count("blocking")
        )
        .await
        .status,
        200
    );
    assert_eq!(post(&double, PATH, &count("blocking")).await.status, 401);
}

#[tokio::test]
async fn metadata_says_whether_a_query_is_valid() {
    let double = double().await;
    let check = async |text| {
        let query = json!({"query": {"kind": "HogQLMetadata", "language": "hogQL", "query": text}});
        let body = keyed(&double, "POST", PATH, &query).await.json();
        (
            body["isValid"].clone(),
            body["table_names"].clone(),
            body["errors"][0]["message"].clone(),
        )
    };
    assert_eq!(
        check("SELECT sum(toFloat(properties.amount)) FROM events WHERE event = {name}").await,
        (json!(true), json!(["events"]), Value::Null)
    );
    assert_eq!(
        check("SELECT nope(event) FROM events").await,
        (
            json!(false),
            json!([]),
            json!("Unsupported function call 'nope(String)'")
        )
    );
}

#[tokio::test]
async fn a_throttled_query_says_when_to_come_back() {
    let double = double().await;
    double.fail(
        Endpoint::Query,
        Failure::Status {
            code: 429,
            retry_after: Some(5),
            times: None,
        },
    );
    let answer = keyed(&double, "POST", PATH, &count("blocking")).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("5"))
    );
    assert_eq!(
        answer.json()["detail"],
        "Request was throttled. Expected available in 5 seconds."
    );
}
