//! Segments: sets of contacts that a rule describes, or that somebody listed; audiences of every room.
//!
//! A rule is one SQL statement ([`select`]): over everybody it computes or estimates the segment, narrowed to a few contacts it
//! keeps the segment live. Who is in is stored, so it is read without asking; an inverted index (`segment_trigger`) leads from
//! what happens to the segments whose answer it can change, and where time alone can change it, a contact is due again at the
//! instant at which it can (`segment_due`). A new rule is walked over all contacts in the background.
//!
//! Every change of membership goes through [`membership`], under a lock on its segment, and is told: `segment.entered` and
//! `segment.left` with `segmentId`, `segmentKey` and the `reason` (`event`, `time`, `computed`, `listed`, `synced`). A merge tells nothing
//! by itself: the person stays in what it was in until the rules say otherwise.
//!
//! What only PostHog knows is fetched ([`source`]) before a rule is asked.
//!
//! Hears every event. Whom a contact absorbed was in for it; a contact that is taken out of another is due at once
//! (`MODULE.fold`).

mod commands;
mod explain;
mod graphql;
mod jobs;
mod membership;
mod queries;
mod reactions;
mod rules;
mod select;
mod source;

pub use commands::{Listing, Saved, delete, list, save, unlist};
pub use explain::{Explained, Told, explain};
pub use graphql::{
    SegmentDeleteInput, SegmentExplainNode, SegmentFilter, SegmentKind, SegmentMembersInput,
    SegmentSaveInput, SegmentState, segment_id,
};
pub use queries::{Estimate, Reads, by_key, estimate, newest_first};
pub use rules::{KEY_CHARS_MAX, Rule, key_is_fit};
pub use source::source_ids;

use crate::base::{Erase, Export, Fold, Held, Module};

pub const MODULE: Module = Module {
    hear: Some(|cx, events| Box::pin(reactions::hear(cx, events))),
    fold: Fold {
        tables: &[
            Held {
                table: "segment_member",
                contact: "contact_id",
                identifier: None,
                through: None,
                export: Export::All,
                erase: Erase::By(|tx, contacts| Box::pin(membership::erase(tx, contacts))),
            },
            Held {
                table: "segment_listing",
                contact: "contact_id",
                identifier: None,
                through: None,
                export: Export::All,
                erase: Erase::Delete,
            },
            Held {
                table: "segment_source_member",
                contact: "contact_id",
                identifier: None,
                through: None,
                export: Export::All,
                erase: Erase::Delete,
            },
            Held {
                table: "segment_due",
                contact: "contact_id",
                identifier: None,
                through: None,
                export: Export::All,
                erase: Erase::Delete,
            },
        ],
        settle: Some(|tx, regrouped| Box::pin(membership::regroup(tx, regrouped))),
    },
    due: Some(|env| Box::pin(jobs::due(env))),
    ..Module::named(SOURCE)
};

/// What waits for PostHog has a clock of its own: segments' does not wait with it.
pub const SOURCES: Module = Module {
    due: Some(|env| Box::pin(source::due(env))),
    ..Module::named("segment_source")
};

/// The source of this room's events.
const SOURCE: &str = "segment";

const ENTERED: &str = "segment.entered";
const LEFT: &str = "segment.left";
