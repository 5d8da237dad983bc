//! Instants as clients write and read them: the scalar `DateTime`.

use std::borrow::Cow;

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::storable_instant;

/// An instant in RFC 3339. The library's own scalar prints `+00:00` and takes years that no database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub DateTime<Utc>);

impl From<DateTime<Utc>> for Instant {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl From<Instant> for DateTime<Utc> {
    fn from(Instant(at): Instant) -> Self {
        at
    }
}

/// An instant in RFC 3339, to the microsecond, in the years 0001 to 9999: `2026-01-31T12:30:00.250Z`. Answers are in UTC; given
/// ones may have any offset.
#[Scalar(
    name = "DateTime",
    specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339"
)]
impl ScalarType for Instant {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        read(text).map(Self).ok_or_else(|| {
            InputValueError::custom(
                "an instant looks like 2026-01-31T12:30:00Z and lies in the years 0001 to 9999",
            )
        })
    }
    fn to_value(&self) -> Value {
        Value::String(text(self.0))
    }
}

/// Kept as it is shown.
impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(Printed::of(self.0).as_str())
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        read(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("not an instant"))
    }
}

/// Reads an instant of any offset; `None` for what is none, or out of range. Finer than microseconds is cut off, and a leap
/// second is the second after it.
fn read(text: &str) -> Option<DateTime<Utc>> {
    let given = DateTime::parse_from_rfc3339(text).ok()?;
    let at = DateTime::from_timestamp_micros(given.timestamp_micros())?;
    (storable_instant(at) == at).then_some(at)
}

/// Prints an instant as every answer does: with a fraction of three or six digits where there is one. An instant that no
/// client reads is printed as the nearest that every one does.
pub fn text(at: DateTime<Utc>) -> String {
    Printed::of(at).as_str().to_owned()
}

/// An instant's text, made without an allocation: a page prints hundreds.
pub struct Printed {
    bytes: [u8; LONGEST.len()],
    length: usize,
}

const LONGEST: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";

impl Printed {
    pub fn of(at: DateTime<Utc>) -> Self {
        let at = storable_instant(at).naive_utc();
        let mut bytes = *LONGEST;
        let mut put = |begin: usize, width: usize, mut number: u32| {
            for byte in bytes[begin..begin + width].iter_mut().rev() {
                *byte = b'0' + u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        };
        put(0, 4, at.year().unsigned_abs());
        put(5, 2, at.month());
        put(8, 2, at.day());
        put(11, 2, at.hour());
        put(14, 2, at.minute());
        put(17, 2, at.second());
        let micros = at.nanosecond() / 1_000 % 1_000_000;
        put(20, 6, micros);
        let digits = match micros {
            0 => 0,
            _ if micros.is_multiple_of(1_000) => 1 + 3,
            _ => 1 + 6,
        };
        let end = "2026-01-31T12:30:00".len() + digits;
        bytes[end] = b'Z';
        Self {
            bytes,
            length: end + 1,
        }
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_printed_in_utc_with_as_many_digits_as_they_have() {
        for (micros, printed) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_769_862_600_000_000, "2026-01-31T12:30:00Z"),
            (1_769_862_600_250_000, "2026-01-31T12:30:00.250Z"),
            (1_769_862_600_000_001, "2026-01-31T12:30:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
            (-62_135_596_800_000_001, "0001-01-01T00:00:00Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (253_402_300_800_000_000, "9999-12-31T23:59:59.999999Z"),
        ] {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(text(at), printed);
        }
        assert_eq!(
            text(DateTime::<Utc>::MAX_UTC),
            "9999-12-31T23:59:59.999999Z"
        );
        assert_eq!(text(DateTime::<Utc>::MIN_UTC), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn every_day_is_printed_as_chrono_prints_it() {
        for day in 0..366 * 4 {
            let at = DateTime::from_timestamp_micros(1_700_000_000_123_456 + day * 86_399_000_001)
                .unwrap();
            assert_eq!(
                text(at),
                at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
            );
        }
    }

    #[test]
    fn instants_of_any_offset_are_read_as_utc() {
        for (given, printed) in [
            ("2026-01-31T12:30:00Z", "2026-01-31T12:30:00Z"),
            ("2026-01-31T12:30:00+00:00", "2026-01-31T12:30:00Z"),
            ("2026-01-31T14:30:00.5+02:00", "2026-01-31T12:30:00.500Z"),
            ("2026-01-31T04:30:00-08:00", "2026-01-31T12:30:00Z"),
            (
                "2026-01-31T12:30:00.1234567Z",
                "2026-01-31T12:30:00.123456Z",
            ),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(read(given).map(text).as_deref(), Some(printed), "{given}");
        }
        for given in [
            "",
            "2026-01-31",
            "2026-01-31T12:30:00",
            "2026-02-30T00:00:00Z",
            "1769862600",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "0000-12-31T00:00:00Z",
            "+10000-01-01T00:00:00Z",
        ] {
            assert_eq!(read(given), None, "{given}");
        }
    }
}
