//! What happened, in one envelope: events are how rooms meet.

use chrono::{DateTime, Utc};
use entity::{ContactId, EventId, Id, contact_identifier, event};
use serde_json::{Map, Value};

/// How deep a chain of reactions may grow before it is cut: a loop of rooms hearing each other ends here.
pub const CAUSATION_DEPTH_MAX: i32 = 8;

/// Into how many lanes the log is divided, so that several processes can share a consumer.
pub const PARTITIONS: i32 = 16;

/// An event about to be appended. `Tx::emit` adds id, tenant and time of receipt.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Given beforehand where other rows point at it; else drawn when it is appended.
    pub id: Option<EventId>,
    pub name: String,
    pub contact_id: Option<ContactId>,
    pub identifier_id: Option<Id<contact_identifier::Entity>>,
    pub properties: Map<String, Value>,
    pub context: Map<String, Value>,
    /// Who wrote it: `api`, `capture`, or a room's name.
    pub source: &'static str,
    pub message_id: Option<String>,
    pub cause: Option<Cause>,
    pub occurred_at: DateTime<Utc>,
}

/// What message ids of the product's own events begin with. Clients may send none that do: the log would take theirs for
/// ours, and leave ours out.
pub const OWN_MESSAGE: &str = "growthos:";

impl NewEvent {
    /// An event that a room tells of a contact.
    pub fn of_room(
        source: &'static str,
        name: &str,
        contact: ContactId,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: None,
            name: name.to_owned(),
            contact_id: Some(contact),
            identifier_id: None,
            properties: Map::new(),
            context: Map::new(),
            source,
            message_id: None,
            cause: None,
            occurred_at: at,
        }
    }
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.properties.insert(key.to_owned(), value.into());
        self
    }
    /// Makes a repeated telling harmless: the log keeps the first event of this id, among the product's own.
    #[must_use]
    pub fn once(mut self, message_id: &str) -> Self {
        self.message_id = Some(format!("{OWN_MESSAGE}{message_id}"));
        self
    }
    #[must_use]
    pub fn caused_by(mut self, event: &event::Model) -> Self {
        self.cause = Some(Cause {
            event: event.id,
            depth: event.causation_depth + 1,
        });
        self.identifier_id = self.identifier_id.or(event.identifier_id);
        self
    }
}

/// The event that an event is a reaction to.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    pub event: EventId,
    pub depth: i32,
}

/// The lane of a contact's events: order is kept within a lane.
pub fn partition(contact: Option<ContactId>) -> i32 {
    contact.map_or(0, |id| i32::from(id.uuid().as_bytes()[15] & 15))
}

/// A place in the log. Rows become visible in this order, and none appears before a place already read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    pub xid: i64,
    pub seq: i64,
}

impl LogPlace {
    pub const fn of(event: &event::Model) -> Self {
        Self {
            xid: event.xid,
            seq: event.seq,
        }
    }
}
