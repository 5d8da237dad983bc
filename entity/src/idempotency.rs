//! The first answer to a mutation that was sent with a key.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// SHA-256 over principal, mutation and key, lower-case hex.
    pub scope: String,
    /// SHA-256 of the arguments: another input under the same key is a conflict.
    pub input_hash: String,
    /// The payload; absent while the first call runs.
    pub response: Option<Json>,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "idempotency";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
