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
pub use dead_letter::DeadLetter;
pub use event::Event;
pub use node::{Found, Node};

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    contact::ContactQuery,
    event::EventQuery,
    node::NodeQuery,
    tenant_room::Query,
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

/// Directives that are the language's own: every client knows them, and no other server exports them.
const SPECIFIED_DIRECTIVES: [&str; 5] = ["deprecated", "include", "oneOf", "skip", "specifiedBy"];

/// The schema in GraphQL's own language, sorted, so that a difference shows a change.
pub fn sdl() -> String {
    let mut sdl = build().finish().sdl_with_options(
        SDLExportOptions::new()
            .sorted_fields()
            .sorted_arguments()
            .sorted_enum_items()
            .include_specified_by(),
    );
    for name in SPECIFIED_DIRECTIVES {
        let definition = format!("\"\"\"\ndirective @{name}");
        let Some(quotes) = sdl.find(&definition) else {
            continue;
        };
        let begin = sdl[..quotes].rfind("\"\"\"\n").unwrap_or(quotes);
        let line = quotes + "\"\"\"\n".len();
        let end = sdl[line..].find('\n').map_or(sdl.len(), |at| line + at + 1);
        sdl.replace_range(begin..end, "");
    }
    // The engine exports what a directive is for, but not what its arguments are.
    let key = format!(
        "(\n\t\"\"\"\n\t{}\n\t\"\"\"\n\tkey: String!\n)",
        idempotent::KEY
    );
    sdl.replace("@idempotent(key: String!)", &format!("@idempotent{key}"))
}
