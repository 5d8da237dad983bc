//! What a segment's rule says, and what follows from it alone: whether it is fit, and what can change its answer. Pure: no
//! database, no clock. A rule is kept as the JSON that its GraphQL input is.

mod check;
mod triggers;

use async_graphql::{InputObject, Json, OneofObject};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use check::{KEY_CHARS_MAX, check, key_is_fit};
pub(super) use triggers::{Trigger, triggers};

use crate::{
    base::{filter::StringFilter, gql::Duration, instant::Instant},
    contact::{IdentifierKind, IdentifierVerification, TraitFilter},
};

/// Who is in a segment: exactly one of these. Rules nest at most 6 deep and hold at most 50 of these in all.
#[derive(Clone, Debug, PartialEq, OneofObject, Serialize, Deserialize)]
#[graphql(name = "SegmentRuleInput")]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Who meets all of these.
    And(Vec<Self>),
    /// Who meets at least one of these.
    Or(Vec<Self>),
    /// Who does not meet this.
    Not(Box<Self>),
    /// Whose trait is such.
    Trait(TraitFilter),
    /// Who has an identifier of this kind.
    Identifier(IdentifierRule),
    /// Who did this so often.
    Event(EventRule),
    /// Who did this for the first time then.
    FirstEvent(MomentRule),
    /// Who did this for the last time then.
    LastEvent(MomentRule),
    /// Who is in another segment.
    Segment(InSegment),
    /// Whom a module's thing brought into a state, such as having seen a nudge.
    State(StateRule),
}

/// An identifier that a contact must have.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[graphql(name = "SegmentIdentifierInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentifierRule {
    /// What it is.
    pub kind: IdentifierKind,
    /// What it reads, in its compared form: e-mail addresses in lower case, phone numbers in E.164. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<StringFilter>,
    /// The least that it must be vouched for. Left out: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<IdentifierVerification>,
}

/// Events that are counted. Without `atLeast` and `atMost`: at least once. `atMost: 0`: never.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[graphql(name = "SegmentEventInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventRule {
    /// The event's name, such as `signup`.
    pub name: String,
    /// What its properties must be: all of at most 10.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[graphql(name = "where")]
    pub properties: Option<Vec<PropertyRule>>,
    /// Only those of the last so long, counted back from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Only later ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Instant>,
    /// Only earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Instant>,
    /// How often at least, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i32>,
    /// How often at most, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i32>,
}

/// When an event happened for the first or the last time. All that is given must hold, and something must be given. It never
/// holds of who did not do it.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[graphql(name = "SegmentMomentInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MomentRule {
    /// The event's name, such as `signup`.
    pub name: String,
    /// What its properties must be: all of at most 10.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[graphql(name = "where")]
    pub properties: Option<Vec<PropertyRule>>,
    /// No longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Later than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Instant>,
    /// Earlier than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Instant>,
}

/// What a property of an event must be. All operators given must hold, and one must be given. Texts, numbers and booleans can be
/// compared.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[graphql(name = "SegmentPropertyInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PropertyRule {
    /// The property's name: at most 200 characters, without quotes and backslashes.
    pub key: String,
    /// Is this text, number or boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eq: Option<Json<Value>>,
    /// Is not this text, number or boolean, or is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ne: Option<Json<Value>>,
    /// Is one of these; at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#in: Option<Vec<Json<Value>>>,
    /// Is none of these, or is not there; at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_in: Option<Vec<Json<Value>>>,
    /// Holds this text; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Starts with this text; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<String>,
    /// Is there, and not null; or is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// Is a number greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<f64>,
    /// Is a number of at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gte: Option<f64>,
    /// Is a number less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<f64>,
    /// Is a number of at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lte: Option<f64>,
}

/// Another segment.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[graphql(name = "SegmentInSegmentInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InSegment {
    /// Its key. It must not lead back to the segment whose rule this is.
    pub key: String,
}

/// A state that a module's thing brings contacts into. Without `atLeast` and `atMost`: at least once.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[graphql(name = "SegmentStateInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateRule {
    /// The state: `nudge.offered`, `nudge.displayed`, `nudge.clicked`, `nudge.dismissed` or `nudge.completed`.
    pub state: String,
    /// The key of the module's thing, such as the nudge's.
    pub key: String,
    /// Only what came to be in the last so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// How often at least, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i32>,
    /// How often at most, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i32>,
}

impl Rule {
    /// The rules right within, and what each is called there.
    pub(super) fn parts(&self) -> Vec<(String, &Self)> {
        let listed = |name: &str, rules: &'_ [Self]| -> Vec<String> {
            (0..rules.len()).map(|at| format!("{name}.{at}")).collect()
        };
        match self {
            Self::And(rules) => listed("and", rules).into_iter().zip(rules).collect(),
            Self::Or(rules) => listed("or", rules).into_iter().zip(rules).collect(),
            Self::Not(rule) => vec![("not".to_owned(), rule)],
            _ => vec![],
        }
    }
    /// Its name as a member of `SegmentRuleInput`.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::And(_) => "and",
            Self::Or(_) => "or",
            Self::Not(_) => "not",
            Self::Trait(_) => "trait",
            Self::Identifier(_) => "identifier",
            Self::Event(_) => "event",
            Self::FirstEvent(_) => "firstEvent",
            Self::LastEvent(_) => "lastEvent",
            Self::Segment(_) => "segment",
            Self::State(_) => "state",
        }
    }
    /// Every rule in it, itself first, as they were written; and where each stands.
    pub(super) fn walk(&self) -> Vec<(String, &Self)> {
        let mut found = vec![(String::new(), self)];
        for (name, part) in self.parts() {
            for (inner, rule) in part.walk() {
                let place = if inner.is_empty() {
                    name.clone()
                } else {
                    format!("{name}.{inner}")
                };
                found.push((place, rule));
            }
        }
        found
    }
}

/// How often something must have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) at_least: i64,
    pub(super) at_most: Option<i64>,
}

impl Times {
    pub(super) fn of(at_least: Option<i32>, at_most: Option<i32>) -> Self {
        Self {
            // "At most twice" holds of who never did.
            at_least: at_least.map_or(i64::from(at_most.is_none()), i64::from),
            at_most: at_most.map(i64::from),
        }
    }
    pub(super) fn are(self, count: i64) -> bool {
        count >= self.at_least && self.at_most.is_none_or(|most| count <= most)
    }
    /// The occurrences, counted from the newest, with which the answer changes when they are forgotten.
    pub(super) fn decisive(self) -> Vec<i64> {
        let mut decisive = vec![];
        if self.at_least > 0 {
            decisive.push(self.at_least);
        }
        decisive.extend(self.at_most.map(|most| most + 1));
        decisive
    }
}
