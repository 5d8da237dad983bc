//! The transport: GraphQL over HTTP, as server-sent events and over WebSocket, at `/graphql`, and `GraphiQL` at `/graphiql`.
//!
//! It knows no schema, no tenant and no database. It turns bytes into an [`async_graphql::Request`] that was safe to parse
//! (the crate [`document`]), asks the [`Backend`] who the caller is and what the answer is, and turns the answer into bytes:
//! [`http`] as the specification *GraphQL over HTTP* says, [`sse`] as graphql-sse's *distinct connections mode* says, [`ws`] as
//! the protocol `graphql-transport-ws` says. Errors of its own, such as a body too large, are made in [`answer`]; those of the
//! schema leave as the backend sealed them.
//!
//! Each operation runs on a task of its own, tracked by the backend. A client that hangs up, or whose time is over, cancels a query,
//! and never a mutation halfway.

mod accept;
mod answer;
mod graphiql;
mod http;
mod request;
mod sse;
mod ws;

use std::{future::Future, net::IpAddr, time::Duration};

use async_graphql::{Request, Response, parser::types::OperationType};
use axum::Router;
use chrono::{DateTime, Utc};
use futures_util::{Stream, future::Either};
use tokio::time::timeout;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::Instrument as _;

pub use answer::{Failure, is_request_error};
pub use request::{Asked, Hash, Prepared, hash};

/// Largest body of a POST and largest message on a WebSocket, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Most requests in one batch.
pub const BATCH_MAX: usize = 10;

/// Most operations in flight on one WebSocket.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// Who the client is: its own address, or what a trusted proxy says that it is. The server puts it into each request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

/// Marks, in a response's extensions, an answer that may be compressed: a query's. What a mutation answers may be a secret, and the
/// size of what was compressed tells of what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Compressible;

/// What the transport needs of the application: one request in, one response or a stream of them out.
pub trait Backend: Clone + Send + Sync + 'static {
    /// An authenticated principal.
    type Caller: Clone + Send + Sync + 'static;

    /// Tells who asks.
    ///
    /// `credential` is the value of `Authorization`, scheme included and not yet checked, or `connectionParams.authorization`.
    /// `origin` is the header `Origin`, which browsers send and scripts in them cannot forge. `tenant` is the tenant that the
    /// request is meant for: the header `x-growthos-tenant`, or `connectionParams.tenant`.
    fn authenticate(
        &self,
        credential: Option<&str>,
        origin: Option<&str>,
        tenant: Option<&str>,
    ) -> impl Future<Output = Result<Self::Caller, Refused>> + Send;

    /// What credentials are checked under at this moment: another value tells that one has ended since, `None` that it cannot be
    /// told.
    fn revocations(&self) -> Option<u64>;

    /// Whether what let the caller in still holds. Of what outlives a request, it is asked before each operation, and from time to
    /// time.
    fn still_holds(&self, caller: &Self::Caller) -> impl Future<Output = bool> + Send;

    /// Finds the document that is asked for, and tells what its operation is. Unless said otherwise, only one that is given as
    /// text is found.
    fn prepare(
        &self,
        _caller: &Self::Caller,
        asked: Asked,
    ) -> impl Future<Output = Result<Prepared, Failure>> + Send {
        std::future::ready(asked.parsed())
    }

    /// When the caller's credential ends, if it does. A WebSocket is closed then.
    fn expires_at(&self, caller: &Self::Caller) -> Option<DateTime<Utc>>;

    /// Executes a query or a mutation. A mutation runs to its end even when nobody waits for the answer any more; a query is dropped
    /// then, wherever it waits.
    fn execute(
        &self,
        caller: Self::Caller,
        request: Request,
        meta: RequestMeta,
    ) -> impl Future<Output = Response> + Send;

    /// Opens a subscription. The stream is dropped when the client completes it or goes, between two items or while it
    /// waits for one; it takes its own clone of the backend, because it outlives the call.
    fn subscribe(
        self,
        caller: Self::Caller,
        request: Request,
        meta: RequestMeta,
    ) -> impl Stream<Item = Item> + Send + 'static;

    /// How long an answer is waited for.
    fn request_time_max(&self) -> Duration;

    /// The time that credentials expire by.
    fn now(&self) -> DateTime<Utc>;

    /// A fresh request id, of at most 64 of the characters that [`RequestMeta::request_id`] names.
    fn request_id(&self) -> String;

    /// Where every task is tracked, so that a graceful stop waits for them.
    fn tasks(&self) -> &TaskTracker;

    /// Cancelled when the process is about to stop: each WebSocket finishes what it executes and is closed.
    fn stopping(&self) -> CancellationToken;

    /// Whether `/graphiql` is served.
    fn graphiql_enabled(&self) -> bool;
}

