//! What every room's part of the schema shares: reaching the `Cx`, who may use a field, and failing well.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{
    Context, Guard, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value,
    dataloader::Loader,
};
use chrono::TimeDelta;
use entity::{Id, TenantOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Actor, Cx, Env, Error, ErrorCode, Origin, Result, Unavailable, db::id_of};

pub trait CxExt<'a> {
    /// The request's `Cx`. Fields that the operator may use have none, and ask [`CxExt::env`].
    fn cx(&self) -> Result<&'a Cx>;
    fn actor(&self) -> &'a Actor;
    fn env(&self) -> &'a Arc<Env>;
    /// Where the request came from.
    fn origin(&self) -> Origin;
    /// What names the request in logs and errors.
    fn request_id(&self) -> &'a str;
    /// Where the subscription stands in its stream.
    fn stream_place(&self) -> Arc<StreamPlace>;
}

/// What names a request, in its context.
pub struct RequestId(pub String);

/// The scheme, host and port that clients reach this process at, in the schema's context: what links begin with.
pub struct PublicOrigin(pub String);

impl<'a> CxExt<'a> for Context<'a> {
    fn cx(&self) -> Result<&'a Cx> {
        self.data_opt().ok_or(Error::Forbidden)
    }
    fn actor(&self) -> &'a Actor {
        self.data_unchecked()
    }
    fn env(&self) -> &'a Arc<Env> {
        self.data_unchecked()
    }
    fn origin(&self) -> Origin {
        self.data_opt::<Origin>().cloned().unwrap_or_default()
    }
    fn request_id(&self) -> &'a str {
        self.data_opt::<RequestId>().map_or("", |id| &id.0)
    }
    fn stream_place(&self) -> Arc<StreamPlace> {
        self.data_opt::<Arc<StreamPlace>>()
            .cloned()
            .unwrap_or_default()
    }
}

/// Where a subscription stands in its stream, so that the transport knows it whether or not the document asks for cursors: one a
/// subscription, in its context.
#[derive(Debug, Default)]
pub struct StreamPlace {
    last_event_id: Option<String>,
    item: Mutex<Option<String>>,
}

