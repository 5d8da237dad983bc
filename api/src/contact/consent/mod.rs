//! What a contact allows: by topic, in the tenant's words, and by channel.
//!
//! A statement is never changed, only made anew, and carries its proof. A root's own rows tell how it stands: where contacts become
//! one, the most restrictive of what each said is written down for the root; where they are taken apart, each side keeps how the
//! whole stood. Either holds until somebody says otherwise. Who said nothing restricts nothing.
//!
//! Emits `consent.changed` (`topic`, `channel`, `state`, `before`).

mod commands;
mod graphql;
mod queries;
mod rules;
mod settle;

/// The event that tells how a contact stands from now on.
pub(super) const CHANGED: &str = "consent.changed";

pub use graphql::{Consent, ConsentFilter, ConsentMutation, history, of_contact};
pub(super) use queries::current;
pub(super) use settle::settle;
