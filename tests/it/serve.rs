//! The process over HTTP: health, metrics, request ids, CORS, connections, TLS, proxies, and how it stops.

mod connections;
mod proxy;
mod tls;

use std::time::Duration;

use api::config::Config;
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use tests::{Kind, Kit, on_each_database};

fn header_of<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn health_and_metrics_need_no_credential() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let server = kit.serve().await?;
        let client = Client::new();
        for path in ["/health/live", "/health/ready"] {
            assert_eq!(
                client.get(server.url(path)).send().await?.status(),
                StatusCode::OK,
                "{path}"
            );
        }
        let metrics = client.get(server.url("/metrics")).send().await?;
        assert_eq!(
            header_of(&metrics, "content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let text = metrics.text().await?;
        for name in ["growthos_build{version=", "process_resident_memory_bytes "] {
            assert!(text.contains(name), "{name}: {text}");
        }
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_process_whose_database_is_gone_is_live_and_not_ready() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let server = kit.serve().await?;
        kit.app.env.db.close().await?;
        let client = Client::new();
        assert_eq!(
            client
                .get(server.url("/health/live"))
                .send()
                .await?
                .status(),
            StatusCode::OK
        );
        assert_eq!(
            client
                .get(server.url("/health/ready"))
                .send()
                .await?
                .status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        let answer = client
            .post(server.url("/graphql"))
            .bearer_auth("gos_sk_1")
            .json(&json!({"query": "{ __typename }"}))
            .send()
            .await?;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body: Value = answer.json().await?;
        assert_eq!(body["errors"][0]["extensions"]["code"], "INTERNAL");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_answer_carries_the_requests_id() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let ask = async |id: &str| {
            Client::new()
                .post(server.url("/graphql"))
                .bearer_auth(&acme.secret_key)
                .header("x-request-id", id)
                .json(&json!({"query": "{ tenants { totalCount } }"}))
                .send()
                .await
        };
        let answer = ask("mine-1").await?;
        assert_eq!(header_of(&answer, "x-request-id"), Some("mine-1"));
        let body: Value = answer.json().await?;
        assert_eq!(
            body["errors"][0]["extensions"],
            json!({"code": "FORBIDDEN", "requestId": "mine-1"})
        );
        // One that could forge a line of the log is not taken.
        let answer = ask("a b\"").await?;
        let id = header_of(&answer, "x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 36, "{id}");
        let body: Value = answer.json().await?;
        assert_eq!(body["errors"][0]["extensions"]["requestId"], id);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn pages_of_every_origin_may_use_graphql_unless_the_configuration_names_some()
-> anyhow::Result<()> {
    let preflight = async |server: &tests::Server, origin: &str, path: &str| {
        let response = Client::new()
            .request(Method::OPTIONS, server.url(path))
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(
                header::ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization,content-type",
            )
            .send()
            .await?;
        let read = |name| header_of(&response, name).map(str::to_owned);
        anyhow::Ok((
            read("access-control-allow-origin"),
            read("access-control-allow-credentials"),
        ))
    };
    let open = Kit::new(Kind::Sqlite).await?;
    let server = open.serve().await?;
    let page = "https://page.example";
    assert_eq!(
        preflight(&server, page, "/graphql").await?,
        (Some(page.to_owned()), None)
    );
    // As PostHog's own, for clients that ask with credentials.
    assert_eq!(
        preflight(&server, page, "/i/v0/e/").await?,
        (Some(page.to_owned()), Some("true".to_owned()))
    );
    server.stop().await?;

    let closed = Kit::with(
        Kind::Sqlite,
        Config {
            cors_allowed_origins: vec!["https://app.example".to_owned()],
            ..Config::default()
        },
    )
    .await?;
    let acme = closed.tenant("acme").await?;
    let server = closed.serve().await?;
    assert_eq!(preflight(&server, page, "/graphql").await?, (None, None));
    assert_eq!(
        preflight(&server, "https://app.example", "/graphql")
            .await?
            .0
            .as_deref(),
        Some("https://app.example")
    );
    assert_eq!(
        preflight(&server, page, "/e").await?.0.as_deref(),
        Some(page)
    );
    for (origin, status) in [
        (page, StatusCode::FORBIDDEN),
        ("https://app.example", StatusCode::OK),
    ] {
        let answer = Client::new()
            .post(server.url("/graphql"))
            .bearer_auth(&acme.secret_key)
            .header(header::ORIGIN, origin)
            .json(&json!({"query": "{ tenant { name } }"}))
            .send()
            .await?;
        assert_eq!(answer.status(), status, "{origin}");
    }
    server.stop().await
}

#[tokio::test]
async fn a_stop_lets_what_runs_end_and_takes_nothing_new() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let server = kit.serve().await?;
        let address = server.address;
        let app = kit.app.clone();
        let (began, done) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let (began, done) = (std::sync::Arc::new(began), std::sync::Arc::new(done));
        let (telling, waiting) = (began.clone(), done.clone());
        let task = app.tasks.spawn(async move {
            telling.notify_one();
            waiting.notified().await;
        });
        began.notified().await;
        let stopping = server.stop();
        let mut stopping = std::pin::pin!(stopping);
        assert!(
            tokio::time::timeout(Duration::from_millis(200), &mut stopping)
                .await
                .is_err(),
            "it waits for the task"
        );
        assert!(
            tokio::net::TcpStream::connect(address).await.is_err(),
            "nobody listens any more"
        );
        done.notify_one();
        stopping.await?;
        task.await?;
        Ok(())
    })
    .await
}
