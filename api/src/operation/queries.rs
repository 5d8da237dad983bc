use entity::operation;
use sea_orm::{ColumnTrait, QueryFilter};

use crate::base::{Result, Scope, hex};

/// The text that the tenant trusts under this hash.
pub async fn text_of(db: &Scope, hash: &[u8]) -> Result<Option<String>> {
    let row = db
        .find::<operation::Entity>()
        .filter(operation::Column::Hash.eq(hex(hash)))
        .one()
        .await?;
    Ok(row.map(|row| row.text))
}
