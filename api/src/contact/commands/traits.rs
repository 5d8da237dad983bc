//! Traits: one winning value a key, whatever the order of arrival.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{ContactId, EventId, Id, contact_identifier, contact_trait, trait_observation};
use sea_orm::{
    ColumnTrait, QueryFilter, QuerySelect, Set,
    sea_query::{Expr, OnConflict},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Incoming, Placed, TraitChanges};
use crate::{
    base::{Result, Tx},
    contact::{
        rules::{Weight, filterable},
        traits::{definitions, rank},
    },
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

/// What one value of one trait was said by, from when to when.
struct Spell {
    first_observed_at: DateTime<Utc>,
    last: Observation,
}

/// What makes two observations one spell.
type Said = (
    ContactId,
    Option<Id<contact_identifier::Entity>>,
    String,
    String,
    i32,
    &'static str,
);

pub(super) async fn save(
    tx: &Tx,
    touches: &[&Incoming],
    placed: &[Placed],
    ids: &[EventId],
) -> Result<()> {
    let mut winners: HashMap<(ContactId, String), Observation> = HashMap::new();
    let mut spells: BTreeMap<Said, Spell> = BTreeMap::new();
    let mut profiled = profiled(tx, touches, placed).await?;
    let definitions = definitions(tx).await?;
    for ((touch, placed), event) in touches.iter().zip(placed).zip(ids) {
        let Some(contact) = placed.contact else {
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
            let rank = rank(definitions.known.get(key), touch.source, outright);
            let new = Observation {
                value,
                weight: Weight {
                    rank,
                    observed_at: touch.occurred_at,
                    said_by,
                },
                source: touch.source.to_owned(),
            };
            let said = (
                contact,
                placed.identifier,
                key.clone(),
                new.value.to_string(),
                rank,
                touch.source,
            );
            spells
                .entry(said)
                .and_modify(|spell| spell.extend(&new))
                .or_insert_with(|| Spell {
                    first_observed_at: touch.occurred_at,
                    last: new.clone(),
                });
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
    observe(tx, spells).await?;
    upsert(tx, winners).await
}

impl Spell {
    fn extend(&mut self, new: &Observation) {
        self.first_observed_at = self.first_observed_at.min(new.weight.observed_at);
        if new.weight.replaces(self.last.weight) {
            self.last = new.clone();
        }
    }
}

/// Keeps what was said. Of a value that is said again, the time; so a busy visitor costs no row an event.
async fn observe(tx: &Tx, spells: BTreeMap<Said, Spell>) -> Result<()> {
    use trait_observation::Column as C;
    let now = tx.now();
    let mut rows: Vec<_> = spells
        .into_iter()
        .map(|((contact, identifier, key, text, rank, source), spell)| {
            let identifier = identifier.map(Id::uuid);
            let named = json!([contact.uuid(), identifier, key, text, rank, source]);
            trait_observation::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                contact_id: Set(contact),
                identifier_id: Set(identifier.map(Id::from_uuid)),
                key: Set(key),
                value: Set(spell.last.value),
                rank: Set(rank),
                source: Set(spell.last.source),
                first_observed_at: Set(spell.first_observed_at),
                observed_at: Set(spell.last.weight.observed_at),
                said_by: Set(spell.last.weight.said_by),
                same: Set(Uuid::new_v5(
                    &Uuid::NAMESPACE_OID,
                    named.to_string().as_bytes(),
                )),
                created_at: Set(now),
            }
        })
        .collect();
    rows.sort_by(|a, b| a.same.as_ref().cmp(b.same.as_ref()));
    let again = OnConflict::columns([C::TenantId, C::Same])
        .values([
            (C::FirstObservedAt, Expr::cust(FIRST)),
            (
                C::ObservedAt,
                Expr::cust(RENEWED.replace("{}", "observed_at")),
            ),
            (C::SaidBy, Expr::cust(RENEWED.replace("{}", "said_by"))),
        ])
        .to_owned();
    tx.insert_all(rows, Some(again)).await?;
    Ok(())
}

/// The earlier of two times.
const FIRST: &str = r#"CASE WHEN "excluded"."first_observed_at" < "trait_observation"."first_observed_at"
    THEN "excluded"."first_observed_at" ELSE "trait_observation"."first_observed_at" END"#;

/// What of two sayings of one value weighs more: of those outright the later, of those once the earlier.
const RENEWED: &str = r#"CASE WHEN ("excluded"."rank" > 0)
        = (("excluded"."observed_at", "excluded"."said_by") >= ("trait_observation"."observed_at", "trait_observation"."said_by"))
    THEN "excluded"."{}" ELSE "trait_observation"."{}" END"#;

/// Lets an absorbed contact's traits compete with its root's. Its own rows stay, for an unmerge.
pub(super) async fn copy(tx: &Tx, from: ContactId, to: ContactId) -> Result<()> {
    let rows = tx
        .find::<contact_trait::Entity>()
        .filter(contact_trait::Column::ContactId.eq(from))
        .all()
        .await?;
    let winners = rows.into_iter().map(|old| {
        let seen = Observation {
            value: old.value,
            weight: Weight {
                rank: old.rank,
                observed_at: old.observed_at,
                said_by: old.said_by,
            },
            source: old.source,
        };
        ((to, old.key), seen)
    });
    upsert(tx, winners.collect()).await
}

/// Makes a root's traits anew from all that was said of it and of those that it absorbed.
pub(super) async fn recompute(tx: &Tx, root: ContactId) -> Result<()> {
    let family = crate::contact::queries::family(tx, root).await?;
    let said = tx
        .find::<trait_observation::Entity>()
        .filter(trait_observation::Column::ContactId.is_in(family))
        .all()
        .await?;
    let mut winners: HashMap<(ContactId, String), Observation> = HashMap::new();
    for row in said {
        let new = Observation {
            value: row.value,
            weight: Weight {
                rank: row.rank,
                observed_at: row.observed_at,
                said_by: row.said_by,
            },
            source: row.source,
        };
        winners
            .entry((root, row.key))
            .and_modify(|kept| {
                if new.weight.replaces(kept.weight) {
                    kept.clone_from(&new);
                }
            })
            .or_insert(new);
    }
    tx.delete_where::<contact_trait::Entity>(|delete| {
        delete.filter(contact_trait::Column::ContactId.eq(root))
    })
    .await?;
    upsert(tx, winners).await
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
        rank: Set(seen.weight.rank),
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
async fn profiled(tx: &Tx, touches: &[&Incoming], placed: &[Placed]) -> Result<HashSet<ContactId>> {
    let asked: HashSet<ContactId> = touches
        .iter()
        .zip(placed)
        .filter(|(touch, _)| touch.traits.personless && touch.traits.changes_anything())
        .filter_map(|(_, placed)| placed.contact)
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
        ("excluded"."rank" > 0 AND ("excluded"."observed_at", "excluded"."said_by") >= ("contact_trait"."observed_at", "contact_trait"."said_by"))
        OR ("excluded"."rank" = 0 AND ("excluded"."observed_at", "excluded"."said_by") < ("contact_trait"."observed_at", "contact_trait"."said_by"))))"#;

async fn upsert(tx: &Tx, winners: HashMap<(ContactId, String), Observation>) -> Result<()> {
    use contact_trait::Column as C;
    let mut rows: Vec<_> = winners
        .into_iter()
        .map(|((contact, key), seen)| row(tx, contact, key, seen))
        .collect();
    // Two batches that write the same rows take them in the same order.
    rows.sort_by(|a, b| {
        (a.contact_id.as_ref(), a.key.as_ref()).cmp(&(b.contact_id.as_ref(), b.key.as_ref()))
    });
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
