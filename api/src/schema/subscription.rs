//! Subscriptions: their root, and how their document is run.
//!
//! The specification asks for one field at the root, wherever it stands. The engine streams each field that stands at the root itself,
//! one or many, and passes over fragments.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    CacheControl, Name, Pos, Positioned, Request, Response, ServerError, ValidationResult,
    Variables,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation},
    parser::types::{
        DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition,
        OperationType, Selection, SelectionSet,
    },
};
use futures_util::StreamExt as _;

use super::{Known, Ready, Schema, wording};
use crate::base::{Source, SourceItem, Turn};

/// For the schema that answers with items: their document was found valid, with its variables, when the subscription was opened.
pub struct Opened;

impl ExtensionFactory for Opened {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Opened {
    async fn validation(
        &self,
        _: &ExtensionContext<'_>,
        _: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        Ok(ValidationResult {
            cache_control: CacheControl::default(),
            complexity: 0,
            depth: 0,
        })
    }
}

/// What it takes to answer an open subscription.
pub struct Subscribed {
    known: Arc<Known>,
    operation_name: Option<Box<str>>,
    variables: Variables,
}

impl Subscribed {
    /// The request that answers with `item`, for [`tell`].
    pub fn request(&self, item: SourceItem) -> Request {
        let mut request = Request::new("").variables(self.variables.clone());
        request.operation_name = self.operation_name.as_deref().map(str::to_owned);
        // It was settled when the subscription was opened.
        if let Ok(settled) = self.known.settled() {
            request.set_parsed_query(settled.clone());
        }
        request.data(Turn::tell(item))
    }
}

/// Opens a subscription, if it is valid and asks for one field.
///
/// # Errors
/// The answer that is its only one.
pub async fn subscribe(
    schema: &Schema,
    mut ready: Ready,
) -> Result<(Subscribed, Source), Response> {
    ready.check().await?;
    let Ready {
        mut request, known, ..
    } = ready;
    let refused = |error| Response::from_errors(vec![error]);
    request.set_parsed_query(known.settled().map_err(refused)?.clone());
    let subscribed = Subscribed {
        operation_name: request.operation_name.as_deref().map(Into::into),
        variables: request.variables.clone(),
        known,
    };
    let turn = Turn::open();
    if let Some(response) = first(schema, request.data(Arc::clone(&turn))).await {
        return Err(response);
    }
    match turn.source() {
        Some(source) => Ok((subscribed, source)),
        None => Err(unanswered()),
    }
}

/// Answers an open subscription with one item. The schema is one of [`Opened`].
pub async fn tell(schema: &Schema, request: Request) -> Response {
    first(schema, request).await.unwrap_or_else(unanswered)
}

async fn first(schema: &Schema, request: Request) -> Option<Response> {
    let mut response = schema.execute_stream(request).next().await?;
    wording::without_quotes(&mut response);
    Some(response)
}

/// The field was asked and said nothing: it is none that takes turns.
fn unanswered() -> Response {
    let error =
        crate::base::Error::Internal(anyhow::anyhow!("a subscription's field gave nothing"));
    let error = async_graphql::Error::from(error).into_server_error(Pos::default());
    Response::from_errors(vec![error])
}

/// Makes the one field of each subscription stand at its root. To be called within the limits: fragments end, and are few.
///
/// # Errors
/// A subscription in it asks for several fields, for introspection, or for a field that can be skipped.
pub(super) fn settled(document: &ExecutableDocument) -> Result<ExecutableDocument, ServerError> {
    let mut document = document.clone();
    let fragments = &document.fragments;
    match &mut document.operations {
        DocumentOperations::Single(operation) => settle_operation(&mut operation.node, fragments)?,
        DocumentOperations::Multiple(operations) => {
            for operation in operations.values_mut() {
                settle_operation(&mut operation.node, fragments)?;
            }
        }
    }
    Ok(document)
}

fn settle_operation(
    operation: &mut OperationDefinition,
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
) -> Result<(), ServerError> {
    if operation.ty != OperationType::Subscription {
        return Ok(());
    }
    let items = &mut operation.selection_set.node;
    let mut field = None;
    gather(items, fragments, &mut field)?;
    if let Some(Positioned { pos, node }) = field {
        // The fragments stay where they are: validation looks at them, and whether they are used.
        items
            .items
            .retain(|item| !matches!(item.node, Selection::Field(_)));
        let field = Selection::Field(Positioned::new(node, pos));
        items.items.push(Positioned::new(field, pos));
    }
    Ok(())
}

/// Adds what the set asks for to the one field.
fn gather(
    set: &SelectionSet,
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
    one: &mut Option<Positioned<Field>>,
) -> Result<(), ServerError> {
    for item in &set.items {
        let skips = |name: &str| ["skip", "include"].contains(&name);
        let directives = item.node.directives();
        if directives
            .iter()
            .any(|directive| skips(&directive.node.name.node))
        {
            return Err(refused(
                "what a subscription asks for cannot be skipped",
                item.pos,
            ));
        }
        match &item.node {
            Selection::Field(field) => match one {
                None if field.node.name.node.starts_with("__") => {
                    return Err(refused(
                        "a subscription cannot ask for introspection",
                        item.pos,
                    ));
                }
                None => *one = Some(field.clone()),
                Some(one) if is_same(&one.node, &field.node) => {
                    let more = field.node.selection_set.node.items.iter().cloned();
                    one.node.selection_set.node.items.extend(more);
                }
                Some(_) => return Err(refused("a subscription asks for one field", item.pos)),
            },
            Selection::InlineFragment(fragment) => {
                gather(&fragment.node.selection_set.node, fragments, one)?;
            }
            Selection::FragmentSpread(spread) => {
                // One that does not exist is validation's to refuse.
                if let Some(fragment) = fragments.get(&spread.node.fragment_name.node) {
                    gather(&fragment.node.selection_set.node, fragments, one)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether two fields are one, asked for in two places.
fn is_same(one: &Field, other: &Field) -> bool {
    one.response_key() == other.response_key()
        && one.name == other.name
        && one.arguments.len() == other.arguments.len()
        && one
            .arguments
            .iter()
            .all(|(name, value)| other.get_argument(&name.node) == Some(value))
}

fn refused(message: &str, pos: Pos) -> ServerError {
    ServerError::new(message, Some(pos))
}
