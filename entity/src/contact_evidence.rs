//! Why two identifiers are held to be one person. Append-only.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_evidence")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub kind: Kind,
    /// What the claim that made it was worth.
    pub level: crate::contact_identifier::Verification,
    pub standing: Standing,
    pub a_id: Id<crate::contact_identifier::Entity>,
    pub b_id: Id<crate::contact_identifier::Entity>,
    /// Why it joined nothing; absent where it did.
    pub dormant_reason: Option<String>,
    pub event_id: Option<Id<crate::event::Entity>>,
    pub source: String,
    pub observed_at: DateTimeUtc,
    pub created_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    /// One event named both.
    SameEvent,
    /// An identify call, or PostHog's `$identify`.
    Identify,
    /// An alias call, or PostHog's `$create_alias`.
    Alias,
    /// Somebody of the tenant said so.
    Manual,
}

/// Whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Standing {
    Active,
    /// It held once.
    Retired,
    /// The tenant excludes this edge, though not its ends.
    Excluded,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "evidence";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
