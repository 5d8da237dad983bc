//! `graphql-transport-ws`, frame by frame.

use std::{sync::atomic::Ordering, time::Duration};

use api::transport::{BODY_BYTES_MAX, SUBSCRIPTIONS_MAX};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::HeaderValue,
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::toy::Running;

/// Longer than anything waits here but the 3 s for `connection_init`.
const PATIENCE: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(toy: &Running, headers: &[(&'static str, &str)]) -> Self {
        let mut request = format!("ws://{}/graphql", toy.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert(*name, value);
        }
        Self(connect_async(request).await.unwrap().0)
    }
    /// Opened with our subprotocol.
    async fn ours(toy: &Running) -> Self {
        Self::open(toy, OURS).await
    }
    async fn acknowledged(toy: &Running) -> Self {
        let mut socket = Self::ours(toy).await;
        socket.init(None).await;
        assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
        socket
    }
    async fn send(&mut self, message: Message) {
        // The server may have hung up already; what it says about that is what counts.
        let _ = self.0.send(message).await;
    }
    async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }
    async fn init(&mut self, credential: Option<&str>) {
        let payload = credential.map(|credential| json!({"authorization": credential}));
        self.say(json!({"type": "connection_init", "payload": payload}))
            .await;
    }
    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"type": "subscribe", "id": id, "payload": {"query": query}}))
            .await;
    }
    /// The next message that is not a ping.
    async fn hear(&mut self) -> Value {
        loop {
            let heard = timeout(PATIENCE, self.0.next()).await;
            match heard.expect("the server keeps silent").unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }
    /// Why the server hangs up, whatever it says before.
    async fn close(&mut self) -> CloseFrame {
        let reason = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame,
                    Some(Ok(Message::Close(None)) | Err(_)) | None => {
                        panic!("hung up without a word")
                    }
                    Some(Ok(_)) => {}
                }
            }
        };
        timeout(PATIENCE, reason)
            .await
            .expect("the server does not hang up")
    }
    /// The server hangs up with `code`; its reason fits into a frame.
    async fn assert_closes(&mut self, code: u16, case: &str) {
        let frame = self.close().await;
        assert_eq!(u16::from(frame.code), code, "{case}: {}", frame.reason);
        assert!(frame.reason.len() <= 123, "{case}: {}", frame.reason);
    }
}

const OURS: &[(&str, &str)] = &[("sec-websocket-protocol", "graphql-transport-ws")];
const FOREVER: &str = "subscription { count(to: 1000000, ms: 10) }";

