//! What events say of accounts, taken in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use entity::{ContactId, Id, account_membership, event};
use sea_orm::{
    ColumnTrait as _, QueryFilter as _, QuerySelect as _, Set,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    commands::{GROUP_IDENTIFY, ensured, set},
    queries::ACCOUNTS_MAX,
    rules::{Name, groups, identified},
};
use crate::{
    base::{Cx, Fut, Result, Tx},
    contact::SOURCE,
};

/// A busy member must not cost a row write an event.
const SEEN_GRANULARITY: TimeDelta = TimeDelta::hours(1);

/// Takes in what a batch says in one transaction; where that fails, event by event, up to the first that fails again.
pub(in crate::contact) fn hear<'a>(
    cx: &'a Cx,
    events: &'a [event::Model],
) -> Fut<'a, Vec<Result<()>>> {
    Box::pin(async move {
        if take_in(cx, events).await.is_ok() {
            return events.iter().map(|_| Ok(())).collect();
        }
        let mut answers: Vec<Result<()>> = Vec::with_capacity(events.len());
        for event in events {
            answers.push(if answers.last().is_some_and(Result::is_err) {
                Err(anyhow::anyhow!("an event before this one failed").into())
            } else {
                take_in(cx, std::slice::from_ref(event)).await
            });
        }
        answers
    })
}

/// A batch that says nothing of accounts costs nothing.
async fn take_in(cx: &Cx, events: &[event::Model]) -> Result<()> {
    let mut said: BTreeMap<Name, Map<String, Value>> = BTreeMap::new();
    let mut done_for: Vec<(&event::Model, ContactId, Name)> = vec![];
    for event in events {
        if event.name == GROUP_IDENTIFY
            && event.source != SOURCE
            && let Some((name, set)) = identified(event)
        {
            said.entry(name).or_default().extend(set);
        }
        let Some(contact) = event.contact_id else {
            continue;
        };
        for name in groups(event) {
            said.entry(name.clone()).or_default();
            done_for.push((event, contact, name));
        }
    }
    if said.is_empty() {
        return Ok(());
    }
    cx.write(async |tx| {
        let names: BTreeSet<Name> = said.keys().cloned().collect();
        let mut accounts = HashMap::new();
        for row in ensured(tx, &names).await? {
            let name = (row.kind.clone(), row.key.clone());
            accounts.insert(name.clone(), row.id);
            let traits = said.get(&name).cloned().unwrap_or_default();
            if !traits.is_empty() && set(tx, row, traits).await?.is_err() {
                metrics::counter!("growthos_contact_accounts_refused_total", "reason" => "traits_too_large")
                    .increment(1);
            }
        }
        let mut rows = BTreeMap::new();
        for (event, contact, name) in &done_for {
            let Some(account) = accounts.get(name) else {
                continue;
            };
            let by = event.identifier_id.map_or(contact.uuid(), Id::uuid);
            let id = Uuid::new_v5(&account.uuid(), by.as_bytes());
            let row = account_membership::ActiveModel {
                id: Set(Id::from_uuid(id)),
                tenant_id: Set(tx.tenant()),
                account_id: Set(*account),
                contact_id: Set(*contact),
                identifier_id: Set(event.identifier_id),
                created_at: Set(tx.now()),
                last_seen_at: Set(event.occurred_at),
            };
            rows.insert(id, (*contact, row));
        }
        join(tx, rows).await
    })
    .await
}

/// Writes memberships down, or when they were seen.
async fn join(
    tx: &Tx,
    rows: BTreeMap<Uuid, (ContactId, account_membership::ActiveModel)>,
) -> Result<()> {
    use account_membership::{Column, Entity};
    let contacts: BTreeSet<ContactId> = rows.values().map(|(contact, _)| *contact).collect();
    let counts: Vec<(ContactId, i64)> = tx
        .find::<Entity>()
        .filter(Column::ContactId.is_in(contacts))
        .select_only()
        .column(Column::ContactId)
        .column_as(Column::Id.count(), "accounts")
        .group_by(Column::ContactId)
        .tuples()
        .await?;
    let full: HashSet<ContactId> = counts
        .into_iter()
        .filter(|(_, count)| *count >= ACCOUNTS_MAX)
        .map(|(contact, _)| contact)
        .collect();
    let (taken, refused): (Vec<_>, Vec<_>) = rows
        .into_values()
        .partition(|(contact, _)| !full.contains(contact));
    if !refused.is_empty() {
        metrics::counter!("growthos_contact_accounts_refused_total", "reason" => "too_many")
            .increment(refused.len() as u64);
    }
    let taken: Vec<_> = taken.into_iter().map(|(_, row)| row).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let seen = Expr::col((Entity, Column::LastSeenAt));
    let again = OnConflict::column(Column::Id)
        .update_column(Column::LastSeenAt)
        .action_and_where(seen.lt(tx.now() - SEEN_GRANULARITY))
        .to_owned();
    tx.insert_all(taken, Some(again)).await?;
    Ok(())
}
