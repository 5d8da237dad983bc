//! Writing nudges: drafts, publishing, archiving.

mod interactions;

use chrono::TimeDelta;
use entity::{Id, event, nudge, nudge_delivery, nudge_version};
use sea_orm::{ActiveValue::Unchanged, ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Map, Value, json};

use super::{
    ARCHIVED, SOURCE, WITHDRAWN, queries,
    rules::{self, CONDITIONS_MAX, Condition, Content, Operator},
    stream::told_once,
};
use crate::base::{Audited, Error, ErrorCode, NewEvent, Result, Tx};

pub use interactions::{Interaction, Recorded, record_interactions};

const NAME_CHARS_MAX: usize = 200;

/// Either way of zero: enough to order by, small enough to leave room for classes.
const PRIORITY_MAX: i32 = 1_000;

const CAP_MAX: i32 = 1_000;

/// An offer shorter than this could lapse before it reaches a screen.
const EXPIRY_MIN: TimeDelta = TimeDelta::seconds(10);
const EXPIRY_MAX: TimeDelta = TimeDelta::days(366);

/// Versions of one nudge: more are a program that saves in a loop.
const VERSIONS_MAX: i32 = 10_000;

/// Open deliveries that one transaction takes back.
const WITHDRAWN_AT_ONCE: u64 = 500;

/// Which nudge is meant.
#[derive(Clone, Debug)]
pub enum Target {
    /// One that is there.
    Id(Id<nudge::Entity>),
    /// The one of this key, which is made where it is missing.
    Key(String),
}

/// What a nudge's draft is to be, not yet checked.
#[derive(Clone, Debug)]
pub struct Draft {
    pub target: Target,
    /// Absent: stays as it is; of a new nudge, its key.
    pub name: Option<String>,
    pub content: Content,
    pub surface: String,
    pub trigger_event: String,
    pub conditions: Vec<NewCondition>,
    pub priority: i32,
    /// Absent: offers stand for ever.
    pub expires_after: Option<TimeDelta>,
    /// Absent: no limit.
    pub cap_per_contact: Option<i32>,
}

/// A condition that was not checked yet.
#[derive(Clone, Debug)]
pub struct NewCondition {
    pub property: String,
    pub operator: Operator,
    pub value: Option<Value>,
}

/// Saves a nudge's draft and gives the nudge: the draft that is there changes; after publishing a new one is
/// made, numbered one higher. Making the nudge, where a key names none, is part of it.
pub async fn save(tx: &Tx, draft: &Draft) -> Result<nudge::Model> {
    let version = draft.checked()?;
    let name = draft.name.as_deref().map(str::trim);
    if name.is_some_and(|name| name.is_empty() || name.chars().count() > NAME_CHARS_MAX) {
        return Err(Error::invalid(
            "name",
            format!("a name has 1 to {NAME_CHARS_MAX} characters"),
        ));
    }
    let nudge = match &draft.target {
        Target::Id(id) => changeable(tx, *id).await?,
        Target::Key(key) => match queries::by_key(tx, key).locked().one().await? {
            Some(nudge) => unarchived(nudge)?,
            None => create(tx, key, name).await?,
        },
    };
    match queries::latest_version(tx, nudge.id).await? {
        Some(latest) if latest.published_at.is_none() => {
            let row = nudge_version::ActiveModel {
                id: Unchanged(latest.id),
                ..version
            };
            tx.update(row).await?;
        }
        latest => {
            let number = latest.map_or(0, |latest| latest.number) + 1;
            if number > VERSIONS_MAX {
                return Err(Error::user(
                    ErrorCode::LimitReached,
                    "id",
                    format!("a nudge has at most {VERSIONS_MAX} versions"),
                ));
            }
            let row = nudge_version::ActiveModel {
                id: Set(tx.new_id()),
                nudge_id: Set(nudge.id),
                number: Set(number),
                created_at: Set(tx.now()),
                ..version
            };
            tx.insert(row).await.map_err(Error::contended)?;
        }
    }
    let saved = tx
        .update(nudge::ActiveModel {
            id: Unchanged(nudge.id),
            name: Set(name.unwrap_or(&nudge.name).to_owned()),
            updated_at: Set(tx.now()),
            ..Default::default()
        })
        .await?;
    let changes = json!({
        "key": saved.key,
        "name": saved.name,
        "surface": draft.surface,
        "triggerEvent": draft.trigger_event,
    });
    tx.audit(Audited::new("nudgeSave", &saved.id, changes))
        .await?;
    Ok(saved)
}

