//! A contextual prompt; what it says is in its versions.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nudge")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub key: String,
    pub name: String,
    /// The version that runs; absent while it is a draft.
    pub live_version_id: Option<Id<crate::nudge_version::Entity>>,
    pub archived_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "nudge";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
