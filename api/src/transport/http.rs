//! GraphQL over HTTP: POST and GET at `/graphql`, and the doors to event streams and to a WebSocket.
//!
//! Written after the specification *GraphQL over HTTP* (working draft). A body must be `application/json`: browsers send that to
//! another origin only after asking, so no foreign page can make a visitor's browser run a mutation; for the same reason
//! a GET runs queries only.

use std::{net::SocketAddr, time::Duration};

use async_graphql::{Response as Answer, parser::types::OperationType};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, FromRequest as _, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use serde_json::{Map, Value};

use super::{
    BATCH_MAX, BODY_BYTES_MAX, Backend, Channel, Client, ClientAddr, Compressible, ForeignOrigin,
    Refused, RequestMeta,
    accept::{Form, takes_events},
    answer::{self, Failure, Written},
    authenticate, execute, operate,
    request::{Asked, Prepared, json},
    sse, ws,
};

/// How long a body may take to arrive: 1 MiB in this time is 35 kB/s. It bounds what a client that trickles bytes holds.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Longest request id that is taken from a client: they are written into every line of the log.
const REQUEST_ID_BYTES_MAX: usize = 64;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Names the tenant that a request is meant for, where its token does not.
const X_TENANT: HeaderName = HeaderName::from_static("x-growthos-tenant");

const METHODS: &str = "GET, POST";

