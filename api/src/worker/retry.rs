//! What a room failed on: tried again later, its lane in order, and buried when it keeps failing.
//!
//! All rows of a lane share one time to run, and its first event by the log's order goes first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{EventId, Id, TenantId, dead_letter, event, event_retry};
use sea_orm::{
    ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{OnConflict, Query},
};
use uuid::Uuid;

use super::{consumer::ask, lease::Cursors};
use crate::base::{Actor, Cx, Env, Error, Hear, PARTITIONS, Result, Rng, Tx};

/// Failures after which an event is buried: with the delays below, it was tried for a quarter of an hour.
const ATTEMPTS_MAX: i32 = 10;

const DELAY_MIN_S: f64 = 1.0;
const DELAY_MAX_S: f64 = 300.0;

/// Up to this part of a delay is added at random, so that what failed together is not tried together.
const JITTER: f64 = 0.25;

/// Rows looked at, and events of one lane run, in one go.
const DUE_AT_ONCE: u64 = 200;
const STEPS_AT_ONCE: u64 = 100;

/// What keeps order: the contact, or the event alone where it names nobody.
pub(super) fn lane(event: &event::Model) -> Uuid {
    event.contact_id.map_or(event.id.uuid(), Id::uuid)
}

/// How long to wait after `failures` in a row: 1 s, doubling to 5 min, and a part more.
pub(super) fn delay(failures: i32, rng: &Rng) -> TimeDelta {
    let seconds = (DELAY_MIN_S * 2_f64.powi((failures - 1).clamp(0, 30))).min(DELAY_MAX_S);
    let seconds = seconds * JITTER.mul_add(rng.fraction(), 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "at most 375,000")]
    TimeDelta::milliseconds((seconds * 1_000.0) as i64)
}

/// An event on its way into the table of retries.
pub(super) struct Parked {
    event: EventId,
    pub(super) lane: Uuid,
    attempt: i32,
    pub(super) run_at: DateTime<Utc>,
    error: Option<String>,
}

impl Parked {
    pub(super) fn failed(
        env: &Env,
        consumer: &'static str,
        event: &event::Model,
        error: &Error,
    ) -> Self {
        tell(consumer, event.id, 1, error);
        Self {
            event: event.id,
            lane: lane(event),
            attempt: 1,
            run_at: env.clock.now() + delay(1, &env.rng),
            error: Some(error.to_string()),
        }
    }
    pub(super) const fn behind(event: EventId, lane: Uuid, run_at: DateTime<Utc>) -> Self {
        Self {
            event,
            lane,
            attempt: 0,
            run_at,
            error: None,
        }
    }
}

/// The cause goes to the log alone: what is stored is shown to the tenant.
fn tell(consumer: &'static str, event: EventId, attempt: i32, error: &Error) {
    metrics::counter!("growthos_consumer_failed_total", "consumer" => consumer).increment(1);
    let cause = match error {
        Error::Internal(cause) => format!("{cause:#}"),
        error => error.to_string(),
    };
    tracing::warn!(consumer, %event, attempt, error = cause, "an event was not handled");
}

/// The lanes of these events in which something waits, and until when.
pub(super) async fn parked_lanes(
    env: &Env,
    consumer: &str,
    events: &[event::Model],
) -> Result<HashMap<Uuid, DateTime<Utc>>> {
    use event_retry::Column::{Consumer, Lane, RunAt};
    let lanes: HashSet<Uuid> = events.iter().map(lane).collect();
    let rows: Vec<(Uuid, DateTime<Utc>)> = env
        .db
        .system()
        .find::<event_retry::Entity>()
        .filter(Consumer.eq(consumer))
        .filter(Lane.is_in(lanes))
        .select_only()
        .column(Lane)
        .column(RunAt)
        .distinct()
        .tuples()
        .await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn park(cx: &Cx, consumer: &str, parked: Vec<Parked>) -> Result<()> {
    if parked.is_empty() {
        return Ok(());
    }
    cx.write(async |tx| {
        let rows = parked
            .iter()
            .map(|parked| event_retry::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                consumer: Set(consumer.to_owned()),
                event_id: Set(parked.event),
                lane: Set(parked.lane),
                attempt: Set(parked.attempt),
                run_at: Set(parked.run_at),
                last_error: Set(parked.error.clone()),
            })
            .collect();
        // The same batch may be read again after a crash: what is parked stays as it is.
        tx.insert_all(rows, Some(once())).await?;
        Ok(())
    })
    .await
}

fn once() -> OnConflict {
    OnConflict::columns([event_retry::Column::Consumer, event_retry::Column::EventId])
        .do_nothing()
        .to_owned()
}

/// Runs the lanes that are due among the partitions held. Gives the number of events that were tried.
pub(super) async fn run_due(
    env: &Arc<Env>,
    consumer: &'static str,
    hear: Hear,
    held: &Cursors,
) -> Result<usize> {
    use event_retry::Column::{Consumer, EventId, Lane, RunAt, TenantId as Tenant};
    let system = env.db.system();
    let mut due = system
        .find::<event_retry::Entity>()
        .filter(Consumer.eq(consumer))
        .filter(RunAt.lte(env.clock.now()));
    if held.len() < usize::try_from(PARTITIONS).unwrap_or_default() {
        let ours = Query::select()
            .column(event::Column::Id)
            .from(event::Entity)
            .and_where(event::Column::Partition.is_in(held.keys().copied()))
            .to_owned();
        due = due.filter(EventId.in_subquery(ours));
    }
    let rows: Vec<(TenantId, Uuid)> = due
        .select_only()
        .column(Tenant)
        .column(Lane)
        .distinct()
        .limit(DUE_AT_ONCE)
        .tuples()
        .await?;
    let mut tried = 0;
    for (tenant, lane) in rows {
        let cx = Cx::new(Arc::clone(env), tenant, Actor::System);
        tried += run_lane(&cx, consumer, hear, lane).await?;
    }
    Ok(tried)
}

