//! Jobs: work that takes longer than a request.
//!
//! A room names what it can do ([`Kind`]), writes down that it is to be done ([`enqueue`]), and runs it from its timed work
//! ([`run_due`]). A job is done in steps. Each step commits its work together with the place where the next one begins
//! ([`Run::checkpoint`]), under a lease: a process that is killed loses at most the step that it was in, the next one takes it up
//! there, and one that comes back late finds that it holds the job no more and leaves no trace.
//!
//! What a job reads or makes is kept in the database in chunks, for whichever process works on it or answers for it
//! ([`bytes`](append)); a download is a signed link that expires ([`Link`]).
//!
//! Emits and hears nothing.

mod bytes;
mod commands;
mod graphql;
mod link;
mod queries;
mod run;

pub use bytes::{CHUNK_BYTES, append, forget_input, read, size};
pub use commands::{NewJob, cancel, enqueue, open};
pub use graphql::{Job, JobMutation as Mutation, JobQuery as Query, Progress, state};
pub use link::{Artifact, Link, artifact};
pub use queries::find;
pub use run::{Kind, Next, Place, Run, run_due};

use crate::base::{Erase, Export, Fold, Held, Module};

pub const MODULE: Module = Module {
    fold: Fold {
        tables: &[Held {
            table: "job",
            contact: "contact_id",
            identifier: None,
            through: None,
            export: Export::Hidden("an archive does not hold the archives before it"),
            erase: Erase::Delete,
        }],
        settle: None,
    },
    due: Some(|env| Box::pin(run::forget_expired(env))),
    ..Module::named("job")
};