#[tokio::test]
async fn another_subprotocol_is_4406() {
    let toy = Running::start().await;
    for headers in [&[] as &[_], &[("sec-websocket-protocol", "graphql-ws")]] {
        let mut socket = Socket::open(&toy, headers).await;
        socket.assert_closes(4406, &format!("{headers:?}")).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_introduce_itself_is_4408() {
    let toy = Running::start().await;
    let mut socket = Socket::ours(&toy).await;
    // A ping is no introduction.
    socket
        .say(json!({"type": "ping", "payload": {"a": 1}}))
        .await;
    assert_eq!(
        socket.hear().await,
        json!({"type": "pong", "payload": {"a": 1}})
    );
    socket.assert_closes(4408, "no connection_init").await;
}

#[tokio::test]
async fn an_operation_before_the_acknowledgement_is_4401() {
    let toy = Running::start().await;
    let mut early = Socket::ours(&toy).await;
    early.subscribe("1", "{ hello }").await;
    early.assert_closes(4401, "before connection_init").await;
    let mut hasty = Socket::ours(&toy).await;
    hasty.init(Some("Bearer slow")).await;
    hasty.subscribe("1", "{ hello }").await;
    hasty.assert_closes(4401, "before connection_ack").await;
}

#[tokio::test]
async fn a_second_introduction_is_4429() {
    let toy = Running::start().await;
    let mut hasty = Socket::ours(&toy).await;
    hasty.init(Some("Bearer slow")).await;
    hasty.init(None).await;
    hasty
        .assert_closes(4429, "while the first is looked at")
        .await;
    let mut late = Socket::acknowledged(&toy).await;
    late.init(None).await;
    late.assert_closes(4429, "after the first").await;
}

#[tokio::test]
async fn a_refused_credential_is_4403() {
    let toy = Running::start().await;
    let mut told = Socket::ours(&toy).await;
    told.init(Some("Bearer bad")).await;
    told.assert_closes(4403, "in connection_init").await;
    let bad = [OURS, &[("authorization", "Bearer bad")]].concat();
    let foreign = [OURS, &[("origin", "http://evil.example")]].concat();
    for headers in [bad, foreign] {
        let mut socket = Socket::open(&toy, &headers).await;
        socket.init(None).await;
        socket.assert_closes(4403, &format!("{headers:?}")).await;
    }
    let mut unknown = Socket::ours(&toy).await;
    unknown.init(Some("Bearer down")).await;
    unknown.assert_closes(1013, "not checked").await;
}

#[tokio::test]
async fn a_credential_that_expires_is_4403() {
    let toy = Running::start().await;
    for query in [None, Some(FOREVER), Some("subscription { flood }")] {
        let mut socket = Socket::ours(&toy).await;
        socket.init(Some("Bearer short")).await;
        if let Some(query) = query {
            assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
            socket.subscribe("1", query).await;
        }
        socket.assert_closes(4403, &format!("{query:?}")).await;
    }
    toy.until(|counts| &counts.live, 0).await;
}

#[tokio::test]
async fn what_is_no_message_is_4400() {
    let toy = Running::start().await;
    let text = |text: String| vec![Message::text(text)];
    let cases = [
        ("no JSON", text("{".into())),
        (
            "an unknown type",
            text(json!({"type": "start"}).to_string()),
        ),
        ("binary", vec![Message::binary(b"{}".to_vec())]),
        (
            "no query",
            text(json!({"type": "subscribe", "id": "1", "payload": {}}).to_string()),
        ),
        ("deep JSON", text("[".repeat(500_000))),
        ("a byte over 1 MiB", text("x".repeat(BODY_BYTES_MAX + 1))),
        (
            "no UTF-8",
            vec![Message::Frame(Frame::message(
                vec![0xff, 0xfe],
                OpCode::Data(Data::Text),
                true,
            ))],
        ),
        (
            "over 1 MiB in parts",
            (0..5)
                .map(|part| {
                    let kind = if part == 0 {
                        Data::Text
                    } else {
                        Data::Continue
                    };
                    Message::Frame(Frame::message(
                        "x".repeat(300_000),
                        OpCode::Data(kind),
                        part == 4,
                    ))
                })
                .collect(),
        ),
    ];
    for (case, messages) in cases {
        let mut socket = Socket::acknowledged(&toy).await;
        for message in messages {
            socket.send(message).await;
        }
        socket.assert_closes(4400, case).await;
    }
}

#[tokio::test]
async fn a_message_of_1_mib_is_read() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    let ping = |padding: &str| json!({"type": "ping", "payload": {"a": padding}});
    let padding = "x".repeat(BODY_BYTES_MAX - ping("").to_string().len());
    socket.say(ping(&padding)).await;
    assert_eq!(socket.hear().await["payload"]["a"], json!(padding));
}

#[tokio::test]
async fn an_id_in_use_is_4409_and_its_length_does_not_break_the_reason() {
    let toy = Running::start().await;
    for id in ["1".to_owned(), "ü".repeat(100)] {
        let mut socket = Socket::acknowledged(&toy).await;
        socket.subscribe(&id, FOREVER).await;
        socket.subscribe(&id, FOREVER).await;
        socket.assert_closes(4409, &id).await;
    }
    toy.until(|counts| &counts.live, 0).await;
}

#[tokio::test]
async fn one_socket_holds_100_operations() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    for id in 0..SUBSCRIPTIONS_MAX {
        let query = "subscription { count(to: 1000000, ms: 60000) }";
        socket.subscribe(&id.to_string(), query).await;
    }
    toy.until(|counts| &counts.live, SUBSCRIPTIONS_MAX as u64)
        .await;
    socket.say(json!({"type": "complete", "id": "0"})).await;
    socket.subscribe("more", "{ hello }").await;
    let next = json!({"type": "next", "id": "more", "payload": {"data": {"hello": "hello"}}});
    assert_eq!(socket.hear().await, next);
    assert_eq!(
        socket.hear().await,
        json!({"type": "complete", "id": "more"})
    );
    socket.subscribe("100", FOREVER).await;
    socket.subscribe("101", FOREVER).await;
    socket.assert_closes(4429, "the 101st").await;
    toy.until(|counts| &counts.live, 0).await;
}

#[tokio::test]
async fn a_request_that_fails_is_an_error_and_a_field_that_fails_is_not() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        (&"[".repeat(100_000), "QUERY_TOO_COMPLEX"),
        ("{ boom }", "INTERNAL"),
    ] {
        socket.subscribe("1", query).await;
        let error = socket.hear().await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{error}");
        assert!(error.to_string().len() < 400, "{error}");
    }
    for query in ["{ unknown }", "subscription { unknown }"] {
        socket.subscribe("1", query).await;
        assert_eq!(socket.hear().await["type"], "error", "{query}");
    }
    socket.subscribe("1", "{ nope }").await;
    let next = socket.hear().await;
    assert_eq!(next["type"], "next", "{next}");
    assert_eq!(next["payload"]["errors"][0]["message"], "the field failed");
    assert_eq!(socket.hear().await["type"], "complete");
    socket.subscribe("1", "subscription { panics }").await;
    assert_eq!(socket.hear().await["payload"]["data"], json!({"panics": 0}));
    let error = socket.hear().await;
    assert_eq!(error["payload"][0]["extensions"]["code"], "INTERNAL");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn each_operation_has_a_request_id_of_its_own() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    let mut ids = Vec::new();
    for id in ["1", "2"] {
        socket.subscribe(id, "{ requestId }").await;
        ids.push(socket.hear().await["payload"]["data"]["requestId"].clone());
        socket.hear().await;
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn what_was_completed_is_dropped_and_its_id_is_free() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    for _ in 0..50 {
        socket
            .subscribe("1", "subscription { count(to: 1000, ms: 0) }")
            .await;
        socket.say(json!({"type": "complete", "id": "1"})).await;
    }
    socket.subscribe("1", "{ hello }").await;
    // What the streams said before they were completed may still come; nothing of theirs comes after the answer.
    let answer = loop {
        let heard = socket.hear().await;
        if heard["payload"]["data"]["hello"].is_string() {
            break heard;
        }
    };
    assert_eq!(answer["id"], "1");
    assert_eq!(socket.hear().await, json!({"type": "complete", "id": "1"}));
    toy.until(|counts| &counts.live, 0).await;
}

