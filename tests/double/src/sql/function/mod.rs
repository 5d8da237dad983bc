//! The functions that are evaluated. Names are matched by exact case but for the few that `HogQL` takes in any.

mod collection;
mod compare;
mod convert;
mod number;
mod text;
mod time;

use super::Fault;
use super::kind::Kind;
use super::value::Value;

pub(super) use compare::Comparison;
pub(super) use number::Arithmetic;

/// The shape of every function.
type Body = fn(&[Value]) -> Result<Value, Fault>;

/// A function of values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    call: Body,
    /// Null among the arguments makes null of the result.
    pub(super) strict: bool,
}

impl Function {
    const fn strict(call: Body) -> Self {
        Self { call, strict: true }
    }

    const fn lenient(call: Body) -> Self {
        Self {
            call,
            strict: false,
        }
    }

    pub(super) fn call(self, arguments: &[Value]) -> Result<Value, Fault> {
        if self.strict && arguments.iter().any(Value::is_null) {
            return Ok(Value::Null);
        }
        (self.call)(arguments)
    }
}

const ANY_CASE: [&str; 12] = [
    "abs", "ceil", "coalesce", "concat", "floor", "if", "length", "lower", "now", "position",
    "round", "upper",
];

/// The spelling that functions are known by here.
pub(super) fn canonical(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "ifnull" => "ifNull".to_owned(),
        "nullif" => "nullIf".to_owned(),
        _ if ANY_CASE.contains(&lower.as_str()) => lower,
        _ => name.to_owned(),
    }
}

/// The function of this name for arguments of these types, and its result's type.
pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    compare::lookup(name, kinds)
        .or_else(|| number::lookup(name, kinds))
        .or_else(|| text::lookup(name, kinds))
        .or_else(|| time::lookup(name, kinds))
        .or_else(|| convert::lookup(name, kinds))
        .or_else(|| collection::lookup(name, kinds))
        .map(|(function, kind)| {
            let nullable = function.strict && kinds.iter().any(Kind::is_nullable);
            (function, kind.nullable_if(nullable))
        })
}

/// A value of a type that the types' check should have kept out.
fn mismatch() -> Fault {
    Fault::new("an argument has an unexpected type")
}
