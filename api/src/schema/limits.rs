//! What a document may ask for at once. Checked before the engine sees it: the engine's own checks, and its execution, walk a
//! fragment each time it is spread, so that a kilobyte of fragments that double each other would take all memory.
//!
//! One pass measures each fragment once, however often it is spread. It knows shapes, not types: which fields there are, the
//! engine says afterwards.

use std::{collections::HashMap, convert::Infallible, mem};

use crate::base::{Error, PAGE_DEFAULT, PAGE_MAX};
use async_graphql::{
    Name, Pos, Positioned, Request, ServerError, Value, Variables,
    parser::types::{
        DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition,
        Selection, SelectionSet,
    },
};

/// How deep fields may nest: a client's page is six or seven deep.
const DEPTH_MAX: usize = 12;

/// How deep sets of selections may nest, those of fragments too. The engine recurses as deep, and refuses more by itself, but only
/// after it has walked there. A standard introspection is 19 deep.
const NESTING_MAX: usize = 32;

/// Fields with an alias: each asks again for what was asked before.
const ALIASES_MAX: usize = 30;

/// Fields, fragments and directives: what the engine walks, several times over. The largest documents of real clients have some
/// hundreds.
const SELECTIONS_MAX: usize = 2_000;

/// Values in the answer, at some 500 bytes each while they are made. A page of 100 contacts, each with 25 events of ten fields, has
/// 31,000.
const COST_MAX: usize = 50_000;

/// How many values of introspection cost as one: they come from memory, and are shared.
const INTROSPECTED_AS_ONE: usize = 10;

/// How many objects a list is taken to have, where neither a page nor an argument says so: about as many as it has in earnest.
/// A test looks whether a list of the schema is missing.
const LISTS: &[(&str, usize)] = &[
    ("algorithms", 12),
    ("apiKeys", 20),
    ("conditions", 10),
    ("deadLetters", 100),
    ("featureFlags", 50),
    ("identifiers", 10),
    ("interactions", 100),
    ("issuers", 10),
    ("publicKeys", 10),
    ("roles", 10),
    ("userErrors", 5),
    ("variants", 5),
    ("versions", 20),
    // introspection: means of our schema, in which most types have no fields and most fields no arguments
    ("args", 3),
    ("directives", 10),
    ("enumValues", 5),
    ("fields", 5),
    ("inputFields", 5),
    ("interfaces", 2),
    ("possibleTypes", 2),
    ("types", 200),
];

/// As how many at most the items of a variable are counted: a page has fewer, and what is multiplied by as many is refused.
const ITEMS_MAX: usize = 1_000;

/// Fails for a document that does not parse, is over a limit, or has a fragment that spreads itself.
pub(super) fn check(request: &mut Request) -> Result<(), ServerError> {
    let name = request.operation_name.clone();
    let variables = mem::take(&mut request.variables);
    check_document(request.parsed_query()?, name.as_deref(), &variables)?;
    request.variables = variables;
    Ok(())
}

fn check_document(
    document: &ExecutableDocument,
    operation_name: Option<&str>,
    variables: &Variables,
) -> Result<(), ServerError> {
    let executed = executed(document, operation_name);
    let mut scales = Scales {
        fragments: &document.fragments,
        weighed: HashMap::new(),
        executed,
        variables,
    };
    // The engine recurses into fragments that nobody spreads, too.
    for (name, fragment) in &document.fragments {
        scales.fragment(name, fragment.pos, 0)?;
    }
    let mut selections = 0_usize;
    let mut weight = Weight::default();
    for (_, operation) in document.operations.iter() {
        let set = &operation.node.selection_set.node;
        let of_one = scales.set(set, 0, false)?;
        selections = selections.saturating_add(of_one.selections);
        if executed.is_some_and(|executed| std::ptr::eq(executed, operation)) {
            weight = of_one;
        }
    }
    // The engine validates all operations, also those that it does not execute.
    within(selections, SELECTIONS_MAX, |count| {
        format!(
            "the document comes to {count} fields, fragments and directives once its fragments are spread"
        )
    })?;
    weight.check()
}

/// The operation that the engine will execute, if it finds one.
fn executed<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a Positioned<OperationDefinition>> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) => operations.values().next(),
    }
}

