//! What is known of traits, and what follows from it.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use entity::{
    trait_definition::{Kind, Policy},
    trait_observation,
};
use serde_json::Value;

use crate::contact::TraitChanges;

/// What is known of one trait.
#[derive(Clone, Debug)]
pub struct Definition {
    pub kind: Kind,
    pub policy: Policy,
    /// The most trusted first.
    pub sources: Vec<String>,
    pub last_seen_at: DateTime<Utc>,
}

/// What is known of a tenant's traits.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Whether what is not known is refused.
    pub locked: bool,
    pub known: HashMap<String, Definition>,
}

/// Why a trait is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub key: String,
    /// What its values are; absent where the key is unknown.
    pub expected: Option<Kind>,
}

impl Refused {
    pub fn message(&self) -> String {
        match self.expected {
            Some(kind) => format!("the trait {:?} is {}", self.key, article(kind)),
            None => format!("there is no trait {:?}, and the schema is locked", self.key),
        }
    }
    /// As metrics call it.
    pub const fn reason(&self) -> &'static str {
        match self.expected {
            Some(_) => "wrong_type",
            None => "unknown_key",
        }
    }
}

const fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "a text",
        Kind::Number => "a number",
        Kind::Boolean => "true or false",
        Kind::Date => "a date, such as 2026-01-31 or 2026-01-31T09:00:00Z",
        Kind::List => "a list",
        Kind::Object => "an object",
    }
}

/// Traits that every contact may have: inputs have fields for them.
const OWN: [&str; 3] = ["email", "name", "phone"];

impl Definitions {
    fn kind(&self, key: &str) -> Option<Kind> {
        let own = || OWN.contains(&key).then_some(Kind::String);
        self.known
            .get(key)
            .map_or_else(own, |definition| Some(definition.kind))
    }

    fn refuses(&self, key: &str, value: &Value) -> Option<Refused> {
        let kind = self.kind(key);
        let fits = kind.is_some_and(|kind| fits(kind, value));
        (self.locked && !fits).then(|| Refused {
            key: key.to_owned(),
            expected: kind,
        })
    }
}

/// Whether all of the changes may be made; else the first that may not.
pub fn admit(definitions: &Definitions, traits: &TraitChanges) -> Result<(), Refused> {
    traits
        .set
        .iter()
        .chain(&traits.set_once)
        .find_map(|(key, value)| definitions.refuses(key, value))
        .map_or(Ok(()), Err)
}

/// Leaves out what may not be changed; gives it.
pub(super) fn cut(definitions: &Definitions, traits: &mut TraitChanges) -> Vec<Refused> {
    let mut refused = vec![];
    for said in [&mut traits.set, &mut traits.set_once] {
        said.retain(|key, value| match definitions.refuses(key, value) {
            Some(unfit) => {
                refused.push(unfit);
                false
            }
            None => true,
        });
    }
    refused
}

/// The weight of what a source says of a trait: the higher wins. Of the same weight the later wins, but of 0 the earlier: what is
/// said "once, if absent" yields to everything that is said outright.
pub fn rank(definition: Option<&Definition>, source: &str, outright: bool) -> i32 {
    if !outright {
        return 0;
    }
    let Some(definition) = definition.filter(|known| known.policy == Policy::SourcePriority) else {
        return 1;
    };
    let sources = &definition.sources;
    let trust = sources
        .iter()
        .position(|trusted| trusted == source)
        .map_or(0, |place| sources.len() - place);
    1 + i32::try_from(trust).unwrap_or(i32::MAX - 1)
}

/// Which of one trait's observations wins.
pub(super) fn winner(observed: &[trait_observation::Model]) -> Option<&trait_observation::Model> {
    let rank = observed.iter().map(|row| row.rank).max()?;
    let highest = observed.iter().filter(|row| row.rank == rank);
    if rank == 0 {
        highest.min_by_key(|row| (row.first_observed_at, row.said_by))
    } else {
        highest.max_by_key(|row| (row.observed_at, row.said_by))
    }
}

/// What a first value tells of its trait; nothing where it is null.
pub(super) fn inferred(value: &Value) -> Option<Kind> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(_) => Kind::Number,
        Value::String(text) if is_date(text) => Kind::Date,
        Value::String(_) => Kind::String,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
    })
}

fn fits(kind: Kind, value: &Value) -> bool {
    inferred(value)
        .is_none_or(|found| found == kind || (kind == Kind::String && found == Kind::Date))
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
        || DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(kind: Kind, sources: &[&str]) -> Definition {
        Definition {
            kind,
            policy: if sources.is_empty() {
                Policy::MostRecent
            } else {
                Policy::SourcePriority
            },
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            last_seen_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_first_value_tells_the_type() {
        for (value, kind) in [
            (json!(null), None),
            (json!("pro"), Some(Kind::String)),
            (json!(5), Some(Kind::Number)),
            (json!(false), Some(Kind::Boolean)),
            (json!("2026-01-31"), Some(Kind::Date)),
            (json!("2026-01-31T09:00:00+01:00"), Some(Kind::Date)),
            (json!("2026-13-31"), Some(Kind::String)),
            (json!("26-1-1"), Some(Kind::String)),
            (json!([1]), Some(Kind::List)),
            (json!({"a": 1}), Some(Kind::Object)),
        ] {
            assert_eq!(inferred(&value), kind, "{value}");
        }
    }

    #[test]
    fn a_locked_schema_takes_known_keys_of_their_types_and_an_open_one_takes_all() {
        let mut definitions = Definitions {
            locked: true,
            known: HashMap::from([
                ("plan".to_owned(), definition(Kind::String, &[])),
                ("since".to_owned(), definition(Kind::Date, &[])),
            ]),
        };
        let said = |key: &str, value: Value| TraitChanges {
            set: [(key.to_owned(), value)].into_iter().collect(),
            ..TraitChanges::default()
        };
        let refused = |key: &str, expected| {
            Err(Refused {
                key: key.to_owned(),
                expected,
            })
        };
        for (traits, answer) in [
            (said("plan", json!("pro")), Ok(())),
            (said("plan", json!("2026-01-31")), Ok(())),
            (said("plan", json!(null)), Ok(())),
            (said("plan", json!(5)), refused("plan", Some(Kind::String))),
            (
                said("since", json!("soon")),
                refused("since", Some(Kind::Date)),
            ),
            (said("color", json!("red")), refused("color", None)),
            (said("email", json!("a@b.co")), Ok(())),
            (
                said("email", json!(5)),
                refused("email", Some(Kind::String)),
            ),
        ] {
            assert_eq!(admit(&definitions, &traits), answer, "{traits:?}");
            let mut left = traits.clone();
            assert_eq!(cut(&definitions, &mut left).first().cloned(), answer.err());
        }
        definitions.locked = false;
        assert_eq!(admit(&definitions, &said("color", json!("red"))), Ok(()));
    }

    #[test]
    fn a_trusted_source_outranks_the_others_and_what_is_said_once_yields() {
        let crm_first = definition(Kind::String, &["crm", "api"]);
        let ranks = |source| rank(Some(&crm_first), source, true);
        assert_eq!([ranks("crm"), ranks("api"), ranks("capture")], [3, 2, 1]);
        assert_eq!(rank(Some(&crm_first), "crm", false), 0);
        let recent = definition(Kind::String, &[]);
        assert_eq!(rank(Some(&recent), "crm", true), 1);
        assert_eq!(rank(None, "crm", true), 1);
    }
}
