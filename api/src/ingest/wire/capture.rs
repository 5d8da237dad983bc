//! The envelope of a capture request: one event, a batch or a bare array, all accepted on every route.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::body::{self, Query};
use super::error::WireError;
use super::event::{self, Circumstances, WireEvent};
use super::{instant, json};

/// Events of one request. PostHog's clients send at most 100; the limit bounds the transaction that stores them. Answered 413, so
/// that a client splits the batch.
pub const BATCH_EVENTS_MAX: usize = 10_000;

/// Characters of a token; a longer one is nobody's.
const TOKEN_BYTES_MAX: usize = 200;

/// A capture request, validated as a whole: one bad event refuses all of it, as PostHog does.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// The credential every part of the request agrees on. Not yet looked up.
    pub token: String,
    /// At least one, at most [`BATCH_EVENTS_MAX`], in the client's order.
    pub events: Vec<WireEvent>,
    /// `beacon=1`: answer 204 without a body.
    pub beacon: bool,
}

/// Decodes a capture request. `query` is the raw query string without `?`; `body` is empty for GET, whose payload is `data=`; `cap`
/// bounds the body in bytes, before and after decompression ([`super::SINGLE_BODY_BYTES_MAX`], [`super::BATCH_BODY_BYTES_MAX`]).
///
/// # Errors
/// 400 undecodable, an empty batch, an event without name or distinct id, with a malformed uuid, too deep or too large; 401 without
/// a usable token; 413 over `cap` or over [`BATCH_EVENTS_MAX`].
pub fn decode_capture(
    body: &[u8],
    query: &str,
    cap: usize,
    now: DateTime<Utc>,
) -> Result<Capture, WireError> {
    let query = Query::parse(query);
    let text = body::decode_text(body, &query, cap)?;
    let envelope = Envelope::open(json::parse(&text)?)?;
    let circumstances = Circumstances {
        token: &envelope.token,
        sent_at: envelope.sent_at.or(query.sent_at),
        now,
        request_bytes: text.len(),
    };
    let events = envelope
        .events
        .into_iter()
        .enumerate()
        .map(|(index, raw)| event::decode(raw, index + 1, &circumstances))
        .collect::<Result<_, _>>()?;
    Ok(Capture {
        token: envelope.token,
        events,
        beacon: query.beacon,
    })
}

struct Envelope {
    token: String,
    /// The client's clock when it sent the request.
    sent_at: Option<DateTime<Utc>>,
    events: Vec<Map<String, Value>>,
}

impl Envelope {
    fn open(body: Value) -> Result<Self, WireError> {
        let (outside, items) = match body {
            Value::Array(items) => (Map::new(), items),
            Value::Object(mut map) => match map.remove("batch") {
                Some(Value::Array(items)) => (map, items),
                Some(_) => return Err(WireError::invalid("the batch is not an array")),
                None => (Map::new(), vec![Value::Object(map)]),
            },
            _ => {
                return Err(WireError::invalid(
                    "the body is neither an object nor an array",
                ));
            }
        };
        if items.is_empty() {
            return Err(WireError::invalid("the batch is empty"));
        }
        if items.len() > BATCH_EVENTS_MAX {
            return Err(WireError::too_large(format!(
                "the batch has more than {BATCH_EVENTS_MAX} events"
            )));
        }
        let events = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::Object(event) => Ok(event),
                _ => Err(WireError::invalid(format!(
                    "event {} is not an object",
                    index + 1
                ))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            token: agreed_token(&outside, &events)?,
            sent_at: outside
                .get("sent_at")
                .and_then(Value::as_str)
                .and_then(instant::parse),
            events,
        })
    }
}

/// The one token of a request. What the body or an event states outright must agree; `properties.token` counts only where nothing
/// is stated outright, because a product may well have a property of that name.
fn agreed_token(
    outside: &Map<String, Value>,
    events: &[Map<String, Value>],
) -> Result<String, WireError> {
    let mut stated = stated_tokens(outside)
        .chain(events.iter().flat_map(stated_tokens))
        .peekable();
    if stated.peek().is_some() {
        return agree(stated);
    }
    agree(
        events
            .iter()
            .filter_map(|event| event.get("properties")?.get("token")?.as_str()),
    )
}

fn stated_tokens(map: &Map<String, Value>) -> impl Iterator<Item = &str> {
    ["api_key", "token", "$token"]
        .into_iter()
        .filter_map(|key| map.get(key)?.as_str())
}

fn agree<'a>(mut tokens: impl Iterator<Item = &'a str>) -> Result<String, WireError> {
    let token = usable_token(tokens.next())?;
    if tokens.any(|other| other != token) {
        return Err(WireError::unauthorized("the request names several tokens"));
    }
    Ok(token)
}

