use entity::{
    Id,
    job::{self, State},
    job_chunk::Side,
};
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde_json::json;

use super::{KIND, queries::find, rules::Plan};
use crate::{
    base::{Actor, Audited, Error, ErrorCode, Result, Tx},
    job::{NewJob, append as append_bytes, open, size},
};

/// Bytes of one file. A larger one is sent in parts, as imports of their own.
pub const BYTES_MAX: i64 = 1024 * 1024 * 1024;

/// Makes an import that waits for its bytes.
pub(super) async fn create(tx: &Tx, actor: &Actor, plan: &Plan) -> Result<job::Model> {
    plan.check()?;
    let new = NewJob {
        kind: KIND,
        contact_id: None,
        input: serde_json::to_value(plan)?,
        total: None,
    };
    let row = open(tx, actor, new).await?;
    let changes = json!({
        "content": plan.content,
        "format": plan.format,
        "columns": plan.columns.len(),
        "dryRun": plan.dry_run,
    });
    tx.audit(Audited::new("importCreate", &row.id, changes))
        .await?;
    Ok(row)
}

/// Adds bytes to an import that waits for them; gives how many it has now. Where it has another number than `position`, nothing is
/// added: that is a conflict.
pub async fn append(tx: &Tx, id: Id<job::Entity>, position: i64, bytes: &[u8]) -> Result<i64> {
    let row = waiting(tx, id).await?;
    let there = size(tx, row.id, Side::Input).await?;
    if there != position {
        return Err(Error::Conflict {
            message: format!("the import has {there} bytes, not {position}"),
            retry_after: None,
        });
    }
    let end = append_bytes(tx, row.id, Side::Input, position, bytes).await?;
    if end > BYTES_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "file",
            format!("a file has at most {BYTES_MAX} bytes"),
        ));
    }
    Ok(end)
}

/// Says that all bytes are there: the import is read from now on.
pub async fn complete(tx: &Tx, id: Id<job::Entity>) -> Result<job::Model> {
    let row = waiting(tx, id).await?;
    let total = size(tx, row.id, Side::Input).await?;
    tx.update(job::ActiveModel {
        id: Set(row.id),
        state: Set(State::Queued),
        total: Set(Some(total)),
        run_at: Set(tx.now()),
        expires_at: Set(None),
        ..Default::default()
    })
    .await
}

async fn waiting(tx: &Tx, id: Id<job::Entity>) -> Result<job::Model> {
    let row = tx
        .find::<job::Entity>()
        .filter(job::Column::Id.eq(id))
        .filter(job::Column::Kind.eq(KIND))
        .locked()
        .one()
        .await?
        .ok_or(Error::NotFound)?;
    if row.state == State::Open {
        Ok(row)
    } else {
        Err(Error::Conflict {
            message: "the import has all its bytes already".to_owned(),
            retry_after: None,
        })
    }
}

/// Does what a checked import found to do.
pub(super) async fn apply(tx: &Tx, id: Id<job::Entity>) -> Result<job::Model> {
    let row = find(tx, id)
        .await?
        .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such import"))?;
    let plan: Plan = serde_json::from_value(row.input)?;
    if !plan.dry_run || row.state != State::Succeeded {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            "only an import that was checked, and not applied yet, is applied",
        ));
    }
    let plan = Plan {
        dry_run: false,
        ..plan
    };
    let begun = tx
        .update_many::<job::Entity>(|update| {
            update
                .set(job::ActiveModel {
                    state: Set(State::Queued),
                    input: Set(json!(plan)),
                    cursor: Set(json!({})),
                    done: Set(0),
                    result: Set(None),
                    run_at: Set(tx.now()),
                    finished_at: Set(None),
                    expires_at: Set(None),
                    ..Default::default()
                })
                .filter(job::Column::Id.eq(id))
                .filter(job::Column::State.eq(State::Succeeded))
        })
        .await?;
    if begun == 0 {
        return Err(Error::Contended);
    }
    tx.audit(Audited::new("importApply", &id, json!({})))
        .await?;
    tx.get(id).await?.ok_or(Error::NotFound)
}
