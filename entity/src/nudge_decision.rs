//! Why a nudge was offered or not, each time its trigger matched.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nudge_decision")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub nudge_id: Id<crate::nudge::Entity>,
    pub nudge_version_id: Id<crate::nudge_version::Entity>,
    pub contact_id: Id<crate::contact::Entity>,
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    pub event_id: Id<crate::event::Entity>,
    /// `offered`, or the first rule that failed.
    pub verdict: String,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "decision";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
