//! Comparisons, with PostHog's treatment of null: they are never null themselves.

use std::cmp::Ordering;

use super::{Body, Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::Value;

#[derive(Clone, Copy, Debug)]
pub(in crate::sql) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
    ILike,
    NotILike,
}

impl Comparison {
    /// Of the call that `HogQL` takes for the operator.
    pub(in crate::sql) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "equals" => Self::Equal,
            "notEquals" => Self::NotEqual,
            "less" => Self::Less,
            "lessOrEquals" => Self::LessOrEqual,
            "greater" => Self::Greater,
            "greaterOrEquals" => Self::GreaterOrEqual,
            "like" => Self::Like,
            "notLike" => Self::NotLike,
            "ilike" => Self::ILike,
            "notILike" => Self::NotILike,
            _ => return None,
        })
    }

    pub(in crate::sql) fn function(self, left: &Kind, right: &Kind) -> Result<Function, Fault> {
        let (fits, call): (bool, Body) = match self {
            Self::Equal => (left.comparable(right), equal),
            Self::NotEqual => (left.comparable(right), |pair| Ok(negated(&equal(pair)?))),
            Self::Less => (left.comparable(right), |pair| {
                ordered(pair, Ordering::is_lt)
            }),
            Self::LessOrEqual => (left.comparable(right), |pair| {
                ordered(pair, Ordering::is_le)
            }),
            Self::Greater => (left.comparable(right), |pair| {
                ordered(pair, Ordering::is_gt)
            }),
            Self::GreaterOrEqual => (left.comparable(right), |pair| {
                ordered(pair, Ordering::is_ge)
            }),
            Self::Like => (left.is_text() && right.is_text(), like),
            Self::NotLike => (left.is_text() && right.is_text(), |pair| {
                Ok(negated(&like(pair)?))
            }),
            Self::ILike => (left.is_text() && right.is_text(), ilike),
            Self::NotILike => (left.is_text() && right.is_text(), |pair| {
                Ok(negated(&ilike(pair)?))
            }),
        };
        if fits {
            Ok(Function::lenient(call))
        } else {
            Err(Fault::new(format!(
                "There is no supertype for types {left}, {right}"
            )))
        }
    }
}

/// The comparisons that are calls only.
pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    match (name, kinds) {
        ("isNull", [_]) => Some((
            Function::lenient(|one| Ok(Value::truth(one[0].is_null()))),
            Kind::UInt8,
        )),
        ("isNotNull", [_]) => Some((
            Function::lenient(|one| Ok(Value::truth(!one[0].is_null()))),
            Kind::UInt8,
        )),
        ("not", [one]) if one.is_number() => Some((
            Function::strict(|one| Ok(Value::truth(!one[0].is_true()))),
            Kind::UInt8,
        )),
        ("nullIf", [one, other]) if one.comparable(other) => {
            Some((Function::lenient(null_if), one.clone().nullable()))
        }
        ("coalesce", [first, rest @ ..]) => {
            let mut common = first.bare().clone();
            for kind in rest {
                common = common.common(kind.bare())?;
            }
            let nullable = kinds.iter().all(Kind::is_nullable);
            Some((Function::lenient(coalesce), common.nullable_if(nullable)))
        }
        ("ifNull", [_, _]) => lookup("coalesce", kinds),
        _ => None,
    }
}

fn negated(truth: &Value) -> Value {
    Value::truth(!truth.is_true())
}

fn equal(pair: &[Value]) -> Result<Value, Fault> {
    let (left, right) = (&pair[0], &pair[1]);
    if left.is_null() || right.is_null() {
        return Ok(Value::truth(left.is_null() && right.is_null()));
    }
    Ok(Value::truth(left.order(right)? == Some(Ordering::Equal)))
}

fn ordered(pair: &[Value], holds: fn(Ordering) -> bool) -> Result<Value, Fault> {
    Ok(Value::truth(pair[0].order(&pair[1])?.is_some_and(holds)))
}

fn null_if(pair: &[Value]) -> Result<Value, Fault> {
    Ok(if pair[0].order(&pair[1])? == Some(Ordering::Equal) {
        Value::Null
    } else {
        pair[0].clone()
    })
}

#[expect(clippy::unnecessary_wraps, reason = "every function has one shape")]
fn coalesce(values: &[Value]) -> Result<Value, Fault> {
    Ok(values
        .iter()
        .find(|value| !value.is_null())
        .cloned()
        .unwrap_or(Value::Null))
}

fn like(pair: &[Value]) -> Result<Value, Fault> {
    pattern(pair, str::to_owned)
}

fn ilike(pair: &[Value]) -> Result<Value, Fault> {
    pattern(pair, str::to_lowercase)
}

/// Null is like null, as `HogQL` prints it.
fn pattern(pair: &[Value], fold: fn(&str) -> String) -> Result<Value, Fault> {
    match (&pair[0], &pair[1]) {
        (Value::Text(text), Value::Text(pattern)) => {
            Ok(Value::truth(is_like(&fold(text), &fold(pattern))))
        }
        (left, right) if left.is_null() || right.is_null() => {
            Ok(Value::truth(left.is_null() && right.is_null()))
        }
        _ => Err(mismatch()),
    }
}

#[derive(Clone, Copy)]
enum Step {
    Exactly(char),
    One,
    Any,
}

/// `%` is any text, `_` one character, a backslash takes the next literally. Linear in text × pattern.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut steps = Vec::new();
    let mut rest = pattern.chars();
    while let Some(char) = rest.next() {
        steps.push(match char {
            '%' => Step::Any,
            '_' => Step::One,
            '\\' => Step::Exactly(rest.next().unwrap_or('\\')),
            other => Step::Exactly(other),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut step) = (0, 0);
    // where to go back to: the last `%` and the text that it has not swallowed yet
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match steps.get(step) {
            Some(Step::Any) => {
                retry = Some((step + 1, at));
                step += 1;
            }
            Some(Step::One) => (at, step) = (at + 1, step + 1),
            Some(Step::Exactly(char)) if *char == text[at] => (at, step) = (at + 1, step + 1),
            _ => match retry {
                Some((after, swallowed)) => {
                    retry = Some((after, swallowed + 1));
                    (at, step) = (swallowed + 1, after);
                }
                None => return false,
            },
        }
    }
    steps[step..].iter().all(|step| matches!(step, Step::Any))
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn like_knows_percent_underscore_and_the_escape() {
        for (text, pattern) in [
            ("abc", "a%c"),
            ("abc", "_b_"),
            ("", "%"),
            ("a%c", "a\\%c"),
            ("aXbXc", "%X%c"),
        ] {
            assert!(is_like(text, pattern), "{text} like {pattern}");
        }
        for (text, pattern) in [
            ("abc", "a%d"),
            ("abc", "_b"),
            ("abc", "a\\%c"),
            ("", "_"),
            ("Abc", "abc"),
        ] {
            assert!(!is_like(text, pattern), "{text} not like {pattern}");
        }
    }
}
