//! Keys that check signatures, and which algorithms each may be used with.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

use super::jwt::algorithm;

/// RSA below is breakable, above it costs too much to check.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 2048 / 8..=4096 / 8;

/// Of a set's keys, those that are looked at.
const KEYS_MAX: usize = 32;

/// What kind of key it is; decides which algorithms it may be used with, whatever a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A key that checks signatures.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    family: Family,
    /// The only algorithm that the key is for, where it says so.
    only: Option<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// A secret that both sides know.
    pub(super) fn secret(secret: &str) -> Self {
        Self {
            kid: None,
            family: Family::Secret,
            only: None,
            decoding: DecodingKey::from_secret(secret.as_bytes()),
        }
    }

    /// Whether the key may be used with `algorithm`: never a public key as a secret, nor the other way round.
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{
            ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512,
        };
        let fits = match self.family {
            Family::Secret => matches!(algorithm, HS256 | HS384 | HS512),
            Family::Rsa => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Family::P256 => algorithm == ES256,
            Family::P384 => algorithm == ES384,
            Family::Ed25519 => algorithm == EdDSA,
        };
        fits && self.only.is_none_or(|only| only == algorithm)
    }

    pub(super) const fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// Reads a public key from a JWK (RFC 7517); says what is wrong with it. The library takes keys of any length, and panics
    /// at some: so the lengths are looked at here.
    pub(super) fn public(jwk: &Value) -> Result<Self, &'static str> {
        if jwk.get("d").is_some() || jwk.get("k").is_some() {
            return Err(
                "this is a private key; give the public one, and replace this pair: it has been told",
            );
        }
        // An algorithm that is unknown here says that the key is for something else.
        let only = match jwk.get("alg") {
            None | Some(Value::Null) => None,
            Some(named) => Some(
                named
                    .as_str()
                    .and_then(algorithm)
                    .ok_or("its alg is not supported")?,
            ),
        };
        let jwk: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| "it is no JWK")?;
        let common = &jwk.common;
        let signs = common
            .public_key_use
            .as_ref()
            .is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !signs {
            return Err("it is not for signatures");
        }
        let bytes = |text: &str| {
            BASE64_URL_SAFE_NO_PAD
                .decode(text)
                .map_or(0, |bytes| bytes.len())
        };
        let family = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if !RSA_BYTES.contains(&bytes(&rsa.n)) => {
                return Err("an RSA key has 2048 to 4096 bits");
            }
            AlgorithmParameters::RSA(rsa) if (1..=4).contains(&bytes(&rsa.e)) => Family::Rsa,
            AlgorithmParameters::EllipticCurve(ec) => {
                let (family, length) = match ec.curve {
                    EllipticCurve::P256 => (Family::P256, 32),
                    EllipticCurve::P384 => (Family::P384, 48),
                    _ => return Err("the curves are P-256, P-384 and Ed25519"),
                };
                if bytes(&ec.x) != length || bytes(&ec.y) != length {
                    return Err("its coordinates do not fit its curve");
                }
                family
            }
            AlgorithmParameters::OctetKeyPair(pair) => {
                if pair.curve != EllipticCurve::Ed25519 || bytes(&pair.x) != 32 {
                    return Err("the curves are P-256, P-384 and Ed25519");
                }
                Family::Ed25519
            }
            _ => return Err("it is no RSA or elliptic curve key"),
        };
        Ok(Self {
            kid: common.key_id.clone(),
            family,
            only,
            decoding: DecodingKey::from_jwk(&jwk).map_err(|_| "it is no JWK")?,
        })
    }
}

/// Reads a JWK Set: those of its keys that can check signatures, for a set may hold others. `None` where it is no set.
pub(super) fn set(text: &[u8]) -> Option<Vec<Key>> {
    let set: Value = serde_json::from_slice(text).ok()?;
    let keys = set.get("keys")?.as_array()?;
    Some(
        keys.iter()
            .take(KEYS_MAX)
            .filter_map(|jwk| Key::public(jwk).ok())
            .collect(),
    )
}

