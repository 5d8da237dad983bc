//! Every request that arrived, answered or not.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Endpoint;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestRecord {
    /// Counts from 1.
    pub sequence: u64,
    pub at: DateTime<Utc>,
    /// Nothing for `/`, `/_liveness` and paths that `PostHog` does not have.
    pub endpoint: Option<Endpoint>,
    pub method: String,
    /// As sent, without the query.
    pub path: String,
    pub query: String,
    pub authorization: Authorization,
    /// Requests to this group of endpoints under way when this one arrived, itself included.
    pub in_flight: usize,
    /// What a capture request carries, in its order; empty for every other.
    pub events: Vec<Attempt>,
    /// The JSON of a request that is not a capture.
    pub body: Option<Value>,
    /// Nothing while, and if ever, unanswered.
    pub status: Option<u16>,
}

/// One event of one capture request, whatever became of it: as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    pub uuid: Option<String>,
    pub event: Option<String>,
    pub distinct_id: Option<String>,
    pub timestamp: Option<String>,
}

/// The sort of credential in the `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    None,
    /// `Bearer phx_…`
    PersonalKey,
    /// `Bearer phs_…`
    SecretKey,
    /// `Bearer phc_…`
    ProjectToken,
    Other,
}

impl Authorization {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match bearer(headers) {
            None if headers.contains_key(AUTHORIZATION) => Self::Other,
            None => Self::None,
            Some(key) if key.starts_with("phx_") => Self::PersonalKey,
            Some(key) if key.starts_with("phs_") => Self::SecretKey,
            Some(key) if key.starts_with("phc_") => Self::ProjectToken,
            Some(_) => Self::Other,
        }
    }
}

/// The key of `Authorization: Bearer key`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
