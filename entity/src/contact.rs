//! One person, over every touchpoint. A merged contact is a signpost to its root.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub status: Status,
    /// What PostHog knows this contact as: set once, at creation.
    pub distinct_id: String,
    pub first_touch: Option<Json>,
    pub first_touch_at: Option<DateTimeUtc>,
    pub last_touch: Option<Json>,
    pub last_touch_at: Option<DateTimeUtc>,
    pub last_seen_at: Option<DateTimeUtc>,
    /// The root that absorbed this contact; always a root, never a chain.
    pub merged_into: Option<Id<Entity>>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    /// Only browsers' ids are known.
    Anonymous,
    /// Somebody claimed an id, an e-mail or a phone.
    Known,
    /// The tenant's backend, or the person, confirmed one.
    Verified,
    /// It holds what came by a value that turned out to be nobody's.
    Quarantined,
    Merged,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "contact";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
