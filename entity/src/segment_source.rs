//! A set of contacts that only PostHog knows, which rules of segments name: asked for again and again.

use sea_orm::entity::prelude::*;

use crate::{Id, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "segment_source")]
pub struct Model {
    /// Names tenant and `rule`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The part of a segment's rule that asks for it.
    pub rule: Json,
    /// Grows with each time that it is asked for: members of an older round have left.
    pub round: i64,
    /// How many contacts are in it.
    pub size: i64,
    /// When PostHog last told all of it.
    pub synced_at: Option<DateTimeUtc>,
    /// When it is asked for again. A process that does sets it ahead.
    pub due_at: DateTimeUtc,
    /// Failures in a row.
    pub attempt: i32,
    pub failure: Option<String>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