/// Reads a public key as people have it, in PEM (`BEGIN PUBLIC KEY`) or as a JWK, and gives it as a JWK.
pub(super) fn registered(text: &str) -> Result<Value, &'static str> {
    let text = text.trim();
    let jwk = if text.starts_with("-----") {
        of_pem(text)?
    } else {
        serde_json::from_str(text).map_err(|_| "it is neither PEM nor a JWK")?
    };
    Key::public(&jwk)?;
    Ok(jwk)
}

fn of_pem(text: &str) -> Result<Value, &'static str> {
    if text.contains("PRIVATE") {
        return Err(
            "this is a private key; give the public one, and replace this pair: it has been told",
        );
    }
    let bytes = text.as_bytes();
    let key = DecodingKey::from_ec_pem(bytes)
        .or_else(|_| DecodingKey::from_ed_pem(bytes))
        .or_else(|_| DecodingKey::from_rsa_pem(bytes))
        .map_err(|_| "it is no public key of RSA, P-256, P-384 or Ed25519 in PEM")?;
    let jwk = Jwk::from_decoding_key(&key, None).map_err(|_| "it is no public key in PEM")?;
    serde_json::to_value(jwk).map_err(|_| "it is no public key in PEM")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letters(bytes: usize) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(vec![0x81; bytes])
    }

    #[test]
    fn keys_of_a_wrong_length_or_for_something_else_are_refused() {
        let rsa = |bytes| json!({"kty": "RSA", "n": letters(bytes), "e": "AQAB"});
        for good in [
            rsa(256),
            rsa(512),
            json!({"kty": "EC", "crv": "P-256", "x": letters(32), "y": letters(32), "use": "sig"}),
            json!({"kty": "EC", "crv": "P-384", "x": letters(48), "y": letters(48), "alg": "ES384"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": letters(32), "key_ops": ["verify"]}),
        ] {
            assert!(Key::public(&good).is_ok(), "{good}");
        }
        for bad in [
            rsa(128),
            rsa(1024),
            json!({"kty": "RSA", "n": letters(256), "e": ""}),
            json!({"kty": "RSA", "n": letters(256), "e": "AQAB", "d": "x"}),
            json!({"kty": "RSA", "n": letters(256), "e": "AQAB", "use": "enc"}),
            json!({"kty": "RSA", "n": letters(256), "e": "AQAB", "alg": "RSA-OAEP"}),
            json!({"kty": "RSA", "n": letters(256), "e": "AQAB", "alg": "none"}),
            json!({"kty": "EC", "crv": "P-256", "x": letters(31), "y": letters(32)}),
            json!({"kty": "EC", "crv": "P-521", "x": letters(66), "y": letters(66)}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": letters(31)}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": ""}),
            json!({"kty": "oct", "k": letters(32)}),
            json!({}),
            json!(1),
        ] {
            assert!(Key::public(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_used_with_the_algorithms_of_its_kind_alone() {
        let suited = |key: &Key| -> Vec<&str> {
            super::super::jwt::ALGORITHMS
                .iter()
                .filter(|(_, algorithm)| key.suits(*algorithm))
                .map(|(name, _)| *name)
                .collect()
        };
        assert_eq!(suited(&Key::secret("s")), ["HS256", "HS384", "HS512"]);
        let rsa = json!({"kty": "RSA", "n": letters(256), "e": "AQAB"});
        assert_eq!(
            suited(&Key::public(&rsa).unwrap()),
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        );
        let only = json!({"kty": "RSA", "n": letters(256), "e": "AQAB", "alg": "PS256"});
        assert_eq!(suited(&Key::public(&only).unwrap()), ["PS256"]);
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": letters(32)});
        assert_eq!(suited(&Key::public(&ed).unwrap()), ["EdDSA"]);
    }

    #[test]
    fn of_a_set_the_keys_that_fit_are_taken_and_not_too_many() {
        let one = json!({"kty": "OKP", "crv": "Ed25519", "x": letters(32), "kid": "a"});
        let text = json!({"keys": [1, {"kty": "oct", "k": "x"}, one.clone()]}).to_string();
        let keys = set(text.as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].kid.as_deref(), Some("a"));
        let many = json!({"keys": vec![one; 100]}).to_string();
        assert_eq!(set(many.as_bytes()).unwrap().len(), 32);
        for none in ["", "[]", "{}", r#"{"keys": {}}"#] {
            assert!(set(none.as_bytes()).is_none(), "{none}");
        }
    }
}