/// Accepts what may be a project token. Prefixes are not required, since old PostHog projects have none.
pub(super) fn usable_token(token: Option<&str>) -> Result<String, WireError> {
    let reason = match token {
        None | Some("") => "the request names no token",
        Some(token) if token.starts_with("phx_") => "a personal API key is not a project token",
        Some(token)
            if token.len() > TOKEN_BYTES_MAX || !token.chars().all(|c| c.is_ascii_graphic()) =>
        {
            "the token is malformed"
        }
        Some(token) => return Ok(token.to_owned()),
    };
    Err(WireError::unauthorized(reason))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{BATCH_BODY_BYTES_MAX, SINGLE_BODY_BYTES_MAX};
    use super::*;

    fn decode(body: &Value, query: &str) -> Result<Capture, WireError> {
        let now = instant::parse("2026-11-22T12:00:00Z").unwrap();
        decode_capture(
            body.to_string().as_bytes(),
            query,
            SINGLE_BODY_BYTES_MAX,
            now,
        )
    }

    #[test]
    fn one_event_a_batch_and_an_array_are_the_same_to_the_receiver() {
        let event = json!({"event": "e", "distinct_id": "a", "token": "t"});
        let bodies = [
            event.clone(),
            json!([event]),
            json!({"api_key": "t", "batch": [{"event": "e", "distinct_id": "a"}]}),
            json!({"token": "t", "batch": [{"event": "e", "distinct_id": "a"}], "historical_migration": false, "sent_at": "?"}),
            json!({"$token": "t", "event": "e", "distinct_id": "a"}),
            json!({"batch": [{"event": "e", "properties": {"distinct_id": "a", "token": "t"}}]}),
        ];
        for body in bodies {
            let capture = decode(&body, "").unwrap();
            let events: Vec<_> = capture
                .events
                .iter()
                .map(|event| (&*event.event, &*event.distinct_id))
                .collect();
            assert_eq!((&*capture.token, events), ("t", vec![("e", "a")]), "{body}");
            assert!(!capture.beacon, "{body}");
        }
    }

    #[test]
    fn the_envelope_tells_clock_and_beacon() {
        let batch = json!({"api_key": "t", "historical_migration": true, "sent_at": "2026-11-22T11:59:00+00:00",
            "batch": [{"event": "e", "distinct_id": "a", "timestamp": "2026-11-22T11:58:00Z"}]});
        let capture = decode(&batch, "beacon=1&_=1795359952741").unwrap();
        assert!(capture.beacon);
        assert_eq!(
            capture.events[0].timestamp,
            instant::parse("2026-11-22T11:59:00Z").unwrap()
        );
        let single = json!({"api_key": "t", "event": "e", "distinct_id": "a", "timestamp": "2026-11-22T15:05:51.741Z"});
        let by_query = decode(&single, "_=1795359952741").unwrap();
        assert_eq!(
            by_query.events[0].timestamp,
            instant::parse("2026-11-22T11:59:59Z").unwrap()
        );
    }

    #[test]
    fn a_refusal_has_the_status_that_the_sdks_act_on() {
        let event = json!({"event": "e", "distinct_id": "a"});
        let with = |token: Value| json!({"event": "e", "distinct_id": "a", "api_key": token});
        let cases = [
            (
                json!({"api_key": "t", "batch": []}),
                400,
                "the batch is empty",
            ),
            (json!([]), 400, "the batch is empty"),
            (
                json!({"api_key": "t", "batch": {}}),
                400,
                "the batch is not an array",
            ),
            (
                json!({"api_key": "t", "batch": [event, 7]}),
                400,
                "event 2 is not an object",
            ),
            (
                json!({"api_key": "t", "batch": [event, {"event": ""}]}),
                400,
                "event 2 has no event name",
            ),
            (
                json!({"api_key": "t", "event": "e"}),
                400,
                "event 1 (e) has no distinct_id",
            ),
            (
                json!({"api_key": "t", "batch": [event, {"event": "e", "distinct_id": "a", "uuid": "x"}]}),
                400,
                "event 2 (e) has a malformed uuid",
            ),
            (event.clone(), 401, "the request names no token"),
            (with(json!("")), 401, "the request names no token"),
            (with(json!(null)), 401, "the request names no token"),
            (
                with(json!("phx_secret")),
                401,
                "a personal API key is not a project token",
            ),
            (with(json!("a b")), 401, "the token is malformed"),
            (with(json!("tökén")), 401, "the token is malformed"),
            (with(json!("t".repeat(201))), 401, "the token is malformed"),
            (
                json!([with(json!("t")), with(json!("u"))]),
                401,
                "the request names several tokens",
            ),
            (
                json!({"api_key": "t", "batch": [with(json!("u"))]}),
                401,
                "the request names several tokens",
            ),
            (
                json!({"api_key": "t", "token": "u", "event": "e", "distinct_id": "a"}),
                401,
                "the request names several tokens",
            ),
            (
                json!([{"event": "e", "properties": {"distinct_id": "a", "token": "t"}}, {"event": "e", "properties": {"distinct_id": "a", "token": "u"}}]),
                401,
                "the request names several tokens",
            ),
            (
                json!({"api_key": "t", "batch": vec![event.clone(); BATCH_EVENTS_MAX + 1]}),
                413,
                "the batch has more than 10000 events",
            ),
        ];
        for (body, status, reason) in cases {
            let expected = WireError {
                status,
                reason: reason.to_owned(),
            };
            assert_eq!(decode(&body, ""), Err(expected), "{reason}");
        }
    }

    #[test]
    fn a_property_named_token_does_not_contradict_the_batch() {
        let batch = json!({"api_key": "t", "batch": [{"event": "swap", "distinct_id": "a", "properties": {"token": "ETH"}}]});
        let capture = decode(&batch, "").unwrap();
        assert_eq!(
            (&*capture.token, &capture.events[0].properties["token"]),
            ("t", &json!("ETH"))
        );
    }

    #[test]
    fn a_large_batch_of_small_events_is_one_request() {
        let event =
            json!({"event": "e", "distinct_id": "a", "properties": {"text": "x".repeat(300)}});
        let batch = json!({"api_key": "t", "batch": vec![event; BATCH_EVENTS_MAX]}).to_string();
        let now = instant::parse("2026-11-22T12:00:00Z").unwrap();
        assert_eq!(
            decode_capture(batch.as_bytes(), "", SINGLE_BODY_BYTES_MAX, now)
                .map_err(|error| error.status),
            Err(413)
        );
        let capture = decode_capture(batch.as_bytes(), "", BATCH_BODY_BYTES_MAX, now).unwrap();
        assert_eq!(capture.events.len(), BATCH_EVENTS_MAX);
    }
}
