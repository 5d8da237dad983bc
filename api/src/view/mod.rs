//! Contact views: saved lists of contacts. A view is a filter, an order and columns; its rows are read when they are asked for.
//!
//! * A row's cells are loaded as the fields of contacts are, together for a page ([`Sources`]): whatever its columns, a page costs
//!   one `HogQL` query, one pass over the flags and one statement a kind of column.
//! * In the order of a metric, or under its bounds, people are ranked by PostHog, in one query, and joined here
//!   ([`Lists`]); what came of it is kept for the pages that follow.
//! * An export ([`EXPORT`]) is a job that walks the same list and writes the same cells as CSV. It sees what whoever asked for it
//!   may see, and is given to whoever may see as much.
//!
//! Emits and hears nothing.

mod cells;
mod commands;
mod export;
mod graphql;
mod list;
mod queries;
mod ranked;
mod rules;

pub use cells::{Cell, Reads, Sources};
pub use commands::{Saved, delete, export, save};
pub use graphql::{
    ContactViewCell, ContactViewColumn, ContactViewDeleteInput, ContactViewExportInput,
    ContactViewFilter, ContactViewOrder, ContactViewSaveInput, view_id,
};
pub use list::page_of;
pub use queries::{by_key, definition, newest_first};
pub use ranked::Lists;
pub use rules::{Column, Definition};

use chrono::TimeDelta;
use entity::{Id, contact_view};

use crate::{base::Module, job};

pub type ViewId = Id<contact_view::Entity>;

const EXPORT: &str = "contactViewExport";

/// How long a file of contacts is kept: it is fetched once, and whoever is erased meanwhile stands in it.
const FILE_KEPT: TimeDelta = TimeDelta::days(1);

const KINDS: &[job::Kind] = &[job::Kind {
    name: EXPORT,
    step: |run| Box::pin(export::step(run)),
    gives_up: true,
    kept: FILE_KEPT,
}];

pub const MODULE: Module = Module {
    due: Some(|env| Box::pin(job::run_due(env, KINDS))),
    ..Module::named("view")
};
