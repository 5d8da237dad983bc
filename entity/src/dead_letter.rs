//! An event that a consumer gave up on; replayed by hand.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letter")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub consumer: String,
    pub event_id: Id<crate::event::Entity>,
    pub error: String,
    pub attempts: i32,
    pub created_at: DateTimeUtc,
    pub replayed_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "letter";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
