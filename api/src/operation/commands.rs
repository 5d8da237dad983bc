use entity::{Id, operation};
use sea_orm::{ColumnTrait, QueryFilter, Set, sea_query::OnConflict};

use serde_json::json;

use crate::base::{Actor, Audited, Error, ErrorCode, Result, Tx, fingerprint};

/// Documents that a tenant trusts at most.
const OPERATIONS_MAX: u64 = 10_000;

/// A document to trust, already found valid.
#[derive(Clone, Debug)]
pub struct NewOperation {
    pub name: Option<String>,
    pub text: String,
}

/// Trusts the documents. One that is trusted already stays as it is. Gives the rows in the order of `new`.
pub async fn push(tx: &Tx, actor: &Actor, new: Vec<NewOperation>) -> Result<Vec<operation::Model>> {
    let hashes: Vec<String> = new
        .iter()
        .map(|new| fingerprint(new.text.as_bytes()))
        .collect();
    let rows = new
        .into_iter()
        .zip(&hashes)
        .map(|(new, hash)| operation::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            hash: Set(hash.clone()),
            name: Set(new.name),
            text: Set(new.text),
            pushed_by: Set(actor.principal()),
            pushed_at: Set(tx.now()),
        })
        .collect();
    let once = OnConflict::columns([operation::Column::TenantId, operation::Column::Hash])
        .do_nothing()
        .to_owned();
    tx.insert_all(rows, Some(once)).await?;
    if tx.find::<operation::Entity>().count().await? > OPERATIONS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "operations",
            format!("a tenant trusts at most {OPERATIONS_MAX} documents: delete some first"),
        ));
    }
    let there = tx
        .find::<operation::Entity>()
        .filter(operation::Column::Hash.is_in(hashes.iter()))
        .all()
        .await?;
    let changes = json!({"hashes": hashes});
    tx.audit(Audited::new("operationsPush", &tx.tenant(), changes))
        .await?;
    Ok(hashes
        .iter()
        .filter_map(|hash| there.iter().find(|row| row.hash == *hash).cloned())
        .collect())
}

/// Trusts a document no more.
pub async fn delete(tx: &Tx, id: Id<operation::Entity>) -> Result<operation::Model> {
    let row = tx
        .find::<operation::Entity>()
        .filter(operation::Column::Id.eq(id))
        .one()
        .await?
        .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such operation"))?;
    tx.delete(id).await?;
    let changes = json!({"hash": row.hash, "name": row.name});
    tx.audit(Audited::new("operationDelete", &id, changes))
        .await?;
    Ok(row)
}
