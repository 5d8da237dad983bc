//! Functions of arrays and tuples. Places count from 1, from the end when negative.

use super::{Function, mismatch};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::value::Value;

pub(super) fn lookup(name: &str, kinds: &[Kind]) -> Option<(Function, Kind)> {
    let found = match (name, kinds) {
        // what the types leave open only a check without values leaves open: there the result is open too
        ("arrayElement" | "arraySlice" | "indexOf" | "has" | "length", [of, ..])
            if *of.bare() == Kind::Nothing =>
        {
            (Function::strict(|_| Ok(Value::Null)), Kind::null())
        }
        ("arrayElement", [array, place]) if place.is_number() => {
            (Function::strict(array_element), array.element()?.clone())
        }
        ("arraySlice", [array, from, length])
            if array.element().is_some() && from.is_number() && length.is_number() =>
        {
            (Function::strict(array_slice), array.bare().clone())
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

/// What lies beyond the ends is left out.
fn array_slice(three: &[Value]) -> Result<Value, Fault> {
    let items = items(&three[0])?;
    let from = three[1]
        .as_i64()
        .and_then(|from| usize::try_from(from).ok());
    let length = three[2].as_i64().and_then(|n| usize::try_from(n).ok());
    // Places and lengths from the end are nobody's need.
    let (Some(from), Some(length)) = (from.and_then(|from| from.checked_sub(1)), length) else {
        return Err(Fault::unsupported("slices that count from the end"));
    };
    let slice = items.iter().skip(from).take(length);
    Ok(Value::Array(slice.cloned().collect()))
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
