//! From JSON to a request that is safe to execute: shape, document, operation.

use async_graphql::{
    Extensions, Request, Value as GraphqlValue, Variables,
    parser::types::{DocumentOperations, ExecutableDocument, OperationType},
};
use document::json;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::Failure;

/// SHA-256 of a document's text.
pub type Hash = [u8; 32];

/// What a client asks to run: a document given as text, by its hash, or as both.
#[derive(Debug, Default)]
pub struct Asked {
    pub query: Option<String>,
    pub hash: Option<Hash>,
    operation_name: Option<String>,
    variables: Variables,
    extensions: Extensions,
}

/// A request whose document is known, and what its operation is.
#[derive(Debug)]
pub struct Prepared {
    pub request: Request,
    pub operation: OperationType,
}

/// Reads JSON that has few enough values, and nests less than 128 deep.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Failure> {
    json::read(bytes).map_err(|refusal| match refusal {
        json::Refusal::Values => Failure::too_complex(format!(
            "{what} has more than {} values and names",
            json::VALUES_MAX
        )),
        json::Refusal::Reserved => Failure::malformed(format!("{what} is refused: {refusal}")),
        json::Refusal::Malformed => {
            Failure::malformed(format!("{what} is not JSON, or nests deeper than 127"))
        }
    })
}

impl Asked {
    /// Reads the parameters `query`, `documentId`, `operationName`, `variables` and `extensions`. Others are ignored, as the
    /// specification asks.
    pub(super) fn read(parameters: Value) -> Result<Self, Failure> {
        let Value::Object(mut parameters) = parameters else {
            return Err(Failure::malformed("a GraphQL request is a JSON object"));
        };
        let mut take = |name: &str| parameters.remove(name).filter(|value| !value.is_null());

        let query = match take("query") {
            // clients that name a document by its hash may send an empty one
            Some(Value::String(query)) => Some(query).filter(|query| !query.is_empty()),
            Some(_) => return Err(Failure::malformed("`query` must be a string")),
            None => None,
        };
        let operation_name = match take("operationName") {
            // clients without names to choose from send an empty one
            Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
            Some(_) => return Err(Failure::malformed("`operationName` must be a string")),
            None => None,
        };
        let named = match take("documentId") {
            Some(Value::String(id)) => Some(named_hash(&id)?),
            Some(_) => return Err(Failure::malformed("`documentId` must be a string")),
            None => None,
        };
        let variables: Variables = object(take("variables"), "variables")?;
        let mut extensions: Extensions = object(take("extensions"), "extensions")?;
        let hash = match extensions.remove("persistedQuery") {
            Some(persisted) => Some(persisted_hash(&persisted)?),
            None => named,
        };
        if query.is_none() && hash.is_none() {
            return Err(Failure::malformed("`query` is missing"));
        }
        Ok(Self {
            query,
            hash,
            operation_name,
            variables,
            extensions,
        })
    }

    /// The request for a document that was found. The engine is given the document itself later.
    pub fn of(self, document: &ExecutableDocument) -> Result<Prepared, Failure> {
        let operation = operation_type(document, self.operation_name.as_deref())?;
        let mut request = Request::new(self.query.unwrap_or_default()).variables(self.variables);
        request.operation_name = self.operation_name;
        request.extensions = self.extensions;
        Ok(Prepared { request, operation })
    }

    /// The request for the document that is given as text: what a backend without a memory does.
    pub(super) fn parsed(self) -> Result<Prepared, Failure> {
        let Some(query) = &self.query else {
            return Err(Failure::not_found());
        };
        let document = document::parse(query)?;
        let mut prepared = self.of(&document)?;
        prepared.request.set_parsed_query(document);
        Ok(prepared)
    }
}

/// A `documentId`, as the specification's appendix on persisted documents writes a hash.
fn named_hash(id: &str) -> Result<Hash, Failure> {
    id.strip_prefix("sha256:")
        .and_then(hash)
        .ok_or_else(|| Failure::malformed("`documentId` must be sha256: and 64 hexadecimal digits"))
}

/// `extensions.persistedQuery`, as Apollo's clients write it.
fn persisted_hash(persisted: &GraphqlValue) -> Result<Hash, Failure> {
    let GraphqlValue::Object(persisted) = persisted else {
        return Err(Failure::malformed("`persistedQuery` must be an object"));
    };
    match persisted.get("sha256Hash") {
        Some(GraphqlValue::String(text)) => hash(text),
        _ => None,
    }
    .ok_or_else(|| Failure::malformed("`sha256Hash` must be 64 hexadecimal digits"))
}

/// Reads 64 hexadecimal digits.
pub fn hash(digits: &str) -> Option<Hash> {
    let digits = digits.as_bytes();
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok()?;
    }
    Some(hash)
}

fn object<T: DeserializeOwned + Default>(value: Option<Value>, name: &str) -> Result<T, Failure> {
    match value {
        None => Ok(T::default()),
        Some(value @ Value::Object(_)) => serde_json::from_value(value)
            .map_err(|_| Failure::malformed(format!("`{name}` cannot be read"))),
        Some(_) => Err(Failure::malformed(format!("`{name}` must be an object"))),
    }
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

    use super::{Asked, Failure, Prepared};

    fn prepare(parameters: Value) -> Result<Prepared, Failure> {
        Asked::read(parameters)?.parsed()
    }

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
    fn a_document_is_named_by_its_hash_in_two_ways() {
        let digits = "0a".repeat(32);
        for parameters in [
            json!({"documentId": format!("sha256:{digits}")}),
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digits}}}),
            json!({"query": "", "extensions": {"persistedQuery": {"sha256Hash": digits.to_uppercase()}}}),
        ] {
            let asked = Asked::read(parameters).unwrap();
            assert_eq!((asked.query, asked.hash), (None, Some([10; 32])));
        }
        for (parameters, refusal) in [
            (
                json!({"documentId": "x"}),
                "`documentId` must be sha256: and 64 hexadecimal digits",
            ),
            (json!({"documentId": 1}), "`documentId` must be a string"),
            (
                json!({"extensions": {"persistedQuery": 1}}),
                "`persistedQuery` must be an object",
            ),
            (
                json!({"extensions": {"persistedQuery": {"sha256Hash": format!("{}g", "0".repeat(63))}}}),
                "`sha256Hash` must be 64 hexadecimal digits",
            ),
        ] {
            assert_eq!(Asked::read(parameters).unwrap_err().message, refusal);
        }
    }

    #[test]
    fn a_document_is_scanned_and_parsed_without_being_quoted() {
        let failure = prepare(json!({"query": "{ secret(word: ) }"})).unwrap_err();
        assert_eq!(failure.message, "syntax error at line 1, column 16");
        assert_eq!(
            (failure.code, failure.of_document),
            ("GRAPHQL_PARSE_FAILED", true)
        );
        let failure = prepare(json!({"query": "[".repeat(100_000)})).unwrap_err();
        assert_eq!(
            (failure.code, failure.of_document),
            ("QUERY_TOO_COMPLEX", false)
        );
    }
}
