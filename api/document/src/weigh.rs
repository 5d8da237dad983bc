//! What a document may ask for at once. Checked before the engine sees it: the engine's own checks, and its execution, walk a
//! fragment each time it is spread, so that a kilobyte of fragments that double each other would take all memory.
//!
//! One pass measures each fragment once, however often it is spread. It knows shapes, not types: which fields there are, the
//! engine says afterwards.

use std::collections::{BTreeMap, HashMap};

use async_graphql_parser::{
    Pos, Positioned,
    types::{
        Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition,
        OperationDefinition, Selection, SelectionSet,
    },
};
use async_graphql_value::{ConstValue, Name, Value};

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

/// Arguments of one field or directive: a field of the schema has ten at most. The engine compares the arguments of fields of one
/// name each with each.
const ARGUMENTS_MAX: usize = 32;

/// Variables that an operation declares. The engine looks each use up among them.
const VARIABLES_MAX: usize = 100;

/// Fields and arguments that stand, through fragments, in one set of selections, summed over all sets: the engine compares them
/// with each other set by set.
const MERGED_MAX: usize = 15_000;

/// Values that variables put into arguments. The engine copies them for each argument that it validates.
const INPUT_MAX: usize = 100_000;

/// How many bytes of a text in a variable are as a value.
const BYTES_AS_ONE: usize = 32;

/// How many values that variables put into an argument cost as one in the answer.
const INPUT_AS_ONE: usize = 100;

/// How large lists are, as far as a document does not say.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Edges of a page whose size is not asked for, and at most.
    pub page_default: u64,
    pub page_max: u64,
    /// How many objects a field of this name gives, where neither a page nor an argument says so.
    pub lists: &'static [(&'static str, usize)],
}

/// As how many at most the items of a variable are counted: a page has fewer, and what is multiplied by as many is refused.
const ITEMS_MAX: usize = 1_000;

/// Why a document is not handed on. Quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overweight {
    /// It asks for more than a request may; says what, and the limit.
    #[error("{0}")]
    TooComplex(String),
    /// A fragment, which is named here, spreads itself.
    #[error("a fragment spreads itself")]
    Cycle(Pos),
}

/// Measures a document, and tells how many values the executed operation's answer may have: its cost.
pub fn weigh(
    document: &ExecutableDocument,
    operation_name: Option<&str>,
    variables: &BTreeMap<Name, ConstValue>,
    sizes: &Sizes,
) -> Result<usize, Overweight> {
    let executed = executed(document, operation_name);
    let mut scales = Scales {
        sizes,
        fragments: &document.fragments,
        weighed: HashMap::new(),
        executed,
        variables,
        lengths: HashMap::new(),
        merged: 0,
        input: 0,
    };
    for (_, operation) in document.operations.iter() {
        within(
            operation.node.variable_definitions.len(),
            VARIABLES_MAX,
            |count| format!("an operation declares {count} variables"),
        )?;
        for variable in &operation.node.variable_definitions {
            scales.directives(&variable.node.directives)?;
        }
        scales.directives(&operation.node.directives)?;
    }
    // The engine recurses into fragments that nobody spreads, too.
    for (name, fragment) in &document.fragments {
        scales.directives(&fragment.node.directives)?;
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
    within(scales.merged, MERGED_MAX, |count| {
        format!("the document's fields and arguments stand {count} times beside each other")
    })?;
    within(scales.input, INPUT_MAX, |count| {
        format!("the variables come to {count} values where they are used")
    })?;
    weight.check()?;
    Ok(weight.cost)
}

/// Whether any field, also of a fragment that nobody spreads, asks for the schema itself.
pub fn introspects(document: &ExecutableDocument) -> bool {
    any_field(document, |field| {
        ["__schema", "__type"].contains(&field.name.node.as_str())
    })
}

/// Whether this directive stands at any field, also of a fragment that nobody spreads.
pub fn directs(document: &ExecutableDocument, directive: &str) -> bool {
    any_field(document, |field| {
        field
            .directives
            .iter()
            .any(|at| at.node.name.node == directive)
    })
}

fn any_field(document: &ExecutableDocument, is_it: impl Fn(&Field) -> bool + Copy) -> bool {
    // as deep as the scan let brackets nest
    fn among(set: &SelectionSet, is_it: impl Fn(&Field) -> bool + Copy) -> bool {
        set.items.iter().any(|item| match &item.node {
            Selection::Field(field) => {
                is_it(&field.node) || among(&field.node.selection_set.node, is_it)
            }
            Selection::InlineFragment(fragment) => among(&fragment.node.selection_set.node, is_it),
            Selection::FragmentSpread(_) => false,
        })
    }
    let operations = document.operations.iter();
    let mut sets = operations.map(|(_, operation)| &operation.node.selection_set.node);
    let mut fragments = document.fragments.values();
    sets.any(|set| among(set, is_it))
        || fragments.any(|fragment| among(&fragment.node.selection_set.node, is_it))
}

/// The operation that the engine will execute, if it finds one.
pub fn executed<'a>(
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
) -> Result<(), Overweight> {
    if count <= limit {
        return Ok(());
    }
    Err(Overweight::TooComplex(format!(
        "{}, the limit is {limit}",
        what(count)
    )))
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
    /// Fields and arguments of the set itself, through fragments.
    flat: usize,
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
            flat: self.flat.saturating_add(other.flat),
            row_cost: self.row_cost.saturating_add(other.row_cost),
        }
    }

    fn check(&self) -> Result<(), Overweight> {
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
    sizes: &'a Sizes,
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    /// The fragments weighed so far; without a weight yet while they are on the scales.
    weighed: HashMap<&'a Name, Option<Weight>>,
    executed: Option<&'a Positioned<OperationDefinition>>,
    variables: &'a BTreeMap<Name, ConstValue>,
    /// How many values the variables hold, as far as they were asked.
    lengths: HashMap<&'a Name, usize>,
    /// What [`MERGED_MAX`] and [`INPUT_MAX`] bound.
    merged: usize,
    input: usize,
}

