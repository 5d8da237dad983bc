//! When a contact is to be asked again whether it is in a segment: time alone can change the answer then.

use sea_orm::entity::prelude::*;

use crate::{Id, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment_due")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub segment_id: Id<crate::segment::Entity>,
    pub contact_id: Id<crate::contact::Entity>,
    /// A process that asks sets it ahead, so that another asks where that one died.
    pub due_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
