//! One id of one contact; unique in the tenant by kind and value.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_identifier")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub contact_id: Id<crate::contact::Entity>,
    pub kind: Kind,
    /// Normalised: what is compared.
    pub value: String,
    /// As it came: what is shown and sent to.
    pub shown: String,
    pub verification: Verification,
    pub source: String,
    pub first_seen_at: DateTimeUtc,
    pub last_seen_at: DateTimeUtc,
    /// The contact that it stands for by itself: the one to which it was attached first. Absent where it is blocked.
    pub origin_id: Option<Id<crate::contact::Entity>>,
    /// It stands for nobody: it joins nothing and has no contact of its own.
    pub blocked: bool,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    EnumIter,
    DeriveActiveEnum,
    Serialize,
    Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ExternalId,
    Email,
    Phone,
    AnonymousId,
    DistinctId,
}

/// Who says so; in rising order of trust.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    EnumIter,
    DeriveActiveEnum,
    Serialize,
    Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// A browser said so.
    Claimed,
    /// The tenant's backend said so, with a secret key.
    AssertedByBackend,
    /// The person proved it.
    Confirmed,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "identifier";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
