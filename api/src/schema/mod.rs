//! The GraphQL schema: the rooms' parts, merged.

mod dead_letter;
mod tenant;

use async_graphql::{EmptySubscription, MergedObject, SDLExportOptions, SchemaBuilder};

use crate::tenant as tenant_room;

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(tenant_room::Query, dead_letter::DeadLetterQuery);

/// What can be changed. Every mutation takes one `input`; what the caller can mend comes back as `userErrors`.
#[derive(MergedObject, Default)]
pub struct Mutation(tenant_room::Mutation, dead_letter::DeadLetterMutation);

pub type Schema = async_graphql::Schema<Query, Mutation, EmptySubscription>;

/// How deep a document may nest.
const DEPTH_MAX: usize = 12;

/// The schema, to which the composition root adds what its fields reach for.
pub fn build() -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    Schema::build(Query::default(), Mutation::default(), EmptySubscription).limit_depth(DEPTH_MAX)
}

/// The schema in GraphQL's own language, sorted, so that a difference shows a change.
pub fn sdl() -> String {
    build().finish().sdl_with_options(
        SDLExportOptions::new()
            .sorted_fields()
            .sorted_arguments()
            .sorted_enum_items()
            .include_specified_by(),
    )
}
