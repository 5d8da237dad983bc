//! Secrets at rest, and the marks that show a text is ours.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{Result, Rng};

/// Seals with XChaCha20-Poly1305 under a key derived from the configuration's `secret_key`.
/// A sealed text is bound to its `place` (table, column and tenant), so that one cannot be put in another's.
#[derive(Clone)]
pub struct Secrets {
    cipher: XChaCha20Poly1305,
    mark_key: [u8; 32],
}

/// Nonce length of XChaCha20: random nonces never collide in practice.
const NONCE: usize = 24;

impl Secrets {
    /// `key`: any text; 32 random bytes in base64 are recommended.
    pub fn new(key: &str) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(&derive(key, "growthos seal v1").into()),
            mark_key: derive(key, "growthos mark v1"),
        }
    }
    pub fn seal(&self, rng: &Rng, place: &str, secret: &str) -> Result<String> {
        let nonce: [u8; NONCE] = rng.bytes();
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&nonce.into(), payload)
            .map_err(|_| anyhow::anyhow!("cannot seal a secret for {place}"))?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }
    /// Fails when the key changed, or the text was altered or moved.
    pub fn open(&self, place: &str, sealed: &str) -> Result<String> {
        self.try_open(place, sealed).ok_or_else(|| {
            anyhow::anyhow!("cannot open the secret of {place}: was secret_key changed?").into()
        })
    }
    fn try_open(&self, place: &str, sealed: &str) -> Option<String> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let secret = self.cipher.decrypt(&(*nonce).into(), payload).ok()?;
        String::from_utf8(secret).ok()
    }
    /// A 16-byte mark over `text`: who holds no key cannot make one.
    pub fn mark(&self, text: &[u8]) -> [u8; 16] {
        let mut mark = [0; 16];
        mark.copy_from_slice(&hmac(&self.mark_key, text)[..16]);
        mark
    }
}

fn derive(key: &str, purpose: &str) -> [u8; 32] {
    hmac(key.as_bytes(), purpose.as_bytes())
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// SHA-256 in lower-case hex: how keys are stored and found.
pub fn fingerprint(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_in_its_place_and_under_its_key() {
        let secrets = Secrets::new("k");
        let sealed = secrets.seal(&Rng::Random, "a", "phx_1").unwrap();
        assert!(!sealed.contains("phx_1"));
        assert_eq!(secrets.open("a", &sealed).unwrap(), "phx_1");
        assert!(secrets.open("b", &sealed).is_err());
        assert!(Secrets::new("other").open("a", &sealed).is_err());
        assert!(secrets.open("a", "").is_err());
    }
}
