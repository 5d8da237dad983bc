//! PostHog, the observation layer: its project connected, what it knows joined into contacts, its flags
//! evaluated.
//!
//! * A tenant connects one project ([`graphql`](PosthogMutation)); secrets are sealed, hosts checked, capabilities probed.
//! * [`ContactAnalytics`] joins activity and the tenant's metrics into contacts: a page costs one `HogQL` query. Flags of a
//!   page are evaluated here, in one pass, from polled definitions ([`flag`]).
//! * [`Posthog`] is what the process holds one of: limits, breakers and caches of every connection.
//!
//! A PostHog that is down, slow or limiting nulls what is joined from it, each field with an error of its own;
//! contacts stand. Emits nothing, hears nothing: the forwarder reads the log for itself.

mod analytics;
mod client;
mod commands;
mod connection;
mod corpus;
pub mod flag;
mod flags;
pub mod forward;
mod graphql;
mod loaders;
mod persons;
mod probe;
mod queries;
mod reach;
mod rules;
pub mod secret;
mod table;

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tokio_util::task::TaskTracker;

use self::{
    analytics::Join,
    client::Gates,
    connection::{Connection, ConnectionKey, not_connected},
    flags::{AnswerKey, Poll, Remembered},
    table::Tables,
};
use crate::base::{Clock, Env, Ids, Outbound, Result, Scope, Secrets};

pub use self::{
    analytics::{ContactActivity, ContactAnalytics, MetricValue},
    commands::{ForwardFrom, NewConnection, NewMetric, connect},
    corpus::hogql_corpus,
    flags::{FeatureFlag, FeatureFlagValue, FeatureFlagVariant, FlagSource, FlagSubject},
    graphql::{Metric, PosthogConnection, PosthogMutation, PosthogQuery},
    loaders::{Loaders, loaders},
    reach::{ASKED_MAX, Reach, reach},
    rules::GivenHosts,
};

/// Projects whose definitions are kept; those nobody asks for are forgotten.
const POLLS_MAX: u64 = 10_000;
const POLL_IDLE: Duration = Duration::from_hours(1);
/// Subjects' flags that PostHog decided, kept for when it does not answer.
const ANSWERS_MAX: u64 = 200_000;
const ANSWER_IDLE: Duration = Duration::from_hours(24);

/// The process's way to PostHog: limits, breakers and caches of every tenant's connection, each under the
/// connection's own key.
pub struct Posthog {
    outbound: Outbound,
    clock: Clock,
    ids: Ids,
    secrets: Secrets,
    tasks: TaskTracker,
    gates: Gates,
    join: Join,
    tables: Tables,
    polls: Cache<ConnectionKey, Arc<Poll>>,
    answers: Cache<AnswerKey, Remembered>,
}

impl Posthog {
    /// `tasks`: where polls of flag definitions run, so that shutdown waits for them.
    pub fn new(env: &Env, outbound: Outbound, tasks: TaskTracker) -> Self {
        Self {
            outbound,
            clock: env.clock.clone(),
            ids: env.ids.clone(),
            secrets: env.secrets.clone(),
            tasks,
            gates: Gates::new(env.clock.clone()),
            join: Join::default(),
            tables: Tables::default(),
            polls: Cache::builder()
                .max_capacity(POLLS_MAX)
                .time_to_idle(POLL_IDLE)
                .build(),
            answers: Cache::builder()
                .max_capacity(ANSWERS_MAX)
                .time_to_idle(ANSWER_IDLE)
                .build(),
        }
    }
    /// The tenant's connection, with its secrets open.
    async fn connection(&self, scope: &Scope) -> Result<Connection> {
        let row = connection::row(scope).await?.ok_or_else(not_connected)?;
        Connection::open(&self.secrets, &self.outbound, row)
    }
    const fn http(&self) -> &reqwest::Client {
        self.outbound.client()
    }
}
