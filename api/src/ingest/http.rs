//! The routes that PostHog's clients know, with and without a trailing slash.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use entity::contact_identifier::Verification;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{
    touches::{Sender, Word, incoming},
    wire::{
        self, BATCH_BODY_BYTES_MAX, FlagReason, FlagResult, FlagsRequest, SINGLE_BODY_BYTES_MAX,
        WireError, decode_capture, decode_flags,
    },
};
use crate::{
    base::{Actor, Cx, Env, Error, Result, gql::Need},
    contact::{self, Incoming, Proofs},
    posthog::{FeatureFlag, FeatureFlagValue, FlagSource, FlagSubject, Posthog},
    tenant::{Caller, Principals},
    transport::ClientAddr,
};

/// Events a unit of work takes: small enough that one contact's lock is held briefly.
const EVENTS_PER_WRITE: usize = 100;

/// Bodies are decoded before anybody is authenticated, since the token is inside: at most this many
/// mebibytes of them at once.
const DECODING_MIB_MAX: usize = 64;

/// A body longer than this is decoded off the runtime's own threads.
const INLINE_DECODE_BYTES_MAX: usize = 128 * 1024;

/// How long a body may take to arrive. It bounds what a client that trickles bytes holds: 20 MiB in this time are 350 kB/s.
const BODY_TIME_MAX: Duration = Duration::from_mins(1);

/// A whole body that arrived in time.
struct Arrived(Bytes);

impl<S: Send + Sync> FromRequest<S> for Arrived {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, state)).await {
            Ok(body) => body.map(Self).map_err(IntoResponse::into_response),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}

/// What the routes need. One a process.
#[derive(Clone)]
pub struct Ingest {
    env: Arc<Env>,
    principals: Principals,
    posthog: Arc<Posthog>,
    tasks: TaskTracker,
    decoding: Arc<Semaphore>,
}

impl Ingest {
    pub fn new(
        env: Arc<Env>,
        principals: Principals,
        posthog: Arc<Posthog>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            env,
            principals,
            posthog,
            tasks,
            decoding: Arc::new(Semaphore::new(DECODING_MIB_MAX)),
        }
    }
}

/// What is behind a path.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    Single,
    Batch,
    Flags,
    Config,
}

/// Every path that PostHog's clients send to, from any page; each is answered with a trailing slash as well. `{…}` stands for
/// one segment.
pub const ROUTES: [(&str, Route); 8] = [
    ("/i/v0/e", Route::Single),
    ("/e", Route::Single),
    ("/capture", Route::Single),
    ("/track", Route::Single),
    ("/engage", Route::Single),
    ("/batch", Route::Batch),
    ("/flags", Route::Flags),
    ("/array/{token}/config", Route::Config),
];

pub fn router(ingest: Ingest) -> Router {
    let mut router = Router::new();
    for (path, route) in ROUTES {
        let (answers, body_bytes_max) = match route {
            Route::Single => (
                post(capture_single).get(capture_single),
                SINGLE_BODY_BYTES_MAX,
            ),
            Route::Batch => (post(capture_batch).get(capture_batch), BATCH_BODY_BYTES_MAX),
            Route::Flags => (post(flags), SINGLE_BODY_BYTES_MAX),
            Route::Config => (get(remote_config), 0),
        };
        let answers = answers.layer(DefaultBodyLimit::max(body_bytes_max));
        router = router
            .route(path, answers.clone())
            .route(&format!("{path}/"), answers);
    }
    router.with_state(ingest)
}

async fn capture_single(
    State(ingest): State<Ingest>,
    RawQuery(query): RawQuery,
    client: Extension<ClientAddr>,
    headers: HeaderMap,
    Arrived(body): Arrived,
) -> Response {
    capture(ingest, query, client, headers, body, SINGLE_BODY_BYTES_MAX).await
}

