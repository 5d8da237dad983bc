//! What contacts do with their deliveries, told by clients, perhaps late and perhaps twice.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use entity::{
    ContactId, Id, nudge, nudge_delivery,
    nudge_interaction::{self, Kind},
    nudge_version,
};
use sea_orm::{ActiveValue::Unchanged, ColumnTrait, QueryFilter, QueryOrder, Set};

use super::super::{SOURCE, queries, rules};
use crate::base::{Error, ErrorCode, NewEvent, Result, Tx, UserError};

/// Interactions that one call records: an offline queue sends several calls.
const INTERACTIONS_MAX: usize = 100;

const CLIENT_ID_CHARS_MAX: usize = 200;

/// One thing that a client tells.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// Absent where the client's text is no delivery's id.
    pub delivery_id: Option<Id<nudge_delivery::Entity>>,
    pub kind: Kind,
    /// The client's own id of it, unique in its delivery: telling it again changes nothing.
    pub client_id: String,
    pub at: DateTime<Utc>,
}

/// What became of what was told. One that is wrong does not keep the others out: an offline queue would
/// stop at it for ever.
#[derive(Debug, Default)]
pub struct Recorded {
    /// In the order in which they were told; a repeated one as it was recorded first.
    pub interactions: Vec<nudge_interaction::Model>,
    pub refused: Vec<UserError>,
}

/// Records what `contact` did. Only deliveries to this contact, or to one it absorbed, are found.
pub async fn record_interactions(
    tx: &Tx,
    contact: ContactId,
    told: &[Interaction],
) -> Result<Recorded> {
    if told.len() > INTERACTIONS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "interactions",
            format!(
                "one call records at most {INTERACTIONS_MAX} interactions, not {}",
                told.len()
            ),
        ));
    }
    let family = queries::family(tx, contact).await?;
    let root = family.first().copied().unwrap_or(contact);
    let deliveries = own_deliveries(tx, &family, told).await?;
    let known = known_interactions(tx, told).await?;
    let mut book = Book {
        now: tx.now(),
        marked: deliveries.clone(),
        deliveries,
        known,
        new: vec![],
        recorded: Recorded::default(),
    };
    for (at, interaction) in told.iter().enumerate() {
        book.enter(tx, at, interaction);
    }
    book.write(tx, root).await
}

async fn own_deliveries(
    tx: &Tx,
    family: &[ContactId],
    told: &[Interaction],
) -> Result<BTreeMap<Id<nudge_delivery::Entity>, nudge_delivery::Model>> {
    use nudge_delivery::Column;
    let ids: Vec<_> = told
        .iter()
        .filter_map(|interaction| interaction.delivery_id)
        .collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = tx
        .find::<nudge_delivery::Entity>()
        .filter(Column::Id.is_in(ids))
        .filter(Column::ContactId.is_in(family.iter().copied()))
        .order_by_asc(Column::Id)
        .locked()
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

async fn known_interactions(tx: &Tx, told: &[Interaction]) -> Result<Known> {
    let client_ids = told
        .iter()
        .map(|interaction| interaction.client_id.as_str());
    let deliveries = told
        .iter()
        .filter_map(|interaction| interaction.delivery_id);
    let rows = tx
        .find::<nudge_interaction::Entity>()
        .filter(nudge_interaction::Column::DeliveryId.is_in(deliveries))
        .filter(nudge_interaction::Column::ClientId.is_in(client_ids))
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| (told_as(&row), row)).collect())
}

/// Interactions by what their client calls them.
type Known = HashMap<(Id<nudge_delivery::Entity>, String), nudge_interaction::Model>;

fn told_as(row: &nudge_interaction::Model) -> (Id<nudge_delivery::Entity>, String) {
    (row.delivery_id, row.client_id.clone())
}

/// What one call reads and is about to write.
struct Book {
    now: DateTime<Utc>,
    deliveries: BTreeMap<Id<nudge_delivery::Entity>, nudge_delivery::Model>,
    /// The same deliveries, with what was told marked.
    marked: BTreeMap<Id<nudge_delivery::Entity>, nudge_delivery::Model>,
    known: Known,
    new: Vec<nudge_interaction::Model>,
    recorded: Recorded,
}

impl Book {
    fn enter(&mut self, tx: &Tx, at: usize, told: &Interaction) {
        match self.take(tx, told) {
            Ok(row) => self.recorded.interactions.push(row),
            Err((code, field, message)) => self.recorded.refused.push(UserError {
                code,
                field: Some(format!("interactions.{at}.{field}")),
                message,
            }),
        }
    }

