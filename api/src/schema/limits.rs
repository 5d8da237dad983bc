//! What a document may ask for at once; checked before validation, which expands fragments and so can be made
//! to run for minutes.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned, Request, ServerError,
    parser::types::{ExecutableDocument, FragmentDefinition, Selection, SelectionSet},
};

use crate::base::{Error, ErrorCode, UserError};

/// How deep a document may select: a client's page is six or seven deep.
const DEPTH_MAX: usize = 12;

/// Fails for a document that does not parse, or is over a limit.
pub(super) fn check(request: &mut Request) -> Result<(), ServerError> {
    let depth = depth(request.parsed_query()?);
    if depth <= DEPTH_MAX {
        return Ok(());
    }
    let error = Error::User(UserError {
        code: ErrorCode::LimitReached,
        field: None,
        message: format!("the document selects {depth} deep, the limit is {DEPTH_MAX}"),
    });
    Err(async_graphql::Error::from(error).into_server_error(async_graphql::Pos::default()))
}

fn depth(document: &ExecutableDocument) -> usize {
    let mut depths = Depths {
        fragments: &document.fragments,
        known: HashMap::new(),
    };
    document
        .operations
        .iter()
        .map(|(_, operation)| depths.of(&operation.node.selection_set.node))
        .max()
        .unwrap_or_default()
}

/// Each fragment's depth is worked out once, however often it is spread.
struct Depths<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    known: HashMap<&'a Name, usize>,
}

impl<'a> Depths<'a> {
    fn of(&mut self, set: &'a SelectionSet) -> usize {
        set.items
            .iter()
            .map(|item| match &item.node {
                // Introspection recurses deeper than any query of data; the schema itself bounds it.
                Selection::Field(field) if field.node.name.node.starts_with("__") => 1,
                Selection::Field(field) => {
                    1_usize.saturating_add(self.of(&field.node.selection_set.node))
                }
                Selection::InlineFragment(fragment) => self.of(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    self.of_fragment(&spread.node.fragment_name.node)
                }
            })
            .max()
            .unwrap_or_default()
    }

    fn of_fragment(&mut self, name: &Name) -> usize {
        let Some((name, fragment)) = self.fragments.get_key_value(name) else {
            return 0;
        };
        if let Some(depth) = self.known.get(name) {
            return *depth;
        }
        // A fragment that spreads itself ends here; validation refuses it.
        self.known.insert(name, 0);
        let depth = self.of(&fragment.node.selection_set.node);
        self.known.insert(name, depth);
        depth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth_of(document: &str) -> usize {
        depth(&async_graphql::parser::parse_query(document).unwrap())
    }

    #[test]
    fn depth_counts_fields_through_fragments_of_both_kinds() {
        assert_eq!(depth_of("{ a }"), 1);
        assert_eq!(depth_of("{ a { b { c } } d }"), 3);
        assert_eq!(
            depth_of("{ a { ... on X { b { ...F } } } } fragment F on Y { c { d } }"),
            4
        );
    }

    #[test]
    fn introspection_may_be_deeper_than_data() {
        assert_eq!(
            depth_of("{ __schema { types { fields { type { ofType { name } } } } } }"),
            1
        );
    }

    #[test]
    fn fragments_that_double_each_other_cost_no_more_than_their_number() {
        let fragments = (0..200)
            .map(|n| format!(" fragment F{n} on X {{ a {{ ...F{0} ...F{0} }} }}", n + 1))
            .collect::<Vec<_>>()
            .concat();
        let document = format!("{{ ...F0 }}{fragments} fragment F200 on X {{ a }}");
        assert_eq!(depth_of(&document), 201);
    }

    #[test]
    fn a_fragment_that_spreads_itself_ends() {
        assert_eq!(depth_of("{ ...F } fragment F on X { a { ...F } }"), 1);
    }
}
