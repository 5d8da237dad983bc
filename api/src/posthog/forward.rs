//! Events on their way to PostHog: how one of the log is written there, and how a batch is sent.

mod send;

use chrono::SecondsFormat;
use entity::{EventId, event};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::base::{LogPlace, Result};

pub use send::{Answer, Recipient, is_right, send};

/// PostHog takes 20 MiB; a batch stays well below, whatever lies between.
pub const BATCH_BYTES_MAX: usize = 15 * 1024 * 1024;

/// PostHog's queue takes 1,000,000 bytes, the envelope included. What is taken in here is shorter by more than is added
/// on the way, so nothing is too large that was acknowledged.
pub const EVENT_BYTES_MAX: usize = 980_000;

/// The event by which the contact graph tells of a join: who wrote it, and its name. Any client may send an event of
/// that name; the source is not theirs to say.
const MERGED: (&str, &str) = ("contact", "contact.merged");

/// An event of the log as PostHog takes it: the same text each time it is made.
pub struct Outgoing {
    pub event: EventId,
    pub place: LogPlace,
    /// A JSON object of PostHog's capture format.
    pub json: String,
}

impl Outgoing {
    /// `distinct_id` is that of the contact that the event was written for. `None` where the event names nobody.
    pub fn new(event: &event::Model, distinct_id: Option<&str>) -> Result<Option<Self>> {
        let named: Vec<&str> = event
            .context
            .get("ids")
            .and_then(Value::as_array)
            .map(|ids| ids.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let Some(distinct_id) = distinct_id.or(named.first().copied()) else {
            return Ok(None);
        };
        let other = named.iter().copied().find(|id| *id != distinct_id);
        let (name, distinct_id, properties) =
            if (event.source.as_str(), event.name.as_str()) == MERGED {
                let Some((survivor, properties)) = alias(event) else {
                    return Ok(None);
                };
                ("$create_alias", survivor, properties)
            } else {
                (
                    event.name.as_str(),
                    distinct_id,
                    properties(event, distinct_id, other),
                )
            };
        let json = serde_json::to_string(&json!({
            "uuid": uuid(event),
            "event": name,
            "distinct_id": distinct_id,
            "timestamp": event.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            "properties": properties,
        }))?;
        Ok(Some(Self {
            event: event.id,
            place: LogPlace::of(event),
            json,
        }))
    }
}

/// The client's own id of the event, where it is a UUID: then a client that feeds PostHog as well is not counted twice.
fn uuid(event: &event::Model) -> Uuid {
    let given = event
        .message_id
        .as_deref()
        .and_then(|id| Uuid::try_parse(id).ok());
    given.filter(|id| !id.is_nil()).unwrap_or(event.id.uuid())
}

/// `other` is the first id that the event names besides `distinct_id`.
fn properties(event: &event::Model, distinct_id: &str, other: Option<&str>) -> Map<String, Value> {
    let mut properties = event.properties.as_object().cloned().unwrap_or_default();
    // PostHog reads a token in an event as the project's, and refuses the batch when it is not.
    properties.remove("token");
    properties.remove("$token");
    if let Some(id) = properties.get_mut("distinct_id") {
        *id = distinct_id.into();
    }
    let joined = match event.name.as_str() {
        "$identify" => Some("$anon_distinct_id"),
        "$create_alias" => Some("alias"),
        _ => None,
    };
    // Only what says that it joins does. `$identify` by an address alone names no id, and the ids that are then in the
    // context are whatever its caller wrote there.
    if let Some(key) = joined.filter(|key| properties.contains_key(*key)) {
        // PostHog folds the person behind this id into the one behind the event's.
        match other {
            Some(other) => _ = properties.insert(key.to_owned(), other.into()),
            None => _ = properties.remove(key),
        }
    }
    if let Some(ip) = event.context.get("ip").filter(|ip| ip.is_string()) {
        properties.entry("$ip").or_insert_with(|| ip.clone());
    }
    described(properties)
}

/// Names the sender. An event without an address would be placed where this process runs.
fn described(mut properties: Map<String, Value>) -> Map<String, Value> {
    properties
        .entry("$lib")
        .or_insert_with(|| "growthos".into());
    if !properties.contains_key("$ip") {
        properties
            .entry("$geoip_disable")
            .or_insert(Value::Bool(true));
    }
    properties
}

/// A merge of ours as PostHog's: who survives, and the event's properties.
fn alias(event: &event::Model) -> Option<(&str, Map<String, Value>)> {
    let id = |key: &str| event.properties.get(key).and_then(Value::as_str);
    let (survivor, absorbed) = (id("survivorDistinctId")?, id("absorbedDistinctId")?);
    let properties = Map::from_iter([("alias".to_owned(), absorbed.into())]);
    Some((survivor, described(properties)))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use entity::Id;

    use super::*;

    fn event(name: &str, properties: Value, context: Value) -> event::Model {
        event::Model {
            id: Id::from_uuid(Uuid::from_u128(7)),
            tenant_id: Id::from_uuid(Uuid::from_u128(1)),
            seq: 3,
            xid: 2,
            partition: 0,
            contact_id: None,
            identifier_id: None,
            name: name.to_owned(),
            properties,
            context,
            source: "capture".to_owned(),
            message_id: None,
            caused_by: None,
            causation_depth: 0,
            occurred_at: DateTime::from_timestamp_micros(1_767_258_000_123_456).unwrap(),
            received_at: DateTime::UNIX_EPOCH,
        }
    }

    fn sent(event: &event::Model, distinct_id: Option<&str>) -> Option<Value> {
        let outgoing = Outgoing::new(event, distinct_id).unwrap()?;
        Some(serde_json::from_str(&outgoing.json).unwrap())
    }

    #[test]
    fn an_event_keeps_its_name_time_and_properties_under_the_contacts_one_id() {
        let properties = json!({
            "plan": "pro", "$set": {"email": "a@b.co"}, "$set_once": {"src": "ad"}, "$unset": ["old"],
            "$groups": {"company": "acme"}, "$process_person_profile": false,
            "distinct_id": "anon", "token": "gos_pk_x", "$lib": "web", "$geoip_disable": false,
        });
        let mut signup = event(
            "signup",
            properties,
            json!({"ids": ["anon"], "ip": "203.0.113.9"}),
        );
        signup.message_id = Some("01A203B8-015F-7B39-B2B3-7FBA5AC47A00".to_owned());
        assert_eq!(
            sent(&signup, Some("ann")).unwrap(),
            json!({
                "uuid": "01a203b8-015f-7b39-b2b3-7fba5ac47a00",
                "event": "signup",
                "distinct_id": "ann",
                "timestamp": "2026-01-01T09:00:00.123456Z",
                "properties": {
                    "plan": "pro", "$set": {"email": "a@b.co"}, "$set_once": {"src": "ad"}, "$unset": ["old"],
                    "$groups": {"company": "acme"}, "$process_person_profile": false,
                    "distinct_id": "ann", "$lib": "web", "$geoip_disable": false, "$ip": "203.0.113.9",
                },
            })
        );
    }

    #[test]
    fn an_event_of_our_own_is_named_ours_and_placed_nowhere() {
        let offered = event("nudge.offered", json!({}), json!({}));
        let sent = sent(&offered, Some("ann")).unwrap();
        assert_eq!(sent["uuid"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(
            sent["properties"],
            json!({"$lib": "growthos", "$geoip_disable": true})
        );
    }

    #[test]
    fn what_names_no_contact_goes_under_its_first_id_or_not_at_all() {
        let page = event("$pageview", json!({}), json!({"ids": ["anon", "other"]}));
        assert_eq!(sent(&page, None).unwrap()["distinct_id"], "anon");
        assert_eq!(sent(&event("$pageview", json!({}), json!({})), None), None);
    }

    #[test]
    fn an_identify_names_the_other_id_and_only_then() {
        let stale = json!({"$anon_distinct_id": "stale"});
        for (ids, other) in [
            (json!(["ann", "anon"]), json!("ann")),
            (json!(["anon", "ann"]), json!("ann")),
            (json!(["anon"]), Value::Null),
            (json!([]), Value::Null),
        ] {
            let identify = event("$identify", stale.clone(), json!({"ids": ids}));
            let sent = sent(&identify, Some("anon")).unwrap();
            assert_eq!(sent["properties"]["$anon_distinct_id"], other, "{ids}");
        }
        let alone = event("$identify", json!({}), json!({"ids": ["victim"]}));
        let sent = sent(&alone, Some("anon")).unwrap();
        assert_eq!(sent["properties"]["$anon_distinct_id"], Value::Null);
    }

    #[test]
    fn a_merge_is_an_alias_of_the_survivor() {
        let mut merged = event(
            "contact.merged",
            json!({"absorbedContactId": "contact_x", "absorbedDistinctId": "anon", "survivorDistinctId": "ann"}),
            json!({}),
        );
        merged.source = "contact".to_owned();
        let alias = sent(&merged, Some("ann")).unwrap();
        assert_eq!(alias["event"], "$create_alias");
        assert_eq!(alias["distinct_id"], "ann");
        assert_eq!(
            alias["properties"],
            json!({"alias": "anon", "$lib": "growthos", "$geoip_disable": true})
        );

        // A client's own event of that name says nothing of the graph.
        for source in ["api", "capture"] {
            merged.source = source.to_owned();
            let plain = sent(&merged, Some("mallory")).unwrap();
            assert_eq!(plain["event"], "contact.merged");
            assert_eq!(plain["distinct_id"], "mallory");
            assert_eq!(plain["properties"]["absorbedDistinctId"], "anon");
        }
    }
}
