//! Issuers: who may sign tokens that a tenant believes.
//!
//! A tenant registers the identity provider of its members, and the backend that speaks for its contacts. A token is read with
//! the issuers of the one tenant that it, or its request, names; whatever another tenant registers is never looked at, so
//! that nobody gains or breaks anything by registering another's issuer. See decision 14.

mod commands;
mod graphql;
mod jwks;
mod rules;

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    ContactId, TenantId, contact, contact_identifier,
    issuer::{self, Kind, SubjectIs},
};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};
use serde_json::Value;

use super::{jwt::Jwt, key::Key, queries};
use crate::base::{Actor, Cx, Error, MemberRole, Result, Scope};

pub use commands::{NewIssuer, Source, delete_issuer, save_issuer};
pub use graphql::{Issuer, IssuerMutation};
pub(super) use jwks::Jwks;

/// Whom a token of an issuer speaks for, and until when.
pub(super) struct Vouched {
    pub(super) actor: Actor,
    pub(super) ends_at: DateTime<Utc>,
}

/// Whom a token speaks for at `cx`'s tenant, if an issuer of that tenant signed it.
///
/// # Errors
/// [`Error::Unauthenticated`] whatever is wrong with the token; the log says what, at the level debug. [`Error::Unavailable`] where the
/// issuer's keys could not be read.
pub(super) async fn vouched(cx: &Cx, jwks: &Jwks, jwt: &Jwt<'_>) -> Result<Vouched> {
    let refused = |why: &str| {
        tracing::debug!(tenant = %cx.tenant(), why, "a token was refused");
        Error::Unauthenticated
    };
    let now = cx.now();
    let iss = jwt.text("iss").ok_or_else(|| refused("it has no iss"))?;
    let candidates = cx
        .snapshot(async |db| {
            let tenant = queries::tenant(db).await?;
            if tenant.is_none_or(|tenant| tenant.suspended_at.is_some()) {
                return Ok(vec![]);
            }
            db.find::<issuer::Entity>()
                .filter(issuer::Column::Iss.eq(iss))
                .all()
                .await
        })
        .await?;
    let audiences = jwt.audiences();
    let mut fitting = candidates
        .into_iter()
        .filter(|issuer| audiences.contains(&issuer.audience.as_str()));
    // Of two, which one is meant would be a guess.
    let (Some(issuer), None) = (fitting.next(), fitting.next()) else {
        return Err(refused("no issuer, or several, have its iss and aud"));
    };
    if !allowed(&issuer)?.contains(&jwt.algorithm) {
        return Err(refused("its issuer does not use this algorithm"));
    }
    let ends_at = jwt
        .ends_at(now)
        .ok_or_else(|| refused("its exp, nbf or iat do not fit"))?;
    if ends_at - now > TimeDelta::seconds(issuer.lifetime_max_s) {
        return Err(refused(
            "it ends later than its issuer's lifetimeMax allows",
        ));
    }
    if !is_signed(cx, jwks, &issuer, jwt).await? {
        return Err(refused("its signature is none of its issuer's"));
    }
    let subject = at(&jwt.claims, &issuer.subject_claim)
        .and_then(Value::as_str)
        .and_then(rules::subject)
        .ok_or_else(|| refused("its subject is missing or too long"))?;
    let actor = match issuer.kind {
        Kind::Member => Actor::Member {
            role: role(&issuer, &jwt.claims)?.ok_or_else(|| refused("it holds no known role"))?,
            issuer: issuer.id,
            subject: subject.into(),
        },
        Kind::Contact => Actor::Contact {
            id: contact_of(cx, &issuer, subject)
                .await?
                .ok_or_else(|| refused("there is no such contact"))?,
            expires_at: ends_at,
        },
    };
    Ok(Vouched { actor, ends_at })
}

fn allowed(issuer: &issuer::Model) -> Result<Vec<jsonwebtoken::Algorithm>> {
    let names: Vec<String> = serde_json::from_value(issuer.algorithms.clone())?;
    Ok(names
        .iter()
        .filter_map(|name| super::jwt::algorithm(name))
        .collect())
}

/// Where an issuer's secret is sealed.
fn place(tenant: TenantId, issuer: entity::Id<issuer::Entity>) -> String {
    format!("issuer.secret/{}/{}", tenant.uuid(), issuer.uuid())
}

async fn is_signed(cx: &Cx, jwks: &Jwks, issuer: &issuer::Model, jwt: &Jwt<'_>) -> Result<bool> {
    let kid = jwt.kid.as_deref();
    if let Some(url) = &issuer.jwks_url {
        let keys = jwks.keys(issuer, url, kid).await?;
        return Ok(keys
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .any(|key| jwt.is_signed_by(key)));
    }
    if let Some(sealed) = &issuer.secret {
        let place = place(cx.tenant(), issuer.id);
        let secret = cx.env().secrets.open(&place, sealed)?;
        return Ok(jwt.is_signed_by(&Key::secret(&secret)));
    }
    let registered: Vec<Value> = match &issuer.public_keys {
        Some(keys) => serde_json::from_value(keys.clone())?,
        None => vec![],
    };
    Ok(registered
        .iter()
        .filter_map(|jwk| Key::public(jwk).ok())
        // A key in PEM has no id.
        .filter(|key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
        .any(|key| jwt.is_signed_by(&key)))
}

/// A claim by its name, or by a JSON pointer.
fn at<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') {
        claims.pointer(name)
    } else {
        claims.get(name)
    }
}

/// The most that the values of the claim stand for.
fn role(issuer: &issuer::Model, claims: &Value) -> Result<Option<MemberRole>> {
    let Some(claim) = &issuer.role_claim else {
        return Ok(None);
    };
    let roles = rules::roles_of(issuer)?;
    let held: Vec<&str> = match at(claims, claim) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let held: Vec<MemberRole> = held
        .into_iter()
        .filter_map(|value| roles.get(value).copied())
        .collect();
    Ok(MemberRole::ALL.into_iter().find(|role| held.contains(role)))
}

/// The contact that a subject names; one that was merged stands for the contact it became.
async fn contact_of(cx: &Cx, issuer: &issuer::Model, subject: &str) -> Result<Option<ContactId>> {
    let id = match issuer.subject_is {
        Some(SubjectIs::ContactId) => ContactId::parse(subject),
        _ => cx
            .db()
            .find::<contact_identifier::Entity>()
            .filter(contact_identifier::Column::Kind.eq(contact_identifier::Kind::ExternalId))
            .filter(contact_identifier::Column::Value.eq(subject.trim()))
            .one()
            .await?
            .map(|row| row.contact_id),
    };
    let Some(id) = id else {
        return Ok(None);
    };
    let found = cx.db().get::<contact::Entity>(id).await?;
    Ok(found.map(|row| row.merged_into.unwrap_or(row.id)))
}

/// The tenant's issuers, the oldest first.
pub async fn issuers(db: &Scope) -> Result<Vec<issuer::Model>> {
    db.find::<issuer::Entity>()
        .order_by_asc(issuer::Column::CreatedAt)
        .order_by_asc(issuer::Column::Id)
        .all()
        .await
}
