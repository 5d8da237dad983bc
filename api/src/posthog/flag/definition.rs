//! The body of `/flags/definitions`, parsed once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::filter::{Filter, PropertyGroup};
use super::verdict::Readings;

/// A body that holds no flag definitions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DefinitionsError {
    /// The body is no JSON object.
    #[error("flag definitions are not an object")]
    NotAnObject,
    /// `flags` is absent or no array.
    #[error("flag definitions have no list of flags")]
    NoFlags,
}

/// The flags of one project, compiled. Cheap to share and to evaluate.
#[derive(Debug)]
pub struct Definitions {
    pub(super) flags: Vec<Flag>,
    pub(super) by_key: HashMap<String, usize>,
    pub(super) group_types: HashMap<String, String>,
    pub(super) cohorts: HashMap<String, PropertyGroup>,
}

#[derive(Debug)]
pub(super) struct Flag {
    pub(super) key: String,
    pub(super) active: bool,
    pub(super) experience_continuity: bool,
    /// The part that decides, or `None` where nothing here understands it.
    pub(super) rules: Option<Rules>,
    pub(super) payloads: HashMap<String, Value>,
}

#[derive(Debug)]
pub(super) struct Rules {
    /// The index of the group type that is bucketed instead of the person.
    pub(super) group_type: Option<String>,
    /// Bucketed by device; one client reads the setting in one more place.
    pub(super) by_device: Readings<bool>,
    /// The person property that decides an early-access flag, in one client.
    pub(super) enrollment: Option<String>,
    pub(super) holdout: Option<Holdout>,
    pub(super) early_exit: bool,
    pub(super) conditions: Vec<Condition>,
    pub(super) variants: Vec<Variant>,
}

#[derive(Debug)]
pub(super) struct Holdout {
    /// The share held out, 0 to 100.
    pub(super) percentage: f64,
    pub(super) value: String,
}

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) filters: Vec<Filter>,
    /// The share let in, 0 to 100; everyone if absent.
    pub(super) rollout: Option<f64>,
    /// The variant it forces, an index.
    pub(super) variant: Option<usize>,
    /// The index of a group type that differs from the flag's.
    pub(super) group_type: Option<String>,
}

#[derive(Debug)]
pub(super) struct Variant {
    pub(super) key: String,
    /// Where its range of hashes ends; it begins where the one before ends.
    pub(super) end: f64,
}

/// A part of a definition in a shape that nothing here knows.
struct NotUnderstood;

impl Definitions {
    /// Parses the body of `/flags/definitions`. Unknown fields are ignored; a flag that is
    /// not understood is kept and evaluates to undecided. Of two flags with one key the
    /// later one counts.
    pub fn parse(body: &Value) -> Result<Self, DefinitionsError> {
        let body = body.as_object().ok_or(DefinitionsError::NotAnObject)?;
        let flags = body.get("flags").and_then(Value::as_array);
        let version = body
            .get("property_matching_version")
            .and_then(Value::as_i64);
        let mut definitions = Self {
            flags: Vec::new(),
            by_key: HashMap::new(),
            group_types: object(body, "group_type_mapping")
                .filter_map(|(index, name)| Some((index.clone(), non_empty(name)?)))
                .collect(),
            cohorts: object(body, "cohorts")
                .map(|(id, group)| {
                    (
                        id.clone(),
                        PropertyGroup::compile(group, version.unwrap_or(1)),
                    )
                })
                .collect(),
        };
        for flag in flags.ok_or(DefinitionsError::NoFlags)? {
            if let Some(flag) = Flag::compile(flag, version.unwrap_or(1)) {
                definitions.insert(flag);
            }
        }
        Ok(definitions)
    }

    fn insert(&mut self, flag: Flag) {
        if let Some(index) = self.by_key.get(&flag.key) {
            self.flags[*index] = flag;
        } else {
            self.by_key.insert(flag.key.clone(), self.flags.len());
            self.flags.push(flag);
        }
    }

    /// The flags' keys, in the order of the body.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(|flag| flag.key.as_str())
    }
}

impl Flag {
    /// `None` for an entry without a key, which nothing can name.
    fn compile(flag: &Value, matching_version: i64) -> Option<Self> {
        let flag = flag.as_object()?;
        let key = flag.get("key")?.as_str()?;
        let no_filters = Map::new();
        let filters = match flag.get("filters") {
            None | Some(Value::Null) => Some(&no_filters),
            Some(filters) => filters.as_object(),
        };
        let encrypted = is_true(flag, "has_encrypted_payloads");
        let payloads = filters.filter(|_| !encrypted).map(payloads);
        Some(Self {
            key: key.to_owned(),
            active: is_true(flag, "active"),
            experience_continuity: is_true(flag, "ensure_experience_continuity"),
            rules: filters.and_then(|filters| Rules::compile(flag, filters, matching_version)),
            payloads: payloads.unwrap_or_default(),
        })
    }
}

