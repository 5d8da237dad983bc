//! The GraphQL schema: the rooms' parts, merged, and the objects that show every room's part.

mod contact;
mod dead_letter;
mod document;
mod event;
mod idempotent;
mod limits;
mod mutation;
mod node;
mod operation;
mod subscription;
mod tenant;
mod wording;

use std::sync::Arc;

use async_graphql::{
    MergedObject, MergedSubscription, Request, Response, SDLExportOptions, SchemaBuilder,
    ServerError, Value,
};
use futures_util::{Stream, StreamExt as _, stream};

use crate::{nudge, posthog, tenant as tenant_room};
pub use contact::Contact;
pub use document::{Documents, Hash, Known};
pub use event::Event;
pub use node::Node;
pub(crate) use operation::{OperationInput, checked as checked_operations};

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    contact::ContactQuery,
    event::EventQuery,
    node::NodeQuery,
    tenant_room::Query,
    posthog::PosthogQuery,
    nudge::Query,
    operation::OperationQuery,
    dead_letter::DeadLetterQuery,
);

/// What can be changed. Every mutation takes one `input`; what the caller can mend comes back as `userErrors`.
#[derive(MergedObject, Default)]
pub struct Mutation(
    mutation::TellMutation,
    mutation::ContactMutation,
    tenant_room::Mutation,
    tenant_room::FrontMutation,
    operation::OperationMutation,
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
    // they name what the caller may not see, and compare each unknown name with every known one
    .disable_suggestions()
}

/// A request whose document is known and within the limits.
pub struct Ready {
    request: Request,
    known: Arc<Known>,
    /// How many values the answer may have.
    pub cost: usize,
}

impl Ready {
    /// Finds the request's document among those that are known, or reads it, and weighs it.
    pub async fn new(documents: &Documents, request: Request) -> Result<Self, ServerError> {
        let known = match document::of(&request) {
            Some(known) => known,
            None => documents
                .read(&request.query)
                .await
                .map_err(document::refused)?,
        };
        let name = request.operation_name.as_deref();
        let cost = limits::check(known.document(), name, &request.variables)?;
        Ok(Self {
            request,
            known,
            cost,
        })
    }

    /// Whether the document asks for the schema itself.
    pub fn introspects(&self) -> bool {
        self.known.introspects()
    }

    /// The request as the engine takes it.
    fn engines(self) -> (Request, Arc<Known>) {
        let Self {
            mut request, known, ..
        } = self;
        request.set_parsed_query(known.document().clone());
        (request, known)
    }
}

/// How many values an answer holds.
pub fn values(answer: &Value) -> usize {
    match answer {
        Value::Object(fields) => fields.values().map(|value| 1 + values(value)).sum(),
        Value::List(items) => items.iter().map(values).sum(),
        _ => 0,
    }
}

/// Executes a query or a mutation.
pub async fn execute(schema: &Schema, ready: Ready) -> Response {
    let (request, known) = ready.engines();
    // on the heap: a future of this size is copied from frame to frame otherwise, in a debug build
    let mut response = Box::pin(schema.execute(request)).await;
    known.learn(&response);
    wording::without_quotes(&mut response);
    response
}

/// Runs a subscription, unless its document asks for more than one field.
pub fn subscribe(schema: &Schema, ready: Ready) -> impl Stream<Item = Response> + Send + use<> {
    let (mut request, _) = ready.engines();
    match subscription::settle(&mut request) {
        Ok(()) => schema
            .execute_stream(request)
            .map(|mut response| {
                wording::without_quotes(&mut response);
                response
            })
            .left_stream(),
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
