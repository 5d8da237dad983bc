//! Integration tests, one file a room; each case runs on SQLite and on PostgreSQL.

mod architecture;
mod ground;
mod rows;
mod serve;
mod tenant;
mod wire;
