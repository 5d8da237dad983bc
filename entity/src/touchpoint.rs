//! Where a visit came from: a campaign, a referrer, a code.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "touchpoint")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub contact_id: Id<crate::contact::Entity>,
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    pub event_id: Id<crate::event::Entity>,
    pub touch: Json,
    pub occurred_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "touchpoint";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
