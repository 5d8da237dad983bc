//! A HogQL aggregate that the tenant defined, joined into contacts.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "metric")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub key: String,
    pub name: String,
    pub description: Option<String>,
    /// As it was checked and printed: HogQL over `events`.
    pub expression: String,
    pub window_s: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "metric";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
