//! How a tenant's door stands: what the operator limits, and what the tenant lets in. One row a tenant; none is the default.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant_front")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// Absent limits are the product's defaults.
    pub cost_max: Option<i32>,
    pub points_per_minute: Option<i32>,
    pub key_points_per_minute: Option<i32>,
    pub subscriptions_max: Option<i32>,
    pub contact_subscriptions_max: Option<i32>,
    /// JSON array of origins; empty is every one.
    pub allowed_origins: Json,
    pub require_persisted_operations: bool,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "front";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
