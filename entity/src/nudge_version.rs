//! What a nudge says and when; immutable once published.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nudge_version")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub nudge_id: Id<crate::nudge::Entity>,
    pub number: i32,
    /// JSON: title, body, action.
    pub content: Json,
    pub surface: String,
    pub trigger_event: String,
    /// JSON array of property conditions, all of which must hold.
    pub conditions: Json,
    pub priority: i32,
    /// How long an offer stands; absent: for ever.
    pub expires_after_s: Option<i64>,
    /// How often one contact may see it; absent: no limit.
    pub cap_per_contact: Option<i32>,
    pub published_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "nudgeversion";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
