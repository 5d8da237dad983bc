//! The winning value of one trait of one contact.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_trait")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub contact_id: Id<crate::contact::Entity>,
    pub key: String,
    /// JSON; null where the trait was unset.
    pub value: Json,
    /// The value as text, cut to 256 characters, for filters; absent for lists, objects and unset traits.
    pub text: Option<String>,
    /// The value as a number, for filters.
    #[sea_orm(column_type = "Double", nullable)]
    pub number: Option<f64>,
    /// 1: set or unset, the latest wins. 0: set once, the earliest wins and yields to any 1.
    pub rank: i32,
    pub source: String,
    pub observed_at: DateTimeUtc,
    /// Which call said it; of two at the same instant the greater one is the later.
    pub said_by: Uuid,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "trait";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
