//! Who is in a segment, kept as the rule says. All changes of it are made here, each segment's one after the other.

mod above;
mod ask;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use entity::{ContactId, Id, segment, segment_due, segment_member, segment_size};
use sea_orm::{
    ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use uuid::Uuid;

use self::{
    above::Above,
    ask::{Asked, ask, portioned},
};
use super::{ENTERED, LEFT, SOURCE, queries::rule_of};
use crate::{
    base::{NewEvent, Regrouped, Result, Tx},
    contact as contact_room,
};

pub(super) type SegmentId = Id<segment::Entity>;

/// Contacts that are asked about together.
pub(super) const ASKED_AT_ONCE: usize = 1_000;

/// How long a size is remembered.
const SIZES_KEPT: TimeDelta = TimeDelta::days(400);

/// Why a membership changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Something happened to the contact.
    Event,
    /// A window ended, or the contact was taken out of another.
    Time,
    /// The rule is new.
    Computed,
    /// Somebody put the contact in, or took it out.
    Listed,
}

impl Reason {
    const fn text(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Time => "time",
            Self::Computed => "computed",
            Self::Listed => "listed",
        }
    }
}

/// Roots to ask about, by segment, each with the event that gave cause, if one did.
pub(super) type Doubts<'a> =
    BTreeMap<SegmentId, BTreeMap<ContactId, Option<&'a entity::event::Model>>>;

/// Asks about each doubt and writes down what changed: first of a segment, then of those whose rules name it.
pub(super) async fn settle(tx: &Tx, mut doubts: Doubts<'_>, reason: Reason) -> Result<()> {
    doubts.retain(|_, contacts| !contacts.is_empty());
    if doubts.is_empty() {
        return Ok(());
    }
    let above = Above::of(tx, doubts.keys().copied().collect()).await?;
    let locked = lock(tx, &above.all).await?;
    for id in above.order() {
        let (Some(contacts), Some(segment)) = (doubts.remove(&id), locked.get(&id)) else {
            continue;
        };
        let changed = settle_one(tx, segment, &contacts, reason).await?;
        for over in above.over.get(&id).into_iter().flatten() {
            let doubts = doubts.entry(*over).or_default();
            doubts.extend(changed.iter().map(|contact| (*contact, contacts[contact])));
        }
    }
    Ok(())
}

/// Holds segments until the transaction ends: what is decided about one meanwhile waits, and then sees what this one wrote.
pub(super) async fn lock(
    tx: &Tx,
    ids: &BTreeSet<SegmentId>,
) -> Result<HashMap<SegmentId, segment::Model>> {
    let rows = tx
        .find::<segment::Entity>()
        .filter(segment::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(segment::Column::Id)
        .guarded()
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

async fn settle_one(
    tx: &Tx,
    segment: &segment::Model,
    doubts: &BTreeMap<ContactId, Option<&entity::event::Model>>,
    reason: Reason,
) -> Result<Vec<ContactId>> {
    let rule = rule_of(segment)?;
    let all: Vec<ContactId> = doubts.keys().copied().collect();
    let mut changed = vec![];
    let mut by = 0;
    let mut portions = vec![];
    for contacts in all.chunks(ASKED_AT_ONCE) {
        let families = contact_room::families(tx, contacts).await?;
        let parts = rule.as_ref().map_or(1, |rule| rule.walk().len());
        portions.extend(portioned(families, parts));
    }
    for families in portions {
        let contacts: Vec<ContactId> = families.keys().copied().collect();
        let contacts = contacts.as_slice();
        let asked = ask(tx, segment, rule.as_ref(), families).await?;
        let Change {
            entered,
            left,
            grown,
        } = write(tx, segment, contacts, asked).await?;
        let told = |name: &str, contact: &ContactId| {
            let event = NewEvent::of_room(SOURCE, name, *contact, tx.now())
                .with("segmentId", segment.id.to_string())
                .with("segmentKey", segment.key.clone())
                .with("reason", reason.text());
            match doubts[contact] {
                Some(cause) => event.caused_by(cause),
                None => event,
            }
        };
        let events = entered
            .iter()
            .map(|contact| told(ENTERED, contact))
            .chain(left.iter().map(|contact| told(LEFT, contact)))
            .collect();
        tx.emit_all(events).await?;
        for (name, count) in [(ENTERED, entered.len()), (LEFT, left.len())] {
            metrics::counter!("growthos_segment_changes_total", "change" => name, "reason" => reason.text())
                .increment(count as u64);
        }
        by += grown;
        changed.extend(entered);
        changed.extend(left);
    }
    if by != 0 || !changed.is_empty() {
        grow(tx, segment.id, by).await?;
    }
    Ok(changed)
}

struct Change {
    entered: Vec<ContactId>,
    left: Vec<ContactId>,
    /// By how many members the segment grew: a merged contact's two may become one without that anybody left.
    grown: i64,
}

async fn write(
    tx: &Tx,
    segment: &segment::Model,
    contacts: &[ContactId],
    asked: Asked,
) -> Result<Change> {
    use segment_member::{ActiveModel, Column, Entity, Model};
    let members: Vec<ContactId> = asked.root_of.keys().copied().collect();
    let rows = tx
        .find::<Entity>()
        .filter(Column::SegmentId.eq(segment.id))
        .filter(is_one_of::<Entity>(tx, Column::ContactId, &members))
        .all()
        .await?;
    // Whom a contact absorbed was in for it.
    let mut before: BTreeMap<ContactId, Vec<Model>> = BTreeMap::new();
    for row in rows {
        let root = asked.root_of[&row.contact_id];
        before.entry(root).or_default().push(row);
    }
    let (mut entered, mut left) = (vec![], vec![]);
    let (mut coming, mut gone) = (vec![], vec![]);
    for contact in contacts {
        let rows = before.remove(contact).unwrap_or_default();
        let since = rows.iter().map(|row| row.entered_at).min();
        let is_inside = asked.inside.contains(contact);
        match (is_inside, since) {
            (true, None) => entered.push(*contact),
            (false, Some(_)) => left.push(*contact),
            _ => {}
        }
        let stays = |row: &Model| is_inside && row.contact_id == *contact;
        if is_inside && !rows.iter().any(stays) {
            coming.push(ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                segment_id: Set(segment.id),
                contact_id: Set(*contact),
                entered_at: Set(since.unwrap_or_else(|| tx.now())),
            });
        }
        gone.extend(rows.iter().filter(|row| !stays(row)).map(|row| row.id));
    }
    let length = |rows: usize| i64::try_from(rows).unwrap_or_default();
    let grown = length(coming.len()) - length(gone.len());
    tx.insert_all(coming, None).await?;
    for gone in gone.chunks(ASKED_AT_ONCE) {
        tx.delete_many(gone).await?;
    }
    let answered = is_one_of::<segment_due::Entity>(tx, segment_due::Column::ContactId, &members);
    tx.delete_where::<segment_due::Entity>(|delete| {
        delete
            .filter(segment_due::Column::SegmentId.eq(segment.id))
            .filter(answered)
    })
    .await?;
    let due = asked
        .due
        .into_iter()
        .map(|(contact, at)| (segment.id, contact, at));
    make_due(tx, due.collect()).await?;
    Ok(Change {
        entered,
        left,
        grown,
    })
}

fn is_one_of<E: entity::TenantOwned>(
    tx: &Tx,
    column: E::Column,
    contacts: &[ContactId],
) -> sea_orm::Condition {
    let ids: Vec<Uuid> = contacts.iter().map(|id| id.uuid()).collect();
    tx.is_one_of::<E>(column, &ids)
}

/// Has contacts asked about at an instant, or earlier where that is written down already.
async fn make_due(tx: &Tx, due: Vec<(SegmentId, ContactId, DateTime<Utc>)>) -> Result<()> {
    use segment_due::Column;
    if due.is_empty() {
        return Ok(());
    }
    let rows = due
        .into_iter()
        .map(|(segment, contact, at)| segment_due::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            segment_id: Set(segment),
            contact_id: Set(contact),
            due_at: Set(at),
        });
    let earlier = OnConflict::columns([Column::TenantId, Column::SegmentId, Column::ContactId])
        .update_column(Column::DueAt)
        .action_and_where(Expr::cust(
            r#""excluded"."due_at" < "segment_due"."due_at""#,
        ))
        .to_owned();
    tx.insert_all(rows.collect(), Some(earlier)).await?;
    Ok(())
}