/// Pins a nudge's draft as the version that runs. It cannot be changed from now on.
pub async fn publish(tx: &Tx, id: Id<nudge::Entity>) -> Result<nudge::Model> {
    let nudge = changeable(tx, id).await?;
    let draft = queries::latest_version(tx, nudge.id)
        .await?
        .filter(|latest| latest.published_at.is_none())
        .ok_or_else(|| {
            Error::user(
                ErrorCode::Conflict,
                "id",
                "this nudge has no draft: save one before publishing",
            )
        })?;
    tx.update(nudge_version::ActiveModel {
        id: Unchanged(draft.id),
        published_at: Set(Some(tx.now())),
        ..Default::default()
    })
    .await?;
    let published = tx
        .update(nudge::ActiveModel {
            id: Unchanged(nudge.id),
            live_version_id: Set(Some(draft.id)),
            updated_at: Set(tx.now()),
            ..Default::default()
        })
        .await?;
    let changes = json!({"key": published.key, "version": draft.number});
    tx.audit(Audited::new("nudgePublish", &published.id, changes))
        .await?;
    Ok(published)
}

/// Ends a nudge: it is offered no more, and this room, on hearing of it, takes its open deliveries back.
/// Archiving again changes nothing.
pub async fn archive(tx: &Tx, id: Id<nudge::Entity>) -> Result<nudge::Model> {
    let nudge = existing(tx, id).await?;
    if nudge.archived_at.is_some() {
        return Ok(nudge);
    }
    let archived = tx
        .update(nudge::ActiveModel {
            id: Unchanged(nudge.id),
            archived_at: Set(Some(tx.now())),
            updated_at: Set(tx.now()),
            ..Default::default()
        })
        .await?;
    let event = NewEvent {
        id: None,
        name: ARCHIVED.to_owned(),
        contact_id: None,
        identifier_id: None,
        properties: Map::new(),
        context: Map::new(),
        source: SOURCE,
        message_id: None,
        cause: None,
        occurred_at: tx.now(),
    };
    let event = event
        .with("nudgeId", archived.id.to_string())
        .with("nudgeKey", archived.key.clone());
    tx.emit(event).await?;
    let changes = json!({ "key": archived.key });
    tx.audit(Audited::new("nudgeArchive", &archived.id, changes))
        .await?;
    Ok(archived)
}

/// Takes back some of a nudge's open deliveries, because of `cause`; says whether there may be more.
pub(super) async fn withdraw_some(
    tx: &Tx,
    nudge: &nudge::Model,
    reason: &str,
    cause: &event::Model,
) -> Result<bool> {
    use nudge_delivery::Column;
    let open = tx
        .find::<nudge_delivery::Entity>()
        .filter(Column::NudgeId.eq(nudge.id))
        .filter(queries::is_open(tx.now()))
        .order_by_asc(Column::Id)
        .limit(WITHDRAWN_AT_ONCE)
        .locked()
        .all()
        .await?;
    if open.is_empty() {
        return Ok(false);
    }
    tx.update_many::<nudge_delivery::Entity>(|rows| {
        rows.filter(Column::Id.is_in(open.iter().map(|delivery| delivery.id)))
            .col_expr(Column::WithdrawnAt, tx.now().into())
            .col_expr(Column::WithdrawnReason, reason.into())
    })
    .await?;
    let told = open.iter().map(|delivery| {
        NewEvent::of_room(SOURCE, WITHDRAWN, delivery.contact_id, tx.now())
            .with("deliveryId", delivery.id.to_string())
            .with("nudgeId", nudge.id.to_string())
            .with("nudgeKey", nudge.key.clone())
            .with("surface", delivery.surface.clone())
            .with("reason", reason)
            .once(&told_once(WITHDRAWN, delivery.id))
            .caused_by(cause)
    });
    tx.emit_all(told.collect()).await?;
    Ok(open.len() as u64 == WITHDRAWN_AT_ONCE)
}

