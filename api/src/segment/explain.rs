//! Why a contact is in a segment, or is not.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::{ContactId, contact, contact_identifier, segment, segment_member};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};
use serde_json::{Map, Value, json};

use super::{
    queries::{rule_of, states},
    rules::{IdentifierRule, Rule},
    select::{Question, Reach},
};
use crate::{
    base::{Cx, Error, Planning, Result, Scope, instant},
    contact as contact_room,
};

/// What is stored, and what the rule says now.
pub struct Explained {
    pub segment: segment::Model,
    pub contact: contact::Model,
    /// Since when it is in it.
    pub entered_at: Option<DateTime<Utc>>,
    /// The rule and its parts, as they were written; empty where the segment is filled by hand.
    pub told: Vec<Told>,
}

/// One rule, asked of one contact.
pub struct Told {
    /// Where it stands, such as `and.0.not`; empty for the whole.
    pub place: String,
    /// Its name as a member of `SegmentRuleInput`.
    pub kind: &'static str,
    /// It alone, as it was written.
    pub rule: Value,
    pub holds: bool,
    /// What was compared; none for `and`, `or` and `not`.
    pub seen: Option<Value>,
}

/// Asks a segment's rule of one contact, in one state of the database.
pub async fn explain(
    cx: &Cx,
    segment: segment::Model,
    contact: contact::Model,
) -> Result<Explained> {
    let states = states(cx.env().modules);
    let now = cx.now();
    let rule = rule_of(&segment)?;
    let (entered_at, told) = cx
        .snapshot(async |scope| {
            let member = scope
                .find::<segment_member::Entity>()
                .filter(segment_member::Column::SegmentId.eq(segment.id))
                .filter(segment_member::Column::ContactId.eq(contact.id))
                .one()
                .await?;
            let told = match &rule {
                None => vec![],
                Some(rule) => {
                    let family = contact_room::family(scope, contact.id).await?;
                    let members: Vec<_> = family.iter().map(|id| id.uuid()).collect();
                    let question = Question {
                        scope,
                        now,
                        states: &states,
                        reach: Reach::These {
                            roots: &[contact.id.uuid()],
                            members: &members,
                        },
                    };
                    tell(&question, rule, contact.id).await?
                }
            };
            Ok((member.map(|row| row.entered_at), told))
        })
        .await?;
    Ok(Explained {
        segment,
        contact,
        entered_at,
        told,
    })
}

async fn tell(question: &Question<'_>, rule: &Rule, contact: ContactId) -> Result<Vec<Told>> {
    let scope = question.scope;
    let (leaves, row) = question.told(rule, contact)?;
    let found = scope
        .read_all(vec![scope.read(&row)], Planning::ByValues)
        .await?;
    let row = found
        .first()
        .and_then(|rows| rows.first())
        .ok_or(Error::NotFound)?;
    let traits = contact_room::traits(scope, &[contact]).await?;
    let traits = traits.get(&contact);
    let identifiers = scope
        .find::<contact_identifier::Entity>()
        .filter(contact_identifier::Column::ContactId.eq(contact))
        .order_by_asc(contact_identifier::Column::FirstSeenAt)
        .all()
        .await?;
    let mut asked: BTreeMap<String, (bool, Value)> = BTreeMap::new();
    let mut column = 0;
    for leaf in leaves {
        let holds = row.int(column)? == 1;
        column += 1;
        let seen = if leaf.counts {
            let at = |at: Option<DateTime<Utc>>| at.map(instant::text);
            let times = json!({
                "times": row.long(column)?,
                "first": at(row.instant_if_any(column + 1)?),
                "last": at(row.instant_if_any(column + 2)?),
            });
            column += 3;
            times
        } else {
            match leaf.rule {
                Rule::Trait(filter) => {
                    let value = traits.and_then(|traits| traits.get(&filter.key));
                    json!({ "value": value })
                }
                Rule::Identifier(rule) => json!({ "values": values(rule, &identifiers) }),
                Rule::Segment(other) => {
                    json!({ "since": since(scope, &other.key, contact).await? })
                }
                _ => Value::Null,
            }
        };
        asked.insert(leaf.place, (holds, seen));
    }
    rule.walk()
        .into_iter()
        .map(|(place, part)| {
            let leaf = asked.get(&place);
            Ok(Told {
                holds: holds(part, &place, &asked),
                seen: leaf.map(|(_, seen)| seen.clone()),
                kind: part.kind(),
                rule: serde_json::to_value(part)?,
                place,
            })
        })
        .collect()
}

/// What a rule says, by what its leaves said.
fn holds(rule: &Rule, place: &str, asked: &BTreeMap<String, (bool, Value)>) -> bool {
    let mut parts = rule.parts().into_iter().map(|(name, part)| {
        let place = if place.is_empty() {
            name
        } else {
            format!("{place}.{name}")
        };
        holds(part, &place, asked)
    });
    match rule {
        Rule::And(_) => parts.all(|holds| holds),
        Rule::Or(_) => parts.any(|holds| holds),
        Rule::Not(_) => !parts.any(|holds| holds),
        _ => asked.get(place).is_some_and(|(holds, _)| *holds),
    }
}

fn values(rule: &IdentifierRule, rows: &[contact_identifier::Model]) -> Vec<Map<String, Value>> {
    let kind = contact_identifier::Kind::from(rule.kind);
    rows.iter()
        .filter(|row| row.kind == kind && !row.blocked)
        .map(|row| {
            let verification = contact_room::IdentifierVerification::from(row.verification);
            Map::from_iter([
                ("value".to_owned(), json!(row.value)),
                ("verification".to_owned(), json!(verification)),
            ])
        })
        .collect()
}

async fn since(scope: &Scope, key: &str, contact: ContactId) -> Result<Option<String>> {
    let Some(other) = super::by_key(scope, key).one().await? else {
        return Ok(None);
    };
    let member = scope
        .find::<segment_member::Entity>()
        .filter(segment_member::Column::SegmentId.eq(other.id))
        .filter(segment_member::Column::ContactId.eq(contact))
        .one()
        .await?;
    Ok(member.map(|row| instant::text(row.entered_at)))
}
