use std::io::ErrorKind;
use std::time::Duration;

use posthog_double::{Double, Endpoint, Failure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{TOKEN, double, post, send};

const SHORT: Duration = Duration::from_millis(300);

fn event() -> Value {
    json!({"api_key": TOKEN, "event": "a", "distinct_id": "ann"})
}

#[tokio::test]
async fn statuses_play_in_order_with_retry_after_and_no_effect() {
    let double = double().await;
    double.fail(
        Endpoint::Capture,
        Failure::Status {
            code: 429,
            retry_after: Some(2),
            times: Some(1),
        },
    );
    double.fail(
        Endpoint::Capture,
        Failure::Status {
            code: 503,
            retry_after: None,
            times: Some(1),
        },
    );
    let first = post(&double, "/batch", &event()).await;
    assert_eq!(
        (first.status, first.header("retry-after")),
        (429, Some("2"))
    );
    assert_eq!(
        post(&double, "/batch", &event()).await.text,
        "transient error, please retry"
    );
    assert!(double.events().is_empty());
    assert_eq!(
        post(&double, "/batch", &event()).await.json(),
        json!({"status": "Ok"})
    );
    let statuses: Vec<_> = double
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [Some(429), Some(503), Some(200)]);
}

#[tokio::test]
async fn a_timeout_never_answers_and_stores_nothing() {
    let double = double().await;
    double.fail(Endpoint::Capture, Failure::Timeout { times: Some(1) });
    assert!(
        timeout(SHORT, post(&double, "/batch", &event()))
            .await
            .is_err()
    );
    assert!(double.events().is_empty());
    assert_eq!(double.requests()[0].status, None);
    assert_eq!(post(&double, "/batch", &event()).await.status, 200);
}

#[tokio::test]
async fn a_half_open_answer_stops_in_the_middle_after_storing() {
    let double = double().await;
    double.fail(Endpoint::Capture, Failure::HalfOpen { times: Some(1) });
    let mut stream = TcpStream::connect(double.address()).await.unwrap();
    let body = event().to_string();
    let request = format!(
        "POST /batch HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    assert!(timeout(SHORT, stream.read_to_end(&mut got)).await.is_err());
    let got = String::from_utf8(got).unwrap();
    assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
    assert!(!got.contains("Ok\"}"), "{got}");
    assert_eq!(double.events().len(), 1);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let double = double().await;
    double.fail(Endpoint::Capture, Failure::Reset { times: Some(1) });
    let error = send(
        &double,
        "POST",
        "/batch",
        &[],
        event().to_string().as_bytes(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(double.events().is_empty());
}

#[tokio::test]
async fn over_quota_capture_says_ok_and_drops() {
    let double = double().await;
    double.fail(Endpoint::Capture, Failure::Quota);
    assert_eq!(
        post(&double, "/batch", &event()).await.json(),
        json!({"status": "Ok"})
    );
    assert!(double.events().is_empty());
    double.heal();
    post(&double, "/batch", &event()).await;
    assert_eq!(double.events().len(), 1);
}

#[tokio::test]
async fn a_poisonous_event_refuses_its_whole_batch() {
    let double = double().await;
    assert_eq!(
        post(&double, "/_double/poison", &json!({"event": "bad"}))
            .await
            .status,
        200
    );
    let batch = |names: &[&str]| {
        let events: Vec<_> = names
            .iter()
            .map(|name| json!({"event": name, "distinct_id": "ann"}))
            .collect();
        json!({"api_key": TOKEN, "batch": events})
    };
    assert_eq!(
        post(&double, "/batch", &batch(&["good", "bad"]))
            .await
            .status,
        400
    );
    assert!(double.events().is_empty());
    assert_eq!(post(&double, "/batch", &batch(&["good"])).await.status, 200);
}

#[tokio::test]
async fn failures_are_ordered_over_http_too() {
    let double = double().await;
    let order = json!({"endpoint": "capture", "failure": "status", "code": 500, "times": 1});
    assert_eq!(post(&double, "/_double/fail", &order).await.status, 200);
    assert_eq!(post(&double, "/batch", &event()).await.status, 500);
    assert_eq!(post(&double, "/batch", &event()).await.status, 200);
    assert_eq!(
        post(
            &double,
            "/_double/fail",
            &json!({"endpoint": "capture", "failure": "nope"})
        )
        .await
        .status,
        400
    );
    post(
        &double,
        "/_double/fail",
        &json!({"endpoint": "capture", "failure": "quota"}),
    )
    .await;
    assert_eq!(post(&double, "/_double/heal", &json!({})).await.status, 200);
    post(&double, "/batch", &event()).await;
    assert_eq!(double.events().len(), 2);
}

#[tokio::test]
async fn requests_under_way_are_counted() {
    let double = double().await;
    double.fail(
        Endpoint::Capture,
        Failure::Slow {
            delay_ms: 200,
            times: Some(2),
        },
    );
    let (first, second) = (event(), event());
    tokio::join!(
        post(&double, "/batch", &first),
        post(&double, "/batch", &second)
    );
    post(&double, "/batch", &first).await;
    let in_flight: Vec<_> = double
        .requests()
        .iter()
        .map(|request| request.in_flight)
        .collect();
    assert_eq!(in_flight, [1, 2, 1]);
}

#[tokio::test]
async fn it_stops_at_once_even_with_hanging_requests_and_frees_its_port() {
    let double = double().await;
    double.fail(Endpoint::Capture, Failure::Timeout { times: None });
    let address = double.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /batch HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    timeout(Duration::from_secs(2), Double::stop(double))
        .await
        .unwrap();
    let mut rest = Vec::new();
    assert!(
        timeout(SHORT, stream.read_to_end(&mut rest)).await.is_ok(),
        "the connection is closed"
    );
    assert!(TcpStream::connect(address).await.is_err());
}
