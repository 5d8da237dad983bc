//! A customer of the one who hosts: all other rows belong to one.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub name: String,
    /// Signs this tenant's contact tokens; sealed with the process's secret key.
    pub token_key: String,
    pub created_at: DateTimeUtc,
    pub suspended_at: Option<DateTimeUtc>,
    /// How long events are kept, from their receipt; absent: for ever.
    pub event_retention_s: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "tenant";
}

/// A tenant's own row is its own: so it is read and written through the same fence as its other rows.
impl TenantOwned for Entity {
    const TENANT: Column = Column::Id;
}
