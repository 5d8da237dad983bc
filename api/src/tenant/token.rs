//! Contact tokens: JWTs (RFC 7519), HS256, signed with a key of the tenant's own.

use chrono::{DateTime, Utc};
use entity::{ContactId, TenantId, tenant};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use uuid::Uuid;

use super::{jwt::Jwt, key::Key};
use crate::base::{Env, Error, Result, Secrets, hex};

/// Who issues the tokens, and whom they are for.
pub(super) const ISSUER: &str = "growthos";
const AUDIENCE: &str = "growthos";

/// What a contact token says.
#[derive(Debug, Serialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The contact's TypeID.
    sub: String,
    /// The tenant's TypeID.
    tid: String,
    /// Seconds since the epoch, UTC.
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// Which tenant's key the token says it was signed with; believed only once its signature holds.
pub(super) fn tenant(jwt: &Jwt<'_>) -> Option<TenantId> {
    TenantId::parse(jwt.text("tid")?)
}

/// Where a tenant's signing key is sealed.
fn place(tenant: TenantId) -> String {
    format!("tenant.token_key/{}", tenant.uuid())
}

/// A new signing key, sealed: 32 random bytes.
pub(super) fn draw_signing_key(env: &Env, tenant: TenantId) -> Result<String> {
    env.secrets
        .seal(&env.rng, &place(tenant), &hex(&env.rng.bytes::<32>()))
}

/// A token that speaks for `contact` until `expires_at`, which it holds in whole seconds.
pub(super) fn sign(
    env: &Env,
    tenant: &tenant::Model,
    contact: ContactId,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<String> {
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: contact.to_string(),
        tid: tenant.id.to_string(),
        iat: now.timestamp(),
        exp: expires_at.timestamp(),
        jti: env.ids.next::<tenant::Entity>(now).uuid(),
    };
    let key = env.secrets.open(&place(tenant.id), &tenant.token_key)?;
    let signed = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(key.as_bytes()),
    );
    Ok(signed.map_err(anyhow::Error::from)?)
}

/// For which contact a token speaks and until when, if `tenant` signed it and it has not expired.
pub(super) fn verify(
    secrets: &Secrets,
    tenant: &tenant::Model,
    jwt: &Jwt<'_>,
    now: DateTime<Utc>,
) -> Result<(ContactId, DateTime<Utc>)> {
    let key = secrets.open(&place(tenant.id), &tenant.token_key)?;
    let is_ours = jwt.algorithm == Algorithm::HS256
        && jwt.is_signed_by(&Key::secret(&key))
        && jwt.text("iss") == Some(ISSUER)
        && jwt.audiences() == [AUDIENCE]
        && self::tenant(jwt) == Some(tenant.id);
    let contact = jwt.text("sub").and_then(ContactId::parse);
    match (contact, jwt.ends_at(now)) {
        (Some(contact), Some(ends_at)) if is_ours => Ok((contact, ends_at)),
        _ => Err(Error::Unauthenticated),
    }
}
