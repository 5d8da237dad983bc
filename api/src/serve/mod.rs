//! The HTTP server: every route, what lies around them all, and how it starts and stops.

mod listen;
mod proxy;
mod tls;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{
        Extensions, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts as Head,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use ipnet::IpNet;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
    cors::{AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, MaxAge},
    trace::{DefaultOnRequest, DefaultOnResponse, TraceLayer},
};
use tracing::{Instrument as _, Level, Span};

use self::{
    listen::{Listening, listen},
    tls::Tls,
};
use crate::{
    app::{App, RATELIMIT, RATELIMIT_POLICY},
    ingest::{self, Ingest},
    telemetry, transfer,
    transport::{self, ForeignOrigin},
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken from a client: ids are written into every line of the log.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// How long a browser may remember what CORS allows.
const CORS_MAX_AGE: Duration = Duration::from_hours(2);

/// Shorter answers fit into a packet as they are.
const COMPRESSED_BYTES_MIN: u16 = 1024;

/// How often the metrics' histograms are folded, so that they do not grow between two scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Every route of the process.
pub fn router(app: &App) -> Router {
    let health = Router::new()
        .route("/health/live", get(async || StatusCode::OK))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(app.clone());
    let ingest = Ingest::new(
        Arc::clone(&app.env),
        app.principals.clone(),
        Arc::clone(&app.posthog),
        app.tasks.clone(),
    );
    let trusted: Arc<[IpNet]> = app.config.trusted_proxies.clone().into();
    Router::new()
        .merge(transport::router(app.clone()).layer(compression()))
        .merge(ingest::router(ingest))
        .merge(transfer::router(app))
        .merge(health)
        .layer(cors(app))
        .layer(middleware::map_response(async |response| {
            without_cors(response)
        }))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(DefaultOnRequest::new().level(Level::TRACE))
                .on_response(DefaultOnResponse::new().level(Level::DEBUG)),
        )
        .layer(middleware::from_fn_with_state(app.clone(), name_request))
        .layer(middleware::from_fn_with_state(trusted, proxy::tell_client))
}

/// Compresses what the transport says may be, see [`transport::Compressible`].
fn compression() -> CompressionLayer<impl Predicate> {
    let may_be = |_, _, _: &_, extensions: &Extensions| {
        extensions.get::<transport::Compressible>().is_some()
    };
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN).and(may_be))
}

fn span(request: &Request) -> Span {
    let id = request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    // The query string stays out: it may hold a document or a token.
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), request_id = id)
}

/// Gives every request an id, its client's own if that is short and plain, and the answer the same.
async fn name_request(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(X_REQUEST_ID)
        .filter(|id| is_plain(id.as_bytes()))
        .cloned();
    let id = given.or_else(|| HeaderValue::from_str(&app.new_request_id()).ok());
    let Some(id) = id else {
        return next.run(request).await;
    };
    request.headers_mut().insert(X_REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().entry(X_REQUEST_ID).or_insert(id);
    response
}

fn is_plain(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// Ingestion answers every page, as PostHog's does; `/graphql` those that the configuration names. Neither reads a cookie,
/// so that a page gains nothing by its visitor's being there.
fn cors(app: &App) -> CorsLayer {
    let asked = app.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, head| {
            is_ingest(head)
                || origin
                    .to_str()
                    .is_ok_and(|origin| asked.allows_origin(origin))
        }))
        // PostHog's clients may ask with credentials, and a browser discards an answer that does not allow them.
        .allow_credentials(AllowCredentials::predicate(|_, head| is_ingest(head)))
        .allow_methods(AllowMethods::list([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::OPTIONS,
        ]))
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            X_REQUEST_ID,
            header::RETRY_AFTER,
            RATELIMIT,
            RATELIMIT_POLICY,
        ])
        .max_age(MaxAge::exact(CORS_MAX_AGE))
}

