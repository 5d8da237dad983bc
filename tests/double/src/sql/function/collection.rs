//! Functions of arrays and tuples. Places count from 1, from the end when negative.

use super::{Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::Value;

pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    let found = match (name, kinds) {
        // what the types leave open only a check without values leaves open: there the result is open too
        ("arrayElement" | "indexOf" | "has" | "length", [of, ..])
            if *of.bare() == Kind::Nothing =>
        {
            (Function::strict(|_| Ok(Value::Null)), Kind::null())
        }
        ("arrayElement", [array, place]) if place.is_number() => {
            (Function::strict(array_element), array.element()?.clone())
        }
        ("indexOf", [array, wanted]) if array.element()?.comparable(wanted) => {
            (Function::lenient(place_of), Kind::UInt64)
        }
        ("has", [array, wanted]) if array.element()?.comparable(wanted) => (
            Function::lenient(|pair| Ok(Value::truth(place_of(pair)?.is_true()))),
            Kind::UInt8,
        ),
        ("length", [array]) if array.element().is_some() => (
            Function::strict(|one| Ok(Value::count(items(&one[0])?.len()))),
            Kind::UInt64,
        ),
        _ => return None,
    };
    Some(found)
}

fn items(value: &Value) -> Result<&[Value], Fault> {
    value.items().ok_or_else(mismatch)
}

/// Beyond the ends is the element type's default.
fn array_element(pair: &[Value]) -> Result<Value, Fault> {
    let items = items(&pair[0])?;
    let place = pair[1].as_i64().ok_or_else(mismatch)?;
    let steps = usize::try_from(place.unsigned_abs()).map_err(|_| mismatch())?;
    let index = if place < 0 {
        items.len().checked_sub(steps)
    } else {
        steps.checked_sub(1)
    };
    let found = index.and_then(|index| items.get(index));
    let default = || Kind::of(&pair[0])?.element().map(Kind::default_value);
    Ok(found.cloned().or_else(default).unwrap_or(Value::Null))
}

/// 0 when it is in no place; null is in the place of a null.
fn place_of(pair: &[Value]) -> Result<Value, Fault> {
    let items = items(&pair[0])?;
    let found = match &pair[1] {
        // the page query does this for every event: no keys are made
        Value::Text(wanted) => items
            .iter()
            .position(|item| matches!(item, Value::Text(item) if item == wanted)),
        wanted => {
            let wanted = wanted.key();
            items.iter().position(|item| item.key() == wanted)
        }
    };
    Ok(found.map_or(Value::Int(0), |index| Value::count(index + 1)))
}
