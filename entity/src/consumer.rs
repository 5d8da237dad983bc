//! How far a consumer has read one partition of the log, and who reads it now. No tenant owns it.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "consumer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub partition: i32,
    pub xid: i64,
    pub seq: i64,
    /// The process that reads it.
    pub leased_by: Option<Uuid>,
    pub leased_until: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