pub(super) fn routes<B: Backend>() -> Router<B> {
    Router::new()
        .route("/graphql", any(graphql::<B>))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn graphql<B: Backend>(State(backend): State<B>, request: Request) -> Response {
    let head = Head::of(request.headers(), request.extensions(), || {
        backend.request_id()
    });
    let request_id = head.request_id.clone();
    let mut response = if ws::is_upgrade(&request) {
        ws::upgrade(backend, head, request).await
    } else {
        match Form::negotiated(request.headers()) {
            Some(form) => respond(&backend, head, request, form).await,
            None => refusal(
                &Failure::of_status(
                    StatusCode::NOT_ACCEPTABLE,
                    "answers are application/graphql-response+json, application/json or text/event-stream",
                ),
                &request_id,
                Form::Json,
            ),
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(X_REQUEST_ID, value);
    }
    response
}

/// What the headers and the connection say about the caller.
pub(super) struct Head {
    pub(super) request_id: String,
    pub(super) credential: Option<String>,
    pub(super) origin: Option<String>,
    last_event_id: Option<String>,
    takes_events: bool,
    pub(super) tenant: Option<String>,
    pub(super) client: Client,
}

impl Head {
    fn of(headers: &HeaderMap, extensions: &Extensions, fresh_id: impl FnOnce() -> String) -> Self {
        let text = |name: HeaderName| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        Self {
            request_id: text(X_REQUEST_ID)
                .filter(|id| is_request_id(id))
                .unwrap_or_else(fresh_id),
            credential: text(header::AUTHORIZATION),
            origin: text(header::ORIGIN),
            last_event_id: text(LAST_EVENT_ID).filter(|id| !id.is_empty()),
            takes_events: takes_events(headers),
            tenant: text(X_TENANT),
            client: Client {
                ip: address(extensions),
                user_agent: text(header::USER_AGENT),
            },
        }
    }
}

fn address(extensions: &Extensions) -> Option<std::net::IpAddr> {
    extensions
        .get::<ClientAddr>()
        .map(|known| known.0)
        .or_else(|| {
            let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
            // One that came as IPv4 is told as that.
            Some(peer.ip().to_canonical())
        })
}

fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

async fn respond<B: Backend>(backend: &B, head: Head, request: Request, form: Form) -> Response {
    let request_id = head.request_id.clone();
    match answer(backend, head, request, form).await {
        Ok(response) => response,
        Err(failure) => refusal(&failure, &request_id, form),
    }
}

async fn answer<B: Backend>(
    backend: &B,
    head: Head,
    request: Request,
    form: Form,
) -> Result<Response, Failure> {
    let channel = match *request.method() {
        Method::GET => Channel::Get,
        Method::POST => Channel::Post,
        _ => {
            return Err(Failure::of_status(
                StatusCode::METHOD_NOT_ALLOWED,
                "GraphQL is asked by GET and POST",
            ));
        }
    };
    if channel == Channel::Post {
        check_content(request.headers())?;
    }
    // before the body is read: who may not ask costs neither memory nor parsing
    let caller = match authenticate(
        backend,
        head.credential.clone(),
        head.origin.clone(),
        head.tenant.clone(),
    )
    .await
    {
        Err(Refused::Forbidden(reason)) => {
            let failure = Failure::from(Refused::Forbidden(reason));
            let mut response = refusal(&failure, &head.request_id, form);
            response.extensions_mut().insert(ForeignOrigin);
            return Ok(response);
        }
        caller => caller?,
    };
    let parameters = match channel {
        Channel::Get => query_string(request.uri())?,
        _ => json(&body(request).await?, "the body")?,
    };
    let Head {
        request_id,
        origin,
        last_event_id,
        takes_events,
        client,
        ..
    } = head;
    let id = request_id.clone();
    let meta = move |operation| RequestMeta {
        request_id: id.clone(),
        origin: origin.clone(),
        client: client.clone(),
        channel,
        operation,
        last_event_id: last_event_id.clone(),
    };
    let single = match parameters {
        Value::Array(_) if form == Form::EventStream => {
            return Err(Failure::malformed(
                "a batch is answered as JSON, not as an event stream",
            ));
        }
        Value::Array(parts) => {
            let parts = batch(backend, &caller, parts).await?;
            let only_reads = only_reads(&parts);
            let answers = execute_batch(backend, caller, parts, only_reads, meta).await?;
            return Ok(written_batch(answers, only_reads, form));
        }
        single => single,
    };
    let prepared = match backend.prepare(&caller, Asked::read(single)?).await {
        // The protocol wants these in the stream, because a browser's EventSource shows a script no other.
        Err(failure) if failure.of_document && form == Form::EventStream => {
            return Ok(sse::answer(&answer::failure(&failure, &request_id)));
        }
        prepared => prepared?,
    };
    if prepared.operation == OperationType::Subscription && takes_events {
        let meta = meta(prepared.operation);
        return Ok(sse::stream(backend, caller, prepared.request, meta));
    }
    let Prepared { request, operation } = runnable(prepared, channel)?;
    let answer = execute(backend, caller, request, meta(operation)).await;
    if form == Form::EventStream {
        let mut response = sse::answer(&answer);
        add_headers(&mut response, answer.http_headers);
        return Ok(response);
    }
    Ok(written(answer, operation == OperationType::Query, form))
}

/// Whether a batch holds queries alone.
fn only_reads(parts: &[Result<Prepared, Failure>]) -> bool {
    parts.iter().all(|part| {
        part.as_ref()
            .is_ok_and(|part| part.operation == OperationType::Query)
    })
}

/// Runs the parts one after another, so that a query sees what the mutation before it did.
async fn execute_batch<B: Backend>(
    backend: &B,
    caller: B::Caller,
    parts: Vec<Result<Prepared, Failure>>,
    only_reads: bool,
    meta: impl Fn(OperationType) -> RequestMeta + Send + 'static,
) -> Result<Vec<Answer>, Failure> {
    let asked = backend.clone();
    operate(backend, only_reads, async move {
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            answers.push(match part {
                Ok(Prepared { request, operation }) => {
                    asked
                        .execute(caller.clone(), request, meta(operation))
                        .await
                }
                Err(failure) => answer::failure(&failure, &meta(OperationType::Query).request_id),
            });
        }
        answers
    })
    .await
    .map_err(Failure::from)
}

/// What HTTP runs: every channel queries, POST mutations too, and none subscriptions.
fn runnable(prepared: Prepared, channel: Channel) -> Result<Prepared, Failure> {
    match (prepared.operation, channel) {
        (OperationType::Subscription, _) => Err(Failure::operation(
            "subscriptions run over a WebSocket, with the subprotocol graphql-transport-ws, or as text/event-stream",
        )),
        (OperationType::Mutation, Channel::Get) => Err(Failure::of_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "a GET runs queries only; send mutations by POST",
        )),
        _ => Ok(prepared),
    }
}

/// The parts of a batch. One that is malformed or too complex refuses them all, before any has run; one whose document is wrong
/// gets its own error.
async fn batch<B: Backend>(
    backend: &B,
    caller: &B::Caller,
    parts: Vec<Value>,
) -> Result<Vec<Result<Prepared, Failure>>, Failure> {
    if parts.is_empty() {
        return Err(Failure::malformed("a batch has at least one request"));
    }
    if parts.len() > BATCH_MAX {
        return Err(Failure::too_complex(format!(
            "a batch has at most {BATCH_MAX} requests"
        )));
    }
    let mut prepared = Vec::with_capacity(parts.len());
    for part in parts {
        let part = backend.prepare(caller, Asked::read(part)?).await;
        match part.and_then(|part| runnable(part, Channel::Post)) {
            Err(failure) if !failure.of_document => return Err(failure),
            part => prepared.push(part),
        }
    }
    Ok(prepared)
}

/// Only JSON in UTF-8, not compressed.
fn check_content(headers: &HeaderMap) -> Result<(), Failure> {
    let unsupported = |message| {
        Err(Failure::of_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message,
        ))
    };
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    if !parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
    {
        return unsupported("a POST must have the content type application/json");
    }
    let foreign_charset =
        parts
            .filter_map(|parameter| parameter.split_once('='))
            .any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("charset")
                    && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            });
    if foreign_charset {
        return unsupported("the charset of a body must be utf-8");
    }
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return unsupported("a body must not be compressed");
    }
    Ok(())
}

