//! How one contact is related to another.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "relationship")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub contact_a_id: Id<crate::contact::Entity>,
    /// The identifier by which the first was named.
    pub identifier_a_id: Option<Id<crate::contact_identifier::Entity>>,
    pub contact_b_id: Id<crate::contact::Entity>,
    /// The identifier by which the second was named.
    pub identifier_b_id: Option<Id<crate::contact_identifier::Entity>>,
    pub kind: Kind,
    pub valid_from: DateTimeUtc,
    /// When it ended.
    pub valid_to: Option<DateTimeUtc>,
    pub source: String,
    pub evidence: Option<Json>,
    /// Names kind and contacts while it holds: there is one at a time.
    pub open: Option<Uuid>,
    pub created_at: DateTimeUtc,
}

/// What the first is to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    /// The first brought the second.
    Referred,
    /// The first invited the second.
    Invited,
    /// Both ways.
    SameAccount,
    /// Both ways.
    Household,
    /// The second is the manager of the first.
    ReportsTo,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "relationship";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
