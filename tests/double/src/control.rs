//! `/_double/…`: what a process that links nothing uses to look into the double and to break it.

use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::exchange::{Exchange, Reply};
use crate::failure::{Endpoint, Failure};
use crate::project::Project;

#[derive(Deserialize)]
struct Order {
    endpoint: Endpoint,
    #[serde(flatten)]
    failure: Failure,
}

#[derive(Deserialize)]
struct Poison {
    event: String,
}

pub(crate) fn answer(project: &Project, exchange: &Exchange, path: &[&str]) -> Reply {
    match (exchange.method.clone(), path) {
        (Method::POST, ["fail"]) => match serde_json::from_slice::<Order>(&exchange.body) {
            Ok(order) => {
                project.arm(order.endpoint, order.failure);
                done()
            }
            Err(error) => Reply::json(400, &json!({"error": format!("no such failure: {error}")})),
        },
        (Method::POST, ["heal"]) => {
            project.heal();
            done()
        }
        (Method::POST, ["poison"]) => match serde_json::from_slice::<Poison>(&exchange.body) {
            Ok(poison) => {
                project.poison(poison.event);
                done()
            }
            Err(error) => Reply::json(400, &json!({"error": format!("no such poison: {error}")})),
        },
        (Method::PUT, ["flags"]) => match exchange.json() {
            Some(body @ Value::Object(_)) => {
                project.set_flags(body);
                done()
            }
            _ => Reply::json(400, &json!({"error": "flags are not a JSON object"})),
        },
        (Method::PUT, ["cohorts", cohort]) => {
            match (cohort.parse(), serde_json::from_slice(&exchange.body)) {
                (Ok(cohort), Ok(ids)) => {
                    project.set_cohort(cohort, ids);
                    done()
                }
                _ => Reply::json(
                    400,
                    &json!({"error": "a cohort is a number and a list of distinct ids"}),
                ),
            }
        }
        (Method::GET, ["events"]) => events(project, exchange),
        (Method::GET, ["persons"]) => list(&project.persons()),
        (Method::GET, ["warnings"]) => list(&project.warnings()),
        (Method::GET, ["requests"]) => list(&project.requests()),
        _ => Reply::not_found(),
    }
}

fn done() -> Reply {
    Reply::json(200, &json!({"ok": true}))
}

fn list(values: &impl serde::Serialize) -> Reply {
    serde_json::to_vec(values).map_or_else(|_| Reply::empty(500), Reply::json_bytes)
}

/// In the order of arrival; `event` and `distinct_id` filter, `after` (a sequence) and `limit` page.
fn events(project: &Project, exchange: &Exchange) -> Reply {
    let name = exchange.parameter("event");
    let distinct_id = exchange.parameter("distinct_id");
    let number = |name: &str| {
        exchange
            .parameter(name)
            .and_then(|text| text.parse::<usize>().ok())
    };
    let (after, limit) = (
        number("after").unwrap_or(0),
        number("limit").unwrap_or(usize::MAX),
    );
    let events = project.events();
    let wanted = events
        .iter()
        .skip(after)
        .filter(|event| name.as_ref().is_none_or(|name| event.event == *name))
        .filter(|event| {
            distinct_id
                .as_ref()
                .is_none_or(|id| event.distinct_id == *id)
        })
        .take(limit);
    list(&wanted.map(AsRef::as_ref).collect::<Vec<&crate::Event>>())
}
