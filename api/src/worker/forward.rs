//! The forwarder: sends each tenant's log to its PostHog, in order, from the connection's own place.
//!
//! A place moves only after PostHog acknowledged everything up to it, and what is sent is made of the log alone: a batch
//! that is sent again is the same batch, and PostHog folds it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{ContactId, EventId, TenantId, contact, event, event_retry, posthog_connection};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use sea_orm::{
    ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Alias, Expr, Func},
};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{cause, retry};
use crate::{
    base::{Actor, Cx, Env, LogPlace, Outbound, Result, Tx},
    posthog::forward::{
        self as posthog, Answer, BATCH_BYTES_MAX, EVENT_BYTES_MAX, Outgoing, Recipient,
    },
};

/// The forwarder's name in retries and dead letters.
pub const CONSUMER: &str = "posthog_forward";

/// Connections that one process serves at once.
const CONNECTIONS_AT_ONCE: usize = 8;

/// Events of one request at most.
const PAGE: u64 = 500;

/// After so many pages a connection with more to send makes way for others.
const PAGES_PER_TURN: usize = 20;

/// Replayed dead letters of one turn.
const REPLAYS_PER_TURN: u64 = 50;

/// How long a connection stays with a process that no longer renews. Renewed when half of it is gone, so a request,
/// which is given up after 10 s, ends within it.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// How long to wait where waiting mends nothing by itself: a revoked token, a wrong host.
const MISDIRECTED: TimeDelta = TimeDelta::minutes(5);

/// When a host that does not say that it is right refuses each event of a page, and so many of them, the fault is not the
/// events': nothing is buried.
const REFUSALS_BELIEVED: usize = 20;

/// What a connection says whose host refused a whole page: the next turn begins with one event.
const REFUSES_ALL: &str = "PostHog refuses every event: ";

/// What is told of an event that PostHog does not take even alone.
const TOO_LARGE: &str = "PostHog refuses the event as too large";

/// An idle process looks for connections that are due this often.
const POLL: Duration = Duration::from_secs(1);

/// Says that these tenants have something to send, where they are connected. Gives whether one is that was idle. A connection that waits
/// after a failure waits on; one that is being served is looked at once more.
pub(super) async fn mark_due(env: &Env, tenants: HashSet<TenantId>) -> Result<bool> {
    let now = env.clock.now();
    let marked = env
        .db
        .system()
        .update_many::<posthog_connection::Entity>(|update| {
            update
                .set(at(now))
                .filter(posthog_connection::Column::TenantId.is_in(tenants))
                .filter(idle_or_served())
        })
        .await?;
    Ok(!marked.is_empty())
}

/// The same for the tenant of a unit of work.
pub(super) async fn mark_own(tx: &Tx) -> Result<()> {
    let now = tx.now();
    tx.update_many::<posthog_connection::Entity>(|update| {
        update.set(at(now)).filter(idle_or_served())
    })
    .await?;
    Ok(())
}

fn at(now: DateTime<Utc>) -> posthog_connection::ActiveModel {
    posthog_connection::ActiveModel {
        forward_at: Set(Some(now)),
        ..Default::default()
    }
}

fn idle_or_served() -> Condition {
    use posthog_connection::Column::{ForwardAt, ForwardLeasedUntil};
    Condition::any()
        .add(ForwardAt.is_null())
        .add(ForwardLeasedUntil.is_not_null())
}

fn due(now: DateTime<Utc>) -> Condition {
    use posthog_connection::Column::{ForwardAt, ForwardLeasedUntil};
    let free = Condition::any()
        .add(ForwardLeasedUntil.is_null())
        .add(ForwardLeasedUntil.lte(now));
    Condition::all().add(ForwardAt.lte(now)).add(free)
}

pub(super) struct Forwarder {
    env: Arc<Env>,
    outbound: Outbound,
    /// Rung by the dispatcher.
    due: Arc<Notify>,
}

impl Forwarder {
    pub(super) const fn new(env: Arc<Env>, outbound: Outbound, due: Arc<Notify>) -> Self {
        Self { env, outbound, due }
    }

