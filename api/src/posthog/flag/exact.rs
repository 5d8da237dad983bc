//! `exact` and `is_not`: equality of lower-cased text, with coercion of booleans.

use std::borrow::Cow;

use serde_json::Value;

use super::text::{Given, exact_javascript_text, is_boolean_like, is_truthy, service_text};
use super::verdict::{MISSING, Readings, UNSUPPORTED, Verdict};

/// A compiled equality filter.
#[derive(Debug)]
pub(super) struct Exact {
    /// The filter reads as a boolean, so the value is compared by truth, not by text.
    truth: Option<bool>,
    boolean_like: bool,
    list: bool,
    wanted: Vec<Wanted>,
    /// Every wanted value has one spelling, the usual case.
    one_spelling: bool,
}

/// A wanted value, lower-cased. `javascript` is `None` where that client cannot spell it.
#[derive(Debug)]
struct Wanted {
    service: String,
    javascript: Option<String>,
}

impl Exact {
    /// `matching_version` 2 compares booleans by their text; any other by their truth.
    pub(super) fn compile(value: Option<&Value>, matching_version: i64) -> Self {
        let empty = value.and_then(Value::as_array).is_some_and(Vec::is_empty);
        let boolean_like = value.is_some_and(is_boolean_like);
        let truth = match value {
            Some(value) if empty || (boolean_like && matching_version != 2) => {
                Some(is_truthy(Given::from(value)))
            }
            _ => None,
        };
        let wanted: Vec<_> = match value {
            Some(Value::Array(items)) => items.iter().map(Wanted::of).collect(),
            Some(value) => vec![Wanted::of(value)],
            // Absent is null to one client and no value at all to the other.
            None => vec![Wanted {
                service: "null".to_owned(),
                javascript: None,
            }],
        };
        Self {
            truth,
            boolean_like,
            list: matches!(value, Some(Value::Array(_))),
            one_spelling: wanted.iter().all(Wanted::has_one_spelling),
            wanted,
        }
    }

    pub(super) fn matches(&self, given: Given<'_>) -> Readings<Verdict> {
        let Some(service) = service_text(given) else {
            return Readings::same(Err(MISSING));
        };
        if let Some(truth) = self.truth {
            return Readings::same(Ok(truth == is_truthy(given)));
        }
        let python = self
            .wanted
            .iter()
            .any(|wanted| is_lowercase_of(&wanted.service, &service));
        let plain = matches!(given, Given::Text(_) | Given::Null | Given::Bool(_));
        if plain && self.one_spelling {
            return Readings::same(Ok(python));
        }
        Readings {
            python: Ok(python),
            node: self.matches_in_javascript(given),
        }
    }

    fn matches_in_javascript(&self, given: Given<'_>) -> Verdict {
        if self.boolean_like && matches!(given, Given::Number(_)) {
            return Ok(false);
        }
        // A list names the subject's value first, a single value the filter's.
        let text: Result<Cow<'_, str>, _> = exact_javascript_text(given).ok_or(MISSING);
        if self.list {
            text?;
        }
        for wanted in &self.wanted {
            let wanted = wanted.javascript.as_ref().ok_or(UNSUPPORTED)?;
            if is_lowercase_of(wanted, &exact_javascript_text(given).ok_or(MISSING)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Wanted {
    fn of(value: &Value) -> Self {
        let given = Given::from(value);
        Self {
            service: service_text(given).unwrap_or_default().to_lowercase(),
            javascript: exact_javascript_text(given).map(|text| text.to_lowercase()),
        }
    }

    fn has_one_spelling(&self) -> bool {
        self.javascript.as_ref() == Some(&self.service)
    }
}

/// Whether `lower` is `text` in lower case, without allocating for plain ASCII.
fn is_lowercase_of(lower: &str, text: &str) -> bool {
    if text.is_ascii() {
        lower.len() == text.len()
            && lower
                .bytes()
                .zip(text.bytes())
                .all(|(wanted, byte)| wanted == byte.to_ascii_lowercase())
    } else {
        text.to_lowercase() == lower
    }
}
