//! Functions of texts. Lengths and positions are in bytes, as `ClickHouse` counts.

use serde_json::Value as Json;

use super::{Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::Value;

pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    let texts = kinds.iter().all(Kind::is_text);
    let found = match (name, kinds) {
        ("lower", [_]) if texts => (
            Function::strict(|one| Ok(Value::text(text(&one[0])?.to_lowercase()))),
            Kind::String,
        ),
        ("upper", [_]) if texts => (
            Function::strict(|one| Ok(Value::text(text(&one[0])?.to_uppercase()))),
            Kind::String,
        ),
        ("trim", [_]) if texts => (
            Function::strict(|one| Ok(Value::text(text(&one[0])?.trim_matches(' ')))),
            Kind::String,
        ),
        ("length", [_]) if texts => (
            Function::strict(|one| Ok(Value::count(text(&one[0])?.len()))),
            Kind::UInt64,
        ),
        ("empty", [_]) if texts => (
            Function::strict(|one| Ok(Value::truth(text(&one[0])?.is_empty()))),
            Kind::UInt8,
        ),
        ("notEmpty", [_]) if texts => (
            Function::strict(|one| Ok(Value::truth(!text(&one[0])?.is_empty()))),
            Kind::UInt8,
        ),
        ("startsWith", [_, _]) if texts => (
            Function::strict(|pair| Ok(Value::truth(text(&pair[0])?.starts_with(text(&pair[1])?)))),
            Kind::UInt8,
        ),
        ("endsWith", [_, _]) if texts => (
            Function::strict(|pair| Ok(Value::truth(text(&pair[0])?.ends_with(text(&pair[1])?)))),
            Kind::UInt8,
        ),
        ("position", [_, _]) if texts => (Function::strict(position), Kind::UInt64),
        ("concat", [_, ..])
            if kinds
                .iter()
                .all(|kind| !matches!(kind.bare(), Kind::Array(_) | Kind::Tuple(_))) =>
        {
            (Function::strict(concat), Kind::String)
        }
        ("JSONExtractString", [_, ..]) if kinds[0].is_text() => {
            (Function::strict(json_string), Kind::String)
        }
        _ => return None,
    };
    Some(found)
}

fn text(value: &Value) -> Result<&str, Fault> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(mismatch()),
    }
}

fn position(pair: &[Value]) -> Result<Value, Fault> {
    let found = text(&pair[0])?.find(text(&pair[1])?);
    Ok(found.map_or(Value::Int(0), |at| Value::count(at + 1)))
}

fn concat(values: &[Value]) -> Result<Value, Fault> {
    let mut all = String::new();
    for value in values {
        all.push_str(&value.written().ok_or_else(mismatch)?);
    }
    Ok(Value::text(all))
}

/// The string at the path of keys and places (from 1); an empty text for anything else.
fn json_string(arguments: &[Value]) -> Result<Value, Fault> {
    let document: Json = serde_json::from_str(text(&arguments[0])?).unwrap_or(Json::Null);
    let mut at = Some(&document);
    for step in &arguments[1..] {
        at = match (at, step) {
            (Some(Json::Object(object)), Value::Text(key)) => object.get(&**key),
            (Some(Json::Array(items)), Value::Int(place)) => usize::try_from(*place)
                .ok()
                .and_then(|place| items.get(place.checked_sub(1)?)),
            _ => None,
        };
    }
    Ok(Value::text(at.and_then(Json::as_str).unwrap_or_default()))
}