/// Counts a segment's change, and remembers its size in this hour. The caller holds the segment.
async fn grow(tx: &Tx, id: SegmentId, by: i64) -> Result<()> {
    tx.update_many::<segment::Entity>(|update| {
        update
            .col_expr(
                segment::Column::Size,
                Expr::col(segment::Column::Size).add(by),
            )
            .filter(segment::Column::Id.eq(id))
    })
    .await?;
    let size = tx
        .get(id)
        .await?
        .map_or(0, |segment: segment::Model| segment.size);
    remember_size(tx, id, size).await
}

pub(super) async fn remember_size(tx: &Tx, id: SegmentId, size: i64) -> Result<()> {
    use segment_size::Column;
    let now = tx.now();
    let hour = now
        .with_minute(0)
        .and_then(|at| at.with_second(0))
        .and_then(|at| at.with_nanosecond(0))
        .unwrap_or(now);
    let latest = OnConflict::columns([Column::TenantId, Column::SegmentId, Column::Hour])
        .update_column(Column::Size)
        .to_owned();
    let row = segment_size::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        segment_id: Set(id),
        hour: Set(hour),
        size: Set(size),
    };
    tx.insert_all(vec![row], Some(latest)).await?;
    tx.delete_where::<segment_size::Entity>(|delete| {
        delete
            .filter(Column::SegmentId.eq(id))
            .filter(Column::Hour.lt(now - SIZES_KEPT))
    })
    .await?;
    Ok(())
}

/// Has a contact that was taken out of another, and that other, asked about at once. Those that became one are asked about when the
/// event that tells of it is heard: it is the cause of what changes.
pub(super) async fn regroup(tx: &Tx, regrouped: &Regrouped) -> Result<()> {
    let parted = regrouped.parted.iter();
    let concerned: BTreeSet<ContactId> = parted
        .flat_map(|(root, contact)| [*root, *contact])
        .collect();
    if concerned.is_empty() {
        return Ok(());
    }
    let (all, now) = (all_segments(tx).await?, tx.now());
    let due = concerned
        .iter()
        .flat_map(|contact| all.iter().map(move |segment| (*segment, *contact, now)));
    make_due(tx, due.collect()).await
}

/// Every segment of the tenant.
pub(super) async fn all_segments(tx: &Tx) -> Result<Vec<SegmentId>> {
    let ids: Vec<(SegmentId,)> = tx
        .find::<segment::Entity>()
        .order_by_asc(segment::Column::Id)
        .select_only()
        .column(segment::Column::Id)
        .tuples()
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
