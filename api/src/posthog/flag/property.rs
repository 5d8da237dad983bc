//! One property filter: a key, an operator and a value, compiled once.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::date::DateFilter;
use super::exact::Exact;
use super::number::{NumberFilter, Order};
use super::pattern::Pattern;
use super::semver::{Comparison, VersionFilter};
use super::subject::Properties;
use super::text::{Given, javascript_text, service_text};
use super::verdict::{MISSING, Readings, UNSUPPORTED, Verdict};

/// A compiled property filter.
#[derive(Debug)]
pub(super) struct PropertyFilter {
    key: Option<String>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Set,
    NotSet,
    Exact {
        exact: Exact,
        negated: bool,
    },
    Text(TextFilter),
    Pattern {
        pattern: Pattern,
        negated: bool,
    },
    Number(NumberFilter),
    Date(DateFilter),
    Version(VersionFilter),
    /// An operator no client evaluates.
    Unknown,
}

/// A substring, prefix or suffix; ASCII case does not matter.
#[derive(Debug)]
struct TextFilter {
    place: Place,
    negated: bool,
    wanted: Readings<String>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Anywhere,
    Start,
    End,
}

impl PropertyFilter {
    /// Compiles a filter object; what it does not understand becomes undecidable.
    pub(super) fn compile(filter: &Map<String, Value>, matching_version: i64) -> Self {
        let value = filter.get("value");
        let operator = match filter.get("operator") {
            None | Some(Value::Null) => "exact",
            Some(Value::String(operator)) if operator.is_empty() => "exact",
            Some(Value::String(operator)) => operator,
            Some(_) => "",
        };
        let (operator, negated) = match operator.strip_prefix("not_") {
            Some(positive) => (positive, true),
            None => (operator, false),
        };
        Self {
            key: filter.get("key").and_then(Value::as_str).map(str::to_owned),
            test: Test::compile(operator, negated, value, matching_version),
        }
    }

    pub(super) fn matches(
        &self,
        properties: Properties<'_>,
        now: DateTime<Utc>,
    ) -> Readings<Verdict> {
        let given = self.key.as_ref().and_then(|key| properties.get(key));
        let Some(given) = given else {
            // An unusable filter outranks a missing value.
            let undecided = if self.test.is_usable() {
                MISSING
            } else {
                UNSUPPORTED
            };
            return Readings::same(Err(undecided));
        };
        match &self.test {
            Test::Set => Readings::same(Ok(true)),
            Test::NotSet => Readings::same(Ok(false)),
            Test::Exact { exact, negated } => exact.matches(given).negated_if(*negated),
            Test::Text(filter) => filter.matches(given),
            Test::Pattern { pattern, negated } => match_pattern(pattern, given, *negated),
            Test::Number(filter) => filter.matches(given),
            Test::Date(filter) => filter.matches(given, now),
            Test::Version(filter) => filter.matches(given),
            Test::Unknown => Readings::same(Err(UNSUPPORTED)),
        }
    }
}

impl Test {
    fn compile(
        operator: &str,
        negated: bool,
        value: Option<&Value>,
        matching_version: i64,
    ) -> Self {
        let number = |order| Self::Number(NumberFilter::compile(order, value));
        let version = |comparison| Self::Version(VersionFilter::compile(comparison, value));
        let text = |place| Self::Text(TextFilter::compile(place, negated, value));
        let exact = |negated| Self::Exact {
            exact: Exact::compile(value, matching_version),
            negated,
        };
        match (operator, negated) {
            ("exact", false) => exact(false),
            ("is_not", false) => exact(true),
            ("is_set", false) => Self::Set,
            ("is_not_set", false) => Self::NotSet,
            ("icontains", _) => text(Place::Anywhere),
            ("starts_with", _) => text(Place::Start),
            ("ends_with", _) => text(Place::End),
            ("regex", _) => Self::Pattern {
                pattern: compile_pattern(value),
                negated,
            },
            ("gt", false) => number(Order::Above),
            ("gte", false) => number(Order::AtLeast),
            ("lt", false) => number(Order::Below),
            ("lte", false) => number(Order::AtMost),
            ("is_date_before", false) => Self::Date(DateFilter::compile(false, value)),
            ("is_date_after", false) => Self::Date(DateFilter::compile(true, value)),
            ("semver_eq", false) => version(Comparison::Equal),
            ("semver_neq", false) => version(Comparison::NotEqual),
            ("semver_gt", false) => version(Comparison::Ordered(Order::Above)),
            ("semver_gte", false) => version(Comparison::Ordered(Order::AtLeast)),
            ("semver_lt", false) => version(Comparison::Ordered(Order::Below)),
            ("semver_lte", false) => version(Comparison::Ordered(Order::AtMost)),
            ("semver_tilde", false) => version(Comparison::Tilde),
            ("semver_caret", false) => version(Comparison::Caret),
            ("semver_wildcard", false) => version(Comparison::Wildcard),
            _ => Self::Unknown,
        }
    }

