//! Why a request is refused, in the statuses that PostHog's SDKs act on.

use thiserror::Error;

/// A refused request. The SDKs drop what is answered 400 or 401, and split a batch that is answered 413; none of these is retried.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct WireError {
    /// 400 undecodable or invalid, 401 no usable token, 413 too large.
    pub status: u16,
    /// What is wrong and where, for the response's plain text. Names no credential.
    pub reason: String,
}

impl WireError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self {
            status: 400,
            reason: reason.into(),
        }
    }

    pub(super) fn unauthorized(reason: impl Into<String>) -> Self {
        Self {
            status: 401,
            reason: reason.into(),
        }
    }

    pub(super) fn too_large(reason: impl Into<String>) -> Self {
        Self {
            status: 413,
            reason: reason.into(),
        }
    }
}