    fn take(
        &mut self,
        tx: &Tx,
        told: &Interaction,
    ) -> Result<nudge_interaction::Model, (ErrorCode, &'static str, String)> {
        let chars = told.client_id.chars().count();
        if chars == 0 || chars > CLIENT_ID_CHARS_MAX {
            let message =
                format!("clientId has 1 to {CLIENT_ID_CHARS_MAX} characters, not {chars}");
            return Err((ErrorCode::Invalid, "clientId", message));
        }
        let delivery = told
            .delivery_id
            .and_then(|id| self.marked.get_mut(&id))
            .ok_or_else(|| {
                (
                    ErrorCode::NotFound,
                    "deliveryId",
                    "you have no delivery of this id".to_owned(),
                )
            })?;
        if let Some(known) = self.known.get(&(delivery.id, told.client_id.clone())) {
            return Ok(known.clone());
        }
        let occurred_at = rules::interaction_time(told.at, self.now)
            .map_err(|why| (ErrorCode::Invalid, "at", why))?;
        rules::mark(delivery, told.kind, occurred_at);
        let row = nudge_interaction::Model {
            id: tx.new_id(),
            tenant_id: tx.tenant(),
            delivery_id: delivery.id,
            kind: told.kind,
            client_id: told.client_id.clone(),
            occurred_at,
            created_at: self.now,
        };
        self.known.insert(told_as(&row), row.clone());
        self.new.push(row.clone());
        Ok(row)
    }

    async fn write(self, tx: &Tx, contact: ContactId) -> Result<Recorded> {
        if self.new.is_empty() {
            return Ok(self.recorded);
        }
        let events = self.events(tx, contact).await?;
        let rows = self
            .new
            .into_iter()
            .map(|row| nudge_interaction::ActiveModel {
                id: Set(row.id),
                tenant_id: Set(row.tenant_id),
                delivery_id: Set(row.delivery_id),
                kind: Set(row.kind),
                client_id: Set(row.client_id),
                occurred_at: Set(row.occurred_at),
                created_at: Set(row.created_at),
            });
        // Another call may tell the same just now: the unit of work runs again and finds it.
        tx.insert_all(rows.collect(), None)
            .await
            .map_err(Error::contended)?;
        for (id, marked) in self.marked {
            if self.deliveries.get(&id) != Some(&marked) {
                tx.update(nudge_delivery::ActiveModel {
                    id: Unchanged(id),
                    received_at: Set(marked.received_at),
                    displayed_at: Set(marked.displayed_at),
                    clicked_at: Set(marked.clicked_at),
                    completed_at: Set(marked.completed_at),
                    dismissed_at: Set(marked.dismissed_at),
                    snoozed_at: Set(marked.snoozed_at),
                    ..Default::default()
                })
                .await?;
            }
        }
        tx.emit_all(events).await?;
        Ok(self.recorded)
    }

    /// What the log, and so PostHog, is told.
    async fn events(&self, tx: &Tx, contact: ContactId) -> Result<Vec<NewEvent>> {
        let delivery_of = |row: &nudge_interaction::Model| &self.deliveries[&row.delivery_id];
        let versions: Vec<_> = self
            .new
            .iter()
            .map(|row| delivery_of(row).nudge_version_id)
            .collect();
        let nudges: Vec<_> = self
            .new
            .iter()
            .map(|row| delivery_of(row).nudge_id)
            .collect();
        let versions: HashMap<_, nudge_version::Model> = tx
            .get_many(&versions)
            .await?
            .into_iter()
            .map(|row: nudge_version::Model| (row.id, row))
            .collect();
        let nudges: HashMap<_, nudge::Model> = tx
            .get_many(&nudges)
            .await?
            .into_iter()
            .map(|row: nudge::Model| (row.id, row))
            .collect();
        let event = |row: &nudge_interaction::Model| {
            let delivery = delivery_of(row);
            let name = format!("nudge.{}", queries::kind_text(row.kind));
            let mut event = NewEvent::of_room(SOURCE, &name, contact, row.occurred_at)
                .with("deliveryId", delivery.id.to_string())
                .with("nudgeId", delivery.nudge_id.to_string())
                .with(
                    "nudgeKey",
                    nudges
                        .get(&delivery.nudge_id)
                        .map(|nudge| nudge.key.clone()),
                )
                .with(
                    "nudgeVersion",
                    versions
                        .get(&delivery.nudge_version_id)
                        .map(|version| version.number),
                )
                .with("surface", delivery.surface.clone())
                .once(&format!("{name}/{}", row.id));
            event.identifier_id = delivery.identifier_id;
            event
        };
        Ok(self.new.iter().map(event).collect())
    }
}
