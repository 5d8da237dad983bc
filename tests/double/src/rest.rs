//! The private REST API, as far as a connection's probes go, and the clients' remote configuration.

use axum::http::Method;
use serde_json::{Value, json};

use crate::exchange::{Exchange, Reply};
use crate::project::Project;
use crate::record::bearer;

pub(crate) fn unauthenticated() -> Reply {
    let detail = "Incorrect authentication credentials.";
    Reply::error(401, "authentication_error", "authentication_failed", detail)
}

pub(crate) fn scope_missing(scope: &str) -> Reply {
    let detail = format!("API key missing required scope '{scope}'");
    Reply::error(403, "authentication_error", "permission_denied", &detail)
}

/// Whether the request's key is the project's and holds the scope.
pub(crate) fn authorize(project: &Project, exchange: &Exchange, scope: &str) -> Result<(), Reply> {
    let Some(key) = bearer(&exchange.headers) else {
        let detail = "Authentication credentials were not provided.";
        return Err(Reply::error(
            401,
            "authentication_error",
            "not_authenticated",
            detail,
        ));
    };
    let options = project.options();
    if key != options.personal_api_key {
        return Err(unauthenticated());
    }
    let (object, verb) = scope.split_once(':').unwrap_or((scope, "read"));
    let holds = |held: &String| {
        held == "*"
            || held == scope
            || (verb == "read" && held.strip_suffix(":write") == Some(object))
    };
    if options.scopes.iter().any(holds) {
        Ok(())
    } else {
        Err(scope_missing(scope))
    }
}

/// Whether a path's project is the double's.
pub(crate) fn is_project(project: &Project, segment: &str) -> bool {
    segment == "@current" || segment.parse() == Ok(project.options().project_id)
}

pub(crate) fn answer(project: &Project, exchange: &Exchange) -> Reply {
    if exchange.method == Method::POST
        && let [
            "api",
            "projects" | "environments",
            id,
            "persons",
            "bulk_delete",
        ] = exchange.segments().as_slice()
    {
        return delete_persons(project, exchange, id).unwrap_or_else(|refused| refused);
    }
    if exchange.method != Method::GET {
        return Reply::method_not_allowed(&exchange.method);
    }
    let segments = exchange.segments();
    match segments.as_slice() {
        ["array", token, "config"] if *token == project.token() => {
            Reply::json(200, &remote_config())
        }
        ["api", "surveys"] if exchange.parameter("token").as_deref() == Some(project.token()) => {
            Reply::json(200, &json!({"surveys": []}))
        }
        ["api", rest @ ..] => private(project, exchange, rest).unwrap_or_else(|refused| refused),
        _ => Reply::not_found(),
    }
}

fn private(project: &Project, exchange: &Exchange, path: &[&str]) -> Result<Reply, Reply> {
    match path {
        ["users", "@me"] => {
            authorize(project, exchange, "user:read")?;
            Ok(Reply::json(200, &user(project)))
        }
        ["projects"] => {
            authorize(project, exchange, "project:read")?;
            let results = [project_body(project)];
            Ok(Reply::json(
                200,
                &json!({"count": 1, "next": null, "previous": null, "results": results}),
            ))
        }
        ["projects" | "environments", id] => {
            authorize(project, exchange, "project:read")?;
            require_project(project, id)?;
            Ok(Reply::json(200, &project_body(project)))
        }
        ["projects" | "environments", id, resource] => list(project, exchange, id, resource),
        _ => Err(Reply::not_found()),
    }
}

/// Deletes the persons behind `distinct_ids`, and with `delete_events` what they did.
fn delete_persons(project: &Project, exchange: &Exchange, id: &str) -> Result<Reply, Reply> {
    authorize(project, exchange, "person:write")?;
    require_project(project, id)?;
    let body = exchange.json().unwrap_or_default();
    let ids: Vec<&str> = body["distinct_ids"]
        .as_array()
        .map(|ids| ids.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let with_events = body["delete_events"] == Value::Bool(true);
    let deleted = project.delete_persons(&ids, with_events);
    Ok(Reply::json(
        202,
        &json!({"persons_found": deleted, "persons_deleted": deleted, "events_queued_for_deletion": with_events}),
    ))
}

fn require_project(project: &Project, id: &str) -> Result<(), Reply> {
    if is_project(project, id) {
        Ok(())
    } else {
        Err(Reply::not_found())
    }
}

/// The double was given none of these, so every list is empty.
fn list(project: &Project, exchange: &Exchange, id: &str, resource: &str) -> Result<Reply, Reply> {
    let (scope, body) = match resource {
        "experiments" if !project.options().experiments => return Err(Reply::not_found()),
        "experiments" => ("experiment:read", page()),
        "surveys" => ("survey:read", page()),
        "cohorts" => ("cohort:read", page()),
        "session_recordings" => (
            "session_recording:read",
            json!({"results": [], "has_next": false, "version": 4}),
        ),
        _ => return Err(Reply::not_found()),
    };
    authorize(project, exchange, scope)?;
    require_project(project, id)?;
    Ok(Reply::json(200, &body))
}

fn page() -> Value {
    json!({"count": 0, "next": null, "previous": null, "results": []})
}

fn user(project: &Project) -> Value {
    json!({
        "id": 1,
        "uuid": "00000000-0000-4000-8000-000000000001",
        "distinct_id": "posthog-double",
        "first_name": "PostHog double",
        "email": "double@example.com",
        "team": project_body(project),
    })
}

fn project_body(project: &Project) -> Value {
    let options = project.options();
    json!({
        "id": options.project_id,
        "uuid": "00000000-0000-4000-8000-000000000002",
        "name": "PostHog double",
        "api_token": options.project_token,
        "timezone": "UTC",
        "is_demo": true,
    })
}

fn remote_config() -> Value {
    json!({
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": true,
        "surveys": false,
        "heatmaps": false,
        "sessionRecording": false,
        "capturePerformance": false,
        "autocaptureExceptions": false,
        "autocapture_opt_out": true,
        "siteApps": [],
        "analytics": {"endpoint": "/i/v0/e/"},
        "defaultIdentifiedOnly": true,
    })
}
