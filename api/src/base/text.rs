//! What no database stores.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// The text without U+0000, which PostgreSQL holds in no text and in no JSON: U+FFFD stands for it.
pub fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// The instant, brought into the years 1 to 9999: both databases hold them, and every client reads them.
pub fn storable_instant(at: DateTime<Utc>) -> DateTime<Utc> {
    let second = |second| DateTime::from_timestamp(second, 0).unwrap_or(at);
    match at.timestamp() {
        ..YEAR_1 => second(YEAR_1),
        YEAR_10_000.. => second(YEAR_10_000) - TimeDelta::microseconds(1),
        _ => at,
    }
}

/// When the years begin, in seconds.
const YEAR_1: i64 = -62_135_596_800;
const YEAR_10_000: i64 = 253_402_300_800;

/// At most `chars_max` characters of `text`.
pub fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
    text
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
    fn an_instant_that_no_client_reads_becomes_the_nearest_that_every_one_does() {
        for (given, stored) in [
            ("-262143-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("+262142-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
            ("2026-11-22T01:02:03Z", "2026-11-22T01:02:03Z"),
        ] {
            let read = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
            assert_eq!(storable_instant(read(given)), read(stored), "{given}");
        }
    }

    #[test]
    fn the_character_that_no_database_stores_is_replaced_wherever_it_is() {
        let value = json!({"a\0": ["b\0", {"c": "\0"}], "d": 1});
        assert_eq!(
            storable_json(value),
            json!({"a\u{fffd}": ["b\u{fffd}", {"c": "\u{fffd}"}], "d": 1})
        );
    }

    #[test]
    fn a_cut_counts_characters_not_bytes() {
        assert_eq!(cut("äöü".to_owned(), 2), "äö");
        assert_eq!(cut("äöü".to_owned(), 3), "äöü");
    }
}
