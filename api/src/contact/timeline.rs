//! What contacts' timelines show of the graph itself.

use entity::{consent, contact, event, merge_record, touchpoint, trait_observation};
use sea_orm::{ColumnTrait as _, Condition, sea_query::ExprTrait as _};
use serde_json::{Map, Value};

use super::{MERGED, UNMERGED, consent as consents, traits::readable};
use crate::base::{Detail, Seeing, TimelineSource, gql, type_id};

pub(super) const SOURCES: &[TimelineSource] = &[
    TimelineSource {
        kind: "EVENT",
        table: "event",
        contact: "contact_id",
        at: "occurred_at",
        id: type_id::<event::Entity>,
        need: gql::EVENTS_OR_OWN,
        details: &[
            ("name", Detail::Text("name")),
            ("source", Detail::Text("source")),
            ("properties", Detail::Json("properties")),
        ],
        title: |details| text(details, "name").to_owned(),
        narrow: Some(not_shown_otherwise),
        unless: None,
        told_as: &[],
    },
    merges("survivor_id", None),
    merges("other_id", Some("survivor_id")),
    TimelineSource {
        kind: "CONSENT",
        table: "consent",
        contact: "contact_id",
        at: "at",
        id: type_id::<consent::Entity>,
        need: gql::CONTACT_OR_OWN,
        details: &[
            ("topic", Detail::Text("topic")),
            ("channel", Detail::Text("channel")),
            ("state", Detail::Text("state")),
            ("basis", Detail::Text("basis")),
        ],
        title: |details| {
            let [topic, channel, state] =
                ["topic", "channel", "state"].map(|key| text(details, key));
            format!("{topic} by {channel}: {state}")
        },
        narrow: None,
        unless: None,
        told_as: &[consents::CHANGED],
    },
    TimelineSource {
        kind: "TRAIT",
        table: "trait_observation",
        contact: "contact_id",
        at: "observed_at",
        id: type_id::<trait_observation::Entity>,
        need: gql::CONTACT_OR_OWN,
        details: &[
            ("key", Detail::Text("key")),
            ("value", Detail::Json("value")),
            ("source", Detail::Text("source")),
        ],
        title: |details| {
            let done = match details.get("value") {
                None | Some(Value::Null) => "unset",
                Some(_) => "set",
            };
            format!("{} {done}", text(details, "key"))
        },
        narrow: Some(|seeing| readable(seeing.scope, seeing.actor, trait_observation::Column::Key)),
        unless: None,
        told_as: &[],
    },
    TimelineSource {
        kind: "TOUCH",
        table: "touchpoint",
        contact: "contact_id",
        at: "occurred_at",
        id: type_id::<touchpoint::Entity>,
        need: gql::CONTACT_OR_OWN,
        details: &[
            ("touch", Detail::Json("touch")),
            ("eventId", Detail::Id("event_id", type_id::<event::Entity>)),
        ],
        title: |details| {
            let touch = details.get("touch").and_then(Value::as_object);
            let said = [
                "campaign",
                "source",
                "referringDomain",
                "referralCode",
                "qr",
            ];
            let said =
                touch.and_then(|touch| said.iter().find_map(|key| touch.get(*key)?.as_str()));
            format!("Came by {}", said.unwrap_or("an ad"))
        },
        narrow: None,
        unless: None,
        told_as: &[],
    },
];

const fn merges(contact: &'static str, unless: Option<&'static str>) -> TimelineSource {
    TimelineSource {
        kind: "MERGE",
        table: "merge_record",
        contact,
        at: "created_at",
        id: type_id::<merge_record::Entity>,
        need: gql::CONTACT_OR_OWN,
        details: &[
            ("kind", Detail::Text("kind")),
            ("mode", Detail::Text("mode")),
            ("reason", Detail::Text("reason")),
            (
                "contactId",
                Detail::Id("survivor_id", type_id::<contact::Entity>),
            ),
            (
                "otherContactId",
                Detail::Id("other_id", type_id::<contact::Entity>),
            ),
        ],
        title: |details| {
            let split = text(details, "kind") == "split";
            if split { "Split" } else { "Merged" }.to_owned()
        },
        narrow: None,
        unless,
        told_as: &[MERGED, UNMERGED],
    }
}

/// Events by which a room tells of a row that is shown itself are left out.
fn not_shown_otherwise(seeing: &Seeing<'_>) -> Condition {
    use event::Column;
    let told = |module: &&'static crate::base::Module| {
        let names: Vec<&str> = module
            .timeline
            .iter()
            .flat_map(|source| source.told_as)
            .copied()
            .collect();
        (!names.is_empty()).then(|| {
            let told = Column::Source
                .eq(module.name)
                .and(Column::Name.is_in(names));
            told.not()
        })
    };
    seeing
        .modules
        .iter()
        .filter_map(told)
        .fold(Condition::all(), Condition::add)
}

fn text<'a>(details: &'a Map<String, Value>, key: &str) -> &'a str {
    details.get(key).and_then(Value::as_str).unwrap_or_default()
}
