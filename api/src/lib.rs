//! GrowthOS: a multi-tenant GraphQL backend for growth teams. `docs/architecture.md` says how it is built.

pub mod app;
mod backend;
pub mod base;
pub mod cli;
pub mod config;
pub mod contact;
pub mod demo;
pub mod doctor;
pub mod import;
pub mod ingest;
pub mod job;
pub mod nudge;
pub mod operation;
pub mod posthog;
pub mod privacy;
pub mod schema;
pub mod segment;
pub mod serve;
pub mod suppression;
pub mod telemetry;
pub mod tenant;
pub mod transfer;
pub mod transport;
pub mod worker;