impl StreamPlace {
    /// `last_event_id` is the cursor of the last item that the client was given, if the transport knows.
    pub fn new(last_event_id: Option<String>) -> Self {
        Self {
            last_event_id,
            item: Mutex::default(),
        }
    }
    /// The cursor to go on behind. What the transport knows is newer than the argument of a document that was sent again.
    pub fn after(&self, argument: Option<String>) -> Option<String> {
        self.last_event_id.clone().or(argument)
    }
    /// To be called with the cursor of each item, as it is given.
    pub fn give(&self, cursor: &str) {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor.to_owned());
    }
    /// The cursor of the item that was given last, once.
    pub fn take(&self) -> Option<String> {
        self.item
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Who may use a root field. Each field names its need twice, as `guard` (refuses) and as `visible`
/// (hides from introspection); a test holds the two together for every principal.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A secret key with this scope, or a member whose role holds it.
    Scope(&'static str),
    /// A contact's own token.
    Contact,
    /// A secret key or a member with `events:write`, or a publishable key: they may tell what happened.
    Tell,
    /// A secret key with this scope, or a contact: for what hangs on a contact, where a contact's token gets to
    /// its own alone.
    ScopeOrContact(&'static str),
    /// Any principal of a tenant that may read something: a secret key, a member or a contact.
    Reader,
    Operator,
}

impl Need {
    pub fn met_by(self, actor: &Actor) -> bool {
        match self {
            Self::Scope(scope) => actor.holds(scope),
            Self::Contact => matches!(actor, Actor::Contact { .. }),
            Self::ScopeOrContact(scope) => {
                actor.holds(scope) || matches!(actor, Actor::Contact { .. })
            }
            Self::Tell => {
                actor.holds("events:write") || matches!(actor, Actor::PublishableKey { .. })
            }
            Self::Reader => matches!(
                actor,
                Actor::SecretKey { .. }
                    | Actor::Member { .. }
                    | Actor::Contact { .. }
                    | Actor::System
            ),
            Self::Operator => matches!(actor, Actor::Operator | Actor::System),
        }
    }
    /// Whether the request's actor may see the field. The schema's export has no actor and sees all.
    pub fn shows(self, ctx: &Context<'_>) -> bool {
        ctx.data_opt::<Actor>()
            .is_none_or(|actor| self.met_by(actor))
    }
}

impl Guard for Need {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        if self.met_by(ctx.actor()) {
            Ok(())
        } else {
            Err(Error::Forbidden.into())
        }
    }
}

/// Makes a need's two faces: the constant for `guard` and the function for `visible`.
macro_rules! needs {
    ($($(#[$doc:meta])* $guard:ident, $visible:ident = $need:expr;)*) => {$(
        $(#[$doc])*
        pub const $guard: Need = $need;
        pub fn $visible(ctx: &Context<'_>) -> bool {
            $guard.shows(ctx)
        }
    )*};
}

needs! {
    CONTACTS_READ, contacts_read = Need::Scope("contacts:read");
    CONTACTS_WRITE, contacts_write = Need::Scope("contacts:write");
    EVENTS_READ, events_read = Need::Scope("events:read");
    EVENTS_WRITE, events_write = Need::Scope("events:write");
    ANALYTICS_READ, analytics_read = Need::Scope("analytics:read");
    ANALYTICS_WRITE, analytics_write = Need::Scope("analytics:write");
    NUDGES_READ, nudges_read = Need::Scope("nudges:read");
    NUDGES_WRITE, nudges_write = Need::Scope("nudges:write");
    /// What erasures there were.
    PRIVACY_READ, privacy_read = Need::Scope("privacy:read");
    /// Gives out all that is known of a contact, and erases one.
    PRIVACY_WRITE, privacy_write = Need::Scope("privacy:write");
    SEGMENTS_READ, segments_read = Need::Scope("segments:read");
    SEGMENTS_WRITE, segments_write = Need::Scope("segments:write");
    TENANT_READ, tenant_read = Need::Scope("tenant:read");
    TENANT_WRITE, tenant_write = Need::Scope("tenant:write");
    /// Mints tokens that speak for a contact.
    TOKENS_WRITE, tokens_write = Need::Scope("tokens:write");
    CONTACT_OR_OWN, contact_or_own = Need::ScopeOrContact("contacts:read");
    CONTACTS_WRITE_OR_OWN, contacts_write_or_own = Need::ScopeOrContact("contacts:write");
    EVENTS_OR_OWN, events_or_own = Need::ScopeOrContact("events:read");
    NUDGES_OR_OWN, nudges_or_own = Need::ScopeOrContact("nudges:read");
    CONTACT, contact_only = Need::Contact;
    TELL, tell = Need::Tell;
    READER, reader = Need::Reader;
    OPERATOR, operator = Need::Operator;
}

/// Every scope that a secret key can hold.
pub const SCOPES: &[&str] = &[
    "*",
    "analytics:read",
    "analytics:write",
    "contacts:pii",
    "contacts:read",
    "contacts:write",
    "events:read",
    "events:write",
    "nudges:read",
    "nudges:write",
    "privacy:read",
    "privacy:write",
    "segments:read",
    "segments:write",
    "tenant:read",
    "tenant:write",
    "tokens:write",
];

/// What the caller did wrong; empty when nothing.
#[derive(SimpleObject, Default)]
pub struct UserErrors {
    /// What the caller can mend; empty when the mutation did its work.
    pub user_errors: Vec<UserError>,
}

/// One thing that the caller can mend.
#[derive(SimpleObject)]
pub struct UserError {
    /// The kind of mistake.
    code: ErrorCode,
    /// The input field's path; absent where the input as a whole is wrong.
    field: Option<String>,
    /// What is wrong, and which value.
    message: String,
}

impl From<super::UserError> for UserError {
    fn from(e: super::UserError) -> Self {
        Self {
            code: e.code,
            field: e.field,
            message: e.message,
        }
    }
}

impl From<super::UserError> for UserErrors {
    fn from(e: super::UserError) -> Self {
        Self {
            user_errors: vec![e.into()],
        }
    }
}

/// A field that may be null: what fails in it, or is forbidden, is null with an error at its own place. A `guard`, or a
/// `Result<Option<T>>`, would null the parent.
pub async fn nullable<T>(
    ctx: &Context<'_>,
    need: Need,
    work: impl Future<Output = async_graphql::Result<Option<T>>> + Send,
) -> Option<async_graphql::Result<T>> {
    if need.met_by(ctx.actor()) {
        work.await.transpose()
    } else {
        Some(Err(Error::Forbidden.into()))
    }
}

/// Splits a result into a payload's two halves; a fault stays an error.
pub fn outcome<T>(done: Result<T>) -> Result<(Option<T>, UserErrors)> {
    match done {
        Ok(value) => Ok((Some(value), UserErrors::default())),
        Err(Error::User(e)) => Ok((None, e.into())),
        Err(Error::NotFound) => Ok((
            None,
            super::UserError {
                code: ErrorCode::NotFound,
                field: None,
                message: "not found".into(),
            }
            .into(),
        )),
        Err(fault) => Err(fault),
    }
}

/// At most this many errors in a response, of as many bytes, and this long each: an answer never outgrows its question.
const ERRORS_MAX: usize = 20;
const ERRORS_BYTES_MAX: usize = 16 * 1024;
const ERROR_CHARS_MAX: usize = 500;

/// The one exit for faults: names each for the caller, logs the internal ones, and bounds them all.
pub fn seal(response: &mut async_graphql::Response, request_id: &str) {
    response.errors.truncate(ERRORS_MAX);
    for error in &mut response.errors {
        let source = error
            .source::<Error>()
            .or_else(|| error.source::<Arc<Error>>().map(AsRef::as_ref));
        let mut retry_after = None;
        let code = match source {
            None => "GRAPHQL_VALIDATION_FAILED",
            Some(Error::User(e)) if e.code == ErrorCode::NotFound => "NOT_FOUND",
            Some(Error::User(_)) => "BAD_USER_INPUT",
            Some(Error::Unauthenticated) => "UNAUTHENTICATED",
            Some(Error::Forbidden) => "FORBIDDEN",
            Some(Error::NotFound) => "NOT_FOUND",
            Some(Error::TooComplex(_)) => "QUERY_TOO_COMPLEX",
            Some(Error::BadCursor) => "BAD_CURSOR",
            Some(Error::Contended) => {
                retry_after = Some(1);
                "CONFLICT"
            }
            Some(Error::Conflict {
                retry_after: after, ..
            }) => {
                retry_after = after.map(|after| after.as_secs().max(1));
                "CONFLICT"
            }
            Some(Error::RateLimited {
                retry_after: after, ..
            }) => {
                retry_after = after.map(|after| after.as_secs().max(1));
                "RATE_LIMITED"
            }
            Some(Error::Unavailable(Unavailable {
                code,
                retry_after: after,
                ..
            })) => {
                retry_after = after.map(|after| after.as_secs().max(1));
                code
            }
            Some(Error::Internal(cause)) => {
                tracing::error!(error = format!("{cause:#}"), path = ?error.path, request_id, "internal error");
                "INTERNAL"
            }
        };
        if error.message.len() > ERROR_CHARS_MAX {
            error.message = error.message.chars().take(ERROR_CHARS_MAX).collect();
        }
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", code);
        extensions.set("requestId", request_id);
        if let Some(seconds) = retry_after {
            extensions.set("retryAfter", seconds);
        }
    }
    // A path repeats the document's aliases.
    let mut bytes = 0;
    let fit = response.errors.iter().position(|error| {
        bytes += 1 + serde_json::to_vec(error).map_or(ERRORS_BYTES_MAX, |written| written.len());
        bytes > ERRORS_BYTES_MAX
    });
    response.errors.truncate(fit.unwrap_or(ERRORS_MAX));
}

/// Loads rows of `E` by id, within the request's tenant.
pub struct ById(pub Cx);

impl<E> Loader<Id<E>> for ById
where
    E: TenantOwned + 'static,
    E::Model: Clone + Send + Sync + 'static,
{
    type Value = E::Model;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[Id<E>]) -> Result<HashMap<Id<E>, E::Model>, Self::Error> {
        let rows = self.0.db().get_many(ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (id_of::<E>(&row), row))
            .collect())
    }
}

/// A length of time in ISO 8601, of weeks, days, hours, minutes and seconds: `P7D`, `PT90S`. Months and
/// years have no fixed length and are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Duration(pub TimeDelta);

/// A length of time in ISO 8601, of weeks, days, hours, minutes and seconds: `P7D`, `PT1H30M`. Months and years are refused.
#[Scalar(
    name = "Duration",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339#appendix-A"
)]
impl ScalarType for Duration {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        parse_duration(text).map(Self).ok_or_else(|| {
            InputValueError::custom(
                "a duration looks like P7D, PT1H30M or P2W, without months or years",
            )
        })
    }
    fn to_value(&self) -> Value {
        Value::String(self.text())
    }
}