impl Rules {
    /// `None` if a part is not understood.
    fn compile(
        flag: &Map<String, Value>,
        filters: &Map<String, Value>,
        matching_version: i64,
    ) -> Option<Self> {
        // Rule-based flags and legacy early access are decided by the server alone.
        let rule_based = filters.contains_key("rules")
            || flag.get("config_version").and_then(Value::as_i64) > Some(1);
        if rule_based || !list(filters, "super_groups")?.is_empty() {
            return None;
        }
        let variants = match filters.get("multivariate") {
            None | Some(Value::Null) => Vec::new(),
            Some(multivariate) => variants(list(multivariate.as_object()?, "variants")?)?,
        };
        let group_type = group_type(filters.get("aggregation_group_type_index")).ok()?;
        let by_device =
            |fields: &Map<String, Value>| fields.get("bucketing_identifier").and_then(non_empty);
        let own = by_device(flag);
        let inherited = own.clone().or_else(|| by_device(filters));
        Some(Self {
            by_device: Readings {
                python: inherited.as_deref() == Some("device_id"),
                node: own.as_deref() == Some("device_id"),
            },
            enrollment: is_true(filters, "feature_enrollment")
                .then(|| flag.get("key").and_then(Value::as_str))
                .flatten()
                .map(|key| format!("$feature_enrollment/{key}")),
            holdout: holdout(filters.get("holdout")).ok()?,
            early_exit: is_true(filters, "early_exit"),
            conditions: list(filters, "groups")?
                .iter()
                .map(|condition| {
                    let condition = condition.as_object()?;
                    Condition::compile(condition, group_type.as_ref(), &variants, matching_version)
                })
                .collect::<Option<_>>()?,
            variants,
            group_type,
        })
    }

    /// Whether the outcome can depend on the subject's groups.
    pub(super) fn reads_groups(&self) -> bool {
        let mut conditions = self.conditions.iter();
        self.group_type.is_some() || conditions.any(|condition| condition.group_type.is_some())
    }
}

impl Condition {
    fn compile(
        condition: &Map<String, Value>,
        flag_group_type: Option<&String>,
        variants: &[Variant],
        matching_version: i64,
    ) -> Option<Self> {
        let own = match condition.get("aggregation_group_type_index") {
            // Absent inherits; an explicit null keeps what the flag is bucketed by.
            None | Some(Value::Null) => None,
            own => group_type(own).ok()?,
        };
        let variant = condition.get("variant").and_then(Value::as_str);
        let filters = list(condition, "properties")?
            .iter()
            .map(|filter| Some(Filter::compile(filter.as_object()?, matching_version)));
        Some(Self {
            filters: filters.collect::<Option<_>>()?,
            rollout: percentage(condition.get("rollout_percentage")).ok()?,
            variant: variant
                .filter(|key| !key.is_empty())
                .and_then(|key| variants.iter().position(|variant| variant.key == key)),
            group_type: own.filter(|own| Some(own) != flag_group_type),
        })
    }
}

fn variants(list: &[Value]) -> Option<Vec<Variant>> {
    let mut end = 0.0;
    let variants = list.iter().map(|variant| {
        end += percentage(variant.get("rollout_percentage")).ok()?? / 100.0;
        let key = variant.get("key")?.as_str()?.to_owned();
        Some(Variant { key, end })
    });
    variants.collect()
}

fn holdout(holdout: Option<&Value>) -> Result<Option<Holdout>, NotUnderstood> {
    let Some(holdout) = holdout.filter(|holdout| !holdout.is_null()) else {
        return Ok(None);
    };
    let fields = holdout.as_object().ok_or(NotUnderstood)?;
    let share = percentage(fields.get("exclusion_percentage"))?;
    let id = match fields.get("id") {
        None | Some(Value::Null) => None,
        Some(Value::Number(id)) if !id.is_f64() => Some(id.to_string()),
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(NotUnderstood),
    };
    Ok(share.zip(id).map(|(percentage, id)| Holdout {
        percentage: percentage.clamp(0.0, 100.0),
        value: format!("holdout-{id}"),
    }))
}

/// Payloads are JSON in a string; what is not JSON is the string itself.
fn payloads(filters: &Map<String, Value>) -> HashMap<String, Value> {
    let parsed = |payload: &Value| match payload {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| payload.clone()),
        other => other.clone(),
    };
    object(filters, "payloads")
        .filter(|(_, payload)| !payload.is_null())
        .map(|(value, payload)| (value.clone(), parsed(payload)))
        .collect()
}

fn is_true(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

fn non_empty(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
}

/// The entries of an object that may be absent.
fn object<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let object = fields.get(name).and_then(Value::as_object);
    object.into_iter().flatten()
}

/// A list that may be null or absent; `None` if it is something else.
fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a [Value]> {
    match fields.get(name) {
        None | Some(Value::Null) => Some(&[]),
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
    }
}

fn percentage(value: Option<&Value>) -> Result<Option<f64>, NotUnderstood> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(NotUnderstood),
    }
}

/// The index of a group type, as the key of the mapping.
fn group_type(value: Option<&Value>) -> Result<Option<String>, NotUnderstood> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let index = value.as_i64().ok_or(NotUnderstood)?;
            Ok(Some(index.to_string()))
        }
    }
}
