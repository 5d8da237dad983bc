//! Buried events, tried again.

use std::collections::HashMap;

use entity::{EventId, Id, dead_letter, event};
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde_json::json;
use uuid::Uuid;

use super::{forward, retry};
use crate::base::{Audited, Error, ErrorCode, Result, Tx};

/// Puts the letters' events back to the consumers that gave up on them, as if they had never failed, and gives the letters as
/// they are now. A user error names the first letter that is not there; then nothing is put back.
pub async fn replay(tx: &Tx, ids: &[Id<dead_letter::Entity>]) -> Result<Vec<dead_letter::Model>> {
    let letters = tx.get_many(ids).await?;
    if let Some(missing) = ids
        .iter()
        .find(|id| !letters.iter().any(|letter| letter.id == **id))
    {
        return Err(Error::user(
            ErrorCode::NotFound,
            "ids",
            format!("there is no dead letter {missing}"),
        ));
    }
    let events: Vec<EventId> = letters.iter().map(|letter| letter.event_id).collect();
    let events = tx.get_many::<event::Entity>(&events).await?;
    let contacts: HashMap<EventId, Uuid> = events
        .iter()
        .map(|event| (event.id, retry::lane(event)))
        .collect();
    let alone: HashMap<EventId, Uuid> = events
        .iter()
        .map(|event| (event.id, event.id.uuid()))
        .collect();
    let (forwarded, heard): (Vec<_>, Vec<_>) = letters
        .into_iter()
        .partition(|letter| letter.consumer == forward::CONSUMER);
    retry::put_back(tx, &heard, &contacts).await?;
    if !forwarded.is_empty() {
        // The letter goes out between two batches, whatever was sent of its contact since.
        retry::put_back(tx, &forwarded, &alone).await?;
        forward::mark_own(tx).await?;
    }
    tx.update_many::<dead_letter::Entity>(|update| {
        update
            .set(dead_letter::ActiveModel {
                replayed_at: Set(Some(tx.now())),
                ..Default::default()
            })
            .filter(dead_letter::Column::Id.is_in(ids.iter().copied()))
    })
    .await?;
    let mut letters = tx.get_many(ids).await?;
    letters.sort_by_key(|letter| ids.iter().position(|id| *id == letter.id));
    for letter in &letters {
        let changes = json!({"consumer": letter.consumer, "eventId": letter.event_id.to_string()});
        tx.audit(Audited::new("deadLetterReplay", &letter.id, changes))
            .await?;
    }
    Ok(letters)
}
