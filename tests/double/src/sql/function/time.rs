//! Functions of dates and instants, in UTC.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Timelike, Utc, Weekday};

use super::{Body, Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::{Interval, Value, midnight, parse_instant};

pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    let found = match (name, kinds) {
        ("toDate", [one]) if one.is_time() => (Function::strict(to_date), Kind::Date),
        ("toDate", [one]) if one.is_text() => (Function::strict(to_date), Kind::Date.nullable()),
        ("toDateTime", [one])
            if one.is_time() || (one.is_number() && *one.bare() != Kind::Float64) =>
        {
            (Function::strict(to_instant), Kind::DateTime)
        }
        ("toDateTime", [one]) if one.is_text() => {
            (Function::strict(to_instant), Kind::DateTime.nullable())
        }
        ("toStartOfDay", [one]) if one.is_time() => (truncation("day")?, Kind::DateTime),
        ("toStartOfHour", [one]) if one.is_time() => (truncation("hour")?, Kind::DateTime),
        ("toStartOfMinute", [one]) if one.is_time() => (truncation("minute")?, Kind::DateTime),
        // PostHog's projects start their week on Sunday unless told otherwise
        ("toStartOfWeek", [one]) if one.is_time() => (
            Function::strict(|one| Ok(Value::Date(week_start(date(&one[0])?, Weekday::Sun)))),
            Kind::Date,
        ),
        ("toMonday", [one]) if one.is_time() => (
            Function::strict(|one| Ok(Value::Date(week_start(date(&one[0])?, Weekday::Mon)))),
            Kind::Date,
        ),
        ("toStartOfMonth", [one]) if one.is_time() => (truncation("month")?, Kind::Date),
        ("dateTrunc", [unit, one]) if unit.is_text() && one.is_time() => {
            (Function::strict(date_trunc), Kind::DateTime)
        }
        ("dateDiff", [unit, from, to]) if unit.is_text() && from.is_time() && to.is_time() => {
            (Function::strict(date_diff), Kind::Int64)
        }
        (_, [count]) if count.is_number() => interval(name)?,
        _ => return None,
    };
    Some(found)
}

fn interval(name: &str) -> Option<(Function, Kind)> {
    let (make, kind): (Body, _) = match name {
        "toIntervalSecond" => (
            |one| of(&one[0], |count| seconds(count, 1)),
            Kind::TimeInterval,
        ),
        "toIntervalMinute" => (
            |one| of(&one[0], |count| seconds(count, 60)),
            Kind::TimeInterval,
        ),
        "toIntervalHour" => (
            |one| of(&one[0], |count| seconds(count, 3600)),
            Kind::TimeInterval,
        ),
        "toIntervalDay" => (|one| of(&one[0], |count| days(count, 1)), Kind::DayInterval),
        "toIntervalWeek" => (|one| of(&one[0], |count| days(count, 7)), Kind::DayInterval),
        "toIntervalMonth" => (
            |one| of(&one[0], |count| months(count, 1)),
            Kind::DayInterval,
        ),
        "toIntervalQuarter" => (
            |one| of(&one[0], |count| months(count, 3)),
            Kind::DayInterval,
        ),
        "toIntervalYear" => (
            |one| of(&one[0], |count| months(count, 12)),
            Kind::DayInterval,
        ),
        _ => return None,
    };
    Some((Function::strict(make), kind))
}

fn of(count: &Value, make: fn(i64) -> Option<Interval>) -> Result<Value, Fault> {
    let count = count
        .as_i64()
        .ok_or_else(|| Fault::new("an interval is a whole number of units"))?;
    make(count)
        .map(Value::Interval)
        .ok_or_else(|| Fault::new("an interval is out of range"))
}

fn seconds(count: i64, unit: i64) -> Option<Interval> {
    Some(Interval {
        seconds: count.checked_mul(unit)?,
        ..Interval::default()
    })
}

fn days(count: i64, unit: i64) -> Option<Interval> {
    Some(Interval {
        days: count.checked_mul(unit)?,
        ..Interval::default()
    })
}

fn months(count: i64, unit: i64) -> Option<Interval> {
    Some(Interval {
        months: count.checked_mul(unit)?,
        ..Interval::default()
    })
}

