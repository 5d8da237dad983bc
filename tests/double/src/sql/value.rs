//! Values of a query, and how they compare.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Timelike, Utc};
use serde_json::{Number, Value as Json};
use uuid::Uuid;

use super::Fault;

/// One value. Whether it may be null is its kind's business.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Date(NaiveDate),
    /// Microseconds are kept, as in `DateTime64(6)`.
    Instant(DateTime<Utc>),
    Uuid(Uuid),
    Interval(Interval),
    Array(Arc<[Self]>),
    Tuple(Arc<[Self]>),
}

/// Calendar months, days and seconds, as `ClickHouse` keeps them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) seconds: i64,
}

/// What values are grouped, told apart and looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Null,
    Int(i64),
    /// A float's bits; a whole number is an [`Int`](Self::Int).
    Float(u64),
    Text(Arc<str>),
    Date(NaiveDate),
    Instant(DateTime<Utc>),
    Uuid(Uuid),
    List(Vec<Self>),
}

impl Value {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    /// A length or a count.
    pub(crate) fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// `ClickHouse`'s booleans are numbers.
    pub(crate) fn truth(truth: bool) -> Self {
        Self::Int(truth.into())
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether a filter lets the row through; null does not.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            _ => false,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "ClickHouse's Float64 of an integer loses the same bits"
    )]
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(truth) => Some(u8::from(*truth).into()),
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Bool(truth) => Some((*truth).into()),
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The instant of a date or an instant.
    pub(crate) fn as_instant(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Instant(instant) => Some(*instant),
            Self::Date(date) => Some(midnight(*date)),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Null => Key::Null,
            Self::Bool(truth) => Key::Int((*truth).into()),
            Self::Int(number) => Key::Int(*number),
            Self::Float(number) => whole(*number).map_or(Key::Float(number.to_bits()), Key::Int),
            Self::Text(text) => Key::Text(text.clone()),
            Self::Date(date) => Key::Date(*date),
            Self::Instant(instant) => Key::Instant(*instant),
            Self::Uuid(uuid) => Key::Uuid(*uuid),
            Self::Interval(interval) => Key::List(
                [interval.months, interval.days, interval.seconds]
                    .map(Key::Int)
                    .into(),
            ),
            Self::Array(items) | Self::Tuple(items) => {
                Key::List(items.iter().map(Self::key).collect())
            }
        }
    }

    /// A value that travelled beside the query.
    pub(crate) fn from_json(json: &Json) -> Result<Self, Fault> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(number)) => Self::Float(number),
                (None, None) => return Err(Fault::new(format!("number out of range: {number}"))),
            },
            Json::String(text) => Self::text(text),
            Json::Array(items) => Self::Array(
                items
                    .iter()
                    .map(Self::from_json)
                    .collect::<Result<_, _>>()?,
            ),
            Json::Object(_) => {
                return Err(Fault::new("a value is an object, which is no constant"));
            }
        })
    }

    /// As in `results`: instants in ISO 8601, what JSON has no number for as null.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Null | Self::Interval(_) => Json::Null,
            Self::Bool(truth) => Json::Bool(*truth),
            Self::Int(number) => Json::from(*number),
            Self::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Self::Text(text) => Json::from(&**text),
            Self::Date(date) => Json::from(date.to_string()),
            Self::Instant(instant) => {
                let format = if instant.nanosecond() == 0 {
                    SecondsFormat::Secs
                } else {
                    SecondsFormat::Micros
                };
                Json::from(instant.to_rfc3339_opts(format, true))
            }
            Self::Uuid(uuid) => Json::from(uuid.to_string()),
            Self::Array(items) | Self::Tuple(items) => items.iter().map(Self::to_json).collect(),
        }
    }

    /// As `toString` writes it.
    pub(crate) fn written(&self) -> Option<String> {
        Some(match self {
            Self::Null | Self::Interval(_) | Self::Array(_) | Self::Tuple(_) => return None,
            Self::Bool(truth) => truth.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
            Self::Date(date) => date.to_string(),
            Self::Instant(instant) => instant.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
            Self::Uuid(uuid) => uuid.to_string(),
        })
    }

    /// The order of two values, nothing when one is null or not a number.
    ///
    /// # Errors
    /// The two have no common type.
    pub(crate) fn order(&self, other: &Self) -> Result<Option<Ordering>, Fault> {
        let order = match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (Self::Uuid(left), Self::Uuid(right)) => Some(left.cmp(right)),
            (Self::Uuid(left), Self::Text(right)) => Some(left.cmp(&uuid(right)?)),
            (Self::Text(left), Self::Uuid(right)) => Some(uuid(left)?.cmp(right)),
            (Self::Array(left), Self::Array(right)) | (Self::Tuple(left), Self::Tuple(right)) => {
                return order_lists(left, right);
            }
            _ => match (self.instant_beside(other)?, other.instant_beside(self)?) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => match (self.as_f64(), other.as_f64()) {
                    (Some(left), Some(right)) => left.partial_cmp(&right),
                    _ => {
                        return Err(Fault::new(format!(
                            "there is no common type for {self:?} and {other:?}"
                        )));
                    }
                },
            },
        };
        Ok(order)
    }

    /// A text beside a date or an instant is read as one.
    fn instant_beside(&self, other: &Self) -> Result<Option<DateTime<Utc>>, Fault> {
        match (self, other) {
            (Self::Text(text), Self::Date(_) | Self::Instant(_)) => match parse_instant(text) {
                Some(instant) => Ok(Some(instant)),
                None => Err(Fault::new(format!("cannot parse '{text}' as DateTime"))),
            },
            _ => Ok(self.as_instant()),
        }
    }
}

fn order_lists(left: &[Value], right: &[Value]) -> Result<Option<Ordering>, Fault> {
    for (left, right) in left.iter().zip(right) {
        match left.order(right)? {
            Some(Ordering::Equal) => {}
            decided => return Ok(decided),
        }
    }
    Ok(Some(left.len().cmp(&right.len())))
}

fn uuid(text: &str) -> Result<Uuid, Fault> {
    Uuid::try_parse(text).map_err(|_| Fault::new(format!("cannot parse '{text}' as UUID")))
}

/// The integer that a float is exactly.
#[expect(
    clippy::cast_possible_truncation,
    reason = "only taken where it is exact"
)]
pub(crate) fn whole(number: f64) -> Option<i64> {
    // beyond 2^53 floats are sparser than integers; 2^62 keeps the conversion exact and in range
    (number.fract() == 0.0 && number.abs() <= 4_611_686_018_427_387_904.0).then_some(number as i64)
}

pub(crate) fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// The forms that `ClickHouse`'s best-effort parser is sent here: ISO 8601 with or without zone, date, unix seconds.
pub(crate) fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    for format in [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(naive) = NaiveDateTime::parse_from_str(text, format) {
            return Some(naive.and_utc());
        }
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(midnight(date));
    }
    // nine and ten digits are unix seconds; fewer could be a year or a date without dashes
    let digits = matches!(text.len(), 9 | 10) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        DateTime::from_timestamp(text.parse().ok()?, 0)
    } else {
        None
    }
}
