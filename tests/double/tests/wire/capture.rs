use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use posthog_double::Authorization;
use serde_json::{Value, json};

use crate::client::{TOKEN, double, post, send};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_captured_request_of_the_real_clients_gets_the_recorded_answer() {
    let double = double().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/captures");
    let (mut requests, mut events) = (0, 0);
    for file in fs::read_dir(folder).unwrap() {
        let recorded: Vec<Value> =
            serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        for request in recorded
            .iter()
            .filter(|request| request["method"] == "POST" && request["path"] != "/flags/")
        {
            let plain = request["body"].to_string();
            let body = if request["body_encoding_detected"] == "gzip" {
                gzip(plain.as_bytes())
            } else {
                plain.into()
            };
            let headers: Vec<(&str, &str)> = request["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|header| (header[0].as_str().unwrap(), header[1].as_str().unwrap()))
                .filter(|(name, _)| {
                    !["host", "connection", "content-length"]
                        .contains(&name.to_lowercase().as_str())
                })
                .collect();
            let target = request["target"].as_str().unwrap();
            let answer = send(&double, "POST", target, &headers, &body)
                .await
                .unwrap();
            assert_eq!(
                Value::from(answer.status),
                request["response"]["status"],
                "{target}: {}",
                answer.text
            );
            assert_eq!(answer.json(), request["response"]["body"], "{target}");
            requests += 1;
            events += request["body"]["batch"].as_array().map_or(1, Vec::len);
        }
    }
    assert_eq!(double.requests().len(), requests);
    assert_eq!(double.events().len(), events);
    assert!(requests >= 30, "{requests} requests were found");
}

#[tokio::test]
async fn one_invalid_event_stores_none_and_the_attempt_is_still_seen() {
    let double = double().await;
    let batch = json!({"api_key": TOKEN, "batch": [
        {"event": "a", "distinct_id": "ann", "uuid": "0198c0de-0000-7000-8000-000000000001", "timestamp": "2026-11-22T14:00:00Z"},
        {"event": "b"},
    ]});
    let answer = post(&double, "/batch/", &batch).await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (400, "event b has no distinct_id")
    );
    assert!(double.events().is_empty());
    let request = &double.requests()[0];
    assert_eq!(
        (request.status, request.authorization),
        (Some(400), Authorization::None)
    );
    assert_eq!(
        request.events[0].uuid.as_deref(),
        Some("0198c0de-0000-7000-8000-000000000001")
    );
    assert_eq!(
        request.events[0].timestamp.as_deref(),
        Some("2026-11-22T14:00:00Z")
    );
    assert_eq!(request.events[1].event.as_deref(), Some("b"));
}

#[tokio::test]
async fn the_statuses_are_posthogs() {
    let double = double().await;
    let event = json!({"event": "a", "distinct_id": "ann"});
    for (target, body, status) in [
        ("/batch", json!({"batch": [event]}), 401),
        (
            "/batch",
            json!({"api_key": "phc_other", "batch": [event]}),
            401,
        ),
        ("/batch", json!({"api_key": TOKEN, "batch": []}), 400),
        (
            "/e?beacon=1",
            json!({"api_key": TOKEN, "event": "a", "distinct_id": "ann"}),
            204,
        ),
        (
            "/capture/",
            json!([{"token": TOKEN, "event": "a", "distinct_id": "ann"}]),
            200,
        ),
        ("/nowhere", json!({}), 404),
    ] {
        assert_eq!(
            post(&double, target, &body).await.status,
            status,
            "{target} {body}"
        );
    }
    let single = vec![b' '; (2 << 20) + 1];
    assert_eq!(
        send(&double, "POST", "/e", &[], &single)
            .await
            .unwrap()
            .status,
        413
    );
    assert_eq!(
        send(&double, "POST", "/e", &[], &gzip(&single))
            .await
            .unwrap()
            .status,
        413
    );
    assert_eq!(
        send(&double, "POST", "/e", &[], b"{").await.unwrap().status,
        400
    );
    assert_eq!(double.events().len(), 2);
}

#[tokio::test]
async fn the_control_paths_show_events_persons_and_requests() {
    let double = double().await;
    let batch = json!({"api_key": TOKEN, "batch": [
        {"event": "a", "distinct_id": "anon"},
        {"event": "$identify", "distinct_id": "ann", "properties": {"$anon_distinct_id": "anon"}},
        {"event": "a", "distinct_id": "ann"},
    ]});
    post(&double, "/batch", &batch).await;
    let get = async |target| send(&double, "GET", target, &[], b"").await.unwrap().json();
    let sequences = |events: Value| {
        events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["sequence"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(sequences(get("/_double/events").await), [1, 2, 3]);
    assert_eq!(sequences(get("/_double/events?event=a").await), [1, 3]);
    assert_eq!(
        sequences(get("/_double/events?event=%24identify&distinct_id=ann").await),
        [2]
    );
    assert_eq!(sequences(get("/_double/events?after=1&limit=1").await), [2]);
    assert_eq!(
        get("/_double/persons").await[0]["distinct_ids"],
        json!(["anon", "ann"])
    );
    assert_eq!(get("/_double/requests").await.as_array().unwrap().len(), 1);
    let front = send(&double, "GET", "/", &[], b"").await.unwrap();
    assert!(front.text.contains("PostHog double: not PostHog"));
}
