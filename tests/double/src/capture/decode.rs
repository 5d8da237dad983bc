//! The v0 wire form: any body shape on any path, gzip by its first bytes, all or nothing.

use std::io::Read;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::record::Attempt;

/// Ids are cut to this many characters.
const DISTINCT_ID_CHARS_MAX: usize = 200;
/// Names are cut to this many characters.
pub(super) const EVENT_NAME_CHARS_MAX: usize = 200;
/// Kafka's message limit at `PostHog`.
const EVENT_BYTES_MAX: usize = 1_000_000;
/// A timestamp further ahead is taken for a broken clock and becomes now.
const FUTURE_HOURS_MAX: i64 = 23;

/// Why a request was refused: status and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: String,
}

pub(super) fn refusal(status: u16, reason: impl Into<String>) -> Refusal {
    Refusal {
        status,
        reason: reason.into(),
    }
}

/// One event, valid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incoming {
    /// Nothing when the client left it to the server.
    pub(crate) uuid: Option<Uuid>,
    pub(crate) event: String,
    pub(crate) distinct_id: String,
    pub(crate) properties: Map<String, Value>,
    pub(crate) timestamp: DateTime<Utc>,
}

/// One request, valid as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    pub(crate) token: String,
    pub(crate) historical: bool,
    pub(crate) events: Vec<Incoming>,
}

/// The body as text, inflated if its first bytes say gzip; neither form may be over `bytes_max`.
pub(crate) fn inflate(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let too_large = || refusal(413, "payload too large");
    if body.len() > bytes_max {
        return Err(too_large());
    }
    if !body.starts_with(&[0x1f, 0x8b, 0x08]) {
        return Ok(body.to_vec());
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(body)
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| refusal(400, format!("failed to decode the gzip body: {error}")))?;
    if text.len() > bytes_max {
        Err(too_large())
    } else {
        Ok(text)
    }
}

pub(crate) fn parse(text: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(text)
        .map_err(|error| refusal(400, format!("failed to parse the request: {error}")))
}

/// The raw events of a body of any shape: batch, bare array, single.
fn raw_events(document: &Value) -> &[Value] {
    match document {
        Value::Array(events) => events,
        Value::Object(object) => match object.get("batch") {
            Some(Value::Array(events)) => events,
            _ => std::slice::from_ref(document),
        },
        _ => &[],
    }
}

/// What the request carries, valid or not.
pub(crate) fn attempts(document: &Value) -> Vec<Attempt> {
    let text = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
    let attempt = |event: &Value| Attempt {
        uuid: text(event, "uuid"),
        event: text(event, "event"),
        distinct_id: event.as_object().and_then(distinct_id),
        timestamp: text(event, "timestamp"),
    };
    raw_events(document).iter().map(attempt).collect()
}

/// Checks and normalises a whole request; `now` is the server's clock, `sent_at_ms` the query's `_`.
pub(crate) fn batch(
    document: Value,
    sent_at_ms: Option<i64>,
    now: DateTime<Utc>,
) -> Result<Batch, Refusal> {
    let token = token(&document)?;
    let historical = document
        .get("historical_migration")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let sent_at = match document.get("sent_at").and_then(Value::as_str) {
        Some(text) => instant(text),
        None => sent_at_ms.and_then(DateTime::from_timestamp_millis),
    };
    let raw = match document {
        Value::Array(events) => events,
        Value::Object(mut object) => match object.remove("batch") {
            Some(Value::Array(events)) => events,
            Some(_) => {
                return Err(refusal(
                    400,
                    "failed to parse the request: batch is not an array",
                ));
            }
            None => vec![Value::Object(object)],
        },
        _ => {
            return Err(refusal(
                400,
                "failed to parse the request: neither object nor array",
            ));
        }
    };
    if raw.is_empty() {
        return Err(refusal(400, "batch is empty"));
    }
    let events = raw
        .into_iter()
        .map(|event| incoming(event, sent_at, now))
        .collect::<Result<_, _>>()?;
    Ok(Batch {
        token,
        historical,
        events,
    })
}

