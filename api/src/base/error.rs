//! Two kinds of failure: the caller's, told in full; and ours, told to the log.

use std::time::Duration;

use sea_orm::{DbErr, SqlErr};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input breaks a rule; the caller can mend it.
    #[error("{}", .0.message)]
    User(UserError),
    #[error("the credential is missing, unknown or expired")]
    Unauthenticated,
    #[error("this credential may not do this")]
    Forbidden,
    /// It is not there, or it is another's: the caller cannot tell which.
    #[error("not found")]
    NotFound,
    /// The document asks for more than a request may; the message says what, and the limit.
    #[error("{0}")]
    TooComplex(String),
    /// A cursor that this list did not give out.
    #[error("the cursor is not one that this list gave out")]
    BadCursor,
    /// The same idempotency key with another input, or still in flight.
    #[error("{message}")]
    Conflict {
        message: String,
        /// When the same call may succeed; absent where it never will.
        retry_after: Option<Duration>,
    },
    /// Too much in too short a time, or at the same time.
    #[error("{message}")]
    RateLimited {
        message: String,
        /// When there is room again; absent where only the caller can make it.
        retry_after: Option<Duration>,
    },
    /// Another write got in the way; the unit of work runs again.
    #[error("too many writes at once met on the same rows, try again")]
    Contended,
    /// An upstream does not answer; the product goes on.
    #[error("{}", .0.message)]
    Unavailable(Unavailable),
    /// A bug or an outage. The caller is told only that it happened.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

/// Why an upstream's answer is missing.
#[derive(Clone, Debug)]
pub struct Unavailable {
    /// `POSTHOG_UNAVAILABLE`, `POSTHOG_RATE_LIMITED` or `POSTHOG_NOT_CONNECTED`.
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct UserError {
    pub code: ErrorCode,
    /// The input's path, such as `input.email` without the `input.`.
    pub field: Option<String>,
    pub message: String,
}

/// What is wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, async_graphql::Enum)]
pub enum ErrorCode {
    /// The value breaks a rule; the message says which.
    Invalid,
    /// It names something that is not there.
    NotFound,
    /// Another one has this value already.
    Taken,
    /// The state of the thing does not allow it.
    Conflict,
    /// It is over a limit.
    LimitReached,
}

impl Error {
    pub fn user(code: ErrorCode, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::User(UserError {
            code,
            field: Some(field.into()),
            message: message.into(),
        })
    }
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::user(ErrorCode::Invalid, field, message)
    }
    /// The same mistake in a part of the input: `email` becomes `events.3.email`.
    #[must_use]
    pub fn under(self, part: &str) -> Self {
        match self {
            Self::User(e) => Self::User(UserError {
                field: Some(
                    e.field
                        .map_or_else(|| part.to_owned(), |field| format!("{part}.{field}")),
                ),
                ..e
            }),
            other => other,
        }
    }
    /// The same mistake, in another field.
    #[must_use]
    pub fn at(self, field: &str) -> Self {
        match self {
            Self::User(e) => Self::User(UserError {
                field: Some(field.to_owned()),
                ..e
            }),
            other => other,
        }
    }
    /// Turns a broken unique constraint into the caller's error.
    #[must_use]
    pub fn taken(self, field: &str, message: &str) -> Self {
        if self.breaks_unique() {
            Self::user(ErrorCode::Taken, field, message)
        } else {
            self
        }
    }
    /// Turns a broken unique constraint, which a concurrent write won, into another try.
    #[must_use]
    pub fn contended(self) -> Self {
        if self.breaks_unique() {
            Self::Contended
        } else {
            self
        }
    }
    fn breaks_unique(&self) -> bool {
        matches!(self, Self::Internal(cause) if matches!(
            cause.downcast_ref::<DbErr>().and_then(DbErr::sql_err),
            Some(SqlErr::UniqueConstraintViolation(_))
        ))
    }
}

impl From<DbErr> for Error {
    fn from(e: DbErr) -> Self {
        match e {
            DbErr::RecordNotFound(_) | DbErr::RecordNotUpdated => Self::NotFound,
            e => Self::Internal(e.into()),
        }
    }
}
impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Self::Internal(e.into())
    }
}
impl From<anyhow::Error> for Error {
    fn from(e: anyhow::Error) -> Self {
        Self::Internal(e)
    }
}
