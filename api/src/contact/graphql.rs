//! The contact room's part of the schema. The object `Contact` itself stands at the roof, because every room
//! shows a part of it.

mod filter;
mod inputs;
mod loaders;
mod plan;
mod touchpoints;
mod types;

pub use filter::{ContactFilter, EventFilter, TraitFilter};
pub use inputs::{
    AliasInput, ContactUpdateInput, ContactUpsertInput, IdentifyInput, Saying, TrackBatchInput,
    TrackInput,
};
pub use loaders::{EventsKey, Loaders};
pub use plan::{ContactNeeds, ContactPart, ContactRow, ContactRows, members};
pub use touchpoints::{TouchpointFilter, touchpoints};
pub use types::{
    Attribution, ContactKey, ContactOrder, ContactOrderField, ContactStatus, Identifier,
    IdentifierKind, IdentifierVerification, Touch,
};
