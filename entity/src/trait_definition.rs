//! What is known of one trait of a tenant's contacts.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trait_definition")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub key: String,
    pub kind: Kind,
    /// Whether it tells who somebody is, and is shown to few.
    pub pii: bool,
    pub description: Option<String>,
    pub policy: Policy,
    /// A list of sources, the most trusted first.
    pub sources: Json,
    /// When it was last said, to the day.
    pub last_seen_at: DateTimeUtc,
    /// When its winners are to be chosen anew, or are gone on with; absent once that is done.
    pub settle_at: Option<DateTimeUtc>,
    /// The contact up to which that was done.
    pub settled_to: Option<Id<crate::contact::Entity>>,
    pub created_at: DateTimeUtc,
}

/// What its values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    String,
    Number,
    Boolean,
    /// A text that names a day or an instant.
    Date,
    List,
    Object,
}

/// Which of several values wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Policy {
    MostRecent,
    /// The most trusted source's; of the same trust, the latest.
    SourcePriority,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "trait_definition";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
