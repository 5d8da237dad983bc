//! The contact graph: one identity over every touchpoint.
//!
//! Everything that names a person comes in through [`ingest`]. An identifier is owned by one contact of
//! its tenant; ids that are found to be one person's are joined, and the absorbed contact's id leads to the
//! root for ever. Events keep the contact id they were written with, so a contact's rows are those of its
//! [`family`].
//!
//! Emits `contact.identified` (a visitor became known) and `contact.merged` (properties
//! `absorbedContactId`, `absorbedDistinctId`, `survivorDistinctId`).
//!
//! What is known of a contact beyond that has folders of its own, each with its story: `consent`, `traits`, `relationship` and
//! `account`, which hears events that carry `$groups`.

mod account;
mod commands;
mod consent;
mod graphql;
mod lists;
mod queries;
mod relationship;
mod rules;
mod timeline;
mod touch;
mod traits;
mod whom;

pub use account::{
    AccountFilter, AccountKey, AccountUpsertInput, members as account_members,
    of_contact as accounts, of_key as account_of_key, upsert as account_upsert,
};
pub use commands::{INGEST_MAX, Incoming, Ingested, Link, TraitChanges, ingest};
pub use consent::{
    Consent, ConsentFilter, ConsentMutation, history as consent_history, of_contact as consents,
};
pub use graphql::{
    AliasInput, Attribution, ContactFilter, ContactKey, ContactNeeds, ContactOrder,
    ContactOrderField, ContactPart, ContactRow, ContactRows, ContactStatus, ContactUpdateInput,
    ContactUpsertInput, EventFilter, EventsKey, Identifier, IdentifyInput, Loaders, Saying, Touch,
    TouchpointFilter, TrackBatchInput, TrackInput, members, touchpoints,
};
pub use queries::{distinct_ids, families, family, find_by, listed, root, roots, traits};
pub use relationship::{
    RelatedArgs, RelationshipDirection, RelationshipEndInput, RelationshipFilter, RelationshipKind,
    RelationshipSetInput, end as relationship_end, of_contact as relationships, related,
    set as relationship_set,
};
pub use rules::{Claim, ID_CHARS_MAX, is_distinct_id_kind, is_illegal_id, name_in, normalize};
pub use touch::touch;
pub use traits::{
    Definition, Definitions, Refused, TraitDefinition, TraitMutation, TraitObservation, TraitQuery,
    admit, conform, definitions, history as trait_history, rank,
};
pub use whom::hold;

use crate::base::{Fold, Held, Module};

pub const MODULE: Module = Module {
    fold: Fold {
        tables: &[
            Held {
                table: "event",
                contact: "contact_id",
                identifier: Some("identifier_id"),
            },
            Held {
                table: "trait_observation",
                contact: "contact_id",
                identifier: Some("identifier_id"),
            },
            Held {
                table: "touchpoint",
                contact: "contact_id",
                identifier: Some("identifier_id"),
            },
            Held {
                table: "consent",
                contact: "contact_id",
                identifier: Some("identifier_id"),
            },
            Held {
                table: "relationship",
                contact: "contact_a_id",
                identifier: Some("identifier_a_id"),
            },
            Held {
                table: "relationship",
                contact: "contact_b_id",
                identifier: Some("identifier_b_id"),
            },
            Held {
                table: "account_membership",
                contact: "contact_id",
                identifier: Some("identifier_id"),
            },
        ],
        settle: Some(consent::settle),
    },
    hear: Some(account::hear),
    due: Some(traits::due),
    timeline: timeline::SOURCES,
    ..Module::named("contact")
};
