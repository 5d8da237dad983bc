//! What a contact allows, as it was said: never changed, only said anew. A root's own rows tell how it stands.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "consent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// The root that it was said of, when it was said.
    pub contact_id: Id<crate::contact::Entity>,
    /// The identifier that it was said by.
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    /// What it is about, in the tenant's words: `newsletter`.
    pub topic: String,
    pub channel: Channel,
    pub state: State,
    pub basis: Basis,
    /// How it came: source, address, version of the text.
    pub proof: Json,
    /// The principal who said it.
    pub said_by: String,
    /// Since when it holds.
    pub at: DateTimeUtc,
    pub created_at: DateTimeUtc,
}

/// By which way somebody may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Push,
    Whatsapp,
    Phone,
    Post,
    InApp,
}

/// From the least to the most restrictive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum State {
    Granted,
    /// Asked for, not yet confirmed.
    Pending,
    Denied,
    /// Granted once, and taken back.
    Withdrawn,
}

/// By what right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Basis {
    Consent,
    Contract,
    LegalObligation,
    LegitimateInterest,
    /// Contacts became one, and this is the most restrictive of what they said; or were taken apart, and each kept it.
    Merge,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "consent";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
