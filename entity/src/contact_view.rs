//! A saved list of contacts: which, in what order, and what is shown of each.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_view")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub key: String,
    pub name: String,
    pub description: Option<String>,
    /// What it shows: its filters, order and columns, in the shape of their inputs.
    pub definition: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "view";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