impl Duration {
    fn text(self) -> String {
        let seconds = self.0.num_seconds();
        if seconds % 86_400 == 0 {
            format!("P{}D", seconds / 86_400)
        } else {
            format!("PT{seconds}S")
        }
    }
}

/// Kept as it is shown.
impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        parse_duration(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a duration"))
    }
}

/// An absolute URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

/// An absolute URL.
#[Scalar(name = "URL", specified_by_url = "https://url.spec.whatwg.org/")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if url::Url::parse(&text).is_ok() => Ok(Self(text)),
            _ => Err(InputValueError::custom("an absolute URL is expected")),
        }
    }
    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Ten years: longer spans are mistakes.
const DURATION_S_MAX: i64 = 10 * 366 * 86_400;

fn parse_duration(text: &str) -> Option<TimeDelta> {
    let body = text.strip_prefix('P')?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    let mut seconds = 0_i64;
    let mut parts = 0;
    for (part, units) in [
        (date, &[('W', 604_800), ('D', 86_400)][..]),
        (time, &[('H', 3_600), ('M', 60), ('S', 1)][..]),
    ] {
        let mut rest = part;
        for (unit, length_s) in units {
            if let Some((digits, after)) = rest.split_once(*unit) {
                let count: i64 = digits.parse().ok().filter(|n| *n >= 0)?;
                seconds = seconds.checked_add(count.checked_mul(*length_s)?)?;
                rest = after;
                parts += 1;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (parts > 0 && seconds <= DURATION_S_MAX).then(|| TimeDelta::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_iso_8601() {
        for (text, seconds) in [
            ("P7D", 604_800),
            ("P1W", 604_800),
            ("PT90S", 90),
            ("P1DT2H3M4S", 93_784),
            ("PT0S", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(TimeDelta::seconds(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "P",
            "PT",
            "7D",
            "P1M",
            "P1Y",
            "P-1D",
            "PD",
            "P1DT",
            "P1D2",
            "P99999999D",
            "P1S",
            "PT1D",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(
            Duration(TimeDelta::days(30)).to_value(),
            Value::from("P30D")
        );
        assert_eq!(
            Duration(TimeDelta::seconds(90)).to_value(),
            Value::from("PT90S")
        );
    }

    #[test]
    fn write_scopes_include_reading_and_nothing_else() {
        let key = |scope: &str| Actor::SecretKey {
            id: Id::from_uuid(uuid::Uuid::nil()),
            scopes: [scope.to_owned()].into(),
        };
        assert!(key("nudges:write").holds("nudges:read"));
        assert!(!key("nudges:read").holds("nudges:write"));
        assert!(!key("nudges:write").holds("contacts:read"));
        assert!(key("*").holds("contacts:write"));
    }
}
