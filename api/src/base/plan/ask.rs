//! What a document asks for, read once: fields with their arguments, aliases, fragments and conditions.

use std::{collections::HashMap, mem};

use async_graphql::{
    InputType, Name, Positioned, Value, Variables,
    parser::types::{
        BaseType, Directive, Field as DocumentField, FragmentDefinition, OperationDefinition,
        Selection, SelectionSet, VariableDefinition,
    },
};
use async_graphql_value::Value as DocumentValue;

/// `None`: no plan can be made of this; the engine answers it.
pub type Compiled<T> = Option<T>;

/// `None`: the plan does not answer this request; the engine does, with an error where there is one.
pub type Run<T> = Option<T>;

/// An operation and the fragments around it.
#[derive(Clone, Copy)]
pub struct Source<'d> {
    fragments: &'d HashMap<Name, Positioned<FragmentDefinition>>,
}

/// A field that is asked for, in the document's words.
pub struct Asked<'d> {
    source: Source<'d>,
    field: &'d DocumentField,
    /// The sets of all fields of this response key, which are merged.
    sets: Vec<&'d SelectionSet>,
    when: Vec<When>,
}

/// A field of a plan: where it goes in the answer, when, and what it is.
#[derive(Debug)]
pub struct Field<F> {
    /// The response key as it is written: `"name":`.
    key: Box<str>,
    when: Vec<When>,
    pub what: F,
}

/// A `@skip` or an `@include`.
#[derive(Clone, Debug)]
struct When {
    keeps: bool,
    condition: DocumentValue,
}

impl<'d> Source<'d> {
    pub const fn new(fragments: &'d HashMap<Name, Positioned<FragmentDefinition>>) -> Self {
        Self { fragments }
    }

