//! PostHog joined: the room's part of the schema, over contacts of a real database and a double of PostHog.

mod connection;
mod flags;
mod hogql;
mod join;
mod metrics;
mod outage;
mod stage;
