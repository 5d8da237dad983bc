//! What capture accepted, and the rows that queries see of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// One accepted event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Counts accepted events from 1, copies of one event included.
    pub sequence: u64,
    pub uuid: Uuid,
    pub event: String,
    pub distinct_id: String,
    /// `$set`, `$set_once` and `$unset` included, wherever the client wrote them.
    pub properties: Map<String, Value>,
    /// The client's instant, corrected by the skew between its `sent_at` and the double's clock.
    pub timestamp: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    /// Sent with `historical_migration`.
    pub historical: bool,
}

/// What `PostHog` takes a property for: it learns this from the first value that it sees and casts by it in every query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyKind {
    Boolean,
    Instant,
    Number,
    Text,
}

impl PropertyKind {
    /// Nothing for null, and for the containers, which stay text without a definition.
    pub(crate) fn of(key: &str, value: &Value) -> Option<Self> {
        let always_text = [
            "utm_",
            "$feature/",
            "$feature_flag_response",
            "$survey_response",
        ];
        if always_text.iter().any(|prefix| key.starts_with(prefix)) {
            return Some(Self::Text);
        }
        match value {
            Value::Bool(_) => Some(Self::Boolean),
            Value::Number(_) => Some(Self::Number),
            Value::String(text) if is_instant(text) => Some(Self::Instant),
            Value::String(_) => Some(Self::Text),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

fn is_instant(text: &str) -> bool {
    text.len() >= 10
        && (DateTime::parse_from_rfc3339(text).is_ok()
            || NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok())
}

/// The kinds of one sort of properties (events' or persons').
#[derive(Clone, Debug, Default)]
pub(crate) struct PropertyKinds(HashMap<String, PropertyKind>);

impl PropertyKinds {
    pub(crate) fn learn(&mut self, properties: &Map<String, Value>) {
        for (key, value) in properties {
            if !self.0.contains_key(key)
                && let Some(kind) = PropertyKind::of(key, value)
            {
                self.0.insert(key.clone(), kind);
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> PropertyKind {
        self.0.get(key).copied().unwrap_or(PropertyKind::Text)
    }
}

/// What `ClickHouse`'s `ReplacingMergeTree` takes for one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    day: NaiveDate,
    uuid: Uuid,
    event: String,
    distinct_id: String,
}

impl Identity {
    fn of(event: &Event) -> Self {
        Self {
            day: event.timestamp.date_naive(),
            uuid: event.uuid,
            event: event.event.clone(),
            distinct_id: event.distinct_id.clone(),
        }
    }
}

/// Every accepted event, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    received: Vec<Arc<Event>>,
    rows: Arc<Vec<Arc<Event>>>,
    places: HashMap<Identity, usize>,
    kinds: Arc<PropertyKinds>,
}

impl EventLog {
    pub(crate) fn push(&mut self, event: Event) {
        Arc::make_mut(&mut self.kinds).learn(&event.properties);
        let identity = Identity::of(&event);
        let event = Arc::new(event);
        self.received.push(event.clone());
        let rows = Arc::make_mut(&mut self.rows);
        let place = *self.places.entry(identity).or_insert(rows.len());
        if place == rows.len() {
            rows.push(event);
        } else {
            rows[place] = event;
        }
    }

    /// Deletes the rows of these distinct ids; what was received stays in the record.
    pub(crate) fn forget(&mut self, distinct_ids: &HashSet<&str>) {
        let left = |event: &&Arc<Event>| !distinct_ids.contains(event.distinct_id.as_str());
        let rows: Vec<Arc<Event>> = self.rows.iter().filter(left).cloned().collect();
        self.places = rows
            .iter()
            .enumerate()
            .map(|(place, event)| (Identity::of(event), place))
            .collect();
        self.rows = Arc::new(rows);
    }

    /// The number that the next event gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.received.len() as u64 + 1
    }

    pub(crate) fn received(&self) -> Vec<Arc<Event>> {
        self.received.clone()
    }

    /// One row an identity, the last copy of each.
    pub(crate) fn rows(&self) -> Arc<Vec<Arc<Event>>> {
        self.rows.clone()
    }

    pub(crate) fn kinds(&self) -> Arc<PropertyKinds> {
        self.kinds.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uuid: u128, name: &str, day: u32, amount: i64) -> Event {
        Event {
            sequence: 0,
            uuid: Uuid::from_u128(uuid),
            event: name.to_owned(),
            distinct_id: "ann".to_owned(),
            properties: Map::from_iter([("amount".to_owned(), amount.into())]),
            timestamp: NaiveDate::from_ymd_opt(2026, 11, day)
                .unwrap()
                .and_hms_opt(1, 2, 3)
                .unwrap()
                .and_utc(),
            received_at: DateTime::UNIX_EPOCH,
            historical: false,
        }
    }

    #[test]
    fn a_copy_replaces_its_row_only_when_uuid_event_id_and_day_are_the_same() {
        let mut log = EventLog::default();
        for event in [
            event(1, "a", 1, 10),
            event(1, "a", 1, 11),
            event(1, "b", 1, 12),
            event(1, "a", 2, 13),
        ] {
            log.push(event);
        }
        let amounts: Vec<_> = log
            .rows()
            .iter()
            .map(|row| row.properties["amount"].clone())
            .collect();
        assert_eq!(amounts, [11, 12, 13]);
        assert_eq!(log.received().len(), 4);
        assert_eq!(log.next_sequence(), 5);
    }

    #[test]
    fn the_first_value_decides_what_a_property_is_taken_for() {
        let mut kinds = PropertyKinds::default();
        let properties = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        kinds.learn(&properties(
            r#"{"amount": 1, "ok": true, "at": "2026-11-22", "plan": "pro", "utm_id": 7, "late": null}"#,
        ));
        kinds.learn(&properties(r#"{"amount": "many", "late": 5}"#));
        let of = |key| kinds.get(key);
        assert_eq!(of("amount"), PropertyKind::Number);
        assert_eq!(of("ok"), PropertyKind::Boolean);
        assert_eq!(of("at"), PropertyKind::Instant);
        assert_eq!(of("plan"), PropertyKind::Text);
        assert_eq!(of("utm_id"), PropertyKind::Text);
        assert_eq!(of("late"), PropertyKind::Number);
        assert_eq!(of("never seen"), PropertyKind::Text);
    }
}
