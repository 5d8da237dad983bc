//! What a job reads and makes, in chunks.

use entity::{
    Id, job,
    job_chunk::{self, Side},
};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Set};

use crate::base::{Error, Result, Scope, Tx};

/// Bytes a chunk holds: few enough that a row is written and read at once, on either database.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Adds bytes to a side, which has `position` of them. Fails with `Contended` where another has added them meanwhile.
pub async fn append(
    tx: &Tx,
    id: Id<job::Entity>,
    side: Side,
    position: i64,
    bytes: &[u8],
) -> Result<i64> {
    let mut end = position;
    let mut rows = vec![];
    for chunk in bytes.chunks(CHUNK_BYTES) {
        rows.push(job_chunk::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            job_id: Set(id),
            side: Set(side),
            position: Set(end),
            bytes: Set(chunk.to_vec()),
        });
        end += i64::try_from(chunk.len()).unwrap_or_default();
    }
    if !rows.is_empty() {
        tx.insert_all(rows, None).await.map_err(Error::contended)?;
    }
    Ok(end)
}

/// How many bytes a side has.
pub async fn size(scope: &Scope, id: Id<job::Entity>, side: Side) -> Result<i64> {
    let last = chunks(id, side);
    let last = scope
        .find::<job_chunk::Entity>()
        .filter(last)
        .order_by_desc(job_chunk::Column::Position)
        .limit(1)
        .one()
        .await?;
    Ok(last.map_or(0, |row| end(&row)))
}

/// The rest of the chunk in which `position` lies; nothing where the bytes are at their end.
pub async fn read(
    scope: &Scope,
    id: Id<job::Entity>,
    side: Side,
    position: i64,
) -> Result<Option<Vec<u8>>> {
    let row = scope
        .find::<job_chunk::Entity>()
        .filter(chunks(id, side).add(job_chunk::Column::Position.lte(position)))
        .order_by_desc(job_chunk::Column::Position)
        .limit(1)
        .one()
        .await?;
    Ok(row.filter(|row| end(row) > position).map(|row| {
        let skipped = usize::try_from(position - row.position).unwrap_or_default();
        row.bytes[skipped..].to_vec()
    }))
}

/// Deletes what a job has read.
pub async fn forget_input(tx: &Tx, id: Id<job::Entity>) -> Result<u64> {
    tx.delete_where::<job_chunk::Entity>(|delete| delete.filter(chunks(id, Side::Input)))
        .await
}

fn chunks(id: Id<job::Entity>, side: Side) -> Condition {
    Condition::all()
        .add(job_chunk::Column::JobId.eq(id))
        .add(job_chunk::Column::Side.eq(side))
}

fn end(row: &job_chunk::Model) -> i64 {
    row.position + i64::try_from(row.bytes.len()).unwrap_or_default()
}