async fn capture_batch(
    State(ingest): State<Ingest>,
    RawQuery(query): RawQuery,
    client: Extension<ClientAddr>,
    headers: HeaderMap,
    Arrived(body): Arrived,
) -> Response {
    capture(ingest, query, client, headers, body, BATCH_BODY_BYTES_MAX).await
}

/// Takes events: durable before it is answered. The work runs on a task of its own, so a client that hangs
/// up does not cut a write in two.
async fn capture(
    ingest: Ingest,
    query: Option<String>,
    client: Extension<ClientAddr>,
    headers: HeaderMap,
    body: Bytes,
    cap: usize,
) -> Response {
    let tasks = ingest.tasks.clone();
    let sender = Sender {
        ip: Some(client.0.0.to_string()),
        user_agent: headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .map(|agent| agent.chars().take(500).collect()),
    };
    let work = async move { take(&ingest, query.unwrap_or_default(), body, cap, &sender).await };
    let done = tasks.spawn(work).await;
    match done {
        Ok(Ok(Taken { beacon: true })) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(Taken { beacon: false })) => Json(json!({"status": "Ok"})).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => Refused::Transient.into_response(),
    }
}

struct Taken {
    beacon: bool,
}

async fn take(
    ingest: &Ingest,
    query: String,
    body: Bytes,
    cap: usize,
    sender: &Sender,
) -> Result<Taken, Refused> {
    let now = ingest.env.clock.now();
    let capture = decode(ingest, body, move |body| {
        decode_capture(body, &query, cap, now)
    })
    .await?;
    let (cx, verification) = teller(ingest, &capture.token).await?;
    let word = Word {
        verification,
        proofs: match cx.actor() {
            Actor::PublishableKey { .. } => Some(Proofs::of(&cx.db(), &cx.env().secrets).await?),
            _ => None,
        },
    };
    let touches: Vec<Incoming> = capture
        .events
        .into_iter()
        .map(|event| incoming(event, &word, sender))
        .collect();
    for touches in touches.chunks(EVENTS_PER_WRITE) {
        cx.write(async |tx| {
            let mut touches = touches.to_vec();
            contact::conform(tx, &mut touches, None).await?;
            contact::ingest(tx, &touches).await
        })
        .await
        .map_err(Refused::from)?;
    }
    metrics::counter!("growthos_events_accepted_total", "source" => "capture")
        .increment(touches.len() as u64);
    Ok(Taken {
        beacon: capture.beacon,
    })
}

/// Decodes a body without letting big ones pile up in memory or hold up the runtime.
async fn decode<T: Send + 'static>(
    ingest: &Ingest,
    body: Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, WireError> + Send + 'static,
) -> Result<T, Refused> {
    let mebibytes = u32::try_from(body.len() >> 20).unwrap_or(u32::MAX) + 1;
    let _room = ingest
        .decoding
        .acquire_many(mebibytes)
        .await
        .map_err(|_| Refused::Transient)?;
    if body.len() <= INLINE_DECODE_BYTES_MAX {
        return Ok(read(&body)?);
    }
    Ok(tokio::task::spawn_blocking(move || read(&body))
        .await
        .map_err(|_| Refused::Transient)??)
}

/// Who may tell what happened: a publishable key, or a secret key that may write events.
async fn teller(ingest: &Ingest, token: &str) -> Result<(Cx, Verification), Refused> {
    let Caller { actor, tenant, .. } = ingest.principals.by_token(token).await?;
    let Some(tenant) = tenant.filter(|_| Need::Tell.met_by(&actor)) else {
        return Err(Refused::Unauthorized);
    };
    let verification = match actor {
        Actor::SecretKey { .. } => Verification::AssertedByBackend,
        _ => Verification::Claimed,
    };
    Ok((
        Cx::new(Arc::clone(&ingest.env), tenant, actor),
        verification,
    ))
}

