//! Aggregates over the rows of a group. Nulls are skipped; over no values the result is null where the argument may be null,
//! else the type's default, as in `ClickHouse`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use super::Fault;
use super::kind::Kind;
use super::node::{Node, Place};
use super::table::Row;
use super::value::Value;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measure {
    Count,
    CountDistinct,
    Min,
    Max,
    Sum,
    Avg,
    /// With its level, from 0 to 1.
    Quantile(f64),
    Any,
    ArgMin,
    ArgMax,
    GroupArray,
    GroupUniqArray,
}

/// One aggregate call, compiled.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub(super) measure: Measure,
    pub(super) arguments: Vec<Node>,
    /// Of the -If form: rows where it is not true do not count.
    pub(super) condition: Option<Node>,
    /// Of the result.
    pub(super) kind: Kind,
}

/// What a call's name says: the measure, and whether its last argument is a condition.
pub(super) fn named(name: &str, level: Option<f64>) -> Option<(Measure, bool)> {
    if let Some(measure) = measure(name, level) {
        return Some((measure, false));
    }
    measure(name.strip_suffix("If")?, level).map(|measure| (measure, true))
}

fn measure(name: &str, level: Option<f64>) -> Option<Measure> {
    const ANY_CASE: [&str; 7] = ["any", "avg", "count", "max", "median", "min", "sum"];
    let lower = name.to_ascii_lowercase();
    let name = if ANY_CASE.contains(&lower.as_str()) {
        lower.as_str()
    } else {
        name
    };
    Some(match name {
        "count" => Measure::Count,
        "countDistinct" | "uniq" | "uniqExact" => Measure::CountDistinct,
        "min" => Measure::Min,
        "max" => Measure::Max,
        "sum" => Measure::Sum,
        "avg" => Measure::Avg,
        "median" => Measure::Quantile(0.5),
        "quantile" => Measure::Quantile(level.unwrap_or(0.5)),
        "any" => Measure::Any,
        "argMin" => Measure::ArgMin,
        "argMax" => Measure::ArgMax,
        "groupArray" => Measure::GroupArray,
        "groupUniqArray" => Measure::GroupUniqArray,
        _ => return None,
    })
}

impl Measure {
    /// The result's type for arguments of these types; nothing when they do not fit.
    pub(super) fn kind(self, arguments: &[Kind]) -> Option<Kind> {
        match (self, arguments) {
            (Self::Count, [] | [_]) | (Self::CountDistinct, [_, ..]) => Some(Kind::UInt64),
            (Self::Min | Self::Max | Self::Any, [one]) => Some(one.clone()),
            (Self::ArgMin | Self::ArgMax, [one, by]) => {
                Some(one.clone().nullable_if(by.is_nullable()))
            }
            (Self::Sum, [one]) if one.is_number() => {
                let sum = match one.bare() {
                    Kind::Float64 => Kind::Float64,
                    Kind::Int64 => Kind::Int64,
                    _ => Kind::UInt64,
                };
                Some(sum.nullable_if(one.is_nullable()))
            }
            (Self::Avg | Self::Quantile(_), [one]) if one.is_number() => {
                Some(Kind::Float64.nullable_if(one.is_nullable()))
            }
            (Self::GroupArray | Self::GroupUniqArray, [one]) => {
                Some(Kind::Array(one.bare().clone().into()))
            }
            _ => None,
        }
    }
}

impl Aggregate {
    pub(super) fn evaluate(&self, rows: &[Row<'_>]) -> Result<Value, Fault> {
        let mut tuples = Vec::new();
        for row in rows {
            let place = Place::row(*row);
            if let Some(condition) = &self.condition
                && !condition.evaluate(place)?.is_true()
            {
                continue;
            }
            let mut values = Vec::with_capacity(self.arguments.len());
            for argument in &self.arguments {
                values.push(argument.evaluate(place)?);
            }
            if !values.iter().any(Value::is_null) {
                tuples.push(values);
            }
        }
        self.measured(&tuples)
    }

    fn measured(&self, tuples: &[Vec<Value>]) -> Result<Value, Fault> {
        let firsts = || tuples.iter().filter_map(|values| values.first());
        match self.measure {
            Measure::Count => return Ok(Value::count(tuples.len())),
            Measure::CountDistinct => {
                let keys: HashSet<Vec<_>> = tuples
                    .iter()
                    .map(|values| values.iter().map(Value::key).collect())
                    .collect();
                return Ok(Value::count(keys.len()));
            }
            Measure::GroupArray => return Ok(Value::Array(firsts().cloned().collect())),
            Measure::GroupUniqArray => {
                // ClickHouse's order is arbitrary; sorted, an answer can be compared
                let unique: BTreeMap<_, _> = firsts().map(|value| (value.key(), value)).collect();
                return Ok(Value::Array(unique.into_values().cloned().collect()));
            }
            _ => {}
        }
        if tuples.is_empty() {
            // the mean of nothing is not a number
            let mean = matches!(self.measure, Measure::Avg | Measure::Quantile(_))
                && !self.kind.is_nullable();
            return Ok(if mean {
                Value::Float(f64::NAN)
            } else {
                self.kind.default_value()
            });
        }
        match self.measure {
            Measure::Min => extreme(firsts().map(|value| (value, value)), Ordering::Less),
            Measure::Max => extreme(firsts().map(|value| (value, value)), Ordering::Greater),
            Measure::ArgMin => extreme(
                tuples.iter().map(|values| (&values[0], &values[1])),
                Ordering::Less,
            ),
            Measure::ArgMax => extreme(
                tuples.iter().map(|values| (&values[0], &values[1])),
                Ordering::Greater,
            ),
            Measure::Any => Ok(firsts().next().cloned().unwrap_or(Value::Null)),
            Measure::Sum if *self.kind.bare() != Kind::Float64 => {
                let sum = firsts()
                    .filter_map(Value::as_i64)
                    .try_fold(0_i64, i64::checked_add);
                sum.map(Value::Int)
                    .ok_or_else(|| Fault::new("a sum is out of range"))
            }
            Measure::Sum => Ok(Value::Float(firsts().filter_map(Value::as_f64).sum())),
            Measure::Avg => Ok(Value::Float(mean(
                &firsts().filter_map(Value::as_f64).collect::<Vec<_>>(),
            ))),
            Measure::Quantile(level) => Ok(Value::Float(quantile(
                firsts().filter_map(Value::as_f64).collect(),
                level,
            ))),
            Measure::Count
            | Measure::CountDistinct
            | Measure::GroupArray
            | Measure::GroupUniqArray => Ok(Value::Null),
        }
    }
}

/// The value of the first pair whose rank is furthest in the direction.
fn extreme<'a>(
    pairs: impl Iterator<Item = (&'a Value, &'a Value)>,
    direction: Ordering,
) -> Result<Value, Fault> {
    let mut best: Option<(&Value, &Value)> = None;
    for (value, rank) in pairs {
        let better = match best {
            None => true,
            Some((_, held)) => rank.order(held)? == Some(direction),
        };
        if better {
            best = Some((value, rank));
        }
    }
    Ok(best.map_or(Value::Null, |(value, _)| value.clone()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no list is long enough to lose a bit of its length"
)]
fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Linear between the two nearest ranks, as `ClickHouse`'s `quantile` is up to 8,192 values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rank lies between 0 and a list's length"
)]
fn quantile(mut numbers: Vec<f64>, level: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let rank = level * (numbers.len() - 1) as f64;
    let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
    numbers[low] + (numbers[high] - numbers[low]) * rank.fract()
}