fn within(
    count: usize,
    limit: usize,
    what: impl FnOnce(usize) -> String,
) -> Result<(), ServerError> {
    if count <= limit {
        return Ok(());
    }
    Err(too_complex(format!(
        "{}, the limit is {limit}",
        what(count)
    )))
}

fn too_complex(message: String) -> ServerError {
    let error = async_graphql::Error::from(Error::TooComplex(message));
    ServerError {
        // The document as a whole is too much.
        locations: vec![],
        ..error.into_server_error(Pos::default())
    }
}

/// What a selection comes to when every fragment in it is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    /// Fields within each other; introspection counts as one.
    depth: usize,
    /// Sets of selections within each other.
    nesting: usize,
    /// Fields, fragments and directives.
    selections: usize,
    aliases: usize,
    /// Values in the answer, without those below `edges`.
    cost: usize,
    /// Values below `edges`, for one row: how many rows there are, the field around it says.
    row_cost: usize,
}

impl Weight {
    fn and(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            selections: self.selections.saturating_add(other.selections),
            aliases: self.aliases.saturating_add(other.aliases),
            cost: self.cost.saturating_add(other.cost),
            row_cost: self.row_cost.saturating_add(other.row_cost),
        }
    }

    fn check(&self) -> Result<(), ServerError> {
        within(self.depth, DEPTH_MAX, |depth| {
            format!("the document selects {depth} deep")
        })?;
        within(self.aliases, ALIASES_MAX, |count| {
            format!("the document has {count} aliases once its fragments are spread")
        })?;
        within(self.cost, COST_MAX, |count| {
            format!("the answer may have {count} values with pages of these sizes")
        })
    }
}

struct Scales<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    /// The fragments weighed so far; without a weight yet while they are on the scales.
    weighed: HashMap<&'a Name, Option<Weight>>,
    executed: Option<&'a Positioned<OperationDefinition>>,
    variables: &'a Variables,
}

