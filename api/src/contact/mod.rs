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
//! `identifierId`, `reason`).
//!
//! What is known of a contact beyond that has folders of its own, each with its story: `consent`, `traits`, `relationship` and
//! `account`, which hears events that carry `$groups`.

mod account;
mod commands;
mod consent;
mod gate;
mod graphql;
mod held;
mod lists;
mod proof;
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
pub use commands::{INGEST_MAX, Incoming, Ingested, Link, TraitChanges};
pub use commands::{
    merge::{
        Blocked, MERGE_MAX, Preview, Resolution, Undo, block, decide, merge, preview, resolve,
        unblock, unmerge,
    },
    policy::{PolicyChanges, rotate_proof_secret, save_policy},
};
pub use consent::{
    Consent, ConsentFilter, ConsentMutation, history as consent_history, of_contact as consents,
};
pub use gate::ingest;
pub use graphql::{
    AliasInput, Attribution, ContactFilter, ContactKey, ContactNeeds, ContactOrder,
    ContactOrderField, ContactPart, ContactRow, ContactRows, ContactStatus, ContactUpdateInput,
    ContactUpsertInput, EventFilter, EventsKey, Identifier, IdentifierKind, IdentifierVerification,
    IdentifyInput, Loaders, Saying, Touch, TouchpointFilter, TrackBatchInput, TrackInput,
    TraitFilter, members, touchpoints,
};
pub use proof::Proofs;
pub use queries::{
    distinct_ids, families, family, find_by, listed, merges_about, root, roots, traits,
};
pub use relationship::{
    RelatedArgs, RelationshipDirection, RelationshipEndInput, RelationshipFilter, RelationshipKind,
    RelationshipSetInput, end as relationship_end, of_contact as relationships, related,
    set as relationship_set,
};
pub use rules::{
    Claim, ID_CHARS_MAX, KindLimit, is_distinct_id_kind, is_illegal_id, name_in, normalize,
};
pub use touch::touch;
pub use traits::{
    Definition, Definitions, Refused, TraitDefinition, TraitMutation, TraitObservation, TraitQuery,
    admit, conform, definitions, history as trait_history, rank,
};
pub use whom::hold;

use std::sync::Arc;

use crate::base::{Env, Fold, Module, Result};

/// The source of this room's events.
const SOURCE: &str = "contact";

const MERGED: &str = "contact.merged";
const UNMERGED: &str = "contact.unmerged";

pub const MODULE: Module = Module {
    fold: Fold {
        tables: held::TABLES,
        settle: Some(consent::settle),
    },
    hear: Some(account::hear),
    due: Some(|env| Box::pin(due(env))),
    timeline: timeline::SOURCES,
    ..Module::named(SOURCE)
};

/// Proposals expire, and winners are chosen anew.
async fn due(env: &Arc<Env>) -> Result<usize> {
    Ok(commands::merge::expire(env).await? + traits::due(env).await?)
}
