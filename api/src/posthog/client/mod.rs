//! Calls to PostHog: bounded in time, size and number, and none at all while PostHog is down.

mod breaker;
mod gate;
mod query;

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use reqwest::{RequestBuilder, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, ConnectionKey};
use crate::base::{Clock, Error, Unavailable};

use self::gate::{Gate, TURN_WAIT};
pub(super) use query::{Complaint, Table, instant, metadata};

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Characters of PostHog's own words that are shown or logged.
const DETAIL_CHARS_MAX: usize = 300;
/// Gates of connections that nobody asked for so long are forgotten.
const GATE_IDLE: Duration = Duration::from_hours(2);
const GATES_MAX: u64 = 30_000;
/// What the HTTP client wraps whatever its resolver says in.
const NAME_ERROR: &str = "dns error";
/// Told of a name that has no address as of one whose addresses may not be called: a difference would tell a tenant which
/// names there are in the network that this process runs in.
const NOT_FOUND: &str = "the host has no address in the Internet";

/// What fails, and is limited, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Query,
    Flags,
    Definitions,
    Persons,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Flags => "flags",
            Self::Definitions => "definitions",
            Self::Persons => "persons",
        }
    }
    /// How long an answer may take. PostHog gives a query 10 s, its clients give flags 3 s.
    const fn timeout(self) -> Duration {
        match self {
            Self::Query | Self::Definitions | Self::Persons => Duration::from_secs(10),
            Self::Flags => Duration::from_secs(3),
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// PostHog says that the request is wrong, with this status.
    Refused { status: u16, detail: String },
    /// PostHog does not take the credential.
    Denied { status: u16, detail: String },
    /// PostHog, or the budget that keeps within PostHog's limits, asks to wait.
    Limited { retry_after: Option<Duration> },
    Down {
        cause: Cause,
        retry_after: Option<Duration>,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Cause {
    Timeout,
    /// The host cannot be reached, or the answer broke off.
    Transport(String),
    Status(u16),
    /// The answer is not what was agreed.
    Answer(String),
    /// It failed before and is left alone for a while.
    Shut,
}

impl Failure {
    pub(super) const TIMEOUT: Self = Self::Down {
        cause: Cause::Timeout,
        retry_after: None,
    };
    pub(super) const fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Down {
                cause: Cause::Timeout,
                ..
            }
        )
    }
    pub(super) const fn answer(what: String) -> Self {
        Self::Down {
            cause: Cause::Answer(what),
            retry_after: None,
        }
    }
    /// A word for metrics.
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Denied { .. } => "denied",
            Self::Limited { .. } => "limited",
            Self::Down { cause, .. } => match cause {
                Cause::Timeout => "timeout",
                Cause::Transport(_) => "transport",
                Cause::Status(_) => "failed",
                Cause::Answer(_) => "garbled",
                Cause::Shut => "shut",
            },
        }
    }
    /// What happened, for people.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Refused { status, detail } => {
                format!("PostHog refused the request with {status}: {detail}")
            }
            Self::Denied { status, detail } => {
                format!("PostHog refused the credential with {status}: {detail}")
            }
            Self::Limited { .. } => "too many requests to PostHog at once, try again later".into(),
            Self::Down { cause, .. } => match cause {
                Cause::Timeout => "PostHog did not answer in time".into(),
                Cause::Transport(what) => format!("PostHog cannot be reached: {what}"),
                Cause::Status(status) => format!("PostHog failed with {status}"),
                Cause::Answer(what) => format!("PostHog's answer was not understood: {what}"),
                Cause::Shut => "PostHog failed repeatedly and is left alone for a while".into(),
            },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let message = failure.told();
        let (code, retry_after) = match failure {
            Failure::Limited { retry_after } => ("POSTHOG_RATE_LIMITED", retry_after),
            Failure::Down { retry_after, .. } => ("POSTHOG_UNAVAILABLE", retry_after),
            Failure::Refused { .. } | Failure::Denied { .. } => ("POSTHOG_UNAVAILABLE", None),
        };
        Self::Unavailable(Unavailable {
            code,
            message,
            retry_after,
        })
    }
}

/// An answer with a good status: 2xx, or 304.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|e| Failure::answer(e.to_string()))
    }
}

/// The limits of each connection and endpoint.
pub(super) struct Gates {
    clock: Clock,
    gates: Cache<(ConnectionKey, Endpoint), Arc<Gate>>,
}

