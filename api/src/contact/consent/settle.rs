//! How contacts stand after they became one, or were taken apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{
    ContactId,
    consent::{self, Basis},
};
use sea_orm::Set;
use serde_json::json;

use super::{
    commands::tell,
    current,
    rules::{About, Standing, about, later, most_restrictive},
};
use crate::base::{Fut, Regrouped, Result, Tx};

pub(in crate::contact) fn settle<'a>(tx: &'a Tx, regrouped: &'a Regrouped) -> Fut<'a, Result<()>> {
    Box::pin(async move {
        let groups = |pairs: &[(ContactId, ContactId)]| {
            let mut groups: BTreeMap<ContactId, BTreeSet<ContactId>> = BTreeMap::new();
            for (root, other) in pairs {
                groups.entry(*root).or_default().insert(*other);
            }
            groups
        };
        let parted = groups(&regrouped.parted);
        let joined: Vec<_> = regrouped
            .joined
            .iter()
            .map(|(absorbed, root)| (*root, *absorbed))
            .collect();
        let joined = groups(&joined);
        let contacts: BTreeSet<ContactId> = parted
            .iter()
            .chain(&joined)
            .flat_map(|(root, others)| others.iter().chain([root]))
            .copied()
            .collect();
        let contacts: Vec<ContactId> = contacts.into_iter().collect();
        let mut stand: HashMap<ContactId, Standing> = current(tx, &contacts)
            .await?
            .into_iter()
            .map(|(contact, rows)| {
                let rows = rows.into_iter().map(|row| (about(&row), row));
                (contact, rows.collect())
            })
            .collect();
        for (root, others) in parted {
            part(tx, &mut stand, root, &others).await?;
        }
        for (root, others) in joined {
            join(tx, &mut stand, root, &others).await?;
        }
        Ok(())
    })
}

/// Each side goes on as the whole stood.
async fn part(
    tx: &Tx,
    stand: &mut HashMap<ContactId, Standing>,
    root: ContactId,
    others: &BTreeSet<ContactId>,
) -> Result<()> {
    let sides: Vec<ContactId> = others.iter().copied().chain([root]).collect();
    let mut whole = Standing::new();
    for row in sides
        .iter()
        .filter_map(|side| stand.get(side))
        .flat_map(HashMap::values)
    {
        let latest = match whole.remove(&about(row)) {
            Some(known) => later(known, row.clone()),
            None => row.clone(),
        };
        whole.insert(about(row), latest);
    }
    for (about, latest) in sorted(whole) {
        for side in &sides {
            let own = stand.get(side).and_then(|rows| rows.get(&about));
            if own.is_none_or(|own| own.state != latest.state) {
                repeat(tx, stand, *side, &latest).await?;
            }
        }
    }
    Ok(())
}

/// The root goes on as the most restrictive of all of them.
async fn join(
    tx: &Tx,
    stand: &mut HashMap<ContactId, Standing>,
    root: ContactId,
    others: &BTreeSet<ContactId>,
) -> Result<()> {
    let sides = || others.iter().chain([&root]);
    let abouts: BTreeSet<About> = sides()
        .filter_map(|side| stand.get(side))
        .flat_map(|rows| rows.keys().cloned())
        .collect();
    for about in abouts {
        let said: Vec<&consent::Model> = sides()
            .filter_map(|side| stand.get(side)?.get(&about))
            .collect();
        let Some(worst) = most_restrictive(said.iter().copied()).cloned() else {
            continue;
        };
        let own = stand.get(&root).and_then(|rows| rows.get(&about));
        // Written down also where the root's own is the most restrictive: what another said later, before they were one, is no
        // restatement.
        if own.is_some() && said.iter().all(|row| row.state == worst.state) {
            continue;
        }
        let before = own.map(|own| own.state);
        let row = repeat(tx, stand, root, &worst).await?;
        tell(tx, &row, before).await?;
    }
    Ok(())
}

/// Says of `contact`, from now on, what `said` says.
async fn repeat(
    tx: &Tx,
    stand: &mut HashMap<ContactId, Standing>,
    contact: ContactId,
    said: &consent::Model,
) -> Result<consent::Model> {
    let row = tx
        .insert(consent::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            contact_id: Set(contact),
            identifier_id: Set(None),
            topic: Set(said.topic.clone()),
            channel: Set(said.channel),
            state: Set(said.state),
            basis: Set(Basis::Merge),
            proof: Set(json!({"consent": said.id.to_string()})),
            said_by: Set("system".to_owned()),
            at: Set(tx.now()),
            created_at: Set(tx.now()),
        })
        .await?;
    stand
        .entry(contact)
        .or_default()
        .insert(about(&row), row.clone());
    Ok(row)
}

/// In an order that does not change from run to run.
fn sorted(standing: Standing) -> BTreeMap<About, consent::Model> {
    standing.into_iter().collect()
}
