//! Integration tests, one file a room; each case runs on SQLite and on PostgreSQL.

mod nudge;
mod tenant;
