//! JSON as clients really send it.

use serde_json::Value;

use super::error::WireError;

/// Values of one body. Parsed, each takes some 32 bytes, however short it was written.
const VALUES_MAX: usize = 1_000_000;
/// Objects of one body. Parsed, each takes some 600 bytes even with a single member, so that 20 MiB of `{"":0}` would be gigabytes,
/// and the sender is not yet known.
const OBJECTS_MAX: usize = 200_000;

/// Parses a body. Three things that strict JSON or a database refuses are mended first, because one such property would cost a
/// client its whole batch: `NaN` and `Infinity` (Python's `json.dumps`) become null; half a surrogate pair (a browser that cut a
/// string in the middle of an emoji) and U+0000 (which PostgreSQL cannot store) become U+FFFD. A body that would take far more memory
/// than its length is refused with 413 before it is parsed: a client splits such a batch.
pub(super) fn parse(text: &str) -> Result<Value, WireError> {
    // A value takes two bytes at least, so a shorter body is within both limits.
    if text.len() > 2 * OBJECTS_MAX && is_bloated(text) {
        return Err(WireError::too_large(format!(
            "the body holds more than {VALUES_MAX} values or {OBJECTS_MAX} objects"
        )));
    }
    if document::json::has_reserved(text.as_bytes()) {
        return Err(WireError::invalid(
            "the body holds a reserved name".to_owned(),
        ));
    }
    if !text.contains(r"\u0000")
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    serde_json::from_str(&mend(text))
        .map_err(|error| WireError::invalid(format!("the body is not JSON: {error}")))
}

fn is_bloated(text: &str) -> bool {
    let (mut values, mut objects) = (0, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b',' | b'[') => values += 1,
            (false, b'{') => {
                values += 1;
                objects += 1;
            }
            _ => {}
        }
    }
    values > VALUES_MAX || objects > OBJECTS_MAX
}

/// How many containers `value` nests: 0 for a scalar, 1 for `{}`.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The text of an id: strings as they are, other values as their JSON, null and absent as nothing. PostHog's rule.
pub(super) fn id_text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
const REPLACEMENT: &str = r"\ufffd";

fn mend(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut mended = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    let mut in_string = false;
    // `at` is the place of an ASCII byte wherever the text is cut, so every cut is on a character's edge.
    while let Some(&byte) = bytes.get(at) {
        let (length, replacement) = match (in_string, byte) {
            (_, b'"') => {
                in_string = !in_string;
                (1, None)
            }
            (true, b'\\') => escape(&bytes[at..]),
            (false, b'N' | b'I' | b'-') => match NOT_NUMBERS
                .iter()
                .find(|word| text[at..].starts_with(**word))
            {
                Some(word) => (word.len(), Some("null")),
                None => (1, None),
            },
            _ => (1, None),
        };
        if let Some(replacement) = replacement {
            mended.push_str(&text[copied..at]);
            mended.push_str(replacement);
            copied = at + length;
        }
        at += length;
    }
    mended.push_str(&text[copied..]);
    mended
}

/// The length of the escape that `bytes` begins with, and what to write in its stead when it is one that must not stay.
fn escape(bytes: &[u8]) -> (usize, Option<&'static str>) {
    match unit(bytes) {
        None => (2, None),
        Some(0x0000 | 0xdc00..=0xdfff) => (6, Some(REPLACEMENT)),
        Some(0xd800..=0xdbff) => match bytes.get(6..).and_then(unit) {
            Some(0xdc00..=0xdfff) => (12, None),
            _ => (6, Some(REPLACEMENT)),
        },
        Some(_) => (6, None),
    }
}

/// The UTF-16 unit of a `\uXXXX` escape at the start of `bytes`.
fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..6)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit * 16 + char::from(*digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn broken_json_is_mended_and_sound_json_is_left_alone() {
        let cases = [
            (
                r#"{"a":NaN,"b":[Infinity,-Infinity],"c":-1}"#,
                json!({"a": null, "b": [null, null], "c": -1}),
            ),
            (
                r#"{"a":"NaN \" Infinity","b":NaN}"#,
                json!({"a": "NaN \" Infinity", "b": null}),
            ),
            (
                r#"{"a":"cut \ud83c","b":"\udf89 cut"}"#,
                json!({"a": "cut \u{fffd}", "b": "\u{fffd} cut"}),
            ),
            (r#"{"a":"\ud83c\ud83c\udf89"}"#, json!({"a": "\u{fffd}🎉"})),
            (
                r#"{"a":"whole \ud83c\udf89 é"}"#,
                json!({"a": "whole 🎉 é"}),
            ),
            (
                r#"{"k\u0000":"v\u0000é"}"#,
                json!({"k\u{fffd}": "v\u{fffd}é"}),
            ),
            (r#"{"a":"\\u0000 stays"}"#, json!({"a": r"\u0000 stays"})),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_mended_is_refused() {
        for text in [
            "",
            "{",
            r#"{"a":Nan}"#,
            r#"{"a":"\"#,
            r#"{"a":"\u00"#,
            r#"{"a":"\é"}"#,
            "{} {}",
        ] {
            assert_eq!(
                parse(text).map_err(|error| error.status),
                Err(400),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep).map_err(|error| error.status), Err(400));
    }

    #[test]
    fn a_body_that_would_bloat_in_memory_is_refused_unparsed() {
        let array = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
        let status = |text: String| parse(&text).map_err(|error| error.status).err();
        assert_eq!(status(array("0", VALUES_MAX)), None);
        assert_eq!(status(array("0", VALUES_MAX + 1)), Some(413));
        assert_eq!(status(array("{}", OBJECTS_MAX)), None);
        assert_eq!(status(array("{}", OBJECTS_MAX + 1)), Some(413));
        let in_text = format!(r#"["\"{}"]"#, "{,[".repeat(VALUES_MAX));
        assert_eq!(status(in_text), None);
    }

    #[test]
    fn depth_counts_containers() {
        assert_eq!(depth(&json!(1)), 0);
        assert_eq!(depth(&json!({})), 1);
        assert_eq!(depth(&json!({"a": [1, {"b": []}]})), 4);
    }
}
