//! The worker: durable readers of the log, and the forwarder to PostHog.
//!
//! It sees to the log's age, too: `retention`.
//!
//! Each room's ear is a named consumer, and so is the dispatcher, which tells the forwarder who has something to
//! send. Processes share a consumer's partitions; order is kept per contact; an event is heard at least once, tried
//! again when that fails, and buried in a dead letter when it keeps failing.

mod bell;
mod consumer;
mod forward;
mod lease;
mod replay;
mod retention;
mod retry;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    consumer::{Consumer, Ear},
    forward::Forwarder,
    lease::{Leases, RENEW},
};
use crate::base::{Due, Env, Module, Outbound, Result};

pub use forward::CONSUMER as FORWARDER;
pub use replay::replay;
pub use retention::MODULE;

/// The dispatcher's name among the consumers.
const DISPATCHER: &str = "posthog_dispatch";

/// An idle consumer looks at the log this often without being woken; soon after a wake-up it looks sooner, for an
/// event can stay hidden behind another's open transaction after its own bell was rung.
const IDLE_POLL: Duration = Duration::from_secs(1);
const EAGER_POLL: Duration = Duration::from_millis(10);

/// How often a consumer looks for what is due of what failed.
const RETRY_POLL: Duration = Duration::from_secs(1);

/// How long [`Worker::drain`] waits for an event that an open transaction hides.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// One process's worker. Clones share everything.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    env: Arc<Env>,
    leases: Leases,
    consumers: Vec<Consumer>,
    forwarder: Forwarder,
    modules: &'static [&'static Module],
}

impl Worker {
    /// A worker for `modules`. It takes nothing until it is started.
    pub fn new(env: Arc<Env>, outbound: Outbound, modules: &'static [&'static Module]) -> Self {
        let due = Arc::new(Notify::new());
        let rooms = modules.iter().filter_map(|module| {
            module.hear.map(|hear| Consumer {
                name: module.name,
                ear: Ear::Room(hear),
            })
        });
        let mut consumers: Vec<Consumer> = rooms.collect();
        consumers.push(Consumer {
            name: DISPATCHER,
            ear: Ear::Dispatcher(Arc::clone(&due)),
        });
        let names = consumers.iter().map(|consumer| consumer.name).collect();
        Self {
            inner: Arc::new(Inner {
                leases: Leases::new(Arc::clone(&env), names),
                forwarder: Forwarder::new(Arc::clone(&env), outbound, due),
                consumers,
                modules,
                env,
            }),
        }
    }

    /// Makes the consumers' rows and takes a first share of their partitions. A worker that is started does this
    /// itself.
    pub async fn join(&self) -> Result<()> {
        self.inner.leases.register().await?;
        self.inner.leases.renew().await
    }

    /// Gives back every partition; the others take them at their next look.
    pub async fn leave(&self) -> Result<()> {
        self.inner.leases.leave().await
    }

    /// Spawns the loops, which run until `stopping` is cancelled and then end at a checkpoint.
    pub async fn start(&self, tasks: &TaskTracker, stopping: &CancellationToken) -> Result<()> {
        let inner = &self.inner;
        if !inner.env.db.is_postgres() {
            inner.leases.forget_all().await?;
            inner.forwarder.forget_all().await?;
        }
        self.join().await?;
        let loops = TaskTracker::new();
        for at in 0..inner.consumers.len() {
            let (inner, stopping) = (Arc::clone(inner), stopping.clone());
            loops.spawn(async move { inner.consume(at, &stopping).await });
        }
        for (room, due) in inner.timed() {
            let (inner, stopping) = (Arc::clone(inner), stopping.clone());
            loops.spawn(async move { inner.keep_time(room, due, &stopping).await });
        }
        let (forwarding, until) = (Arc::clone(inner), stopping.clone());
        loops.spawn(async move { forwarding.forwarder.run(&until).await });
        let (renewing, until) = (Arc::clone(inner), stopping.clone());
        loops.spawn(async move { renewing.renew(&until).await });
        if inner.env.db.is_postgres() {
            let (ringing, until) = (Arc::clone(inner), stopping.clone());
            loops.spawn(async move { bell::notify(&ringing.env, &until).await });
            let (listening, until) = (Arc::clone(inner), stopping.clone());
            loops.spawn(async move { bell::listen(&listening.env, &until).await });
        }
        loops.close();
        let inner = Arc::clone(inner);
        tasks.spawn(async move {
            loops.wait().await;
            if let Err(error) = inner.leases.leave().await {
                tracing::warn!(%error, "the worker's partitions were not given back; they run out");
            }
        });
        Ok(())
    }

    /// One look of every consumer and of the forwarder at what is there and due, as far as this process's share goes.
    /// Gives the number of events dealt with.
    pub async fn pass(&self) -> Result<usize> {
        self.inner.leases.renew().await?;
        let mut done = 0;
        for consumer in &self.inner.consumers {
            loop {
                let dealt = consumer
                    .turn(&self.inner.env, &self.inner.leases, true)
                    .await?;
                if dealt == 0 {
                    break;
                }
                done += dealt;
            }
        }
        for (_, due) in self.inner.timed() {
            done += due(&self.inner.env).await?;
        }
        Ok(done + self.inner.forwarder.run_due().await?)
    }

    /// Runs until every event in the log was heard and everything due was tried and sent; gives the number of events
    /// dealt with. What waits for a later time stays. Fails when something stays unread, because a transaction is
    /// open for long or another process holds partitions and does not read.
    pub async fn drain(&self) -> Result<usize> {
        self.join().await?;
        let begun = Instant::now();
        let mut done = 0;
        loop {
            let dealt = self.pass().await?;
            done += dealt;
            if dealt > 0 {
                continue;
            }
            let unread = self.unread().await?;
            if unread == 0 {
                break;
            }
            if begun.elapsed() > DRAIN_TIMEOUT {
                return Err(anyhow::anyhow!(
                    "{unread} events or connections are still unread after {DRAIN_TIMEOUT:?}"
                )
                .into());
            }
            sleep(EAGER_POLL).await;
        }
        self.leave().await?;
        Ok(done)
    }

    /// Events that some consumer has not read, and connections that the forwarder has not looked at. What waits for
    /// a later time is not counted.
    pub async fn unread(&self) -> Result<u64> {
        Ok(self.inner.leases.unread().await? + self.inner.forwarder.due().await?)
    }
}