    /// Serves what becomes due until `stopping` is cancelled, and then ends after the requests under way.
    pub(super) async fn run(&self, stopping: &CancellationToken) {
        let mut serving = FuturesUnordered::new();
        loop {
            if stopping.is_cancelled() {
                if serving.is_empty() {
                    return;
                }
            } else {
                match self.lease(CONNECTIONS_AT_ONCE - serving.len()).await {
                    Ok(leased) => serving.extend(
                        leased
                            .into_iter()
                            .map(|leased| self.serve(leased, stopping)),
                    ),
                    Err(error) => tracing::error!(
                        error = cause(&error),
                        "the forwarder could not look for work"
                    ),
                }
            }
            tokio::select! {
                Some(_) = serving.next() => {}
                () = self.due.notified(), if serving.len() < CONNECTIONS_AT_ONCE => {}
                () = stopping.cancelled(), if !stopping.is_cancelled() => {}
                () = sleep(POLL) => {}
            }
        }
    }

    /// Serves what is due now. Gives the number of events sent.
    pub(super) async fn run_due(&self) -> Result<usize> {
        let never = CancellationToken::new();
        let mut sent = 0;
        loop {
            let leased = self.lease(CONNECTIONS_AT_ONCE).await?;
            if leased.is_empty() {
                return Ok(sent);
            }
            let mut serving: FuturesUnordered<_> = leased
                .into_iter()
                .map(|leased| self.serve(leased, &never))
                .collect();
            while let Some(of_one) = serving.next().await {
                sent += of_one;
            }
        }
    }

    /// Connections that are due or being served.
    pub(super) async fn due(&self) -> Result<u64> {
        let now = self.env.clock.now();
        let served = posthog_connection::Column::ForwardLeasedUntil.gt(now);
        let system = self.env.db.system();
        let rows = system.find::<posthog_connection::Entity>();
        rows.filter(Condition::any().add(due(now)).add(served))
            .count()
            .await
    }

    /// Frees what a process served that died. Only where there can be no other.
    pub(super) async fn forget_all(&self) -> Result<()> {
        let now = self.env.clock.now();
        self.env
            .db
            .system()
            .update_many::<posthog_connection::Entity>(|update| {
                update
                    .set(posthog_connection::ActiveModel {
                        forward_leased_until: Set(None),
                        ..at(now)
                    })
                    .filter(posthog_connection::Column::ForwardLeasedUntil.is_not_null())
            })
            .await?;
        Ok(())
    }

    /// Takes up to `count` connections that are due, the longest due first.
    async fn lease(&self, count: usize) -> Result<Vec<posthog_connection::Model>> {
        let now = self.env.clock.now();
        let until = now + LEASE;
        let system = self.env.db.system();
        let rows = system
            .find::<posthog_connection::Entity>()
            .filter(due(now))
            .order_by_asc(posthog_connection::Column::ForwardAt)
            .limit(count as u64)
            .all()
            .await?;
        let mut leased = vec![];
        for row in rows {
            // Another process may have been faster: then this finds no row.
            let won = system
                .update_many::<posthog_connection::Entity>(|update| {
                    update
                        .set(leased_until(until))
                        .filter(posthog_connection::Column::Id.eq(row.id))
                        .filter(due(now))
                })
                .await?;
            leased.extend(won);
        }
        Ok(leased)
    }

    /// Serves one connection and says how it went in its row. Gives the number of events sent.
    async fn serve(&self, row: posthog_connection::Model, stopping: &CancellationToken) -> usize {
        let tenant = row.tenant_id;
        let mut turn = Turn {
            cx: Cx::new(Arc::clone(&self.env), tenant, Actor::System),
            outbound: &self.outbound,
            stopping,
            lease: row.forward_leased_until.unwrap_or_default(),
            attempt: row.forward_attempt,
            place: LogPlace {
                xid: row.forwarded_xid,
                seq: row.forwarded_seq,
            },
            sent: 0,
            row,
        };
        let end = match turn.forward().await {
            Ok(end) => end,
            Err(error) => {
                tracing::error!(%tenant, error = cause(&error), "events could not be forwarded");
                End::Later {
                    after: None,
                    reason: error.to_string(),
                }
            }
        };
        if let Err(error) = turn.close(end).await {
            tracing::error!(%tenant, error = cause(&error), "a connection could not be given back; its lease runs out");
        }
        turn.sent
    }
}

