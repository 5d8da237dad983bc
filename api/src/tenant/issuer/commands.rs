use chrono::TimeDelta;
use entity::{
    Id,
    issuer::{self, Kind, SubjectIs},
};
use jsonwebtoken::Algorithm;
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::{place, rules};
use crate::base::{Audited, Cx, Error, ErrorCode, MemberRole, Outbound, Result, Tx};

/// Issuers of one tenant.
const ISSUERS_MAX: u64 = 20;

/// What checks an issuer's signatures.
#[derive(Clone)]
pub enum Source {
    /// Where it publishes its keys.
    JwksUrl(String),
    SharedSecret(String),
    /// In PEM, or as JWKs.
    PublicKeys(Vec<String>),
}

/// An issuer about to be made or changed, not yet checked.
#[derive(Clone)]
pub struct NewIssuer {
    /// Absent: a new one.
    pub id: Option<Id<issuer::Entity>>,
    pub kind: Kind,
    pub iss: String,
    /// Absent: the tenant's id.
    pub audience: Option<String>,
    pub algorithms: Vec<(&'static str, Algorithm)>,
    /// Absent: stays as it is.
    pub source: Option<Source>,
    pub subject_claim: String,
    pub subject_is: Option<SubjectIs>,
    pub role_claim: Option<String>,
    pub roles: Vec<(String, MemberRole)>,
    pub lifetime_max: TimeDelta,
}

/// The three columns of which one is filled.
#[derive(Clone, Default, PartialEq)]
struct Columns {
    jwks_url: Option<String>,
    secret: Option<String>,
    public_keys: Option<Value>,
}

/// Makes an issuer, or changes the one with its id. `cx`'s actor gives no role that holds more than it does itself.
pub async fn save_issuer(cx: &Cx, outbound: &Outbound, new: NewIssuer) -> Result<issuer::Model> {
    rules::may_register(cx.actor(), new.kind, &new.roles)?;
    if let Some(Source::JwksUrl(url)) = &new.source {
        outbound.base_url("jwksUrl", url)?;
    }
    cx.write(async |tx| store(tx, cx, &new).await).await
}

async fn store(tx: &Tx, cx: &Cx, new: &NewIssuer) -> Result<issuer::Model> {
    let before = match new.id {
        Some(id) => Some(find(tx, id).await?),
        None => None,
    };
    let id = before.as_ref().map_or_else(|| tx.new_id(), |row| row.id);
    let columns = columns(tx, cx, new, id, before.as_ref())?;
    let iss = rules::checked_iss(&new.iss)?;
    let audience = match &new.audience {
        Some(audience) => rules::checked_text("audience", audience)?,
        None => tx.tenant().to_string(),
    };
    let algorithms = rules::checked_algorithms(&new.algorithms, columns.secret.is_some())?;
    let (role_claim, roles) =
        rules::checked_roles(new.kind, new.role_claim.as_deref(), &new.roles)?;
    let subject_is = match (new.kind, new.subject_is) {
        (Kind::Member, None) => None,
        (Kind::Member, Some(_)) => {
            return Err(Error::invalid("subjectIs", "a member is no contact"));
        }
        (Kind::Contact, given) => Some(given.unwrap_or(SubjectIs::ExternalId)),
    };
    let now = tx.now();
    let changes = json!({
        "kind": kind_name(new.kind),
        "issuer": iss,
        "audience": audience,
        "algorithms": algorithms,
        "jwksUrl": columns.jwks_url,
        "sharedSecret": columns.secret.as_ref().map(|_| "set"),
        "publicKeys": columns.public_keys,
        "keysChanged": new.source.is_some(),
        "roleClaim": role_claim,
        "roles": roles,
    });
    let row = issuer::ActiveModel {
        id: Set(id),
        tenant_id: Set(tx.tenant()),
        kind: Set(new.kind),
        iss: Set(iss),
        audience: Set(audience),
        algorithms: Set(algorithms),
        jwks_url: Set(columns.jwks_url),
        secret: Set(columns.secret),
        public_keys: Set(columns.public_keys),
        subject_claim: Set(rules::checked_text("subjectClaim", &new.subject_claim)?),
        subject_is: Set(subject_is),
        role_claim: Set(role_claim),
        roles: Set(roles),
        lifetime_max_s: Set(rules::checked_lifetime(new.kind, new.lifetime_max)?),
        created_at: Set(before.as_ref().map_or(now, |row| row.created_at)),
        updated_at: Set(now),
    };
    let stored = if before.is_some() {
        tx.update(row).await
    } else if tx.find::<issuer::Entity>().count().await? >= ISSUERS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "issuer",
            format!("a tenant has at most {ISSUERS_MAX} issuers"),
        ));
    } else {
        tx.insert(row).await
    };
    let stored = stored.map_err(|error| {
        error.taken("audience", "there is an issuer with this iss and audience")
    })?;
    tx.audit(Audited::new("issuerSave", &stored.id, changes))
        .await?;
    Ok(stored)
}

/// What is to check the signatures: as given, or as it was.
fn columns(
    tx: &Tx,
    cx: &Cx,
    new: &NewIssuer,
    id: Id<issuer::Entity>,
    before: Option<&issuer::Model>,
) -> Result<Columns> {
    let empty = Columns::default();
    match (&new.source, before) {
        (Some(Source::JwksUrl(url)), _) => Ok(Columns {
            jwks_url: Some(url.trim().to_owned()),
            ..empty
        }),
        (Some(Source::SharedSecret(secret)), _) => {
            let secret = rules::checked_secret(secret)?;
            let sealed = cx
                .env()
                .secrets
                .seal(tx.rng(), &place(tx.tenant(), id), secret)?;
            Ok(Columns {
                secret: Some(sealed),
                ..empty
            })
        }
        (Some(Source::PublicKeys(keys)), _) => Ok(Columns {
            public_keys: Some(rules::checked_public_keys(keys)?),
            ..empty
        }),
        (None, Some(before)) => Ok(Columns {
            jwks_url: before.jwks_url.clone(),
            secret: before.secret.clone(),
            public_keys: before.public_keys.clone(),
        }),
        (None, None) => Err(Error::invalid(
            "jwksUrl",
            "give one of jwksUrl, sharedSecret and publicKeys",
        )),
    }
}

pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Member => "MEMBER",
        Kind::Contact => "CONTACT",
    }
}

async fn find(tx: &Tx, id: Id<issuer::Entity>) -> Result<issuer::Model> {
    tx.find::<issuer::Entity>()
        .filter(issuer::Column::Id.eq(id))
        .locked()
        .one()
        .await?
        .ok_or_else(no_such_issuer)
}

pub(super) fn no_such_issuer() -> Error {
    Error::user(ErrorCode::NotFound, "id", "there is no such issuer")
}

/// Forgets an issuer: from now on its tokens are refused.
pub async fn delete_issuer(tx: &Tx, id: Id<issuer::Entity>) -> Result<Id<issuer::Entity>> {
    let row = find(tx, id).await?;
    tx.delete(row.id).await?;
    tx.revokes().await?;
    let changes = json!({"kind": kind_name(row.kind), "issuer": row.iss, "audience": row.audience});
    tx.audit(Audited::new("issuerDelete", &row.id, changes))
        .await?;
    Ok(row.id)
}