async fn body(request: Request) -> Result<Bytes, Failure> {
    match tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Failure::of_status(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body has at most {BODY_BYTES_MAX} bytes"),
            ))
        }
        Ok(Err(_)) => Err(Failure::malformed("the body could not be read")),
        Err(_) => Err(Failure::of_status(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long to arrive",
        )),
    }
}

/// The parameters of a GET, of which `variables` and `extensions` are JSON.
fn query_string(uri: &Uri) -> Result<Value, Failure> {
    let mut parameters = Map::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let value = match &*name {
            "query" | "operationName" | "documentId" => Value::String(value.into_owned()),
            "variables" | "extensions" => json(value.as_bytes(), &format!("`{name}`"))?,
            _ => continue,
        };
        if parameters.contains_key(&*name) {
            return Err(Failure::malformed(format!("`{name}` is given twice")));
        }
        parameters.insert(name.into_owned(), value);
    }
    Ok(Value::Object(parameters))
}

fn refusal(failure: &Failure, request_id: &str, form: Form) -> Response {
    let status = if failure.of_document && form == Form::Json {
        StatusCode::OK
    } else {
        failure.status
    };
    let mut response = encoded(
        &Written::from(&answer::failure(failure, request_id)),
        status,
        form,
    );
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static(METHODS))
        }
        _ => None,
    };
    response
}

fn written(answer: Answer, only_reads: bool, form: Form) -> Response {
    let status = match (form, answer::is_request_error(&answer)) {
        (Form::GraphqlResponse, true) => answer::status_of(&answer),
        // a client of old, and a proxy, must see that it is to wait
        (Form::Json, true) if answer::status_of(&answer) == StatusCode::TOO_MANY_REQUESTS => {
            StatusCode::TOO_MANY_REQUESTS
        }
        _ => StatusCode::OK,
    };
    let mut response = encoded(&Written::from(&answer), status, form);
    add_headers(&mut response, answer.http_headers);
    if only_reads {
        response.extensions_mut().insert(Compressible);
    }
    response
}

fn written_batch(answers: Vec<Answer>, only_reads: bool, form: Form) -> Response {
    let parts: Vec<_> = answers.iter().map(Written::from).collect();
    let mut response = encoded_batch(&parts, form);
    for answer in answers {
        add_headers(&mut response, answer.http_headers);
    }
    if only_reads {
        response.extensions_mut().insert(Compressible);
    }
    response
}

/// Headers that the backend gave, such as `RateLimit`. The last part of a batch knows best. What says how to read the bytes stays.
fn add_headers(response: &mut Response, mut given: HeaderMap) {
    given.remove(header::CONTENT_TYPE);
    given.remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(given);
}

fn encoded(value: &Written<'_>, status: StatusCode, form: Form) -> Response {
    let mut json = Vec::new();
    let done = value.append_to(&mut json);
    sent(done.map(|()| json), status, form)
}

fn encoded_batch(values: &[Written<'_>], form: Form) -> Response {
    let mut json = vec![b'['];
    let done = values.iter().enumerate().try_for_each(|(at, value)| {
        if at > 0 {
            json.push(b',');
        }
        value.append_to(&mut json)
    });
    json.push(b']');
    sent(done.map(|()| json), StatusCode::OK, form)
}

fn sent(json: serde_json::Result<Vec<u8>>, status: StatusCode, form: Form) -> Response {
    match json {
        Ok(bytes) => (
            status,
            [(header::CONTENT_TYPE, form.media_type())],
            Body::from(bytes),
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{check_content, is_request_id};

    #[test]
    fn a_body_is_json_in_utf_8_as_it_is() {
        let accepted = |name: header::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]);
            headers.insert(name, HeaderValue::from_static(value));
            check_content(&headers).is_ok()
        };
        for value in [
            "application/json",
            "Application/JSON; Charset=\"UTF-8\"",
            "application/json;charset=utf-8",
            "application/json; profile=x",
        ] {
            assert!(accepted(header::CONTENT_TYPE, value), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=a",
            "application/json; charset=latin1",
        ] {
            assert!(!accepted(header::CONTENT_TYPE, value), "{value}");
        }
        assert!(accepted(header::CONTENT_ENCODING, "identity"));
        assert!(!accepted(header::CONTENT_ENCODING, "gzip"));
        assert!(check_content(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_request_id_of_the_client_is_short_and_plain() {
        assert!(is_request_id("0190-a_b.c:D"));
        assert!(is_request_id(&"a".repeat(64)));
        for id in ["", "a b", "a\"b", "é", &"a".repeat(65)] {
            assert!(!is_request_id(id), "{id}");
        }
    }
}
