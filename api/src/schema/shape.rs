//! The shape of the schema, against which documents and variables are held beside the engine's own rules: it takes numbers for
//! an `Int` that are none, looks at variables only where a field is executed, and names what the caller may not see.

use std::{collections::HashMap, sync::LazyLock};

use async_graphql::{
    Name, Number, Pos, Positioned, ServerError, Value, Variables,
    parser::{
        parse_schema,
        types::{
            BaseType, Directive, DirectiveDefinition, ExecutableDocument, Field, FieldDefinition,
            InputValueDefinition, InterfaceType, ObjectType, OperationDefinition, OperationType,
            Selection, SelectionSet, Type, TypeDefinition, TypeKind, TypeSystemDefinition,
        },
    },
};
use async_graphql_value::Value as Literal;

use super::document::VALIDATING;

/// The types and directives of the schema, by their names.
#[derive(Default)]
pub(super) struct Shape {
    types: HashMap<Name, TypeDefinition>,
    pub(super) directives: HashMap<Name, DirectiveDefinition>,
}

pub(super) static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
    Shape::of(&VALIDATING.sdl()).unwrap_or_else(|error| {
        tracing::error!(%error, "the schema's own export cannot be read");
        Shape::default()
    })
});

/// What a document names, and what the schema has of that name.
pub(super) enum Met<'d> {
    /// A fragment's condition, or a variable's type.
    Type(&'d Name),
    /// A field of a type; of none where that is unknown.
    Field {
        parent: Option<&'d str>,
        field: &'d Field,
    },
    Directive(&'d Name),
    /// What a `@skip` or an `@include` asks, if it does.
    Condition(Option<&'d Literal>),
    /// An argument's value, or a variable's default.
    Value {
        name: &'d Name,
        /// Where it is expected; `None` where nothing is.
        expected: Option<&'d Type>,
        literal: &'d Literal,
    },
}

impl Shape {
    fn of(sdl: &str) -> Result<Self, async_graphql::parser::Error> {
        let mut shape = Self::default();
        for definition in parse_schema(sdl)?.definitions {
            match definition {
                TypeSystemDefinition::Type(ty) => {
                    shape.types.insert(ty.node.name.node.clone(), ty.node);
                }
                TypeSystemDefinition::Directive(directive) => {
                    let name = directive.node.name.node.clone();
                    shape.directives.insert(name, directive.node);
                }
                TypeSystemDefinition::Schema(_) => {}
            }
        }
        Ok(shape)
    }

    fn field(&self, parent: &str, name: &str) -> Option<&FieldDefinition> {
        let (TypeKind::Object(ObjectType { fields, .. })
        | TypeKind::Interface(InterfaceType { fields, .. })) = &self.types.get(parent)?.kind
        else {
            return None;
        };
        let mut fields = fields.iter().map(|field| &field.node);
        fields.find(|field| field.name.node == name)
    }

    /// Shows `meet` all that the document names, each place once.
    pub(super) fn walk<'d>(
        &'d self,
        document: &'d ExecutableDocument,
        meet: &mut impl FnMut(Met<'d>, Pos),
    ) {
        for (_, operation) in document.operations.iter() {
            let OperationDefinition {
                ty,
                variable_definitions,
                directives,
                selection_set,
            } = &operation.node;
            for Positioned { node, pos } in variable_definitions {
                meet(Met::Type(named(&node.var_type.node)), *pos);
                self.walk_directives(&node.directives, meet);
            }
            self.walk_directives(directives, meet);
            let root = match ty {
                OperationType::Query => "Query",
                OperationType::Mutation => "Mutation",
                OperationType::Subscription => "Subscription",
            };
            self.walk_set(Some(root), &selection_set.node, meet);
        }
        for fragment in document.fragments.values() {
            let condition = &fragment.node.type_condition.node.on;
            meet(Met::Type(&condition.node), condition.pos);
            self.walk_directives(&fragment.node.directives, meet);
            self.walk_set(
                Some(condition.node.as_str()),
                &fragment.node.selection_set.node,
                meet,
            );
        }
    }

    fn walk_set<'d>(
        &'d self,
        parent: Option<&'d str>,
        set: &'d SelectionSet,
        meet: &mut impl FnMut(Met<'d>, Pos),
    ) {
        for Positioned { node, pos } in &set.items {
            self.walk_directives(node.directives(), meet);
            match node {
                Selection::Field(field) => {
                    let field = &field.node;
                    meet(Met::Field { parent, field }, *pos);
                    let name = &field.name.node;
                    let known = parent.and_then(|parent| self.field(parent, name));
                    // introspection's own fields are the engine's
                    if known.is_some() || !name.starts_with("__") {
                        let inputs = known.map_or(&[][..], |known| &known.arguments);
                        Self::walk_arguments(&field.arguments, inputs, meet);
                        let ty = known.map(|known| named(&known.ty.node).as_str());
                        if ty.is_some() {
                            self.walk_set(ty, &field.selection_set.node, meet);
                        }
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let condition = condition.map(|condition| &condition.node.on);
                    if let Some(condition) = condition {
                        meet(Met::Type(&condition.node), condition.pos);
                    }
                    let parent = condition.map_or(parent, |on| Some(on.node.as_str()));
                    self.walk_set(parent, &fragment.node.selection_set.node, meet);
                }
                // a fragment is looked at where it stands
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    fn walk_directives<'d>(
        &'d self,
        directives: &'d [Positioned<Directive>],
        meet: &mut impl FnMut(Met<'d>, Pos),
    ) {
        for Positioned { node, pos } in directives {
            meet(Met::Directive(&node.name.node), *pos);
            // the export leaves out the language's own
            if ["skip", "include"].contains(&node.name.node.as_str()) {
                let condition = node.get_argument("if").map(|literal| &literal.node);
                meet(Met::Condition(condition), *pos);
            }
            if let Some(known) = self.directives.get(&node.name.node) {
                Self::walk_arguments(&node.arguments, &known.arguments, meet);
            }
        }
    }

    fn walk_arguments<'d>(
        arguments: &'d [(Positioned<Name>, Positioned<Literal>)],
        inputs: &'d [Positioned<InputValueDefinition>],
        meet: &mut impl FnMut(Met<'d>, Pos),
    ) {
        for (name, literal) in arguments {
            let input = input(inputs, &name.node);
            let met = Met::Value {
                name: &name.node,
                expected: input.map(|input| &input.ty.node),
                literal: &literal.node,
            };
            meet(met, name.pos);
        }
    }

    /// What in the literal the engine takes though it is wrong: a number for an `Int` that is none, a text for an enum's value. All
    /// else is the engine's to say.
    fn slip(&self, ty: &Type, literal: &Literal) -> Option<Slip> {
        let name = match (&ty.base, literal) {
            (BaseType::List(item), Literal::List(items)) => {
                return items.iter().find_map(|literal| self.slip(item, literal));
            }
            (BaseType::List(item), literal) => return self.slip(item, literal),
            (BaseType::Named(name), _) => name,
        };
        match (literal, self.types.get(name).map(|ty| &ty.kind)) {
            (Literal::Number(number), _) if name == "Int" => (!is_int(number)).then_some(Slip::Int),
            (Literal::String(_), Some(TypeKind::Enum(_))) => Some(Slip::Enum),
            (Literal::Object(members), Some(TypeKind::InputObject(object))) => {
                members.iter().find_map(|(name, literal)| {
                    let input = input(&object.fields, name)?;
                    self.slip(&input.ty.node, literal)
                })
            }
            _ => None,
        }
    }

    /// Why a variable's value is none of the type; `None` where it is one. Values of our own scalars are looked at where they are used.
    fn misfit(&self, ty: &Type, value: &Value) -> Option<Misfit> {
        match (&ty.base, value) {
            (_, Value::Null) if ty.nullable => None,
            (_, Value::Null) => Some(Misfit::expected(ty)),
            (BaseType::List(item), Value::List(items)) => {
                items.iter().enumerate().find_map(|(at, value)| {
                    let misfit = self.misfit(item, value)?;
                    Some(misfit.within(&at.to_string()))
                })
            }
            (BaseType::List(item), value) => self.misfit(item, value),
            (BaseType::Named(name), value) => self.misfit_named(ty, name, value),
        }
    }

    fn misfit_named(&self, ty: &Type, name: &Name, value: &Value) -> Option<Misfit> {
        let fits = match (name.as_str(), value) {
            ("Int", Value::Number(number)) => is_int(number),
            ("Float", value) => matches!(value, Value::Number(_)),
            ("ID", Value::Number(number)) => number.is_i64(),
            ("String" | "ID", value) => matches!(value, Value::String(_)),
            ("Boolean", value) => matches!(value, Value::Boolean(_)),
            ("Int", _) => false,
            _ => match &self.types.get(name)?.kind {
                TypeKind::Enum(known) => {
                    let given = match value {
                        Value::Enum(given) => given.as_str(),
                        Value::String(given) => given,
                        _ => "",
                    };
                    known
                        .values
                        .iter()
                        .any(|known| known.node.value.node == given)
                }
                TypeKind::InputObject(object) => match value {
                    Value::Object(members) => {
                        let one_of = self.is_one_of(name);
                        return self.misfit_object(ty, &object.fields, one_of, members);
                    }
                    _ => false,
                },
                _ => true,
            },
        };
        (!fits).then(|| Misfit::expected(ty))
    }

    fn is_one_of(&self, name: &Name) -> bool {
        let directives = self.types.get(name).map_or(&[][..], |ty| &ty.directives);
        directives
            .iter()
            .any(|directive| directive.node.name.node == "oneOf")
    }

    fn misfit_object(
        &self,
        ty: &Type,
        inputs: &[Positioned<InputValueDefinition>],
        one_of: bool,
        members: &Members,
    ) -> Option<Misfit> {
        if members.keys().any(|name| input(inputs, name).is_none()) {
            return Some(Misfit::new(format!(
                "unknown field of type \"{}\"",
                named(ty)
            )));
        }
        if one_of && (members.len() != 1 || members.values().any(|value| *value == Value::Null)) {
            return Some(Misfit::new(format!(
                "\"{}\" takes exactly one field",
                named(ty)
            )));
        }
        inputs.iter().map(|input| &input.node).find_map(|input| {
            let (name, ty) = (&input.name.node, &input.ty.node);
            match members.get(name) {
                Some(value) => Some(self.misfit(ty, value)?.within(name)),
                None if ty.nullable || input.default_value.is_some() => None,
                None => Some(Misfit::new(format!(
                    "field \"{name}\" of type \"{ty}\" is required but not provided"
                ))),
            }
        })
    }
}

/// An object's members.
type Members = async_graphql::indexmap::IndexMap<Name, Value>;

/// Where a value does not fit, and what was expected there.
struct Misfit {
    /// From the inside out.
    path: Vec<String>,
    reason: String,
}

impl Misfit {
    fn new(reason: String) -> Self {
        Self {
            path: vec![],
            reason,
        }
    }
    fn expected(ty: &Type) -> Self {
        Self::new(format!("expected type \"{ty}\""))
    }
    fn within(mut self, segment: &str) -> Self {
        self.path.push(segment.to_owned());
        self
    }
    /// At a variable's definition, whose name is the document's own word.
    fn at(mut self, pos: Pos) -> ServerError {
        self.path.reverse();
        let place = if self.path.is_empty() {
            String::new()
        } else {
            format!(" at {}", self.path.join("."))
        };
        let message = format!("Invalid value for a variable{place}, {}", self.reason);
        ServerError::new(message, Some(pos))
    }
}

fn named(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => named(item),
    }
}

fn input<'a>(
    inputs: &'a [Positioned<InputValueDefinition>],
    name: &str,
) -> Option<&'a InputValueDefinition> {
    let mut inputs = inputs.iter().map(|input| &input.node);
    inputs.find(|input| input.name.node == name)
}

/// The specification's `Int` has 32 bits.
fn is_int(number: &Number) -> bool {
    number
        .as_i64()
        .is_some_and(|number| i32::try_from(number).is_ok())
}

/// What the engine takes though it is wrong.
#[derive(Clone, Copy, Debug)]
enum Slip {
    Int,
    Enum,
}

impl Slip {
    const fn reason(self) -> &'static str {
        match self {
            Self::Int => "an Int has at most 32 bits",
            Self::Enum => "an enum's value is a name and no text",
        }
    }
}

/// What is wrong with a document's literals, and with what its directives ask for, where the engine would come to it and where not.
pub(super) fn check_literals(document: &ExecutableDocument) -> Vec<ServerError> {
    let mut errors = vec![];
    let mut meet = |met: Met<'_>, pos| match met {
        Met::Value {
            name,
            expected: Some(ty),
            literal,
        } => {
            if let Some(slip) = SHAPE.slip(ty, literal) {
                let reason = slip.reason();
                let message = format!("Invalid value for argument \"{name}\", {reason}");
                errors.push(ServerError::new(message, Some(pos)));
            }
        }
        // The engine asks nothing of those at `__typename`, and takes whatever it does not understand for false.
        Met::Condition(condition)
            if !condition.is_some_and(|literal| is_condition(document, literal)) =>
        {
            let message = "Invalid value for argument \"if\", expected type \"Boolean!\"";
            errors.push(ServerError::new(message, Some(pos)));
        }
        _ => {}
    };
    SHAPE.walk(document, &mut meet);
    for (_, operation) in document.operations.iter() {
        for Positioned { node, pos } in &operation.node.variable_definitions {
            if let Some(default) = &node.default_value {
                let literal = default.node.clone().into_value();
                if let Some(slip) = SHAPE.slip(&node.var_type.node, &literal) {
                    let message =
                        format!("Invalid default value for a variable, {}", slip.reason());
                    errors.push(ServerError::new(message, Some(*pos)));
                }
            }
        }
    }
    errors
}

/// Whether a literal can stand for a `Boolean!`: a variable, where an operation of the document declares it as one that is there.
fn is_condition(document: &ExecutableDocument, literal: &Literal) -> bool {
    match literal {
        Literal::Boolean(_) => true,
        Literal::Variable(name) => document.operations.iter().any(|(_, operation)| {
            let mut definitions = operation.node.variable_definitions.iter();
            definitions.any(|definition| {
                let definition = &definition.node;
                let ty = &definition.var_type.node;
                definition.name.node == *name
                    && matches!(&ty.base, BaseType::Named(base) if base == "Boolean")
                    && (!ty.nullable || definition.default_value.is_some())
            })
        }),
        _ => false,
    }
}

/// Why the variables are not what the operation declares: the specification's coercion, before anything is executed.
pub(super) fn check_variables(
    operation: &OperationDefinition,
    variables: &Variables,
) -> Vec<ServerError> {
    let definitions = operation.variable_definitions.iter();
    definitions
        .filter_map(|Positioned { node, pos }| {
            let ty = &node.var_type.node;
            match variables.get(&node.name.node) {
                Some(value) => Some(SHAPE.misfit(ty, value)?.at(*pos)),
                None if ty.nullable || node.default_value.is_some() => None,
                None => Some(
                    Misfit::new(format!(
                        "a value of type \"{ty}\" is required but not provided"
                    ))
                    .at(*pos),
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use async_graphql::Variables;
    use serde_json::{Value, json};

    use super::{SHAPE, check_literals, check_variables};

    fn literals(text: &str) -> usize {
        check_literals(&document::parse(text).unwrap()).len()
    }

    fn variables(text: &str, given: Value) -> Vec<String> {
        let document = document::parse(text).unwrap();
        let operation = document::executed(&document, None).unwrap();
        let errors = check_variables(&operation.node, &Variables::from_json(given));
        errors.into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn the_export_of_the_schema_is_its_shape() {
        assert!(SHAPE.field("Query", "contacts").is_some());
        assert!(SHAPE.field("Node", "id").is_some());
        assert!(SHAPE.directives.contains_key("idempotent"));
        assert!(SHAPE.is_one_of(&async_graphql::Name::new("ContactKey")));
    }

    #[test]
    fn a_number_that_is_no_int_is_found_wherever_it_stands() {
        for (text, wrong) in [
            ("{ contacts(first: 2147483647) { totalCount } }", 0),
            ("{ contacts(first: 2147483648) { totalCount } }", 1),
            ("{ contacts(first: -2147483649) { totalCount } }", 1),
            (
                "{ contacts(first: 3000000000) @skip(if: true) { totalCount } }",
                1,
            ),
            (
                "query ($n: Int = 3000000000) { contacts(first: $n) { totalCount } }",
                1,
            ),
            (
                "{ ...F } fragment F on Query { contacts(last: 3000000000) { totalCount } }",
                1,
            ),
            (
                "mutation ($key: String) { nudgeSave(input: {key: $key, priority: 3000000000}) { userErrors { code } } }",
                1,
            ),
            // a JSON value has numbers of any size
            (
                "mutation { contactUpsert(input: {traits: {n: 3000000000}}) { userErrors { code } } }",
                0,
            ),
            ("{ nothing(first: 3000000000) { here } }", 0),
        ] {
            assert_eq!(literals(text), wrong, "{text}");
        }
    }

    #[test]
    fn a_text_is_no_enums_value() {
        for (text, wrong) in [
            (
                "{ contacts(orderBy: {field: CREATED_AT, direction: DESC}) { totalCount } }",
                0,
            ),
            (
                "{ contacts(orderBy: {field: \"CREATED_AT\", direction: DESC}) { totalCount } }",
                1,
            ),
            (
                "{ contacts(filter: {status: {in: [KNOWN, \"KNOWN\"]}}) { totalCount } }",
                1,
            ),
        ] {
            assert_eq!(literals(text), wrong, "{text}");
        }
    }

    #[test]
    fn what_is_skipped_is_told_by_a_boolean_that_is_there() {
        for (text, wrong) in [
            ("{ __typename @skip(if: true) }", 0),
            (
                "query ($a: Boolean!) { __typename @skip(if: $a) tenant @include(if: $a) { id } }",
                0,
            ),
            (
                "query ($a: Boolean = true) { ...F } fragment F on Query { __typename @skip(if: $a) }",
                0,
            ),
            ("query ($a: Boolean) { tenant @include(if: $a) { id } }", 1),
            (
                "query ($a: String!) { tenant { __typename @include(if: $a) } }",
                1,
            ),
            ("{ __typename @include(if: $a) }", 1),
            ("{ __typename @include(if: \"true\") }", 1),
            ("{ __typename @include }", 1),
            ("{ ... @skip(if: 1) { __typename } }", 1),
        ] {
            assert_eq!(literals(text), wrong, "{text}");
        }
    }

    #[test]
    fn variables_are_what_the_operation_declares() {
        let page = "query ($n: Int!) { contacts(first: $n) @skip(if: true) { totalCount } }";
        assert_eq!(variables(page, json!({"n": 5})), Vec::<String>::new());
        for given in [
            json!(3_000_000_000_i64),
            json!(1.5),
            json!("5"),
            Value::Null,
            json!([5]),
        ] {
            assert_eq!(
                variables(page, json!({"n": given})),
                [r#"Invalid value for a variable, expected type "Int!""#],
                "{given}"
            );
        }
        assert_eq!(
            variables(page, json!({})),
            [
                r#"Invalid value for a variable, a value of type "Int!" is required but not provided"#
            ]
        );
        let several = "query ($ids: [ID!]!, $by: ContactKey) { nodes(ids: $ids) { id } contact(by: $by) { id } }";
        for (given, wrong) in [
            (json!({"ids": "x"}), None),
            (
                json!({"ids": ["x", 1], "by": {"email": "a@example.com"}}),
                None,
            ),
            (
                json!({"ids": ["x", null]}),
                Some(r#"Invalid value for a variable at 1, expected type "ID!""#),
            ),
            (
                json!({"ids": [], "by": {}}),
                Some(r#"Invalid value for a variable, "ContactKey" takes exactly one field"#),
            ),
            (
                json!({"ids": [], "by": {"secret": "x"}}),
                Some(r#"Invalid value for a variable, unknown field of type "ContactKey""#),
            ),
            (
                json!({"ids": [], "by": {"email": 1}}),
                Some(r#"Invalid value for a variable at email, expected type "String""#),
            ),
        ] {
            let expected: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            assert_eq!(variables(several, given.clone()), expected, "{given}");
        }
    }
}
