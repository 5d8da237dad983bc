//! Timed work: contacts whose answer time changes, and walks of new rules over all contacts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::TimeDelta;
use entity::{
    ContactId, TenantId, contact,
    segment::{self, State},
    segment_due, segment_member,
};
use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set, sea_query::Expr,
};

use super::membership::{self, ASKED_AT_ONCE, Doubts, Reason, SegmentId};
use crate::{
    base::{Actor, Cx, Env, Result, Tx},
    contact as contact_room,
};

/// Who is due is looked up so many at once, of all tenants.
const DUE_AT_ONCE: u64 = 1_000;
/// Segments that are walked in one turn, and the steps of each: others' timed work comes between.
const WALKS_AT_ONCE: u64 = 4;
const STEPS_AT_ONCE: usize = 20;
/// How long what a process took stays with it: many times what it needs, little enough to wait for where it died.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// A walk that fails so often in a row is given up until its segment is saved again.
const ATTEMPTS_MAX: i32 = 10;
/// The wait after a walk's first failure; each further one doubles it.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(2);
const FAILURE_CHARS_MAX: usize = 300;

/// Does some of what is due; gives how much.
pub(super) async fn due(env: &Arc<Env>) -> Result<usize> {
    let asked = ask_due(env).await?;
    Ok(asked + walk_due(env).await?)
}

/// Asks again about contacts whose time has come.
async fn ask_due(env: &Arc<Env>) -> Result<usize> {
    use segment_due::Column;
    let now = env.clock.now();
    let system = env.db.system();
    let rows: Vec<(sea_orm::prelude::Uuid,)> = system
        .find::<segment_due::Entity>()
        .filter(Column::DueAt.lte(now))
        .order_by_asc(Column::DueAt)
        .limit(DUE_AT_ONCE)
        .select_only()
        .column(Column::Id)
        .tuples()
        .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    // Another process may be faster with some: then they are not due any more.
    let taken = system
        .update_many::<segment_due::Entity>(|update| {
            update
                .col_expr(Column::DueAt, Expr::value(now + LEASE))
                .filter(Column::Id.is_in(rows.into_iter().map(|(id,)| id)))
                .filter(Column::DueAt.lte(now))
        })
        .await?;
    let count = taken.len();
    let mut by_tenant: BTreeMap<TenantId, Vec<segment_due::Model>> = BTreeMap::new();
    for row in taken {
        by_tenant.entry(row.tenant_id).or_default().push(row);
    }
    for (tenant, rows) in by_tenant {
        let rows = &rows;
        let cx = Cx::new(Arc::clone(env), tenant, Actor::System);
        if let Err(error) = cx.write(async |tx| settle(tx, rows).await).await {
            tracing::error!(%tenant, %error, "contacts were not asked again when they were due; they are when the lease runs out");
        }
    }
    Ok(count)
}

async fn settle(tx: &Tx, rows: &[segment_due::Model]) -> Result<()> {
    let named: BTreeSet<ContactId> = rows.iter().map(|row| row.contact_id).collect();
    let named: Vec<ContactId> = named.into_iter().collect();
    let roots = contact_room::roots(tx, &named).await?;
    let mut doubts = Doubts::new();
    for row in rows {
        let Some(root) = roots.get(&row.contact_id) else {
            continue;
        };
        let doubts = doubts.entry(row.segment_id).or_default();
        doubts.insert(root.id, None);
    }
    // Of an absorbed contact nothing is asked again.
    let absorbed = rows.iter().filter(|row| {
        roots
            .get(&row.contact_id)
            .is_none_or(|root| root.id != row.contact_id)
    });
    let absorbed: Vec<_> = absorbed.map(|row| row.id).collect();
    tx.delete_many(&absorbed).await?;
    membership::settle(tx, doubts, Reason::Time).await
}

/// Walks new rules over some more contacts.
async fn walk_due(env: &Arc<Env>) -> Result<usize> {
    use segment::Column;
    let now = env.clock.now();
    let system = env.db.system();
    let waiting = system
        .find::<segment::Entity>()
        .filter(Column::DueAt.lte(now))
        .order_by_asc(Column::DueAt)
        .limit(WALKS_AT_ONCE)
        .all()
        .await?;
    let mut steps = 0;
    for row in waiting {
        let taken = system
            .update_many::<segment::Entity>(|update| {
                update
                    .col_expr(Column::DueAt, Expr::value(now + LEASE))
                    .filter(Column::Id.eq(row.id))
                    .filter(Column::DueAt.lte(now))
            })
            .await?;
        for segment in taken {
            let cx = Cx::new(Arc::clone(env), segment.tenant_id, Actor::System);
            steps += walk(&cx, &segment).await?;
        }
    }
    Ok(steps)
}

