//! The read path: documents that ask for contacts and what hangs on them are answered by a plan, made once a document.
//!
//! There are two lanes to one answer, and they must never disagree: the plan, and the engine with its resolvers and loaders. The
//! plan takes what it knows (contacts by id and in pages, their own fields, identifiers, traits, events and nudges); whatever else
//! stands in a document, an argument that does not fit, a principal that may not, an error: the engine takes all of it. So the plan
//! has no errors, and the engine no special cases. `tests/it/lanes.rs` runs generated documents through both and compares bytes.

mod contact;
mod event;

use async_graphql::{
    Positioned, Value, Variables,
    parser::types::{ExecutableDocument, OperationDefinition, OperationType, VariableDefinition},
};

use self::contact::Root;
pub(super) use self::contact::Shown;
use crate::base::{
    Cx,
    plan::{Compiled, Field, Given, Json, Run, Source},
};

/// How one operation of one document is answered.
#[derive(Debug)]
pub(super) struct Plan {
    roots: Vec<Field<Root>>,
    variables: Vec<Positioned<VariableDefinition>>,
}

/// An answer as it is written, and how many values it has.
pub(super) struct Planned {
    pub(super) data: Value,
    pub(super) values: usize,
}

impl Plan {
    /// The plan of a query that the engine has found to be valid; `None` if it asks for anything that plans do not know.
    pub(super) fn compile(
        document: &ExecutableDocument,
        operation: &Positioned<OperationDefinition>,
    ) -> Compiled<Self> {
        let operation = &operation.node;
        if operation.ty != OperationType::Query {
            return None;
        }
        let asked = Source::new(&document.fragments).root(operation, "Query")?;
        Some(Self {
            roots: Field::all(asked, Root::compile)?,
            variables: operation.variable_definitions.clone(),
        })
    }

    /// Answers, if everything asked for is there for this caller to read.
    pub(super) async fn run(&self, cx: &Cx, variables: &Variables) -> Run<Planned> {
        let given = Given::new(&self.variables, variables)?;
        let mut found = Vec::with_capacity(self.roots.len());
        for root in &self.roots {
            found.push(root.what.read(cx, &given).await?);
        }
        let mut found = found.into_iter();
        let mut json = Json::default();
        json.object(&self.roots, &given, |json, root| {
            root.write(json, cx, &given, found.next()?)
        })?;
        let (text, values) = json.finish()?;
        Some(Planned {
            data: raw(text),
            values,
        })
    }
}

/// JSON that is written as it stands.
fn raw(text: String) -> Value {
    let token = async_graphql::Name::new(async_graphql_value::RAW_VALUE_TOKEN);
    Value::Object([(token, Value::String(text))].into_iter().collect())
}
