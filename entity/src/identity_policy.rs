//! What a tenant asks of evidence before it joins people.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_policy")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// Limits by kind, where they are not the usual ones.
    pub limits: Json,
    /// Signs user ids for browsers; encrypted.
    pub proof_secret: Option<String>,
    /// Whether a browser must prove the user id that it names.
    pub proof_required: bool,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "identity_policy";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
