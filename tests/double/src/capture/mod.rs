//! Capture: what arrives, is checked, stored and answered.

mod decode;
mod v1;

use decode::{Batch, Incoming};
pub(crate) use decode::{Refusal, attempts, inflate, parse};
use serde_json::{Value, json};

use crate::event::Event;
use crate::exchange::{Exchange, Reply};
use crate::project::Project;

/// `/batch`, in bytes, compressed or not.
pub(crate) const BATCH_BYTES_MAX: usize = 20 << 20;
/// Every other v0 path.
const SINGLE_BYTES_MAX: usize = 2 << 20;

/// The cap of this path's bodies.
pub(crate) fn bytes_max(segments: &[&str]) -> usize {
    match segments {
        ["batch"] => BATCH_BYTES_MAX,
        ["i", "v1", ..] => v1::BYTES_MAX,
        _ => SINGLE_BYTES_MAX,
    }
}

/// Stores all of the request's events, or none; `drop_silently` answers the same and stores none.
pub(crate) fn answer(
    project: &Project,
    exchange: &Exchange,
    document: Result<Value, Refusal>,
    drop_silently: bool,
) -> Reply {
    if exchange.segments().starts_with(&["i", "v1"]) {
        return v1::answer(project, exchange, document, drop_silently);
    }
    let sent_at_ms = ["_", "sent_at"]
        .iter()
        .find_map(|name| exchange.parameter(name)?.parse().ok());
    let accepted = document.and_then(|document| {
        let batch = decode::batch(document, sent_at_ms, project.now())?;
        if batch.token == project.token() {
            Ok(batch)
        } else {
            Err(decode::refusal(401, "invalid API token"))
        }
    });
    let batch = match accepted {
        Ok(batch) => batch,
        Err(refusal) => return Reply::text(refusal.status, refusal.reason),
    };
    if let Some(poisonous) = batch
        .events
        .iter()
        .find(|event| project.is_poison(&event.event))
    {
        return Reply::text(
            400,
            format!("event {} cannot be processed", poisonous.event),
        );
    }
    if !drop_silently {
        store(project, batch);
    }
    if exchange.parameter("beacon").as_deref() == Some("1") {
        return Reply::empty(204);
    }
    Reply::json(200, &json!({"status": "Ok"}))
}

fn store(project: &Project, batch: Batch) {
    let received_at = project.now();
    let Batch {
        events, historical, ..
    } = batch;
    project.store(events.into_iter().map(|incoming| {
        let Incoming {
            uuid,
            event,
            distinct_id,
            properties,
            timestamp,
        } = incoming;
        move |sequence| Event {
            sequence,
            uuid: uuid.unwrap_or_else(|| project.event_uuid(sequence)),
            event,
            distinct_id,
            properties,
            timestamp,
            received_at,
            historical,
        }
    }));
}
