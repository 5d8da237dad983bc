//! Traits: one winning value a key, whatever the order of arrival.

use std::collections::{HashMap, HashSet};

use entity::{ContactId, EventId, contact_trait};
use sea_orm::{
    ColumnTrait, QueryFilter, QuerySelect, Set,
    sea_query::{Expr, OnConflict},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Incoming, Placed, TraitChanges, graph::Graph};
use crate::{
    base::{Result, Tx},
    contact::rules::{Weight, filterable},
};

impl TraitChanges {
    pub(super) fn changes_anything(&self) -> bool {
        !(self.set.is_empty() && self.set_once.is_empty() && self.unset.is_empty())
    }
}

/// One observation of one trait; `value` null where it was unset.
#[derive(Clone)]
struct Observation {
    value: Value,
    weight: Weight,
    source: String,
}

pub(super) async fn save(
    tx: &Tx,
    graph: &Graph,
    touches: &[&Incoming],
    placed: &[Placed],
    ids: &[EventId],
) -> Result<()> {
    let mut winners: HashMap<(ContactId, String), Observation> = HashMap::new();
    let mut profiled = profiled(tx, graph, touches, placed).await?;
    for ((touch, placed), event) in touches.iter().zip(placed).zip(ids) {
        let Some(contact) = placed.contact.map(|id| graph.root(id)) else {
            continue;
        };
        let TraitChanges {
            set,
            set_once,
            unset,
            personless,
        } = &touch.traits;
        if *personless && !profiled.contains(&contact) {
            continue;
        }
        if touch.traits.changes_anything() {
            profiled.insert(contact);
        }
        let said_by = said_by(touch, *event);
        let said = set
            .iter()
            .map(|(key, value)| (key, value.clone(), true))
            .chain(
                set_once
                    .iter()
                    .map(|(key, value)| (key, value.clone(), false)),
            )
            .chain(unset.iter().map(|key| (key, Value::Null, true)));
        for (key, value, outright) in said {
            let new = Observation {
                value,
                weight: Weight {
                    outright,
                    observed_at: touch.occurred_at,
                    said_by,
                },
                source: touch.source.to_owned(),
            };
            winners
                .entry((contact, key.clone()))
                .and_modify(|kept| {
                    if new.weight.replaces(kept.weight) {
                        kept.clone_from(&new);
                    }
                })
                .or_insert(new);
        }
    }
    let mut rows: Vec<_> = winners
        .into_iter()
        .map(|((contact, key), seen)| row(tx, contact, key, seen))
        .collect();
    // Two batches that write the same rows take them in the same order.
    rows.sort_by(|a, b| {
        (a.contact_id.as_ref(), a.key.as_ref()).cmp(&(b.contact_id.as_ref(), b.key.as_ref()))
    });
    upsert(tx, rows).await
}

/// Lets an absorbed contact's traits compete with its root's. Its own rows stay, for an unmerge.
pub(super) async fn copy(tx: &Tx, from: ContactId, to: ContactId) -> Result<()> {
    let rows = tx
        .find::<contact_trait::Entity>()
        .filter(contact_trait::Column::ContactId.eq(from))
        .all()
        .await?;
    let rows = rows
        .into_iter()
        .map(|old| {
            let seen = Observation {
                value: old.value,
                weight: Weight {
                    outright: old.rank == 1,
                    observed_at: old.observed_at,
                    said_by: old.said_by,
                },
                source: old.source,
            };
            row(tx, to, old.key, seen)
        })
        .collect();
    upsert(tx, rows).await
}

fn row(tx: &Tx, contact: ContactId, key: String, seen: Observation) -> contact_trait::ActiveModel {
    let (text, number) = filterable(&seen.value);
    contact_trait::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        contact_id: Set(contact),
        key: Set(key),
        value: Set(seen.value),
        text: Set(text),
        number: Set(number),
        rank: Set(i32::from(seen.weight.outright)),
        source: Set(seen.source),
        observed_at: Set(seen.weight.observed_at),
        said_by: Set(seen.weight.said_by),
    }
}

/// Names the call that a touch came by, the same each time it is sent.
fn said_by(touch: &Incoming, event: EventId) -> Uuid {
    touch.message_id.as_deref().map_or(event.uuid(), |id| {
        Uuid::try_parse(id).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()))
    })
}

/// Of the contacts that personless touches speak of, those that somebody said something about before.
async fn profiled(
    tx: &Tx,
    graph: &Graph,
    touches: &[&Incoming],
    placed: &[Placed],
) -> Result<HashSet<ContactId>> {
    let asked: HashSet<ContactId> = touches
        .iter()
        .zip(placed)
        .filter(|(touch, _)| touch.traits.personless && touch.traits.changes_anything())
        .filter_map(|(_, placed)| placed.contact.map(|id| graph.root(id)))
        .collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(ContactId,)> = tx
        .find::<contact_trait::Entity>()
        .filter(contact_trait::Column::ContactId.is_in(asked))
        .select_only()
        .column(contact_trait::Column::ContactId)
        .distinct()
        .tuples()
        .await?;
    Ok(rows.into_iter().map(|(contact,)| contact).collect())
}

/// [`Weight::replaces`], as the database decides it when two writers meet.
const REPLACES: &str = r#""excluded"."rank" > "contact_trait"."rank"
    OR ("excluded"."rank" = "contact_trait"."rank" AND (
        ("excluded"."rank" = 1 AND ("excluded"."observed_at", "excluded"."said_by") >= ("contact_trait"."observed_at", "contact_trait"."said_by"))
        OR ("excluded"."rank" = 0 AND ("excluded"."observed_at", "excluded"."said_by") < ("contact_trait"."observed_at", "contact_trait"."said_by"))))"#;

async fn upsert(tx: &Tx, rows: Vec<contact_trait::ActiveModel>) -> Result<()> {
    use contact_trait::Column as C;
    let replace = OnConflict::columns([C::TenantId, C::ContactId, C::Key])
        .update_columns([
            C::Value,
            C::Text,
            C::Number,
            C::Rank,
            C::Source,
            C::ObservedAt,
            C::SaidBy,
        ])
        .action_and_where(Expr::cust(REPLACES))
        .to_owned();
    tx.insert_all(rows, Some(replace)).await?;
    Ok(())
}