async fn walk(cx: &Cx, segment: &segment::Model) -> Result<usize> {
    for at in 1..=STEPS_AT_ONCE {
        let last = at == STEPS_AT_ONCE;
        let (id, revision) = (segment.id, segment.revision);
        match cx
            .write(async |tx| step(tx, id, revision, last).await)
            .await
        {
            Ok(true) => {}
            Ok(false) => return Ok(at),
            Err(error) => {
                tracing::error!(segment = %id, %error, "a segment's contacts could not be asked");
                let failure = error.to_string();
                cx.write(async |tx| give_up(tx, segment, &failure).await)
                    .await?;
                return Ok(at);
            }
        }
    }
    Ok(STEPS_AT_ONCE)
}

/// Asks some more contacts; says whether there may be others. With its last step a process gives the walk back.
async fn step(tx: &Tx, id: SegmentId, revision: i32, last: bool) -> Result<bool> {
    let locked = membership::lock(tx, &[id].into()).await?;
    let Some(segment) = locked.get(&id).filter(|row| {
        // Saved again meanwhile: that walk begins anew.
        row.revision == revision && row.state == State::Computing
    }) else {
        return Ok(false);
    };
    let listed = || contact_room::listed(tx);
    let mut rows = listed();
    if let Some(after) = segment.walk_at {
        rows = rows.filter(contact::Column::Id.gt(after));
    }
    let some: Vec<(ContactId,)> = rows
        .order_by_asc(contact::Column::Id)
        .limit(ASKED_AT_ONCE as u64)
        .select_only()
        .column(contact::Column::Id)
        .tuples()
        .await?;
    let total = if segment.walk_at.is_none() {
        count(listed().select_only().column(contact::Column::Id)).await?
    } else {
        segment.walk_total
    };
    let walked = segment.walked + i64::try_from(some.len()).unwrap_or_default();
    let next = some.last().map(|(id,)| *id);
    let contacts = some.iter().map(|(id,)| (*id, None)).collect();
    membership::settle(tx, Doubts::from([(id, contacts)]), Reason::Computed).await?;
    let goes_on = some.len() == ASKED_AT_ONCE;
    let mut row = segment::ActiveModel {
        id: Unchanged(id),
        walked: Set(walked),
        walk_total: Set(Ord::max(total, walked)),
        attempt: Set(0),
        ..Default::default()
    };
    if goes_on {
        row.walk_at = Set(next);
        if last {
            row.due_at = Set(Some(tx.now()));
        }
    } else {
        let size = count(
            tx.find::<segment_member::Entity>()
                .filter(segment_member::Column::SegmentId.eq(id))
                .select_only()
                .column(segment_member::Column::Id),
        )
        .await?;
        row.state = Set(State::Live);
        row.computed_at = Set(Some(tx.now()));
        row.due_at = Set(None);
        row.failure = Set(None);
        row.size = Set(size);
        membership::remember_size(tx, id, size).await?;
    }
    tx.update(row).await?;
    Ok(goes_on)
}

async fn count<E: sea_orm::EntityTrait>(rows: crate::base::Rows<'_, E>) -> Result<i64>
where
    E::Model: Send + Sync + sea_orm::FromQueryResult,
{
    Ok(i64::try_from(rows.count().await?).unwrap_or(i64::MAX))
}

async fn give_up(tx: &Tx, segment: &segment::Model, failure: &str) -> Result<()> {
    let attempt = segment.attempt + 1;
    let is_over = attempt >= ATTEMPTS_MAX;
    let wait = RETRY_AFTER * 2_i32.pow(attempt.clamp(0, ATTEMPTS_MAX).cast_unsigned());
    tx.update_many::<segment::Entity>(|update| {
        update
            .set(segment::ActiveModel {
                attempt: Set(attempt),
                failure: Set(Some(failure.chars().take(FAILURE_CHARS_MAX).collect())),
                state: Set(if is_over {
                    State::Failed
                } else {
                    State::Computing
                }),
                due_at: Set((!is_over).then(|| tx.now() + wait)),
                ..Default::default()
            })
            .filter(segment::Column::Id.eq(segment.id))
            .filter(segment::Column::Revision.eq(segment.revision))
    })
    .await?;
    Ok(())
}
