//! Who changed what of a tenant. Appended, never changed; outlives the tenant.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub at: DateTimeUtc,
    /// `secret_key`, `member`, `operator` and so on.
    pub actor_kind: String,
    pub actor_id: Option<String>,
    /// What people know the actor by: a key's name and prefix, a member's subject.
    pub actor_name: Option<String>,
    /// The mutation's name.
    pub action: String,
    pub object_id: Option<String>,
    /// JSON object; holds no secret.
    pub changes: Json,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "audit";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
