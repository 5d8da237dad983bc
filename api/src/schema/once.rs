//! A mutation's field runs once. The engine runs it as often as it stands at the root, where the specification merges what has one
//! response key: two fragments that both ask for `apiKeyCreate` would make two keys, and show one. So it is asked for once.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Positioned, ServerError,
    parser::types::{
        ExecutableDocument, FragmentDefinition, OperationType, Selection, SelectionSet,
    },
};

/// To be called within the limits: fragments end, and are few.
///
/// # Errors
/// A mutation has a response key twice.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), ServerError> {
    document
        .operations
        .iter()
        .filter(|(_, operation)| operation.node.ty == OperationType::Mutation)
        .try_for_each(|(_, operation)| {
            gather(
                &operation.node.selection_set.node,
                &document.fragments,
                &mut HashSet::new(),
            )
        })
}

fn gather<'d>(
    set: &'d SelectionSet,
    fragments: &'d HashMap<Name, Positioned<FragmentDefinition>>,
    keys: &mut HashSet<&'d Name>,
) -> Result<(), ServerError> {
    for item in &set.items {
        match &item.node {
            Selection::Field(field) => {
                if !keys.insert(&field.node.response_key().node) {
                    let message = "a mutation asks once for each field; give the second an alias";
                    return Err(ServerError::new(message, Some(item.pos)));
                }
            }
            Selection::InlineFragment(fragment) => {
                gather(&fragment.node.selection_set.node, fragments, keys)?;
            }
            Selection::FragmentSpread(spread) => {
                // One that does not exist is validation's to refuse.
                if let Some(fragment) = fragments.get(&spread.node.fragment_name.node) {
                    gather(&fragment.node.selection_set.node, fragments, keys)?;
                }
            }
        }
    }
    Ok(())
}