/// What came with a request besides the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    /// Names the request in logs, in `extensions.requestId` of errors and in the header `x-request-id`: the client's own if it
    /// sent one of 1 to 64 letters, digits and `-_.:`, else a fresh one. The parts of a batch share it; each operation on a
    /// WebSocket has one of its own.
    pub request_id: String,
    /// The header `Origin` of the request, or of the one that opened the WebSocket.
    pub origin: Option<String>,
    /// Who sent the request, or opened the WebSocket.
    pub client: Client,
    /// How the request came.
    pub channel: Channel,
    /// What the request's operation is, as the parsed document says.
    pub operation: OperationType,
    /// The header `Last-Event-ID`: the cursor of the last item that the client of an event stream was given.
    pub last_event_id: Option<String>,
}

/// What a subscription gives.
#[derive(Debug)]
pub struct Item {
    /// Where the item stands in its stream, if it can be gone on with behind it.
    pub cursor: Option<String>,
    pub response: Response,
}

/// Who sent a request, as far as the connection and its headers tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub ip: Option<IpAddr>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// In the query string of a GET: always a query.
    Get,
    /// In the body of a POST.
    Post,
    /// In a message on a WebSocket.
    WebSocket,
}

/// Why a caller was not let in. The texts are shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No credential, or not a valid one: 401, `UNAUTHENTICATED`.
    Unauthenticated(String),
    /// A credential that may not be used so, for example from this origin: 403, `FORBIDDEN`.
    Forbidden(String),
    /// The credential could not be checked, for example because the database is down: 503, `INTERNAL`.
    Unavailable(String),
}

/// Marks a response to an origin that may not ask: what CORS allows is not told to it.
#[derive(Clone, Copy, Debug)]
pub struct ForeignOrigin;

/// The routes `/graphql` and, if enabled, `/graphiql`.
///
/// The listener's own matters, such as time-outs for headers and CORS, are layers around it. The server must allow upgrades.
pub fn router<B: Backend>(backend: B) -> Router {
    let routes = Router::new().merge(http::routes::<B>());
    let routes = if backend.graphiql_enabled() {
        routes.merge(graphiql::routes())
    } else {
        routes
    };
    routes.with_state(backend)
}

/// A task panicked or was aborted; the panic's message is in the log.
#[derive(Debug)]
struct Died;

/// Runs `work` on a tracked task of its own and waits for it. Dropping the returned future leaves the task running.
async fn detached<B: Backend, T: Send + 'static>(
    backend: &B,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Died> {
    backend
        .tasks()
        .spawn(work.in_current_span())
        .await
        .map_err(|error| {
            tracing::error!(%error, "a request's task did not finish");
            Died
        })
}

/// [`Backend::authenticate`] on a task of its own: looking a key up is database work too.
async fn authenticate<B: Backend>(
    backend: &B,
    credential: Option<String>,
    origin: Option<String>,
    tenant: Option<String>,
) -> Result<B::Caller, Refused> {
    let asked = backend.clone();
    detached(backend, async move {
        asked
            .authenticate(credential.as_deref(), origin.as_deref(), tenant.as_deref())
            .await
    })
    .await
    .unwrap_or_else(|Died| {
        Err(Refused::Unavailable(
            "the credential could not be checked".to_owned(),
        ))
    })
}

/// Why there is no answer to an operation.
#[derive(Clone, Copy, Debug)]
enum Unanswered {
    Died,
    /// It took longer than a request may.
    Late,
}

/// Whether the caller's credential still holds, which was checked under `as_of` last. Nothing is looked up unless one has ended
/// since.
async fn still_holds<B: Backend>(backend: &B, caller: &B::Caller, as_of: &mut Option<u64>) -> bool {
    let now = backend.revocations();
    if now.is_some() && now == *as_of {
        return true;
    }
    let holds = backend.still_holds(caller).await;
    if holds {
        *as_of = now;
    }
    holds
}

/// Runs an operation on a tracked task of its own and waits for it as long as a request may take. When nobody waits any more, what
/// only reads is dropped, and what writes runs to its end.
async fn operate<B: Backend, T: Send + 'static>(
    backend: &B,
    only_reads: bool,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Unanswered> {
    let task = backend.tasks().spawn(work.in_current_span());
    let task = if only_reads {
        Either::Left(AbortOnDropHandle::new(task))
    } else {
        Either::Right(task)
    };
    match timeout(backend.request_time_max(), task).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "a request's task did not finish");
            Err(Unanswered::Died)
        }
        Err(_) => {
            tracing::warn!(only_reads, "a request took too long");
            Err(Unanswered::Late)
        }
    }
}

/// [`Backend::execute`] on a task of its own. A panic becomes an error without details.
async fn execute<B: Backend>(
    backend: &B,
    caller: B::Caller,
    request: Request,
    meta: RequestMeta,
) -> Response {
    let asked = backend.clone();
    let request_id = meta.request_id.clone();
    let only_reads = meta.operation == OperationType::Query;
    operate(backend, only_reads, async move {
        asked.execute(caller, request, meta).await
    })
    .await
    .unwrap_or_else(|why| answer::failure(&why.into(), &request_id))
}
