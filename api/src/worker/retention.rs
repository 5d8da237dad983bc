//! Timed work on the log as a whole: months are made before they begin, and events deleted that their tenant keeps no longer,
//! see `docs/decisions/0041`. Nothing goes that a consumer has not read, or that waits to be tried again.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    TenantId, consumer, dead_letter, event, event_message, event_retry, posthog_connection,
    schedule, tenant,
};
use sea_orm::{
    ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement},
};

use super::DISPATCHER;
use crate::base::{Actor, Cx, Env, Fut, LogMonth, LogPlace, Module, Result};

/// The log, as far as it is a room: nobody else sees to its age.
pub const MODULE: Module = Module {
    due: Some(due),
    ..Module::named("log")
};

/// How often the log is looked at.
const EVERY: TimeDelta = TimeDelta::hours(1);

/// How long the others wait for a process that took the work and went silent, or failed.
const LEASE: TimeDelta = TimeDelta::minutes(10);

/// Months that stand ready: a worker may stand still for so long before events go to the default partition.
const MONTHS_AHEAD: u32 = 2;

/// How long after its end a month is let alone: a transaction that began in it may still be writing its events.
const SETTLED: TimeDelta = TimeDelta::days(1);

/// Events deleted in one transaction: on SQLite all writers wait for it.
const BATCH: u64 = 1_000;

/// Transactions of one turn: a stop waits for it.
const BATCHES_PER_TURN: usize = 20;

fn due(env: &Arc<Env>) -> Fut<'_, Result<usize>> {
    Box::pin(turn(env))
}

/// Does some of what is due; gives the number of events deleted one by one.
async fn turn(env: &Arc<Env>) -> Result<usize> {
    let now = env.clock.now();
    if !take(env, now).await? {
        return Ok(0);
    }
    env.db.system().make_log_months(now, MONTHS_AHEAD).await?;
    let read = read_by_all(env).await?;
    drop_months(env, now, read).await?;
    let mut forgotten = 0;
    let mut batches = 0..BATCHES_PER_TURN;
    for (tenant, kept) in keeping(env).await? {
        let cx = Cx::new(Arc::clone(env), tenant, Actor::System);
        let read = match cx.db().find::<posthog_connection::Entity>().one().await? {
            Some(to) => read.min(LogPlace {
                xid: to.forwarded_xid,
                seq: to.forwarded_seq,
            }),
            None => read,
        };
        while batches.next().is_some() {
            let some = cx
                .write(async |tx| tx.forget_events(now - kept, read, BATCH).await)
                .await?;
            forgotten += some;
            if some < BATCH {
                break;
            }
        }
    }
    let next = if batches.is_empty() { now } else { now + EVERY };
    due_at(env, now + LEASE, next).await?;
    metrics::counter!("growthos_log_forgotten_total").increment(forgotten);
    Ok(usize::try_from(forgotten).unwrap_or(usize::MAX))
}

/// Whether the work is due and this process's: no other takes it before the lease is over.
async fn take(env: &Env, now: DateTime<Utc>) -> Result<bool> {
    let system = env.db.system();
    let row = system
        .find::<schedule::Entity>()
        .filter(schedule::Column::Name.eq(MODULE.name))
        .one()
        .await?;
    match row {
        Some(row) if row.due_at > now => return Ok(false),
        Some(_) => {}
        None => {
            let new = schedule::ActiveModel {
                name: Set(MODULE.name.to_owned()),
                due_at: Set(now),
            };
            let once = OnConflict::column(schedule::Column::Name)
                .do_nothing()
                .to_owned();
            system.insert_all(vec![new], once).await?;
        }
    }
    due_at(env, now, now + LEASE).await
}

/// Sets when the work is due next, if it is due at `was` or before; says whether it is.
async fn due_at(env: &Env, was: DateTime<Utc>, next: DateTime<Utc>) -> Result<bool> {
    let moved = env
        .db
        .system()
        .update_many::<schedule::Entity>(|update| {
            update
                .set(schedule::ActiveModel {
                    due_at: Set(next),
                    ..Default::default()
                })
                .filter(schedule::Column::Name.eq(MODULE.name))
                .filter(schedule::Column::DueAt.lte(was))
        })
        .await?;
    Ok(!moved.is_empty())
}

/// The tenants that do not keep their events for ever, and how long they do.
async fn keeping(env: &Env) -> Result<Vec<(TenantId, TimeDelta)>> {
    use tenant::Column::{EventRetentionS, Id};
    let rows: Vec<(TenantId, i64)> = env
        .db
        .system()
        .find::<tenant::Entity>()
        .filter(EventRetentionS.is_not_null())
        .order_by_asc(Id)
        .select_only()
        .column(Id)
        .column(EventRetentionS)
        .tuples()
        .await?;
    let rows = rows.into_iter();
    Ok(rows.map(|(id, s)| (id, TimeDelta::seconds(s))).collect())
}