async fn create(tx: &Tx, key: &str, name: Option<&str>) -> Result<nudge::Model> {
    rules::key_is_fit(key).map_err(|why| Error::invalid("key", why))?;
    tx.insert(nudge::ActiveModel {
        id: Set(tx.new_id()),
        key: Set(key.to_owned()),
        name: Set(name.unwrap_or(key).to_owned()),
        created_at: Set(tx.now()),
        updated_at: Set(tx.now()),
        ..Default::default()
    })
    .await
    .map_err(Error::contended)
}

async fn existing(tx: &Tx, id: Id<nudge::Entity>) -> Result<nudge::Model> {
    tx.find::<nudge::Entity>()
        .filter(nudge::Column::Id.eq(id))
        .locked()
        .one()
        .await?
        .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no nudge of this id"))
}

async fn changeable(tx: &Tx, id: Id<nudge::Entity>) -> Result<nudge::Model> {
    unarchived(existing(tx, id).await?)
}

fn unarchived(nudge: nudge::Model) -> Result<nudge::Model> {
    if nudge.archived_at.is_some() {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            format!("the nudge {} is archived and cannot be changed", nudge.key),
        ));
    }
    Ok(nudge)
}

impl Draft {
    /// The columns of a version, or the first field that breaks a rule.
    fn checked(&self) -> Result<nudge_version::ActiveModel> {
        let content =
            self.content.clone().checked().map_err(|unfit| {
                Error::invalid(format!("content.{}", unfit.field), unfit.message)
            })?;
        rules::surface_is_fit(&self.surface).map_err(|why| Error::invalid("surface", why))?;
        rules::trigger_is_fit(&self.trigger_event)
            .map_err(|why| Error::invalid("trigger.event", why))?;
        within("priority", self.priority, -PRIORITY_MAX, PRIORITY_MAX)?;
        if let Some(cap) = self.cap_per_contact {
            within("capPerContact", cap, 1, CAP_MAX)?;
        }
        if self
            .expires_after
            .is_some_and(|after| after < EXPIRY_MIN || after > EXPIRY_MAX)
        {
            return Err(Error::invalid(
                "expiresAfter",
                format!(
                    "an offer stands for {} seconds to {} days",
                    EXPIRY_MIN.num_seconds(),
                    EXPIRY_MAX.num_days()
                ),
            ));
        }
        Ok(nudge_version::ActiveModel {
            content: Set(serde_json::to_value(content)?),
            surface: Set(self.surface.clone()),
            trigger_event: Set(self.trigger_event.clone()),
            conditions: Set(serde_json::to_value(self.checked_conditions()?)?),
            priority: Set(self.priority),
            expires_after_s: Set(self.expires_after.map(|after| after.num_seconds())),
            cap_per_contact: Set(self.cap_per_contact),
            ..Default::default()
        })
    }

    fn checked_conditions(&self) -> Result<Vec<Condition>> {
        if self.conditions.len() > CONDITIONS_MAX {
            return Err(Error::user(
                ErrorCode::LimitReached,
                "trigger.conditions",
                format!(
                    "a trigger has at most {CONDITIONS_MAX} conditions, not {}",
                    self.conditions.len()
                ),
            ));
        }
        let checked = |(at, new): (usize, &NewCondition)| {
            Condition::new(new.property.clone(), new.operator, new.value.clone()).map_err(|unfit| {
                Error::invalid(
                    format!("trigger.conditions.{at}.{}", unfit.field),
                    unfit.message,
                )
            })
        };
        self.conditions.iter().enumerate().map(checked).collect()
    }
}

fn within(field: &str, given: i32, min: i32, max: i32) -> Result<()> {
    if (min..=max).contains(&given) {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            format!("{field} is between {min} and {max}, not {given}"),
        ))
    }
}
