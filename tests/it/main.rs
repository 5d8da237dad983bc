//! Integration tests, one file a room; each case runs on SQLite and on PostgreSQL.

mod contact;
mod flag_vectors;
mod forward;
mod graph;
mod idempotent;
mod schema;
mod tenant;
mod wire;
mod worker;
