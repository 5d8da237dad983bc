//! Who does a job, and how far it is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Id,
    job::{self, State},
};
use sea_orm::{
    ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, Func},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::base::{Actor, Cx, Env, Error, Fut, Result, Tx, cut};

/// How long a job stays with a process that says nothing of it: longer than any step without a checkpoint may take, which waits
/// for an upstream at most.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// How long a step that failed waits: 1 s at first, twice as long each time, up to this.
const WAIT_MAX: TimeDelta = TimeDelta::hours(1);

/// How often a step may fail in a row before the job is given up. With the waits that is about a quarter of an hour.
const ATTEMPTS_MAX: i32 = 10;

const ERROR_CHARS_MAX: usize = 500;

/// How many jobs whose time is over are forgotten at once.
const FORGOTTEN_AT_ONCE: u64 = 20;

/// A kind of job, and what does it.
pub struct Kind {
    /// Never reused, never renamed.
    pub name: &'static str,
    /// Does a bounded part of the job: less than [`LEASE`] between two checkpoints.
    pub step: Step,
    /// Whether it is given up when it keeps failing. What was promised is tried for ever, each [`WAIT_MAX`] in the end.
    pub gives_up: bool,
    /// How long what it read and made is kept once it has ended.
    pub kept: TimeDelta,
}

type Step = for<'a> fn(&'a Run) -> Fut<'a, Result<Next>>;

/// What comes after a step.
pub enum Next {
    /// Another step.
    Step,
    /// Another step, not before that time has passed, for this reason.
    Wait { delay: TimeDelta, why: String },
    /// Nothing: this is what came of it.
    Done(Value),
}

/// Where a job stands.
#[derive(Clone, Debug)]
pub struct Place {
    pub cursor: Value,
    pub done: i64,
    pub total: Option<i64>,
}

/// A job in the hands of this process.
pub struct Run {
    pub cx: Cx,
    /// As it was when the step began.
    pub job: job::Model,
    lease: Uuid,
    /// A checkpoint was reached: what fails after it fails for the first time.
    advanced: AtomicBool,
}

impl Run {
    /// Writes down, in the transaction of the work that led there, how far the job is. Fails where the job is no longer this
    /// process's, or was cancelled: then the work leaves no trace either.
    pub async fn checkpoint(&self, tx: &Tx, place: Place) -> Result<()> {
        let held = job::ActiveModel {
            cursor: Set(place.cursor),
            done: Set(place.done),
            total: Set(place.total),
            attempts: Set(0),
            error: Set(None),
            leased_until: Set(Some(tx.now() + LEASE)),
            ..Default::default()
        };
        let kept = tx
            .update_many::<job::Entity>(|update| {
                update
                    .set(held)
                    .filter(job::Column::Id.eq(self.job.id))
                    .filter(self.is_held())
            })
            .await?;
        if kept == 1 {
            self.advanced.store(true, Ordering::Relaxed);
            Ok(())
        } else {
            Err(lost())
        }
    }
    fn is_held(&self) -> Condition {
        Condition::all()
            .add(job::Column::LeasedBy.eq(self.lease))
            .add(job::Column::State.eq(State::Running))
    }
    /// Lets go of the job, as `row` says. Does nothing where it is no longer this process's.
    async fn settle(&self, row: job::ActiveModel) -> Result<()> {
        let row = job::ActiveModel {
            leased_by: Set(None),
            leased_until: Set(None),
            ..row
        };
        self.cx
            .write(async |tx| {
                let row = row.clone();
                tx.update_many::<job::Entity>(|update| {
                    update
                        .set(row)
                        .filter(job::Column::Id.eq(self.job.id))
                        .filter(self.is_held())
                })
                .await
            })
            .await?;
        Ok(())
    }
}

/// Another process has the job, or it was cancelled.
fn lost() -> Error {
    Error::Conflict {
        message: "the job is no longer this process's".to_owned(),
        retry_after: None,
    }
}

/// Does one step of one job of these kinds, of whichever tenant waits longest; says how many steps that were.
pub async fn run_due(env: &Arc<Env>, kinds: &'static [Kind]) -> Result<usize> {
    let Some(row) = due(env, kinds).await? else {
        return Ok(0);
    };
    let Some(run) = lease(env, &row).await? else {
        // Another process was faster; there may be more.
        return Ok(1);
    };
    let Some(kind) = kinds.iter().find(|kind| kind.name == run.job.kind) else {
        return Ok(0);
    };
    let done = if kind.gives_up && run.job.attempts >= ATTEMPTS_MAX {
        Err(anyhow::anyhow!("the processes that worked on it died").into())
    } else {
        (kind.step)(&run).await
    };
    let now = env.clock.now();
    let ended = |state, result, error| job::ActiveModel {
        state: Set(state),
        result: Set(result),
        error: Set(error),
        finished_at: Set(Some(now)),
        expires_at: Set(Some(now + kind.kept)),
        ..Default::default()
    };
    let outcome = match &done {
        Ok(Next::Step) => "step",
        Ok(Next::Wait { .. }) => "wait",
        Ok(Next::Done(_)) => "done",
        Err(_) => "failed",
    };
    metrics::counter!("growthos_job_steps_total", "kind" => kind.name, "outcome" => outcome)
        .increment(1);
    let row = match done {
        Ok(Next::Step) => waiting(now, None),
        Ok(Next::Wait { delay, why }) => waiting(now + delay, Some(why)),
        Ok(Next::Done(result)) => ended(State::Succeeded, Some(result), None),
        Err(error) => {
            let before = if run.advanced.load(Ordering::Relaxed) {
                0
            } else {
                run.job.attempts
            };
            let attempts = before + 1;
            let told = told(&error);
            tracing::warn!(kind = kind.name, job = %run.job.id, attempts, error = told, "a step of a job failed");
            if kind.gives_up && (attempts >= ATTEMPTS_MAX || is_final(&error)) {
                let shown = shown(&error);
                job::ActiveModel {
                    attempts: Set(attempts),
                    ..ended(State::Failed, None, Some(shown))
                }
            } else {
                job::ActiveModel {
                    attempts: Set(attempts),
                    ..waiting(now + wait(attempts), Some(shown(&error)))
                }
            }
        }
    };
    run.settle(row).await?;
    Ok(1)
}

