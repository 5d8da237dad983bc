//! What was said of one trait, by whom and when: a row for each value that came by one identifier from one source. The winner is in
//! `contact_trait`.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trait_observation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The contact that it was said of, when it was said.
    pub contact_id: Id<crate::contact::Entity>,
    /// The identifier that it came by.
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    pub key: String,
    /// Null where the trait was unset.
    pub value: Json,
    /// As in `contact_trait`.
    pub rank: i32,
    pub source: String,
    pub first_observed_at: DateTimeUtc,
    pub observed_at: DateTimeUtc,
    /// The call that said it at `observed_at`, or at `first_observed_at` where the rank is 0.
    pub said_by: Uuid,
    /// Names contact, identifier, key, value, rank and source: what is said again is the same row.
    pub same: Uuid,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "observation";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
