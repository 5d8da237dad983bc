//! Reads of segments.

mod batch;

use std::cmp::Reverse;

use entity::{ContactId, contact, segment};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};

use super::{
    rules::Rule,
    select::{Question, Reach, Who},
    source,
};
use crate::{
    base::{Actor, Cx, Error, Module, Result, Rows, Scope, SortBy, State},
    contact as contact_room,
};

pub use batch::Reads;

/// Contacts that an estimate shows.
const SAMPLE: u64 = 10;

/// What rooms declare that contacts can be in.
pub(super) fn states(modules: &'static [&'static Module]) -> Vec<&'static State> {
    modules.iter().flat_map(|module| module.states).collect()
}

/// A segment's rule; none where it is filled by hand.
pub(super) fn rule_of(segment: &segment::Model) -> Result<Option<Rule>> {
    Ok(match &segment.rule {
        Some(rule) => Some(serde_json::from_value(rule.clone())?),
        None => None,
    })
}

/// Refuses what a rule compares that cannot be compared, by its place.
pub(super) fn can_be_asked(scope: &Scope, rule: &Rule) -> Result<()> {
    for (place, part) in rule.walk() {
        if let Rule::Trait(filter) = part {
            let place = if place.is_empty() {
                "rule.trait".to_owned()
            } else {
                format!("rule.{place}.trait")
            };
            filter
                .clone()
                .rows(scope)
                .map_err(|error| error.at(&place))?;
        }
    }
    Ok(())
}

pub fn by_key<'a>(scope: &'a Scope, key: &str) -> Rows<'a, segment::Entity> {
    scope
        .find::<segment::Entity>()
        .filter(segment::Column::Key.eq(key))
}

pub const fn newest_first() -> SortBy<segment::Entity> {
    SortBy {
        column: segment::Column::CreatedAt,
        descending: true,
    }
}

/// Fails for a rule about a trait that `actor` may not see: who is in the segment would tell it.
pub(super) async fn may_be_asked(scope: &Scope, actor: &Actor, rule: &Rule) -> Result<()> {
    let keys: Vec<&str> = rule
        .walk()
        .into_iter()
        .filter_map(|(_, part)| match part {
            Rule::Trait(filter) => Some(filter.key.as_str()),
            _ => None,
        })
        .collect();
    match contact_room::hidden_from(scope, actor, &keys).await? {
        None => Ok(()),
        Some(key) => Err(Error::invalid(
            "rule",
            format!("the trait {key:?} is personal: it takes the scope contacts:pii"),
        )),
    }
}

/// How many contacts a rule holds of now, and some of them.
pub struct Estimate {
    pub count: u64,
    /// The newest ids among them.
    pub sample: Vec<contact::Model>,
}

/// Asks a rule of everybody, without saving it.
pub async fn estimate(cx: &Cx, rule: &Rule) -> Result<Estimate> {
    let states = states(cx.env().modules);
    super::rules::check(rule, &states)?;
    let scope = cx.db();
    can_be_asked(&scope, rule)?;
    may_be_asked(&scope, cx.actor(), rule).await?;
    source::can_answer(&scope, cx.actor(), rule).await?;
    let question = Question {
        scope: &scope,
        now: cx.now(),
        states: &states,
        reach: Reach::Everybody,
    };
    // One statement: what is expensive is to go through everybody.
    let rows: Vec<(ContactId, i64)> = question
        .who(Who::Rule(rule))?
        .order_by_desc(contact::Column::Id)
        .limit(SAMPLE)
        .select_only()
        .column(contact::Column::Id)
        .column_as(Expr::cust("COUNT(*) OVER ()"), "found")
        .tuples()
        .await?;
    let count = rows.first().map_or(0, |(_, count)| *count);
    let ids: Vec<ContactId> = rows.into_iter().map(|(id, _)| id).collect();
    let mut sample = scope.get_many(&ids).await?;
    sample.sort_unstable_by_key(|row: &contact::Model| Reverse(row.id));
    Ok(Estimate {
        count: u64::try_from(count).unwrap_or_default(),
        sample,
    })
}
