//! Which partitions this process reads, and how far: a fair share of each consumer, for a while.
//!
//! A process says that it lives by a row of its own in the consumers' table. What it holds above its share it
//! gives back between two batches, so no partition is ever read by two living processes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{consumer, event};
use sea_orm::{ColumnTrait, Condition, QueryFilter, Set, sea_query::OnConflict};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::base::{Env, LogPlace, PARTITIONS, Result};

/// How long a partition stays with a process that no longer renews. With [`RENEW`] it bounds how long a dead
/// process's contacts wait: 25 s.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(20);

/// How often leases are renewed, and shares looked at.
pub(super) const RENEW: std::time::Duration = std::time::Duration::from_secs(5);

/// The name of a process's own row is this and its id.
const PROCESS: &str = "process/";

/// A process's row is forgotten this long after its last sign of life.
const FORGET: TimeDelta = TimeDelta::hours(1);

/// Partitions and how far each was read.
pub(super) type Cursors = BTreeMap<i32, LogPlace>;

pub(super) struct Leases {
    env: Arc<Env>,
    process: Uuid,
    consumers: Vec<&'static str>,
    /// Locked through every change of who holds what, so that no answer of the database is older than the state it meets.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Until when what is held is ours alone.
    until: DateTime<Utc>,
    /// Living processes, this one included.
    living: usize,
    held: HashMap<&'static str, Cursors>,
    /// Nobody's partitions, when last looked.
    free: HashMap<&'static str, Vec<i32>>,
}

impl Leases {
    pub(super) fn new(env: Arc<Env>, consumers: Vec<&'static str>) -> Self {
        let process = env.ids.next::<consumer::Entity>(env.clock.now()).uuid();
        Self {
            env,
            process,
            consumers,
            state: Mutex::default(),
        }
    }

    fn presence(&self) -> String {
        format!("{PROCESS}{}", self.process)
    }

    /// Makes the consumers' rows. The first consumers of a database begin where its log begins; one that joins
    /// later begins at the log's end, for what was before it is not its to react to.
    pub(super) async fn register(&self) -> Result<()> {
        let system = self.env.db.system();
        let rows = system.find::<consumer::Entity>().all().await?;
        let known: HashSet<&str> = rows
            .iter()
            .map(|row| row.name.as_str())
            .filter(|name| !name.starts_with(PROCESS))
            .collect();
        let start = if known.is_empty() {
            LogPlace::default()
        } else {
            system.log_end().await?
        };
        let new: Vec<consumer::ActiveModel> = self
            .consumers
            .iter()
            .filter(|name| !known.contains(**name))
            .flat_map(|name| {
                (0..PARTITIONS).map(|partition| consumer::ActiveModel {
                    name: Set((*name).to_owned()),
                    partition: Set(partition),
                    xid: Set(start.xid),
                    seq: Set(start.seq),
                    leased_by: Set(None),
                    leased_until: Set(None),
                })
            })
            .collect();
        if !new.is_empty() {
            let once = OnConflict::columns([consumer::Column::Name, consumer::Column::Partition])
                .do_nothing()
                .to_owned();
            system.insert_all(new, once).await?;
        }
        Ok(())
    }

    /// Says that this process lives, keeps what it holds, and looks at what the others hold.
    pub(super) async fn renew(&self) -> Result<()> {
        let system = self.env.db.system();
        let mut state = self.state.lock().await;
        let now = self.env.clock.now();
        let until = now + LEASE;
        let mine = system
            .update_many::<consumer::Entity>(|update| {
                update
                    .set(consumer::ActiveModel {
                        leased_until: Set(Some(until)),
                        ..Default::default()
                    })
                    .filter(consumer::Column::LeasedBy.eq(self.process))
            })
            .await?;
        let presence = self.presence();
        if !mine.iter().any(|row| row.name == presence) {
            system
                .insert(consumer::ActiveModel {
                    name: Set(presence),
                    partition: Set(0),
                    xid: Set(0),
                    seq: Set(0),
                    leased_by: Set(Some(self.process)),
                    leased_until: Set(Some(until)),
                })
                .await?;
        }
        let rows = system.find::<consumer::Entity>().all().await?;
        let end = system.log_end().await?;
        state.until = until;
        state.living = rows
            .iter()
            .filter(|row| row.name.starts_with(PROCESS) && row.leased_until > Some(now))
            .count();
        for name in &self.consumers {
            let of_name: Vec<&consumer::Model> =
                rows.iter().filter(|row| row.name == *name).collect();
            let held = state.held.entry(name).or_default();
            let before = std::mem::take(held);
            held.extend(
                of_name
                    .iter()
                    .filter(|row| row.leased_by == Some(self.process))
                    .map(|row| {
                        // The row may have been read before a checkpoint that this process has noted already.
                        let known = before.get(&row.partition).copied().unwrap_or_default();
                        (row.partition, known.max(place(row)))
                    }),
            );
            let free = of_name
                .iter()
                .filter(|row| row.leased_until.is_none_or(|until| until <= now));
            state
                .free
                .insert(name, free.map(|row| row.partition).collect());
            if let Some(least) = of_name.iter().map(|row| row.seq).min() {
                #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
                metrics::gauge!("growthos_consumer_lag_events", "consumer" => *name)
                    .set((end.seq - least).max(0) as f64);
            }
        }
        drop(state);
        for row in rows {
            if row.name.starts_with(PROCESS) && row.leased_until < Some(now - FORGET) {
                system
                    .delete::<consumer::Entity>((row.name, row.partition))
                    .await?;
            }
        }
        Ok(())
    }

