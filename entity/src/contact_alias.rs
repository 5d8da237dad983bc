//! Where an absorbed contact's id leads, for ever; the row's id is the absorbed contact's.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_alias")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The absorbed contact.
    pub absorbed_id: Id<crate::contact::Entity>,
    /// The root it is part of now.
    pub contact_id: Id<crate::contact::Entity>,
    pub reason: String,
    /// The event that joined them.
    pub event_id: Option<Id<crate::event::Entity>>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "alias";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
