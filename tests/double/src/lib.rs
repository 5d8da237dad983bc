//! A double of `PostHog`, for tests and demonstrations: it speaks the wire contract of the endpoints that the product uses,
//! over the events that it was sent and the flags that it was given, and fails on command. It knows nothing else, keeps
//! everything in memory, and what it cannot do exactly as `PostHog` it refuses.
//!
//! In one process: [`Double::start`]. As a process of its own: the binary `posthog-double`, steered over `/_double/…`.

mod capture;
mod control;
mod event;
mod exchange;
mod failure;
mod flag;
mod person;
mod project;
mod query;
mod record;
mod rest;
mod router;
mod socket;
mod sql;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use crate::event::Event;
pub use crate::failure::{Endpoint, Failure};
pub use crate::person::{Person, Warning, WarningKind};
pub use crate::record::{Attempt, Authorization, RequestRecord};

use crate::project::Project;
use crate::socket::{Listener, Wire, Wires};

/// Where the double reads the time, so that a test can hold it still.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How long answers under way may take when the double stops, before their connections are reset.
const STOP_GRACE: Duration = Duration::from_millis(200);

/// What the double is told at its start.
#[derive(Clone)]
pub struct DoubleOptions {
    /// Port 0 takes any free one.
    pub bind: SocketAddr,
    pub clock: Clock,
    /// `phc_…`: the only token that capture, flags and definitions take.
    pub project_token: String,
    /// `phx_…`: the only key of the private API.
    pub personal_api_key: String,
    /// What the key may do, such as `query:read`; `*` is everything.
    pub scopes: Vec<String>,
    /// `phs_…`: further keys, good for flag definitions only.
    pub secret_keys: Vec<String>,
    pub project_id: u64,
    /// Whether the deployment has experiments; without, their paths are 404.
    pub experiments: bool,
    /// Whether definitions are served before [`Double::set_flags`]; without, they answer 503.
    pub definitions_warm: bool,
}

impl DoubleOptions {
    /// Any free port of the loopback, every scope, every capability.
    pub fn new(clock: Clock) -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock,
            project_token: "phc_double_project_token".to_owned(),
            personal_api_key: "phx_double_personal_key".to_owned(),
            scopes: vec!["*".to_owned()],
            secret_keys: Vec::new(),
            project_id: 1,
            experiments: true,
            definitions_warm: true,
        }
    }
}

impl fmt::Debug for DoubleOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DoubleOptions")
            .field("bind", &self.bind)
            .field("project_id", &self.project_id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// A running double; it stops when dropped.
pub struct Double {
    address: SocketAddr,
    project: Arc<Project>,
    wires: Wires,
    stopping: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
}

impl Double {
    /// Binds and serves.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(options: DoubleOptions) -> io::Result<Self> {
        let tcp = TcpListener::bind(options.bind).await?;
        let address = tcp.local_addr()?;
        let project = Arc::new(Project::new(options));
        let wires = Wires::default();
        let (stopping, mut stopped) = watch::channel(false);
        let router = Router::new()
            .fallback(router::answer)
            .with_state(project.clone());
        let listener = Listener {
            tcp,
            wires: wires.clone(),
        };
        let serve = axum::serve(
            listener,
            router.into_make_service_with_connect_info::<Wire>(),
        )
        .with_graceful_shutdown(async move {
            // a dropped sender is a dropped double: stop as well
            let _ = stopped.wait_for(|stopping| *stopping).await;
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "the double is no part of the product: it waits for its own task"
        )]
        let server = tokio::spawn(serve.into_future());
        Ok(Self {
            address,
            project,
            wires,
            stopping,
            server,
        })
    }

    /// `http://address:port`, the base of every endpoint: ingest, flags, API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn options(&self) -> &DoubleOptions {
        self.project.options()
    }

    /// Every accepted event in the order of arrival, copies included.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.project.events()
    }

    /// Every request but those to `/_double/…`, in the order of arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.project.requests()
    }

    pub fn persons(&self) -> Vec<Person> {
        self.project.persons()
    }

    /// The merges that were refused.
    pub fn warnings(&self) -> Vec<Warning> {
        self.project.warnings()
    }

    /// Replaces the flags: a body of `/flags/definitions`, of which `flags` alone is enough.
    pub fn set_flags(&self, definitions: Value) {
        self.project.set_flags(definitions);
    }

    /// Replaces who is in a cohort, by distinct ids.
    pub fn set_cohort(&self, cohort: i64, distinct_ids: &[&str]) {
        let ids = distinct_ids.iter().map(|id| (*id).to_owned());
        self.project.set_cohort(cohort, ids.collect());
    }

    /// Lets an endpoint fail: failures play in the order given, one without an end makes way for the next.
    pub fn fail(&self, endpoint: Endpoint, failure: Failure) {
        self.project.arm(endpoint, failure);
    }

    /// From now on a batch with an event of this name is refused with 400.
    pub fn poison(&self, event: &str) {
        self.project.poison(event.to_owned());
    }

    /// Forgets every failure and every poison; requests already hanging stay so.
    pub fn heal(&self) {
        self.project.heal();
    }

    /// Stops listening, lets quick answers out and resets every other connection.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        let mut server = self.server;
        if timeout(STOP_GRACE, &mut server).await.is_err() {
            self.wires.reset_all();
            if timeout(STOP_GRACE, &mut server).await.is_err() {
                server.abort();
            }
        }
    }
}

impl fmt::Debug for Double {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Double")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
