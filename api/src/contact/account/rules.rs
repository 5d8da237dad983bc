//! What events say of accounts.

use entity::event;
use serde_json::{Map, Value};

use crate::base::cut;

/// Characters of a type and of a key.
pub(super) const NAME_CHARS_MAX: usize = 200;

/// Groups of one event: PostHog has five types a project.
const GROUPS_MAX: usize = 10;

/// An account's type and key.
pub(super) type Name = (String, String);

/// The accounts that an event was done for.
pub(super) fn groups(event: &event::Model) -> Vec<Name> {
    let Some(Value::Object(groups)) = event.properties.get("$groups") else {
        return vec![];
    };
    let named = groups.iter().filter_map(|(kind, key)| name(kind, key));
    named.take(GROUPS_MAX).collect()
}

/// The account that a `$groupidentify` is about, and what it sets.
pub(super) fn identified(event: &event::Model) -> Option<(Name, Map<String, Value>)> {
    let property = |key: &str| event.properties.get(key);
    let kind = property("$group_type")?.as_str()?;
    let name = name(kind, property("$group_key")?)?;
    let set = property("$group_set").and_then(Value::as_object).cloned();
    Some((name, set.unwrap_or_default()))
}

/// A type and a key as they are kept, if they can be: PostHog's keys may be numbers.
fn name(kind: &str, key: &Value) -> Option<Name> {
    let key = match key {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let kind = kind.trim();
    let fits = |text: &str| (1..=NAME_CHARS_MAX).contains(&text.chars().count());
    (fits(kind) && fits(&key)).then(|| (kind.to_owned(), key))
}

/// `traits` after `set`: null unsets. The trait `name` is what the account is called.
pub(super) fn merged(
    mut traits: Map<String, Value>,
    set: Map<String, Value>,
) -> (Map<String, Value>, Option<String>) {
    for (key, value) in set {
        if value.is_null() {
            traits.remove(&key);
        } else {
            traits.insert(key, value);
        }
    }
    let name = traits
        .get("name")
        .and_then(Value::as_str)
        .map(|name| cut(name.to_owned(), NAME_CHARS_MAX));
    (traits, name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_may_be_numbers_and_nothing_else_that_is_no_text() {
        let said = |key: Value| name("company", &key).map(|(_, key)| key);
        assert_eq!(said(json!(" acme ")).as_deref(), Some("acme"));
        assert_eq!(said(json!(42)).as_deref(), Some("42"));
        for key in [
            json!(""),
            json!(null),
            json!({}),
            json!(true),
            json!("x".repeat(201)),
        ] {
            assert_eq!(said(key.clone()), None, "{key}");
        }
    }

    #[test]
    fn what_is_set_to_null_is_gone_and_the_name_follows() {
        let map = |value: Value| match value {
            Value::Object(map) => map,
            other => panic!("{other}"),
        };
        let (traits, name) = merged(
            map(json!({"name": "Old", "seats": 5, "plan": "pro"})),
            map(json!({"name": "Acme", "seats": null})),
        );
        assert_eq!(
            Value::Object(traits),
            json!({"name": "Acme", "plan": "pro"})
        );
        assert_eq!(name.as_deref(), Some("Acme"));
    }
}
