//! The contact graph: one identity over every touchpoint.
//!
//! Everything that names a person comes in through [`ingest`]. An identifier is owned by one contact of
//! its tenant; ids that are found to be one person's are joined, and the absorbed contact's id leads to the
//! root for ever. Events keep the contact id they were written with, so a contact's rows are those of its
//! [`family`].
//!
//! Emits `contact.identified` (a visitor became known) and `contact.merged` (properties
//! `absorbedContactId`, `absorbedDistinctId`, `survivorDistinctId`). Hears nothing.

mod commands;
mod gate;
mod graphql;
mod held;
mod queries;
mod rules;
mod touch;

pub use commands::{INGEST_MAX, Incoming, Ingested, Link, TraitChanges};
pub use gate::ingest;
pub use graphql::{
    AliasInput, Attribution, ContactFilter, ContactKey, ContactNeeds, ContactOrder,
    ContactOrderField, ContactPart, ContactRow, ContactRows, ContactStatus, ContactUpdateInput,
    ContactUpsertInput, EventFilter, EventsKey, Identifier, IdentifyInput, Loaders, Saying,
    TrackBatchInput, TrackInput, members,
};
pub use queries::{distinct_ids, families, family, find_by, listed, root, roots, traits};
pub use rules::{Claim, ID_CHARS_MAX, is_distinct_id_kind, is_illegal_id, name_in, normalize};
pub use touch::touch;

use crate::base::{Fold, Module};

pub const MODULE: Module = Module {
    fold: Fold {
        tables: held::TABLES,
        settle: None,
    },
    ..Module::named("contact")
};