/// The one token that the request and all its events name.
fn token(document: &Value) -> Result<String, Refusal> {
    let own = [document.get("api_key"), document.get("token")];
    let of_events = raw_events(document).iter().flat_map(|event| {
        let inner = event
            .get("properties")
            .and_then(|properties| properties.get("token"));
        [
            event.get("api_key"),
            event.get("token"),
            event.get("$token"),
            inner,
        ]
    });
    let mut found: Option<&str> = None;
    for token in own
        .into_iter()
        .chain(of_events)
        .flatten()
        .filter_map(Value::as_str)
    {
        if found.is_some_and(|found| found != token) {
            return Err(refusal(401, "multiple tokens in the request"));
        }
        found = Some(token);
    }
    match found {
        None | Some("") => Err(refusal(401, "missing API token")),
        Some(token) if token.starts_with("phx_") => {
            Err(refusal(401, "a personal API key is not a project token"))
        }
        Some(token) => Ok(token.to_owned()),
    }
}

fn incoming(
    event: Value,
    sent_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Incoming, Refusal> {
    let Value::Object(mut event) = event else {
        return Err(refusal(
            400,
            "failed to parse the request: an event is not an object",
        ));
    };
    let name = match event.get("event") {
        Some(Value::String(name)) if !name.is_empty() => cut(name, EVENT_NAME_CHARS_MAX),
        _ => return Err(refusal(400, "an event has an empty name")),
    };
    if object_bytes(&event) > EVENT_BYTES_MAX {
        return Err(refusal(
            400,
            format!("event {name} is over {EVENT_BYTES_MAX} bytes"),
        ));
    }
    let distinct_id = distinct_id(&event)
        .ok_or_else(|| refusal(400, format!("event {name} has no distinct_id")))?;
    let uuid = match event.get("uuid") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => match Uuid::try_parse(text) {
            Ok(uuid) => Some(uuid),
            Err(_) => return Err(refusal(400, format!("event {name} has a malformed uuid"))),
        },
        Some(_) => return Err(refusal(400, format!("event {name} has a malformed uuid"))),
    };
    let timestamp = timestamp(&event, sent_at, now);
    let mut properties = match event.remove("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => {
            return Err(refusal(
                400,
                format!("event {name} has properties that are not an object"),
            ));
        }
    };
    for key in ["$set", "$set_once"] {
        if let Some(top @ Value::Object(_)) = event.remove(key) {
            properties.entry(key).or_insert(top);
        }
    }
    Ok(Incoming {
        uuid,
        event: name,
        distinct_id,
        properties,
        timestamp,
    })
}

/// The size of the JSON text but for escapes: exact enough for a limit, and without writing it.
fn bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| bytes(item) + 1).sum::<usize>(),
        Value::Object(object) => object_bytes(object),
    }
}

fn object_bytes(object: &Map<String, Value>) -> usize {
    let members = object
        .iter()
        .map(|(key, value)| key.len() + bytes(value) + 4);
    2 + members.sum::<usize>()
}

/// Top level before properties; numbers and containers as their JSON text.
fn distinct_id(event: &Map<String, Value>) -> Option<String> {
    let properties = event.get("properties").and_then(Value::as_object);
    let value = [Some(event), properties]
        .into_iter()
        .flatten()
        .find_map(|level| {
            let named = level.get("distinct_id").filter(|value| !value.is_null());
            named.or_else(|| level.get("$distinct_id").filter(|value| !value.is_null()))
        })?;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!text.is_empty()).then(|| cut(&text, DISTINCT_ID_CHARS_MAX))
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

fn timestamp(
    event: &Map<String, Value>,
    sent_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let written = event
        .get("timestamp")
        .and_then(Value::as_str)
        .and_then(instant);
    let offset = event
        .get("offset")
        .and_then(Value::as_i64)
        .and_then(TimeDelta::try_milliseconds);
    let corrected = match (written, sent_at, offset) {
        (Some(written), Some(sent_at), _) => now.checked_add_signed(written - sent_at),
        (Some(written), None, _) => Some(written),
        (None, _, Some(offset)) => now.checked_sub_signed(offset),
        (None, _, None) => None,
    };
    corrected
        .filter(|at| *at - now <= TimeDelta::hours(FUTURE_HOURS_MAX))
        .unwrap_or(now)
}

