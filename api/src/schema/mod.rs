//! The GraphQL schema: the rooms' parts, merged, and the objects that show every room's part.

mod account;
mod contact;
mod dead_letter;
mod document;
mod event;
mod idempotent;
mod identity;
mod limits;
mod mutation;
mod node;
mod once;
mod operation;
mod plan;
mod relationship;
mod segment;
mod shape;
mod sight;
mod subscription;
mod tenant;
mod timeline;
mod wording;

use std::{any::TypeId, sync::Arc};

use async_graphql::{
    MergedObject, MergedSubscription, Pos, Request, Response, SDLExportOptions, SchemaBuilder,
    ServerError, ValidationMode, Value,
};

use crate::{
    base::{Actor, Cx},
    contact as contact_room, import, job, nudge, posthog, privacy, tenant as tenant_room,
};
pub use account::Account;
pub use contact::Contact;
pub use dead_letter::DeadLetter;
pub use document::{Documents, Hash, Known};
pub use event::Event;
pub use identity::{IdentityBlock, MergeProposal, MergeRecord};
pub use node::{Found, Node};
pub use operation::Operation;
pub(crate) use operation::{OperationInput, checked as checked_operations};
use plan::Planned;
pub use relationship::Relationship;
pub use subscription::{Opened, Subscribed, subscribe, tell};

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    contact::ContactQuery,
    identity::IdentityQuery,
    contact_room::TraitQuery,
    account::AccountQuery,
    event::EventQuery,
    node::NodeQuery,
    tenant_room::Query,
    tenant_room::AuditQuery,
    posthog::PosthogQuery,
    nudge::Query,
    segment::SegmentQuery,
    operation::OperationQuery,
    dead_letter::DeadLetterQuery,
    job::Query,
    privacy::Query,
    import::Query,
);

/// What can be changed. Every mutation takes one `input`; what the caller can mend comes back as `userErrors`.
#[derive(MergedObject, Default)]
pub struct Mutation(
    mutation::TellMutation,
    mutation::ContactMutation,
    identity::IdentityMutation,
    contact_room::ConsentMutation,
    contact_room::TraitMutation,
    relationship::RelationshipMutation,
    account::AccountMutation,
    tenant_room::Mutation,
    tenant_room::IssuerMutation,
    tenant_room::FrontMutation,
    operation::OperationMutation,
    posthog::PosthogMutation,
    nudge::Mutation,
    segment::SegmentMutation,
    dead_letter::DeadLetterMutation,
    job::Mutation,
    privacy::Mutation,
    import::Mutation,
);

/// What is pushed.
#[derive(MergedSubscription, Default)]
pub struct Subscription(nudge::Subscription);

pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// The schema for [`execute`] and [`subscribe`], which give its engine nothing that is not valid: it is not validated again. The
/// composition root adds what the fields reach for.
pub fn executing() -> SchemaBuilder<Query, Mutation, Subscription> {
    build().validation_mode(ValidationMode::Fast)
}

/// The schema.
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

    /// Whether an answer may be one that was given before: nothing may stand in it that changes from time to time.
    pub fn repeats(&self) -> bool {
        self.known.repeats()
    }

    /// Whether the document asks for the schema itself.
    pub fn introspects(&self) -> bool {
        self.known.introspects()
    }

    /// Whether the document is valid, which is found out once, and the variables are what its operation declares; else the answer.
    async fn check(&mut self) -> Result<(), Response> {
        self.known.accept().await.map_err(refused)?;
        let name = self.request.operation_name.as_deref();
        let Some(operation) = ::document::executed(self.known.document(), name) else {
            // the engine says which one is missing
            return Ok(());
        };
        let errors = shape::check_variables(&operation.node, &self.request.variables);
        if !errors.is_empty() {
            return Err(Response::from_errors(errors));
        }
        // The engine forgets defaults where a directive asks for them.
        for definition in &operation.node.variable_definitions {
            let definition = &definition.node;
            if let Some(default) = &definition.default_value {
                self.request
                    .variables
                    .entry(definition.name.node.clone())
                    .or_insert_with(|| default.node.clone());
            }
        }
        Ok(())
    }

    /// Where the document names something that a browser's `actor` cannot see, whether or not there is such a thing. `None` where it
    /// does not, and for everybody else.
    pub fn beyond_sight(&self, actor: &Actor) -> Option<Pos> {
        self.known.beyond_sight(actor)
    }

    /// The request as the engine takes it.
    fn engines(self) -> Request {
        let Self {
            mut request, known, ..
        } = self;
        request.set_parsed_query(known.document().clone());
        request
    }
}

/// How many values an answer holds.
fn values(answer: &Value) -> usize {
    match answer {
        Value::Object(fields) => fields.values().map(|value| 1 + values(value)).sum(),
        Value::List(items) => items.iter().map(values).sum(),
        _ => 0,
    }
}

/// Which way an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// From a plan of the document.
    Plan,
    /// From the engine and its resolvers.
    Engine,
}

/// An answer, which way it came and how many values it holds.
pub struct Answered {
    pub response: Response,
    pub lane: Lane,
    pub values: usize,
}

/// The answer to a document that is not valid.
fn refused(errors: Vec<ServerError>) -> Response {
    let mut response = Response::from_errors(errors);
    wording::without_quotes(&mut response);
    response
}

/// Executes a query or a mutation, if it is valid: by its plan, if it has one that answers, or else by the engine, for which
/// `equipped` puts in what resolvers need.
pub async fn execute(
    schema: &Schema,
    mut ready: Ready,
    equipped: impl FnOnce(Request) -> Request,
) -> Answered {
    if let Err(response) = Box::pin(ready.check()).await {
        return Answered {
            response,
            lane: Lane::Engine,
            values: 0,
        };
    }
    if let Some(Planned { data, values }) = Box::pin(planned(&ready)).await {
        return Answered {
            response: Response::new(data),
            lane: Lane::Plan,
            values,
        };
    }
    let request = equipped(ready.engines());
    // on the heap: a future of this size is copied from frame to frame otherwise, in a debug build
    let mut response = Box::pin(schema.execute(request)).await;
    wording::without_quotes(&mut response);
    Answered {
        values: values(&response.data),
        lane: Lane::Engine,
        response,
    }
}

async fn planned(ready: &Ready) -> Option<Planned> {
    let request = &ready.request;
    let plan = ready.known.plan(request.operation_name.as_deref())?;
    plan.run(cx_of(request)?, &request.variables).await
}

/// Whose fields a request asks for.
pub fn cx_of(request: &Request) -> Option<&Cx> {
    request.data.get(&TypeId::of::<Cx>())?.downcast_ref()
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
