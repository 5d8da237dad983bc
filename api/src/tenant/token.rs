//! Contact tokens: JWTs (RFC 7519), HS256, signed with a key of the tenant's own.

use chrono::{DateTime, Utc};
use entity::{ContactId, TenantId, tenant};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::{Env, Error, Result, Secrets, hex};

/// Who issues the tokens, and whom they are for.
pub(super) const ISSUER: &str = "growthos";
const AUDIENCE: &str = "growthos";

/// How far two machines' clocks may differ, in seconds.
const LEEWAY_S: i64 = 60;

/// What a contact token says.
#[derive(Debug, Serialize, Deserialize)]
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

/// What a token says of itself; believed only once its signature holds.
#[derive(Deserialize)]
pub(super) struct Unverified {
    pub(super) iss: Option<String>,
    tid: Option<String>,
}

impl Unverified {
    /// Which tenant's key the token says it was signed with.
    pub(super) fn tenant(&self) -> Option<TenantId> {
        TenantId::parse(self.tid.as_deref()?)
    }
}

/// Reads a token without believing it; `None` when it is no JWT.
pub(super) fn peek(token: &str) -> Option<Unverified> {
    jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
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
    token: &str,
    now: DateTime<Utc>,
) -> Result<(ContactId, DateTime<Utc>)> {
    let key = secrets.open(&place(tenant.id), &tenant.token_key)?;
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    // The library reads the system's clock; expiry is judged below by ours.
    rules.validate_exp = false;
    let claims =
        jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(key.as_bytes()), &rules)
            .map_err(|_| Error::Unauthenticated)?
            .claims;
    let early = claims.iat > now.timestamp().saturating_add(LEEWAY_S);
    let late = claims.exp.saturating_add(LEEWAY_S) <= now.timestamp();
    let contact = ContactId::parse(&claims.sub);
    let expires_at = DateTime::from_timestamp(claims.exp, 0);
    match (contact, expires_at) {
        (Some(contact), Some(expires_at))
            if !early && !late && claims.tid == tenant.id.to_string() =>
        {
            Ok((contact, expires_at))
        }
        _ => Err(Error::Unauthenticated),
    }
}