impl<'a> Scales<'a> {
    /// `level` is how many sets stand around this one.
    fn set(
        &mut self,
        set: &'a SelectionSet,
        level: usize,
        introspects: bool,
    ) -> Result<Weight, Overweight> {
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
            self.directives(item.node.directives())?;
            let itself = Weight {
                selections: 1 + item.node.directives().len(),
                flat: 1,
                ..Weight::default()
            };
            sum = sum.and(weight).and(itself);
        }
        self.merged = self.merged.saturating_add(sum.flat);
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
    ) -> Result<Weight, Overweight> {
        if level == NESTING_MAX {
            return Err(too_nested());
        }
        let weight = self.set(set, level + 1, introspects)?;
        Ok(Weight {
            nesting: weight.nesting + 1,
            ..weight
        })
    }

    fn fragment(&mut self, name: &Name, pos: Pos, level: usize) -> Result<Weight, Overweight> {
        // One that does not exist weighs nothing; the engine refuses it.
        let Some((name, fragment)) = self.fragments.get_key_value(name) else {
            return Ok(Weight::default());
        };
        match self.weighed.insert(name, None) {
            Some(None) => {
                return Err(Overweight::Cycle(pos));
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
    ) -> Result<Weight, Overweight> {
        let name = field.name.node.as_str();
        within(field.arguments.len(), ARGUMENTS_MAX, |count| {
            format!("a field has {count} arguments")
        })?;
        let input = self.input(&field.arguments);
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
        let itself = 1 + input / INPUT_AS_ONE;
        let cost = itself.saturating_add(if begins {
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
            flat: field.arguments.len(),
            ..inner
        })
    }

    fn directives(&mut self, directives: &'a [Positioned<Directive>]) -> Result<(), Overweight> {
        for directive in directives {
            let arguments = &directive.node.arguments;
            within(arguments.len(), ARGUMENTS_MAX, |count| {
                format!("a directive has {count} arguments")
            })?;
            self.input(arguments);
        }
        Ok(())
    }

    /// How many values variables put into these arguments.
    fn input(&mut self, arguments: &'a [(Positioned<Name>, Positioned<Value>)]) -> usize {
        let mut sum = 0_usize;
        for (_, value) in arguments {
            sum = sum.saturating_add(self.length_of(&value.node));
        }
        self.input = self.input.saturating_add(sum);
        sum
    }

    /// How many values variables put into one. The scan has bounded how deep it nests.
    fn length_of(&mut self, value: &'a Value) -> usize {
        match value {
            Value::Variable(name) => {
                if let Some(known) = self.lengths.get(name) {
                    return *known;
                }
                let length = match (self.variables.get(name), self.default_of(name)) {
                    (Some(given), _) => length(given),
                    (None, Some(default)) => length(default),
                    (None, None) => 0,
                };
                self.lengths.insert(name, length);
                length
            }
            Value::List(items) => items.iter().fold(0, |sum: usize, item| {
                sum.saturating_add(self.length_of(item))
            }),
            Value::Object(fields) => fields.values().fold(0, |sum: usize, item| {
                sum.saturating_add(self.length_of(item))
            }),
            _ => 0,
        }
    }

    /// How many edges the field's page has at most.
    fn rows(&self, field: &Field) -> usize {
        let asked = field
            .arguments
            .iter()
            .filter(|(name, _)| ["first", "last"].contains(&name.node.as_str()))
            .filter_map(|(_, value)| match &value.node {
                Value::Number(number) => number.as_u64(),
                Value::Variable(name) => match self.variable(name)? {
                    ConstValue::Number(number) => number.as_u64(),
                    _ => None,
                },
                _ => None,
            });
        let rows = asked
            .max()
            .unwrap_or(self.sizes.page_default)
            .min(self.sizes.page_max);
        usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// How many objects the field gives, besides those of a page: one for each of the `ids` or `keys` that it is given.
    fn items(&self, field: &Field) -> usize {
        let given = field
            .arguments
            .iter()
            .filter_map(|(_, value)| match &value.node {
                Value::List(items) => Some(items.len()),
                Value::Variable(name) => match self.variable(name)? {
                    ConstValue::List(items) => Some(items.len().min(ITEMS_MAX)),
                    _ => None,
                },
                _ => None,
            });
        given.max().unwrap_or_else(|| {
            let name = field.name.node.as_str();
            self.sizes
                .lists
                .iter()
                .find(|(list, _)| *list == name)
                .map_or(1, |(_, size)| *size)
        })
    }

    fn variable(&self, name: &Name) -> Option<&'a ConstValue> {
        self.variables.get(name).or_else(|| self.default_of(name))
    }

    fn default_of(&self, name: &Name) -> Option<&'a ConstValue> {
        let mut declared = self.executed?.node.variable_definitions.iter();
        let variable = declared.find(|variable| variable.node.name.node == *name)?;
        Some(&variable.node.default_value.as_ref()?.node)
    }
}

