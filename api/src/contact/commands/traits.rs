//! Traits: one winning value a key, whatever the order of arrival.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{ContactId, contact_trait};
use sea_orm::{
    ColumnTrait, QueryFilter, Set,
    sea_query::{Expr, OnConflict},
};
use serde_json::Value;

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
struct Observation {
    value: Value,
    weight: Weight,
    source: &'static str,
}

pub(super) async fn save(
    tx: &Tx,
    graph: &Graph,
    touches: &[&Incoming],
    placed: &[Placed],
) -> Result<()> {
    let mut winners: HashMap<(ContactId, String), Observation> = HashMap::new();
    for (touch, placed) in touches.iter().zip(placed) {
        let Some(contact) = placed.contact.map(|id| graph.root(id)) else {
            continue;
        };
        let TraitChanges {
            set,
            set_once,
            unset,
        } = &touch.traits;
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
                },
                source: touch.source,
            };
            winners
                .entry((contact, key.clone()))
                .and_modify(|kept| {
                    if new.weight.replaces(kept.weight) {
                        kept.value = new.value.clone();
                        kept.weight = new.weight;
                        kept.source = new.source;
                    }
                })
                .or_insert(new);
        }
    }
    let mut rows: Vec<_> = winners
        .into_iter()
        .map(|((contact, key), seen)| {
            row(
                tx,
                contact,
                key,
                seen.value,
                i32::from(seen.weight.outright),
                seen.source.to_owned(),
                seen.weight.observed_at,
            )
        })
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
            row(
                tx,
                to,
                old.key,
                old.value,
                old.rank,
                old.source,
                old.observed_at,
            )
        })
        .collect();
    upsert(tx, rows).await
}

fn row(
    tx: &Tx,
    contact: ContactId,
    key: String,
    value: Value,
    rank: i32,
    source: String,
    observed_at: DateTime<Utc>,
) -> contact_trait::ActiveModel {
    let (text, number) = filterable(&value);
    contact_trait::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        contact_id: Set(contact),
        key: Set(key),
        value: Set(value),
        text: Set(text),
        number: Set(number),
        rank: Set(rank),
        source: Set(source),
        observed_at: Set(observed_at),
    }
}

/// [`Weight::replaces`], as the database decides it when two writers meet.
const REPLACES: &str = r#""excluded"."rank" > "contact_trait"."rank"
    OR ("excluded"."rank" = "contact_trait"."rank" AND (
        ("excluded"."rank" = 1 AND "excluded"."observed_at" >= "contact_trait"."observed_at")
        OR ("excluded"."rank" = 0 AND "excluded"."observed_at" < "contact_trait"."observed_at")))"#;

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
        ])
        .action_and_where(Expr::cust(REPLACES))
        .to_owned();
    tx.insert_all(rows, Some(replace)).await?;
    Ok(())
}
