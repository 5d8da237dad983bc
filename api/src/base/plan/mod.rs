//! What read plans are made of. A plan is compiled once from a document that the engine has accepted, and then answers it with
//! one query a level and JSON written from the rows: see `docs/decisions/0021`.
//!
//! A plan answers what it is sure of. Everything else, each error too, is the engine's: [`Compiled`] and [`Run`] are `None` then,
//! and the document goes the usual way.

mod ask;
mod hang;
mod list;
mod write;

pub use ask::{Arguments, Asked, Compiled, Field, Given, Run, Source, kept};
pub use hang::{Hanging, HangingRow, HangingTable, MORE, hanging_page, hanging_reads};
pub use list::{Found, ListPlan};
pub use write::Json;
