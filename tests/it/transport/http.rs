//! GraphQL over HTTP, as a client sees it.

use std::{sync::atomic::Ordering, time::Duration};

use api::transport::{BATCH_MAX, BODY_BYTES_MAX};
use reqwest::{Client, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};

use super::toy::Running;

const NEW: &str = "application/graphql-response+json";

fn post(toy: &Running, body: impl Into<reqwest::Body>) -> RequestBuilder {
    Client::new()
        .post(toy.url())
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
}

fn ask(toy: &Running, query: &str) -> RequestBuilder {
    post(toy, json!({"query": query}).to_string())
}

async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_default()
}

/// A foreign page can make a browser send these without asking; so none of them may write.
#[tokio::test]
async fn what_a_foreign_page_may_send_is_refused() {
    let toy = Running::start().await;
    let mutation = json!({"query": "mutation { write(ms: 0) }"}).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let request = Client::new()
            .post(toy.url())
            .header(header::CONTENT_TYPE, kind)
            .body(mutation.clone());
        assert_eq!(
            told(request).await.0,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{kind}"
        );
    }
    let by_get = Client::new().get(format!("{}?query=mutation{{write(ms:0)}}", toy.url()));
    let response = by_get.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        response.headers()["allow"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    assert_eq!(toy.counts.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_is_refused_learns_it_before_the_document_is_read() {
    let toy = Running::start().await;
    for (credential, status, expected) in [
        ("Bearer bad", StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        ("Bearer down", StatusCode::SERVICE_UNAVAILABLE, "INTERNAL"),
        ("Bearer panic", StatusCode::SERVICE_UNAVAILABLE, "INTERNAL"),
    ] {
        let request = post(&toy, "{").header(header::AUTHORIZATION, credential);
        let (got, answer) = told(request).await;
        assert_eq!(
            (got, code(&answer)),
            (status, expected),
            "{credential}: {answer}"
        );
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    let foreign = ask(&toy, "{ hello }").header(header::ORIGIN, "http://evil.example");
    assert_eq!(told(foreign).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_body_may_have_1_mib_and_no_byte_more() {
    let toy = Running::start().await;
    let body = |bytes: usize| {
        let empty = json!({"query": "{ hello }", "extensions": {"a": ""}}).to_string();
        let padding = "x".repeat(bytes - empty.len());
        json!({"query": "{ hello }", "extensions": {"a": padding}}).to_string()
    };
    assert_eq!(
        told(post(&toy, body(BODY_BYTES_MAX))).await,
        (StatusCode::OK, json!({"data": {"hello": "hello"}}))
    );
    assert_eq!(
        told(post(&toy, body(BODY_BYTES_MAX + 1))).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

/// The library's parser dies of these (see the crate `document`).
#[tokio::test]
async fn what_nests_too_deep_is_refused_by_post_and_get_and_in_a_batch() {
    let toy = Running::start().await;
    for query in [
        "[".repeat(100_000),
        format!("{{ hello(name: {}", "[".repeat(100_000)),
        format!("query($a: {}) {{ hello }}", "[".repeat(100_000)),
        format!("{{ hello(name: {}", "{a:".repeat(100_000)),
    ] {
        for body in [
            json!({"query": query}),
            json!([{"query": "{ hello }"}, {"query": query}]),
        ] {
            let (status, answer) = told(post(&toy, body.to_string())).await;
            let refused = if answer.is_array() {
                &answer[1]
            } else {
                &answer
            };
            assert_eq!(code(refused), "QUERY_TOO_COMPLEX", "{status} {answer}");
            assert!(answer.to_string().len() < 400, "{answer}");
        }
    }
    let by_get = Client::new().get(format!("{}?query={}", toy.url(), "[".repeat(2_000)));
    let (status, answer) = told(by_get).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::BAD_REQUEST, "QUERY_TOO_COMPLEX")
    );
    for malformed in [
        "[".repeat(500_000),
        format!(
            "{{\"query\":\"{{hello}}\",\"variables\":{{\"a\":{}",
            "[".repeat(500_000)
        ),
    ] {
        assert_eq!(told(post(&toy, malformed)).await.0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_batch_is_executed_in_order_and_bounded() {
    let toy = Running::start().await;
    let batch =
        json!([{"query": "mutation { write(ms: 50) }"}, {"query": "{ hello }"}, {"query": "{"}]);
    let (status, answer) = told(post(&toy, batch.to_string())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer[0], json!({"data": {"write": 1}}));
    assert_eq!(answer[1], json!({"data": {"hello": "hello"}}));
    assert_eq!(code(&answer[2]), "GRAPHQL_PARSE_FAILED");
    for (size, status) in [
        (0, StatusCode::BAD_REQUEST),
        (BATCH_MAX, StatusCode::OK),
        (BATCH_MAX + 1, StatusCode::BAD_REQUEST),
    ] {
        let batch = Value::Array(vec![json!({"query": "{ hello }"}); size]);
        assert_eq!(
            told(post(&toy, batch.to_string())).await.0,
            status,
            "{size}"
        );
    }
}

#[tokio::test]
async fn a_panic_says_nothing_but_its_request() {
    let toy = Running::start().await;
    let request = ask(&toy, "{ boom }")
        .header(header::ACCEPT, NEW)
        .header("x-request-id", "mine-1");
    let (status, answer) = told(request).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        answer,
        json!({"errors": [{"message": "internal error", "extensions": {"code": "INTERNAL", "requestId": "mine-1"}}]})
    );
}

#[tokio::test]
async fn a_field_that_failed_is_no_failed_request() {
    let toy = Running::start().await;
    let (status, answer) = told(ask(&toy, "{ nope }").header(header::ACCEPT, NEW)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["errors"][0]["path"], json!(["nope"]));
}

/// A handler is dropped with its connection, and a write halfway would be too.
#[tokio::test]
async fn hanging_up_does_not_stop_a_mutation() {
    let toy = Running::start().await;
    for number in 1..=10 {
        let request = ask(&toy, "mutation { write(ms: 200) }").timeout(Duration::from_secs(5));
        {
            let sent = request.send();
            let mut sent = std::pin::pin!(sent);
            tokio::select! {
                answer = &mut sent => panic!("answered before it was dropped: {answer:?}"),
                () = toy.until(|counts| &counts.started, number) => {}
            }
        }
    }
    toy.until(|counts| &counts.written, 10).await;
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up_and_a_mutation_is_not() {
    let toy = Running::start().await;
    let late = |answer: &Value| {
        assert_eq!(code(answer), "TIMEOUT", "{answer}");
        assert_eq!(answer.get("data"), None);
    };
    let request = ask(&toy, "{ hang }").header(header::ACCEPT, NEW);
    let (status, answer) = told(request).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    late(&answer);
    let batch = json!([{"query": "{ hello }"}, {"query": "{ hang }"}]);
    let (status, answer) = told(post(&toy, batch.to_string())).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    late(&answer);
    toy.until(|counts| &counts.live, 0).await;

    for (number, body) in [
        (1, json!({"query": "mutation { write(ms: 4000) }"})),
        (2, json!([{"query": "mutation { write(ms: 4000) }"}])),
    ] {
        let (_, answer) = told(post(&toy, body.to_string())).await;
        late(&answer);
        toy.until(|counts| &counts.written, number).await;
    }
}

#[tokio::test]
async fn hanging_up_ends_a_query() {
    let toy = Running::start().await;
    let request = ask(&toy, "{ hang }");
    {
        let sent = request.send();
        let mut sent = std::pin::pin!(sent);
        tokio::select! {
            answer = &mut sent => panic!("answered before it was dropped: {answer:?}"),
            () = toy.until(|counts| &counts.live, 1) => {}
        }
    }
    toy.until(|counts| &counts.live, 0).await;
}
