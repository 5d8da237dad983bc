//! What no database stores.

use serde_json::Value;

/// The text without U+0000, which PostgreSQL holds in no text and in no JSON: U+FFFD stands for it.
pub fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// The value with every text in it [`storable`], its members' names included.
pub fn storable_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(storable_json).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (storable(key), storable_json(value)))
                .collect(),
        ),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_character_that_no_database_stores_is_replaced_wherever_it_is() {
        let value = json!({"a\0": ["b\0", {"c": "\0"}], "d": 1});
        assert_eq!(
            storable_json(value),
            json!({"a\u{fffd}": ["b\u{fffd}", {"c": "\u{fffd}"}], "d": 1})
        );
    }
}
