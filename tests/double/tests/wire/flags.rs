use serde_json::{Value, json};

use posthog_double::{Endpoint, Failure};

use crate::client::{KEY, TOKEN, double, double_with, keyed, post, send};

fn definitions() -> Value {
    let filters = json!({
        "groups": [{"properties": [{"key": "plan", "value": ["pro"], "operator": "exact", "type": "person"}], "rollout_percentage": 100}],
        "payloads": {"true": "{\"copy\": \"hello\"}"},
    });
    json!({"flags": [{"id": 1, "key": "beta-ui", "active": true, "version": 3, "filters": filters}]})
}

#[tokio::test]
async fn flags_are_evaluated_over_the_stored_person_with_the_requests_properties_on_top() {
    let double = double().await;
    double.set_flags(definitions());
    let set =
        json!({"api_key": TOKEN, "event": "$set", "distinct_id": "ann", "$set": {"plan": "pro"}});
    post(&double, "/e", &set).await;
    let ask = async |properties: Value| {
        let body = json!({"token": TOKEN, "distinct_id": "ann", "person_properties": properties});
        post(&double, "/flags/?v=2", &body).await.json()
    };
    let stored = ask(json!({})).await;
    assert_eq!(
        stored["flags"]["beta-ui"],
        json!({
            "key": "beta-ui", "enabled": true, "variant": null,
            "reason": {"code": "condition_match", "condition_index": 0, "description": "Matched condition set 1"},
            "metadata": {"id": 1, "version": 3, "description": null, "payload": "{\"copy\": \"hello\"}", "has_experiment": false},
        })
    );
    assert_eq!(stored["evaluatedAt"], 1_795_359_600_000_i64);
    let overridden = ask(json!({"plan": "free"})).await;
    assert_eq!(overridden["flags"]["beta-ui"]["enabled"], false);
    assert_eq!(
        overridden["flags"]["beta-ui"]["reason"]["code"],
        "no_condition_match"
    );
    let plain = post(
        &double,
        "/flags",
        &json!({"api_key": TOKEN, "distinct_id": "ann"}),
    )
    .await
    .json();
    assert_eq!(
        plain,
        json!({
            "featureFlags": {"beta-ui": true},
            "featureFlagPayloads": {"beta-ui": "{\"copy\": \"hello\"}"},
            "errorsWhileComputingFlags": false,
        })
    );
}

#[tokio::test]
async fn flags_refuse_without_token_or_id_and_are_empty_over_quota() {
    let double = double().await;
    double.set_flags(definitions());
    assert_eq!(
        post(&double, "/flags?v=2", &json!({"distinct_id": "ann"}))
            .await
            .status,
        401
    );
    assert_eq!(
        post(&double, "/flags?v=2", &json!({"token": TOKEN}))
            .await
            .status,
        400
    );
    double.fail(Endpoint::Flags, Failure::Quota);
    let answer = post(
        &double,
        "/flags?v=2",
        &json!({"token": TOKEN, "distinct_id": "ann"}),
    )
    .await
    .json();
    assert_eq!(
        (&answer["flags"], &answer["quotaLimited"]),
        (&json!({}), &json!(["feature_flags"]))
    );
}

#[tokio::test]
async fn definitions_need_a_key_have_a_weak_etag_and_answer_304_to_it() {
    let double = double_with(|options| options.definitions_warm = false).await;
    let target = format!("/flags/definitions?token={TOKEN}&send_cohorts");
    assert_eq!(
        keyed(&double, "GET", &target, &Value::Null).await.status,
        503
    );
    double.set_flags(definitions());
    let answer = keyed(&double, "GET", &target, &Value::Null).await;
    assert_eq!(answer.json()["flags"], definitions()["flags"]);
    assert_eq!(
        answer.header("cache-control"),
        Some("private, must-revalidate")
    );
    let etag = answer.header("etag").unwrap().to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    let authorization = format!("Bearer {KEY}");
    for known in [
        etag.as_str(),
        etag.trim_start_matches("W/"),
        etag.trim_start_matches("W/").trim_matches('"'),
    ] {
        let headers = [
            ("authorization", authorization.as_str()),
            ("if-none-match", known),
        ];
        let answer = send(&double, "GET", &target, &headers, b"").await.unwrap();
        assert_eq!((answer.status, answer.text.as_str()), (304, ""), "{known}");
    }
    assert_eq!(
        send(&double, "GET", &target, &[], b"")
            .await
            .unwrap()
            .status,
        401
    );
    assert_eq!(
        keyed(
            &double,
            "GET",
            "/flags/definitions?token=phc_other",
            &Value::Null
        )
        .await
        .status,
        401
    );
    assert_eq!(
        keyed(
            &double,
            "GET",
            "/api/feature_flag/local_evaluation/",
            &Value::Null
        )
        .await
        .status,
        200
    );
}
