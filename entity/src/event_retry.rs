//! An event that a consumer failed on, or that waits behind one of its contact.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_retry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub consumer: String,
    pub event_id: Id<crate::event::Entity>,
    /// What keeps order: the contact's id, or the event's own where it has none.
    pub lane: Uuid,
    pub attempt: i32,
    pub run_at: DateTimeUtc,
    pub last_error: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "retry";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
