//! Looks at the bytes of JSON before a tree is made of them.
//!
//! A megabyte of `[1,1,…]` is half a million values, each some forty bytes and some tens of nanoseconds, twice. So the values are
//! counted first, in one pass without allocation.

use serde::de::DeserializeOwned;

/// Most values and names in one body: `trackBatch` with 100 events of 100 properties has 20,000.
pub const VALUES_MAX: usize = 30_000;

/// Deepest nesting of `{` and `[`: the reader's own bound.
const NESTING_MAX: usize = 127;

/// Why JSON is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than [`VALUES_MAX`] values and names.
    #[error("more than {VALUES_MAX} values and names")]
    Values,
    /// A name that the reader itself gives a meaning.
    #[error("the name \"{RAW_VALUE}\" is reserved")]
    Reserved,
    /// It is not JSON, not of the shape that is read, or nests deeper than 127.
    #[error("not JSON, or nested deeper than 127")]
    Malformed,
}

/// Reads JSON that is within the bounds.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    scan(bytes)?;
    serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)
}

/// Refuses JSON of too many values or too deep. `Ok` says nothing about the syntax.
fn scan(bytes: &[u8]) -> Result<(), Refusal> {
    let mut at = 0;
    let mut depth = 0_usize;
    let mut values = 1_usize;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let length = string_length(&bytes[at..]).ok_or(Refusal::Malformed)?;
                if is_reserved(&bytes[at - 1..at + length]) {
                    return Err(Refusal::Reserved);
                }
                at += length;
            }
            b',' | b':' => values += 1,
            b'{' | b'[' => {
                values += 1;
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(Refusal::Malformed);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if values > VALUES_MAX {
            return Err(Refusal::Values);
        }
    }
    Ok(())
}

/// What `serde_json` takes a member's name for, where its feature `raw_value` is on: the member's text is JSON, and read as such. A
/// client could hide any number of values in one string.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Whether JSON has a string that must stand in none, however it is escaped.
pub fn has_reserved(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(quote) = bytes[at..].iter().position(|byte| *byte == b'"') {
        at += quote + 1;
        let Some(length) = string_length(&bytes[at..]) else {
            return false;
        };
        if is_reserved(&bytes[at - 1..at + length]) {
            return true;
        }
        at += length;
    }
    false
}

/// Whether a string, with its quotes, is the reserved name. Escapes make it longer, and nothing makes it shorter.
fn is_reserved(quoted: &[u8]) -> bool {
    let escaped_max = 6 * RAW_VALUE.len() + 2;
    let plain = quoted.len() == RAW_VALUE.len() + 2;
    if plain {
        return &quoted[1..=RAW_VALUE.len()] == RAW_VALUE.as_bytes();
    }
    (RAW_VALUE.len() + 2..=escaped_max).contains(&quoted.len())
        && quoted.contains(&b'\\')
        && serde_json::from_slice::<String>(quoted).is_ok_and(|text| text == RAW_VALUE)
}

/// How far a string goes, from behind its first quote to behind its last one, if it has one.
fn string_length(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        at += 1;
        match byte {
            b'"' => return Some(at),
            b'\\' => at += 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::Value;

    use super::{RAW_VALUE, Refusal, VALUES_MAX, has_reserved, read};

    fn refusal(text: &str) -> Option<Refusal> {
        read::<Value>(text.as_bytes()).err()
    }

    #[test]
    fn values_and_names_are_counted_outside_of_strings() {
        let list = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        assert_eq!(refusal(&list(VALUES_MAX - 1)), None);
        assert_eq!(refusal(&list(VALUES_MAX)), Some(Refusal::Values));
        let object = |count: usize| format!("{{{}\"a\":1}}", "\"a\":1,".repeat(count - 1));
        assert_eq!(refusal(&object(VALUES_MAX / 2 - 1)), None);
        assert_eq!(refusal(&object(VALUES_MAX / 2)), Some(Refusal::Values));
        let text = format!("\"{}\"", ",:[{\\\"\\\\".repeat(VALUES_MAX));
        assert_eq!(refusal(&text), None);
        assert_eq!(refusal(&"[".repeat(1_000_000)), Some(Refusal::Malformed));
    }

    #[test]
    fn what_would_hide_values_in_a_string_is_refused_however_it_is_written() {
        let hidden = |name: &str| format!(r#"{{"a":[{{"{name}":"[1,2]"}}]}}"#);
        let escaped = RAW_VALUE.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\u{byte:04x}");
            text
        });
        for name in [
            "$serde_json::private::RawValue",
            r"\u0024serde_json::private::RawValue",
            r"$serde_json::private::Raw\u0056alue",
            &escaped,
        ] {
            assert_eq!(refusal(&hidden(name)), Some(Refusal::Reserved), "{name}");
            assert!(has_reserved(hidden(name).as_bytes()), "{name}");
        }
        for name in [
            "$serde_json::private::RawValu",
            "$serde_json::private::RawValues",
            "",
        ] {
            assert_eq!(refusal(&hidden(name)), None, "{name}");
            assert!(!has_reserved(hidden(name).as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_nests_too_deep_or_is_no_json_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refusal(&nested(127)), None);
        for text in [
            nested(128).as_str(),
            "",
            "{",
            "\"",
            "\"\\",
            "{\"a\":1}}",
            "\"\u{1}\"",
        ] {
            assert_eq!(refusal(text), Some(Refusal::Malformed), "{text:?}");
        }
        assert_eq!(read::<Value>(b"\"\xff\"").err(), Some(Refusal::Malformed));
    }
}
