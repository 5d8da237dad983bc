//! Which media type an answer has: content negotiation by `Accept`.

use axum::http::{HeaderMap, HeaderValue, header};

/// The media type of an answer, which decides what its status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/graphql-response+json`: the status tells whether the operation ran.
    GraphqlResponse,
    /// `application/json`: 200 for every well-formed request, because a client of old cannot tell our 400 from a proxy's.
    Json,
    /// `text/event-stream`: each answer is an event. What is refused before anything runs is answered as [`Self::GraphqlResponse`].
    EventStream,
}

impl Form {
    /// The media type that `Accept` prefers; `application/json` when it has no preference, as the specification asks for the
    /// time being. `None`: neither is accepted.
    pub(super) fn negotiated(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::ACCEPT) {
            return Some(Self::Json);
        }
        let ranges = media_ranges(headers);
        let quality = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| ranges.iter().find(|(range, _)| range == name))
                .map_or(0.0, |(_, quality)| *quality)
        };
        let json = quality(&["application/json", "application/*", "*/*"]);
        let graphql = quality(&["application/graphql-response+json", "application/*", "*/*"]);
        let named = quality(&["application/graphql-response+json"]) > 0.0;
        let events = quality(&[EVENT_STREAM]);
        // Clients that name every type that they know, JSON first, want streams for what streams alone.
        let events_first = ranges
            .first()
            .is_some_and(|(range, _)| range == EVENT_STREAM);
        if events > 0.0
            && (events > json.max(graphql) || (events_first && events >= json.max(graphql)))
        {
            return Some(Self::EventStream);
        }
        match graphql.total_cmp(&json) {
            std::cmp::Ordering::Greater => Some(Self::GraphqlResponse),
            std::cmp::Ordering::Equal if named => Some(Self::GraphqlResponse),
            _ if json > 0.0 => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) const fn media_type(self) -> HeaderValue {
        match self {
            Self::GraphqlResponse | Self::EventStream => {
                HeaderValue::from_static("application/graphql-response+json; charset=utf-8")
            }
            Self::Json => HeaderValue::from_static("application/json; charset=utf-8"),
        }
    }
}

const EVENT_STREAM: &str = "text/event-stream";

/// Whether `Accept` names event streams at all: then a subscription is answered as one, whatever is liked better for the rest.
pub(super) fn takes_events(headers: &HeaderMap) -> bool {
    media_ranges(headers)
        .iter()
        .any(|(range, quality)| range == EVENT_STREAM && *quality > 0.0)
}

fn media_ranges(headers: &HeaderMap) -> Vec<(String, f32)> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(media_range)
        .collect()
}

/// A media range of `Accept` in lower case, and its quality: 1 when not given or not a number.
fn media_range(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts
        .find_map(|parameter| parameter.strip_prefix("q=")?.trim().parse().ok())
        .unwrap_or(1.0);
    (name, quality)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{Form, takes_events};

    fn accepting(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())])
    }

    fn negotiated(accept: &str) -> Option<Form> {
        Form::negotiated(&accepting(accept))
    }

    #[test]
    fn event_streams_are_taken_by_who_names_them() {
        for (accept, takes) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.1", true),
            ("text/event-stream;q=0", false),
            ("*/*", false),
            ("application/json", false),
        ] {
            assert_eq!(takes_events(&accepting(accept)), takes, "{accept}");
        }
    }

    #[test]
    fn the_accept_header_chooses_the_media_type() {
        const NEW: Option<Form> = Some(Form::GraphqlResponse);
        const OLD: Option<Form> = Some(Form::Json);
        const EVENTS: Option<Form> = Some(Form::EventStream);
        assert_eq!(Form::negotiated(&HeaderMap::new()), OLD);
        for (accept, form) in [
            ("*/*", OLD),
            ("application/*", OLD),
            ("application/json", OLD),
            ("application/json; charset=utf-8", OLD),
            ("Application/GraphQL-Response+JSON", NEW),
            ("application/graphql-response+json, application/json", NEW),
            ("application/json, application/graphql-response+json", NEW),
            (
                "application/graphql-response+json, application/json;q=0.9",
                NEW,
            ),
            (
                "application/graphql-response+json;q=0.8, application/json;q=0.9",
                OLD,
            ),
            (
                "application/graphql-response+json;charset=utf-8;q=0.8, */*;q=0.1",
                NEW,
            ),
            ("application/graphql-response+json;q=0, */*", OLD),
            ("application/json;q=0, application/*", NEW),
            ("text/html,application/xhtml+xml,*/*;q=0.8", OLD),
            ("text/event-stream", EVENTS),
            ("text/event-stream, application/json", EVENTS),
            ("text/event-stream, */*;q=0.1", EVENTS),
            ("application/json, text/event-stream", OLD),
            (
                "application/graphql-response+json, application/json, text/event-stream, multipart/mixed",
                NEW,
            ),
            ("application/json;q=0.5, text/event-stream", EVENTS),
            ("text/event-stream;q=0.5, application/json", OLD),
            ("text/event-stream;q=0", None),
            ("text/*", None),
            ("text/html", None),
            ("application/json;q=0", None),
            ("", None),
        ] {
            assert_eq!(negotiated(accept), form, "{accept}");
        }
    }
}
