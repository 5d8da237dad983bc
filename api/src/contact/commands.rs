//! Touches become contacts and events. One way in, [`ingest`]: identify, track, alias, upsert and capture
//! all go through it, so that who is who is decided in one place.

mod graph;
pub(super) mod merge;
pub(super) mod policy;
mod traits;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{
    ContactId, EventId, Id,
    contact_identifier::{self, Kind, Verification},
    event, event_message, touchpoint,
};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect, Set};
use serde_json::{Map, Value, json};

use self::graph::{Graph, Hand};
use super::rules::{Claim, is_distinct_id_kind};
use crate::base::{Cause, NewEvent, Result, Tx};

/// Events a unit of work may take: it holds its contacts' rows until it ends. Callers cut longer batches.
pub const INGEST_MAX: usize = 500;

/// One touch of one contact.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub name: String,
    /// Who it was, as the caller says it.
    pub claims: Vec<Claim>,
    /// Who it was, where the caller knows our id.
    pub contact_id: Option<ContactId>,
    pub link: Link,
    pub traits: TraitChanges,
    /// Where the contact came from: a campaign, a referrer.
    pub touch: Option<Value>,
    pub properties: Map<String, Value>,
    pub context: Map<String, Value>,
    pub source: &'static str,
    /// What the caller's word is worth, for the ids that traits name.
    pub verification: Verification,
    pub message_id: Option<String>,
    pub occurred_at: DateTime<Utc>,
    /// Whether an unknown id becomes a contact.
    pub makes_contact: bool,
}

/// How the ids of one touch belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    SameEvent,
    Identify,
    Alias,
}

