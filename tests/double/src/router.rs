//! From a connection to an endpoint: reading, recording, failing on command, answering.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, header};
use axum::response::Response;

use crate::capture::{self, BATCH_BYTES_MAX};
use crate::exchange::{Exchange, Reply};
use crate::failure::{Endpoint, Failure};
use crate::project::Project;
use crate::record::{Authorization, RequestRecord};
use crate::socket::Wire;
use crate::{control, flag, query, rest};

const FRONT_PAGE: &str = "<!doctype html><html lang=en><title>PostHog double</title>\
    <h1>PostHog double: not PostHog</h1><p>A stand-in for tests and demonstrations. It speaks PostHog's wire contract over \
    the events that it was sent, keeps them in memory and forgets them when it stops.</p>\
    <p><a href=/_double/events>events</a> <a href=/_double/persons>persons</a> <a href=/_double/requests>requests</a></p>";

/// PostHog's wait in seconds when a throttle does not name one.
const THROTTLE_WAIT_S: u64 = 59;

/// The group of endpoints that a path belongs to.
fn endpoint(segments: &[&str]) -> Option<Endpoint> {
    match segments {
        ["batch" | "e" | "capture" | "track" | "engage"]
        | ["i", "v0", "e"]
        | ["i", "v1", "analytics" | "general", "events"] => Some(Endpoint::Capture),
        ["flags", "definitions"]
        | ["api", "feature_flag", "local_evaluation"]
        | ["api", "projects", _, "feature_flags", "local_evaluation"] => {
            Some(Endpoint::Definitions)
        }
        ["flags" | "decide"] => Some(Endpoint::Flags),
        ["api", "projects" | "environments", _, "query", ..] => Some(Endpoint::Query),
        ["api" | "array", ..] => Some(Endpoint::Api),
        _ => None,
    }
}

/// Every request ends here.
pub(crate) async fn answer(
    State(project): State<Arc<Project>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BATCH_BYTES_MAX + 1).await;
    let too_large = body.is_err();
    let exchange = Exchange {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.unwrap_or_default(),
    };
    let segments = exchange.segments();
    if let ["_double", rest @ ..] = segments.as_slice() {
        return control::answer(&project, &exchange, rest).into_response();
    }
    let endpoint = endpoint(&segments);
    let capture = (endpoint == Some(Endpoint::Capture)).then(|| {
        let text = capture::inflate(&exchange.body, capture::bytes_max(&segments))?;
        capture::parse(&text)
    });
    let pending_answer = project.record(RequestRecord {
        sequence: 0,
        at: project.now(),
        endpoint,
        method: exchange.method.to_string(),
        path: exchange.path.clone(),
        query: exchange.query.clone(),
        authorization: Authorization::of(&exchange.headers),
        in_flight: 0,
        events: capture
            .as_ref()
            .and_then(|document| document.as_ref().ok())
            .map(capture::attempts)
            .unwrap_or_default(),
        body: if capture.is_some() {
            None
        } else {
            exchange.json()
        },
        status: None,
    });
    let failure = endpoint.and_then(|endpoint| project.next_failure(endpoint));
    match failure {
        Some(Failure::Timeout { .. }) => pending::<()>().await,
        Some(Failure::Reset { .. }) => {
            wire.reset();
            return Reply::empty(500).into_response();
        }
        Some(Failure::Slow { delay_ms, .. }) => {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        _ => {}
    }
    let reply = match (endpoint, failure) {
        _ if too_large => Reply::text(413, "payload too large"),
        (
            Some(endpoint),
            Some(Failure::Status {
                code, retry_after, ..
            }),
        ) => refused(endpoint, code, retry_after),
        (None, _) => outside(&exchange),
        (Some(Endpoint::Capture), _) if exchange.method == Method::OPTIONS => Reply::empty(200),
        (Some(Endpoint::Capture), failure) => match capture {
            Some(document) if exchange.method == Method::POST => capture::answer(
                &project,
                &exchange,
                document,
                failure == Some(Failure::Quota),
            ),
            _ => Reply::text(405, "only POST is captured"),
        },
        (Some(Endpoint::Flags), failure) => {
            flag::answer(&project, &exchange, failure == Some(Failure::Quota))
        }
        (Some(Endpoint::Definitions), Some(Failure::Quota)) => {
            Reply::text(402, "Billing limit reached. Please upgrade your plan.")
        }
        (Some(_), Some(Failure::Quota)) => Reply::throttled(THROTTLE_WAIT_S),
        (Some(Endpoint::Definitions), _) => flag::definitions(&project, &exchange),
        (Some(Endpoint::Query), failure) => {
            query::answer(&project, exchange, failure == Some(Failure::StaleCache)).await
        }
        (Some(Endpoint::Api), _) => rest::answer(&project, &exchange),
    };
    if matches!(failure, Some(Failure::HalfOpen { .. })) {
        wire.hang_halfway();
    }
    pending_answer.answered(reply.status);
    reply.into_response()
}

/// PostHog's own body for a status that was ordered.
fn refused(endpoint: Endpoint, code: u16, retry_after: Option<u64>) -> Reply {
    let reply = match (endpoint, code) {
        (Endpoint::Capture | Endpoint::Flags, 429) | (_, 408) => Reply::text(code, "rate limited"),
        (_, 429) => return Reply::throttled(retry_after.unwrap_or(THROTTLE_WAIT_S)),
        (Endpoint::Capture, 500..) => Reply::text(code, "transient error, please retry"),
        (Endpoint::Capture | Endpoint::Flags, _) => Reply::text(code, "refused on command"),
        (_, 401) => rest::unauthenticated(),
        (_, 403) => rest::scope_missing("query:read"),
        (_, 404) => Reply::not_found(),
        (_, 400..500) => Reply::error(
            code,
            "validation_error",
            "invalid_input",
            "Refused on command.",
        ),
        (Endpoint::Query, 500) => Reply::error(
            code,
            "server_error",
            "error",
            "ClickHouse error while executing query.",
        ),
        _ => Reply::error(code, "server_error", "error", "A server error occurred."),
    };
    match retry_after {
        Some(wait_s) => reply.with(header::RETRY_AFTER, wait_s.to_string()),
        None => reply,
    }
}

/// Paths of no group.
fn outside(exchange: &Exchange) -> Reply {
    match exchange.segments().as_slice() {
        [] => Reply::html(FRONT_PAGE),
        ["_liveness" | "_readiness"] => Reply::text(200, "ok"),
        _ => Reply::not_found(),
    }
}
