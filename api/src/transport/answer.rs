//! Answers on the wire: the transport's own errors, and the form of every response.

use std::collections::BTreeMap;

use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value};
use async_graphql_value::RAW_VALUE_TOKEN;
use axum::http::StatusCode;
use document::Unparsed;
use serde::Serialize;

use super::{Refused, Unanswered};

/// An error of the transport itself: what it says, which code, and whether it is the document's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) locations: Vec<Pos>,
    /// A well-formed request whose document is wrong. Who accepts `application/json` gets a 200 for it, as *GraphQL over HTTP*
    /// says; every other failure keeps its status.
    pub(super) of_document: bool,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            locations: Vec::new(),
            of_document: false,
        }
    }

    /// The request is not one of GraphQL over HTTP.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// As [`Self::malformed`], with a status that says more than 400.
    pub(super) fn of_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "BAD_REQUEST", message)
    }

    pub(super) fn is_malformed(&self) -> bool {
        self.code == "BAD_REQUEST"
    }

    /// The request asks for more than may be parsed or run.
    pub fn too_complex(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "QUERY_TOO_COMPLEX", message)
    }

    /// The document does not parse.
    pub(super) fn syntax(message: impl Into<String>, locations: Vec<Pos>) -> Self {
        Self {
            locations,
            of_document: true,
            ..Self::new(StatusCode::BAD_REQUEST, "GRAPHQL_PARSE_FAILED", message)
        }
    }

    /// The document has no operation that could be meant, or one that this channel does not run.
    pub(super) fn operation(message: impl Into<String>) -> Self {
        Self {
            of_document: true,
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "OPERATION_RESOLUTION_FAILURE",
                message,
            )
        }
    }

    /// No document has this hash, as far as the caller may know: Apollo's clients then send its text.
    pub fn not_found() -> Self {
        Self {
            of_document: true,
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "PERSISTED_QUERY_NOT_FOUND",
                "PersistedQueryNotFound",
            )
        }
    }

    /// The tenant lets this caller run trusted documents alone, and this is none.
    pub fn untrusted() -> Self {
        Self {
            of_document: true,
            ..Self::new(
                StatusCode::FORBIDDEN,
                "PERSISTED_QUERY_REQUIRED",
                "only trusted documents may be run with this credential",
            )
        }
    }

    /// The server failed.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "internal error",
        )
    }
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Died => Self::internal(),
            Unanswered::Late => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "TIMEOUT",
                "the request took too long; a query was given up, a mutation still runs to its end",
            ),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthenticated(message) => {
                Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
            }
            Refused::Forbidden(message) => Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message),
            Refused::Unavailable(message) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "INTERNAL", message)
            }
        }
    }
}

impl From<Unparsed> for Failure {
    fn from(unparsed: Unparsed) -> Self {
        match unparsed {
            Unparsed::Refused(refusal) => Self::too_complex(refusal.to_string()),
            Unparsed::Syntax { message, locations } => Self::syntax(message, locations),
        }
    }
}

/// A response that holds one error and no data.
pub(super) fn failure(failure: &Failure, request_id: &str) -> Response {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", failure.code);
    extensions.set("requestId", request_id);
    let mut error = ServerError::new(failure.message.clone(), None);
    error.locations.clone_from(&failure.locations);
    error.extensions = Some(extensions);
    Response::from_errors(vec![error])
}