    /// Whether some subject could decide it.
    fn is_usable(&self) -> bool {
        match self {
            Self::Set | Self::NotSet | Self::Exact { .. } | Self::Text(_) => true,
            Self::Pattern { pattern, .. } => pattern.support().is_ok(),
            Self::Number(filter) => filter.is_usable(),
            Self::Date(filter) => filter.is_usable(),
            Self::Version(filter) => filter.is_usable(),
            Self::Unknown => false,
        }
    }
}

/// The pattern, where both clients read the same one.
fn compile_pattern(value: Option<&Value>) -> Pattern {
    match value {
        Some(Value::String(pattern)) => Pattern::compile(pattern),
        Some(number @ Value::Number(_)) => {
            let given = Given::from(number);
            match (service_text(given), javascript_text(given)) {
                (Some(python), Some(node)) if python == node => Pattern::compile(&python),
                _ => Pattern::Unportable,
            }
        }
        _ => Pattern::Unportable,
    }
}

fn match_pattern(pattern: &Pattern, given: Given<'_>, negated: bool) -> Readings<Verdict> {
    let verdict = |text: Option<Cow<'_, str>>| pattern.matches(&text.ok_or(MISSING)?, negated);
    if let Given::Text(text) = given {
        return Readings::same(pattern.matches(text, negated));
    }
    Readings {
        python: verdict(service_text(given)),
        node: verdict(javascript_text(given)),
    }
}

impl TextFilter {
    fn compile(place: Place, negated: bool, value: Option<&Value>) -> Self {
        let given = value.map(Given::from);
        let python = given.and_then(service_text).unwrap_or("null".into());
        let node = given
            .and_then(javascript_text)
            .unwrap_or("undefined".into());
        Self {
            place,
            negated,
            wanted: Readings {
                python: python.to_ascii_lowercase(),
                node: node.to_ascii_lowercase(),
            },
        }
    }

    fn matches(&self, given: Given<'_>) -> Readings<Verdict> {
        let verdict = |text: Option<Cow<'_, str>>, wanted: &str| {
            Ok(self.place.holds(&text.ok_or(MISSING)?, wanted) != self.negated)
        };
        if matches!(given, Given::Text(_)) && self.wanted.python == self.wanted.node {
            return Readings::same(verdict(service_text(given), &self.wanted.python));
        }
        Readings {
            python: verdict(service_text(given), &self.wanted.python),
            node: verdict(javascript_text(given), &self.wanted.node),
        }
    }
}

impl Place {
    /// `wanted` is in ASCII lower case already.
    fn holds(self, text: &str, wanted: &str) -> bool {
        let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
        match self {
            Self::Start => text
                .get(..wanted.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(wanted)),
            Self::End => text
                .len()
                .checked_sub(wanted.len())
                .is_some_and(|from| text[from..].eq_ignore_ascii_case(wanted)),
            Self::Anywhere => {
                wanted.is_empty()
                    || text
                        .windows(wanted.len())
                        .any(|window| window.eq_ignore_ascii_case(wanted))
            }
        }
    }
}
