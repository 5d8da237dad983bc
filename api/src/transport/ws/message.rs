//! The messages of `graphql-transport-ws` and its close codes.

use std::borrow::Cow;

use async_graphql::Response;
use axum::extract::ws::CloseFrame;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::transport::answer::Written;

/// Longest id of an operation, in bytes: every message about it repeats it.
const ID_BYTES_MAX: usize = 256;

/// Longest reason in a close frame, in bytes: a control frame carries 125, two of which are the code (RFC 6455, 5.5).
const REASON_BYTES_MAX: usize = 123;

/// Why the socket is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: Cow<'static, str>,
}

impl Close {
    fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// The server stops, or the peer does not answer; clients connect again.
    pub(super) fn going_away(reason: &'static str) -> Self {
        Self::new(1001, reason)
    }

    /// The server cannot serve this connection now; clients try again.
    pub(super) fn try_again_later(reason: String) -> Self {
        Self::new(1013, reason)
    }

    pub(super) fn invalid_message(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(4400, reason)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(4401, "unauthorized: subscribe after connection_ack")
    }

    pub(super) fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(4403, reason)
    }

    pub(super) fn wrong_subprotocol() -> Self {
        Self::new(4406, "subprotocol not acceptable: use graphql-transport-ws")
    }

    pub(super) fn init_overdue() -> Self {
        Self::new(4408, "connection initialisation timeout")
    }

    pub(super) fn duplicate_id(id: &str) -> Self {
        Self::new(4409, format!("subscriber for {id} already exists"))
    }

    pub(super) fn too_many_inits() -> Self {
        Self::new(4429, "too many initialisation requests")
    }

    pub(super) fn too_many_subscriptions() -> Self {
        Self::new(4429, "too many subscriptions on one socket")
    }

    /// The frame, its reason cut to what fits.
    pub(super) fn into_frame(self) -> CloseFrame {
        let end = (0..=REASON_BYTES_MAX.min(self.reason.len()))
            .rev()
            .find(|end| self.reason.is_char_boundary(*end))
            .unwrap_or(0);
        CloseFrame {
            code: self.code,
            reason: self.reason[..end].into(),
        }
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ClientMessage {
    /// With `payload.authorization` and `payload.tenant`, the names in any case.
    ConnectionInit {
        authorization: Option<String>,
        tenant: Option<String>,
    },
    /// With a payload that the answer repeats.
    Ping(Option<Map<String, Value>>),
    Pong,
    Subscribe {
        id: String,
        parameters: Value,
    },
    Complete {
        id: String,
    },
}

impl ClientMessage {
    /// Reads a message; the close of an invalid one says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, Close> {
        let invalid = |what: &'static str| Close::invalid_message(what);
        let Ok(Value::Object(mut message)) = document::json::read(text.as_bytes()) else {
            return Err(invalid(
                "invalid message: not a JSON object, or one of too many values",
            ));
        };
        let Some(Value::String(kind)) = message.remove("type") else {
            return Err(invalid("invalid message: no `type`"));
        };
        let payload = match message.remove("payload") {
            None | Some(Value::Null) => None,
            Some(Value::Object(payload)) => Some(payload),
            Some(_) => return Err(invalid("invalid message: `payload` must be an object")),
        };
        let id = match message.remove("id") {
            Some(Value::String(id)) if (1..=ID_BYTES_MAX).contains(&id.len()) => Ok(id),
            _ => Err(invalid(
                "invalid message: `id` must be a string of 1 to 256 bytes",
            )),
        };
        match kind.as_str() {
            "connection_init" => Ok(Self::ConnectionInit {
                authorization: parameter(payload.as_ref(), "authorization")?,
                tenant: parameter(payload.as_ref(), "tenant")?,
            }),
            "ping" => Ok(Self::Ping(payload)),
            "pong" => Ok(Self::Pong),
            "subscribe" => {
                let payload = payload
                    .ok_or_else(|| invalid("invalid message: `subscribe` needs a payload"))?;
                Ok(Self::Subscribe {
                    id: id?,
                    parameters: Value::Object(payload),
                })
            }
            "complete" => Ok(Self::Complete { id: id? }),
            _ => Err(invalid("invalid message: unknown `type`")),
        }
    }
}

fn parameter(payload: Option<&Map<String, Value>>, known: &str) -> Result<Option<String>, Close> {
    // clients pass on what they set as a header, whose name knows no case
    match payload
        .into_iter()
        .flatten()
        .find(|(name, _)| name.eq_ignore_ascii_case(known))
    {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text.clone())),
        Some(_) => Err(Close::invalid_message(format!(
            "invalid message: `{known}` must be a string"
        ))),
    }
}

/// What the server says, as the text of a frame.
pub(super) mod say {
    use super::{Map, Response, Serialize, Value, Written, json};

