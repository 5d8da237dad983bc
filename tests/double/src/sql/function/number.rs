//! Arithmetic and rounding; a time plus an interval or seconds.

use chrono::{DateTime, Months, TimeDelta, Utc};

use super::{Body, Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::{Interval, Value};

#[derive(Clone, Copy, Debug)]
pub(in crate::sql) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    /// Of the call that `ClickHouse` takes for the operator.
    pub(in crate::sql) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "plus" => Self::Add,
            "minus" => Self::Subtract,
            "multiply" => Self::Multiply,
            "divide" => Self::Divide,
            "modulo" => Self::Modulo,
            _ => return None,
        })
    }

    pub(in crate::sql) fn function(
        self,
        left: &Kind,
        right: &Kind,
    ) -> Result<(Function, Kind), Fault> {
        let call: Body = match self {
            Self::Add => |pair| add(&pair[0], &pair[1]),
            Self::Subtract => |pair| subtract(&pair[0], &pair[1]),
            Self::Multiply => |pair| {
                calculate(&pair[0], &pair[1], i64::checked_mul, |left, right| {
                    left * right
                })
            },
            Self::Divide => |pair| divide(&pair[0], &pair[1]),
            Self::Modulo => |pair| {
                calculate(&pair[0], &pair[1], i64::checked_rem, |left, right| {
                    left % right
                })
            },
        };
        let kind = self.kind(left.bare(), right.bare()).ok_or_else(|| {
            Fault::new(format!(
                "Illegal types {left} and {right} of arguments of function {self:?}"
            ))
        })?;
        Ok((
            Function::strict(call),
            kind.nullable_if(left.is_nullable() || right.is_nullable()),
        ))
    }

    fn kind(self, left: &Kind, right: &Kind) -> Option<Kind> {
        let sum = matches!(self, Self::Add | Self::Subtract);
        match (left, right) {
            (Kind::Nothing, Kind::DayInterval | Kind::TimeInterval) if sum => Some(Kind::DateTime),
            (Kind::Nothing, other) | (other, Kind::Nothing) => Some(other.clone()),
            (Kind::Date, Kind::DayInterval) if sum => Some(Kind::Date),
            (Kind::Date | Kind::DateTime, Kind::DayInterval | Kind::TimeInterval) if sum => {
                Some(Kind::DateTime)
            }
            (Kind::DayInterval | Kind::TimeInterval, Kind::Date | Kind::DateTime)
                if matches!(self, Self::Add) =>
            {
                self.kind(right, left)
            }
            (time @ (Kind::Date | Kind::DateTime), Kind::UInt8 | Kind::UInt64 | Kind::Int64)
                if sum =>
            {
                Some(time.clone())
            }
            (left, right) if left.is_number() && right.is_number() => {
                Some(match (self, left.common(right)?) {
                    (Self::Divide, _) | (_, Kind::Float64) => Kind::Float64,
                    (Self::Subtract, _) | (_, Kind::Int64) => Kind::Int64,
                    _ => Kind::UInt64,
                })
            }
            _ => None,
        }
    }
}

pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    let [number, rest @ ..] = kinds else {
        return None;
    };
    if !number.is_number() || !rest.iter().all(Kind::is_number) {
        return None;
    }
    let whole = if matches!(number.bare(), Kind::Float64) {
        Kind::Float64
    } else {
        number.bare().clone()
    };
    match (name, rest) {
        ("abs", []) => Some((
            Function::strict(|one| unary(&one[0], i64::checked_abs, f64::abs)),
            whole,
        )),
        ("negate", []) => {
            let kind = if matches!(number.bare(), Kind::Float64) {
                Kind::Float64
            } else {
                Kind::Int64
            };
            Some((
                Function::strict(|one| unary(&one[0], i64::checked_neg, |number| -number)),
                kind,
            ))
        }
        ("floor", []) => Some((
            Function::strict(|one| unary(&one[0], Some, f64::floor)),
            whole,
        )),
        ("ceil", []) => Some((
            Function::strict(|one| unary(&one[0], Some, f64::ceil)),
            whole,
        )),
        // ClickHouse rounds halves of floats to even
        ("round", []) => Some((
            Function::strict(|one| unary(&one[0], Some, f64::round_ties_even)),
            whole,
        )),
        ("round", [_]) => Some((Function::strict(round_to), whole)),
        _ => None,
    }
}

