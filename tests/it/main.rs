//! Integration tests, one file a room; each case runs on SQLite and on PostgreSQL.

mod contact;
mod crash;
mod flag_vectors;
mod forward;
mod graph;
mod posthog;
mod tenant;
mod wire;
mod worker;
