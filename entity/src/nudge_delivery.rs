//! One nudge offered to one contact on one occasion.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nudge_delivery")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub nudge_id: Id<crate::nudge::Entity>,
    pub nudge_version_id: Id<crate::nudge_version::Entity>,
    pub contact_id: Id<crate::contact::Entity>,
    /// The identifier that caused it, so that an unmerge can take it along.
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    /// The event that triggered it.
    pub event_id: Id<crate::event::Entity>,
    pub surface: String,
    pub priority: i32,
    pub offered_at: DateTimeUtc,
    pub received_at: Option<DateTimeUtc>,
    pub displayed_at: Option<DateTimeUtc>,
    pub clicked_at: Option<DateTimeUtc>,
    pub completed_at: Option<DateTimeUtc>,
    pub dismissed_at: Option<DateTimeUtc>,
    pub snoozed_at: Option<DateTimeUtc>,
    pub withdrawn_at: Option<DateTimeUtc>,
    pub withdrawn_reason: Option<String>,
    pub expires_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "delivery";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