/// How many values a variable holds, long texts as several. What reads JSON has bounded how deep it nests.
fn length(value: &ConstValue) -> usize {
    match value {
        ConstValue::String(text) => 1 + text.len() / BYTES_AS_ONE,
        ConstValue::List(items) => 1 + items.iter().map(length).sum::<usize>(),
        ConstValue::Object(fields) => {
            let names = fields.keys().map(|name| 1 + name.len() / BYTES_AS_ONE);
            1 + names.sum::<usize>() + fields.values().map(length).sum::<usize>()
        }
        _ => 1,
    }
}

fn too_nested() -> Overweight {
    Overweight::TooComplex(format!(
        "the document nests selections, those of fragments included, deeper than {NESTING_MAX}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(document: &str) -> ExecutableDocument {
        async_graphql_parser::parse_query(document).unwrap()
    }

    const SIZES: Sizes = Sizes {
        page_default: 25,
        page_max: 100,
        lists: &[("featureFlags", 50)],
    };

    fn variables(json: serde_json::Value) -> BTreeMap<Name, ConstValue> {
        serde_json::from_value(json).unwrap()
    }

    fn weight_with(document: &str, json: serde_json::Value) -> Weight {
        let document = parsed(document);
        let executed = executed(&document, None).unwrap();
        let variables = variables(json);
        let mut scales = Scales {
            sizes: &SIZES,
            fragments: &document.fragments,
            weighed: HashMap::new(),
            executed: Some(executed),
            variables: &variables,
            lengths: HashMap::new(),
            merged: 0,
            input: 0,
        };
        scales
            .set(&executed.node.selection_set.node, 0, false)
            .unwrap()
    }

    fn weight(document: &str) -> Weight {
        weight_with(document, serde_json::json!({}))
    }

    fn refusal(document: &str) -> Option<String> {
        refusal_with(document, serde_json::json!({}))
    }

    fn refusal_with(document: &str, json: serde_json::Value) -> Option<String> {
        let weighed = weigh(&parsed(document), None, &variables(json), &SIZES);
        weighed.err().map(|error| error.to_string())
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
        let of = |name| weigh(&parsed(&document), Some(name), &BTreeMap::new(), &SIZES);
        assert!(of("A").is_ok());
        assert_eq!(
            of("B").unwrap_err().to_string(),
            "the answer may have 60301 values with pages of these sizes, the limit is 50000"
        );
    }

    #[test]
    fn arguments_and_declared_variables_are_few() {
        let arguments = |count: usize| {
            (0..count)
                .map(|n| format!("a{n}: 1 "))
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(refusal(&format!("{{ a({}) }}", arguments(32))), None);
        assert_eq!(
            refusal(&format!("{{ a({}) }}", arguments(33))).as_deref(),
            Some("a field has 33 arguments, the limit is 32")
        );
        for place in [
            "{ a @d(X) }",
            "query @d(X) { a }",
            "{ a } fragment F on T @d(X) { a }",
        ] {
            let refused = refusal(&place.replace('X', &arguments(33)));
            let refused = refused.as_deref();
            assert_eq!(
                refused,
                Some("a directive has 33 arguments, the limit is 32"),
                "{place}"
            );
        }
        let declared = |count: usize| {
            (0..count)
                .map(|n| format!("$v{n}: Int "))
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(refusal(&format!("query ({}) {{ a }}", declared(100))), None);
        assert_eq!(
            refusal(&format!("query ({}) {{ a }}", declared(101))).as_deref(),
            Some("an operation declares 101 variables, the limit is 100")
        );
    }

    #[test]
    fn fields_that_stand_beside_each_other_in_many_sets_are_counted_in_each() {
        // each of 30 sets holds all the fields within it
        let nested = |fields: usize| {
            (0..30).fold("a(b: 1) ".repeat(fields), |inner, _| {
                format!("... {{ {inner} }}")
            })
        };
        assert_eq!(refusal(&format!("{{ {} }}", nested(200))), None);
        assert!(
            refusal(&format!("{{ {} }}", nested(250)))
                .unwrap()
                .contains("beside each other")
        );
        let spread = format!(
            "{{ {} }} fragment F on T {{ {} }}",
            "a { ...F } ".repeat(3),
            "b ".repeat(500)
        );
        assert_eq!(refusal(&spread), None);
    }

    #[test]
    fn what_variables_hold_counts_where_they_are_used() {
        let used =
            |times: usize| format!("query ($v: X) {{ {} }}", "a(b: [{c: $v}]) ".repeat(times));
        let long = serde_json::json!({"v": "x".repeat(32 * 9_999)});
        assert_eq!(refusal_with(&used(10), long.clone()), None);
        assert_eq!(
            refusal_with(&used(11), long.clone()).as_deref(),
            Some("the variables come to 110000 values where they are used, the limit is 100000")
        );
        // a fragment that nobody spreads is validated too
        let unspread = format!(
            "query ($v: X) {{ a }} fragment F on T {{ {} }}",
            "a(b: $v) ".repeat(11)
        );
        assert!(refusal_with(&unspread, long).is_some());
        let many = serde_json::json!({"v": vec![serde_json::json!({"k": 1}); 10_000]});
        assert_eq!(weight_with(&used(1), many).cost, 1 + 30_001 / 100);
        let rows = "query ($v: X) { list(first: 100) { edges { a(b: $v) } } }";
        let text = serde_json::json!({"v": "x".repeat(32_000)});
        assert_eq!(weight_with(rows, text).cost, 1 + 100 * (1 + 1 + 10));
    }
}
