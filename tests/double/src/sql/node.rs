//! An expression with every name resolved, and its evaluation.

use std::collections::HashSet;
use std::sync::Arc;

use super::Fault;
use super::function::Function;
use super::table::{Reader, Row};
use super::value::{Key, Value};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Constant(Value),
    Column(Reader),
    /// The group's n-th key.
    Key(usize),
    /// The group's n-th aggregate.
    Aggregate(usize),
    Apply(Function, Vec<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    /// The first branch whose condition is true; without one the last.
    Choose {
        branches: Vec<(Self, Self)>,
        otherwise: Box<Self>,
    },
    Tuple(Vec<Self>),
    Array(Vec<Self>),
    /// Membership; null is in no set.
    Among {
        value: Box<Self>,
        set: Arc<HashSet<Key>>,
        negated: bool,
    },
}

/// What an expression is evaluated over.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) row: Row<'a>,
    pub(super) keys: &'a [Value],
    pub(super) aggregates: &'a [Value],
}

impl<'a> Place<'a> {
    pub(super) const fn row(row: Row<'a>) -> Self {
        Self {
            row,
            keys: &[],
            aggregates: &[],
        }
    }
}

impl Node {
    pub(super) fn evaluate(&self, place: Place<'_>) -> Result<Value, Fault> {
        let all = |nodes: &[Self]| {
            nodes
                .iter()
                .map(|node| node.evaluate(place))
                .collect::<Result<Vec<_>, _>>()
        };
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Column(reader) => Ok(reader.read(place.row)),
            Self::Key(index) => Ok(place.keys[*index].clone()),
            Self::Aggregate(index) => Ok(place.aggregates[*index].clone()),
            Self::Apply(function, arguments) => function.call(&all(arguments)?),
            Self::And(operands) => logic(operands, place, false),
            Self::Or(operands) => logic(operands, place, true),
            Self::Choose {
                branches,
                otherwise,
            } => {
                for (when, then) in branches {
                    if when.evaluate(place)?.is_true() {
                        return then.evaluate(place);
                    }
                }
                otherwise.evaluate(place)
            }
            Self::Tuple(members) => Ok(Value::Tuple(all(members)?.into())),
            Self::Array(items) => Ok(Value::Array(all(items)?.into())),
            Self::Among {
                value,
                set,
                negated,
            } => {
                let value = value.evaluate(place)?;
                Ok(Value::truth(
                    (!value.is_null() && set.contains(&value.key())) != *negated,
                ))
            }
        }
    }
}

/// Three-valued `and` and `or`: one operand that is `decisive` decides, else null spoils.
fn logic(operands: &[Node], place: Place<'_>, decisive: bool) -> Result<Value, Fault> {
    let mut spoiled = false;
    for operand in operands {
        let value = operand.evaluate(place)?;
        if value.is_null() {
            spoiled = true;
        } else if value.is_true() == decisive {
            return Ok(Value::truth(decisive));
        }
    }
    Ok(if spoiled {
        Value::Null
    } else {
        Value::truth(!decisive)
    })
}