    pub(in super::super) fn connection_ack() -> String {
        json!({"type": "connection_ack"}).to_string()
    }

    pub(in super::super) fn ping() -> String {
        json!({"type": "ping"}).to_string()
    }

    pub(in super::super) fn pong(payload: Option<Map<String, Value>>) -> String {
        match payload {
            Some(payload) => json!({"type": "pong", "payload": payload}).to_string(),
            None => json!({"type": "pong"}).to_string(),
        }
    }

    pub(in super::super) fn complete(id: &str) -> String {
        json!({"type": "complete", "id": id}).to_string()
    }

    pub(in super::super) fn next(id: &str, response: &Response) -> String {
        text("next", id, &Written::from(response))
    }

    pub(in super::super) fn error(id: &str, response: &Response) -> String {
        text("error", id, &response.errors)
    }

    /// An answer goes straight into the text, without a tree of values between.
    fn text(kind: &str, id: &str, payload: &impl Serialize) -> String {
        #[derive(Serialize)]
        struct Message<'a, P> {
            id: &'a str,
            r#type: &'a str,
            payload: &'a P,
        }
        serde_json::to_string(&Message { id, r#type: kind, payload }).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be written");
            json!({"id": id, "type": "error", "payload": [{"message": "internal error", "extensions": {"code": "INTERNAL"}}]}).to_string()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ClientMessage, Close, say};

    fn read(message: &Value) -> Result<ClientMessage, Close> {
        ClientMessage::read(&message.to_string())
    }

    #[test]
    fn the_messages_of_a_client_are_read() {
        let init = |authorization: Option<&str>| {
            Ok(ClientMessage::ConnectionInit {
                authorization: authorization.map(str::to_owned),
                tenant: None,
            })
        };
        assert_eq!(read(&json!({"type": "connection_init"})), init(None));
        assert_eq!(
            read(&json!({"type": "connection_init", "payload": {"a": 1}})),
            init(None)
        );
        assert_eq!(
            read(&json!({"type": "connection_init", "payload": {"authorization": null}})),
            init(None)
        );
        assert_eq!(
            read(&json!({"type": "connection_init", "payload": {"Authorization": "Bearer x"}})),
            init(Some("Bearer x"))
        );
        assert_eq!(
            read(&json!({"type": "ping", "payload": null})),
            Ok(ClientMessage::Ping(None))
        );
        assert_eq!(
            read(&json!({"type": "pong", "payload": {"a": 1}})),
            Ok(ClientMessage::Pong)
        );
        assert_eq!(
            read(&json!({"type": "complete", "id": "1"})),
            Ok(ClientMessage::Complete { id: "1".to_owned() })
        );
        assert_eq!(
            read(&json!({"type": "subscribe", "id": "1", "payload": {"query": "{a}"}})),
            Ok(ClientMessage::Subscribe {
                id: "1".to_owned(),
                parameters: json!({"query": "{a}"})
            })
        );
    }

    #[test]
    fn what_is_no_message_closes_the_socket_with_4400() {
        for message in [
            json!([]),
            json!({}),
            json!({"type": 1}),
            json!({"type": "next", "id": "1", "payload": {}}),
            json!({"type": "connection_init", "payload": "x"}),
            json!({"type": "connection_init", "payload": {"authorization": 1}}),
            json!({"type": "subscribe", "id": "1"}),
            json!({"type": "subscribe", "id": "1", "payload": []}),
            json!({"type": "subscribe", "payload": {"query": "{a}"}}),
            json!({"type": "subscribe", "id": "", "payload": {"query": "{a}"}}),
            json!({"type": "subscribe", "id": "a".repeat(257), "payload": {"query": "{a}"}}),
            json!({"type": "complete", "id": 1}),
        ] {
            assert_eq!(read(&message).unwrap_err().code, 4400, "{message}");
        }
        assert_eq!(ClientMessage::read("{").unwrap_err().code, 4400);
        assert_eq!(
            ClientMessage::read(&"[".repeat(100_000)).unwrap_err().code,
            4400
        );
    }

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        let frame = Close::duplicate_id(&"ü".repeat(128)).into_frame();
        assert_eq!(frame.code, 4409);
        assert_eq!(
            frame.reason.as_str(),
            format!("subscriber for {}", "ü".repeat(54))
        );
        assert_eq!(frame.reason.len(), 123);
        assert_eq!(
            Close::init_overdue().into_frame().reason.as_str(),
            "connection initialisation timeout"
        );
    }

    #[test]
    fn a_pong_repeats_the_payload() {
        assert_eq!(say::pong(None), r#"{"type":"pong"}"#);
        assert_eq!(
            say::pong(json!({"a": 1}).as_object().cloned()),
            r#"{"payload":{"a":1},"type":"pong"}"#
        );
    }
}
