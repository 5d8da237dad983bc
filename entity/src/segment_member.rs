//! A contact that is in a segment now.

use sea_orm::entity::prelude::*;

use crate::{Id, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment_member")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub segment_id: Id<crate::segment::Entity>,
    /// A root; a merge or the event that tells of it sees to that.
    pub contact_id: Id<crate::contact::Entity>,
    pub entered_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