/// Evaluates flags for the id that the request names: the contact's, where the graph knows it, so that an
/// SDK and a contact view agree.
async fn flags(
    State(ingest): State<Ingest>,
    RawQuery(query): RawQuery,
    Arrived(body): Arrived,
) -> Response {
    let answer = async {
        let query = query.unwrap_or_default();
        let asked = decode(&ingest, body, move |body| decode_flags(body, &query)).await?;
        let (cx, _) = teller(&ingest, &asked.token).await?;
        let now = cx.now();
        let version = asked.version;
        let config = asked.config.then(|| wire::remote_config(&asked.token));
        let keys = asked.flag_keys.clone();
        let found = if asked.disable_flags {
            vec![]
        } else {
            let subject = subject(asked);
            match ingest.posthog.flags_for(&cx, subject, keys).await {
                // A project without PostHog has no flags; that is no failure of the client's.
                Err(Error::Unavailable(why)) if why.code == "POSTHOG_NOT_CONNECTED" => vec![],
                found => found?,
            }
        };
        let complete = found.iter().all(|flag| flag.source != FlagSource::Default);
        let known = ingest.posthog.feature_flags(&cx).await.unwrap_or_default();
        let results: Vec<FlagResult> = found
            .into_iter()
            .map(|flag| {
                let definition = known.iter().find(|known| known.key == flag.key);
                result(flag, definition)
            })
            .collect();
        let request_id = ingest.env.ids.next::<()>(now).uuid();
        let mut answer = wire::flags_response(version, &results, !complete, request_id, now);
        if let (Value::Object(answer), Some(Value::Object(config))) = (&mut answer, config) {
            answer.extend(config);
        }
        Ok::<_, Refused>(Json(answer))
    };
    match answer.await {
        Ok(answer) => answer.into_response(),
        Err(refused) => refused.into_response(),
    }
}

fn subject(asked: FlagsRequest) -> FlagSubject {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    FlagSubject {
        distinct_id: asked.distinct_id,
        anon_distinct_id: asked.anon_distinct_id,
        device_id: asked.device_id,
        properties: asked.person_properties,
        groups: asked
            .groups
            .into_iter()
            .map(|(group, key)| (group, text(key)))
            .collect(),
        group_properties: asked
            .group_properties
            .into_iter()
            .filter_map(|(group, properties)| match properties {
                Value::Object(properties) => Some((group, properties)),
                _ => None,
            })
            .collect(),
    }
}

fn result(flag: FeatureFlagValue, definition: Option<&FeatureFlag>) -> FlagResult {
    FlagResult {
        key: flag.key,
        enabled: flag.enabled,
        variant: flag.variant,
        reason: FlagReason {
            code: flag.reason.unwrap_or_default(),
            condition_index: flag.condition_index,
            description: None,
        },
        payload: flag.payload.map(|payload| payload.0),
        id: definition.map(|definition| definition.id),
        version: definition.and_then(|definition| definition.version),
        has_experiment: definition.is_some_and(|definition| definition.has_experiment),
    }
}

async fn remote_config(State(ingest): State<Ingest>, Path(token): Path<String>) -> Response {
    match teller(&ingest, &token).await {
        Ok(_) => Json(wire::remote_config(&token)).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Why a request is not taken, in the statuses that PostHog's clients act on.
enum Refused {
    Wire(WireError),
    Unauthorized,
    /// The client keeps its events and tries again.
    Transient,
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated | Error::Forbidden | Error::NotFound => Self::Unauthorized,
            Error::User(error) => Self::Wire(WireError {
                status: 400,
                reason: error.message,
            }),
            error => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "a capture request was not taken");
                Self::Transient
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::Wire(WireError { status, reason }) => (
                StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
                reason,
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "the token is not a key of a tenant that may send events".to_owned(),
            ),
            Self::Transient => (
                StatusCode::SERVICE_UNAVAILABLE,
                "transient error, please retry".to_owned(),
            ),
        };
        metrics::counter!("growthos_capture_refused_total", "status" => status.as_u16().to_string())
            .increment(1);
        (status, reason).into_response()
    }
}
