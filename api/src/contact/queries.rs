//! Reads of the contact graph. An absorbed contact's id leads to its root; rows keep the id they were
//! written with, so "a root's rows" means those of its whole family.

use std::collections::{HashMap, HashSet};

use entity::{
    ContactId, Id, contact, contact_alias,
    contact_identifier::{self, Kind},
    contact_trait, event, merge_record,
};
use sea_orm::{
    ColumnTrait, Condition, Order, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use serde_json::{Map, Value};

use super::rules::is_distinct_id_kind;
use crate::base::{Result, Rows, Scope};

/// The contact that `id` names today: itself, or the root that absorbed it.
pub async fn root(scope: &Scope, id: ContactId) -> Result<Option<contact::Model>> {
    Ok(roots(scope, &[id]).await?.remove(&id))
}

/// The contacts that `ids` name today, by the id that was asked for. Ids of nobody are left out.
pub async fn roots(scope: &Scope, ids: &[ContactId]) -> Result<HashMap<ContactId, contact::Model>> {
    let named = scope.get_many(ids).await?;
    let absorbing: HashSet<ContactId> = named.iter().filter_map(|row| row.merged_into).collect();
    let absorbing: Vec<ContactId> = absorbing.into_iter().collect();
    let absorbing: HashMap<ContactId, contact::Model> = scope
        .get_many(&absorbing)
        .await?
        .into_iter()
        .map(|row| (row.id, row))
        .collect();
    Ok(named
        .into_iter()
        .filter_map(|row| match row.merged_into {
            None => Some((row.id, row)),
            Some(root) => Some((row.id, absorbing.get(&root)?.clone())),
        })
        .collect())
}

/// The root and every contact it absorbed: whose rows are the root's.
pub async fn family(scope: &Scope, root: ContactId) -> Result<Vec<ContactId>> {
    Ok(families(scope, &[root])
        .await?
        .remove(&root)
        .unwrap_or_default())
}

/// Each root's family, the root first.
pub async fn families(
    scope: &Scope,
    roots: &[ContactId],
) -> Result<HashMap<ContactId, Vec<ContactId>>> {
    let mut families: HashMap<_, _> = roots.iter().map(|root| (*root, vec![*root])).collect();
    for (root, absorbed) in absorbed(scope, roots).await? {
        families.entry(root).or_default().push(absorbed);
    }
    Ok(families)
}

async fn absorbed(scope: &Scope, roots: &[ContactId]) -> Result<Vec<(ContactId, ContactId)>> {
    if roots.is_empty() {
        return Ok(vec![]);
    }
    scope
        .find::<contact_alias::Entity>()
        .filter(contact_alias::Column::ContactId.is_in(roots.iter().copied()))
        .order_by_asc(contact_alias::Column::AbsorbedId)
        .select_only()
        .column(contact_alias::Column::ContactId)
        .column(contact_alias::Column::AbsorbedId)
        .tuples()
        .await
}

/// The contact that an identifier, as [`super::normalize`] gives it, belongs to. The kinds of PostHog's distinct
/// id are one namespace: asked for one of them, the others answer too.
pub async fn find_by(scope: &Scope, kind: Kind, value: &str) -> Result<Option<contact::Model>> {
    match identifier(scope, kind, value).await? {
        Some(identifier) => root(scope, identifier.contact_id).await,
        None => Ok(None),
    }
}

/// The identifier itself, of [`find_by`].
pub(super) async fn identifier(
    scope: &Scope,
    kind: Kind,
    value: &str,
) -> Result<Option<contact_identifier::Model>> {
    let kinds: &[Kind] = if is_distinct_id_kind(kind) {
        &[Kind::ExternalId, Kind::DistinctId, Kind::AnonymousId]
    } else {
        std::slice::from_ref(&kind)
    };
    scope
        .find::<contact_identifier::Entity>()
        .filter(contact_identifier::Column::Value.eq(value))
        .filter(contact_identifier::Column::Kind.is_in(kinds.iter().copied()))
        .one()
        .await
}

/// Each root's identifiers, in the order in which they were first seen.
pub(super) async fn identifiers(
    scope: &Scope,
    roots: &[ContactId],
) -> Result<HashMap<ContactId, Vec<contact_identifier::Model>>> {
    use contact_identifier::Column;
    if roots.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = scope
        .find::<contact_identifier::Entity>()
        .filter(Column::ContactId.is_in(roots.iter().copied()))
        .order_by_asc(Column::FirstSeenAt)
        .order_by_asc(Column::Id)
        .all()
        .await?;
    Ok(grouped(rows, |row| row.contact_id))
}

/// Each root's traits: the winning values, without those that were unset.
pub async fn traits(
    scope: &Scope,
    roots: &[ContactId],
) -> Result<HashMap<ContactId, Map<String, Value>>> {
    traits_among(scope, roots, Condition::all()).await
}

/// Each root's traits that meet `narrow`.
pub(super) async fn traits_among(
    scope: &Scope,
    roots: &[ContactId],
    narrow: Condition,
) -> Result<HashMap<ContactId, Map<String, Value>>> {
    use contact_trait::Column;
    if roots.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(ContactId, String, Value)> = scope
        .find::<contact_trait::Entity>()
        .filter(Column::ContactId.is_in(roots.iter().copied()))
        .filter(narrow)
        .order_by_asc(Column::Key)
        .select_only()
        .columns([Column::ContactId, Column::Key, Column::Value])
        .tuples()
        .await?;
    let mut traits: HashMap<ContactId, Map<String, Value>> = HashMap::new();
    for (contact, key, value) in rows {
        if value != Value::Null {
            traits.entry(contact).or_default().insert(key, value);
        }
    }
    Ok(traits)
}

/// Every id that PostHog may know each root by: its own distinct id first, then its identifiers' and those
/// of the contacts it absorbed.
pub async fn distinct_ids(
    scope: &Scope,
    roots: &[ContactId],
) -> Result<HashMap<ContactId, Vec<String>>> {
    let families = families(scope, roots).await?;
    let members: Vec<ContactId> = families.values().flatten().copied().collect();
    let own: HashMap<ContactId, String> = scope
        .get_many(&members)
        .await?
        .into_iter()
        .map(|row| (row.id, row.distinct_id))
        .collect();
    let mut identifiers = identifiers(scope, roots).await?;
    Ok(families
        .into_iter()
        .map(|(root, family)| {
            let claimed = identifiers.remove(&root).unwrap_or_default();
            let claimed = claimed
                .into_iter()
                .filter(|row| is_distinct_id_kind(row.kind))
                .map(|row| row.value);
            let mut seen = HashSet::new();
            let ids = family
                .iter()
                .filter_map(|member| own.get(member).cloned())
                .chain(claimed)
                .filter(|id| seen.insert(id.clone()))
                .collect();
            (root, ids)
        })
        .collect())
}

/// The tenant's contacts as lists show them: an absorbed one is part of its root.
pub fn listed(scope: &Scope) -> Rows<'_, contact::Entity> {
    scope
        .find::<contact::Entity>()
        .filter(contact::Column::MergedInto.is_null())
}

