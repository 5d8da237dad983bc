//! One event of a capture request, made uniform.

use std::io;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::WireError;
use super::identity::{self, Identity, Merge};
use super::instant;
use super::json::depth;
use crate::base::cut;

/// Characters of an event's name; the rest is cut, as PostHog does.
pub const EVENT_NAME_CHARS_MAX: usize = 200;
/// Bytes of an event as compact JSON, as PostHog's own clients cut it: short enough of what its queue takes for everything that
/// is added on the way there (the contact's id, the address, the library), so that nothing is accepted here that cannot be forwarded.
pub const EVENT_BYTES_MAX: usize = 900 * 1024;
/// Containers nested in the properties, the properties themselves counted: deeper than any honest client, and well inside the
/// recursion that JSON parsers and databases further on allow.
pub const PROPERTY_DEPTH_MAX: usize = 32;

/// Rewriting JSON compactly lengthens it at most fivefold (`1e15,`), so an event in a shorter request need not be measured.
const UNMEASURED_BYTES_MAX: usize = EVENT_BYTES_MAX / 5;

/// One event, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct WireEvent {
    /// The client's own id, the same on every retry. None when absent, empty or all zeros: the receiver makes one.
    pub uuid: Option<Uuid>,
    /// Name, 1 to 200 characters.
    pub event: String,
    /// 1 to 200 characters; may be an illegal id (see [`super::is_illegal_id`]).
    pub distinct_id: String,
    /// When it happened, corrected for the client's clock, in microseconds. A retry of the same event may be corrected differently
    /// by the milliseconds that its requests took: the first one stored is the one to keep.
    pub timestamp: DateTime<Utc>,
    /// Everything the event says, `$set`, `$set_once` and `$unset` included wherever they were sent; without the project token.
    pub properties: Map<String, Value>,
    /// `$set`: traits to overwrite.
    pub set: Map<String, Value>,
    /// `$set_once`: traits to write where absent.
    pub set_once: Map<String, Value>,
    /// `$unset`: traits to delete.
    pub unset: Vec<String>,
    /// `$process_person_profile: false`: makes no profile, and its `$set*` count only if the distinct id has one already.
    pub personless: bool,
    /// Whose id `distinct_id` is, as far as this event says.
    pub identity: Identity,
    /// The join this event declares, if both ids are legal.
    pub merge: Option<Merge>,
}

/// What the events of one request have in common.
pub(super) struct Circumstances<'a> {
    pub(super) token: &'a str,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
    /// Length of the request's JSON.
    pub(super) request_bytes: usize,
}

/// Validates `raw`, the event at `place` (from 1) of its request.
pub(super) fn decode(
    mut raw: Map<String, Value>,
    place: usize,
    of: &Circumstances,
) -> Result<WireEvent, WireError> {
    let refuse = |fault: String| Err(WireError::invalid(format!("event {place} {fault}")));
    if of.request_bytes > UNMEASURED_BYTES_MAX && compact_bytes(&raw) > EVENT_BYTES_MAX {
        let name = raw.get("event").and_then(Value::as_str).unwrap_or_default();
        let name = cut(name.to_owned(), EVENT_NAME_CHARS_MAX);
        return refuse(format!("({name}) is larger than {EVENT_BYTES_MAX} bytes"));
    }
    let event = match raw.remove("event") {
        Some(Value::String(name)) if !name.is_empty() => cut(name, EVENT_NAME_CHARS_MAX),
        _ => return refuse("has no event name".to_owned()),
    };
    let mut properties = match raw.remove("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => return refuse(format!("({event}) has properties that are not an object")),
    };
    for key in ["$set", "$set_once", "$unset"] {
        if let Some(value) = raw.remove(key) {
            fold(&mut properties, key, value);
        }
    }
    if properties.values().map(depth).max().unwrap_or(0) >= PROPERTY_DEPTH_MAX {
        return refuse(format!(
            "({event}) nests its properties deeper than {PROPERTY_DEPTH_MAX}"
        ));
    }
    let candidates = [
        raw.get("distinct_id"),
        raw.get("$distinct_id"),
        properties.get("distinct_id"),
        properties.get("$distinct_id"),
    ];
    let distinct_id = match identity::distinct_id(candidates) {
        Some(id) if !id.is_empty() => id,
        _ => return refuse(format!("({event}) has no distinct_id")),
    };
    let uuid = match raw.get("uuid") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => match Uuid::parse_str(text) {
            // All zeros is a client's unset variable: as an id it would make strangers' events one.
            Ok(uuid) => (!uuid.is_nil()).then_some(uuid),
            Err(_) => return refuse(format!("({event}) has a malformed uuid")),
        },
        Some(_) => return refuse(format!("({event}) has a malformed uuid")),
    };
    // The clock is the server's own business on request: the client vouches for its timestamps.
    let trusted = properties.get("$ignore_sent_at") == Some(&Value::Bool(true));
    let timestamp = instant::occurred_at(
        raw.get("timestamp")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty()),
        raw.get("offset").and_then(whole_number),
        of.sent_at.filter(|_| !trusted),
        of.now,
    );
    // The credential of this request is no property of the event, and forwarded it would contradict the receiver's own.
    if properties.get("token").and_then(Value::as_str) == Some(of.token) {
        properties.remove("token");
    }
    Ok(WireEvent {
        uuid,
        timestamp,
        set: object(properties.get("$set")),
        set_once: object(properties.get("$set_once")),
        unset: keys(properties.get("$unset")),
        personless: identity::is_personless(&properties),
        identity: identity::identity(&event, &distinct_id, &properties),
        merge: identity::merge(&event, &distinct_id, &properties),
        event,
        distinct_id,
        properties,
    })
}

