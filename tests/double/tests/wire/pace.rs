use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{TOKEN, double, post, send};

/// Far below the pace of a release build, so that a slow machine does not fail it: it only tells linear from quadratic.
const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn twenty_thousand_events_are_taken_shown_and_queried_in_linear_time() {
    let double = double().await;
    let started = Instant::now();
    for batch in 0..40 {
        let events: Vec<_> = (0..500)
            .map(|index| json!({"event": "a", "distinct_id": format!("user {}", batch * 5 + index % 5), "properties": {"n": index}}))
            .collect();
        let answer = post(
            &double,
            "/batch",
            &json!({"api_key": TOKEN, "batch": events}),
        )
        .await;
        assert_eq!(answer.status, 200);
    }
    let shown = send(&double, "GET", "/_double/events", &[], b"")
        .await
        .unwrap()
        .json();
    assert_eq!(shown.as_array().unwrap().len(), 20_000);
    assert_eq!(double.persons().len(), 200);
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}