fn overflow() -> Fault {
    Fault::new("a number is out of range")
}

fn unary(
    value: &Value,
    whole: fn(i64) -> Option<i64>,
    real: fn(f64) -> f64,
) -> Result<Value, Fault> {
    match value {
        Value::Float(number) => Ok(Value::Float(real(*number))),
        other => Ok(Value::Int(
            whole(other.as_i64().ok_or_else(mismatch)?).ok_or_else(overflow)?,
        )),
    }
}

fn round_to(pair: &[Value]) -> Result<Value, Fault> {
    let places = pair[1]
        .as_i64()
        .and_then(|places| i32::try_from(places).ok())
        .ok_or_else(mismatch)?;
    let scale = 10_f64.powi(places);
    match &pair[0] {
        Value::Float(number) => Ok(Value::Float((number * scale).round_ties_even() / scale)),
        whole if places >= 0 => Ok(whole.clone()),
        _ => Err(Fault::new(
            "the PostHog double does not round integers to tens",
        )),
    }
}

fn calculate(
    left: &Value,
    right: &Value,
    whole: fn(i64, i64) -> Option<i64>,
    real: fn(f64, f64) -> f64,
) -> Result<Value, Fault> {
    if let Some((left, right)) = left.as_i64().zip(right.as_i64()) {
        return Ok(Value::Int(whole(left, right).ok_or_else(overflow)?));
    }
    let (left, right) = left.as_f64().zip(right.as_f64()).ok_or_else(mismatch)?;
    Ok(Value::Float(real(left, right)))
}

fn divide(left: &Value, right: &Value) -> Result<Value, Fault> {
    let (left, right) = left.as_f64().zip(right.as_f64()).ok_or_else(mismatch)?;
    Ok(Value::Float(left / right))
}

fn add(left: &Value, right: &Value) -> Result<Value, Fault> {
    match (left, right) {
        (Value::Interval(interval), time) | (time, Value::Interval(interval)) => {
            shift(time, *interval, 1)
        }
        (Value::Date(_) | Value::Instant(_), count) => shift_by_number(left, count, 1),
        _ => calculate(left, right, i64::checked_add, |left, right| left + right),
    }
}

fn subtract(left: &Value, right: &Value) -> Result<Value, Fault> {
    match (left, right) {
        (time, Value::Interval(interval)) => shift(time, *interval, -1),
        (Value::Date(_) | Value::Instant(_), count) => shift_by_number(left, count, -1),
        _ => calculate(left, right, i64::checked_sub, |left, right| left - right),
    }
}

/// A bare number is days beside a date and seconds beside an instant.
fn shift_by_number(time: &Value, count: &Value, sign: i64) -> Result<Value, Fault> {
    let count = count.as_i64().ok_or_else(mismatch)?;
    let interval = match time {
        Value::Date(_) => Interval {
            days: count,
            ..Interval::default()
        },
        _ => Interval {
            seconds: count,
            ..Interval::default()
        },
    };
    shift(time, interval, sign)
}

fn shift(time: &Value, interval: Interval, sign: i64) -> Result<Value, Fault> {
    let moved =
        moved(time.as_instant().ok_or_else(mismatch)?, interval, sign).ok_or_else(overflow)?;
    Ok(match time {
        Value::Date(_) if interval.seconds == 0 => Value::Date(moved.date_naive()),
        _ => Value::Instant(moved),
    })
}

fn moved(from: DateTime<Utc>, interval: Interval, sign: i64) -> Option<DateTime<Utc>> {
    let months = interval.months.checked_mul(sign)?;
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let by_months = if months < 0 {
        from.checked_sub_months(count)?
    } else {
        from.checked_add_months(count)?
    };
    let days = TimeDelta::try_days(interval.days.checked_mul(sign)?)?;
    let seconds = TimeDelta::try_seconds(interval.seconds.checked_mul(sign)?)?;
    by_months
        .checked_add_signed(days)?
        .checked_add_signed(seconds)
}