/// The place that every consumer has read up to.
async fn read_by_all(env: &Env) -> Result<LogPlace> {
    let hearing = env.modules.iter().filter(|module| module.hear.is_some());
    let names: HashSet<&str> = hearing
        .map(|module| module.name)
        .chain([DISPATCHER])
        .collect();
    let rows = env
        .db
        .system()
        .find::<consumer::Entity>()
        .filter(consumer::Column::Name.is_in(names.iter().copied()))
        .all()
        .await?;
    let begun: HashSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    if begun.len() < names.len() {
        return Ok(LogPlace::default());
    }
    let places = rows.iter().map(|row| LogPlace {
        xid: row.xid,
        seq: row.seq,
    });
    Ok(places.min().unwrap_or_default())
}

/// Drops the months that nobody needs, with what is kept of their events.
async fn drop_months(env: &Env, now: DateTime<Utc>, read: LogPlace) -> Result<()> {
    let system = env.db.system();
    for month in system.log_months_before(now - SETTLED).await? {
        if is_needed(env, &month, now, read).await? {
            continue;
        }
        let (since, until) = month.ids();
        let of_month = |event: Expr| event.clone().gte(since).and(event.lt(until));
        loop {
            let some = Query::select()
                .column(event_message::Column::Id)
                .from(event_message::Entity)
                .and_where(of_month(Expr::col(event_message::Column::Id)))
                .limit(BATCH)
                .to_owned();
            let deleted = system
                .delete_where::<event_message::Entity>(event_message::Column::Id.in_subquery(some))
                .await?;
            if deleted == 0 {
                break;
            }
        }
        system
            .delete_where::<dead_letter::Entity>(of_month(Expr::col(dead_letter::Column::EventId)))
            .await?;
        system.drop_log_month(&month).await?;
        tracing::info!(month = %month.since.format("%Y-%m"), "a month of the log was dropped");
    }
    Ok(())
}

/// Whether a tenant keeps events of the month, or somebody has not read one.
async fn is_needed(
    env: &Env,
    month: &LogMonth,
    now: DateTime<Utc>,
    read: LogPlace,
) -> Result<bool> {
    use event::Column::{Id, Seq, TenantId as Owner, Xid};
    let system = env.db.system();
    let (since, until) = month.ids();
    let of = |tenant: Expr| -> SelectStatement {
        Query::select()
            .expr(Expr::value(1))
            .from(event::Entity)
            .and_where(Expr::col((event::Entity, Owner)).eq(tenant))
            .and_where(Id.gte(since))
            .and_where(Id.lt(until))
            .to_owned()
    };
    let age_s = (now - month.until).num_seconds();
    let keeps = Condition::any()
        .add(tenant::Column::EventRetentionS.is_null())
        .add(tenant::Column::EventRetentionS.gt(age_s));
    let kept = system
        .find::<tenant::Entity>()
        .filter(keeps)
        .filter(Expr::exists(of(Expr::col((
            tenant::Entity,
            tenant::Column::Id,
        )))))
        .one()
        .await?;
    if kept.is_some() {
        return Ok(true);
    }
    let unread = system
        .find::<event::Entity>()
        .filter(Id.gte(since))
        .filter(Id.lt(until))
        // The plain bound lets the index find the start; the condition settles ties.
        .filter(Xid.gte(read.xid))
        .filter(
            Condition::any()
                .add(Xid.gt(read.xid))
                .add(Condition::all().add(Xid.eq(read.xid)).add(Seq.gt(read.seq))),
        )
        .one()
        .await?;
    if unread.is_some() {
        return Ok(true);
    }
    let place = |column| Expr::col((posthog_connection::Entity, column));
    let (xid, seq) = (
        place(posthog_connection::Column::ForwardedXid),
        place(posthog_connection::Column::ForwardedSeq),
    );
    let unsent = of(place(posthog_connection::Column::TenantId))
        .cond_where(
            Condition::any().add(Expr::col(Xid).gt(xid.clone())).add(
                Condition::all()
                    .add(Expr::col(Xid).eq(xid))
                    .add(Expr::col(Seq).gt(seq)),
            ),
        )
        .to_owned();
    let unsent = system
        .find::<posthog_connection::Entity>()
        .filter(Expr::exists(unsent))
        .one()
        .await?;
    if unsent.is_some() {
        return Ok(true);
    }
    let waiting = system
        .find::<event_retry::Entity>()
        .filter(event_retry::Column::EventId.gte(since))
        .filter(event_retry::Column::EventId.lt(until))
        .one()
        .await?;
    Ok(waiting.is_some())
}
