//! Whether a rule is fit to be saved.

use chrono::TimeDelta;
use serde_json::Value;

use super::{MomentRule, PropertyRule, Rule};
use crate::base::{Error, ErrorCode, Result, State, gql::Duration};

/// How deep rules may nest: what people still read.
const DEPTH_MAX: usize = 6;
/// How many rules one may hold, itself counted: each may cost a subquery.
const RULES_MAX: usize = 50;
/// Comparisons of properties of one event, values of one list, and characters of texts that are compared.
const PROPERTIES_MAX: usize = 10;
const VALUES_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 1_000;
/// Characters of the names of events, traits and properties: as many as ingestion takes.
const NAME_CHARS_MAX: usize = 200;
/// How often may be asked for: the occurrence that decides is looked up among as many.
const TIMES_MAX: i32 = 1_000;
/// Windows are remembered to the second, and looked at every second.
const WINDOW_MIN: TimeDelta = TimeDelta::seconds(1);

pub(in crate::segment) const KEY_CHARS_MAX: usize = 64;

/// Whether a text can be a segment's key: it stands in rules and URLs.
pub(in crate::segment) fn key_is_fit(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= KEY_CHARS_MAX
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Refuses a rule that is not fit, by the place of what is wrong. Whether the segments that it names are there is not asked.
pub(in crate::segment) fn check(rule: &Rule, states: &[&State]) -> Result<()> {
    let mut rules = 0;
    within(rule, states, DEPTH_MAX, &mut rules).map_err(|error| error.under("rule"))
}

fn within(rule: &Rule, states: &[&State], depth: usize, rules: &mut usize) -> Result<()> {
    let limit = |message: String| Err(Error::user(ErrorCode::LimitReached, rule.kind(), message));
    let Some(depth) = depth.checked_sub(1) else {
        return limit(format!("rules nest at most {DEPTH_MAX} deep"));
    };
    *rules += 1;
    if *rules > RULES_MAX {
        return limit(format!("a segment holds at most {RULES_MAX} rules"));
    }
    let parts = rule.parts();
    if matches!(rule, Rule::And(_) | Rule::Or(_)) && parts.is_empty() {
        return Err(Error::invalid(rule.kind(), "give at least one rule"));
    }
    for (name, part) in parts {
        within(part, states, depth, rules).map_err(|error| error.under(&name))?;
    }
    leaf(rule, states).map_err(|error| error.under(rule.kind()))
}

fn leaf(rule: &Rule, states: &[&State]) -> Result<()> {
    match rule {
        Rule::And(_) | Rule::Or(_) | Rule::Not(_) => Ok(()),
        Rule::Trait(filter) => {
            name("key", &filter.key)?;
            if filter.operators() == 0 {
                return Err(Error::invalid("key", "say what the trait must be"));
            }
            Ok(())
        }
        Rule::Identifier(identifier) => match &identifier.value {
            Some(value) if value.operators() == 0 => {
                Err(Error::invalid("value", "say what the value must be"))
            }
            _ => Ok(()),
        },
        Rule::Event(event) => {
            name("name", &event.name)?;
            properties(event.properties.as_deref())?;
            window(event.within)?;
            times(event.at_least, event.at_most)
        }
        Rule::FirstEvent(moment) | Rule::LastEvent(moment) => {
            name("name", &moment.name)?;
            properties(moment.properties.as_deref())?;
            window(moment.within)?;
            is_told(moment)
        }
        Rule::Segment(other) => {
            if !key_is_fit(&other.key) {
                return Err(Error::invalid("key", "this is no segment's key"));
            }
            Ok(())
        }
        Rule::State(state) => {
            if !states.iter().any(|known| known.name == state.state) {
                let known: Vec<&str> = states.iter().map(|known| known.name).collect();
                return Err(Error::invalid(
                    "state",
                    format!("there is no such state; there are {}", known.join(", ")),
                ));
            }
            name("key", &state.key)?;
            window(state.within)?;
            times(state.at_least, state.at_most)
        }
    }
}

fn name(field: &str, text: &str) -> Result<()> {
    let chars = text.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&chars) {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            format!("this has 1 to {NAME_CHARS_MAX} characters, not {chars}"),
        ))
    }
}

