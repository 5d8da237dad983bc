//! A piece of what a job reads or makes: several processes serve, so bytes are kept where all of them get at them.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_chunk")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub job_id: Id<crate::job::Entity>,
    pub side: Side,
    /// Where it begins among the bytes of its side.
    pub position: i64,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Side {
    /// What was sent.
    Input,
    /// What is downloaded.
    Output,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "chunk";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
