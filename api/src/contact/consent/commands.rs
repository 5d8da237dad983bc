//! Saying what a contact allows.

use chrono::{DateTime, Utc};
use entity::consent::{self, Basis, Channel, State};
use sea_orm::Set;
use serde_json::Value;

use super::{CHANGED, current, rules};
use crate::{
    base::{Actor, Error, ErrorCode, NewEvent, Result, Tx},
    contact::{SOURCE, whom::Whom},
};

/// Topics by channels of one contact: what a page of preferences may hold.
const STANDINGS_MAX: usize = 200;

/// One statement, not yet checked.
#[derive(Clone, Debug)]
pub(super) struct NewConsent {
    pub(super) whom: Whom,
    pub(super) topic: String,
    pub(super) channel: Channel,
    pub(super) state: State,
    pub(super) basis: Basis,
    pub(super) proof: Value,
    /// Absent: from now on.
    pub(super) at: Option<DateTime<Utc>>,
}

/// Writes a statement down, and tells of it where it changes how the contact stands.
pub(super) async fn set(tx: &Tx, actor: &Actor, new: &NewConsent) -> Result<consent::Model> {
    let at = new.at.unwrap_or_else(|| tx.now());
    if at > tx.now() {
        return Err(Error::invalid(
            "at",
            "a consent does not begin in the future",
        ));
    }
    let (root, identifier) = new.whom.held(tx, actor).await?;
    let standing = current(tx, &[root])
        .await?
        .remove(&root)
        .unwrap_or_default();
    let before = standing
        .iter()
        .find(|row| (&row.topic, row.channel) == (&new.topic, new.channel));
    if before.is_none() && standing.len() >= STANDINGS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "topic",
            format!("a contact has at most {STANDINGS_MAX} topics and channels"),
        ));
    }
    let row = tx
        .insert(consent::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            contact_id: Set(root),
            identifier_id: Set(identifier),
            topic: Set(new.topic.clone()),
            channel: Set(new.channel),
            state: Set(new.state),
            basis: Set(new.basis),
            proof: Set(new.proof.clone()),
            said_by: Set(actor.principal()),
            at: Set(at),
            created_at: Set(tx.now()),
        })
        .await?;
    let counts = before.is_none_or(|before| (before.at, before.id) < (row.at, row.id));
    if counts {
        tell(tx, &row, before.map(|before| before.state)).await?;
    }
    Ok(row)
}

/// Tells how a root stands now, if that is not how it stood.
pub(super) async fn tell(tx: &Tx, row: &consent::Model, before: Option<State>) -> Result<()> {
    if before == Some(row.state) {
        return Ok(());
    }
    let event = NewEvent {
        identifier_id: row.identifier_id,
        ..NewEvent::of_room(SOURCE, CHANGED, row.contact_id, tx.now())
    }
    .with("topic", row.topic.clone())
    .with("channel", rules::channel_text(row.channel))
    .with("state", rules::text(row.state))
    .with("before", before.map(rules::text));
    tx.emit(event).await?;
    Ok(())
}