impl Inner {
    async fn consume(&self, at: usize, stopping: &CancellationToken) {
        let Some(consumer) = self.consumers.get(at) else {
            return;
        };
        let mut bell = self.env.bus.listen();
        let mut pause = EAGER_POLL;
        let mut retried_at = None::<Instant>;
        while !stopping.is_cancelled() {
            let retries = retried_at.is_none_or(|at| at.elapsed() >= RETRY_POLL);
            if retries {
                retried_at = Some(Instant::now());
            }
            bell.mark_unchanged();
            match consumer.turn(&self.env, &self.leases, retries).await {
                Ok(0) => {}
                Ok(_) => {
                    pause = EAGER_POLL;
                    continue;
                }
                Err(error) => {
                    tracing::error!(
                        consumer = consumer.name,
                        error = cause(&error),
                        "a consumer could not read on; it tries again"
                    );
                    // Whoever rings: what failed just now fails at once as well.
                    tokio::select! {
                        () = stopping.cancelled() => return,
                        () = sleep(IDLE_POLL) => continue,
                    }
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                rung = bell.changed() => if rung.is_ok() { pause = EAGER_POLL },
                () = sleep(pause) => pause = (pause * 2).min(IDLE_POLL),
            }
        }
    }

    /// The rooms with timed work, by name.
    fn timed(&self) -> impl Iterator<Item = (&'static str, Due)> + use<> {
        let modules = self.modules.iter();
        modules.filter_map(|module| Some((module.name, module.due?)))
    }

    /// Does a room's timed work as it falls due.
    async fn keep_time(&self, room: &str, due: Due, stopping: &CancellationToken) {
        while !stopping.is_cancelled() {
            match due(&self.env).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::error!(
                    room,
                    error = cause(&error),
                    "a room's timed work failed; it is tried again"
                ),
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(IDLE_POLL) => {}
            }
        }
    }

    async fn renew(&self, stopping: &CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = sleep(RENEW) => {}
            }
            if let Err(error) = self.leases.renew().await {
                tracing::error!(
                    error = cause(&error),
                    "the worker's leases were not renewed"
                );
            }
        }
    }
}

/// What is behind an error, for the log.
fn cause(error: &crate::base::Error) -> String {
    match error {
        crate::base::Error::Internal(cause) => format!("{cause:#}"),
        error => error.to_string(),
    }
}
