//! `is_date_before` and `is_date_after`, and relative dates such as `-7d`.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde_json::Value;

use super::text::{Given, NativeDate};
use super::verdict::{MISSING, Readings, UNSUPPORTED, Verdict};

/// Relative dates count fewer units than this.
const UNITS_BEFORE: u32 = 10_000;

/// A relative date: a number of units, always in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ago {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Ago {
    /// Reads `-?<digits><h|d|w|m|y>`; the sign means nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let unit = match text.bytes().last()? {
            b'h' => Unit::Hour,
            b'd' => Unit::Day,
            b'w' => Unit::Week,
            b'm' => Unit::Month,
            b'y' => Unit::Year,
            _ => return None,
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Too long for the type is too large as well.
        let count = digits.parse().ok().filter(|count| *count < UNITS_BEFORE)?;
        Some(Self { count, unit })
    }

    /// The instant so long before `now`; `None` before year 1.
    pub(super) fn before(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let count = i64::from(self.count);
        let then = match self.unit {
            Unit::Hour => now.checked_sub_signed(TimeDelta::hours(count)),
            Unit::Day => now.checked_sub_signed(TimeDelta::days(count)),
            Unit::Week => now.checked_sub_signed(TimeDelta::weeks(count)),
            Unit::Month => months_before(now, self.count),
            Unit::Year if self.count == 0 => Some(now),
            // The first step leaves 29 February for good, even where a leap year follows.
            Unit::Year => now
                .checked_sub_months(Months::new(12))
                .and_then(|then| then.checked_sub_months(Months::new((self.count - 1) * 12))),
        };
        then.filter(|then| then.year() >= 1)
    }
}

/// Steps month by month and clamps the day at every step, as PostHog's SDK specification
/// says: two months before 31 March is 28 January.
fn months_before(now: DateTime<Utc>, count: u32) -> Option<DateTime<Utc>> {
    let mut then = now;
    for step in 0..count {
        if then.day() <= 28 {
            return then.checked_sub_months(Months::new(count - step));
        }
        then = then.checked_sub_months(Months::new(1))?;
    }
    Some(then)
}

/// A compiled date filter.
#[derive(Debug)]
pub(super) struct DateFilter {
    after: bool,
    at: When,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Ago(Ago),
    Instant(DateTime<Utc>),
    /// A bare year is that year's today in Python, its first day in JavaScript.
    Year(i32),
    /// A number of four digits is a year in Python, milliseconds in JavaScript.
    YearOrMilliseconds(i32),
    Unreadable,
}

impl DateFilter {
    pub(super) fn compile(after: bool, value: Option<&Value>) -> Self {
        let at = match value {
            Some(Value::String(text)) => match Ago::parse(text) {
                Some(ago) => When::Ago(ago),
                None => When::parse(text),
            },
            Some(Value::Number(number)) => match When::parse(&number.to_string()) {
                When::Year(year) => When::YearOrMilliseconds(year),
                _ => When::Unreadable,
            },
            _ => When::Unreadable,
        };
        Self { after, at }
    }

    pub(super) const fn is_usable(&self) -> bool {
        !matches!(self.at, When::Unreadable)
    }

    pub(super) fn matches(&self, given: Given<'_>, now: DateTime<Utc>) -> Readings<Verdict> {
        if matches!(given, Given::Null) {
            return Readings::same(Ok(false));
        }
        let bounds = self.at.readings(now);
        let moments = match given {
            Given::Text(text) => When::parse(text).readings(now),
            Given::Date(NativeDate::Day(day)) => Readings::same(Some(midnight(day))),
            Given::Date(NativeDate::Moment(moment)) => When::Instant(moment).readings(now),
            // Milliseconds in JavaScript, nothing in Python.
            Given::Number(number) => Readings {
                python: None,
                node: number.as_i64().and_then(DateTime::from_timestamp_millis),
            },
            _ => Readings::same(None),
        };
        let mut verdicts = Readings {
            python: self.compare(moments.python, bounds.python),
            node: self.compare(moments.node, bounds.node),
        };
        if let Given::Date(native) = given {
            // Python compares a day with the bound's day.
            if let (NativeDate::Day(day), Some(bound)) = (native, bounds.python) {
                verdicts.python = Ok(self.holds(&day, &bound.date_naive()));
            }
            // The clients were seen to disagree on a native date and a relative bound.
            if matches!(self.at, When::Ago(_)) {
                verdicts.node = Err(UNSUPPORTED);
            }
        }
        verdicts
    }

    fn compare(&self, moment: Option<DateTime<Utc>>, bound: Option<DateTime<Utc>>) -> Verdict {
        let bound = bound.ok_or(UNSUPPORTED)?;
        Ok(self.holds(&moment.ok_or(MISSING)?, &bound))
    }

    fn holds<T: PartialOrd>(&self, moment: &T, bound: &T) -> bool {
        if self.after {
            moment > bound
        } else {
            moment < bound
        }
    }
}

