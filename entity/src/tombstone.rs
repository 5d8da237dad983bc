//! An identifier of a person who was erased: a keyed mark, from which nobody learns it.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tombstone")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// HMAC of tenant, kind and value, lower-case hex.
    pub mark: String,
    pub erasure_id: Id<crate::erasure::Entity>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "tombstone";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
