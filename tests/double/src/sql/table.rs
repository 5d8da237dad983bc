//! The tables, and how a column is read from a row.

use serde_json::Value as Json;

use super::kind::Kind;
use super::value::{Value, parse_instant};
use crate::event::{Event, PropertyKind, PropertyKinds};
use crate::person::{Person, Persons};

/// One row of a table.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    /// A query without `FROM` has one.
    Unit,
    Event(&'a Event, &'a Persons),
    Person(&'a Person),
    /// A distinct id and its person.
    Pair(&'a str, &'a Person),
    /// A cohort's number and a person in it.
    Member(i64, &'a Person),
    Derived(&'a [Value]),
}

/// What a query reads from.
#[derive(Clone, Debug)]
pub(super) enum Table {
    Unit,
    Events,
    Persons,
    DistinctIds,
    CohortPeople,
    /// A subquery, evaluated.
    Derived {
        columns: Vec<(String, Kind)>,
    },
}

/// Where a column's value is found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reader {
    EventUuid,
    EventName,
    EventProperties,
    EventProperty(Vec<String>, PropertyKind),
    EventTimestamp,
    EventDistinctId,
    EventCreatedAt,
    EventPersonId,
    PersonId,
    PersonCreatedAt,
    PersonIsIdentified,
    PersonProperties,
    PersonProperty(Vec<String>, PropertyKind),
    PairDistinctId,
    CohortId,
    Derived(usize),
}

impl Table {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "events" => Some(Self::Events),
            "persons" => Some(Self::Persons),
            "person_distinct_ids" => Some(Self::DistinctIds),
            "cohort_people" => Some(Self::CohortPeople),
            _ => None,
        }
    }

    /// The columns that `*` stands for.
    pub(super) fn columns(&self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Unit => &[],
            Self::Events => &[
                "uuid",
                "event",
                "properties",
                "timestamp",
                "distinct_id",
                "created_at",
                "person_id",
                "$session_id",
            ],
            Self::Persons => &["id", "created_at", "properties", "is_identified"],
            Self::DistinctIds => &["distinct_id", "person_id"],
            Self::CohortPeople => &["person_id", "cohort_id"],
            Self::Derived { columns } => {
                return columns.iter().map(|(name, _)| name.clone()).collect();
            }
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The reader and type behind a dotted name.
    pub(super) fn resolve(
        &self,
        path: &[&str],
        events: &PropertyKinds,
        persons: &PropertyKinds,
    ) -> Option<(Reader, Kind)> {
        match self {
            Self::Unit => None,
            Self::Events => match path {
                ["uuid"] => Some((Reader::EventUuid, Kind::Uuid)),
                ["event"] => Some((Reader::EventName, Kind::String)),
                ["properties"] => Some((Reader::EventProperties, Kind::String)),
                ["properties", rest @ ..] => {
                    let (path, kind, of) = property(rest, events);
                    Some((Reader::EventProperty(path, kind), of))
                }
                ["timestamp"] => Some((Reader::EventTimestamp, Kind::DateTime)),
                ["distinct_id"] | ["pdi", "distinct_id"] => {
                    Some((Reader::EventDistinctId, Kind::String))
                }
                ["created_at"] => Some((Reader::EventCreatedAt, Kind::DateTime)),
                ["person_id"] | ["person", "id"] | ["pdi", "person_id"] => {
                    Some((Reader::EventPersonId, Kind::Uuid))
                }
                [id @ ("$session_id" | "$window_id")] => {
                    let reader = Reader::EventProperty(vec![(*id).to_owned()], PropertyKind::Text);
                    Some((reader, Kind::String.nullable()))
                }
                ["person", rest @ ..] => {
                    person(rest, persons).map(|(reader, kind)| (reader, kind.nullable()))
                }
                _ => None,
            },
            Self::Persons => person(path, persons),
            Self::DistinctIds => match path {
                ["distinct_id"] => Some((Reader::PairDistinctId, Kind::String)),
                ["person_id"] => Some((Reader::PersonId, Kind::Uuid)),
                ["person", rest @ ..] => person(rest, persons),
                _ => None,
            },
            Self::CohortPeople => match path {
                ["person_id"] => Some((Reader::PersonId, Kind::Uuid)),
                ["cohort_id"] => Some((Reader::CohortId, Kind::Int64)),
                _ => None,
            },
            Self::Derived { columns } => {
                let [name] = path else { return None };
                let place = columns.iter().position(|(column, _)| column == name)?;
                Some((Reader::Derived(place), columns[place].1.clone()))
            }
        }
    }
}

