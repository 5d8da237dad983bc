//! The contact graph: one identity over every touchpoint.
//!
//! Everything that names a person comes in through [`ingest`]. An identifier is owned by one contact of
//! its tenant; ids that are found to be one person's are joined, and the absorbed contact's id leads to the
//! root for ever. Events keep the contact id they were written with, so a contact's rows are those of its
//! [`family`].
//!
//! Emits `contact.identified` (a visitor became known), `contact.merged` (properties `absorbedContactId`,
//! `absorbedDistinctId`, `survivorDistinctId`), `contact.unmerged` (of the contact that was taken out; properties
//! `formerContactId`, `formerDistinctId`, `distinctId`, `$set` of its traits) and `identifier.blocked` (a value joined too many; properties
//! `identifierId`, `reason`). Hears nothing.

mod commands;
mod graphql;
mod proof;
mod queries;
mod rules;
mod touch;

pub use commands::{INGEST_MAX, Incoming, Ingested, Link, TraitChanges, ingest};
pub use commands::{
    merge::{
        Blocked, MERGE_MAX, Preview, Resolution, Undo, block, decide, merge, preview, resolve,
        unblock, unmerge,
    },
    policy::{PolicyChanges, rotate_proof_secret, save_policy},
};
pub use graphql::{
    AliasInput, Attribution, ContactFilter, ContactKey, ContactNeeds, ContactOrder,
    ContactOrderField, ContactPart, ContactRow, ContactRows, ContactStatus, ContactUpdateInput,
    ContactUpsertInput, EventFilter, EventsKey, Identifier, IdentifierKind, IdentifierVerification,
    IdentifyInput, Loaders, Saying, TrackBatchInput, TrackInput, members,
};
pub use proof::Proofs;
pub use queries::{
    distinct_ids, families, family, find_by, listed, merges_about, root, roots, traits,
};
pub use rules::{
    Claim, ID_CHARS_MAX, KindLimit, is_distinct_id_kind, is_illegal_id, name_in, normalize,
};
pub use touch::touch;

use crate::base::{Fold, Held, Module};

/// The source of this room's events.
const SOURCE: &str = "contact";

const MERGED: &str = "contact.merged";
const UNMERGED: &str = "contact.unmerged";

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
        ],
        settle: None,
    },
    due: Some(|env| Box::pin(commands::merge::expire(env))),
    ..Module::named(SOURCE)
};
