//! Integration tests, one file a room; each case runs on SQLite and on PostgreSQL.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails there"
)]

mod architecture;
mod cli;
mod contact;
mod coverage;
mod crash;
mod flag_vectors;
mod fold;
mod forward;
mod front;
mod graph;
mod ground;
mod hostile;
mod idempotent;
mod import;
mod isolation;
mod lanes;
mod limits;
mod merge;
mod nudge;
mod pages;
mod peers;
mod persisted;
mod posthog;
mod privacy;
mod retention;
mod rows;
mod scale;
mod schema;
mod segment;
mod serve;
mod tenant;
mod transport;
mod upgrade;
mod variables;
mod view;
mod wire;
mod worker;