/// Which of each contact's events, and from which end.
#[derive(Clone, Debug)]
pub(super) struct EventsWanted {
    /// What they must meet.
    pub narrow: Condition,
    /// How many of each contact.
    pub limit: u64,
    /// The oldest, rather than the newest.
    pub oldest: bool,
}

/// The newest (or oldest) events of each root, in that order, in a fixed number of statements.
pub(super) async fn events_of(
    scope: &Scope,
    roots: &[ContactId],
    wanted: &EventsWanted,
) -> Result<HashMap<ContactId, Vec<event::Model>>> {
    use event::Column;
    let (members, root_of) = members(scope, roots).await?;
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let order = if wanted.oldest {
        Order::Asc
    } else {
        Order::Desc
    };
    let mut rows = scope
        .first_of_each::<event::Entity, _>(
            Column::ContactId,
            &members,
            wanted.narrow.clone(),
            &[(Column::OccurredAt, order.clone()), (Column::Id, order)],
            wanted.limit,
        )
        .all()
        .await?;
    // Sorted here: an order in SQL would make SQLite walk all of the tenant's events in it.
    rows.sort_unstable_by_key(|row| (row.occurred_at, row.id));
    if !wanted.oldest {
        rows.reverse();
    }
    let mut events = grouped(rows, |row| {
        // A member's rows were asked for, so the id is there and known.
        let member = row
            .contact_id
            .unwrap_or_else(|| Id::from_uuid(row.id.uuid()));
        root_of.get(&member).copied().unwrap_or(member)
    });
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    for rows in events.values_mut() {
        rows.truncate(limit);
    }
    Ok(events)
}

