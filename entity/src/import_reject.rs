//! A line of an import that was not taken, and why.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "import_reject")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub job_id: Id<crate::job::Entity>,
    /// From 1; of CSV the heading is the first.
    pub line: i64,
    /// The column that is wrong; absent where the line as a whole is.
    pub field: Option<String>,
    pub reason: String,
    /// The line as it came, cut.
    pub raw: String,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "reject";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
