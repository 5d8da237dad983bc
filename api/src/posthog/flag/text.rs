//! How a property value is spelled as text before it is compared.
//!
//! PostHog's server compares the JSON text of a value. The Python client spells numbers
//! as the server does; the JavaScript client cannot tell `1` from `1.0`, and uses
//! `String(value)` for substring, pattern and version operators.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Number, Value};

/// A date that was given as such, not as text. JSON cannot carry one; the reference
/// clients accept them, so `growthos flag eval` does too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NativeDate {
    Day(NaiveDate),
    Moment(DateTime<Utc>),
}

/// A property value of the subject.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    Null,
    Bool(bool),
    Number(&'a Number),
    Text(&'a str),
    /// An array or an object.
    Composite(&'a Value),
    Date(NativeDate),
}

impl Given<'_> {
    /// `true` or exactly `"true"`, as early access is recorded.
    pub(super) fn is_true_or_named_true(self) -> bool {
        matches!(self, Self::Bool(true) | Self::Text("true"))
    }
}

impl<'a> From<&'a Value> for Given<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(value),
            Value::String(value) => Self::Text(value),
            Value::Array(_) | Value::Object(_) => Self::Composite(value),
        }
    }
}

/// The server's text of a value: strings as they are, anything else as compact JSON with
/// sorted keys. `None` for a native date.
pub(super) fn service_text(given: Given<'_>) -> Option<Cow<'_, str>> {
    Some(match given {
        Given::Null => Cow::Borrowed("null"),
        Given::Bool(value) => Cow::Borrowed(bool_text(value)),
        Given::Number(value) => Cow::Owned(service_number(value)),
        Given::Text(value) => Cow::Borrowed(value),
        Given::Composite(value) => {
            let mut out = String::new();
            write_json(value, &mut out, &mut |number| Some(service_number(number)))?;
            Cow::Owned(out)
        }
        Given::Date(_) => return None,
    })
}

/// [`service_text`] as the JavaScript client spells it: `None` where it holds a whole
/// number, because `1` and `1.0` are one number there and two texts on the server.
pub(super) fn exact_javascript_text(given: Given<'_>) -> Option<Cow<'_, str>> {
    let fractional = |number: &Number| {
        let value = number.as_f64()?;
        (value.fract() != 0.0).then(|| javascript_number(value))
    };
    match given {
        Given::Number(value) => fractional(value).map(Cow::Owned),
        Given::Composite(value) => {
            let mut out = String::new();
            write_json(value, &mut out, &mut |number| fractional(number))?;
            Some(Cow::Owned(out))
        }
        other => service_text(other),
    }
}

/// JavaScript's `String(value)`. `None` for a native date.
pub(super) fn javascript_text(given: Given<'_>) -> Option<Cow<'_, str>> {
    Some(match given {
        Given::Number(value) => Cow::Owned(javascript_number(value.as_f64()?)),
        Given::Composite(Value::Array(items)) => Cow::Owned(javascript_array(items)),
        Given::Composite(_) => Cow::Borrowed("[object Object]"),
        other => return service_text(other),
    })
}

fn javascript_array(items: &[Value]) -> String {
    items
        .iter()
        .map(|item| match item {
            Value::Null => Cow::Borrowed(""),
            item => javascript_text(Given::from(item)).unwrap_or_default(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

const fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Writes compact JSON with sorted keys; stops with `None` where a number has no text.
fn write_json(
    value: &Value,
    out: &mut String,
    number: &mut impl FnMut(&Number) -> Option<String>,
) -> Option<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(bool_text(*value)),
        Value::Number(value) => out.push_str(&number(value)?),
        Value::String(value) => write_string(value, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, out, number)?;
            }
            out.push(']');
        }
        Value::Object(entries) => write_object(entries, out, number)?,
    }
    Some(())
}

fn write_object(
    entries: &Map<String, Value>,
    out: &mut String,
    number: &mut impl FnMut(&Number) -> Option<String>,
) -> Option<()> {
    // Sorted here, because serde_json keeps insertion order when any crate asks it to.
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        write_json(value, out, number)?;
    }
    out.push('}');
    Some(())
}

fn write_string(value: &str, out: &mut String) {
    out.push_str(&Value::from(value).to_string());
}

/// A number as the server writes it: shortest digits, exponents from 1e16 up and below 1e-5.
fn service_number(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => {
            let text = format!("{value:?}");
            match text.split_once('e') {
                Some((_, "-5")) => format!("{value}"),
                Some((digits, exponent)) if !exponent.starts_with('-') => {
                    format!("{digits}e+{exponent}")
                }
                _ => text,
            }
        }
        _ => number.to_string(),
    }
}

/// ECMAScript `Number::toString`: decimals between 1e-6 and 1e21, exponents outside.
pub(super) fn javascript_number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if size >= 1e21 {
        format!("{value:e}").replace('e', "e+")
    } else if size < 1e-6 {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// Whether a filter value is nothing but booleans, or their names.
pub(super) fn is_boolean_like(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::String(text) => is_named(text, "true") || is_named(text, "false"),
        Value::Array(items) => items.iter().all(is_boolean_like),
        _ => false,
    }
}

/// Whether a value reads as true: `true`, its name, or an array of only those.
pub(super) fn is_truthy(given: Given<'_>) -> bool {
    match given {
        Given::Bool(value) => value,
        Given::Text(text) => is_named(text, "true"),
        Given::Composite(Value::Array(items)) => {
            items.iter().all(|item| is_truthy(Given::from(item)))
        }
        _ => false,
    }
}

fn is_named(text: &str, name: &str) -> bool {
    text.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_spelled_as_each_side_spells_them() {
        let cases = [
            (json!(1), "1", "1", None),
            (json!(1.0), "1.0", "1", None),
            (json!(0.5), "0.5", "0.5", Some("0.5")),
            (json!(0.000_01), "0.00001", "0.00001", Some("0.00001")),
            (json!(0.000_001), "1e-6", "0.000001", Some("0.000001")),
            (json!(0.000_000_1), "1e-7", "1e-7", Some("1e-7")),
            (json!(1e16), "1e+16", "10000000000000000", None),
            (json!(1.5e300), "1.5e+300", "1.5e+300", None),
        ];
        for (value, service, javascript, exact) in &cases {
            let given = Given::from(value);
            assert_eq!(service_text(given).as_deref(), Some(*service));
            assert_eq!(javascript_text(given).as_deref(), Some(*javascript));
            assert_eq!(exact_javascript_text(given).as_deref(), *exact);
        }
    }

    #[test]
    fn objects_are_written_with_sorted_keys() {
        let value = json!({"b": [null, true], "a": "x\"\n"});
        assert_eq!(
            service_text(Given::from(&value)).as_deref(),
            Some("{\"a\":\"x\\\"\\n\",\"b\":[null,true]}")
        );
        let list = json!(["a", null, {"b": 1}, 2]);
        assert_eq!(
            javascript_text(Given::from(&list)).as_deref(),
            Some("a,,[object Object],2")
        );
    }
}
