//! What an event says about who its distinct id is, and whom it joins.

use serde_json::{Map, Value};

use super::json::id_text;
use crate::base::cut;
use crate::contact::is_illegal_id;

/// Characters of a distinct id; the rest is cut, as PostHog does.
pub const DISTINCT_ID_CHARS_MAX: usize = crate::contact::ID_CHARS_MAX;

/// Whether a distinct id is a known person's, as far as the event itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Made up by the client for a visitor nobody has named yet.
    Anonymous,
    /// Given by the product's own code: a user's id.
    Identified,
    /// The event does not say (any server client), or the id is an illegal one.
    Unknown,
}

/// Two ids that an event declares to be one person. The other id is the event's `distinct_id`, whose person survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// `$identify`: the visitor known as `anonymous` turned out to be `distinct_id`.
    Identify {
        /// `$anon_distinct_id`.
        anonymous: String,
    },
    /// `$create_alias`, and `$merge_dangerously` taken as no more than that.
    Alias {
        /// `alias`: another id of the same person.
        alias: String,
    },
}

/// Reads an event's or a request's distinct id; a later candidate counts where the earlier is absent or null.
pub(super) fn distinct_id<'a>(
    candidates: impl IntoIterator<Item = Option<&'a Value>>,
) -> Option<String> {
    let id = candidates.into_iter().find_map(id_text)?;
    Some(cut(id, DISTINCT_ID_CHARS_MAX))
}

pub(super) fn identity(
    event: &str,
    distinct_id: &str,
    properties: &Map<String, Value>,
) -> Identity {
    let text = |key: &str| properties.get(key).and_then(Value::as_str);
    if is_illegal_id(distinct_id) {
        return Identity::Unknown;
    }
    if event == "$identify" || text("$user_id") == Some(distinct_id) {
        return Identity::Identified;
    }
    match properties.get("$is_identified") {
        Some(Value::Bool(true)) => Identity::Identified,
        Some(Value::Bool(false)) => Identity::Anonymous,
        _ if text("$device_id") == Some(distinct_id) || is_personless(properties) => {
            Identity::Anonymous
        }
        _ => Identity::Unknown,
    }
}

/// `$process_person_profile: false`, and only the boolean: PostHog takes anything else for true.
pub(super) fn is_personless(properties: &Map<String, Value>) -> bool {
    properties.get("$process_person_profile") == Some(&Value::Bool(false))
}

pub(super) fn merge(
    event: &str,
    distinct_id: &str,
    properties: &Map<String, Value>,
) -> Option<Merge> {
    let other = |key: &str| {
        let id = self::distinct_id([properties.get(key)])?;
        let joins = id != distinct_id && !is_illegal_id(&id) && !is_illegal_id(distinct_id);
        joins.then_some(id)
    };
    match event {
        "$identify" => other("$anon_distinct_id").map(|anonymous| Merge::Identify { anonymous }),
        "$create_alias" | "$merge_dangerously" => {
            other("alias").map(|alias| Merge::Alias { alias })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn properties(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn the_event_says_whether_its_id_is_anonymous() {
        let cases = [
            ("$identify", "user_1", json!({}), Identity::Identified),
            ("$identify", "null", json!({}), Identity::Unknown),
            (
                "seen",
                "user_1",
                json!({"$is_identified": true}),
                Identity::Identified,
            ),
            (
                "seen",
                "undefined",
                json!({"$is_identified": true}),
                Identity::Unknown,
            ),
            (
                "seen",
                "anon_1",
                json!({"$is_identified": false, "$device_id": "other"}),
                Identity::Anonymous,
            ),
            (
                "seen",
                "user_1",
                json!({"$user_id": "user_1"}),
                Identity::Identified,
            ),
            (
                "seen",
                "anon_1",
                json!({"$user_id": "user_1"}),
                Identity::Unknown,
            ),
            (
                "seen",
                "anon_1",
                json!({"$device_id": "anon_1"}),
                Identity::Anonymous,
            ),
            (
                "seen",
                "random",
                json!({"$process_person_profile": false}),
                Identity::Anonymous,
            ),
            (
                "seen",
                "random",
                json!({"$process_person_profile": "false"}),
                Identity::Unknown,
            ),
            ("seen", "user_1", json!({}), Identity::Unknown),
        ];
        for (event, id, given, expected) in cases {
            assert_eq!(
                identity(event, id, &properties(given.clone())),
                expected,
                "{event} {id} {given}"
            );
        }
    }

    #[test]
    fn a_merge_joins_two_different_legal_ids() {
        let identify = |id: &str| {
            Some(Merge::Identify {
                anonymous: id.to_owned(),
            })
        };
        let alias = |id: &str| {
            Some(Merge::Alias {
                alias: id.to_owned(),
            })
        };
        let cases = [
            (
                "$identify",
                "user_1",
                json!({"$anon_distinct_id": "anon_1"}),
                identify("anon_1"),
            ),
            (
                "$identify",
                "user_1",
                json!({"$anon_distinct_id": 17}),
                identify("17"),
            ),
            (
                "$identify",
                "user_1",
                json!({"$anon_distinct_id": "user_1"}),
                None,
            ),
            (
                "$identify",
                "user_1",
                json!({"$anon_distinct_id": "NULL"}),
                None,
            ),
            (
                "$identify",
                "undefined",
                json!({"$anon_distinct_id": "anon_1"}),
                None,
            ),
            (
                "$identify",
                "user_1",
                json!({"$anon_distinct_id": null}),
                None,
            ),
            ("$identify", "user_1", json!({"alias": "anon_1"}), None),
            (
                "$create_alias",
                "user_1",
                json!({"alias": "anon_1"}),
                alias("anon_1"),
            ),
            (
                "$merge_dangerously",
                "user_1",
                json!({"alias": "user_2"}),
                alias("user_2"),
            ),
            (
                "signup",
                "user_1",
                json!({"alias": "anon_1", "$anon_distinct_id": "anon_1"}),
                None,
            ),
        ];
        for (event, id, given, expected) in cases {
            assert_eq!(
                merge(event, id, &properties(given.clone())),
                expected,
                "{event} {id} {given}"
            );
        }
        let long = merge(
            "$create_alias",
            "user_1",
            &properties(json!({"alias": "x".repeat(300)})),
        );
        assert_eq!(long, alias(&"x".repeat(200)));
    }
}
