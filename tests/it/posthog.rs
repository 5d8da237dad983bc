//! PostHog joined: the room's part of the schema, over contacts of a real database and a double of PostHog.
#![expect(
    clippy::unwrap_used,
    reason = "a case fails by panicking, in what it calls too"
)]

mod connection;
mod flags;
mod hogql;
mod join;
mod metrics;
mod outage;
pub(crate) mod stage;
