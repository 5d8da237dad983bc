//! Proof that a browser speaks for the user that it names: an HMAC of the user id, made by the tenant's backend.

use entity::{TenantId, contact_identifier::Verification, identity_policy};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::{Error, Result, Scope, Secrets};

/// Where a tenant's secret is sealed.
pub(super) fn place(tenant: TenantId) -> String {
    format!("identity_policy/{tenant}")
}

/// How a tenant has user ids proved.
#[derive(Clone, Default)]
pub struct Proofs {
    secret: Option<String>,
    required: bool,
}

impl Proofs {
    pub async fn of(scope: &Scope, secrets: &Secrets) -> Result<Self> {
        let Some(row) = scope.find::<identity_policy::Entity>().one().await? else {
            return Ok(Self::default());
        };
        let secret = row.proof_secret.as_deref();
        Ok(Self {
            secret: secret
                .map(|text| secrets.open(&place(scope.tenant()), text))
                .transpose()?,
            required: row.proof_required,
        })
    }

    /// What a browser's word for a user id is worth. Where it brings a proof, that must hold.
    pub fn weigh(&self, user_id: &str, hash: Option<&str>) -> Result<Verification> {
        match (hash, &self.secret) {
            (None, _) if self.required => Err(Error::invalid(
                "userHash",
                "browsers must prove the user id that they name",
            )),
            (None, _) => Ok(Verification::Claimed),
            (Some(hash), Some(secret)) if proves(secret, user_id, hash) => {
                Ok(Verification::AssertedByBackend)
            }
            (Some(_), _) => Err(Error::invalid("userHash", "it does not prove the user id")),
        }
    }
}

/// Compares in constant time.
fn proves(secret: &str, user_id: &str, hash: &str) -> bool {
    let Some(given) = unhex(hash.trim()) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return false;
    };
    mac.update(user_id.trim().as_bytes());
    mac.verify_slice(&given).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > 128 {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_user_and_its_secret_alone() {
        // printf ann | openssl dgst -sha256 -hmac secret
        let own = "aad4e6199b77de3305e568999486a8be43b4cbc7d6299ff32eacded10d1a126b";
        let other = own.replace('a', "b");
        let proofs = Proofs {
            secret: Some("secret".to_owned()),
            required: true,
        };
        let weighed = |user: &str, hash: Option<&str>| proofs.weigh(user, hash).ok();
        assert_eq!(
            weighed("ann", Some(own)),
            Some(Verification::AssertedByBackend)
        );
        assert_eq!(
            weighed("ann", Some(&own.to_uppercase())),
            Some(Verification::AssertedByBackend)
        );
        for wrong in [None, Some(""), Some("00"), Some("zz"), Some(&other)] {
            assert_eq!(weighed("ann", wrong), None, "{wrong:?}");
        }
        assert_eq!(weighed("bob", Some(own)), None);
        let lax = Proofs::default();
        assert_eq!(lax.weigh("ann", None).ok(), Some(Verification::Claimed));
        assert_eq!(lax.weigh("ann", Some(own)).ok(), None);
    }
}
