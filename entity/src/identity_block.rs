//! A value that stands for nobody, or two values that are no evidence for each other.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_block")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub kind: crate::contact_identifier::Kind,
    /// Normalised.
    pub value: String,
    /// The other end, where only the link between the two is blocked.
    pub other_kind: Option<crate::contact_identifier::Kind>,
    pub other_value: Option<String>,
    pub reason: Option<String>,
    /// The principal who blocked it; `system` where it caused too many merges.
    pub said_by: String,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "block";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
