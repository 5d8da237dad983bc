//! What keys look like, and what they may hold.

use std::collections::BTreeSet;

use entity::api_key::Kind;

use crate::base::{Actor, Error, ErrorCode, Result, Rng, gql::SCOPES, hex};

const NAME_CHARS_MAX: usize = 200;

/// Of a key's characters, those in clear: its kind, and 24 of its 256 random bits.
const SHOWN_CHARS: usize = 13;

/// How the keys of a kind begin: part of the public contract, so that secret scanners know them.
const fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "gos_sk_",
        Kind::Publishable => "gos_pk_",
    }
}

/// A new key: its kind's prefix and 32 random bytes in hex.
pub(super) fn draw_key(kind: Kind, rng: &Rng) -> String {
    format!("{}{}", prefix(kind), hex(&rng.bytes::<32>()))
}

/// The part of a key that is stored in clear, so that people can tell their keys apart.
pub(super) fn shown(key: &str) -> String {
    key.chars().take(SHOWN_CHARS).collect()
}

/// Whether a text has the shape of a key of ours; says nothing of its being valid.
pub(super) fn looks_like_key(text: &str) -> bool {
    [Kind::Secret, Kind::Publishable]
        .into_iter()
        .any(|kind| text.starts_with(prefix(kind)))
}

pub(super) fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Error::invalid("name", "the name is empty"));
    }
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        return Err(Error::invalid(
            "name",
            format!("the name has {chars} characters, at most {NAME_CHARS_MAX} are allowed"),
        ));
    }
    Ok(name.to_owned())
}

/// The scopes in order and once each: those of [`SCOPES`], at least one for a secret key, none for a publishable one.
pub(super) fn checked_scopes(kind: Kind, scopes: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = scopes
        .iter()
        .find(|scope| !SCOPES.contains(&scope.as_str()))
    {
        let unknown: String = unknown.chars().take(NAME_CHARS_MAX).collect();
        return Err(Error::invalid(
            "scopes",
            format!(
                "{unknown:?} is not a scope; the scopes are {}",
                SCOPES.join(", ")
            ),
        ));
    }
    match kind {
        Kind::Secret if scopes.is_empty() => Err(Error::invalid(
            "scopes",
            "a secret key needs at least one scope",
        )),
        Kind::Publishable if !scopes.is_empty() => {
            Err(Error::invalid("scopes", "a publishable key has no scopes"))
        }
        _ => Ok(scopes
            .iter()
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()),
    }
}

/// A key hands on no more than its maker holds: else `tenant:write` would be every scope.
pub(super) fn may_hand_on(actor: &Actor, scopes: &[String]) -> Result<()> {
    match scopes.iter().find(|scope| !actor.holds(scope)) {
        None => Ok(()),
        Some(scope) => Err(Error::user(
            ErrorCode::Invalid,
            "scopes",
            format!("the key that asks does not hold {scope}, so it cannot give it on"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|scope| (*scope).to_owned()).collect()
    }

    #[test]
    fn a_key_is_its_prefix_and_64_hex_digits_of_which_6_are_shown() {
        let key = draw_key(Kind::Secret, &Rng::Random);
        assert_eq!(key.len(), 71);
        assert!(key.starts_with("gos_sk_") && looks_like_key(&key));
        assert_eq!(shown(&key), key[..13]);
        assert_ne!(key, draw_key(Kind::Secret, &Rng::Random));
        assert!(draw_key(Kind::Publishable, &Rng::Random).starts_with("gos_pk_"));
        assert!(!looks_like_key("gos_xk_1") && !looks_like_key(""));
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(checked_name("  acme ").unwrap(), "acme");
        assert!(checked_name(" \t").is_err());
        assert!(checked_name(&"é".repeat(200)).is_ok());
        assert!(checked_name(&"é".repeat(201)).is_err());
    }

    #[test]
    fn scopes_are_known_sorted_and_fit_the_kind() {
        let given = owned(&["nudges:read", "contacts:read", "nudges:read"]);
        assert_eq!(
            checked_scopes(Kind::Secret, &given).unwrap(),
            owned(&["contacts:read", "nudges:read"])
        );
        assert!(checked_scopes(Kind::Secret, &[]).is_err());
        assert!(checked_scopes(Kind::Secret, &owned(&["contacts:delete"])).is_err());
        assert!(checked_scopes(Kind::Publishable, &given).is_err());
        assert_eq!(checked_scopes(Kind::Publishable, &[]).unwrap(), owned(&[]));
    }

    #[test]
    fn nobody_hands_on_a_scope_they_do_not_hold() {
        let actor = |scopes: &[&str]| Actor::SecretKey {
            id: entity::Id::from_uuid(uuid::Uuid::nil()),
            scopes: owned(scopes).into(),
        };
        assert!(may_hand_on(&actor(&["*"]), &owned(&["*"])).is_ok());
        assert!(may_hand_on(&actor(&["tenant:write"]), &owned(&["*"])).is_err());
        assert!(
            may_hand_on(
                &actor(&["tenant:write", "contacts:write"]),
                &owned(&["contacts:read", "tenant:read"])
            )
            .is_ok()
        );
        assert!(
            may_hand_on(
                &actor(&["tenant:write", "contacts:read"]),
                &owned(&["contacts:write"])
            )
            .is_err()
        );
        assert!(may_hand_on(&actor(&["tenant:write"]), &[]).is_ok());
    }
}
