//! A document that a tenant trusts: its clients name it by its hash.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// SHA-256 of the text, lower-case hex; unique within the tenant.
    pub hash: String,
    pub name: Option<String>,
    pub text: String,
    /// Who pushed it: a key's id, or what else the actor is called.
    pub pushed_by: String,
    pub pushed_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "operation";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