/// A stream that is always ready never waits, so no cancellation reaches it by itself.
#[tokio::test]
async fn a_socket_that_goes_takes_its_streams_along() {
    let toy = Running::start().await;
    // A flood that nobody reads holds the socket, so there is one of it.
    for (query, streams) in [("subscription { flood }", 1), (FOREVER, 20)] {
        let mut socket = Socket::acknowledged(&toy).await;
        for id in 0..streams {
            socket.subscribe(&id.to_string(), query).await;
        }
        toy.until(|counts| &counts.live, streams).await;
        drop(socket);
        toy.until(|counts| &counts.live, 0).await;
    }
}

#[tokio::test]
async fn a_stream_waits_for_a_reader() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    socket.subscribe("1", "subscription { flood }").await;
    toy.until(|counts| &counts.live, 1).await;
    // Nothing is read here. What the stream makes fills the sockets' buffers, and then it stands.
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
    drop(socket);
    toy.until(|counts| &counts.live, 0).await;
}

#[tokio::test]
async fn neither_complete_nor_hanging_up_stops_a_mutation() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    for id in ["1", "2"] {
        socket.subscribe(id, "mutation { write(ms: 300) }").await;
    }
    toy.until(|counts| &counts.started, 2).await;
    socket.say(json!({"type": "complete", "id": "2"})).await;
    drop(socket);
    toy.until(|counts| &counts.written, 2).await;
}

#[tokio::test]
async fn a_process_that_stops_answers_mutations_and_closes_streams() {
    let toy = Running::start().await;
    let mut writer = Socket::acknowledged(&toy).await;
    let mut reader = Socket::acknowledged(&toy).await;
    reader.subscribe("1", FOREVER).await;
    writer.subscribe("1", "mutation { write(ms: 500) }").await;
    toy.until(|counts| &counts.started, 1).await;
    toy.stop();
    reader.assert_closes(1001, "a stream").await;
    let next = writer.hear().await;
    assert_eq!(next["payload"]["data"], json!({"write": 1}));
    assert_eq!(writer.hear().await["type"], "complete");
    writer.assert_closes(1001, "after its answer").await;
    drop((writer, reader));
    toy.stopped().await;
}

#[tokio::test]
async fn a_query_ends_with_its_socket_or_when_it_is_completed_or_late() {
    let toy = Running::start().await;
    let mut socket = Socket::acknowledged(&toy).await;
    socket.subscribe("1", "{ hang }").await;
    toy.until(|counts| &counts.live, 1).await;
    socket.say(json!({"type": "complete", "id": "1"})).await;
    toy.until(|counts| &counts.live, 0).await;
    socket.subscribe("2", "{ hang }").await;
    let error = socket.hear().await;
    assert_eq!(error["type"], "error", "{error}");
    assert_eq!(error["payload"][0]["extensions"]["code"], "TIMEOUT");
    toy.until(|counts| &counts.live, 0).await;
    socket.subscribe("3", "{ hang }").await;
    toy.until(|counts| &counts.live, 1).await;
    drop(socket);
    toy.until(|counts| &counts.live, 0).await;
}

/// The server's frame comes every 15 s, and its message with it: scripts in browsers see no frames.
#[tokio::test]
async fn the_server_pings_and_a_peer_that_says_nothing_is_left() {
    let toy = Running::start().await;
    // Reads nothing, so its library answers nothing either.
    let mut dead = Socket::acknowledged(&toy).await;
    dead.subscribe("1", "subscription { count(to: 2, ms: 10000000) }")
        .await;
    toy.until(|counts| &counts.live, 1).await;
    let mut lively = Socket::acknowledged(&toy).await;
    let (mut frames, mut messages) = (0, 0);
    while frames < 3 || messages < 3 {
        match timeout(PATIENCE, lively.0.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
        {
            Message::Ping(_) => frames += 1,
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(message, json!({"type": "ping"}));
                messages += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // Three pings later than the first 30 s: the dead one is gone, and the lively one was kept.
    toy.until(|counts| &counts.live, 0).await;
    drop(dead);
    lively.subscribe("1", "{ hello }").await;
    assert_eq!(lively.hear().await["type"], "next");
}
