//! A request and a reply, as the endpoints see them.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

/// One request, its body read.
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Exchange {
    /// The path's members; a trailing slash makes no difference.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect()
    }

    /// A parameter of the query string, percent-decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// `%xx` and `+` undone; what is not UTF-8 is replaced.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Reply {
    fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![(header::CONTENT_TYPE, content_type.to_owned())],
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(crate) fn json_bytes(body: Vec<u8>) -> Self {
        Self::new(200, "application/json", body)
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub(crate) fn html(body: &'static str) -> Self {
        Self::new(200, "text/html; charset=utf-8", body)
    }

    pub(crate) const fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// PostHog's error body.
    pub(crate) fn error(status: u16, kind: &str, code: &str, detail: &str) -> Self {
        Self::json(
            status,
            &json!({"type": kind, "code": code, "detail": detail, "attr": null}),
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "invalid_request", "not_found", "Not found.")
    }

    pub(crate) fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("Method \"{method}\" not allowed.");
        Self::error(405, "invalid_request", "method_not_allowed", &detail)
    }

    pub(crate) fn throttled(wait_s: u64) -> Self {
        let detail = format!("Request was throttled. Expected available in {wait_s} seconds.");
        Self::error(429, "throttled_error", "throttled", &detail)
            .with(header::RETRY_AFTER, wait_s.to_string())
    }

    pub(crate) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_parameter_is_percent_decoded() {
        let exchange = Exchange {
            method: Method::GET,
            path: "/flags//definitions/".to_owned(),
            query: "token=phc%5Fx&send_cohorts&distinct_id=a+b%zz%C3%A9".to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        assert_eq!(exchange.parameter("token").as_deref(), Some("phc_x"));
        assert_eq!(exchange.parameter("send_cohorts").as_deref(), Some(""));
        assert_eq!(
            exchange.parameter("distinct_id").as_deref(),
            Some("a b%zzé")
        );
        assert_eq!(exchange.parameter("none"), None);
        assert_eq!(exchange.segments(), ["flags", "definitions"]);
    }
}
