//! Persons: profiles, their distinct ids, merges and the merges that `PostHog` refuses.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::event::{Event, PropertyKinds};

/// One person profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Person {
    /// What `HogQL` calls `person_id` and `persons.id`.
    pub id: Uuid,
    /// In the order in which they were learned.
    pub distinct_ids: Vec<String>,
    pub properties: Map<String, Value>,
    pub created_at: DateTime<Utc>,
    /// Was the survivor of a merge by `$identify` or `$create_alias`: folded into nobody any more.
    pub is_identified: bool,
}

/// A merge that was asked for and refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    pub kind: WarningKind,
    /// The id that was to survive.
    pub distinct_id: String,
    /// The id that was to be folded in.
    pub other: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    CannotMergeAlreadyIdentified,
    CannotMergeWithIllegalDistinctId,
}

/// Ids that stand for "nobody in particular" in some client; folding them would join strangers.
const ILLEGAL_IDS: [&str; 21] = [
    "anonymous",
    "guest",
    "distinctid",
    "distinct_id",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
    "null",
    "nan",
    "none",
    "0",
    "00000000-0000-0000-0000-000000000000",
    "[object object]",
    "anonymous-user",
    "backend",
    "system",
    "user",
    "",
];

fn is_illegal(distinct_id: &str) -> bool {
    let bare = distinct_id
        .trim()
        .trim_matches(['"', '\''])
        .trim()
        .to_lowercase();
    ILLEGAL_IDS.contains(&bare.as_str())
}

/// The id of the person that an event of this distinct id belongs to as long as there is no profile, and of the
/// profile that is made for it: `PostHog` derives it from the distinct id, so both agree.
fn derived_id(distinct_id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, distinct_id.as_bytes())
}

/// Every profile of the project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Persons {
    /// By the order of their making.
    people: BTreeMap<u64, Person>,
    owners: HashMap<String, u64>,
    warnings: Vec<Warning>,
    kinds: PropertyKinds,
    made: u64,
}

impl Persons {
    /// What the event does to the profiles.
    pub(crate) fn apply(&mut self, event: &Event) {
        let id = event.distinct_id.as_str();
        let properties = &event.properties;
        let personless = properties.get("$process_person_profile") == Some(&Value::Bool(false));
        if personless && !self.owners.contains_key(id) {
            return;
        }
        let text = |key: &str| properties.get(key).and_then(Value::as_str);
        match event.event.as_str() {
            "$identify" => {
                if let Some(other) = text("$anon_distinct_id") {
                    self.merge(id, other, false, event.timestamp);
                }
            }
            "$create_alias" | "$merge_dangerously" => {
                if let Some(other) = text("alias") {
                    self.merge(
                        id,
                        other,
                        event.event == "$merge_dangerously",
                        event.timestamp,
                    );
                }
            }
            _ => {}
        }
        self.update(id, event);
    }

