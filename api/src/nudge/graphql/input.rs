//! What callers give.

use async_graphql::{ID, InputObject, Json};
use entity::{Id, nudge, nudge_version};
use sea_orm::{ColumnTrait, Condition, sea_query::Expr};
use serde_json::Value;

use super::{
    super::{
        commands::{Draft, Interaction, NewCondition, Target},
        rules::{Action, Content, Operator},
    },
    delivery::NudgeInteractionKind,
};
use crate::base::{
    Error, ErrorCode, Result, Scope, filter::StringFilter, gql::Duration, instant::Instant,
    storable,
};

/// How deep filters may nest, and how many there may be in one another.
const FILTER_DEPTH_MAX: usize = 5;
const FILTERS_MAX: usize = 50;

/// A nudge's draft.
#[derive(InputObject)]
pub(super) struct NudgeSaveInput {
    /// The nudge to save; give this or the key.
    id: Option<ID>,
    /// The key of the nudge to save, or to make: 1 to 64 letters, digits and characters of `_-.`
    key: Option<String>,
    /// What the tenant's people call it, at most 200 characters; left out, it stays, and a new nudge is called
    /// as its key.
    name: Option<String>,
    /// What it says.
    content: NudgeContentInput,
    /// Where it is shown, such as `app`: 1 to 64 letters, digits and characters of `_-.`
    surface: String,
    /// What it answers.
    trigger: NudgeTriggerInput,
    /// Higher ones come first; -1000 to 1000.
    #[graphql(default)]
    priority: i32,
    /// How long an offer stands, 10 seconds to 366 days; left out: for ever. An event that is older triggers
    /// nothing; without it, one that is older than a day.
    expires_after: Option<Duration>,
    /// How often one contact may see it, 1 to 1000, all versions counted; open offers count. Left out: no limit.
    cap_per_contact: Option<i32>,
}

/// What a nudge says: plain text, without markup.
#[derive(InputObject)]
struct NudgeContentInput {
    /// One line, at most 120 characters.
    title: String,
    /// At most 2,000 characters.
    body: String,
    /// What the contact can do about it.
    action: Option<NudgeActionInput>,
}

/// What a contact can do about a nudge.
#[derive(InputObject)]
struct NudgeActionInput {
    /// What stands on the button, at most 60 characters.
    label: String,
    /// An http or https URL, or a path such as `/plans` of the surface's own site.
    url: String,
}

/// Which events a nudge answers.
#[derive(InputObject)]
struct NudgeTriggerInput {
    /// The event's name, such as `signup`.
    event: String,
    /// What the event's properties must be: all of at most 20.
    #[graphql(default)]
    conditions: Vec<NudgeConditionInput>,
}

/// One comparison of a property of the event.
#[derive(InputObject)]
struct NudgeConditionInput {
    /// The property's name.
    property: String,
    /// How it is compared.
    operator: Operator,
    /// What it is compared with: a text, number or boolean; a list of them with `IN` and `NOT_IN`; nothing
    /// with `EXISTS` and `NOT_EXISTS`.
    value: Option<Json<Value>>,
}

impl NudgeSaveInput {
    pub(super) fn draft(self) -> Result<Draft> {
        let target = match (self.id, self.key) {
            (Some(id), None) => Target::Id(nudge_id(&id)?),
            (None, Some(key)) => Target::Key(key),
            _ => {
                return Err(Error::invalid(
                    "id",
                    "give the id or the key, exactly one of them",
                ));
            }
        };
        let action = |NudgeActionInput { label, url }| Action { label, url };
        let condition = |given: NudgeConditionInput| NewCondition {
            property: given.property,
            operator: given.operator,
            value: given.value.map(|Json(value)| value),
        };
        Ok(Draft {
            target,
            name: self.name,
            content: Content {
                title: self.content.title,
                body: self.content.body,
                action: self.content.action.map(action),
            },
            surface: self.surface,
            trigger_event: self.trigger.event,
            conditions: self.trigger.conditions.into_iter().map(condition).collect(),
            priority: self.priority,
            expires_after: self.expires_after.map(|Duration(after)| after),
            cap_per_contact: self.cap_per_contact,
        })
    }
}

