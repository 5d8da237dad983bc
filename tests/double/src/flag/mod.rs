//! Feature flags: remote evaluation and the definitions for local evaluation.

mod evaluate;

use axum::http::{Method, header};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use uuid::Uuid;

use self::evaluate::{Decision, Subject};
use crate::capture::{BATCH_BYTES_MAX, inflate};
use crate::exchange::{Exchange, Reply};
use crate::project::Project;
use crate::record::bearer;
use crate::rest;

/// The body of `/flags/definitions`, and its `ETag`.
#[derive(Debug)]
pub(crate) struct Definitions {
    body: Value,
    etag: String,
}

impl Default for Definitions {
    fn default() -> Self {
        Self::new(json!({"flags": []}))
    }
}

impl Definitions {
    /// Members that the body leaves out get PostHog's empty ones.
    pub(crate) fn new(mut body: Value) -> Self {
        if let Value::Object(body) = &mut body {
            body.entry("flags").or_insert_with(|| json!([]));
            body.entry("group_type_mapping")
                .or_insert_with(|| json!({}));
            body.entry("cohorts").or_insert_with(|| json!({}));
            body.entry("minimal_flag_called_events")
                .or_insert(Value::Bool(false));
            body.entry("property_matching_version")
                .or_insert_with(|| json!(1));
        }
        let digest = Sha1::digest(body.to_string());
        let first = digest
            .iter()
            .take(8)
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let etag = format!("{first:016x}");
        Self { body, etag }
    }

    fn flags(&self) -> &[Value] {
        self.body
            .get("flags")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn group_type(&self, index: u64) -> Option<&str> {
        self.body
            .get("group_type_mapping")?
            .get(index.to_string())?
            .as_str()
    }
}

/// `GET /flags/definitions` and its legacy twins.
pub(crate) fn definitions(project: &Project, exchange: &Exchange) -> Reply {
    if exchange.method != Method::GET {
        return Reply::method_not_allowed(&exchange.method);
    }
    if bearer(&exchange.headers).is_none_or(|key| {
        !project
            .options()
            .secret_keys
            .iter()
            .any(|secret| secret == key)
    }) && let Err(refused) = rest::authorize(project, exchange, "feature_flag:read")
    {
        return refused;
    }
    let token = exchange.parameter("token");
    let token = token
        .as_deref()
        .or_else(|| exchange.header("x-posthog-project-api-key"));
    if token.is_some_and(|token| token != project.token()) {
        return rest::unauthenticated();
    }
    if !project.definitions_warm() {
        return Reply::text(503, "flag definitions are not cached yet");
    }
    let definitions = project.definitions();
    let known = exchange.header("if-none-match").is_some_and(|known| {
        known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/").trim_matches('"') == definitions.etag)
    });
    let reply = if known {
        Reply::empty(304)
    } else {
        Reply::json(200, &definitions.body)
    };
    reply
        .with(header::ETAG, format!("W/\"{}\"", definitions.etag))
        .with(header::CACHE_CONTROL, "private, must-revalidate")
}

/// `POST /flags`.
pub(crate) fn answer(project: &Project, exchange: &Exchange, over_quota: bool) -> Reply {
    if exchange.method != Method::POST {
        return Reply::text(405, "only POST is evaluated");
    }
    let body =
        match inflate(&exchange.body, BATCH_BYTES_MAX).map(|text| serde_json::from_slice(&text)) {
            Ok(Ok(Value::Object(body))) => body,
            Ok(_) => return Reply::text(400, "failed to decode the request"),
            Err(refusal) => return Reply::text(refusal.status, refusal.reason),
        };
    let named = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| body.get(*name))
            .filter(|value| !value.is_null())
    };
    let Some(token) = named(&["token", "api_key", "$token"]).and_then(Value::as_str) else {
        return Reply::text(401, "no token");
    };
    if token != project.token() {
        return Reply::text(401, "invalid token");
    }
    let distinct_id = match named(&["distinct_id", "$distinct_id"]) {
        Some(Value::String(id)) => id.chars().take(200).collect(),
        Some(id @ Value::Number(_)) => id.to_string(),
        _ => return Reply::text(400, "no distinct_id"),
    };
    let object = |names: &[&str]| {
        named(names)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let mut properties = project
        .person(&distinct_id)
        .map(|person| person.properties)
        .unwrap_or_default();
    properties.extend(object(&["person_properties", "$properties"]));
    let device_id = named(&["$device_id", "device_id"])
        .and_then(Value::as_str)
        .map(str::to_owned);
    let subject = Subject {
        distinct_id,
        device_id,
        properties,
        groups: object(&["groups", "$groups"]),
        group_properties: object(&["group_properties", "$group_properties"]),
    };
    let wanted: Option<Vec<&str>> = named(&["flag_keys_to_evaluate", "flag_keys"])
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect());
    let definitions = project.definitions();
    let disabled = body.get("disable_flags") == Some(&Value::Bool(true));
    let mut decisions = Vec::new();
    if !over_quota && !disabled {
        for flag in definitions.flags() {
            let Some(key) = flag.get("key").and_then(Value::as_str) else {
                continue;
            };
            let deleted = flag.get("deleted") == Some(&Value::Bool(true));
            if !deleted && wanted.as_ref().is_none_or(|wanted| wanted.contains(&key)) {
                decisions.push((
                    key,
                    flag,
                    evaluate::decide(&definitions, flag, key, &subject),
                ));
            }
        }
    }
    let version = exchange
        .parameter("v")
        .and_then(|version| version.parse().ok())
        .unwrap_or(1);
    let mut reply = if version >= 2 {
        detailed(project, &decisions)
    } else {
        plain(&decisions)
    };
    if over_quota {
        reply["quotaLimited"] = json!(["feature_flags"]);
    }
    Reply::json(200, &reply)
}

/// Versions 2 and up: clients take a lower version's record when the server does not know theirs.
fn detailed(project: &Project, decisions: &[(&str, &Value, Decision)]) -> Value {
    let mut flags = Map::new();
    for (key, flag, decision) in decisions {
        let member = |name: &str| flag.get(name).cloned().unwrap_or(Value::Null);
        let mut record = json!({
            "key": key,
            "enabled": decision.enabled,
            "variant": decision.variant,
            "reason": {
                "code": decision.code,
                "condition_index": decision.condition,
                "description": decision.description(),
            },
            "metadata": {
                "id": member("id"),
                "version": member("version"),
                "description": null,
                "payload": decision.payload(flag),
                "has_experiment": flag.get("has_experiment").cloned().unwrap_or(Value::Bool(false)),
            },
        });
        if decision.failed {
            record["failed"] = Value::Bool(true);
        }
        flags.insert((*key).to_owned(), record);
    }
    json!({
        "errorsWhileComputingFlags": decisions.iter().any(|(.., decision)| decision.failed),
        "flags": flags,
        "requestId": Uuid::from_u128(project.now().timestamp_micros().unsigned_abs().into()),
        "evaluatedAt": project.now().timestamp_millis(),
    })
}

fn plain(decisions: &[(&str, &Value, Decision)]) -> Value {
    let (mut values, mut payloads) = (Map::new(), Map::new());
    for (key, flag, decision) in decisions.iter().filter(|(.., decision)| !decision.failed) {
        values.insert((*key).to_owned(), decision.value());
        if let Some(payload) = decision.payload(flag) {
            payloads.insert((*key).to_owned(), payload.clone());
        }
    }
    json!({
        "featureFlags": values,
        "featureFlagPayloads": payloads,
        "errorsWhileComputingFlags": decisions.iter().any(|(.., decision)| decision.failed),
    })
}
