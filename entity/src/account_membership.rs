//! That a contact acts for an account: a row for each identifier that it did so by. The id names account and identifier.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "account_membership")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub account_id: Id<crate::account::Entity>,
    pub contact_id: Id<crate::contact::Entity>,
    /// The identifier that it came by.
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    pub created_at: DateTimeUtc,
    /// When it was last seen, to the hour.
    pub last_seen_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "membership";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
