//! What a condition or a cohort is made of: properties, cohorts, other flags.

use serde_json::{Map, Value};

use super::property::PropertyFilter;
use super::text::{Given, service_text};
use super::verdict::Readings;

/// One filter of a condition, or a leaf of a cohort.
#[derive(Debug)]
pub(super) enum Filter {
    Property(PropertyFilter),
    Cohort(CohortFilter),
    Dependency(Dependency),
    /// A type that nothing here knows.
    Unknown,
}

/// Membership in a cohort.
#[derive(Debug)]
pub(super) struct CohortFilter {
    pub(super) id: String,
    pub(super) negated: bool,
    /// One client refuses operators other than membership, the other ignores them.
    pub(super) known_operator: bool,
}

/// The value of another flag.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) key: String,
    /// An unknown operator, or no key or value: one client answers "no match", the other
    /// goes on.
    pub(super) malformed: bool,
    /// The flags to evaluate first, the one depended on last. Empty where PostHog found a
    /// cycle, absent where the definition is broken.
    pub(super) chain: Option<Vec<String>>,
    pub(super) expected: Expected,
}

/// What another flag must evaluate to.
#[derive(Debug)]
pub(super) enum Expected {
    /// Enabled, whatever the variant, or not.
    Enabled(bool),
    Variant(String),
    /// A value no flag can have.
    Impossible,
}

impl Filter {
    pub(super) fn compile(filter: &Map<String, Value>, matching_version: i64) -> Self {
        match filter.get("type") {
            None | Some(Value::Null) => {
                Self::Property(PropertyFilter::compile(filter, matching_version))
            }
            Some(Value::String(kind)) => match kind.as_str() {
                "person" | "group" | "person_metadata" => {
                    Self::Property(PropertyFilter::compile(filter, matching_version))
                }
                "cohort" => Self::Cohort(CohortFilter::compile(filter)),
                "flag" => Self::Dependency(Dependency::compile(filter)),
                _ => Self::Unknown,
            },
            Some(_) => Self::Unknown,
        }
    }
}

impl CohortFilter {
    pub(super) fn compile(filter: &Map<String, Value>) -> Self {
        let operator = filter.get("operator").unwrap_or(&Value::Null);
        let known = match operator {
            Value::Null => true,
            Value::String(operator) => {
                matches!(operator.as_str(), "" | "exact" | "in" | "not_in")
            }
            _ => false,
        };
        let id = filter.get("value").map_or(Given::Null, Given::from);
        Self {
            id: service_text(id).unwrap_or_default().into_owned(),
            negated: operator == "not_in",
            known_operator: known,
        }
    }
}

impl Dependency {
    fn compile(filter: &Map<String, Value>) -> Self {
        let key = filter
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let value = filter.get("value").unwrap_or(&Value::Null);
        let operator = filter.get("operator").and_then(Value::as_str);
        let chain = filter.get("dependency_chain").and_then(Value::as_array);
        Self {
            key: key.to_owned(),
            malformed: operator != Some("flag_evaluates_to") || key.is_empty() || value.is_null(),
            chain: chain.and_then(|keys| {
                let keys = keys.iter().map(|key| key.as_str().map(str::to_owned));
                keys.collect()
            }),
            expected: match value {
                Value::Bool(enabled) => Expected::Enabled(*enabled),
                Value::String(variant) => Expected::Variant(variant.clone()),
                _ => Expected::Impossible,
            },
        }
    }
}

/// A cohort, or a group inside one. The clients accept slightly different shapes.
#[derive(Debug)]
pub(super) struct PropertyGroup {
    /// `{}` holds everyone.
    pub(super) everyone: Readings<bool>,
    /// How the entries combine; `None` where only the server understands the group.
    pub(super) joint: Readings<Option<Joint>>,
    /// JavaScript takes the first entry's nature for that of all.
    pub(super) node_nests: bool,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    All,
    Any,
}

/// One entry of a [`PropertyGroup`], compiled in each nature a client may take it for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) nested: bool,
    pub(super) group: Option<PropertyGroup>,
    pub(super) leaf: Option<Filter>,
    pub(super) negated: bool,
}

impl PropertyGroup {
    pub(super) fn compile(group: &Value, matching_version: i64) -> Self {
        let fields = match group {
            Value::Object(fields) if !fields.is_empty() => fields,
            // Null is malformed to Python and empty to JavaScript; the rest is malformed.
            other => {
                let empty = other.is_object();
                return Self {
                    everyone: Readings {
                        python: empty,
                        node: empty || other.is_null(),
                    },
                    joint: Readings::same(None),
                    node_nests: false,
                    entries: Vec::new(),
                };
            }
        };
        let kind = fields.get("type").and_then(Value::as_str);
        let python = match kind {
            Some("AND") => Some(Joint::All),
            Some("OR") => Some(Joint::Any),
            _ => None,
        };
        let node = match kind {
            Some("property") => Some(Joint::All),
            _ => python,
        };
        let values = fields.get("values");
        let list = values.and_then(Value::as_array);
        let absent = values.is_none_or(Value::is_null);
        let entries = list.map(Vec::as_slice).unwrap_or_default();
        let node_nests = entries
            .first()
            .is_some_and(|entry| entry.get("values").is_some());
        Self {
            everyone: Readings::same(false),
            joint: Readings {
                python: python.filter(|_| list.is_some()),
                node: node.filter(|_| list.is_some() || absent),
            },
            node_nests,
            entries: entries
                .iter()
                .map(|entry| Entry::compile(entry, node_nests, matching_version))
                .collect(),
        }
    }
}

impl Entry {
    fn compile(entry: &Value, node_nests: bool, matching_version: i64) -> Self {
        let fields = entry.as_object();
        let nested = fields.is_some_and(|fields| {
            let kind = fields.get("type").and_then(Value::as_str);
            fields.is_empty() || fields.contains_key("values") || matches!(kind, Some("AND" | "OR"))
        });
        let as_group = nested || node_nests;
        let as_leaf = !nested || !node_nests;
        Self {
            nested,
            group: as_group.then(|| PropertyGroup::compile(entry, matching_version)),
            leaf: fields
                .filter(|_| as_leaf)
                .map(|fields| Filter::compile(fields, matching_version)),
            negated: fields
                .and_then(|fields| fields.get("negation"))
                .is_some_and(|negation| negation == &Value::Bool(true)),
        }
    }
}
