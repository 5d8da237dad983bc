//! Two identifiers that are not one person, whatever the evidence says.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_cannot_link")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub a_id: Id<crate::contact_identifier::Entity>,
    pub b_id: Id<crate::contact_identifier::Entity>,
    /// The principal who said so.
    pub said_by: String,
    pub reason: Option<String>,
    /// The proposal that it waits for, or that was refused.
    pub proposal_id: Option<Id<crate::merge_proposal::Entity>>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "cannot_link";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
