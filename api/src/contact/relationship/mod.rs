//! How contacts are related: who referred, invited or manages whom, who shares an account or a home.
//!
//! A relationship holds from a time on, until it is ended; between the same two contacts there is one of a kind at a time. It is
//! walked over families: what an absorbed contact was related to is its root's.
//!
//! Emits `relationship.started` and `relationship.ended` (`relationshipId`, `kind`, `otherContactId`) of its first contact.

mod commands;
mod graphql;
mod walk;

pub use commands::{end, set};
pub use graphql::{
    RelatedArgs, RelationshipDirection, RelationshipEndInput, RelationshipFilter, RelationshipKind,
    RelationshipSetInput, of_contact, related,
};
pub(super) use walk::{Walk, Walks};
