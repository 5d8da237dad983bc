//! A person who was erased: who asked for it, and what each store answered. Names nobody once it is done.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "erasure")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The contact that there was.
    pub contact_id: Id<crate::contact::Entity>,
    /// The contacts that it consisted of.
    pub members: Json,
    pub job_id: Option<Id<crate::job::Entity>>,
    pub reason: Option<String>,
    pub requested_by: String,
    pub requested_at: DateTimeUtc,
    /// The ids and addresses that are still needed for it, sealed; absent when they are not any more.
    pub sealed: Option<String>,
    /// A list of what each store answered.
    pub receipts: Json,
    pub finished_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "erasure";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
