//! The types of expressions, under `ClickHouse`'s names.

use std::fmt;

use super::value::{Value, midnight};

/// A type. Null itself is `Nullable(Nothing)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    Bool,
    UInt8,
    UInt64,
    Int64,
    Float64,
    String,
    Date,
    DateTime,
    Uuid,
    /// Of whole days or longer: a date plus one is a date.
    DayInterval,
    /// Shorter than a day: a date plus one is an instant.
    TimeInterval,
    Array(Box<Self>),
    Tuple(Vec<Self>),
    Nullable(Box<Self>),
}

impl Kind {
    pub(crate) fn null() -> Self {
        Self::Nothing.nullable()
    }

    /// Arrays and tuples are never null.
    pub(crate) fn nullable(self) -> Self {
        match self {
            Self::Nullable(_) | Self::Array(_) | Self::Tuple(_) => self,
            bare => Self::Nullable(bare.into()),
        }
    }

    pub(crate) fn nullable_if(self, nullable: bool) -> Self {
        if nullable { self.nullable() } else { self }
    }

    pub(crate) const fn is_nullable(&self) -> bool {
        matches!(self, Self::Nullable(_))
    }

    /// Without `Nullable`.
    pub(crate) fn bare(&self) -> &Self {
        match self {
            Self::Nullable(inner) => inner,
            other => other,
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(
            self.bare(),
            Self::Nothing | Self::Bool | Self::UInt8 | Self::UInt64 | Self::Int64 | Self::Float64
        )
    }

    pub(crate) fn is_time(&self) -> bool {
        matches!(self.bare(), Self::Nothing | Self::Date | Self::DateTime)
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.bare(), Self::Nothing | Self::String)
    }

    /// The elements of an array.
    pub(crate) fn element(&self) -> Option<&Self> {
        match self.bare() {
            Self::Array(element) => Some(element),
            _ => None,
        }
    }

    /// What `ClickHouse` has in place of "no value".
    pub(crate) fn default_value(&self) -> Value {
        match self {
            Self::Nothing | Self::DayInterval | Self::TimeInterval | Self::Nullable(_) => {
                Value::Null
            }
            Self::Bool => Value::Bool(false),
            Self::UInt8 | Self::UInt64 | Self::Int64 => Value::Int(0),
            Self::Float64 => Value::Float(0.0),
            Self::String => Value::text(""),
            Self::Date => Value::Date(chrono::DateTime::UNIX_EPOCH.date_naive()),
            Self::DateTime => Value::Instant(midnight(chrono::DateTime::UNIX_EPOCH.date_naive())),
            Self::Uuid => Value::Uuid(uuid::Uuid::nil()),
            Self::Array(_) => Value::Array([].into()),
            Self::Tuple(members) => Value::Tuple(members.iter().map(Self::default_value).collect()),
        }
    }

    /// The type that holds both, if there is one.
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        let nullable = self.is_nullable() || other.is_nullable();
        let bare = match (self.bare(), other.bare()) {
            (left, right) if left == right => left.clone(),
            (Self::Nothing, one) | (one, Self::Nothing) => one.clone(),
            (Self::Date, Self::DateTime) | (Self::DateTime, Self::Date) => Self::DateTime,
            (Self::Array(left), Self::Array(right)) => Self::Array(left.common(right)?.into()),
            (Self::Tuple(left), Self::Tuple(right)) if left.len() == right.len() => Self::Tuple(
                left.iter()
                    .zip(right)
                    .map(|(left, right)| left.common(right))
                    .collect::<Option<_>>()?,
            ),
            (left, right) if left.is_number() && right.is_number() => match (left, right) {
                (Self::Float64, _) | (_, Self::Float64) => Self::Float64,
                (Self::Int64, _) | (_, Self::Int64) => Self::Int64,
                _ => Self::UInt64,
            },
            _ => return None,
        };
        Some(bare.nullable_if(nullable))
    }

    /// Whether `=`, `<` and their like take the two: one type, or a text that is read as the other.
    pub(crate) fn comparable(&self, other: &Self) -> bool {
        match (self.bare(), other.bare()) {
            (Self::String, Self::Date | Self::DateTime | Self::Uuid)
            | (Self::Date | Self::DateTime | Self::Uuid, Self::String) => true,
            (Self::Tuple(left), Self::Tuple(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|(left, right)| left.comparable(right))
            }
            _ => self.common(other).is_some(),
        }
    }

    /// The type of a constant.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::null(),
            Value::Bool(_) => Self::Bool,
            Value::Int(number) if u8::try_from(*number).is_ok() => Self::UInt8,
            Value::Int(number) if *number >= 0 => Self::UInt64,
            Value::Int(_) => Self::Int64,
            Value::Float(_) => Self::Float64,
            Value::Text(_) => Self::String,
            Value::Date(_) => Self::Date,
            Value::Instant(_) => Self::DateTime,
            Value::Uuid(_) => Self::Uuid,
            Value::Interval(interval) if interval.seconds == 0 => Self::DayInterval,
            Value::Interval(_) => Self::TimeInterval,
            Value::Array(items) => {
                let mut element = Self::Nothing;
                for item in items.iter() {
                    element = element.common(&Self::of(item)?)?;
                }
                Self::Array(element.into())
            }
            Value::Tuple(items) => Self::Tuple(items.iter().map(Self::of).collect::<Option<_>>()?),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => out.write_str("Nothing"),
            Self::Bool => out.write_str("Bool"),
            Self::UInt8 => out.write_str("UInt8"),
            Self::UInt64 => out.write_str("UInt64"),
            Self::Int64 => out.write_str("Int64"),
            Self::Float64 => out.write_str("Float64"),
            Self::String => out.write_str("String"),
            Self::Date => out.write_str("Date"),
            Self::DateTime => out.write_str("DateTime64(6, 'UTC')"),
            Self::Uuid => out.write_str("UUID"),
            Self::DayInterval => out.write_str("IntervalDay"),
            Self::TimeInterval => out.write_str("IntervalSecond"),
            Self::Array(element) => write!(out, "Array({element})"),
            Self::Tuple(members) => {
                out.write_str("Tuple(")?;
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        out.write_str(", ")?;
                    }
                    write!(out, "{member}")?;
                }
                out.write_str(")")
            }
            Self::Nullable(inner) => write!(out, "Nullable({inner})"),
        }
    }
}
