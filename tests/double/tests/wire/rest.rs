use serde_json::{Value, json};

use crate::client::{TOKEN, double, double_with, keyed, send};

#[tokio::test]
async fn a_connection_can_be_probed() {
    let double = double().await;
    for (target, pointer, value) in [
        ("/api/users/@me/", "/team/id", json!(7)),
        ("/api/projects/@current/", "/api_token", json!(TOKEN)),
        ("/api/projects/7", "/id", json!(7)),
        ("/api/projects/7/experiments/", "/results", json!([])),
        ("/api/projects/7/surveys/", "/count", json!(0)),
        (
            "/api/environments/7/session_recordings/?limit=1",
            "/has_next",
            json!(false),
        ),
    ] {
        let answer = keyed(&double, "GET", target, &Value::Null).await;
        assert_eq!(
            (answer.status, answer.json().pointer(pointer)),
            (200, Some(&value)),
            "{target}"
        );
    }
    assert_eq!(
        keyed(&double, "GET", "/api/projects/8/", &Value::Null)
            .await
            .status,
        404
    );
    let config = send(&double, "GET", &format!("/array/{TOKEN}/config"), &[], b"")
        .await
        .unwrap();
    assert_eq!(config.json()["analytics"]["endpoint"], "/i/v0/e/");
    assert_eq!(
        send(&double, "GET", "/_readiness", &[], b"")
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn a_key_without_the_scope_is_403_a_wrong_or_missing_one_401() {
    let double = double_with(|options| {
        options.scopes = vec!["cohort:write".to_owned(), "project:read".to_owned()];
    })
    .await;
    let query = json!({"query": {"kind": "HogQLQuery", "query": "SELECT 1"}});
    let missing = keyed(&double, "POST", "/api/projects/7/query/", &query).await;
    assert_eq!(
        (missing.status, missing.json()["detail"].clone()),
        (403, json!("API key missing required scope 'query:read'"))
    );
    assert_eq!(
        keyed(&double, "GET", "/api/projects/7/cohorts/", &Value::Null)
            .await
            .status,
        200
    );
    let wrong = send(
        &double,
        "GET",
        "/api/projects/7/",
        &[("authorization", "Bearer phx_wrong")],
        b"",
    )
    .await
    .unwrap();
    assert_eq!(
        (wrong.status, wrong.json()["code"].clone()),
        (401, json!("authentication_failed"))
    );
    let none = send(&double, "GET", "/api/projects/7/", &[], b"")
        .await
        .unwrap();
    assert_eq!(
        (none.status, none.json()["code"].clone()),
        (401, json!("not_authenticated"))
    );
}

#[tokio::test]
async fn a_deployment_without_experiments_does_not_know_their_path() {
    let double = double_with(|options| options.experiments = false).await;
    assert_eq!(
        keyed(&double, "GET", "/api/projects/7/experiments/", &Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        keyed(&double, "GET", "/api/projects/7/surveys/", &Value::Null)
            .await
            .status,
        200
    );
}
