//! Conversions that never fail: what cannot be converted is null.

use uuid::Uuid;

use super::{Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::{Value, whole};

pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    let [kind] = kinds else { return None };
    let scalar = !matches!(
        kind.bare(),
        Kind::Array(_) | Kind::Tuple(_) | Kind::DayInterval | Kind::TimeInterval
    );
    let found = match name {
        "toString" if scalar => (Function::strict(to_string), Kind::String),
        "toInt" if kind.is_number() || kind.is_text() => {
            (Function::strict(to_int), Kind::Int64.nullable())
        }
        "toFloat" if kind.is_number() || kind.is_text() => {
            (Function::strict(to_float), Kind::Float64.nullable())
        }
        "toUUID" if kind.is_text() || *kind.bare() == Kind::Uuid => {
            (Function::strict(to_uuid), Kind::Uuid.nullable())
        }
        _ => return None,
    };
    Some(found)
}

fn to_string(one: &[Value]) -> Result<Value, Fault> {
    one[0].written().map(Value::text).ok_or_else(mismatch)
}

#[expect(clippy::unnecessary_wraps, reason = "every function has one shape")]
fn to_int(one: &[Value]) -> Result<Value, Fault> {
    let number = match &one[0] {
        Value::Text(text) => text.parse().ok(),
        Value::Float(number) => whole(*number),
        other => other.as_i64(),
    };
    Ok(number.map_or(Value::Null, Value::Int))
}

#[expect(clippy::unnecessary_wraps, reason = "every function has one shape")]
fn to_float(one: &[Value]) -> Result<Value, Fault> {
    let number = match &one[0] {
        Value::Text(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    Ok(number.map_or(Value::Null, Value::Float))
}

#[expect(clippy::unnecessary_wraps, reason = "every function has one shape")]
fn to_uuid(one: &[Value]) -> Result<Value, Fault> {
    Ok(match &one[0] {
        Value::Text(text) => Uuid::try_parse(text).map_or(Value::Null, Value::Uuid),
        other => other.clone(),
    })
}