    /// One field, wherever it stands.
    pub fn field(self, field: &'d DocumentField) -> Asked<'d> {
        Asked {
            source: self,
            field,
            sets: vec![&field.selection_set.node],
            when: vec![],
        }
    }

    /// The operation's own fields. `root` is the name of the type that they are of.
    pub fn root(self, operation: &'d OperationDefinition, root: &str) -> Compiled<Vec<Asked<'d>>> {
        if !operation.directives.is_empty() {
            return None;
        }
        self.fields(&[&operation.selection_set.node], &[root])
    }

    /// The fields of an object, one a response key, in the order in which they are answered. A fragment applies whose type is one
    /// of `types`.
    fn fields(self, sets: &[&'d SelectionSet], types: &[&str]) -> Compiled<Vec<Asked<'d>>> {
        let mut found = Vec::new();
        for set in sets {
            self.collect(set, types, &[], &mut found)?;
        }
        Some(found)
    }

    fn collect(
        self,
        set: &'d SelectionSet,
        types: &[&str],
        when: &[When],
        found: &mut Vec<Asked<'d>>,
    ) -> Compiled<()> {
        for item in &set.items {
            let when = conditions(item.node.directives(), when)?;
            match &item.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let key = &field.response_key().node;
                    let known = found
                        .iter_mut()
                        .find(|asked| asked.field.response_key().node == *key);
                    match known {
                        None => found.push(Asked {
                            source: self,
                            field,
                            sets: vec![&field.selection_set.node],
                            when,
                        }),
                        // Which one decides depends on the variables.
                        Some(asked) if !asked.when.is_empty() || !when.is_empty() => return None,
                        Some(asked) => asked.sets.push(&field.selection_set.node),
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let fragment = &fragment.node;
                    if let Some(on) = &fragment.type_condition
                        && !types.contains(&on.node.on.node.as_str())
                    {
                        return None;
                    }
                    self.collect(&fragment.selection_set.node, types, &when, found)?;
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = &self.fragments.get(&spread.node.fragment_name.node)?.node;
                    let on = fragment.type_condition.node.on.node.as_str();
                    if !types.contains(&on) || !fragment.directives.is_empty() {
                        return None;
                    }
                    self.collect(&fragment.selection_set.node, types, &when, found)?;
                }
            }
        }
        Some(())
    }
}

fn conditions(directives: &[Positioned<Directive>], around: &[When]) -> Compiled<Vec<When>> {
    let mut when = around.to_vec();
    for directive in directives {
        let keeps = match directive.node.name.node.as_str() {
            "skip" => false,
            "include" => true,
            _ => return None,
        };
        let condition = directive.node.get_argument("if")?.node.clone();
        when.push(When { keeps, condition });
    }
    Some(when)
}

impl<'d> Asked<'d> {
    pub fn name(&self) -> &'d str {
        self.field.name.node.as_str()
    }
    /// The object's fields, each put through `read`, which gives `None` for one that it does not know. `types` are the names
    /// of the object's type and of its interfaces.
    pub fn fields<F>(
        &self,
        types: &[&str],
        read: impl FnMut(&Self) -> Compiled<F>,
    ) -> Compiled<Vec<Field<F>>> {
        all(self.source.fields(&self.sets, types)?, read)
    }
    /// The arguments, as long as they are all among `known`.
    pub fn arguments(&self, known: &[&str]) -> Compiled<Arguments> {
        let arguments = &self.field.arguments;
        let all_known = arguments
            .iter()
            .all(|(name, _)| known.contains(&name.node.as_str()));
        all_known.then(|| {
            Arguments(
                arguments
                    .iter()
                    .map(|(name, value)| (name.node.clone(), value.node.clone()))
                    .collect(),
            )
        })
    }
}

/// Each of `asked`, put through `read`.
pub(super) fn all<'d, F>(
    asked: Vec<Asked<'d>>,
    mut read: impl FnMut(&Asked<'d>) -> Compiled<F>,
) -> Compiled<Vec<Field<F>>> {
    asked
        .into_iter()
        .map(|mut asked| {
            Some(Field {
                what: read(&asked)?,
                key: format!("{}:", Value::from(asked.field.response_key().node.as_str())).into(),
                when: mem::take(&mut asked.when),
            })
        })
        .collect()
}

impl<F> Field<F> {
    pub fn all<'d>(
        asked: Vec<Asked<'d>>,
        read: impl FnMut(&Asked<'d>) -> Compiled<F>,
    ) -> Compiled<Vec<Self>> {
        all(asked, read)
    }
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A field's arguments, in the document's words.
#[derive(Debug, Default)]
pub struct Arguments(Vec<(Name, DocumentValue)>);

/// The request's variables, by their definitions.
pub struct Given<'r> {
    definitions: &'r [Positioned<VariableDefinition>],
    variables: &'r Variables,
}

impl<'r> Given<'r> {
    /// `None` where a variable is missing that must not be, or does not look like its type.
    pub fn new(
        definitions: &'r [Positioned<VariableDefinition>],
        variables: &'r Variables,
    ) -> Run<Self> {
        definitions
            .iter()
            .all(|definition| {
                let definition = &definition.node;
                let r#type = &definition.var_type.node;
                match variables.get(&definition.name.node) {
                    None => r#type.nullable || definition.default_value.is_some(),
                    Some(Value::Null) => r#type.nullable,
                    Some(value) => is_like(value, &r#type.base),
                }
            })
            .then_some(Self {
                definitions,
                variables,
            })
    }

    fn variable(&self, name: &Name) -> Option<Value> {
        let definition = &self
            .definitions
            .iter()
            .find(|definition| definition.node.name.node == *name)?
            .node;
        let default = || {
            definition
                .default_value
                .as_ref()
                .map(|value| value.node.clone())
        };
        self.variables.get(name).cloned().or_else(default)
    }

    /// As the engine replaces variables: one that is not given leaves out its argument or field, and is null in a list.
    fn replaced(&self, value: &DocumentValue) -> Option<Value> {
        Some(match value {
            DocumentValue::Variable(name) => self.variable(name)?,
            DocumentValue::Null => Value::Null,
            DocumentValue::Number(number) => Value::Number(number.clone()),
            DocumentValue::String(text) => Value::String(text.clone()),
            DocumentValue::Boolean(value) => Value::Boolean(*value),
            DocumentValue::Binary(bytes) => Value::Binary(bytes.clone()),
            DocumentValue::Enum(name) => Value::Enum(name.clone()),
            DocumentValue::List(items) => Value::List(
                items
                    .iter()
                    .map(|item| self.replaced(item).unwrap_or(Value::Null))
                    .collect(),
            ),
            DocumentValue::Object(fields) => Value::Object(
                fields
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), self.replaced(value)?)))
                    .collect(),
            ),
        })
    }

    /// An argument, read as the engine reads it.
    pub fn argument<T: InputType>(&self, arguments: &Arguments, name: &str) -> Run<T> {
        let given = arguments.0.iter().find(|(known, _)| known == name);
        T::parse(given.and_then(|(_, value)| self.replaced(value))).ok()
    }

    /// As [`Self::argument`], where the schema has a default.
    pub fn argument_or<T: InputType>(
        &self,
        arguments: &Arguments,
        name: &str,
        default: T,
    ) -> Run<T> {
        if arguments.0.iter().any(|(known, _)| known == name) {
            self.argument(arguments, name)
        } else {
            Some(default)
        }
    }
}

/// Whether a value has the outer form of a type. What it is made of is told when it is read.
fn is_like(value: &Value, base: &BaseType) -> bool {
    match (base, value) {
        (BaseType::List(_), Value::List(_)) => true,
        // A single value stands for a list of itself; the engine sees to that.
        (BaseType::List(_), _) => false,
        (BaseType::Named(name), value) => match name.as_str() {
            "Int" => matches!(value, Value::Number(number) if number.is_i64()),
            "Float" => matches!(value, Value::Number(_)),
            "String" | "DateTime" | "ID" => matches!(value, Value::String(_)),
            "Boolean" => matches!(value, Value::Boolean(_)),
            _ => true,
        },
    }
}

/// The fields whose conditions hold.
pub fn kept<'f, F>(
    fields: &'f [Field<F>],
    given: &'f Given<'_>,
) -> impl Iterator<Item = Run<&'f Field<F>>> {
    fields.iter().filter_map(|field| {
        for when in &field.when {
            match given.replaced(&when.condition) {
                Some(Value::Boolean(holds)) if holds == when.keeps => {}
                Some(Value::Boolean(_)) => return None,
                _ => return Some(None),
            }
        }
        Some(Some(field))
    })
}