/// A lease is due again when it runs out: who dies with it loses nothing. A mark set meanwhile differs from it.
fn leased_until(until: DateTime<Utc>) -> posthog_connection::ActiveModel {
    posthog_connection::ActiveModel {
        forward_leased_until: Set(Some(until)),
        forward_at: Set(Some(until)),
        ..Default::default()
    }
}

/// How a turn ended.
enum End {
    /// The log was sent to its end.
    Drained,
    /// There is more; others first.
    More,
    /// Not now; `after` is how long PostHog asked for.
    Later {
        after: Option<TimeDelta>,
        reason: String,
    },
    /// Another process has the connection, or it is gone.
    Lost,
}

/// One process's time with one connection.
struct Turn<'a> {
    cx: Cx,
    outbound: &'a Outbound,
    stopping: &'a CancellationToken,
    row: posthog_connection::Model,
    /// The row's `forward_leased_until` while it is ours.
    lease: DateTime<Utc>,
    /// Failures in a row before this turn, 0 after a success.
    attempt: i32,
    place: LogPlace,
    sent: usize,
}

impl Turn<'_> {
    async fn forward(&mut self) -> Result<End> {
        let recipient = match Recipient::open(&self.cx.env().secrets, self.outbound, &self.row) {
            Ok(recipient) => recipient,
            Err(error) => {
                return Ok(End::Later {
                    after: Some(MISDIRECTED),
                    reason: error.to_string(),
                });
            }
        };
        if let Some(end) = self.send_replayed(&recipient).await? {
            return Ok(end);
        }
        for _ in 0..PAGES_PER_TURN {
            let events = self.cx.db().log_after(self.place).limit(PAGE).all().await?;
            let Some(last) = events.last().map(LogPlace::of) else {
                return Ok(End::Drained);
            };
            if let Some(end) = self.send_page(&recipient, &events, last).await? {
                return Ok(end);
            }
            if self.stopping.is_cancelled() {
                break;
            }
        }
        Ok(End::More)
    }

    /// Sends a page in order, in as few requests as PostHog's limits allow. Gives how the turn ends, where it does.
    ///
    /// What is refused is halved until it is one event. That one is buried when the host is known to be right, be it that
    /// it took another one of the page, be it that it knows the token; else the page decides.
    async fn send_page(
        &mut self,
        recipient: &Recipient,
        events: &[event::Model],
        last: LogPlace,
    ) -> Result<Option<End>> {
        let (outgoing, mut refused) = self.prepare(events).await?;
        let unsendable = refused.len();
        let mut queue = cut(&outgoing);
        let suspected = self.attempt > 0
            && self
                .row
                .forward_error
                .as_deref()
                .is_some_and(|error| error.starts_with(REFUSES_ALL));
        if suspected && let Some(first) = queue.pop_front() {
            let sample = first.start..first.start + 1;
            if sample.end < first.end {
                queue.push_front(sample.end..first.end);
            }
            queue.push_front(sample);
        }
        let mut host_is_right = None;
        while let Some(range) = queue.pop_front() {
            if !self.keep_lease().await? {
                return Ok(Some(End::Lost));
            }
            let batch = &outgoing[range.clone()];
            match posthog::send(self.outbound, recipient, batch).await {
                Answer::Accepted => {
                    host_is_right = Some(true);
                    self.sent += batch.len();
                    self.bury(std::mem::take(&mut refused)).await?;
                    if !self.checkpoint(batch[batch.len() - 1].place).await? {
                        return Ok(Some(End::Lost));
                    }
                }
                Answer::Refused(_) | Answer::TooLarge if batch.len() > 1 => {
                    let middle = range.start + batch.len() / 2;
                    queue.push_front(middle..range.end);
                    queue.push_front(range.start..middle);
                }
                answer @ (Answer::Refused(_) | Answer::TooLarge) => {
                    let reason = match answer {
                        Answer::Refused(reason) => reason,
                        _ => TOO_LARGE.to_owned(),
                    };
                    let is_right = match host_is_right {
                        Some(known) => known,
                        None => posthog::is_right(self.outbound, recipient).await,
                    };
                    host_is_right = Some(is_right);
                    if suspected && !is_right {
                        return Ok(Some(refuses_all(&reason)));
                    }
                    refused.push((batch[0].event, reason));
                    if is_right {
                        // All before it is sent or buried: a turn that is cut short here goes on behind it.
                        self.bury(std::mem::take(&mut refused)).await?;
                        if !self.checkpoint(batch[0].place).await? {
                            return Ok(Some(End::Lost));
                        }
                    }
                }
                Answer::Later { reason, after } => return Ok(Some(End::Later { reason, after })),
                Answer::Misdirected(reason) => {
                    return Ok(Some(End::Later {
                        reason,
                        after: Some(MISDIRECTED),
                    }));
                }
            }
        }
        if host_is_right == Some(false)
            && refused.len() - unsendable >= REFUSALS_BELIEVED
            && let Some((_, reason)) = refused.pop()
        {
            return Ok(Some(refuses_all(&reason)));
        }
        self.bury(refused).await?;
        Ok((!self.checkpoint(last).await?).then_some(End::Lost))
    }

    /// What goes out, in order, and what cannot.
    async fn prepare(
        &self,
        events: &[event::Model],
    ) -> Result<(Vec<Outgoing>, Vec<(EventId, String)>)> {
        let contacts: HashSet<ContactId> =
            events.iter().filter_map(|event| event.contact_id).collect();
        let ids: Vec<(ContactId, String)> = if contacts.is_empty() {
            vec![]
        } else {
            self.cx
                .db()
                .find::<contact::Entity>()
                .filter(contact::Column::Id.is_in(contacts))
                .select_only()
                .column(contact::Column::Id)
                .column(contact::Column::DistinctId)
                .tuples()
                .await?
        };
        let ids: HashMap<ContactId, String> = ids.into_iter().collect();
        let (mut outgoing, mut refused) = (vec![], vec![]);
        for event in events {
            let known = event
                .contact_id
                .and_then(|id| ids.get(&id))
                .map(String::as_str);
            match Outgoing::new(event, known)? {
                None => {
                    metrics::counter!("growthos_forward_skipped_total", "reason" => "names_nobody")
                        .increment(1);
                }
                Some(one) if one.json.len() > EVENT_BYTES_MAX => {
                    refused.push((
                        event.id,
                        format!(
                            "the event has {} bytes, more than {EVENT_BYTES_MAX}",
                            one.json.len()
                        ),
                    ));
                }
                Some(one) => outgoing.push(one),
            }
        }
        Ok((outgoing, refused))
    }

    /// Sends the dead letters that were replayed, each alone.
    async fn send_replayed(&mut self, recipient: &Recipient) -> Result<Option<End>> {
        use event_retry::Column::{Consumer, RunAt};
        let rows = self
            .cx
            .db()
            .find::<event_retry::Entity>()
            .filter(Consumer.eq(CONSUMER))
            .filter(RunAt.lte(self.cx.now()))
            .order_by_asc(RunAt)
            .limit(REPLAYS_PER_TURN)
            .all()
            .await?;
        for row in rows {
            let Some(event) = self.cx.db().get::<event::Entity>(row.event_id).await? else {
                continue;
            };
            let (outgoing, mut refused) = self.prepare(&[event]).await?;
            if !outgoing.is_empty() {
                if !self.keep_lease().await? {
                    return Ok(Some(End::Lost));
                }
                match posthog::send(self.outbound, recipient, &outgoing).await {
                    Answer::Accepted => self.sent += 1,
                    Answer::Refused(reason) => refused.push((row.event_id, reason)),
                    Answer::TooLarge => refused.push((row.event_id, TOO_LARGE.to_owned())),
                    Answer::Later { reason, after } => {
                        return Ok(Some(End::Later { reason, after }));
                    }
                    Answer::Misdirected(reason) => {
                        return Ok(Some(End::Later {
                            reason,
                            after: Some(MISDIRECTED),
                        }));
                    }
                }
            }
            self.cx
                .write(async |tx| {
                    for (event, reason) in &refused {
                        retry::bury(tx, CONSUMER, *event, reason, 1).await?;
                    }
                    tx.delete::<event_retry::Entity>(row.id).await
                })
                .await?;
        }
        Ok(None)
    }

    async fn bury(&self, refused: Vec<(EventId, String)>) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        metrics::counter!("growthos_consumer_buried_total", "consumer" => CONSUMER)
            .increment(refused.len() as u64);
        for (event, reason) in &refused {
            tracing::error!(tenant = %self.row.tenant_id, %event, reason, "an event was buried: PostHog does not take it");
        }
        self.cx
            .write(async |tx| {
                for (event, reason) in &refused {
                    retry::bury(tx, CONSUMER, *event, reason, 1).await?;
                }
                Ok(())
            })
            .await
    }

    /// Lengthens the lease when half of it is gone. Says whether the connection is still ours.
    async fn keep_lease(&mut self) -> Result<bool> {
        let now = self.cx.now();
        if self.lease - now > LEASE / 2 {
            return Ok(true);
        }
        self.change(leased_until(now + LEASE)).await
    }

    /// Notes that PostHog has everything up to `place`.
    async fn checkpoint(&mut self, place: LogPlace) -> Result<bool> {
        let ours = self
            .change(posthog_connection::ActiveModel {
                forwarded_xid: Set(place.xid),
                forwarded_seq: Set(place.seq),
                forward_attempt: Set(0),
                forward_error: Set(None),
                ..leased_until(self.cx.now() + LEASE)
            })
            .await?;
        self.place = place;
        self.attempt = 0;
        Ok(ours)
    }

    /// Changes the row and its lease while it is ours.
    async fn change(&mut self, change: posthog_connection::ActiveModel) -> Result<bool> {
        let changed = self
            .cx
            .env()
            .db
            .system()
            .update_many::<posthog_connection::Entity>(|update| {
                update
                    .set(change)
                    .filter(posthog_connection::Column::Id.eq(self.row.id))
                    .filter(posthog_connection::Column::ForwardLeasedUntil.eq(self.lease))
            })
            .await?;
        let ours = changed.first().and_then(|row| row.forward_leased_until);
        self.lease = ours.unwrap_or(self.lease);
        Ok(!changed.is_empty())
    }

    /// Gives the connection back.
    async fn close(&self, end: End) -> Result<()> {
        use posthog_connection::Column::{ForwardAt, ForwardLeasedUntil, Id};
        let now = self.cx.now();
        let mut change = posthog_connection::ActiveModel {
            forward_leased_until: Set(None),
            forward_attempt: Set(0),
            forward_error: Set(None),
            ..Default::default()
        };
        let mut drained = false;
        match end {
            End::Lost => return Ok(()),
            End::Drained => drained = true,
            End::More => change.forward_at = Set(Some(now)),
            End::Later { after, reason } => {
                let attempt = self.attempt.saturating_add(1);
                let wait = after.unwrap_or_else(|| retry::delay(attempt, &self.cx.env().rng));
                metrics::counter!("growthos_forward_failed_total").increment(1);
                tracing::warn!(tenant = %self.row.tenant_id, attempt, wait_s = wait.num_seconds(), reason, "forwarding to PostHog waits");
                change.forward_attempt = Set(attempt);
                change.forward_at = Set(Some(now + wait));
                change.forward_error = Set(Some(reason));
            }
        }
        self.cx
            .env()
            .db
            .system()
            .update_many::<posthog_connection::Entity>(|update| {
                let update = update
                    .set(change)
                    .filter(Id.eq(self.row.id))
                    .filter(ForwardLeasedUntil.eq(self.lease));
                if drained {
                    // A mark that was set since the log was read stays.
                    let unmarked = Func::cust(Alias::new("NULLIF"))
                        .arg(Expr::col(ForwardAt))
                        .arg(Expr::value(self.lease));
                    update.col_expr(ForwardAt, unmarked.into())
                } else {
                    update
                }
            })
            .await?;
        Ok(())
    }
}

fn refuses_all(reason: &str) -> End {
    End::Later {
        reason: format!("{REFUSES_ALL}{reason}"),
        after: Some(MISDIRECTED),
    }
}

/// Runs of events that fit into one request.
fn cut(outgoing: &[Outgoing]) -> VecDeque<Range<usize>> {
    let mut runs = VecDeque::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, one) in outgoing.iter().enumerate() {
        if at > start && bytes + one.json.len() > BATCH_BYTES_MAX {
            runs.push_back(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += one.json.len();
    }
    if start < outgoing.len() {
        runs.push_back(start..outgoing.len());
    }
    runs
}