fn person(path: &[&str], kinds: &PropertyKinds) -> Option<(Reader, Kind)> {
    match path {
        ["id"] => Some((Reader::PersonId, Kind::Uuid)),
        ["created_at"] => Some((Reader::PersonCreatedAt, Kind::DateTime)),
        ["is_identified"] => Some((Reader::PersonIsIdentified, Kind::UInt8)),
        ["properties"] => Some((Reader::PersonProperties, Kind::String)),
        ["properties", rest @ ..] => {
            let (path, kind, of) = property(rest, kinds);
            Some((Reader::PersonProperty(path, kind), of))
        }
        _ => None,
    }
}

/// Only a top-level property has a definition; what is inside one is text.
fn property(path: &[&str], kinds: &PropertyKinds) -> (Vec<String>, PropertyKind, Kind) {
    let kind = match path {
        [key] => kinds.get(key),
        _ => PropertyKind::Text,
    };
    let of = match kind {
        PropertyKind::Boolean => Kind::Bool,
        PropertyKind::Instant => Kind::DateTime,
        PropertyKind::Number => Kind::Float64,
        PropertyKind::Text => Kind::String,
    };
    (
        path.iter().map(|step| (*step).to_owned()).collect(),
        kind,
        of.nullable(),
    )
}

impl Reader {
    pub(super) fn read(&self, row: Row<'_>) -> Value {
        match (self, row) {
            (Self::EventUuid, Row::Event(event, _)) => Value::Uuid(event.uuid),
            (Self::EventName, Row::Event(event, _)) => Value::text(&event.event),
            (Self::EventProperties, Row::Event(event, _)) => written(&event.properties),
            (Self::EventProperty(path, kind), Row::Event(event, _)) => {
                inside(event.properties.get(&path[0]), path, *kind)
            }
            (Self::EventTimestamp, Row::Event(event, _)) => Value::Instant(event.timestamp),
            (Self::EventDistinctId, Row::Event(event, _)) => Value::text(&event.distinct_id),
            (Self::EventCreatedAt, Row::Event(event, _)) => Value::Instant(event.received_at),
            (Self::EventPersonId, Row::Event(event, persons)) => {
                Value::Uuid(persons.id_of(&event.distinct_id))
            }
            (Self::PairDistinctId, Row::Pair(distinct_id, _)) => Value::text(distinct_id),
            (Self::CohortId, Row::Member(cohort, _)) => Value::Int(cohort),
            (Self::Derived(place), Row::Derived(values)) => {
                values.get(*place).cloned().unwrap_or(Value::Null)
            }
            (reader, Row::Event(event, persons)) => persons
                .of(&event.distinct_id)
                .map_or(Value::Null, |person| reader.read_person(person)),
            (reader, Row::Person(person) | Row::Pair(_, person) | Row::Member(_, person)) => {
                reader.read_person(person)
            }
            (_, Row::Unit | Row::Derived(_)) => Value::Null,
        }
    }

    fn read_person(&self, person: &Person) -> Value {
        match self {
            Self::PersonId => Value::Uuid(person.id),
            Self::PersonCreatedAt => Value::Instant(person.created_at),
            Self::PersonIsIdentified => Value::truth(person.is_identified),
            Self::PersonProperties => written(&person.properties),
            Self::PersonProperty(path, kind) => {
                inside(person.properties.get(&path[0]), path, *kind)
            }
            _ => Value::Null,
        }
    }
}

fn written(properties: &serde_json::Map<String, Json>) -> Value {
    serde_json::to_string(properties).map_or(Value::Null, Value::text)
}

/// The value at the path (whose first step is taken), cast as the property's definition says.
fn inside(top: Option<&Json>, path: &[String], kind: PropertyKind) -> Value {
    let found = path[1..]
        .iter()
        .try_fold(top, |at, step| at.map(|at| at.get(step)));
    let Some(json) = found.flatten().filter(|json| !json.is_null()) else {
        return Value::Null;
    };
    match (kind, json) {
        (PropertyKind::Boolean, Json::Bool(truth)) => Value::Bool(*truth),
        (PropertyKind::Boolean, Json::String(text)) => {
            text.parse().map_or(Value::Null, Value::Bool)
        }
        (PropertyKind::Number, Json::Number(number)) => {
            number.as_f64().map_or(Value::Null, Value::Float)
        }
        (PropertyKind::Number, Json::String(text)) => {
            text.parse().map_or(Value::Null, Value::Float)
        }
        (PropertyKind::Instant, Json::String(text)) => {
            parse_instant(text).map_or(Value::Null, Value::Instant)
        }
        (PropertyKind::Boolean | PropertyKind::Number | PropertyKind::Instant, _) => Value::Null,
        (PropertyKind::Text, Json::String(text)) => Value::text(text),
        (PropertyKind::Text, other) => Value::text(other.to_string()),
    }
}