impl<'a> Scales<'a> {
    /// `level` is how many sets stand around this one.
    fn set(
        &mut self,
        set: &'a SelectionSet,
        level: usize,
        introspects: bool,
    ) -> Result<Weight, ServerError> {
        let mut sum = Weight::default();
        for item in &set.items {
            let weight = match &item.node {
                Selection::Field(field) => self.field(&field.node, level, introspects)?,
                Selection::InlineFragment(fragment) => {
                    let set = &fragment.node.selection_set.node;
                    self.inner(set, level, introspects)?
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node, item.pos, level)?
                }
            };
            let itself = Weight {
                selections: 1 + item.node.directives().len(),
                ..Weight::default()
            };
            sum = sum.and(weight).and(itself);
        }
        // Asked of the sum as well: a fragment that was weighed before is not walked again.
        if level + sum.nesting > NESTING_MAX {
            return Err(too_nested());
        }
        Ok(sum)
    }

    /// A set within another.
    fn inner(
        &mut self,
        set: &'a SelectionSet,
        level: usize,
        introspects: bool,
    ) -> Result<Weight, ServerError> {
        if level == NESTING_MAX {
            return Err(too_nested());
        }
        let weight = self.set(set, level + 1, introspects)?;
        Ok(Weight {
            nesting: weight.nesting + 1,
            ..weight
        })
    }

    fn fragment(&mut self, name: &Name, pos: Pos, level: usize) -> Result<Weight, ServerError> {
        // One that does not exist weighs nothing; the engine refuses it.
        let Some((name, fragment)) = self.fragments.get_key_value(name) else {
            return Ok(Weight::default());
        };
        match self.weighed.insert(name, None) {
            Some(None) => {
                let message = "a fragment spreads itself";
                return Err(ServerError::new(message, Some(pos)));
            }
            Some(known) => {
                self.weighed.insert(name, known);
                return Ok(known.unwrap_or_default());
            }
            None => {}
        }
        let fragment = &fragment.node;
        let introspects = fragment.type_condition.node.on.node.starts_with("__");
        let weight = self.inner(&fragment.selection_set.node, level, introspects)?;
        self.weighed.insert(name, Some(weight));
        Ok(weight)
    }

    fn field(
        &mut self,
        field: &'a Field,
        level: usize,
        introspects: bool,
    ) -> Result<Weight, ServerError> {
        let name = field.name.node.as_str();
        let begins = !introspects && name.starts_with("__");
        let set = &field.selection_set.node;
        let inner = if set.items.is_empty() {
            Weight::default()
        } else {
            self.inner(set, level, introspects || begins)?
        };
        let once = inner.cost.saturating_mul(self.items(field));
        let rows = inner.row_cost.saturating_mul(self.rows(field));
        let below = once.saturating_add(rows);
        let cost = 1_usize.saturating_add(if begins {
            below / INTROSPECTED_AS_ONE
        } else {
            below
        });
        let (cost, row_cost) = if name == "edges" {
            (0, cost)
        } else {
            (cost, 0)
        };
        Ok(Weight {
            // Introspection recurses deeper than any query of data.
            depth: if begins { 1 } else { inner.depth + 1 },
            aliases: inner
                .aliases
                .saturating_add(usize::from(field.alias.is_some())),
            cost,
            row_cost,
            ..inner
        })
    }

    /// How many edges the field's page has at most.
    fn rows(&self, field: &Field) -> usize {
        let asked = self
            .arguments(field)
            .filter_map(|(name, value)| match value {
                Value::Number(number) if ["first", "last"].contains(&name) => number.as_u64(),
                _ => None,
            });
        let rows = asked.max().unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// How many objects the field gives, besides those of a page: one for each of the `ids` or `keys` that it is given.
    fn items(&self, field: &Field) -> usize {
        let name = field.name.node.as_str();
        let given = self.arguments(field).filter_map(|(_, value)| match value {
            Value::List(items) => Some(items.len()),
            _ => None,
        });
        given.max().unwrap_or_else(|| {
            LISTS
                .iter()
                .find(|(list, _)| *list == name)
                .map_or(1, |(_, size)| *size)
        })
    }

    fn arguments<'f>(&self, field: &'f Field) -> impl Iterator<Item = (&'f str, Value)> {
        field.arguments.iter().map(|(name, value)| {
            let replaced = value
                .node
                .clone()
                .into_const_with(|name| Ok::<_, Infallible>(self.sized(&name)));
            let Ok(value) = replaced;
            (name.node.as_str(), value)
        })
    }

    /// What a variable holds, as far as it is a number or the length of a list: it may be as large as a body, and stand anywhere.
    fn sized(&self, variable: &Name) -> Value {
        match self.variable(variable) {
            Some(Value::Number(number)) => Value::Number(number.clone()),
            Some(Value::List(items)) => Value::List(vec![Value::Null; items.len().min(ITEMS_MAX)]),
            _ => Value::Null,
        }
    }

    fn variable(&self, name: &Name) -> Option<&Value> {
        self.variables.get(name).or_else(|| {
            let mut declared = self.executed?.node.variable_definitions.iter();
            let variable = declared.find(|variable| variable.node.name.node == *name)?;
            variable
                .node
                .default_value
                .as_ref()
                .map(|value| &value.node)
        })
    }
}

