//! From JSON to a request that is safe to execute: shape, scan, parse, operation.

use async_graphql::{
    Extensions, Request, Variables,
    parser::{
        self,
        types::{DocumentOperations, ExecutableDocument, OperationType},
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{answer::Failure, scan::scan};

/// A parsed request and what its operation is.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) request: Request,
    pub(super) operation: OperationType,
}

/// Reads JSON. `serde_json` refuses what nests deeper than 128, before it could overflow the stack.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|_| Failure::malformed(format!("{what} is not JSON, or nests deeper than 128")))
}

/// Reads the parameters `query`, `operationName`, `variables` and `extensions`, scans the document, then parses it. Other parameters
/// are ignored, as the specification asks.
pub(super) fn prepare(parameters: Value) -> Result<Prepared, Failure> {
    let Value::Object(mut parameters) = parameters else {
        return Err(Failure::malformed("a GraphQL request is a JSON object"));
    };
    let mut take = |name: &str| parameters.remove(name).filter(|value| !value.is_null());

    let query = match take("query") {
        Some(Value::String(query)) => query,
        Some(_) => return Err(Failure::malformed("`query` must be a string")),
        None => return Err(Failure::malformed("`query` is missing")),
    };
    let operation_name = match take("operationName") {
        // clients without names to choose from send an empty one
        Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(_) => return Err(Failure::malformed("`operationName` must be a string")),
        None => None,
    };
    let variables: Variables = object(take("variables"), "variables")?;
    let extensions: Extensions = object(take("extensions"), "extensions")?;

    let document = parse(&query)?;
    let operation = operation_type(&document, operation_name.as_deref())?;
    let mut request = Request::new(query).variables(variables);
    request.operation_name = operation_name;
    request.extensions = extensions;
    request.set_parsed_query(document);
    Ok(Prepared { request, operation })
}

fn object<T: DeserializeOwned + Default>(value: Option<Value>, name: &str) -> Result<T, Failure> {
    match value {
        None => Ok(T::default()),
        Some(value @ Value::Object(_)) => serde_json::from_value(value)
            .map_err(|_| Failure::malformed(format!("`{name}` cannot be read"))),
        Some(_) => Err(Failure::malformed(format!("`{name}` must be an object"))),
    }
}

/// The only place that parses a document, so that none is parsed without having been scanned.
fn parse(query: &str) -> Result<ExecutableDocument, Failure> {
    scan(query)?;
    parser::parse_query(query).map_err(|error| {
        // the parser's own texts quote the document: a line of it, or a name of any length
        let message = match &error {
            parser::Error::Syntax { start, .. } => format!(
                "syntax error at line {}, column {}",
                start.line, start.column
            ),
            parser::Error::MultipleOperations { .. } => {
                "an operation without a name must be the only one".to_owned()
            }
            parser::Error::OperationDuplicated { .. } => {
                "two operations have the same name".to_owned()
            }
            parser::Error::FragmentDuplicated { .. } => {
                "two fragments have the same name".to_owned()
            }
            parser::Error::MissingOperation => "the document has no operation".to_owned(),
            _ => "the document cannot be parsed".to_owned(),
        };
        Failure::syntax(message, error.positions().collect())
    })
}