/// The nudge to publish.
#[derive(InputObject)]
pub(super) struct NudgePublishInput {
    /// Its id.
    pub(super) id: ID,
}

/// The nudge to archive.
#[derive(InputObject)]
pub(super) struct NudgeArchiveInput {
    /// Its id.
    pub(super) id: ID,
}

/// A text that is no nudge's id names none.
pub(super) fn nudge_id(id: &ID) -> Result<Id<nudge::Entity>> {
    Id::parse(id)
        .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no nudge of this id"))
}

/// What a client tells of its contact's deliveries.
#[derive(InputObject)]
pub(super) struct NudgeInteractionsRecordInput {
    /// At most 100.
    interactions: Vec<NudgeInteractionInput>,
}

/// One thing that the contact did.
#[derive(InputObject)]
struct NudgeInteractionInput {
    /// The delivery.
    delivery_id: ID,
    /// What was done.
    kind: NudgeInteractionKind,
    /// The client's own id of it, unique in its delivery, such as a UUID: at most 200 characters.
    client_id: String,
    /// When, by the client's clock: at most 90 days ago, and at most 5 minutes ahead.
    at: Instant,
}

impl NudgeInteractionsRecordInput {
    pub(super) fn interactions(self) -> Vec<Interaction> {
        let interaction = |given: NudgeInteractionInput| Interaction {
            delivery_id: Id::parse(&given.delivery_id),
            kind: given.kind.into(),
            client_id: storable(given.client_id),
            at: given.at.into(),
        };
        self.interactions.into_iter().map(interaction).collect()
    }
}

/// Which nudges. All that is given must hold.
#[derive(Debug, Default, InputObject)]
pub(super) struct NudgeFilter {
    /// All of these hold.
    and: Option<Vec<Self>>,
    /// One of these holds.
    or: Option<Vec<Self>>,
    /// This does not hold.
    not: Option<Box<Self>>,
    /// Its key.
    key: Option<StringFilter>,
    /// Its name.
    name: Option<StringFilter>,
    /// The surface of the version that runs.
    surface: Option<StringFilter>,
    /// Whether it was archived.
    archived: Option<bool>,
}

impl NudgeFilter {
    pub(super) fn condition(&self, db: &Scope) -> Result<Condition> {
        let mut left = FILTERS_MAX;
        self.nested(db, FILTER_DEPTH_MAX, &mut left)
    }
    fn nested(&self, db: &Scope, depth: usize, left: &mut usize) -> Result<Condition> {
        use nudge::Column;
        if depth == 0 || *left == 0 {
            return Err(Error::user(
                ErrorCode::LimitReached,
                "filter",
                format!(
                    "a filter nests at most {FILTER_DEPTH_MAX} deep and holds at most {FILTERS_MAX} filters"
                ),
            ));
        }
        *left -= 1;
        let mut all = Condition::all();
        for (texts, column) in [(&self.key, Column::Key), (&self.name, Column::Name)] {
            all = all.add_option(
                texts
                    .as_ref()
                    .map(|texts| texts.of_column(&column.into_expr())),
            );
        }
        if let Some(surface) = &self.surface {
            let mut running = db.subquery::<nudge_version::Entity>();
            running
                .column(nudge_version::Column::Id)
                .cond_where(surface.of_column(&Expr::col(nudge_version::Column::Surface)));
            // Said in full: what is null is neither in a list nor not in it, and would fail a `not`.
            all = all
                .add(Column::LiveVersionId.is_not_null())
                .add(Column::LiveVersionId.in_subquery(running));
        }
        all = all.add_option(self.archived.map(|archived| {
            if archived {
                Column::ArchivedAt.is_not_null()
            } else {
                Column::ArchivedAt.is_null()
            }
        }));
        for filter in self.and.iter().flatten() {
            all = all.add(filter.nested(db, depth - 1, left)?);
        }
        if let Some(or) = &self.or {
            let mut any = Condition::any().add(Expr::value(false));
            for filter in or {
                any = any.add(filter.nested(db, depth - 1, left)?);
            }
            all = all.add(any);
        }
        if let Some(not) = &self.not {
            all = all.add(not.nested(db, depth - 1, left)?.not());
        }
        Ok(all)
    }
}
