//! What callers give and see of segments. The objects stand at the roof, because they show contacts.

use async_graphql::{Enum, ID, InputObject, Json, SimpleObject};
use entity::{ContactId, Id, segment};
use sea_orm::{ColumnTrait, Condition, sea_query::Expr};
use serde_json::Value;

use super::{
    commands::{Listing, Saved, not_there},
    explain::Told,
    membership::SegmentId,
    rules::Rule,
};
use crate::base::{Error, ErrorCode, Result, filter::StringFilter};

/// Contacts of one change by hand: one transaction asks about all of them.
const LISTED_AT_ONCE: usize = 500;

/// Who decides what is in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum SegmentKind {
    /// A rule.
    Rule,
    /// Whoever puts contacts in and takes them out.
    Static,
}

/// How far a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "segment::State")]
pub enum SegmentState {
    /// Contacts are being asked whether they meet a new rule; `progress` says how far that is. What happens meanwhile counts.
    Computing,
    /// Who is in it is known, and follows what happens.
    Live,
    /// The contacts could not be asked; `failure` says why. Saving it again begins anew.
    Failed,
}

/// Which segments. All that is given must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct SegmentFilter {
    /// The key.
    key: Option<StringFilter>,
    /// The name.
    name: Option<StringFilter>,
    /// Who decides what is in it.
    kind: Option<SegmentKind>,
    /// How far it is.
    state: Option<SegmentState>,
}

impl SegmentFilter {
    pub fn condition(self) -> Condition {
        use segment::Column;
        let text = |column: Column, filter: Option<StringFilter>| {
            filter.map(|filter| filter.of_column(&Expr::col(column.as_column_ref())))
        };
        Condition::all()
            .add_option(text(Column::Key, self.key))
            .add_option(text(Column::Name, self.name))
            .add_option(self.kind.map(|kind| match kind {
                SegmentKind::Rule => Column::Rule.is_not_null(),
                SegmentKind::Static => Column::Rule.is_null(),
            }))
            .add_option(
                self.state
                    .map(|state| Column::State.eq(segment::State::from(state))),
            )
    }
}

/// A segment as it is to be.
#[derive(InputObject)]
pub struct SegmentSaveInput {
    /// The key of the segment to save, or to make: 1 to 64 letters, digits and characters of `_-.` It never changes.
    key: String,
    /// What the tenant's people call it, at most 200 characters; left out, it stays, and a new segment is called as its key.
    name: Option<String>,
    /// What it is for, at most 2,000 characters; left out, it stays.
    description: Option<String>,
    /// Who is in it. Left out, it stays; a new segment without one is static: filled by hand.
    rule: Option<Rule>,
}

impl SegmentSaveInput {
    pub fn saved(self) -> Saved {
        Saved {
            key: self.key,
            name: self.name,
            description: self.description,
            rule: self.rule,
        }
    }
}

/// The segment to delete.
#[derive(InputObject)]
pub struct SegmentDeleteInput {
    /// Its id.
    pub id: ID,
}

/// Contacts to put into a static segment, or to take out of it.
#[derive(InputObject)]
pub struct SegmentMembersInput {
    /// The segment's id.
    id: ID,
    /// The contacts' ids; at most 500. An absorbed contact's id stands for its root.
    contact_ids: Vec<ID>,
}

impl SegmentMembersInput {
    pub fn listing(&self) -> Result<Listing> {
        if self.contact_ids.len() > LISTED_AT_ONCE {
            return Err(Error::user(
                ErrorCode::LimitReached,
                "contactIds",
                format!("at most {LISTED_AT_ONCE} contacts at once"),
            ));
        }
        let contacts = self.contact_ids.iter().enumerate().map(|(at, id)| {
            ContactId::parse(id).ok_or_else(|| {
                Error::user(
                    ErrorCode::NotFound,
                    format!("contactIds.{at}"),
                    "there is no contact of this id",
                )
            })
        });
        Ok(Listing {
            segment: segment_id(&self.id)?,
            contacts: contacts.collect::<Result<_>>()?,
        })
    }
}

/// A text that is no segment's id names none.
pub fn segment_id(id: &ID) -> Result<SegmentId> {
    Id::parse(id).ok_or_else(not_there)
}

/// A rule or a part of one, asked of one contact.
#[derive(SimpleObject)]
pub struct SegmentExplainNode {
    /// Where it stands in the whole, such as `and.0.not`; empty for the whole.
    path: String,
    /// Its name as a member of `SegmentRuleInput`.
    kind: String,
    /// It alone, as it was saved.
    rule: Json<Value>,
    /// Whether it holds of the contact.
    holds: bool,
    /// What was compared: `value` of a trait, `values` of identifiers, `times`, `first` and `last` of what is counted, `since` when it
    /// is in another segment. Null for `and`, `or` and `not`.
    seen: Option<Json<Value>>,
}

impl From<Told> for SegmentExplainNode {
    fn from(told: Told) -> Self {
        Self {
            path: told.place,
            kind: told.kind.to_owned(),
            rule: Json(told.rule),
            holds: told.holds,
            seen: told.seen.map(Json),
        }
    }
}
