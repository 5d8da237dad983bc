//! What a connection may do, spoken to byte by byte.

use std::{net::SocketAddr, time::Duration};

use api::config::Config;
use reqwest::{Client, StatusCode, Version, header};
use serde_json::{Value, json};
use tests::{Kind, Kit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Longer than any limit on time that is met here.
const PATIENCE: Duration = Duration::from_secs(40);

/// Sends `head` at once and then a byte now and again, until the server hangs up. Gives what it said before.
async fn trickle(address: SocketAddr, head: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head).await?;
    let (mut reader, mut writer) = stream.into_split();
    let dribble = async {
        while writer.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(300)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut said = vec![];
    let heard = async {
        // A reset is a way of hanging up.
        let _ = reader.read_to_end(&mut said).await;
    };
    timeout(PATIENCE, async {
        tokio::select! {
            () = heard => {}
            () = dribble => {}
        }
    })
    .await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn who_trickles_a_request_or_says_nothing_is_hung_up_on() -> anyhow::Result<()> {
    let kit = Kit::new(Kind::Sqlite).await?;
    let server = kit.serve().await?;
    let address = server.address;
    let silent = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut said = vec![];
        timeout(PATIENCE, stream.read_to_end(&mut said)).await??;
        anyhow::Ok(said)
    };
    let (first_line, headers, preface, silent) = tokio::join!(
        trickle(address, b"PO"),
        trickle(address, b"POST /graphql HTTP/1.1\r\nhost: test\r\nx-slow: "),
        trickle(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\xff\x01"),
        silent,
    );
    assert_eq!(first_line?, "");
    assert_eq!(headers?, "");
    // HTTP/2 says its settings and goodbye; what matters is that it ends.
    assert!(preface.is_ok(), "{preface:?}");
    assert_eq!(silent?, b"");
    server.stop().await
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_408() -> anyhow::Result<()> {
    let kit = Kit::new(Kind::Sqlite).await?;
    let acme = kit.tenant("acme").await?;
    let server = kit.serve().await?;
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n",
        acme.secret_key
    );
    let said = trickle(server.address, head.as_bytes()).await?;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    server.stop().await
}

/// The status of the answer to one HTTP/1.1 request that is sent as it is.
async fn status_of(address: SocketAddr, request: String) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    // It may hang up before it has read all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut said = String::new();
    let _ = timeout(PATIENCE, stream.read_to_string(&mut said)).await?;
    let status = said.split(' ').nth(1).unwrap_or_default();
    status
        .parse()
        .map_err(|_| anyhow::anyhow!("no status: {said}"))
}

#[tokio::test]
async fn heads_and_bodies_have_limits() -> anyhow::Result<()> {
    let kit = Kit::new(Kind::Sqlite).await?;
    let acme = kit.tenant("acme").await?;
    let server = kit.serve().await?;
    let live = |headers: String| {
        let request = format!(
            "GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"
        );
        status_of(server.address, request)
    };
    let many = |count: usize| "x-a: 1\r\n".repeat(count);
    let long = |bytes: usize| format!("x-a: {}\r\n", "a".repeat(bytes));
    for (headers, status) in [
        (many(98), 200),
        (many(99), 431),
        (long(30 * 1024), 200),
        (long(33 * 1024), 431),
    ] {
        let bytes = headers.len();
        assert_eq!(live(headers).await?, status, "{bytes} bytes of headers");
    }
    let long = Client::builder()
        .http2_prior_knowledge()
        .build()?
        .get(server.url("/health/live"))
        .header("x-a", "a".repeat(33 * 1024))
        .send()
        .await;
    assert!(
        long.as_ref()
            .is_ok_and(|answer| answer.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            || long.is_err(),
        "{long:?}"
    );
    let body = json!({"query": "{ __typename }", "extensions": {"a": "x".repeat(1024 * 1024)}});
    let answer = Client::new()
        .post(server.url("/graphql"))
        .bearer_auth(&acme.secret_key)
        .json(&body)
        .send()
        .await?;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    server.stop().await
}

#[tokio::test]
async fn http_2_is_spoken_to_who_begins_with_it() -> anyhow::Result<()> {
    let kit = Kit::new(Kind::Sqlite).await?;
    let acme = kit.tenant("acme").await?;
    let server = kit.serve().await?;
    for (client, version) in [
        (Client::builder().http2_prior_knowledge(), Version::HTTP_2),
        (Client::builder(), Version::HTTP_11),
    ] {
        let answer = client
            .build()?
            .post(server.url("/graphql"))
            .bearer_auth(&acme.secret_key)
            .json(&json!({"query": "{ tenant { name } }"}))
            .send()
            .await?;
        assert_eq!(answer.version(), version);
        assert_eq!(
            answer.json::<Value>().await?["data"],
            json!({"tenant": {"name": "acme"}})
        );
    }
    server.stop().await
}

#[tokio::test]
async fn connections_over_the_limit_are_refused_and_counted() -> anyhow::Result<()> {
    let config = Config {
        connections_max: 1,
        ..Config::default()
    };
    let kit = Kit::with(Kind::Sqlite, config).await?;
    let server = kit.serve().await?;
    let mut only = TcpStream::connect(server.address).await?;
    only.write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n")
        .await?;
    let mut answer = [0; 12];
    only.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut surplus = TcpStream::connect(server.address).await?;
    let mut said = vec![];
    // A reset, or the end: it depends on what was sent.
    let _ = timeout(PATIENCE, surplus.read_to_end(&mut said)).await?;
    assert_eq!(said, b"");
    drop(only);
    let mut metrics = String::new();
    for _ in 0..500 {
        if let Ok(answer) = Client::new().get(server.url("/metrics")).send().await {
            metrics = answer.text().await?;
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(
        metrics.contains("growthos_connections_refused_total "),
        "{metrics}"
    );
    server.stop().await
}

#[tokio::test]
async fn long_answers_to_queries_are_compressed_and_those_that_may_hold_secrets_are_not()
-> anyhow::Result<()> {
    let kit = Kit::new(Kind::Sqlite).await?;
    let acme = kit.tenant("acme").await?;
    let server = kit.serve().await?;
    let ask = async |body: Value| {
        // It leaves the answer as it is.
        let answer = Client::builder()
            .no_gzip()
            .build()?
            .post(server.url("/graphql"))
            .bearer_auth(&acme.secret_key)
            .header(header::ACCEPT_ENCODING, "gzip")
            .json(&body)
            .send()
            .await?;
        let encoding = answer
            .headers()
            .get(header::CONTENT_ENCODING)
            .map(|value| value.to_str().map(str::to_owned))
            .transpose()?;
        anyhow::Ok((encoding, answer.bytes().await?))
    };
    let long = json!({"query": "{ __schema { types { name description } } }"});
    let (encoding, bytes) = ask(long.clone()).await?;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text)?;
    let answer: Value = serde_json::from_str(&text)?;
    assert!(answer["data"]["__schema"]["types"].is_array(), "{text}");
    assert!(bytes.len() * 2 < text.len());
    assert_eq!(ask(json!([long])).await?.0.as_deref(), Some("gzip"));

    let short = json!({"query": "{ tenant { name } }"});
    assert_eq!(ask(short).await?.0, None);
    let tracks = (0..29)
        .map(|n| {
            format!("t{n}: track(input: {{event: \"e\", userId: \"u\"}}) {{ accepted requestId }}")
        })
        .collect::<Vec<_>>()
        .join(" ");
    let mutation = json!({"query": format!("mutation {{ {tracks} }}")});
    for body in [mutation.clone(), json!([long, mutation])] {
        let (encoding, bytes) = ask(body).await?;
        assert!(bytes.len() > 1024, "{bytes:?}");
        assert_eq!(encoding, None);
    }
    server.stop().await
}
