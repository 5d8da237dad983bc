//! PostHog-compatible ingestion: an unmodified posthog-js, posthog-node or posthog-python whose host is
//! GrowthOS and whose token is a publishable key feeds the contact graph and gets its flags.
//!
//! [`wire`] reads requests and writes answers, and knows no database; `touches` turns its events into the
//! contact graph's; `http` has the routes.

mod http;
mod touches;
pub mod wire;

pub use http::{Ingest, ROUTES, Route, router};
