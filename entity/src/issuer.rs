//! Who may sign tokens that this tenant believes, for its members or for its contacts.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "issuer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    pub kind: Kind,
    /// The claim `iss`, letter for letter.
    pub iss: String,
    /// What the claim `aud` is or holds.
    pub audience: String,
    /// JSON array of JWS algorithms, such as `RS256`.
    pub algorithms: Json,
    /// Where the keys are, or else the secret, or else the public keys: one of the three.
    pub jwks_url: Option<String>,
    /// Sealed.
    pub secret: Option<String>,
    /// JSON array of JWKs.
    pub public_keys: Option<Json>,
    /// The claim that says who it is.
    pub subject_claim: String,
    /// What that claim holds; of a contact's issuer alone.
    pub subject_is: Option<SubjectIs>,
    /// The claim that holds a member's role: a name, or a JSON pointer.
    pub role_claim: Option<String>,
    /// JSON object of that claim's values → role.
    pub roles: Json,
    /// Tokens that end later than this from now are refused.
    pub lifetime_max_s: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    Member,
    Contact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum SubjectIs {
    ExternalId,
    ContactId,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "issuer";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