/// ISO 8601, an offset honoured, none taken for UTC.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|naive| naive.and_utc())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        instant(text).unwrap()
    }

    fn decoded(document: Value) -> Result<Batch, Refusal> {
        batch(document, None, at("2026-11-22T12:00:00Z"))
    }

    #[test]
    fn one_invalid_event_fails_the_whole_request() {
        let good = json!({"event": "a", "distinct_id": "ann"});
        let bad = [
            (
                json!({"event": "", "distinct_id": "ann"}),
                400,
                "an event has an empty name",
            ),
            (json!({"event": "b"}), 400, "event b has no distinct_id"),
            (
                json!({"event": "b", "distinct_id": null}),
                400,
                "event b has no distinct_id",
            ),
            (
                json!({"event": "b", "distinct_id": "x", "uuid": "not one"}),
                400,
                "event b has a malformed uuid",
            ),
            (
                json!({"event": "b", "distinct_id": "x", "token": "phc_2"}),
                401,
                "multiple tokens in the request",
            ),
        ];
        for (event, status, reason) in bad {
            let document = json!({"api_key": "phc_1", "batch": [good, event]});
            assert_eq!(decoded(document), Err(refusal(status, reason)));
        }
        assert_eq!(
            decoded(json!({"api_key": "phc_1", "batch": []})),
            Err(refusal(400, "batch is empty"))
        );
        assert_eq!(
            decoded(json!({"batch": [good]})),
            Err(refusal(401, "missing API token"))
        );
        let large = json!({"event": "b", "distinct_id": "x", "properties": {"x": "y".repeat(EVENT_BYTES_MAX)}});
        assert_eq!(
            decoded(json!({"api_key": "phc_1", "batch": [good, large]})),
            Err(refusal(400, "event b is over 1000000 bytes"))
        );
        let personal = decoded(json!({"api_key": "phx_1", "batch": [good]})).unwrap_err();
        assert_eq!(personal.status, 401);
    }

    #[test]
    fn every_body_shape_and_spelling_is_read() {
        let single = decoded(
            json!({"api_key": "t", "event": "a", "properties": {"distinct_id": 7, "x": 1}}),
        )
        .unwrap();
        assert_eq!(single.events[0].distinct_id, "7");
        let bare = decoded(json!([
            {"$token": "t", "event": "a", "$distinct_id": "ann", "uuid": "", "$set": {"plan": "pro"}},
            {"properties": {"token": "t"}, "event": "b", "distinct_id": ["x"]},
        ]))
        .unwrap();
        assert_eq!(bare.token, "t");
        assert_eq!(bare.events[0].uuid, None);
        assert_eq!(
            Value::from(bare.events[0].properties.clone()),
            json!({"$set": {"plan": "pro"}})
        );
        assert_eq!(bare.events[1].distinct_id, "[\"x\"]");
    }

    #[test]
    fn the_clients_clock_skew_is_taken_off_its_timestamps() {
        let event =
            |timestamp: &str| json!({"event": "a", "distinct_id": "ann", "timestamp": timestamp});
        let batch = decoded(json!({
            "api_key": "t", "sent_at": "2026-11-22T13:00:00Z",
            "batch": [event("2026-11-22T12:30:00Z"), event("2025-01-02T03:04:05.000"), event("2026-11-24T14:00:00+01:00")],
        }))
        .unwrap();
        let instants: Vec<_> = batch.events.iter().map(|event| event.timestamp).collect();
        assert_eq!(
            instants,
            [
                at("2026-11-22T11:30:00Z"),
                at("2025-01-02T02:04:05Z"),
                at("2026-11-22T12:00:00Z")
            ]
        );
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes_and_never_inflated_past_the_cap() {
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(inflate(&gzip(b"{}"), 100), Ok(b"{}".to_vec()));
        assert_eq!(inflate(b"{}", 10), Ok(b"{}".to_vec()));
        assert_eq!(
            inflate(&gzip(&[0; 4096]), 4095),
            Err(refusal(413, "payload too large"))
        );
        assert_eq!(
            inflate(&[b' '; 11], 10),
            Err(refusal(413, "payload too large"))
        );
        assert_eq!(inflate(&[0x1f, 0x8b, 0x08, 1], 10).unwrap_err().status, 400);
    }
}
