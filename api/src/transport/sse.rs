//! Answers as server-sent events: graphql-sse's *distinct connections mode*, one operation a request.
//!
//! The response's body is the subscription itself: a client that goes drops it, and one that reads slowly is waited for. An item's
//! cursor is its event's id, so that a client that lost its connection goes on behind what it was given last.

use std::{convert::Infallible, panic::AssertUnwindSafe, pin::pin, time::Duration};

use async_graphql::{Request, Response as Answer};
use async_stream::stream;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::sleep;

use super::{
    Backend, Item, Refused, RequestMeta,
    answer::{self, Failure, Written, is_request_error},
    still_holds,
};

/// How often a comment is sent while there is nothing to tell: below the 15 to 60 s after which proxies forget a quiet connection.
const COMMENT_EVERY: Duration = Duration::from_secs(12);

/// Tells nginx, and who has learnt from it, to pass events on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An answer that is there already, as its only event.
pub(super) fn answer(answer: &Answer) -> Response {
    events(stream::iter([next(None, answer), complete()]))
}

/// A subscription, until it ends, its caller's credential expires, or the process stops. At a stop there is no `complete`, so that
/// clients come back.
pub(super) fn stream<B: Backend>(
    backend: &B,
    caller: B::Caller,
    request: Request,
    meta: RequestMeta,
) -> Response {
    let backend = backend.clone();
    let expires_at = backend.expires_at(&caller);
    let request_id = meta.request_id.clone();
    let stopping = backend.stopping();
    let asked = backend.clone();
    let mut as_of = backend.revocations();
    let known = caller.clone();
    events(stream! {
        // Opened inside the stream, so that a panic while opening is caught like one while it runs.
        let items = stream::once(async move { asked.subscribe(caller, request, meta) }).flatten();
        let mut items = pin!(AssertUnwindSafe(items).catch_unwind());
        loop {
            let left = expires_at.map(|at| (at - backend.now()).to_std().unwrap_or_default());
            let item = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = passed(left) => {
                    let over = Refused::Unauthenticated("the credential has expired".to_owned());
                    yield next(None, &answer::failure(&over.into(), &request_id));
                    break;
                }
                item = items.next() => item,
                () = sleep(COMMENT_EVERY) => {
                    if still_holds(&backend, &known, &mut as_of).await {
                        yield comment();
                        continue;
                    }
                    let over = Refused::Unauthenticated("the credential has ended".to_owned());
                    yield next(None, &answer::failure(&over.into(), &request_id));
                    break;
                }
            };
            let Some(item) = item else { break };
            let Item { cursor, response } = item.unwrap_or_else(|_| {
                tracing::error!(request_id, "a subscription panicked");
                let response = answer::failure(&Failure::internal(), &request_id);
                Item { cursor: None, response }
            });
            let is_last = is_request_error(&response);
            yield next(cursor.as_deref(), &response);
            if is_last { break }
        }
        // A stop ends the streams of the process too, and which is seen first is chance.
        if !stopping.is_cancelled() {
            yield complete();
        }
    })
}

/// Ends when so much time has passed; never for `None`.
async fn passed(left: Option<Duration>) {
    match left {
        // No timer: it would never ring beside a stream that always has a next item.
        Some(Duration::ZERO) => {}
        Some(left) => sleep(left).await,
        None => std::future::pending().await,
    }
}

fn next(cursor: Option<&str>, response: &Answer) -> String {
    let data = serde_json::to_string(&Written::from(response)).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written");
        r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}]}"#.to_owned()
    });
    // Neither JSON nor such a cursor breaks a line.
    match cursor.filter(|cursor| cursor.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(cursor) => format!("event: next\nid: {cursor}\ndata: {data}\n\n"),
        None => format!("event: next\ndata: {data}\n\n"),
    }
}

/// With an empty field of data: a browser's `EventSource` passes over an event that has none.
fn complete() -> String {
    "event: complete\ndata: \n\n".to_owned()
}

/// What every client passes over.
fn comment() -> String {
    ":\n\n".to_owned()
}

fn events(events: impl Stream<Item = String> + Send + 'static) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let body = Body::from_stream(events.map(Ok::<_, Infallible>));
    (headers, body).into_response()
}