/// Puts a top-level `$set`, `$set_once` or `$unset` where the properties have theirs; of two values for one trait the top-level wins.
fn fold(properties: &mut Map<String, Value>, key: &str, outer: Value) {
    match (properties.get_mut(key), outer) {
        (_, Value::Null) => {}
        (Some(Value::Object(inner)), Value::Object(outer)) => inner.extend(outer),
        (Some(Value::Array(inner)), Value::Array(outer)) => inner.extend(outer),
        (_, outer) => {
            properties.insert(key.to_owned(), outer);
        }
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    }
}

/// A list of keys, or the keys of an object: both are sent.
fn keys(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn compact_bytes(raw: &Map<String, Value>) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, written: &[u8]) -> io::Result<usize> {
            self.0 += written.len();
            Ok(written.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, raw) {
        Ok(()) => count.0,
        // A map of strings to JSON always serializes; were it not to, it could not be stored either.
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_request(raw: Value, request_bytes: usize) -> Result<WireEvent, WireError> {
        let Value::Object(raw) = raw else {
            panic!("not an object: {raw}")
        };
        let now = instant::parse("2026-11-22T12:00:00Z").unwrap();
        let circumstances = Circumstances {
            token: "gos_pk_1",
            sent_at: instant::parse("2026-11-22T11:00:00Z"),
            now,
            request_bytes,
        };
        decode(raw, 1, &circumstances)
    }

    fn read(raw: Value) -> WireEvent {
        of_request(raw, 100).unwrap()
    }

    fn refused(raw: Value) -> String {
        of_request(raw, usize::MAX).unwrap_err().reason
    }

    #[test]
    fn the_distinct_id_is_found_wherever_it_is_and_made_text() {
        let cases = [
            (json!({"event": "e", "distinct_id": "a"}), "a"),
            (json!({"event": "e", "$distinct_id": "a"}), "a"),
            (
                json!({"event": "e", "properties": {"distinct_id": "a"}}),
                "a",
            ),
            (
                json!({"event": "e", "properties": {"$distinct_id": "a"}}),
                "a",
            ),
            (
                json!({"event": "e", "distinct_id": "a", "properties": {"distinct_id": "b"}}),
                "a",
            ),
            (
                json!({"event": "e", "distinct_id": null, "properties": {"distinct_id": "b"}}),
                "b",
            ),
            (json!({"event": "e", "distinct_id": 23}), "23"),
            (json!({"event": "e", "distinct_id": 23.5}), "23.5"),
            (json!({"event": "e", "distinct_id": true}), "true"),
            (json!({"event": "e", "distinct_id": ["a", 1]}), r#"["a",1]"#),
            (json!({"event": "e", "distinct_id": {"a": 1}}), r#"{"a":1}"#),
        ];
        for (raw, expected) in cases {
            assert_eq!(read(raw.clone()).distinct_id, expected, "{raw}");
        }
    }

    #[test]
    fn names_and_ids_are_cut_at_200_characters() {
        let event = read(json!({"event": "é".repeat(201), "distinct_id": "ü".repeat(300)}));
        assert_eq!(event.event, "é".repeat(200));
        assert_eq!(event.distinct_id, "ü".repeat(200));
    }

    #[test]
    fn traits_are_read_from_both_places_and_the_outer_wins() {
        let event = read(json!({
            "event": "e", "distinct_id": "a",
            "$set": {"plan": "pro"}, "$set_once": {"src": "ad"}, "$unset": ["old"],
            "properties": {"$set": {"plan": "free", "name": "Ann"}, "$unset": ["older"], "$groups": {"company": "acme"}, "n": 1},
        }));
        let expected = json!({
            "$set": {"plan": "pro", "name": "Ann"}, "$set_once": {"src": "ad"}, "$unset": ["older", "old"],
            "$groups": {"company": "acme"}, "n": 1,
        });
        assert_eq!(Value::Object(event.properties), expected);
        assert_eq!(Value::Object(event.set), expected["$set"]);
        assert_eq!(Value::Object(event.set_once), expected["$set_once"]);
        assert_eq!(event.unset, ["older", "old"]);
    }

    #[test]
    fn traits_of_a_wrong_shape_are_no_traits() {
        let event = read(json!({
            "event": "e", "distinct_id": "a", "$set": null,
            "properties": {"$set": "x", "$set_once": [1], "$unset": {"old": ""}, "$groups": "acme"},
        }));
        assert!(event.set.is_empty() && event.set_once.is_empty());
        assert_eq!(event.unset, ["old"]);
        assert_eq!(event.properties["$set"], "x");
    }

    #[test]
    fn the_uuid_is_optional_but_not_arbitrary() {
        let uuid = "0198c0de-0000-7000-8000-000000000abc";
        let cases = [
            (json!(uuid), Some(uuid)),
            (json!(uuid.to_uppercase()), Some(uuid)),
            (json!(""), None),
            (json!(null), None),
            (json!("00000000-0000-0000-0000-000000000000"), None),
        ];
        for (given, expected) in cases {
            let event = read(json!({"event": "e", "distinct_id": "a", "uuid": given}));
            assert_eq!(
                event.uuid.map(|uuid| uuid.to_string()).as_deref(),
                expected,
                "{given}"
            );
        }
        for malformed in [json!("17"), json!(17), json!({})] {
            let reason = refused(json!({"event": "e", "distinct_id": "a", "uuid": malformed}));
            assert_eq!(reason, "event 1 (e) has a malformed uuid");
        }
    }

    #[test]
    fn the_clock_is_corrected_unless_the_event_forbids_it() {
        let at = |raw: Value| read(raw).timestamp.to_rfc3339();
        let stated = "2026-11-22T10:59:00Z";
        assert_eq!(
            at(json!({"event": "e", "distinct_id": "a", "timestamp": stated})),
            "2026-11-22T11:59:00+00:00"
        );
        let trusted = json!({"event": "e", "distinct_id": "a", "timestamp": stated, "properties": {"$ignore_sent_at": true}});
        assert_eq!(at(trusted), "2026-11-22T10:59:00+00:00");
        assert_eq!(
            at(json!({"event": "e", "distinct_id": "a", "offset": 60_000})),
            "2026-11-22T11:59:00+00:00"
        );
        assert_eq!(
            at(json!({"event": "e", "distinct_id": "a", "offset": "1000"})),
            "2026-11-22T11:59:59+00:00"
        );
        assert_eq!(
            at(json!({"event": "e", "distinct_id": "a", "timestamp": ""})),
            "2026-11-22T12:00:00+00:00"
        );
    }

    #[test]
    fn only_the_requests_own_token_leaves_the_properties() {
        let own =
            read(json!({"event": "e", "distinct_id": "a", "properties": {"token": "gos_pk_1"}}));
        assert!(own.properties.is_empty());
        let coin = read(json!({"event": "e", "distinct_id": "a", "properties": {"token": "ETH"}}));
        assert_eq!(coin.properties["token"], "ETH");
    }

    #[test]
    fn an_invalid_event_is_named() {
        let mut nested = json!(1);
        for _ in 0..PROPERTY_DEPTH_MAX {
            nested = json!([nested]);
        }
        let cases = [
            (json!({}), "event 1 has no event name"),
            (
                json!({"event": "", "distinct_id": "a"}),
                "event 1 has no event name",
            ),
            (
                json!({"event": 1, "distinct_id": "a"}),
                "event 1 has no event name",
            ),
            (json!({"event": "e"}), "event 1 (e) has no distinct_id"),
            (
                json!({"event": "e", "distinct_id": null}),
                "event 1 (e) has no distinct_id",
            ),
            (
                json!({"event": "e", "distinct_id": ""}),
                "event 1 (e) has no distinct_id",
            ),
            (
                json!({"event": "e", "distinct_id": "a", "properties": []}),
                "event 1 (e) has properties that are not an object",
            ),
            (
                json!({"event": "e", "distinct_id": "a", "properties": {"deep": nested}}),
                "event 1 (e) nests its properties deeper than 32",
            ),
        ];
        for (raw, reason) in cases {
            assert_eq!(refused(raw.clone()), reason, "{raw}");
        }
    }

    #[test]
    fn depth_and_size_are_allowed_up_to_their_limits() {
        let mut nested = json!(1);
        for _ in 0..PROPERTY_DEPTH_MAX - 1 {
            nested = json!({"a": nested});
        }
        assert_eq!(
            read(json!({"event": "e", "distinct_id": "a", "properties": {"deep": nested.clone()}}))
                .properties["deep"],
            nested
        );
        let of_size = |bytes: usize| json!({"event": "big", "distinct_id": "a", "properties": {"x": "y".repeat(bytes)}});
        let frame = of_size(0).to_string().len();
        assert!(of_request(of_size(EVENT_BYTES_MAX - frame), usize::MAX).is_ok());
        assert_eq!(
            refused(of_size(EVENT_BYTES_MAX - frame + 1)),
            "event 1 (big) is larger than 921600 bytes"
        );
    }
}