fn window(within: Option<Duration>) -> Result<()> {
    if within.is_some_and(|Duration(length)| length < WINDOW_MIN) {
        return Err(Error::invalid("within", "a window is at least a second"));
    }
    Ok(())
}

fn times(at_least: Option<i32>, at_most: Option<i32>) -> Result<()> {
    for (field, given, min) in [("atLeast", at_least, 1), ("atMost", at_most, 0)] {
        if let Some(given) = given.filter(|given| !(min..=TIMES_MAX).contains(given)) {
            return Err(Error::invalid(
                field,
                format!("{field} is between {min} and {TIMES_MAX}, not {given}"),
            ));
        }
    }
    if let (Some(least), Some(most)) = (at_least, at_most)
        && least > most
    {
        return Err(Error::invalid(
            "atLeast",
            "nothing happens more than at most",
        ));
    }
    Ok(())
}

fn is_told(moment: &MomentRule) -> Result<()> {
    if moment.within.is_none() && moment.after.is_none() && moment.before.is_none() {
        return Err(Error::invalid(
            "name",
            "say when: give within, after or before",
        ));
    }
    Ok(())
}

fn properties(rules: Option<&[PropertyRule]>) -> Result<()> {
    let rules = rules.unwrap_or_default();
    if rules.len() > PROPERTIES_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "where",
            format!("at most {PROPERTIES_MAX} properties are compared"),
        ));
    }
    for (at, rule) in rules.iter().enumerate() {
        property(rule).map_err(|error| error.under(&format!("where.{at}")))?;
    }
    Ok(())
}

fn property(rule: &PropertyRule) -> Result<()> {
    name("key", &rule.key)?;
    if rule.key.contains(['"', '\\', '\0']) {
        return Err(Error::invalid(
            "key",
            "no quote, backslash or U+0000 may stand in a property's name",
        ));
    }
    if rule.operators() == 0 {
        return Err(Error::invalid("key", "say what the property must be"));
    }
    for (field, list) in [("in", &rule.r#in), ("notIn", &rule.not_in)] {
        let list = list.as_deref().unwrap_or_default();
        if list.len() > VALUES_MAX {
            return Err(Error::user(
                ErrorCode::LimitReached,
                field,
                format!("at most {VALUES_MAX} values"),
            ));
        }
        for value in list {
            comparable(field, &value.0)?;
        }
    }
    for (field, value) in [("eq", &rule.eq), ("ne", &rule.ne)] {
        if let Some(value) = value {
            comparable(field, &value.0)?;
        }
    }
    for (field, text) in [
        ("contains", &rule.contains),
        ("startsWith", &rule.starts_with),
    ] {
        if let Some(text) = text {
            is_short(field, text)?;
        }
    }
    Ok(())
}

fn comparable(field: &str, value: &Value) -> Result<()> {
    match value {
        Value::String(text) => is_short(field, text),
        Value::Number(_) | Value::Bool(_) => Ok(()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Error::invalid(
            field,
            "a property is compared with a text, a number or a boolean",
        )),
    }
}

fn is_short(field: &str, text: &str) -> Result<()> {
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(Error::invalid(
            field,
            format!("a text has at most {TEXT_CHARS_MAX} characters"),
        ));
    }
    Ok(())
}

impl PropertyRule {
    fn operators(&self) -> usize {
        [
            self.eq.is_some(),
            self.ne.is_some(),
            self.r#in.is_some(),
            self.not_in.is_some(),
            self.contains.is_some(),
            self.starts_with.is_some(),
            self.exists.is_some(),
            self.gt.is_some(),
            self.gte.is_some(),
            self.lt.is_some(),
            self.lte.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
    }
}
