//! What an input may hold, and how the traits in it are read.

use async_graphql::{ID, Json};
use entity::ContactId;
use serde_json::{Map, Value, json};

use crate::{
    base::{Error, ErrorCode, OWN_MESSAGE, Result, storable, storable_json},
    contact::TraitChanges,
};

const MESSAGE_ID_CHARS_MAX: usize = 200;
/// Bytes of an event's properties as JSON: what PostHog takes, less what is added on the way there.
pub(super) const PROPERTIES_BYTES_MAX: usize = 900 * 1024;
pub(super) const CONTEXT_BYTES_MAX: usize = 8 * 1024;
/// Containers nested in one value: well inside what parsers and databases further on allow.
const DEPTH_MAX: usize = 32;
const TRAITS_MAX: usize = 200;
const TRAIT_KEY_CHARS_MAX: usize = 200;
const TRAIT_BYTES_MAX: usize = 16 * 1024;
const NAME_TRAIT_CHARS_MAX: usize = 500;

/// A contact's id, or the caller's mistake.
pub(super) fn contact_id(id: &ID, field: &str) -> Result<ContactId> {
    ContactId::parse(id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            field,
            format!("there is no contact {:?}", shortened(id)),
        )
    })
}

pub(super) fn message_id(id: String) -> Result<String> {
    if id.starts_with(OWN_MESSAGE) {
        return Err(Error::invalid(
            "messageId",
            format!("message ids that begin with {OWN_MESSAGE} are the product's own"),
        ));
    }
    let chars = id.chars().count();
    if (1..=MESSAGE_ID_CHARS_MAX).contains(&chars) {
        Ok(storable(id))
    } else {
        Err(Error::invalid(
            "messageId",
            format!("a message id has 1 to {MESSAGE_ID_CHARS_MAX} characters, not {chars}"),
        ))
    }
}

/// The traits that an object sets, and those that it unsets by null.
pub(super) fn changes(traits: Option<Json<Value>>) -> Result<TraitChanges> {
    let mut changes = TraitChanges::default();
    for (key, value) in object(traits, "traits")? {
        let key = trait_key(key, "traits")?;
        if value.is_null() {
            changes.unset.push(key);
        } else {
            changes.set.insert(key, value);
        }
    }
    Ok(changes)
}

/// The traits that an event's properties change, in PostHog's words.
pub(super) fn said_in(properties: &Map<String, Value>) -> Result<TraitChanges> {
    let part = |key: &str| properties.get(key).cloned().map(Json);
    let mut traits = TraitChanges {
        set: object(part("$set"), "properties.$set")?,
        set_once: object(part("$set_once"), "properties.$set_once")?,
        ..TraitChanges::default()
    };
    match properties.get("$unset") {
        None | Some(Value::Null) => {}
        Some(Value::Array(keys)) => {
            traits.unset = keys
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect();
        }
        Some(_) => {
            return Err(Error::invalid(
                "properties.$unset",
                "$unset is a list of names",
            ));
        }
    }
    for key in traits
        .set
        .keys()
        .chain(traits.set_once.keys())
        .chain(&traits.unset)
    {
        trait_key(key.clone(), "properties")?;
    }
    Ok(traits)
}

/// How an event tells of trait changes, in PostHog's words.
pub(super) fn trait_properties(traits: &TraitChanges) -> Map<String, Value> {
    let mut properties = Map::new();
    if !traits.set.is_empty() {
        properties.insert("$set".to_owned(), Value::Object(traits.set.clone()));
    }
    if !traits.unset.is_empty() {
        properties.insert("$unset".to_owned(), json!(traits.unset));
    }
    properties
}

pub(super) fn named(traits: &mut TraitChanges, name: Option<String>) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    let chars = name.chars().count();
    if chars > NAME_TRAIT_CHARS_MAX {
        return Err(Error::invalid(
            "name",
            format!("a name has at most {NAME_TRAIT_CHARS_MAX} characters, not {chars}"),
        ));
    }
    traits
        .set
        .insert("name".to_owned(), Value::String(storable(name)));
    Ok(())
}

pub(super) fn trait_key(key: String, field: &str) -> Result<String> {
    let chars = key.chars().count();
    if (1..=TRAIT_KEY_CHARS_MAX).contains(&chars) {
        Ok(storable(key))
    } else {
        Err(Error::invalid(
            field,
            format!("a trait's name has 1 to {TRAIT_KEY_CHARS_MAX} characters, not {chars}"),
        ))
    }
}

/// The traits' object: each small enough to be shown, all few enough to be read with the contact, and to travel in one
/// event's properties.
fn object(value: Option<Json<Value>>, field: &str) -> Result<Map<String, Value>> {
    let traits = bounded_object(value, field, PROPERTIES_BYTES_MAX)?;
    if traits.len() > TRAITS_MAX {
        return Err(Error::invalid(
            field,
            format!(
                "at most {TRAITS_MAX} traits change at once, not {}",
                traits.len()
            ),
        ));
    }
    for (key, value) in &traits {
        if serde_json::to_vec(value)?.len() > TRAIT_BYTES_MAX {
            return Err(Error::invalid(
                field,
                format!(
                    "the trait {:?} is larger than {TRAIT_BYTES_MAX} bytes",
                    shortened(key)
                ),
            ));
        }
    }
    Ok(traits)
}

/// An object within its limits; absent and null are an empty one.
pub(super) fn bounded_object(
    value: Option<Json<Value>>,
    field: &str,
    bytes_max: usize,
) -> Result<Map<String, Value>> {
    let value = match value {
        None | Some(Json(Value::Null)) => return Ok(Map::new()),
        Some(Json(value)) => value,
    };
    if depth(&value) > DEPTH_MAX {
        return Err(Error::invalid(
            field,
            format!("{field} nests deeper than {DEPTH_MAX}"),
        ));
    }
    let Value::Object(members) = storable_json(value) else {
        return Err(Error::invalid(field, format!("{field} is an object")));
    };
    if serde_json::to_vec(&members)?.len() > bytes_max {
        return Err(Error::invalid(
            field,
            format!("{field} is larger than {bytes_max} bytes"),
        ));
    }
    Ok(members)
}

/// How many containers `value` nests: 0 for a scalar, 1 for `{}`.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