/// The job that waits longest; what a dead process left counts as waiting.
async fn due(env: &Env, kinds: &[Kind]) -> Result<Option<job::Model>> {
    use job::Column;
    let now = env.clock.now();
    env.db
        .system()
        .find::<job::Entity>()
        .filter(Column::State.is_in([State::Queued, State::Running]))
        .filter(Column::Kind.is_in(kinds.iter().map(|kind| kind.name)))
        .filter(Column::RunAt.lte(now))
        .filter(is_free(now))
        .order_by_asc(Column::RunAt)
        .order_by_asc(Column::Id)
        .limit(1)
        .one()
        .await
}

fn is_free(now: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(job::Column::LeasedUntil.is_null())
        .add(job::Column::LeasedUntil.lte(now))
}

/// Takes the job, unless another process just did. A lease that ran out was a dead process's: that is a failed try, too.
async fn lease(env: &Arc<Env>, row: &job::Model) -> Result<Option<Run>> {
    let now = env.clock.now();
    let lease = env.ids.next::<Run>(now).uuid();
    let cx = Cx::new(Arc::clone(env), row.tenant_id, Actor::System);
    let taken = cx
        .write(async |tx| {
            let taken = tx
                .update_many::<job::Entity>(|update| {
                    update
                        .set(job::ActiveModel {
                            state: Set(State::Running),
                            leased_by: Set(Some(lease)),
                            leased_until: Set(Some(now + LEASE)),
                            attempts: Set(row.attempts + i32::from(row.leased_until.is_some())),
                            ..Default::default()
                        })
                        .col_expr(
                            job::Column::StartedAt,
                            Func::coalesce([Expr::col(job::Column::StartedAt), Expr::value(now)])
                                .into(),
                        )
                        .filter(job::Column::Id.eq(row.id))
                        .filter(job::Column::State.is_in([State::Queued, State::Running]))
                        .filter(is_free(now))
                })
                .await?;
            if taken == 0 {
                return Ok(None);
            }
            tx.get::<job::Entity>(row.id).await
        })
        .await?;
    Ok(taken.map(|job| Run {
        cx,
        job,
        lease,
        advanced: AtomicBool::new(false),
    }))
}

fn waiting(run_at: DateTime<Utc>, why: Option<String>) -> job::ActiveModel {
    job::ActiveModel {
        state: Set(State::Queued),
        run_at: Set(run_at),
        error: Set(why),
        ..Default::default()
    }
}

fn wait(attempts: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts - 1).unwrap_or_default().min(20);
    TimeDelta::seconds(1 << doublings).min(WAIT_MAX)
}

/// Whether trying again cannot help.
const fn is_final(error: &Error) -> bool {
    matches!(error, Error::User(_) | Error::NotFound | Error::Forbidden)
}

/// For the log.
fn told(error: &Error) -> String {
    match error {
        Error::Internal(cause) => format!("{cause:#}"),
        error => error.to_string(),
    }
}

/// For the tenant: what is internal stays in the log.
fn shown(error: &Error) -> String {
    cut(error.to_string(), ERROR_CHARS_MAX)
}

/// Deletes jobs whose time is over, with what they read and made.
pub(super) async fn forget_expired(env: &Arc<Env>) -> Result<usize> {
    let system = env.db.system();
    let over: Vec<(Id<job::Entity>,)> = system
        .find::<job::Entity>()
        .filter(job::Column::ExpiresAt.lte(env.clock.now()))
        .select_only()
        .column(job::Column::Id)
        .limit(FORGOTTEN_AT_ONCE)
        .tuples()
        .await?;
    if over.is_empty() {
        return Ok(0);
    }
    let ids = over.into_iter().map(|(id,)| id);
    let gone = system
        .delete_where::<job::Entity>(job::Column::Id.is_in(ids))
        .await?;
    Ok(usize::try_from(gone).unwrap_or_default())
}

/// Where a job begins.
pub(super) fn beginning() -> Value {
    json!({})
}