impl Gates {
    pub(super) fn new(clock: Clock) -> Self {
        let gates = Cache::builder()
            .max_capacity(GATES_MAX)
            .time_to_idle(GATE_IDLE)
            .build();
        Self { clock, gates }
    }
    /// Sends a request of a connection when it may be sent.
    pub(super) async fn send(
        &self,
        connection: &Connection,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + TURN_WAIT + endpoint.timeout();
        self.send_by(connection, endpoint, request, until).await
    }
    /// The same, given up at `until`, where its own time is not over before.
    pub(super) async fn send_by(
        &self,
        connection: &Connection,
        endpoint: Endpoint,
        request: RequestBuilder,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let fresh = async { Arc::new(Gate::new(endpoint, &self.clock)) };
        let gate = self
            .gates
            .get_with((connection.cache_key(), endpoint), fresh)
            .await;
        let entered = timeout_at(until, gate.enter());
        let answer = match entered.await.unwrap_or(Err(Failure::TIMEOUT)) {
            Ok(pass) => {
                let whole = endpoint.timeout();
                let left = whole.min(until - Instant::now());
                let answer = send(request.timeout(left)).await;
                // Who had no time to answer did not fail: dropped, the pass tells nothing.
                let was_cut = left < whole / 2 && answer.as_ref().is_err_and(Failure::is_timeout);
                if !was_cut {
                    pass.settle(answer.as_ref().err());
                }
                answer
            }
            Err(failure) => Err(failure),
        };
        let outcome = answer.as_ref().map_or_else(Failure::outcome, |_| "ok");
        metrics::counter!("growthos_posthog_requests_total", "endpoint" => endpoint.name(), "outcome" => outcome)
            .increment(1);
        if let Err(failure) = &answer {
            let tenant = connection.tenant.uuid();
            tracing::warn!(%tenant, endpoint = endpoint.name(), failure = failure.told(), "PostHog gave no answer");
        }
        answer
    }
}

/// Sends a request and reads its bounded answer. Without limits of its own: for probes, before there is a
/// connection.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, Failure> {
    let mut response = request.send().await.map_err(|e| transport(&e))?;
    let status = response.status();
    let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let etag = header(header::ETAG);
    // PostHog sends seconds, never a date.
    let retry_after = header(header::RETRY_AFTER)
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&e))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Failure::answer(format!(
                "it is longer than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(Answer {
            status: status.as_u16(),
            etag,
            body,
        });
    }
    Err(match status.as_u16() {
        status @ (401 | 403) => Failure::Denied {
            status,
            detail: detail(&body),
        },
        429 => Failure::Limited { retry_after },
        408 => Failure::Down {
            cause: Cause::Timeout,
            retry_after,
        },
        // A redirect is not followed: it could lead anywhere.
        status @ 300..500 => Failure::Refused {
            status,
            detail: detail(&body),
        },
        status => Failure::Down {
            cause: Cause::Status(status),
            retry_after,
        },
    })
}

fn transport(error: &reqwest::Error) -> Failure {
    let cause = if error.is_timeout() {
        Cause::Timeout
    } else {
        // The innermost cause says it best, and holds no URL.
        let mut cause: &dyn std::error::Error = error;
        let mut is_name = false;
        while let Some(inner) = cause.source() {
            cause = inner;
            is_name |= cause.to_string() == NAME_ERROR;
        }
        let what = cause.to_string();
        if is_name {
            tracing::warn!(what, "a tenant's PostHog was not found");
            Cause::Transport(NOT_FOUND.to_owned())
        } else {
            Cause::Transport(shortened(&what))
        }
    };
    Failure::Down {
        cause,
        retry_after: None,
    }
}

/// The `detail` of PostHog's error body, or its text.
fn detail(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| json.get("detail")?.as_str());
    said.map_or_else(|| shortened(&String::from_utf8_lossy(body)), shortened)
}

fn shortened(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::{io, net::SocketAddr};

    use reqwest::dns::{Addrs, Name, Resolve, Resolving};

    use super::*;

    /// Answers a name by what it says of itself.
    struct Names;

    impl Resolve for Names {
        fn resolve(&self, name: Name) -> Resolving {
            let found: Result<Addrs, Box<dyn std::error::Error + Send + Sync>> = match name.as_str()
            {
                "private.test" => Err(format!("{} has no public address", name.as_str()).into()),
                "closed.test" => {
                    Ok(Box::new([SocketAddr::from(([127, 0, 0, 1], 1))].into_iter()) as Addrs)
                }
                _ => Err(io::Error::other("failed to lookup address information").into()),
            };
            Box::pin(std::future::ready(found))
        }
    }

    #[tokio::test]
    async fn a_name_inside_the_network_is_told_as_one_that_there_is_not() {
        // Whoever is first installs it for all tests of the process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(Names))
            .build()
            .unwrap();
        let mut told = vec![];
        for host in ["private.test", "missing.test", "closed.test"] {
            let failure = send(http.get(format!("http://{host}:1/")))
                .await
                .unwrap_err();
            told.push(failure.told());
        }
        let unknown = "PostHog cannot be reached: the host has no address in the Internet";
        assert_eq!(told[..2], [unknown, unknown]);
        assert!(told[2].contains("refused"), "{}", told[2]);
    }
}