impl When {
    fn parse(text: &str) -> Self {
        let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        match (is_year, text.parse()) {
            (true, Ok(0)) => Self::Unreadable,
            (true, Ok(year)) => Self::Year(year),
            _ => instant(text).map_or(Self::Unreadable, Self::Instant),
        }
    }

    fn readings(self, now: DateTime<Utc>) -> Readings<Option<DateTime<Utc>>> {
        let day_of = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).map(midnight);
        let today_of = |year| day_of(year, now.month(), now.day());
        match self {
            Self::Ago(ago) => Readings {
                python: ago.before(now),
                node: ago.before(milliseconds(now)),
            },
            Self::Instant(at) => Readings {
                python: Some(at),
                node: Some(milliseconds(at)),
            },
            Self::Year(year) => Readings {
                python: today_of(year),
                node: day_of(year, 1, 1),
            },
            Self::YearOrMilliseconds(number) => Readings {
                python: today_of(number),
                node: DateTime::from_timestamp_millis(i64::from(number)),
            },
            Self::Unreadable => Readings::same(None),
        }
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// JavaScript dates hold whole milliseconds.
fn milliseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}

/// Reads the ISO 8601 forms that both clients read: a date, or a date and a time of day
/// joined by `T` or a space, with an offset or in UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim_matches(' ');
    if !text.is_ascii() {
        return None;
    }
    let date = day(text.get(..10)?)?;
    let Some(rest) = text.get(10..).filter(|rest| !rest.is_empty()) else {
        return Some(midnight(date));
    };
    let rest = rest.strip_prefix(['T', ' '])?;
    let (time, offset_minutes) = offset(rest)?;
    let naive = NaiveDateTime::new(date, time_of_day(time)?);
    let at = naive.checked_sub_signed(TimeDelta::minutes(offset_minutes))?;
    Some(at.and_utc())
}

fn day(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digits(&text[..4])?;
    let (month, day) = (digits(&text[5..7])?, digits(&text[8..])?);
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|day| day.year() >= 1)
}

fn digits(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// Splits the offset off a time of day, in minutes east of UTC.
fn offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((time, 0));
    }
    if let Some(time) = text.strip_suffix(" UTC") {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let (time, offset) = text.split_at(at);
    let time = time.strip_suffix(' ').unwrap_or(time);
    let (hours, minutes) = offset[1..].split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let total = (hours < 24 && minutes < 60).then_some(i64::from(hours * 60 + minutes))?;
    Some((
        time,
        if offset.starts_with('-') {
            -total
        } else {
            total
        },
    ))
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f`; more than six decimals are cut.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let mut two_digits = || parts.next().filter(|part| part.len() == 2).and_then(digits);
    let (hour, minute) = (two_digits()?, two_digits()?);
    let second = if clock.len() > 5 {
        two_digits()?
    } else if text.contains('.') {
        return None;
    } else {
        0
    };
    if parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let micros = micros.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    NaiveTime::from_hms_micro_opt(hour, minute, second, micros)
}

/// Reads the encoding of a native date: ISO 8601, a day or a moment.
pub(super) fn native(text: &str) -> Option<NativeDate> {
    if text.len() == 10 {
        return day(text).map(NativeDate::Day);
    }
    instant(text).map(NativeDate::Moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        instant(text).unwrap()
    }

    #[test]
    fn months_clamp_at_every_step() {
        let before = |text: &str, now: &str| Ago::parse(text).unwrap().before(at(now)).unwrap();
        assert_eq!(before("2m", "2021-03-31"), at("2021-01-28"));
        assert_eq!(before("-1m", "2020-03-31"), at("2020-02-29"));
        assert_eq!(before("12m", "2020-05-31"), at("2019-05-29"));
        assert_eq!(before("4y", "2020-02-29"), at("2016-02-28"));
        assert_eq!(before("000h", "2020-02-29"), at("2020-02-29"));
    }

    #[test]
    fn only_small_counts_of_known_units_are_relative() {
        for text in [
            "10000d",
            "1s",
            "1.2y",
            "d",
            "-",
            "",
            "123456789012h",
            "1d ",
            "--1d",
            "+1d",
        ] {
            assert_eq!(Ago::parse(text), None, "{text}");
        }
        assert_eq!(Ago::parse("9999y").unwrap().before(at("2026-01-01")), None);
    }

    #[test]
    fn instants_are_read_with_their_offset() {
        assert_eq!(at("2022-04-05 12:34:12 +01:00"), at("2022-04-05T11:34:12Z"));
        assert_eq!(
            at("2022-04-05T12:34:12.1234567-00:30"),
            at("2022-04-05T13:04:12.123456")
        );
        assert_eq!(at("2022-04-05 12:34 UTC"), at("2022-04-05T12:34:00"));
        for bad in [
            "2022-02-30",
            "2022-5-1",
            "0000-01-01",
            "2022-05-01T24:00",
            "2022-05-01Z",
            "x",
        ] {
            assert_eq!(instant(bad), None, "{bad}");
        }
    }
}
