//! Nudges: prompts that answer what a contact does, pushed to whoever listens and kept for who asks.
//!
//! A nudge has versions: a draft can be changed, a published one cannot, and what runs is pinned to one. When
//! an event of the name that a live version waits for arrives and its properties meet the conditions, the
//! rules decide; the verdict is recorded, and an offer becomes a delivery. What the contact does with it comes
//! back as interactions.
//!
//! Hears every event. Emits `nudge.offered`, `nudge.withdrawn` and `nudge.archived` of its own, and for what
//! contacts do `nudge.received`, `nudge.displayed`, `nudge.clicked`, `nudge.dismissed`, `nudge.completed` and
//! `nudge.snoozed`.
//!
//! The log is the stream: a subscription reads `nudge.offered` and `nudge.withdrawn` of its contact from the
//! log up to the place where this process's one tail stands, and hears the rest from the tail ([`Streams`]).

mod commands;
mod graphql;
mod queries;
mod reactions;
mod rules;
mod stream;

pub use commands::{
    Draft, Interaction, NewCondition, Recorded, Target, archive, publish, record_interactions, save,
};
pub use graphql::{
    DeliveriesPlan, Nudge, NudgeDelivery, NudgeListArgs, NudgeMutation as Mutation,
    NudgeQuery as Query, NudgeSubscription as Subscription, NudgeVersion, find, find_version,
    of_contact,
};
pub use queries::Reads;
pub use rules::{Action, Content, Operator, State};
pub use stream::Streams;

use entity::{nudge, nudge_delivery};
use serde_json::Value;

use crate::base::{Detail, Erase, Export, Fold, Held, Module, TimelineSource, gql, type_id};

pub const MODULE: Module = Module {
    hear: Some(|cx, events| Box::pin(reactions::hear(cx, events))),
    fold: Fold {
        tables: &[
            Held {
                table: "nudge_interaction",
                contact: "delivery_id",
                identifier: None,
                through: Some(&DELIVERIES),
                export: Export::All,
                erase: Erase::Delete,
            },
            DELIVERIES,
            Held {
                table: "nudge_decision",
                contact: "contact_id",
                identifier: Some("identifier_id"),
                through: None,
                export: Export::All,
                erase: Erase::Delete,
            },
        ],
        settle: None,
    },
    states: queries::STATES,
    timeline: &[TimelineSource {
        kind: "NUDGE",
        table: "nudge_delivery",
        contact: "contact_id",
        at: "offered_at",
        id: type_id::<nudge_delivery::Entity>,
        need: gql::NUDGES_OR_OWN,
        details: &[
            ("surface", Detail::Text("surface")),
            ("nudgeId", Detail::Id("nudge_id", type_id::<nudge::Entity>)),
        ],
        title: |details| {
            let surface = details.get("surface").and_then(Value::as_str);
            format!("Nudge offered on {}", surface.unwrap_or_default())
        },
        narrow: None,
        unless: None,
        told_as: &[OFFERED],
    }],
    ..Module::named(SOURCE)
};

const DELIVERIES: Held = Held {
    table: "nudge_delivery",
    contact: "contact_id",
    identifier: Some("identifier_id"),
    through: None,
    export: Export::All,
    erase: Erase::Delete,
};

/// The source of this room's events.
const SOURCE: &str = "nudge";

const OFFERED: &str = "nudge.offered";
const WITHDRAWN: &str = "nudge.withdrawn";
const ARCHIVED: &str = "nudge.archived";
