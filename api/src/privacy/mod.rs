//! What a person may ask of a tenant: all that is known of them, and to be forgotten.
//!
//! Every room declares what it holds of contacts ([`Held`](crate::base::Held)): an export writes down all of it, and an erasure
//! deletes it, of the contact and of every contact it absorbed. An erasure
//! * first buries the names of the person: what comes with one of them from then on is dropped ([`suppression`](crate::suppression));
//! * then deletes the rows, with what waits to be done or sent, and asks PostHog to delete the person with its events;
//! * and keeps a signed receipt of each store. It is tried until each store has done its part.
//!
//! Emits `contact.erased`, which names no contact: its property `contactId` leads nowhere any more. Hears nothing.

mod commands;
mod erase;
mod export;
mod graphql;
mod rules;

pub use commands::{erase, export};
pub use graphql::{Erasure, PrivacyMutation as Mutation, PrivacyQuery as Query};
pub use rules::is_signed;

use chrono::TimeDelta;

use crate::{
    base::{Erase, Export, Fold, Held, Module},
    job,
};

/// How long an archive is kept.
const ARCHIVE_KEPT: TimeDelta = TimeDelta::days(7);

/// How long the job of an erasure is kept; its receipts are kept for ever.
const ERASURE_KEPT: TimeDelta = TimeDelta::days(30);

const ERASE: &str = "contactErase";
const EXPORT: &str = "contactExport";

const KINDS: &[job::Kind] = &[
    job::Kind {
        name: ERASE,
        step: |run| Box::pin(erase::step(run)),
        gives_up: false,
        kept: ERASURE_KEPT,
    },
    job::Kind {
        name: EXPORT,
        step: |run| Box::pin(export::step(run)),
        gives_up: true,
        kept: ARCHIVE_KEPT,
    },
];

pub const MODULE: Module = Module {
    fold: Fold {
        tables: &[Held {
            table: "erasure",
            contact: "contact_id",
            identifier: None,
            through: None,
            export: Export::Hidden("who is erased is not there to be given anything"),
            erase: Erase::Keep(
                "it says that somebody was erased, and names nobody who is there any more",
            ),
        }],
        settle: None,
    },
    due: Some(|env| Box::pin(job::run_due(env, KINDS))),
    ..Module::named("privacy")
};
