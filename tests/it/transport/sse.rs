//! GraphQL as server-sent events, frame by frame. The reference client is in `clients/checks/sse.test.mjs`.

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::toy::Running;

const EVENTS: &str = "text/event-stream";

/// Longer than anything waits here.
const PATIENCE: Duration = Duration::from_secs(20);

fn ask(toy: &Running, query: &str) -> RequestBuilder {
    Client::new()
        .post(toy.url())
        .header(header::ACCEPT, EVENTS)
        .json(&json!({ "query": query }))
}

/// One event as it was written.
#[derive(Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Event {
    fn next(id: Option<&str>, data: Value) -> Self {
        Self {
            name: "next".to_owned(),
            id: id.map(str::to_owned),
            data,
        }
    }
    fn complete() -> Self {
        Self {
            name: "complete".to_owned(),
            ..Self::default()
        }
    }
    fn read(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "id" => event.id = Some(value.to_owned()),
                "data" if value.is_empty() => {}
                "data" => event.data = serde_json::from_str(value).unwrap(),
                other => panic!("{other}"),
            }
        }
        event
    }
}

/// An open stream of events.
struct Stream {
    response: Response,
    read: String,
}

impl Stream {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], EVENTS);
        Self {
            response,
            read: String::new(),
        }
    }
    /// The next event that is no comment; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let event =
                    (!event.is_empty() && !event.starts_with(':')).then(|| Event::read(event));
                let rest = rest.to_owned();
                self.read = rest;
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("the server keeps silent").unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
    async fn rest(&mut self) -> Vec<Event> {
        let mut events = vec![];
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

async fn events(request: RequestBuilder) -> Vec<Event> {
    Stream::open(request).await.rest().await
}

fn code(data: &Value) -> &str {
    data["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_default()
}

#[tokio::test]
async fn a_query_and_a_mutation_are_one_event_and_the_end() {
    let toy = Running::start().await;
    for (query, data) in [
        ("{ hello }", json!({"hello": "hello"})),
        ("mutation { write(ms: 0) }", json!({"write": 1})),
    ] {
        let stream = Stream::open(ask(&toy, query)).await;
        let headers = stream.response.headers();
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-accel-buffering"], "no");
        assert!(!headers.contains_key("content-length"));
        let mut stream = stream;
        assert_eq!(
            stream.rest().await,
            [Event::next(None, json!({"data": data})), Event::complete()],
            "{query}"
        );
    }
    // As bytes: a browser passes over an event without a field of data.
    let text = ask(&toy, "{ hello }").send().await.unwrap().text().await;
    assert_eq!(
        text.unwrap(),
        "event: next\ndata: {\"data\":{\"hello\":\"hello\"}}\n\nevent: complete\ndata: \n\n"
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_document_is_said_in_the_stream_and_the_rest_by_http() {
    let toy = Running::start().await;
    for (query, expected) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ unknown }", ""),
        ("subscription { unknown }", ""),
        ("{ boom }", "INTERNAL"),
    ] {
        let events = events(ask(&toy, query)).await;
        assert_eq!(events.len(), 2, "{query}: {events:?}");
        assert_eq!(code(&events[0].data), expected, "{query}: {events:?}");
        assert!(events[0].data["errors"][0]["message"].is_string());
        assert_eq!(events[1], Event::complete());
    }
    let mutation_by_get = Client::new()
        .get(format!("{}?query=mutation{{write(ms:0)}}", toy.url()))
        .header(header::ACCEPT, EVENTS);
    let batch = Client::new()
        .post(toy.url())
        .header(header::ACCEPT, EVENTS)
        .json(&json!([{"query": "{ hello }"}]));
    let credential = ask(&toy, "subscription { count(to: 1, ms: 0) }")
        .header(header::AUTHORIZATION, "Bearer bad");
    for (request, status, expected) in [
        (credential, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        (
            mutation_by_get,
            StatusCode::METHOD_NOT_ALLOWED,
            "BAD_REQUEST",
        ),
        (batch, StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        (
            ask(&toy, &"[".repeat(100_000)),
            StatusCode::BAD_REQUEST,
            "QUERY_TOO_COMPLEX",
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(code(&answer), expected, "{answer}");
    }
    assert_eq!(toy.counts.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn each_item_carries_its_cursor_though_the_document_asks_for_none() {
    let toy = Running::start().await;
    let item = |number: u64| {
        let id = format!("at-{number}");
        Event::next(Some(&id), json!({"data": {"placed": number}}))
    };
    let query = "subscription { placed(to: 3, ms: 1) }";
    assert_eq!(
        events(ask(&toy, query)).await,
        [item(0), item(1), item(2), Event::complete()]
    );
    // What was received last is newer than what the document says.
    for query in [
        query,
        "subscription { placed(to: 3, ms: 1, after: \"at-0\") }",
    ] {
        let resumed = ask(&toy, query).header("last-event-id", "at-1");
        assert_eq!(
            events(resumed).await,
            [item(2), Event::complete()],
            "{query}"
        );
    }
    let after = "subscription { placed(to: 3, ms: 1, after: \"at-1\") }";
    assert_eq!(events(ask(&toy, after)).await, [item(2), Event::complete()]);
    let foreign = events(ask(&toy, query).header("last-event-id", "else")).await;
    assert_eq!(foreign[0].data["errors"][0]["message"], "no cursor");
}

#[tokio::test]
async fn a_client_that_takes_json_first_gets_streams_for_subscriptions_alone() {
    let toy = Running::start().await;
    let all = "application/graphql-response+json, application/json, text/event-stream";
    let asked = |query: &str| {
        Client::new()
            .post(toy.url())
            .header(header::ACCEPT, all)
            .json(&json!({ "query": query }))
    };
    let answer = asked("{ hello }").send().await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "application/graphql-response+json; charset=utf-8"
    );
    let count = "subscription { count(to: 1, ms: 0) }";
    let counted = [
        Event::next(None, json!({"data": {"count": 0}})),
        Event::complete(),
    ];
    assert_eq!(events(asked(count)).await, counted);
    let by_get = Client::new()
        .get(format!(
            "{}?query=subscription{{count(to:1,ms:0)}}",
            toy.url()
        ))
        .header(header::ACCEPT, EVENTS);
    assert_eq!(events(by_get).await, counted);
    let refused = Client::new()
        .post(toy.url())
        .json(&json!({ "query": count }))
        .send()
        .await
        .unwrap();
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(code(&refused), "OPERATION_RESOLUTION_FAILURE");
}

#[tokio::test]
async fn a_client_that_goes_takes_its_stream_along() {
    let toy = Running::start().await;
    for query in [
        "subscription { flood }",
        "subscription { count(to: 1000000, ms: 10) }",
        "subscription { count(to: 1000000, ms: 1000000) }",
    ] {
        let stream = Stream::open(ask(&toy, query)).await;
        toy.until(|counts| &counts.live, 1).await;
        drop(stream);
        toy.until(|counts| &counts.live, 0).await;
    }
}

#[tokio::test]
async fn a_stream_waits_for_a_reader() {
    let toy = Running::start().await;
    let stream = Stream::open(ask(&toy, "subscription { flood }")).await;
    // Nothing more is read here. What the stream makes fills the buffers, and then it stands.
    let produced = || toy.counts.produced.load(Ordering::SeqCst);
    let mut seen = produced();
    let mut same = 0;
    for _ in 0..150 {
        sleep(Duration::from_millis(100)).await;
        same = if produced() == seen { same + 1 } else { 0 };
        seen = produced();
        if same == 20 {
            break;
        }
    }
    assert_eq!(same, 20, "{seen} items for a peer that reads nothing");
    drop(stream);
    toy.until(|counts| &counts.live, 0).await;
}

/// With `complete`: a client that only lost its connection would come again, and again.
#[tokio::test]
async fn a_credential_that_expires_ends_the_stream_with_an_error() {
    let toy = Running::start().await;
    for query in [
        "subscription { count(to: 1000000, ms: 1000000) }",
        "subscription { count(to: 1000000, ms: 10) }",
        "subscription { flood }",
    ] {
        let short = ask(&toy, query).header(header::AUTHORIZATION, "Bearer short");
        let mut events = events(short).await;
        assert_eq!(events.pop(), Some(Event::complete()), "{query}");
        let last = events.pop().unwrap();
        assert_eq!(code(&last.data), "UNAUTHENTICATED", "{query}");
        toy.until(|counts| &counts.live, 0).await;
    }
}

#[tokio::test]
async fn a_stream_that_panics_says_nothing_but_that_it_failed() {
    let toy = Running::start().await;
    let events = events(ask(&toy, "subscription { panics }")).await;
    assert_eq!(events[0], Event::next(None, json!({"data": {"panics": 0}})));
    assert_eq!(code(&events[1].data), "INTERNAL");
    assert!(!events[1].data.to_string().contains("secret"));
    assert_eq!(events[2], Event::complete());
}

#[tokio::test]
async fn a_process_that_stops_ends_streams_without_completing_them() {
    let toy = Running::start().await;
    let mut stream = Stream::open(ask(&toy, "subscription { count(to: 1000000, ms: 10) }")).await;
    assert!(stream.next().await.is_some());
    toy.stop();
    let rest = stream.rest().await;
    assert!(!rest.contains(&Event::complete()), "{rest:?}");
    toy.stopped().await;
}