/// The type of the operation that the engine will execute: it chooses by the same rules.
fn operation_type(
    document: &ExecutableDocument,
    name: Option<&str>,
) -> Result<OperationType, Failure> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(operation.node.ty),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => operations
            .values()
            .next()
            .map(|operation| operation.node.ty)
            .ok_or_else(Failure::internal),
        (DocumentOperations::Multiple(_), None) => Err(Failure::operation(
            "the document has several operations, and `operationName` names none",
        )),
        (DocumentOperations::Multiple(operations), Some(name)) if operations.contains_key(name) => {
            Ok(operations[name].node.ty)
        }
        (_, Some(_)) => Err(Failure::operation(
            "the document has no operation that is called as `operationName` says",
        )),
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::types::OperationType;
    use serde_json::{Value, json};

    use super::{Failure, prepare};

    fn operation(parameters: Value) -> Result<OperationType, Failure> {
        prepare(parameters).map(|prepared| prepared.operation)
    }

    fn message(parameters: Value) -> String {
        prepare(parameters).unwrap_err().message
    }

    #[test]
    fn the_operation_is_found_as_the_engine_finds_it() {
        let several = "query A { a } mutation B { b } subscription C { c }";
        for (parameters, expected) in [
            (json!({"query": "{ a }"}), OperationType::Query),
            (
                json!({"query": "mutation { a }", "operationName": null}),
                OperationType::Mutation,
            ),
            (
                json!({"query": "mutation M { a }", "operationName": ""}),
                OperationType::Mutation,
            ),
            (
                json!({"query": "subscription S { a }", "operationName": "S"}),
                OperationType::Subscription,
            ),
            (
                json!({"query": several, "operationName": "B"}),
                OperationType::Mutation,
            ),
            (
                json!({"query": several, "operationName": "C", "unknown": 1}),
                OperationType::Subscription,
            ),
        ] {
            assert_eq!(operation(parameters.clone()), Ok(expected), "{parameters}");
        }
        for parameters in [
            json!({"query": several}),
            json!({"query": several, "operationName": "D"}),
            json!({"query": "{ a }", "operationName": "A"}),
        ] {
            let failure = operation(parameters.clone()).unwrap_err();
            assert_eq!(
                (failure.code, failure.of_document),
                ("OPERATION_RESOLUTION_FAILURE", true),
                "{parameters}"
            );
        }
    }

    #[test]
    fn a_parameter_of_another_type_is_named() {
        assert_eq!(message(json!([])), "a GraphQL request is a JSON object");
        assert_eq!(message(json!({})), "`query` is missing");
        assert_eq!(message(json!({"query": null})), "`query` is missing");
        assert_eq!(message(json!({"query": {}})), "`query` must be a string");
        assert_eq!(
            message(json!({"query": "{a}", "operationName": 0})),
            "`operationName` must be a string"
        );
        assert_eq!(
            message(json!({"query": "{a}", "variables": []})),
            "`variables` must be an object"
        );
        assert_eq!(
            message(json!({"query": "{a}", "extensions": "x"})),
            "`extensions` must be an object"
        );
    }

    #[test]
    fn variables_and_extensions_arrive() {
        let request = prepare(
            json!({"query": "{a}", "variables": {"a": [1, null]}, "extensions": {"b": true}}),
        )
        .unwrap()
        .request;
        assert_eq!(
            serde_json::to_value(request).unwrap(),
            json!({"query": "{a}", "operationName": null, "variables": {"a": [1, null]}, "extensions": {"b": true}})
        );
    }

    #[test]
    fn a_syntax_error_has_a_place_and_no_text_of_the_document() {
        let failure = prepare(json!({"query": "{ secret(word: ) }"})).unwrap_err();
        assert_eq!(failure.message, "syntax error at line 1, column 16");
        assert_eq!(
            failure
                .locations
                .iter()
                .map(|place| (place.line, place.column))
                .collect::<Vec<_>>(),
            [(1, 16)]
        );
        assert_eq!(
            (failure.code, failure.of_document),
            ("GRAPHQL_PARSE_FAILED", true)
        );
    }

    #[test]
    fn a_document_that_contradicts_itself_is_refused_without_its_names() {
        assert_eq!(
            message(json!({"query": "query A {a} query A {a}"})),
            "two operations have the same name"
        );
        assert_eq!(
            message(json!({"query": "{a} fragment F on T {a} fragment F on T {a}"})),
            "two fragments have the same name"
        );
        assert_eq!(
            message(json!({"query": "{a} query A {a}"})),
            "an operation without a name must be the only one"
        );
        assert_eq!(
            message(json!({"query": "fragment F on T {a}"})),
            "the document has no operation"
        );
    }

    #[test]
    fn a_document_is_scanned_before_it_is_parsed() {
        let failure = prepare(json!({"query": "[".repeat(100_000)})).unwrap_err();
        assert_eq!(
            (failure.code, failure.of_document),
            ("QUERY_TOO_COMPLEX", false)
        );
    }
}
