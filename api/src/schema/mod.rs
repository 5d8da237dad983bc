//! The GraphQL schema: the rooms' parts, merged, and the objects that show every room's part.

mod contact;
mod dead_letter;
mod event;
mod idempotent;
mod limits;
mod mutation;
mod node;
mod subscription;
mod tenant;

use async_graphql::{
    MergedObject, MergedSubscription, Request, Response, SDLExportOptions, SchemaBuilder,
};

use futures_util::{Stream, StreamExt as _, stream};

use crate::{nudge, posthog, tenant as tenant_room};
pub use contact::Contact;
pub use event::Event;
pub use node::Node;

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    contact::ContactQuery,
    event::EventQuery,
    node::NodeQuery,
    tenant_room::Query,
    tenant_room::AuditQuery,
    posthog::PosthogQuery,
    nudge::Query,
    dead_letter::DeadLetterQuery,
);

/// What can be changed. Every mutation takes one `input`; what the caller can mend comes back as `userErrors`.
#[derive(MergedObject, Default)]
pub struct Mutation(
    mutation::TellMutation,
    mutation::ContactMutation,
    tenant_room::Mutation,
    tenant_room::IssuerMutation,
    posthog::PosthogMutation,
    nudge::Mutation,
    dead_letter::DeadLetterMutation,
);

/// What is pushed.
#[derive(MergedSubscription, Default)]
pub struct Subscription(nudge::Subscription);

pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// The schema, to which the composition root adds what its fields reach for.
pub fn build() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(
        Query::default(),
        Mutation::default(),
        Subscription::default(),
    )
    .directive(idempotent::idempotent)
}

/// Executes a query or a mutation, unless its document is over a limit.
pub async fn execute(schema: &Schema, mut request: Request) -> Response {
    match limits::check(&mut request) {
        Ok(()) => schema.execute(request).await,
        Err(error) => Response::from_errors(vec![error]),
    }
}

/// Runs a subscription, unless its document is over a limit or asks for more than one field.
pub fn subscribe(
    schema: &Schema,
    mut request: Request,
) -> impl Stream<Item = Response> + Send + use<> {
    match limits::check(&mut request).and_then(|()| subscription::settle(&mut request)) {
        Ok(()) => schema.execute_stream(request).left_stream(),
        Err(error) => stream::iter([Response::from_errors(vec![error])]).right_stream(),
    }
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
