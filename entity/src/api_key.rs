//! A secret or publishable key; only its hash and a prefix are stored.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub kind: Kind,
    pub name: String,
    /// The first characters, shown so that people can tell keys apart.
    pub prefix: String,
    /// SHA-256 of the whole key, lower-case hex; unique over all tenants.
    pub hash: String,
    /// JSON array of scopes such as `contacts:read`; `["*"]` is all. Empty for a publishable key.
    pub scopes: Json,
    pub created_at: DateTimeUtc,
    pub last_used_at: Option<DateTimeUtc>,
    /// When a rotated key stops working.
    pub expires_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    Secret,
    Publishable,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "key";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