/// Takes from a response what CORS allows, where the tenant does not let the origin in. A preflight, which has no credential, is
/// answered as the configuration says.
fn without_cors(mut response: Response) -> Response {
    if response.extensions().get::<ForeignOrigin>().is_some() {
        let headers = response.headers_mut();
        headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    response
}

fn is_ingest(head: &Head) -> bool {
    let path = head.uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    ingest::ROUTES.iter().any(|(known, _)| {
        let mut given = path.split('/');
        known.split('/').all(|part| {
            given
                .next()
                .is_some_and(|given| given == part || part.starts_with('{'))
        }) && given.next().is_none()
    })
}

/// 200 while requests are welcome: the database answers and no stop has begun.
async fn ready(State(app): State<App>) -> Response {
    if app.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match app.env.db.ping().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            tracing::warn!(%error, "the database does not answer");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database does not answer\n",
            )
                .into_response()
        }
    }
}

async fn metrics() -> Response {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (
        [(header::CONTENT_TYPE, content_type)],
        telemetry::rendered_metrics(),
    )
        .into_response()
}

/// Serves on `listener` until `app.stopping` is cancelled, and then until what runs has ended, or the configured time
/// has passed. The database is closed at the end.
pub async fn serve(app: App, listener: TcpListener) -> anyhow::Result<()> {
    let patience = Duration::from_secs(app.config.shutdown_timeout_s);
    let tls = match (&app.config.tls_certificate, &app.config.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::load(certificate, key)?)),
        _ => None,
    };
    if let Some(tls) = tls.clone() {
        let stopping = app.stopping.clone();
        app.tasks.spawn(async move {
            stopping.run_until_cancelled(tls.follow()).await;
        });
    }
    let listening = Listening {
        routes: router(&app),
        tls,
        connections_max: app.config.connections_max,
        stopping: app.stopping.clone(),
    };
    app.feed_streams();
    app.hear_revocations();
    let upkeep = app.stopping.clone();
    app.tasks.spawn(
        async move {
            while timeout(METRICS_UPKEEP, upkeep.cancelled()).await.is_err() {
                telemetry::fold_metrics();
            }
        }
        .in_current_span(),
    );
    let served = async {
        listen(listening, listener).await;
        app.tasks.close();
        app.tasks.wait().await;
    };
    let late = async {
        app.stopping.cancelled().await;
        sleep(patience).await;
    };
    tokio::select! {
        () = served => {}
        () = late => tracing::warn!(
            timeout_s = patience.as_secs(),
            "some requests or tasks did not end in time and are cut off"
        ),
    }
    app.env.db.close().await?;
    Ok(())
}

/// Cancels `app.stopping` at SIGTERM or SIGINT.
pub fn stop_at_signal(app: &App) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = app.stopping.clone();
    app.tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stopping.cancelled() => return,
        }
        tracing::info!("stopping");
        stopping.cancel();
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str) -> Head {
        axum::http::Request::builder()
            .uri(path)
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    #[test]
    fn ingestion_is_told_from_the_rest_by_its_path() {
        for path in [
            "/e",
            "/e/",
            "/i/v0/e",
            "/i/v0/e/",
            "/batch/",
            "/capture?ver=1",
            "/track",
            "/engage/",
            "/flags/?v=2",
            "/array/gos_pk_1/config",
            "/array/gos_pk_1/config/",
        ] {
            assert!(is_ingest(&head(path)), "{path}");
        }
        for path in [
            "/graphql",
            "/events",
            "/e/x",
            "/e//",
            "/i/v1/e",
            "/array/gos_pk_1/config.js",
            "/static/array.js",
            "/health/live",
            "/",
            "/flagship",
        ] {
            assert!(!is_ingest(&head(path)), "{path}");
        }
    }

    #[test]
    fn a_clients_request_id_is_short_and_plain() {
        assert!(is_plain(b"0190-a_b.c:D") && is_plain(&[b'a'; 64]));
        for id in [&b""[..], &[b'a'; 65], b"a b", b"a\"b", b"\xff"] {
            assert!(!is_plain(id), "{id:?}");
        }
    }
}
