//! The v1 protocol, as far as the real clients go: token in a header, an outcome for each event.

use std::collections::HashSet;

use axum::http::HeaderName;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::decode::{Batch, EVENT_NAME_CHARS_MAX, Incoming, Refusal, instant};
use crate::exchange::{Exchange, Reply};
use crate::project::Project;
use crate::record::bearer;

pub(super) const BYTES_MAX: usize = 10 << 20;

const REQUIRED_HEADERS: [&str; 4] = [
    "posthog-sdk-info",
    "posthog-attempt",
    "posthog-request-id",
    "posthog-request-timestamp",
];

pub(super) fn answer(
    project: &Project,
    exchange: &Exchange,
    document: Result<Value, Refusal>,
    drop_silently: bool,
) -> Reply {
    let error = |status: u16, tag: &str| {
        Reply::json(status, &json!({"error": tag, "error_description": tag}))
    };
    if bearer(&exchange.headers) != Some(project.token()) {
        return error(401, "invalid_api_token");
    }
    if REQUIRED_HEADERS
        .iter()
        .any(|name| exchange.header(name).is_none())
    {
        return error(400, "missing_required_headers");
    }
    let document = match document {
        Ok(document) => document,
        Err(refusal) if refusal.status == 413 => return error(413, "payload_too_large"),
        Err(_) => return error(400, "request_parsing_error"),
    };
    let batch = match batch(project, &document) {
        Ok(batch) => batch,
        Err(tag) => return error(400, tag),
    };
    if drop_silently {
        return error(402, "billing_limit_exceeded");
    }
    let ok = |event: &Incoming| Some((event.uuid?.to_string(), json!({"result": "ok"})));
    let results: Map<String, Value> = batch.events.iter().filter_map(ok).collect();
    super::store(project, batch);
    let request_id = exchange.header("posthog-request-id").unwrap_or_default();
    Reply::json(200, &json!({"results": results}))
        .with(HeaderName::from_static("posthog-request-id"), request_id)
}

fn batch(project: &Project, document: &Value) -> Result<Batch, &'static str> {
    let raw = document
        .get("batch")
        .and_then(Value::as_array)
        .ok_or("invalid_batch")?;
    if raw.is_empty() {
        return Err("empty_batch");
    }
    let mut seen = HashSet::new();
    let mut events = Vec::with_capacity(raw.len());
    for event in raw {
        let incoming = incoming(event)?;
        if project.is_poison(&incoming.event) {
            return Err("malformed_event_properties");
        }
        if !seen.insert(incoming.uuid) {
            return Err("duplicate_event_uuid");
        }
        events.push(incoming);
    }
    let historical = document
        .get("historical_migration")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    Ok(Batch {
        token: project.token().to_owned(),
        historical,
        events,
    })
}

fn incoming(event: &Value) -> Result<Incoming, &'static str> {
    let text = |key: &str| {
        event
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let name = text("event").ok_or("missing_event_name")?;
    if name.chars().count() > EVENT_NAME_CHARS_MAX {
        return Err("event_name_too_long");
    }
    let distinct_id = text("distinct_id").ok_or("missing_distinct_id")?;
    let uuid = text("uuid")
        .and_then(|uuid| Uuid::try_parse(uuid).ok())
        .ok_or("missing_event_uuid")?;
    let timestamp = text("timestamp")
        .and_then(instant)
        .ok_or("invalid_event_timestamp")?;
    let mut properties = match event.get("properties") {
        Some(Value::Object(properties)) => properties.clone(),
        None => Map::new(),
        Some(_) => return Err("malformed_event_properties"),
    };
    // v1 moved these out of the properties; queries still find them there
    for key in ["session_id", "window_id"] {
        if let Some(id) = text(key) {
            properties.insert(format!("${key}"), id.into());
        }
    }
    if let Some(profile) = event.pointer("/options/process_person_profile") {
        properties.insert("$process_person_profile".to_owned(), profile.clone());
    }
    Ok(Incoming {
        uuid: Some(uuid),
        event: name.to_owned(),
        distinct_id: distinct_id.to_owned(),
        properties,
        timestamp,
    })
}