/// How many events each root has that meet `narrow`; roots without any are left out.
pub(super) async fn event_counts(
    scope: &Scope,
    roots: &[ContactId],
    narrow: &Condition,
) -> Result<HashMap<ContactId, u64>> {
    use event::Column;
    let (members, root_of) = members(scope, roots).await?;
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(ContactId, i64)> = scope
        .find::<event::Entity>()
        .filter(Column::ContactId.is_in(members))
        .filter(narrow.clone())
        .select_only()
        .column(Column::ContactId)
        .column_as(Expr::col((event::Entity, Column::Id)).count(), "events")
        .group_by(Column::ContactId)
        .tuples()
        .await?;
    let mut counts = HashMap::new();
    for (member, events) in rows {
        let root = root_of.get(&member).copied().unwrap_or(member);
        *counts.entry(root).or_default() += u64::try_from(events).unwrap_or_default();
    }
    Ok(counts)
}

/// Merges and splits of any of these contacts.
pub fn merges_about<'a>(
    scope: &'a Scope,
    contacts: &[ContactId],
) -> Rows<'a, merge_record::Entity> {
    use merge_record::Column;
    let about = Condition::any()
        .add(Column::SurvivorId.is_in(contacts.iter().copied()))
        .add(Column::OtherId.is_in(contacts.iter().copied()));
    scope.find::<merge_record::Entity>().filter(about)
}

/// Merges and splits that are read for the contacts of one page.
const MERGES_READ_MAX: u64 = 5_000;

/// Each root's merges and splits, with those of the contacts that it absorbed, the newest first.
pub(super) async fn merges_of(
    scope: &Scope,
    roots: &[ContactId],
) -> Result<HashMap<ContactId, Vec<merge_record::Model>>> {
    use merge_record::Column;
    let (members, root_of) = members(scope, roots).await?;
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = merges_about(scope, &members)
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(MERGES_READ_MAX)
        .all()
        .await?;
    let mut merges: HashMap<ContactId, Vec<merge_record::Model>> = HashMap::new();
    for row in rows {
        let of: HashSet<ContactId> = [row.survivor_id, row.other_id]
            .iter()
            .filter_map(|id| root_of.get(id).copied())
            .collect();
        for root in of {
            merges.entry(root).or_default().push(row.clone());
        }
    }
    Ok(merges)
}

/// All members of the roots' families, and each member's root.
pub(super) async fn members(
    scope: &Scope,
    roots: &[ContactId],
) -> Result<(Vec<ContactId>, HashMap<ContactId, ContactId>)> {
    let absorbed = absorbed(scope, roots).await?;
    let mut root_of: HashMap<_, _> = roots.iter().map(|root| (*root, *root)).collect();
    root_of.extend(
        absorbed
            .into_iter()
            .map(|(root, absorbed)| (absorbed, root)),
    );
    Ok((root_of.keys().copied().collect(), root_of))
}

fn grouped<M>(rows: Vec<M>, contact: impl Fn(&M) -> ContactId) -> HashMap<ContactId, Vec<M>> {
    let mut groups: HashMap<ContactId, Vec<M>> = HashMap::new();
    for row in rows {
        groups.entry(contact(&row)).or_default().push(row);
    }
    groups
}
