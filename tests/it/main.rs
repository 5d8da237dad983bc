//! Integration tests, one file a room; each case runs on SQLite and on PostgreSQL.

mod flag_vectors;
mod graph;
mod posthog;
mod tenant;
mod wire;
