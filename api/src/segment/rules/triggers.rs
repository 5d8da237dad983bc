//! What can change a rule's answer about a contact.

use std::collections::BTreeSet;

use async_graphql::MaybeUndefined;
use entity::segment_trigger::Kind;

use super::{Rule, Times};
use crate::base::State;

/// Something that happens to a contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::segment) struct Trigger {
    pub(in crate::segment) kind: Kind,
    /// Empty where the kind says all.
    pub(in crate::segment) name: String,
}

impl Trigger {
    pub(in crate::segment) fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
        }
    }
}

/// Everything that can change the rule's answer, but for time.
pub(in crate::segment) fn triggers(rule: &Rule, states: &[&State]) -> BTreeSet<Trigger> {
    let mut found = BTreeSet::new();
    for (_, part) in rule.walk() {
        match part {
            Rule::And(_) | Rule::Or(_) | Rule::Not(_) => {}
            Rule::Trait(filter) => {
                found.insert(Trigger::new(Kind::Trait, &filter.key));
                // Whoever names an address or a number by which a contact is known sets these, too.
                if matches!(filter.key.as_str(), "email" | "phone") {
                    found.insert(Trigger::new(Kind::Identifier, ""));
                }
            }
            Rule::Identifier(_) => {
                found.insert(Trigger::new(Kind::Identifier, ""));
            }
            Rule::Event(event) => {
                found.insert(Trigger::new(Kind::Event, &event.name));
            }
            Rule::FirstEvent(moment) | Rule::LastEvent(moment) => {
                found.insert(Trigger::new(Kind::Event, &moment.name));
            }
            Rule::Segment(other) => {
                found.insert(Trigger::new(Kind::Segment, &other.key));
            }
            Rule::State(state) => {
                let known = states.iter().filter(|known| known.name == state.state);
                let events = known.flat_map(|known| known.events);
                found.extend(events.map(|name| Trigger::new(Kind::Event, name)));
            }
        }
    }
    if holds_of_nobody(rule) {
        found.insert(Trigger::new(Kind::Anybody, ""));
    }
    found
}

/// Whether the rule holds of a contact of whom nothing is known: then it holds of each new one, whatever it does first.
fn holds_of_nobody(rule: &Rule) -> bool {
    match rule {
        Rule::And(rules) => rules.iter().all(holds_of_nobody),
        Rule::Or(rules) => rules.iter().any(holds_of_nobody),
        Rule::Not(rule) => !holds_of_nobody(rule),
        Rule::Trait(filter) => {
            let asks = matches!(filter.eq, MaybeUndefined::Value(_))
                || matches!(filter.ne, MaybeUndefined::Null)
                || filter.r#in.is_some()
                || filter.contains.is_some()
                || filter.starts_with.is_some()
                || filter.exists == Some(true)
                || [filter.gt, filter.gte, filter.lt, filter.lte]
                    .iter()
                    .any(Option::is_some);
            !asks
        }
        Rule::Event(event) => Times::of(event.at_least, event.at_most).are(0),
        Rule::State(state) => Times::of(state.at_least, state.at_most).are(0),
        // Another segment's rule may hold of nobody; its new member is told of by that segment.
        Rule::Identifier(_) | Rule::FirstEvent(_) | Rule::LastEvent(_) | Rule::Segment(_) => false,
    }
}
