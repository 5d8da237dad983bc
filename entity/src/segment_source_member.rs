//! Who is in a set of contacts that PostHog knows.

use sea_orm::entity::prelude::*;

use crate::{Id, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment_source_member")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub source_id: Id<crate::segment_source::Entity>,
    /// The root that it was, when PostHog told of it.
    pub contact_id: Id<crate::contact::Entity>,
    /// The last round of the source that told of it.
    pub round: i64,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