    fn update(&mut self, id: &str, event: &Event) {
        let number = self.owner(id, event.timestamp);
        let Some(person) = self.people.get_mut(&number) else {
            return;
        };
        let object = |key: &str| event.properties.get(key).and_then(Value::as_object);
        for (key, value) in object("$set_once").into_iter().flatten() {
            person
                .properties
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
        for (key, value) in object("$set").into_iter().flatten() {
            person.properties.insert(key.clone(), value.clone());
        }
        let unset = event.properties.get("$unset").and_then(Value::as_array);
        for key in unset.into_iter().flatten().filter_map(Value::as_str) {
            person.properties.remove(key);
        }
        self.kinds.learn(&person.properties);
    }

    /// The person behind the id, made now if there is none.
    fn owner(&mut self, id: &str, at: DateTime<Utc>) -> u64 {
        if let Some(number) = self.owners.get(id) {
            return *number;
        }
        self.made += 1;
        let person = Person {
            id: derived_id(id),
            distinct_ids: vec![id.to_owned()],
            properties: Map::new(),
            created_at: at,
            is_identified: false,
        };
        self.people.insert(self.made, person);
        self.owners.insert(id.to_owned(), self.made);
        self.made
    }

    /// Folds `other` into `into`, whose property values win.
    fn merge(&mut self, into: &str, other: &str, dangerously: bool, at: DateTime<Utc>) {
        if into == other {
            return;
        }
        if is_illegal(into) || is_illegal(other) {
            self.warn(WarningKind::CannotMergeWithIllegalDistinctId, into, other);
            return;
        }
        let survivor = match (
            self.owners.get(into).copied(),
            self.owners.get(other).copied(),
        ) {
            (Some(survivor), Some(folded)) if survivor != folded => {
                let identified = self
                    .people
                    .get(&folded)
                    .is_some_and(|person| person.is_identified);
                if identified && !dangerously {
                    self.warn(WarningKind::CannotMergeAlreadyIdentified, into, other);
                    return;
                }
                self.fold(survivor, folded);
                survivor
            }
            (Some(survivor), None) => {
                self.add(survivor, other);
                survivor
            }
            (None, Some(survivor)) => {
                self.add(survivor, into);
                survivor
            }
            (Some(survivor), Some(_)) => survivor,
            (None, None) => {
                let survivor = self.owner(into, at);
                self.add(survivor, other);
                survivor
            }
        };
        if let Some(person) = self.people.get_mut(&survivor) {
            person.is_identified = true;
        }
    }

    fn add(&mut self, number: u64, id: &str) {
        if let Some(person) = self.people.get_mut(&number) {
            person.distinct_ids.push(id.to_owned());
            self.owners.insert(id.to_owned(), number);
        }
    }

    fn fold(&mut self, survivor: u64, folded: u64) {
        let Some(folded) = self.people.remove(&folded) else {
            return;
        };
        let Some(person) = self.people.get_mut(&survivor) else {
            return;
        };
        for (key, value) in folded.properties {
            person.properties.entry(key).or_insert(value);
        }
        person.created_at = person.created_at.min(folded.created_at);
        for id in folded.distinct_ids {
            self.owners.insert(id.clone(), survivor);
            person.distinct_ids.push(id);
        }
    }

    /// Deletes the profiles behind the ids; gives all ids that they had.
    pub(crate) fn delete(&mut self, ids: &[&str]) -> Vec<Vec<String>> {
        let numbers: BTreeSet<u64> = ids
            .iter()
            .filter_map(|id| self.owners.get(*id).copied())
            .collect();
        let gone = numbers
            .iter()
            .filter_map(|number| Some(self.people.remove(number)?.distinct_ids));
        let gone: Vec<Vec<String>> = gone.collect();
        self.owners.retain(|_, number| !numbers.contains(number));
        gone
    }

    fn warn(&mut self, kind: WarningKind, distinct_id: &str, other: &str) {
        self.warnings.push(Warning {
            kind,
            distinct_id: distinct_id.to_owned(),
            other: other.to_owned(),
        });
    }

    /// The profile behind a distinct id.
    pub(crate) fn of(&self, distinct_id: &str) -> Option<&Person> {
        self.people.get(self.owners.get(distinct_id)?)
    }

    /// The `person_id` of an event, by today's merges.
    pub(crate) fn id_of(&self, distinct_id: &str) -> Uuid {
        self.of(distinct_id)
            .map_or_else(|| derived_id(distinct_id), |person| person.id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Person> {
        self.people.values()
    }

    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(crate) fn kinds(&self) -> &PropertyKinds {
        &self.kinds
    }

    /// The same property kinds and nobody in it.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            kinds: self.kinds.clone(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, distinct_id: &str, properties: Value) -> Event {
        let Value::Object(properties) = properties else {
            panic!("properties are an object")
        };
        Event {
            sequence: 1,
            uuid: Uuid::nil(),
            event: name.to_owned(),
            distinct_id: distinct_id.to_owned(),
            properties,
            timestamp: DateTime::UNIX_EPOCH,
            received_at: DateTime::UNIX_EPOCH,
            historical: false,
        }
    }

    fn after(events: &[Event]) -> Persons {
        let mut persons = Persons::default();
        for event in events {
            persons.apply(event);
        }
        persons
    }

    #[test]
    fn identify_folds_the_anonymous_person_and_the_identified_values_win() {
        let persons = after(&[
            event(
                "$pageview",
                "anon",
                json!({"$set": {"plan": "free", "src": "ad"}}),
            ),
            event("signup", "ann", json!({"$set": {"plan": "pro"}})),
            event(
                "$identify",
                "ann",
                json!({"$anon_distinct_id": "anon", "$set": {"name": "Ann"}}),
            ),
        ]);
        let all: Vec<_> = persons.all().collect();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].id, derived_id("ann"));
        assert_eq!(all[0].distinct_ids, ["ann", "anon"]);
        assert_eq!(
            Value::from(all[0].properties.clone()),
            json!({"plan": "pro", "src": "ad", "name": "Ann"})
        );
        assert!(all[0].is_identified);
        assert_eq!(persons.id_of("anon"), derived_id("ann"));
    }

