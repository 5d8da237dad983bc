//! Imports: a file of contacts, or of addresses that must not be written to.
//!
//! An import is made with what its columns mean, and its bytes are sent beside GraphQL. A job reads them: first to check, saying what
//! each line would do, and then, when somebody asked for it, to do it, through the one way in that all touches take. Each line has a
//! message id of its own: a line that is read again does nothing again. A line that is not taken is kept with its number and the
//! reason ([`Rejects`]).
//!
//! Emits and hears nothing; what it brings in does.

mod commands;
mod graphql;
mod queries;
mod read;
mod rules;
mod step;

pub use commands::{BYTES_MAX, append, complete};
pub use graphql::{Import, ImportMutation as Mutation, ImportQuery as Query, ImportReject};
pub use queries::{KIND, Named, Rejects, find, rejects_csv};

use chrono::TimeDelta;

use crate::{
    base::{Mention, Module},
    job,
};

/// How long an import's rejects are kept, and the bytes of one that was checked and not applied.
const KEPT: TimeDelta = TimeDelta::days(7);

const KINDS: &[job::Kind] = &[job::Kind {
    name: KIND,
    step: |run| Box::pin(step::step(run)),
    gives_up: true,
    kept: KEPT,
}];

pub const MODULE: Module = Module {
    due: Some(|env| Box::pin(job::run_due(env, KINDS))),
    mentions: &[Mention {
        table: "import_reject",
        column: "raw",
    }],
    ..Module::named("import")
};