    /// What this process reads for a consumer, after giving back what is above its share and taking what is free
    /// below it. Call between two batches.
    pub(super) async fn cursors(&self, name: &'static str) -> Result<Cursors> {
        let mut state = self.state.lock().await;
        let now = self.env.clock.now();
        if now >= state.until {
            // This process stood still, or its clock leapt: what it held may be another's by now.
            drop(state);
            self.renew().await?;
            state = self.state.lock().await;
        }
        let (until, living) = (state.until, state.living.max(1));
        let share = usize::try_from(PARTITIONS)
            .unwrap_or_default()
            .div_ceil(living);
        let free = state.free.remove(name).unwrap_or_default();
        let held = state.held.entry(name).or_default();
        if held.len() > share {
            let above: Vec<i32> = held.keys().copied().skip(share).collect();
            self.release(name, &above).await?;
            held.retain(|partition, _| !above.contains(partition));
        } else if held.len() < share && !free.is_empty() {
            let wanted: Vec<i32> = free.into_iter().take(share - held.len()).collect();
            held.extend(self.take(name, &wanted, now, until).await?);
        }
        Ok(held.clone())
    }

    async fn take(
        &self,
        name: &str,
        partitions: &[i32],
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Cursors> {
        use consumer::Column::{LeasedUntil, Name, Partition};
        let taken = self
            .env
            .db
            .system()
            .update_many::<consumer::Entity>(|update| {
                update
                    .set(consumer::ActiveModel {
                        leased_by: Set(Some(self.process)),
                        leased_until: Set(Some(until)),
                        ..Default::default()
                    })
                    .filter(Name.eq(name))
                    .filter(Partition.is_in(partitions.iter().copied()))
                    .filter(
                        Condition::any()
                            .add(LeasedUntil.is_null())
                            .add(LeasedUntil.lte(now)),
                    )
            })
            .await?;
        Ok(taken
            .iter()
            .map(|row| (row.partition, place(row)))
            .collect())
    }

    async fn release(&self, name: &str, partitions: &[i32]) -> Result<()> {
        self.env
            .db
            .system()
            .update_many::<consumer::Entity>(|update| {
                update
                    .set(nobodys())
                    .filter(consumer::Column::Name.eq(name))
                    .filter(consumer::Column::Partition.is_in(partitions.iter().copied()))
                    .filter(consumer::Column::LeasedBy.eq(self.process))
            })
            .await?;
        Ok(())
    }

    /// Notes that these partitions were read up to `to`. A partition that another process has taken meanwhile is
    /// not moved, and no longer held.
    pub(super) async fn checkpoint(
        &self,
        name: &'static str,
        partitions: &[i32],
        to: LogPlace,
    ) -> Result<()> {
        use consumer::Column::{LeasedBy, Name, Partition};
        let moved = self
            .env
            .db
            .system()
            .update_many::<consumer::Entity>(|update| {
                update
                    .set(consumer::ActiveModel {
                        xid: Set(to.xid),
                        seq: Set(to.seq),
                        ..Default::default()
                    })
                    .filter(Name.eq(name))
                    .filter(LeasedBy.eq(self.process))
                    .filter(Partition.is_in(partitions.iter().copied()))
            })
            .await?;
        let moved: HashSet<i32> = moved.iter().map(|row| row.partition).collect();
        let mut state = self.state.lock().await;
        let held = state.held.entry(name).or_default();
        for partition in partitions {
            if moved.contains(partition) {
                held.insert(*partition, to);
            } else {
                tracing::warn!(
                    consumer = name,
                    partition,
                    "another process took a partition that this one was reading"
                );
                held.remove(partition);
            }
        }
        Ok(())
    }

    /// Gives everything back, so that the others need not wait for it to run out.
    pub(super) async fn leave(&self) -> Result<()> {
        let system = self.env.db.system();
        let mut state = self.state.lock().await;
        *state = State::default();
        system
            .delete::<consumer::Entity>((self.presence(), 0))
            .await?;
        system
            .update_many::<consumer::Entity>(|update| {
                update
                    .set(nobodys())
                    .filter(consumer::Column::LeasedBy.eq(self.process))
            })
            .await?;
        Ok(())
    }

    /// Frees what a process held that died. Only where there can be no other: SQLite belongs to one process.
    pub(super) async fn forget_all(&self) -> Result<()> {
        self.env
            .db
            .system()
            .update_many::<consumer::Entity>(|update| {
                update
                    .set(nobodys())
                    .filter(consumer::Column::LeasedBy.is_not_null())
            })
            .await?;
        Ok(())
    }

    /// Events in the log that some consumer has not read, those included that an open transaction still hides.
    pub(super) async fn unread(&self) -> Result<u64> {
        use event::Column::{Partition, Seq, Xid};
        let system = self.env.db.system();
        let rows = system
            .find::<consumer::Entity>()
            .filter(consumer::Column::Name.is_in(self.consumers.iter().copied()))
            .all()
            .await?;
        let mut unread = 0;
        for name in &self.consumers {
            let behind = rows.iter().filter(|row| row.name == *name).map(|row| {
                let later = Condition::any()
                    .add(Xid.gt(row.xid))
                    .add(Condition::all().add(Xid.eq(row.xid)).add(Seq.gt(row.seq)));
                Condition::all().add(Partition.eq(row.partition)).add(later)
            });
            let behind = behind.fold(Condition::any(), Condition::add);
            unread += system
                .find::<event::Entity>()
                .filter(behind)
                .count()
                .await?;
        }
        Ok(unread)
    }
}

fn nobodys() -> consumer::ActiveModel {
    consumer::ActiveModel {
        leased_by: Set(None),
        leased_until: Set(None),
        ..Default::default()
    }
}

const fn place(row: &consumer::Model) -> LogPlace {
    LogPlace {
        xid: row.xid,
        seq: row.seq,
    }
}
