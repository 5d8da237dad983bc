//! How many contacts were in a segment, by the hour in which that changed.

use sea_orm::entity::prelude::*;

use crate::{Id, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment_size")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub segment_id: Id<crate::segment::Entity>,
    /// The hour's beginning.
    pub hour: DateTimeUtc,
    /// At the hour's last change.
    pub size: i64,
}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