/// What cannot be read is null.
fn to_instant(one: &[Value]) -> Result<Value, Fault> {
    Ok(match &one[0] {
        Value::Text(text) => parse_instant(text).map_or(Value::Null, Value::Instant),
        Value::Int(seconds) => {
            DateTime::from_timestamp(*seconds, 0).map_or(Value::Null, Value::Instant)
        }
        other => Value::Instant(instant(other)?),
    })
}

fn to_date(one: &[Value]) -> Result<Value, Fault> {
    Ok(to_instant(one)?
        .as_instant()
        .map_or(Value::Null, |instant| Value::Date(instant.date_naive())))
}

fn instant(value: &Value) -> Result<DateTime<Utc>, Fault> {
    value.as_instant().ok_or_else(mismatch)
}

fn date(value: &Value) -> Result<NaiveDate, Fault> {
    Ok(instant(value)?.date_naive())
}

fn truncation(unit: &'static str) -> Option<Function> {
    match unit {
        "day" => Some(Function::strict(|one| {
            start(instant(&one[0])?, "day").map(Value::Instant)
        })),
        "hour" => Some(Function::strict(|one| {
            start(instant(&one[0])?, "hour").map(Value::Instant)
        })),
        "minute" => Some(Function::strict(|one| {
            start(instant(&one[0])?, "minute").map(Value::Instant)
        })),
        "month" => Some(Function::strict(|one| {
            Ok(Value::Date(start(instant(&one[0])?, "month")?.date_naive()))
        })),
        _ => None,
    }
}

fn week_start(date: NaiveDate, first: Weekday) -> NaiveDate {
    let passed = date.weekday().days_since(first);
    date.checked_sub_days(Days::new(passed.into()))
        .unwrap_or(date)
}

/// The start of the unit that holds the instant.
fn start(at: DateTime<Utc>, unit: &str) -> Result<DateTime<Utc>, Fault> {
    let date = at.date_naive();
    let of_date = |date: Option<NaiveDate>| date.map(midnight).ok_or_else(mismatch);
    let since_midnight = i64::from(at.num_seconds_from_midnight());
    match unit {
        "second" => Ok(midnight(date) + TimeDelta::seconds(since_midnight)),
        "minute" => Ok(midnight(date) + TimeDelta::seconds(since_midnight / 60 * 60)),
        "hour" => Ok(midnight(date) + TimeDelta::seconds(since_midnight / 3600 * 3600)),
        "day" => Ok(midnight(date)),
        "week" => Ok(midnight(week_start(date, Weekday::Mon))),
        "month" => of_date(date.with_day(1)),
        "quarter" => of_date(
            date.with_day(1)
                .and_then(|date| date.with_month0(date.month0() / 3 * 3)),
        ),
        "year" => of_date(NaiveDate::from_ymd_opt(date.year(), 1, 1)),
        other => Err(Fault::new(format!("no such unit of time: {other}"))),
    }
}

fn unit(value: &Value) -> Result<String, Fault> {
    match value {
        Value::Text(unit) => Ok(unit.to_lowercase()),
        _ => Err(mismatch()),
    }
}

fn date_trunc(pair: &[Value]) -> Result<Value, Fault> {
    start(instant(&pair[1])?, &unit(&pair[0])?).map(Value::Instant)
}

/// Counts the unit's boundaries between the two, as `ClickHouse` does.
fn date_diff(arguments: &[Value]) -> Result<Value, Fault> {
    let unit = unit(&arguments[0])?;
    let (from, to) = (
        start(instant(&arguments[1])?, &unit)?,
        start(instant(&arguments[2])?, &unit)?,
    );
    let passed = (to - from).num_seconds();
    let months = || {
        i64::from(to.year() - from.year()) * 12 + i64::from(to.month()) - i64::from(from.month())
    };
    Ok(Value::Int(match unit.as_str() {
        "second" => passed,
        "minute" => passed / 60,
        "hour" => passed / 3600,
        "day" => passed / 86_400,
        "week" => passed / 604_800,
        "month" => months(),
        "quarter" => months() / 3,
        _ => months() / 12,
    }))
}
