//! Choosing winners anew after a policy changed: some contacts at a time, in the order of their ids.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use entity::{ContactId, Id, contact, contact_trait, trait_definition, trait_observation};
use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Set, sea_query::OnConflict,
};

use super::{
    queries::definition,
    rules::{rank, winner},
};
use crate::{
    base::{Actor, Cx, Env, Fut, Result, Tx},
    contact::{queries, rules::filterable},
};

/// Contacts that one unit of work holds: ingestion waits for them.
const CONTACTS_AT_ONCE: u64 = 200;

type DefinitionId = Id<trait_definition::Entity>;

/// Goes on with one definition whose winners are to be chosen anew; gives how many contacts that was about, and one for its end.
pub(in crate::contact) fn due(env: &Arc<Env>) -> Fut<'_, Result<usize>> {
    Box::pin(async move {
        use trait_definition::Column;
        let next = env
            .db
            .system()
            .find::<trait_definition::Entity>()
            .filter(Column::SettleAt.lte(env.clock.now()))
            .order_by_asc(Column::SettleAt)
            .one()
            .await?;
        let Some(next) = next else { return Ok(0) };
        let cx = Cx::new(Arc::clone(env), next.tenant_id, Actor::System);
        let asked = (next.id, next.settle_at, next.settled_to);
        cx.write(async |tx| some(tx, asked).await).await
    })
}

async fn some(
    tx: &Tx,
    (id, settle_at, settled_to): (DefinitionId, Option<DateTime<Utc>>, Option<ContactId>),
) -> Result<usize> {
    let row = tx
        .find::<trait_definition::Entity>()
        .filter(trait_definition::Column::Id.eq(id))
        .locked()
        .one()
        .await?
        // Another process went on with it, or its policy changed again.
        .filter(|row| (row.settle_at, row.settled_to) == (settle_at, settled_to));
    let Some(row) = row else { return Ok(1) };
    let mut rows = tx
        .find::<contact_trait::Entity>()
        .filter(contact_trait::Column::Key.eq(row.key.as_str()));
    if let Some(after) = settled_to {
        rows = rows.filter(contact_trait::Column::ContactId.gt(after));
    }
    let contacts: Vec<(ContactId,)> = rows
        .order_by_asc(contact_trait::Column::ContactId)
        .limit(CONTACTS_AT_ONCE)
        .select_only()
        .column(contact_trait::Column::ContactId)
        .tuples()
        .await?;
    let contacts: Vec<ContactId> = contacts.into_iter().map(|(id,)| id).collect();
    let mut progress = trait_definition::ActiveModel {
        id: Unchanged(id),
        ..Default::default()
    };
    if let Some(last) = contacts.last() {
        choose(tx, &row, &contacts).await?;
        progress.settled_to = Set(Some(*last));
    } else {
        progress.settle_at = Set(None);
        progress.settled_to = Set(None);
    }
    tx.update(progress).await?;
    Ok(contacts.len().max(1))
}

/// Ranks what was observed of the contacts' trait, and lets the winners win.
async fn choose(tx: &Tx, row: &trait_definition::Model, contacts: &[ContactId]) -> Result<()> {
    use contact_trait::Column;
    let definition = definition(row)?;
    // Ingestion holds the contacts that it writes traits of, in the same order.
    let held = tx
        .find::<contact::Entity>()
        .filter(contact::Column::Id.is_in(contacts.iter().copied()))
        .order_by_asc(contact::Column::Id)
        .locked()
        .all()
        .await?;
    let families = queries::families(tx, contacts).await?;
    let members = families.values().flatten().copied();
    let mut observed = tx
        .find::<trait_observation::Entity>()
        .filter(trait_observation::Column::ContactId.is_in(members))
        .filter(trait_observation::Column::Key.eq(row.key.as_str()))
        .all()
        .await?;
    let mut ranked: BTreeMap<i32, Vec<Id<trait_observation::Entity>>> = BTreeMap::new();
    for seen in &mut observed {
        let rank = rank(Some(&definition), &seen.source, seen.rank > 0);
        if rank != seen.rank {
            seen.rank = rank;
            ranked.entry(rank).or_default().push(seen.id);
        }
    }
    for (rank, ids) in ranked {
        tx.update_many::<trait_observation::Entity>(|update| {
            update
                .col_expr(trait_observation::Column::Rank, rank.into())
                .filter(trait_observation::Column::Id.is_in(ids))
        })
        .await?;
    }
    let mut by_contact: HashMap<ContactId, Vec<trait_observation::Model>> = HashMap::new();
    for seen in observed {
        by_contact.entry(seen.contact_id).or_default().push(seen);
    }
    let rows: Vec<contact_trait::ActiveModel> = held
        .iter()
        .filter_map(|contact| {
            let family = families.get(&contact.id)?;
            let theirs: Vec<_> = family
                .iter()
                .filter_map(|member| by_contact.get(member))
                .flatten()
                .cloned()
                .collect();
            Some(won(tx, contact.id, winner(&theirs)?))
        })
        .collect();
    let anew = OnConflict::columns([Column::TenantId, Column::ContactId, Column::Key])
        .update_columns([
            Column::Value,
            Column::Text,
            Column::Number,
            Column::Rank,
            Column::Source,
            Column::ObservedAt,
            Column::SaidBy,
        ])
        .to_owned();
    tx.insert_all(rows, Some(anew)).await?;
    Ok(())
}

fn won(tx: &Tx, contact: ContactId, seen: &trait_observation::Model) -> contact_trait::ActiveModel {
    let (text, number) = filterable(&seen.value);
    // Of what is said once, the first time counts.
    let observed_at = if seen.rank == 0 {
        seen.first_observed_at
    } else {
        seen.observed_at
    };
    contact_trait::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        contact_id: Set(contact),
        key: Set(seen.key.clone()),
        value: Set(seen.value.clone()),
        text: Set(text),
        number: Set(number),
        rank: Set(seen.rank),
        source: Set(seen.source.clone()),
        observed_at: Set(observed_at),
        said_by: Set(seen.said_by),
    }
}