    #[test]
    fn an_identified_person_is_not_folded_into_another() {
        let persons = after(&[
            event("$identify", "ann", json!({"$anon_distinct_id": "anon"})),
            event("$identify", "bob", json!({"$anon_distinct_id": "other"})),
            event("$identify", "bob", json!({"$anon_distinct_id": "ann"})),
            event("$create_alias", "bob", json!({"alias": "anon"})),
        ]);
        assert_eq!(persons.all().count(), 2);
        let refused = |other: &str| Warning {
            kind: WarningKind::CannotMergeAlreadyIdentified,
            distinct_id: "bob".to_owned(),
            other: other.to_owned(),
        };
        assert_eq!(persons.warnings(), [refused("ann"), refused("anon")]);
    }

    #[test]
    fn merge_dangerously_folds_even_an_identified_person() {
        let persons = after(&[
            event("$identify", "ann", json!({"$anon_distinct_id": "anon"})),
            event("signup", "bob", json!({})),
            event("$merge_dangerously", "bob", json!({"alias": "ann"})),
        ]);
        assert_eq!(
            persons.of("anon").unwrap().distinct_ids,
            ["bob", "ann", "anon"]
        );
    }

    #[test]
    fn illegal_ids_are_never_merged() {
        for illegal in [
            "Anonymous",
            "null",
            "",
            "  ",
            "'undefined'",
            "[object Object]",
            "0",
        ] {
            let persons = after(&[event(
                "$identify",
                "ann",
                json!({"$anon_distinct_id": illegal}),
            )]);
            assert_eq!(
                persons.of("ann").unwrap().distinct_ids,
                ["ann"],
                "{illegal:?}"
            );
            assert_eq!(
                persons.warnings()[0].kind,
                WarningKind::CannotMergeWithIllegalDistinctId
            );
        }
    }

    #[test]
    fn set_once_writes_only_what_is_absent_and_unset_removes() {
        let persons = after(&[
            event(
                "a",
                "ann",
                json!({"$set": {"x": 1}, "$set_once": {"x": 2, "y": 3}}),
            ),
            event(
                "b",
                "ann",
                json!({"$set_once": {"y": 4, "z": 5}, "$unset": ["x"]}),
            ),
        ]);
        assert_eq!(
            Value::from(persons.of("ann").unwrap().properties.clone()),
            json!({"y": 3, "z": 5})
        );
    }

    #[test]
    fn a_personless_event_makes_no_profile_and_sets_nothing_unless_there_is_one() {
        let personless = json!({"$process_person_profile": false, "$set": {"x": 1}});
        assert_eq!(
            after(&[event("a", "ann", personless.clone())])
                .all()
                .count(),
            0
        );
        let persons = after(&[event("a", "ann", json!({})), event("a", "ann", personless)]);
        assert_eq!(
            Value::from(persons.of("ann").unwrap().properties.clone()),
            json!({"x": 1})
        );
    }
}