#[derive(Clone, Debug, Default)]
pub struct TraitChanges {
    pub set: Map<String, Value>,
    /// Written only where the contact has no value of that key.
    pub set_once: Map<String, Value>,
    pub unset: Vec<String>,
    /// Said of a visit and not of a person: only a contact of which something was said before takes it.
    pub personless: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Ingested {
    /// The root, after the whole batch; absent where the touch names nobody.
    pub contact_id: Option<ContactId>,
    pub event_id: EventId,
    /// The log has its message id already: nothing was done.
    pub duplicate: bool,
}

/// Takes up to [`INGEST_MAX`] touches in order: finds or makes their contacts, joins those that are one
/// person, notes traits and attribution, and appends the events to the log. Idempotent by `message_id`.
/// Fails with `Contended` where a concurrent write made the same contact; the unit of work runs again.
pub(super) async fn ingest(tx: &Tx, batch: &[Incoming]) -> Result<Vec<Ingested>> {
    let batch: Vec<Incoming> = batch.iter().map(completed).collect();
    let known = known_messages(tx, &batch).await?;
    let mut fresh = HashSet::new();
    let new: Vec<bool> = batch
        .iter()
        .map(|touch| {
            touch
                .message_id
                .as_deref()
                .is_none_or(|id| !known.contains_key(id) && fresh.insert(id.to_owned()))
        })
        .collect();
    let touches: Vec<&Incoming> = batch
        .iter()
        .zip(&new)
        .filter_map(|(touch, new)| new.then_some(touch))
        .collect();

    let mut graph = Graph::load(tx, &touches).await?;
    let ids: Vec<EventId> = touches.iter().map(|_| tx.new_id()).collect();
    for (touch, id) in touches.iter().zip(&ids) {
        graph.note(tx, touch, *id);
    }
    let hand = Hand::of_evidence(tx);
    graph.settle(tx, &hand).await?;
    for (at, touch) in touches.iter().enumerate() {
        graph.learn(at, touch);
    }
    graph.save(tx, &hand).await?;
    let placed: Vec<Placed> = (0..touches.len())
        .map(|at| {
            let (contact, identifier) = graph.seat(at);
            Placed {
                contact,
                identifier,
            }
        })
        .collect();
    traits::save(tx, &touches, &placed, &ids).await?;
    touchpoints(tx, &touches, &placed, &ids).await?;

    let events = touches
        .iter()
        .zip(&placed)
        .zip(&ids)
        .map(|((touch, placed), id)| event_of(touch, placed, *id))
        .collect();
    tx.emit_all(events).await?;
    let shown = touches
        .iter()
        .zip(&ids)
        .map(|(touch, id)| (*id, touch.occurred_at));
    tell(tx, &graph, &shown.collect::<Vec<_>>()).await?;

    let mut fresh = placed.iter().zip(&ids);
    let mut by_message: HashMap<&str, Ingested> = HashMap::new();
    let mut answers = Vec::with_capacity(batch.len());
    for (touch, new) in batch.iter().zip(new) {
        let message = touch.message_id.as_deref();
        let answer = match (new, message) {
            (true, _) => {
                let (placed, event_id) = fresh.next().expect("a place for each new touch");
                Ingested {
                    contact_id: placed.contact,
                    event_id: *event_id,
                    duplicate: false,
                }
            }
            (false, Some(id)) => match known.get(id) {
                Some((event_id, contact_id)) => Ingested {
                    contact_id: match contact_id {
                        Some(id) => super::queries::root(tx, *id).await?.map(|root| root.id),
                        None => None,
                    },
                    event_id: *event_id,
                    duplicate: true,
                },
                None => Ingested {
                    duplicate: true,
                    ..by_message[id]
                },
            },
            (false, None) => unreachable!("only a message id makes a duplicate"),
        };
        if let Some(id) = message {
            by_message.entry(id).or_insert(answer);
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Where a touch ended up.
#[derive(Clone, Copy)]
struct Placed {
    contact: Option<ContactId>,
    identifier: Option<Id<contact_identifier::Entity>>,
}

/// A trait that is an id is a claim, and a claimed e-mail or phone is a trait: whoever says one says both.
fn completed(touch: &Incoming) -> Incoming {
    let mut touch = touch.clone();
    for (kind, key) in [(Kind::Email, "email"), (Kind::Phone, "phone")] {
        match touch.claims.iter().find(|claim| claim.kind == kind) {
            Some(claim) => {
                let shown = claim.shown.clone();
                touch
                    .traits
                    .set
                    .entry(key)
                    .or_insert_with(|| Value::String(shown));
            }
            None => {
                let said = touch.traits.set.get(key).and_then(Value::as_str);
                // A trait may hold anything; only what reads as an id becomes one.
                let claim =
                    said.and_then(|text| Claim::new(kind, text, touch.verification, key).ok());
                touch.claims.extend(claim);
            }
        }
    }
    touch.claims.sort_by_key(Claim::priority);
    touch
        .claims
        .dedup_by(|a, b| a.kind == b.kind && a.value == b.value);
    touch
}

/// The message ids that the log has already, with their events.
async fn known_messages(
    tx: &Tx,
    batch: &[Incoming],
) -> Result<HashMap<String, (EventId, Option<ContactId>)>> {
    let ids: HashSet<&str> = batch
        .iter()
        .filter_map(|touch| touch.message_id.as_deref())
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let told = tx
        .subquery::<event_message::Entity>()
        .column(event_message::Column::Id)
        .and_where(event_message::Column::MessageId.is_in(ids))
        .to_owned();
    let rows: Vec<(String, EventId, Option<ContactId>)> = tx
        .find::<event::Entity>()
        .filter(event::Column::Id.in_subquery(told))
        .select_only()
        .column(event::Column::MessageId)
        .column(event::Column::Id)
        .column(event::Column::ContactId)
        .tuples()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(message, event, contact)| (message, (event, contact)))
        .collect())
}

fn event_of(touch: &Incoming, placed: &Placed, id: EventId) -> NewEvent {
    let mut context = touch.context.clone();
    let ids: Vec<&str> = touch
        .claims
        .iter()
        .filter(|claim| is_distinct_id_kind(claim.kind))
        .map(|claim| claim.value.as_str())
        .collect();
    if !ids.is_empty() {
        context.insert("ids".to_owned(), json!(ids));
    }
    NewEvent {
        id: Some(id),
        name: touch.name.clone(),
        contact_id: placed.contact,
        identifier_id: placed.identifier,
        properties: touch.properties.clone(),
        context,
        source: touch.source,
        message_id: touch.message_id.clone(),
        cause: None,
        occurred_at: touch.occurred_at,
    }
}

/// Keeps where each visit came from.
async fn touchpoints(
    tx: &Tx,
    touches: &[&Incoming],
    placed: &[Placed],
    ids: &[EventId],
) -> Result<()> {
    let rows = touches
        .iter()
        .zip(placed)
        .zip(ids)
        .filter_map(|((touch, placed), id)| {
            Some(touchpoint::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                contact_id: Set(placed.contact?),
                identifier_id: Set(placed.identifier),
                event_id: Set(*id),
                touch: Set(touch.touch.clone()?),
                occurred_at: Set(touch.occurred_at),
            })
        });
    tx.insert_all(rows.collect(), None).await?;
    Ok(())
}

/// Tells the rooms who became known, who was joined, who came apart, and what was blocked. `shown` is the event and the time of
/// each touch.
async fn tell(tx: &Tx, graph: &Graph, shown: &[(EventId, DateTime<Utc>)]) -> Result<()> {
    let of_room = |name: &str, contact: ContactId, touch: Option<usize>| {
        let touch = touch.and_then(|at| shown.get(at));
        NewEvent {
            cause: touch.map(|(event, _)| Cause {
                event: *event,
                depth: 1,
            }),
            ..NewEvent::of_room(
                super::SOURCE,
                name,
                contact,
                touch.map_or(tx.now(), |(_, at)| *at),
            )
        }
    };
    let distinct_id = |id| graph.contact(id).map_or("", |row| row.distinct_id.as_str());
    let mut events = vec![];
    for join in graph.joined() {
        events.push(
            of_room(super::MERGED, join.survivor, join.touch)
                .with("absorbedContactId", join.absorbed.to_string())
                .with("absorbedDistinctId", distinct_id(join.absorbed))
                .with("survivorDistinctId", distinct_id(join.survivor)),
        );
    }
    for part in graph.parted() {
        let mut event = of_room(super::UNMERGED, part.contact, part.touch)
            .with("formerContactId", part.from.to_string())
            .with("formerDistinctId", distinct_id(part.from))
            .with("distinctId", distinct_id(part.contact));
        let traits = super::queries::traits(tx, &[part.contact]).await?;
        let traits = traits.into_values().next().unwrap_or_default();
        event.properties.insert("$set".to_owned(), traits.into());
        events.push(event);
    }
    for (touch, contact) in graph.became_known() {
        events.push(NewEvent {
            identifier_id: graph.seat(touch).1,
            ..of_room("contact.identified", contact, Some(touch))
        });
    }
    for hot in graph.hot() {
        let Some(row) = graph.identifier(hot.identifier) else {
            continue;
        };
        tracing::warn!(
            tenant = %tx.tenant(),
            identifier = %hot.identifier,
            reason = hot.reason,
            "a value was blocked, for it joined too many contacts"
        );
        metrics::counter!("growthos_contact_values_blocked_total").increment(1);
        events.push(
            of_room("identifier.blocked", row.contact_id, None)
                .with("identifierId", hot.identifier.to_string())
                .with("reason", hot.reason.as_str()),
        );
    }
    tx.emit_all(events).await?;
    Ok(())
}
