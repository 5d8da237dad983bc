//! What an issuer may be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use entity::issuer::{self, Kind};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::super::{key, token};
use crate::base::{Actor, Error, ErrorCode, MemberRole, Result, gql::SCOPES};

/// Longest `iss`, `aud`, claim's name, role's value and subject.
const TEXT_CHARS_MAX: usize = 255;

/// Public keys registered at one issuer: the old and the new while they rotate, on a few machines.
const PUBLIC_KEYS_MAX: usize = 10;

const ROLES_MAX: usize = 50;

/// Shorter secrets can be guessed from one token.
const SECRET_BYTES_MIN: usize = 32;
const SECRET_BYTES_MAX: usize = 1_024;

/// A contact's token cannot be revoked singly.
const CONTACT_LIFETIME_MAX: TimeDelta = TimeDelta::hours(24);
const MEMBER_LIFETIME_MAX: TimeDelta = TimeDelta::days(30);

/// Who a token is about: not empty, not too long, and what a database stores.
pub(super) fn subject(text: &str) -> Option<&str> {
    let fits = !text.trim().is_empty()
        && text.chars().count() <= TEXT_CHARS_MAX
        && !text.contains(char::is_control);
    fits.then_some(text)
}

pub(super) fn checked_text(field: &str, text: &str) -> Result<String> {
    let chars = text.chars().count();
    if text.trim() != text || text.contains(char::is_control) {
        return Err(Error::invalid(
            field,
            format!("{field} must not begin or end with a space, nor hold a control character"),
        ));
    }
    if !(1..=TEXT_CHARS_MAX).contains(&chars) {
        return Err(Error::invalid(
            field,
            format!("{field} has 1 to {TEXT_CHARS_MAX} characters, not {chars}"),
        ));
    }
    Ok(text.to_owned())
}

/// The claim `iss` of an issuer; ours is taken.
pub(super) fn checked_iss(iss: &str) -> Result<String> {
    let iss = checked_text("issuer", iss)?;
    if iss == token::ISSUER {
        return Err(Error::invalid(
            "issuer",
            format!("{iss} is the issuer of the tokens that contactTokenCreate makes"),
        ));
    }
    Ok(iss)
}

/// The algorithms in order and once each: at least one, and all of the kind that the keys are.
pub(super) fn checked_algorithms(
    given: &[(&'static str, Algorithm)],
    by_secret: bool,
) -> Result<Value> {
    if given.is_empty() {
        return Err(Error::invalid("algorithms", "name at least one algorithm"));
    }
    if let Some((name, _)) = given
        .iter()
        .find(|(name, _)| name.starts_with("HS") != by_secret)
    {
        return Err(Error::invalid(
            "algorithms",
            format!(
                "{name} does not go with {}",
                if by_secret {
                    "a shared secret"
                } else {
                    "public keys"
                }
            ),
        ));
    }
    let names: BTreeSet<&str> = given.iter().map(|(name, _)| *name).collect();
    Ok(json!(names))
}

pub(super) fn checked_secret(secret: &str) -> Result<&str> {
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Err(Error::invalid(
            "sharedSecret",
            format!("a shared secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"),
        ));
    }
    Ok(secret)
}

/// Public keys as JWKs.
pub(super) fn checked_public_keys(texts: &[String]) -> Result<Value> {
    if texts.is_empty() || texts.len() > PUBLIC_KEYS_MAX {
        return Err(Error::invalid(
            "publicKeys",
            format!("give 1 to {PUBLIC_KEYS_MAX} keys, not {}", texts.len()),
        ));
    }
    let keys = texts
        .iter()
        .enumerate()
        .map(|(place, text)| {
            key::registered(text).map_err(|why| Error::invalid(format!("publicKeys.{place}"), why))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(json!(keys))
}

/// Which of the claim's values stand for which role: of a member's issuer, and of no other.
pub(super) fn checked_roles(
    kind: Kind,
    claim: Option<&str>,
    roles: &[(String, MemberRole)],
) -> Result<(Option<String>, Value)> {
    if kind == Kind::Contact {
        if claim.is_some() || !roles.is_empty() {
            return Err(Error::invalid("roles", "contacts have no roles"));
        }
        return Ok((None, json!({})));
    }
    let claim = claim
        .ok_or_else(|| Error::invalid("roleClaim", "say in which claim a member's role is"))?;
    let claim = checked_text("roleClaim", claim)?;
    if roles.is_empty() || roles.len() > ROLES_MAX {
        return Err(Error::invalid(
            "roles",
            format!("give 1 to {ROLES_MAX} roles, not {}", roles.len()),
        ));
    }
    let mut known = BTreeMap::new();
    for (place, (value, role)) in roles.iter().enumerate() {
        let field = format!("roles.{place}.value");
        if known.insert(checked_text(&field, value)?, *role).is_some() {
            return Err(Error::invalid(field, format!("{value:?} is named twice")));
        }
    }
    Ok((Some(claim), json!(known)))
}

pub(super) fn roles_of(issuer: &issuer::Model) -> Result<BTreeMap<String, MemberRole>> {
    Ok(serde_json::from_value(issuer.roles.clone())?)
}

pub(super) fn checked_lifetime(kind: Kind, lifetime: TimeDelta) -> Result<i64> {
    let max = match kind {
        Kind::Member => MEMBER_LIFETIME_MAX,
        Kind::Contact => CONTACT_LIFETIME_MAX,
    };
    if lifetime < TimeDelta::seconds(1) || lifetime > max {
        return Err(Error::invalid(
            "lifetimeMax",
            format!("lifetimeMax is between PT1S and PT{}H", max.num_hours()),
        ));
    }
    Ok(lifetime.num_seconds())
}

/// An issuer lets in nobody who may do more than the one who registers it: else `tenant:write` would be every scope.
pub(super) fn may_register(
    actor: &Actor,
    kind: Kind,
    roles: &[(String, MemberRole)],
) -> Result<()> {
    if kind == Kind::Contact {
        return if actor.holds("tokens:write") {
            Ok(())
        } else {
            Err(Error::user(
                ErrorCode::Invalid,
                "kind",
                "who asks does not hold tokens:write, so that it cannot let another sign for contacts",
            ))
        };
    }
    let beyond = roles.iter().enumerate().find_map(|(place, (_, role))| {
        let scope = SCOPES
            .iter()
            .find(|scope| role.holds(scope) && !actor.holds(scope))?;
        Some((place, scope))
    });
    match beyond {
        None => Ok(()),
        Some((place, scope)) => Err(Error::user(
            ErrorCode::Invalid,
            format!("roles.{place}.role"),
            format!("who asks does not hold {scope}, so that it cannot give a role that does"),
        )),
    }
}
