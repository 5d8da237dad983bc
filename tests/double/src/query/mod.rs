//! `POST /api/projects/{id}/query/`: `HogQL` over what was sent, its validation, and the result cache that makes answers stale.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Method;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::event::{Event, PropertyKinds};
use crate::exchange::{Exchange, Reply};
use crate::person::Persons;
use crate::project::Project;
use crate::rest;
use crate::sql::{self, Fault};

/// How long a result may be served again to `refresh: blocking`. PostHog's figure depends on the sort of query; any that is
/// longer than a test's patience shows the trap.
const FRESH_HOURS: i64 = 2;

/// What was sent until one moment.
pub(crate) struct Snapshot {
    pub(crate) events: Arc<Vec<Arc<Event>>>,
    pub(crate) persons: Arc<Persons>,
    pub(crate) event_kinds: Arc<PropertyKinds>,
}

impl Snapshot {
    /// The same properties' kinds over no rows.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            events: Arc::default(),
            persons: Arc::new(self.persons.emptied()),
            event_kinds: self.event_kinds.clone(),
        }
    }
}

/// A computed response and when it was computed.
#[derive(Clone)]
struct Computed {
    body: Map<String, Value>,
    at: DateTime<Utc>,
}

/// Results by query and values.
#[derive(Default)]
pub(crate) struct ResultCache(Mutex<HashMap<String, Computed>>);

impl ResultCache {
    fn get(&self, key: &str) -> Option<Computed> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn put(&self, key: String, computed: Computed) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, computed);
    }
}

/// `any_age` makes the cache answer whatever `refresh` says.
pub(crate) async fn answer(project: &Arc<Project>, exchange: Exchange, any_age: bool) -> Reply {
    let project = project.clone();
    // a query over many events keeps a thread busy for longer than the other requests should wait
    let answered = tokio::task::spawn_blocking(move || {
        run(&project, &exchange, any_age).unwrap_or_else(|refused| refused)
    });
    answered
        .await
        .unwrap_or_else(|_| Reply::error(500, "server_error", "error", "A server error occurred."))
}

fn run(project: &Project, exchange: &Exchange, any_age: bool) -> Result<Reply, Reply> {
    let segments = exchange.segments();
    let (id, path_kind) = match segments.as_slice() {
        ["api", _, id, "query"] => (id, None),
        ["api", _, id, "query", kind] => (id, Some(*kind)),
        _ => return Err(Reply::not_found()),
    };
    if exchange.method != Method::POST {
        return Err(Reply::method_not_allowed(&exchange.method));
    }
    rest::authorize(project, exchange, "query:read")?;
    if !rest::is_project(project, id) {
        return Err(Reply::not_found());
    }
    let body = exchange
        .json()
        .ok_or_else(|| invalid("parse_error", "JSON parse error"))?;
    let query = body
        .get("query")
        .ok_or_else(|| invalid("required", "query: This field is required."))?;
    let kind = query
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if path_kind.is_some_and(|path_kind| path_kind != kind) {
        return Err(invalid(
            "invalid_input",
            "The query kind in the path is not the kind of the query.",
        ));
    }
    let text = query.get("query").and_then(Value::as_str);
    match (kind, text) {
        ("HogQLQuery", Some(text)) => hogql(project, query, text, body.get("refresh"), any_age),
        ("HogQLMetadata", Some(text)) => Ok(Reply::json(200, &metadata(project, text))),
        ("HogQLQuery" | "HogQLMetadata", None) => {
            Err(invalid("required", "query.query: This field is required."))
        }
        _ => Err(invalid(
            "invalid_input",
            &format!("the PostHog double does not run queries of kind '{kind}'"),
        )),
    }
}

fn invalid(code: &str, detail: &str) -> Reply {
    Reply::error(400, "validation_error", code, detail)
}

fn hogql(
    project: &Project,
    query: &Value,
    text: &str,
    refresh: Option<&Value>,
    any_age: bool,
) -> Result<Reply, Reply> {
    let values = match query.get("values") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(values)) => values.clone(),
        Some(_) => {
            return Err(invalid(
                "invalid_input",
                "query.values: Input should be an object.",
            ));
        }
    };
    let forced = match refresh.map(Value::as_str) {
        None | Some(Some("blocking" | "async_except_on_cache_miss" | "force_cache")) => false,
        Some(Some("force_blocking")) => true,
        Some(other) => {
            let other = other.unwrap_or("(no text)");
            return Err(invalid(
                "invalid_input",
                &format!("the PostHog double does not refresh by '{other}'"),
            ));
        }
    };
    let now = project.now();
    let key = cache_key(text, &values);
    if let Some(computed) = project.results.get(&key)
        && (any_age || (!forced && now - computed.at < TimeDelta::hours(FRESH_HOURS)))
    {
        return Ok(Reply::json(200, &response(computed, &key, true)));
    }
    let answer = sql::evaluate(text, &values, &project.snapshot(), now)
        .map_err(|Fault { message, .. }| invalid("invalid_input", &message))?;
    let types: Vec<_> = answer
        .columns
        .iter()
        .zip(&answer.types)
        .map(|(column, kind)| json!([column, kind]))
        .collect();
    let body = json!({
        "results": answer.rows,
        "columns": answer.columns,
        "types": types,
        "hasMore": answer.has_more,
        "limit": answer.limit,
        "offset": answer.offset,
        "hogql": answer.printed,
        "query": text,
        "error": null,
        "explain": null,
        "metadata": null,
        "timings": [],
        "modifiers": {},
        "query_status": null,
        "resolved_date_range": null,
        "cache_target_age": null,
        "timezone": "UTC",
        "calculation_trigger": null,
    });
    let Value::Object(body) = body else {
        return Err(Reply::empty(500));
    };
    let computed = Computed { body, at: now };
    project.results.put(key.clone(), computed.clone());
    Ok(Reply::json(200, &response(computed, &key, false)))
}

fn cache_key(text: &str, values: &Map<String, Value>) -> String {
    let key = Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        json!([text, values]).to_string().as_bytes(),
    );
    format!("cache_{}", key.simple())
}

fn response(computed: Computed, key: &str, is_cached: bool) -> Value {
    let Computed { mut body, at } = computed;
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    body.insert("is_cached".to_owned(), is_cached.into());
    body.insert("cache_key".to_owned(), key.into());
    body.insert("last_refresh".to_owned(), at.clone().into());
    body.insert("next_allowed_client_refresh".to_owned(), at.into());
    Value::Object(body)
}

fn metadata(project: &Project, text: &str) -> Value {
    match sql::check(text, &project.snapshot(), project.now()) {
        Ok(tables) => json!({
            "query": text, "isValid": true, "errors": [], "warnings": [], "notices": [], "table_names": tables,
        }),
        Err(Fault { message, offset }) => {
            let start = offset.unwrap_or(0);
            json!({
                "query": text,
                "isValid": false,
                "errors": [{"message": message, "start": start, "end": text.len(), "fix": null}],
                "warnings": [],
                "notices": [],
                "table_names": [],
            })
        }
    }
}
