//! One consumer's look at the log: read a batch, hear it, note how far it got.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use entity::{TenantId, event};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    forward,
    lease::{Cursors, Leases},
    retry::{self, Parked, lane},
};
use crate::base::{Actor, Cx, Env, Hear, LogPlace, PARTITIONS, Result};

/// Events read at once: enough to make a statement's cost small, few enough to hold in memory.
const BATCH: u64 = 500;

/// Tenants of one batch that are heard at once: a slow one holds up few others.
const TENANTS_AT_ONCE: usize = 4;

/// A room that needs longer for its part of a batch has failed it.
const HEAR_TIMEOUT: Duration = Duration::from_mins(1);

/// A process that reads some of the partitions steps over the others' events when they have become this many: sooner
/// costs writes, later costs reading them again at each look.
const STEP_OVER: i64 = 1_000;

/// One durable reader of the whole log.
pub(super) struct Consumer {
    pub(super) name: &'static str,
    pub(super) ear: Ear,
}

/// Who a consumer reads for.
pub(super) enum Ear {
    Room(Hear),
    /// Tells the forwarder which tenants have something to send.
    Dispatcher(Arc<tokio::sync::Notify>),
}

impl Consumer {
    /// Reads and hears one batch; before it, where `retries` says so, what is due of what failed. Gives the number
    /// of events that were dealt with: 0 when there is nothing to do.
    pub(super) async fn turn(
        &self,
        env: &Arc<Env>,
        leases: &Leases,
        retries: bool,
    ) -> Result<usize> {
        let cursors = leases.cursors(self.name).await?;
        let Some(least) = cursors.values().min().copied() else {
            return Ok(0);
        };
        let retried = match self.ear {
            Ear::Room(hear) if retries => retry::run_due(env, self.name, hear, &cursors).await?,
            _ => 0,
        };
        let read = self.read(env, least, &cursors).await?;
        let Some(to) = read.to else {
            return Ok(retried);
        };
        let begun = Instant::now();
        let count = read.events.len();
        if count > 0 {
            self.hear(env, read.events).await?;
            metrics::histogram!("growthos_consumer_batch_seconds", "consumer" => self.name)
                .record(begun.elapsed().as_secs_f64());
            metrics::counter!("growthos_consumer_handled_total", "consumer" => self.name)
                .increment(count as u64);
        }
        let behind: Vec<i32> = cursors
            .iter()
            .filter_map(|(partition, place)| (*place < to).then_some(*partition))
            .collect();
        leases.checkpoint(self.name, &behind, to).await?;
        Ok(retried + count)
    }

    async fn read(&self, env: &Env, least: LogPlace, cursors: &Cursors) -> Result<Batch> {
        let system = env.db.system();
        let whole = cursors.len() >= usize::try_from(PARTITIONS).unwrap_or_default();
        // Looked up first: what is not in a batch that was read after it lies behind it.
        let end = if whole {
            None
        } else {
            Some(system.log_end().await?)
        };
        let mut rows = system.log_after(least).limit(BATCH);
        if !whole {
            rows = rows.filter(event::Column::Partition.is_in(cursors.keys().copied()));
        }
        let rows = rows.all().await?;
        let full = rows.len() as u64 == BATCH;
        let last = rows.last().map(LogPlace::of);
        let over = end.filter(|end| !full && end.seq - least.seq > STEP_OVER);
        let events = rows
            .into_iter()
            .filter(|event| {
                cursors
                    .get(&event.partition)
                    .is_some_and(|place| *place < LogPlace::of(event))
            })
            .collect();
        Ok(Batch {
            events,
            to: last.max(over),
        })
    }

    async fn hear(&self, env: &Arc<Env>, events: Vec<event::Model>) -> Result<()> {
        match &self.ear {
            Ear::Dispatcher(due) => {
                let tenants: HashSet<TenantId> =
                    events.iter().map(|event| event.tenant_id).collect();
                if forward::mark_due(env, tenants).await? {
                    due.notify_one();
                }
                Ok(())
            }
            Ear::Room(hear) => {
                let parked = retry::parked_lanes(env, self.name, &events).await?;
                let mut tenants: HashMap<TenantId, Vec<event::Model>> = HashMap::new();
                for event in events {
                    tenants.entry(event.tenant_id).or_default().push(event);
                }
                stream::iter(tenants)
                    .map(Ok)
                    .try_for_each_concurrent(TENANTS_AT_ONCE, async |(tenant, events)| {
                        let cx = Cx::new(Arc::clone(env), tenant, Actor::System);
                        hear_tenant(&cx, self.name, *hear, events, &parked).await
                    })
                    .await
            }
        }
    }
}

/// What one read of the log gave.
struct Batch {
    events: Vec<event::Model>,
    /// Everything up to here is in `events` or not ours; absent when nothing moved.
    to: Option<LogPlace>,
}

/// Hears one tenant's events so that each contact's are heard one after the other: in rounds of at most one event of each
/// lane. What fails is parked, and what follows it in its lane is parked behind it, unheard.
async fn hear_tenant(
    cx: &Cx,
    consumer: &'static str,
    hear: Hear,
    mut events: Vec<event::Model>,
    parked: &HashMap<Uuid, DateTime<Utc>>,
) -> Result<()> {
    let mut blocked = parked.clone();
    let mut to_park = vec![];
    while !events.is_empty() {
        let mut heard = HashSet::new();
        let (mut round, mut later) = (vec![], vec![]);
        for event in events {
            let lane = lane(&event);
            if let Some(run_at) = blocked.get(&lane) {
                to_park.push(Parked::behind(event.id, lane, *run_at));
            } else if heard.insert(lane) {
                round.push(event);
            } else {
                later.push(event);
            }
        }
        for (event, answer) in round.iter().zip(ask(hear, cx, &round).await) {
            if let Err(error) = answer {
                let failed = Parked::failed(cx.env(), consumer, event, &error);
                blocked.insert(failed.lane, failed.run_at);
                to_park.push(failed);
            }
        }
        events = later;
    }
    retry::park(cx, consumer, to_park).await
}

/// Asks a room to hear events. Its panic, its silence and its tardiness are failures of the events that they left
/// without an answer.
pub(super) async fn ask(hear: Hear, cx: &Cx, events: &[event::Model]) -> Vec<Result<()>> {
    if events.is_empty() {
        return vec![];
    }
    let hearing = AssertUnwindSafe(async { hear(cx, events).await }).catch_unwind();
    let answers = match timeout(HEAR_TIMEOUT, hearing).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(_)) | Err(_) => vec![],
    };
    let mut answers = answers.into_iter();
    events
        .iter()
        .map(|_| {
            answers.next().unwrap_or_else(|| {
                Err(
                    anyhow::anyhow!("the room panicked, or took longer than {HEAR_TIMEOUT:?}")
                        .into(),
                )
            })
        })
        .collect()
}
