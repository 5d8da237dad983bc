//! A company, a team, a workspace: what PostHog calls a group.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "account")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The group's type: `company`.
    pub kind: String,
    /// What the tenant calls it; unique by type.
    pub key: String,
    pub name: Option<String>,
    /// A JSON object.
    pub traits: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "account";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
