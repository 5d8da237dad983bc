use chrono::TimeDelta;
use entity::{
    ContactId, Id,
    job::{self, State},
};
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::run::beginning;
use crate::base::{Actor, Audited, Error, ErrorCode, Result, Tx};

/// Jobs of a tenant that wait or run at the same time.
const WAITING_MAX: u64 = 100;

/// How long an open job waits for what it is to read.
const OPEN_MAX: TimeDelta = TimeDelta::days(1);

/// A job to do.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub kind: &'static str,
    /// Whom it is about, where that is one contact.
    pub contact_id: Option<ContactId>,
    pub input: Value,
    pub total: Option<i64>,
}

/// Writes down a job, to be done from the commit on.
pub async fn enqueue(tx: &Tx, actor: &Actor, new: NewJob) -> Result<job::Model> {
    insert(tx, actor, new, State::Queued).await
}

/// Writes down a job that waits for its bytes: [`super::append`] takes them, and queues it at their end.
pub async fn open(tx: &Tx, actor: &Actor, new: NewJob) -> Result<job::Model> {
    insert(tx, actor, new, State::Open).await
}

async fn insert(tx: &Tx, actor: &Actor, new: NewJob, state: State) -> Result<job::Model> {
    let waiting = tx
        .find::<job::Entity>()
        .filter(job::Column::State.is_in([State::Open, State::Queued, State::Running]))
        .count()
        .await?;
    if waiting >= WAITING_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "input",
            format!("at most {WAITING_MAX} jobs wait or run at a time"),
        ));
    }
    let now = tx.now();
    tx.insert(job::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        kind: Set(new.kind.to_owned()),
        state: Set(state),
        contact_id: Set(new.contact_id),
        input: Set(new.input),
        cursor: Set(beginning()),
        done: Set(0),
        total: Set(new.total),
        result: Set(None),
        error: Set(None),
        attempts: Set(0),
        run_at: Set(now),
        leased_by: Set(None),
        leased_until: Set(None),
        created_by: Set(actor.principal()),
        created_at: Set(now),
        started_at: Set(None),
        finished_at: Set(None),
        expires_at: Set((state == State::Open).then(|| now + OPEN_MAX)),
    })
    .await
}

/// Stops a job: what it did stays done, the step that it is in leaves no trace.
pub async fn cancel(tx: &Tx, id: Id<job::Entity>, lasting: &[&str]) -> Result<job::Model> {
    let row = tx
        .find::<job::Entity>()
        .filter(job::Column::Id.eq(id))
        .locked()
        .one()
        .await?
        .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such job"))?;
    if lasting.contains(&row.kind.as_str()) {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            format!("a job of the kind {} is not stopped", row.kind),
        ));
    }
    if !matches!(row.state, State::Open | State::Queued | State::Running) {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            "the job has ended already",
        ));
    }
    let now = tx.now();
    let stopped = tx
        .update(job::ActiveModel {
            id: Set(id),
            state: Set(State::Cancelled),
            leased_by: Set(None),
            leased_until: Set(None),
            finished_at: Set(Some(now)),
            expires_at: Set(Some(now + OPEN_MAX)),
            ..Default::default()
        })
        .await?;
    tx.audit(Audited::new(
        "jobCancel",
        &id,
        json!({"kind": row.kind, "done": row.done}),
    ))
    .await?;
    Ok(stopped)
}