fn too_nested() -> ServerError {
    too_complex(format!(
        "the document nests selections, those of fragments included, deeper than {NESTING_MAX}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(document: &str) -> ExecutableDocument {
        async_graphql::parser::parse_query(document).unwrap()
    }

    fn weight_with(document: &str, variables: serde_json::Value) -> Weight {
        let document = parsed(document);
        let executed = executed(&document, None).unwrap();
        let variables = Variables::from_json(variables);
        let mut scales = Scales {
            fragments: &document.fragments,
            weighed: HashMap::new(),
            executed: Some(executed),
            variables: &variables,
        };
        scales
            .set(&executed.node.selection_set.node, 0, false)
            .unwrap()
    }

    fn weight(document: &str) -> Weight {
        weight_with(document, serde_json::Value::Null)
    }

    fn refusal(document: &str) -> Option<String> {
        let checked = check_document(&parsed(document), None, &Variables::default());
        checked.err().map(|error| error.message)
    }

    #[test]
    fn depth_counts_fields_through_fragments_of_both_kinds() {
        assert_eq!(weight("{ a }").depth, 1);
        assert_eq!(weight("{ a { b { c } } d }").depth, 3);
        let fragments = "{ a { ... on X { b { ...F } } } } fragment F on Y { c { d } }";
        assert_eq!(weight(fragments).depth, 4);
        let deep =
            |levels: usize| format!("{{ {}a{} }}", "a { ".repeat(levels), " }".repeat(levels));
        assert_eq!(refusal(&deep(11)), None);
        assert_eq!(
            refusal(&deep(12)).as_deref(),
            Some("the document selects 13 deep, the limit is 12")
        );
    }

    #[test]
    fn introspection_may_be_deeper_than_data_but_not_without_end() {
        let types = |levels: usize| {
            let inner = format!("{}kind{}", "ofType { ".repeat(levels), " }".repeat(levels));
            format!("{{ __type(name: \"T\") {{ {inner} }} }}")
        };
        assert_eq!(weight(&types(20)).depth, 1);
        assert_eq!(refusal(&types(31)), None);
        let refused = "the document nests selections, those of fragments included, deeper than 32";
        assert_eq!(refusal(&types(32)).as_deref(), Some(refused));
    }

    #[test]
    fn nesting_counts_through_fragments_wherever_their_weight_is_asked_for_first() {
        let chain = |length: usize, operation: &str| {
            let fragments = (0..length)
                .map(|n| format!(" fragment F{n} on X {{ ...F{} }}", n + 1))
                .collect::<Vec<_>>()
                .concat();
            format!("{operation}{fragments} fragment F{length} on X {{ a }}")
        };
        assert_eq!(weight(&chain(31, "{ ...F0 }")).nesting, 32);
        assert_eq!(refusal(&chain(31, "{ ...F0 }")), None);
        for refused in [
            chain(32, "{ ...F0 }"),
            chain(31, "{ ... { ...F0 } }"),
            chain(500, "{ a }"),
        ] {
            assert!(refusal(&refused).unwrap().contains("nests selections"));
        }
    }

    #[test]
    fn fragments_that_double_each_other_are_measured_once_each_and_count_each_time() {
        let bomb = |length: usize| {
            let fragments = (0..length)
                .map(|n| format!(" fragment F{n} on X {{ ...F{0} ...F{0} }}", n + 1))
                .collect::<Vec<_>>()
                .concat();
            format!("{{ ...F0 }}{fragments} fragment F{length} on X {{ a: b }}")
        };
        let heaviest = weight(&bomb(31));
        assert_eq!(heaviest.aliases, 1 << 31);
        assert_eq!(heaviest.cost, 1 << 31);
        assert_eq!(heaviest.selections, (3 << 31) - 1);
        assert_eq!(
            refusal(&bomb(24)).as_deref(),
            Some(
                "the document comes to 50331647 fields, fragments and directives once its fragments are spread, the limit is 2000"
            )
        );
    }

    #[test]
    fn counts_that_no_number_holds_stay_the_largest() {
        let nested = (0..31).fold("a".to_owned(), |inner, _| {
            format!("x: featureFlags {{ {inner} }}")
        });
        assert_eq!(weight(&format!("{{ {nested} }}")).cost, usize::MAX);
    }

    #[test]
    fn a_fragment_that_spreads_itself_is_refused() {
        for cycle in [
            "{ ...F } fragment F on X { a { ...F } }",
            "{ a } fragment F on X { ...G ...G } fragment G on X { b { ...F ...F } }",
        ] {
            assert_eq!(refusal(cycle).as_deref(), Some("a fragment spreads itself"));
        }
        assert_eq!(refusal("{ ...Nobody }"), None);
    }

    #[test]
    fn aliases_and_selections_have_limits_of_their_own() {
        let aliased = |count: usize| {
            let fields = (0..count)
                .map(|n| format!("a{n}: a "))
                .collect::<Vec<_>>()
                .concat();
            format!("{{ {fields} }}")
        };
        assert_eq!(refusal(&aliased(30)), None);
        assert_eq!(
            refusal(&aliased(31)).as_deref(),
            Some("the document has 31 aliases once its fragments are spread, the limit is 30")
        );
        let wide = |count: usize| format!("{{ {} }}", "a @skip(if: false) ".repeat(count));
        assert_eq!(refusal(&wide(1_000)), None);
        assert_eq!(
            refusal(&wide(1_001)).as_deref(),
            Some(
                "the document comes to 2002 fields, fragments and directives once its fragments are spread, the limit is 2000"
            )
        );
        let operations = (0..3)
            .map(|n| format!("query Q{n} {}", wide(400)))
            .collect::<Vec<_>>()
            .concat();
        assert!(refusal(&operations).unwrap().contains("comes to 2400"));
    }

    #[test]
    fn a_page_costs_its_rows_and_what_stands_beside_them_once() {
        let page = |arguments: &str| {
            weight(&format!(
                "{{ list{arguments} {{ totalCount edges {{ node {{ id }} }} }} }}"
            ))
            .cost
        };
        // list, totalCount, and an edge, its node and its id for each row
        assert_eq!(page("(first: 10)"), 2 + 30);
        assert_eq!(page("(last: 10)"), 2 + 30);
        assert_eq!(page("(first: 0)"), 2);
        assert_eq!(page("(first: 1, last: 10)"), 2 + 30);
        assert_eq!(page("(first: 1000000)"), 2 + 300);
        for default in [
            "",
            "(first: null)",
            "(first: -1)",
            "(first: \"x\")",
            "(after: \"x\")",
        ] {
            assert_eq!(page(default), 2 + 75, "{default}");
        }
        let nested = "{ list(first: 10) { ...L } } fragment L on LC { edges { node { list(first: 5) { ... on LC { edges { cursor } } } } } }";
        assert_eq!(weight(nested).cost, 1 + 10 * (2 + 1 + 5 * 2));
    }

    #[test]
    fn a_page_may_have_the_size_of_a_variable_or_of_its_default() {
        let query = "query ($n: Int = 4) { list(first: $n) { edges { cursor } } }";
        let cost = |variables| weight_with(query, variables).cost;
        assert_eq!(cost(serde_json::json!({})), 1 + 4 * 2);
        assert_eq!(cost(serde_json::json!({"n": 7})), 1 + 7 * 2);
        assert_eq!(cost(serde_json::json!({"n": null})), 1 + 25 * 2);
        let query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } two: nodes(ids: [\"a\", \"b\"]) { id } }";
        let ids = serde_json::json!({"ids": ["a", "b", "c"]});
        assert_eq!(weight_with(query, ids).cost, (1 + 3) + (1 + 2));
    }

    #[test]
    fn of_several_operations_the_one_that_is_executed_is_weighed_with_its_own_variables() {
        let page =
            "list(first: $n) { edges { node { list(first: $n) { edges { node { a b c d } } } } } }";
        let document =
            format!("query A($n: Int = 1) {{ {page} }} query B($n: Int = 100) {{ {page} }}");
        let of = |name| check_document(&parsed(&document), Some(name), &Variables::default());
        assert!(of("A").is_ok());
        assert_eq!(
            of("B").unwrap_err().message,
            "the answer may have 60301 values with pages of these sizes, the limit is 50000"
        );
    }

    #[tokio::test]
    async fn every_list_of_the_schema_has_a_size() {
        let query = "{ __schema { types { name fields { name args { name } type { ...T } } } } }
            fragment T on __Type { kind ofType { kind ofType { kind ofType { kind } } } }";
        let answer = crate::schema::build().finish().execute(query).await;
        let answer = serde_json::to_value(answer).unwrap();
        let types = answer["data"]["__schema"]["types"].as_array().unwrap();
        let fields = types
            .iter()
            .filter_map(|ty| ty["fields"].as_array())
            .flatten();
        let mut unknown: Vec<&str> = fields
            .filter(|field| {
                let ty = field["type"].to_string();
                ty.contains("LIST")
                    && (ty.contains("OBJECT") || ty.contains("INTERFACE") || ty.contains("UNION"))
            })
            .map(|field| field["name"].as_str().unwrap())
            // a page's length is asked for, and that of `nodes` is given
            .filter(|name| !["edges", "nodes"].contains(name))
            .filter(|name| !LISTS.iter().any(|(list, _)| list == name))
            .collect();
        unknown.dedup();
        assert_eq!(unknown, Vec::<&str>::new());
    }
}