/// How an event in a lane ended.
enum Outcome {
    Heard,
    Buried { error: String, attempts: i32 },
}

/// Runs a lane in the log's order until it is empty or an event fails again.
async fn run_lane(cx: &Cx, consumer: &'static str, hear: Hear, lane: Uuid) -> Result<usize> {
    use event_retry::Column::{Consumer, EventId as Event, Lane};
    let scope = cx.db();
    let waiting = scope
        .subquery::<event_retry::Entity>()
        .column(Event)
        .and_where(Consumer.eq(consumer))
        .and_where(Lane.eq(lane))
        .to_owned();
    let events = scope
        .find::<event::Entity>()
        .filter(event::Column::Id.in_subquery(waiting))
        .order_by_asc(event::Column::Xid)
        .order_by_asc(event::Column::Seq)
        .limit(STEPS_AT_ONCE)
        .all()
        .await?;
    let rows = scope
        .find::<event_retry::Entity>()
        .filter(Consumer.eq(consumer))
        .filter(Event.is_in(events.iter().map(|event| event.id)))
        .all()
        .await?;
    let rows: BTreeMap<EventId, event_retry::Model> =
        rows.into_iter().map(|row| (row.event_id, row)).collect();

    let mut done: Vec<(event_retry::Model, Outcome)> = vec![];
    let mut failed = None;
    for event in events {
        let Some(row) = rows.get(&event.id).cloned() else {
            continue;
        };
        let answer = ask(hear, cx, std::slice::from_ref(&event)).await.pop();
        let Some(Err(error)) = answer else {
            done.push((row, Outcome::Heard));
            continue;
        };
        let attempts = row.attempt + 1;
        tell(consumer, event.id, attempts, &error);
        let error = error.to_string();
        if attempts < ATTEMPTS_MAX {
            failed = Some((row, attempts, error));
            break;
        }
        metrics::counter!("growthos_consumer_buried_total", "consumer" => consumer).increment(1);
        tracing::error!(consumer, event = %event.id, attempts, "an event was buried: replay it when its cause is mended");
        done.push((row, Outcome::Buried { error, attempts }));
    }
    let tried = done.len() + usize::from(failed.is_some());
    cx.write(async |tx| {
        let ids: Vec<_> = done.iter().map(|(row, _)| row.id).collect();
        for (row, outcome) in &done {
            if let Outcome::Buried { error, attempts } = outcome {
                bury(tx, consumer, row.event_id, error, *attempts).await?;
            }
        }
        if !ids.is_empty() {
            tx.delete_many::<event_retry::Entity>(&ids).await?;
        }
        if let Some((row, attempts, error)) = &failed {
            let run_at = tx.now() + delay(*attempts, tx.rng());
            tx.update(event_retry::ActiveModel {
                id: Set(row.id),
                attempt: Set(*attempts),
                last_error: Set(Some(error.clone())),
                ..Default::default()
            })
            .await?;
            postpone(tx, consumer, lane, run_at).await?;
        }
        Ok(())
    })
    .await?;
    Ok(tried)
}

async fn postpone(tx: &Tx, consumer: &str, lane: Uuid, run_at: DateTime<Utc>) -> Result<()> {
    tx.update_many::<event_retry::Entity>(|update| {
        update
            .set(event_retry::ActiveModel {
                run_at: Set(run_at),
                ..Default::default()
            })
            .filter(event_retry::Column::Consumer.eq(consumer))
            .filter(event_retry::Column::Lane.eq(lane))
    })
    .await?;
    Ok(())
}

/// Puts an event where people find it; again, where it was replayed and failed again.
pub(super) async fn bury(
    tx: &Tx,
    consumer: &str,
    event: EventId,
    error: &str,
    attempts: i32,
) -> Result<()> {
    use dead_letter::Column::{
        Attempts, Consumer, CreatedAt, Error, EventId, ReplayedAt, TenantId,
    };
    let letter = dead_letter::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        consumer: Set(consumer.to_owned()),
        event_id: Set(event),
        error: Set(error.to_owned()),
        attempts: Set(attempts),
        created_at: Set(tx.now()),
        replayed_at: Set(None),
    };
    let again = OnConflict::columns([TenantId, Consumer, EventId])
        .update_columns([Error, Attempts, CreatedAt, ReplayedAt])
        .to_owned();
    tx.insert_all(vec![letter], Some(again)).await?;
    Ok(())
}

/// Puts buried events back to be tried at once, from their first attempt. An event of a lane in which others wait goes
/// to its place by the log's order.
pub(super) async fn put_back(
    tx: &Tx,
    letters: &[dead_letter::Model],
    lanes: &HashMap<EventId, Uuid>,
) -> Result<()> {
    let now = tx.now();
    for letter in letters {
        let Some(lane) = lanes.get(&letter.event_id).copied() else {
            continue;
        };
        let row = event_retry::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            consumer: Set(letter.consumer.clone()),
            event_id: Set(letter.event_id),
            lane: Set(lane),
            attempt: Set(0),
            run_at: Set(now),
            last_error: Set(None),
        };
        tx.insert_all(vec![row], Some(once())).await?;
        postpone(tx, &letter.consumer, lane, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_a_second_to_five_minutes_and_a_part_more() {
        let rng = Rng::counted();
        for (failures, seconds) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (9, 256),
            (10, 300),
            (1_000, 300),
        ] {
            let delay = delay(failures, &rng).num_milliseconds();
            assert!(
                (seconds * 1_000..=seconds * 1_250).contains(&delay),
                "{failures}: {delay} ms"
            );
        }
    }
}