/// Whether a response is a *request error*: refused before any field ran. It has no entry `data`, and its errors have no path;
/// `data: null` with a path is a non-null field that failed.
pub fn is_request_error(response: &Response) -> bool {
    !response.errors.is_empty()
        && response.data == Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// The status of a request error for who accepts `application/graphql-response+json`.
pub(super) fn status_of(response: &Response) -> StatusCode {
    let code =
        response
            .errors
            .iter()
            .find_map(|error| match error.extensions.as_ref()?.get("code")? {
                Value::String(code) => Some(code.as_str()),
                _ => None,
            });
    match code {
        Some("UNAUTHENTICATED") => StatusCode::UNAUTHORIZED,
        Some("FORBIDDEN") => StatusCode::FORBIDDEN,
        Some("RATE_LIMITED") => StatusCode::TOO_MANY_REQUESTS,
        Some("INTERNAL") => StatusCode::INTERNAL_SERVER_ERROR,
        Some("TIMEOUT") => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A response as the specification writes it: no `data` in a request error, where the engine writes `null`.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    #[serde(skip_serializing_if = "<[ServerError]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Value>,
}

impl Written<'_> {
    /// Appends the JSON. Data that is JSON already, as plans make it, is copied: serde would read it through before.
    pub(super) fn append_to(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        let Some(data) = self
            .data
            .and_then(as_json)
            .filter(|_| self.errors.is_empty())
        else {
            return serde_json::to_writer(json, self);
        };
        json.reserve(data.len() + EXTENSIONS_BYTES);
        json.extend_from_slice(b"{\"data\":");
        json.extend_from_slice(data.as_bytes());
        if !self.extensions.is_empty() {
            json.extend_from_slice(b",\"extensions\":");
            serde_json::to_writer(&mut *json, self.extensions)?;
        }
        json.push(b'}');
        Ok(())
    }
}

/// About what stands around the data of an answer.
const EXTENSIONS_BYTES: usize = 128;

/// The text of data that is JSON already.
fn as_json(data: &Value) -> Option<&str> {
    let Value::Object(fields) = data else {
        return None;
    };
    match fields.get(RAW_VALUE_TOKEN) {
        Some(Value::String(text)) if fields.len() == 1 => Some(text),
        _ => None,
    }
}

impl<'a> From<&'a Response> for Written<'a> {
    fn from(response: &'a Response) -> Self {
        Self {
            errors: &response.errors,
            data: (!is_request_error(response)).then_some(&response.data),
            extensions: &response.extensions,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Name, PathSegment, Response, ServerError, Value};
    use async_graphql_value::RAW_VALUE_TOKEN;
    use axum::http::StatusCode;
    use serde_json::json;

    use super::{Failure, Written, failure, is_request_error, status_of};
    use crate::transport::{Refused, Unanswered};

    fn written(response: &Response) -> serde_json::Value {
        serde_json::to_value(Written::from(response)).unwrap()
    }

    #[test]
    fn a_request_error_has_no_data() {
        let response = failure(&Failure::malformed("no `query`"), "r1");
        assert!(is_request_error(&response));
        assert_eq!(
            written(&response),
            json!({"errors": [{"message": "no `query`", "extensions": {"code": "BAD_REQUEST", "requestId": "r1"}}]})
        );
    }

    #[test]
    fn a_failed_non_null_root_field_keeps_its_null() {
        let mut error = ServerError::new("gone", None);
        error.path = vec![PathSegment::Field("a".to_owned())];
        let response = Response::from_errors(vec![error]);
        assert!(!is_request_error(&response));
        assert_eq!(
            written(&response),
            json!({"data": null, "errors": [{"message": "gone", "path": ["a"]}]})
        );
    }

    #[test]
    fn a_response_without_errors_is_its_data() {
        assert_eq!(written(&Response::new(Value::Null)), json!({"data": null}));
        assert_eq!(
            written(&Response::new(Value::Boolean(true)).extension("cost", Value::from(3))),
            json!({"data": true, "extensions": {"cost": 3}})
        );
    }

    #[test]
    fn what_is_json_already_is_written_as_serde_writes_it() {
        let raw = |text: &str| {
            let token = Name::new(RAW_VALUE_TOKEN);
            Value::Object(
                [(token, Value::String(text.to_owned()))]
                    .into_iter()
                    .collect(),
            )
        };
        let mut failed = Response::new(raw("{\"a\":1}"));
        failed.errors = vec![ServerError::new("gone", None)];
        for response in [
            Response::new(raw("{\"a\":[1,\"é\\n\"]}")),
            Response::new(raw("{}")).extension("cost", Value::from(3)),
            Response::new(Value::Boolean(true)).extension("cost", Value::from(3)),
            failed,
        ] {
            let mut json = Vec::new();
            Written::from(&response).append_to(&mut json).unwrap();
            let serdes = serde_json::to_vec(&Written::from(&response)).unwrap();
            assert_eq!(String::from_utf8(json), String::from_utf8(serdes));
        }
    }

    #[test]
    fn the_code_of_a_request_error_gives_its_status() {
        for (refused, status) in [
            (
                Refused::Unauthenticated("a".to_owned()),
                StatusCode::UNAUTHORIZED,
            ),
            (Refused::Forbidden("b".to_owned()), StatusCode::FORBIDDEN),
            (
                Refused::Unavailable("c".to_owned()),
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
        ] {
            assert_eq!(status_of(&failure(&Failure::from(refused), "r")), status);
        }
        assert_eq!(
            status_of(&failure(&Failure::too_complex("x"), "r")),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            status_of(&failure(&Failure::from(Unanswered::Late), "r")),
            StatusCode::GATEWAY_TIMEOUT
        );
        assert_eq!(
            status_of(&Response::from_errors(vec![ServerError::new("x", None)])),
            StatusCode::BAD_REQUEST
        );
    }
}
