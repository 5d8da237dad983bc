//! The root of a subscription, as the specification asks for it: one field, wherever it stands. The engine streams each field that
//! stands at the root itself, one or many, and passes over fragments.

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned, Request, ServerError,
    parser::types::{
        DocumentOperations, Field, FragmentDefinition, OperationDefinition, OperationType,
        Selection, SelectionSet,
    },
};

/// Makes the one field of each subscription stand at its root. To be called within the limits: fragments end, and are few.
///
/// # Errors
/// The document does not parse, or a subscription in it asks for several fields, for introspection, or for a field that can be skipped.
pub(super) fn settle(request: &mut Request) -> Result<(), ServerError> {
    let mut document = request.parsed_query()?.clone();
    let fragments = &document.fragments;
    match &mut document.operations {
        DocumentOperations::Single(operation) => settle_operation(&mut operation.node, fragments)?,
        DocumentOperations::Multiple(operations) => {
            for operation in operations.values_mut() {
                settle_operation(&mut operation.node, fragments)?;
            }
        }
    }
    request.set_parsed_query(document);
    Ok(())
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
