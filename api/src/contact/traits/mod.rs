//! What traits mean: what is known of each key, which of several values wins, and who may see it.
//!
//! A key is known from the first time that somebody says it; its type is that of its first value. A tenant may lock what is known:
//! then unknown keys and values of another type are refused, and left out of what PostHog's clients send. Which value wins is a
//! matter of ranks, which observations keep: a change of policy ranks them anew, in the background.
//!
//! A trait that is marked as personal is shown, and searched, for who holds `contacts:pii` alone, and for the contact itself:
//! [`readable`] is the one place that says so.

mod commands;
mod graphql;
mod queries;
mod rules;
mod settle;

pub use commands::conform;
pub use graphql::{TraitDefinition, TraitMutation, TraitObservation, TraitQuery, history};
pub use queries::definitions;
pub(super) use queries::readable;
pub use rules::{Definition, Definitions, Refused, admit, rank};
pub(super) use settle::due;
