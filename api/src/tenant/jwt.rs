//! JSON Web Tokens (RFC 7519), read strictly: what is not exactly as it should be is no token.
//!
//! Nothing here is believed before [`Jwt::is_signed_by`] says so. Of the header only `alg`, `kid`, `typ` and `crit` are looked
//! at: a key, or the place of one, that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) is never used.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::key::Key;

/// Longer tokens are refused unread.
pub(super) const JWT_BYTES_MAX: usize = 8 * 1024;

/// How far two machines' clocks may differ, in seconds.
const LEEWAY_S: i64 = 60;

/// What a key's id may be long: it is a name to compare, and nothing else is done with it.
const KID_BYTES_MAX: usize = 256;

/// The algorithms there are, by their names in RFC 7518 and 8037. `none` is not one.
pub(super) const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of this name, letter for letter.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    let known = ALGORITHMS.iter().find(|(known, _)| *known == name)?;
    Some(known.1)
}

/// A token that is well formed; not yet believed.
#[derive(Clone, Debug)]
pub(super) struct Jwt<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// An object.
    pub(super) claims: Value,
    message: &'a str,
    signature: &'a str,
}

impl<'a> Jwt<'a> {
    /// Reads a token in JWS's compact form; `None` for everything else.
    pub(super) fn read(token: &'a str) -> Option<Self> {
        if token.len() > JWT_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (head, body) = message.split_once('.')?;
        // The alphabet has no dot, so that a fourth part is refused here; one text has one encoding.
        if BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?.is_empty() {
            return None;
        }
        let head = object(head)?;
        let is_jwt = match head.get("typ") {
            None => true,
            Some(Value::String(kind)) => is_access_token(kind),
            Some(_) => false,
        };
        // What is critical must be understood, and nothing is.
        if !is_jwt || head.contains_key("crit") {
            return None;
        }
        let kid = match head.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
            Some(_) => return None,
        };
        Some(Self {
            algorithm: algorithm(head.get("alg")?.as_str()?)?,
            kid,
            claims: Value::Object(object(body)?),
            message,
            signature,
        })
    }

    /// A claim that is a text.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// Whom the token is for: one text, or several.
    pub(super) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        }
    }

    /// When the token ends, if its times fit `now`: it must say when it ends, and may say from when it holds.
    pub(super) fn ends_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let now = now.timestamp();
        let soonest = now.saturating_add(LEEWAY_S);
        for claim in ["nbf", "iat"] {
            if let Some(from) = self.claims.get(claim)
                && seconds(from)? > soonest
            {
                return None;
            }
        }
        let end = seconds(self.claims.get("exp")?)?;
        if end.saturating_add(LEEWAY_S) <= now {
            return None;
        }
        DateTime::from_timestamp(end, 0)
    }

    /// Whether `key` made the signature. A key that does not fit the algorithm did not.
    pub(super) fn is_signed_by(&self, key: &Key) -> bool {
        key.suits(self.algorithm)
            && jsonwebtoken::crypto::verify(
                self.signature,
                self.message.as_bytes(),
                key.decoding(),
                self.algorithm,
            )
            .unwrap_or(false)
    }
}

/// Whether `typ` names a token of access: identity providers write it in several ways.
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    ["jwt", "at+jwt"].contains(&kind)
}

/// A `NumericDate`, in whole seconds.
fn seconds(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    let broken = value.as_f64()?.floor();
    // Beyond it floats do not count in ones, and no calendar goes.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked and the number whole"
    )]
    (broken.abs() < 1e15).then_some(broken as i64)
}

/// A part of a token: an object in JSON of which no member is said twice, and nothing behind it.
fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    match serde_json::from_slice::<Once>(&bytes).ok()?.0 {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// JSON in which every object says each of its members once: readers that disagree about which one counts are a hole.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = vec![];
        while let Some(Once(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(read.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some((name, Once(value))) = members.next_entry::<String, Once>()? {
            if read.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is said twice"));
            }
        }
        Ok(read.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn token(head: &str, claims: &str) -> String {
        format!("{}.{}.{}", part(head), part(claims), part("signature"))
    }

    const HEAD: &str = r#"{"alg":"RS256","typ":"JWT","kid":"k"}"#;

    #[test]
    fn a_token_is_three_parts_of_json_and_a_signature() {
        let good = token(
            HEAD,
            r#"{"iss":"i","aud":["a",1,"b"],"n":{"x":[1.5,null,true]}}"#,
        );
        let read = Jwt::read(&good).unwrap();
        assert_eq!(
            (read.algorithm, read.kid.as_deref()),
            (Algorithm::RS256, Some("k"))
        );
        assert_eq!(read.text("iss"), Some("i"));
        assert_eq!(read.audiences(), ["a", "b"]);
        assert_eq!(read.claims["n"], json!({"x": [1.5, null, true]}));
        for bad in [
            String::new(),
            "a.b".to_owned(),
            "..".to_owned(),
            format!("{good}.x"),
            format!("{good}="),
            format!("{good} "),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{}.{}.", part(HEAD), part("{}")),
            token(HEAD, r#"{"iss":"i"} "x""#),
            token(HEAD, r#"{"iss":"i"}{}"#),
            token(HEAD, r#"["iss"]"#),
            token(HEAD, "nonsense"),
            token(&format!("{HEAD} 1"), "{}"),
            token(HEAD, r#"{"a":"#),
            token(
                HEAD,
                &format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200)),
            ),
        ] {
            assert!(Jwt::read(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn members_that_are_said_twice_make_no_token_however_deep() {
        for (head, claims) in [
            (r#"{"alg":"none","alg":"RS256"}"#, "{}"),
            (HEAD, r#"{"sub":"a","sub":"b"}"#),
            (HEAD, r#"{"sub":"a","\u0073ub":"b"}"#),
            (HEAD, r#"{"a":[{"b":{"c":1,"c":1}}]}"#),
        ] {
            assert!(Jwt::read(&token(head, claims)).is_none(), "{head} {claims}");
        }
    }

    #[test]
    fn a_header_names_a_known_algorithm_a_type_that_fits_and_nothing_critical() {
        for head in [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
            r#"{"alg":"HS512","typ":"application/JWT","jku":"https://evil.example","jwk":{}}"#,
        ] {
            assert!(Jwt::read(&token(head, "{}")).is_some(), "{head}");
        }
        for head in [
            "{}",
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"NONE"}"#,
            r#"{"alg":"nOnE"}"#,
            r#"{"alg":""}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":"RS256 "}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":null}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","typ":"JWE"}"#,
            r#"{"alg":"RS256","typ":1}"#,
            r#"{"alg":"RS256","kid":1}"#,
        ] {
            assert!(Jwt::read(&token(head, "{}")).is_none(), "{head}");
        }
        let long = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(257));
        assert!(Jwt::read(&token(&long, "{}")).is_none());
    }

    #[test]
    fn a_token_is_at_most_8_kib() {
        let filled = |bytes: usize| {
            let empty = token(HEAD, r#"{"a":""}"#).len();
            // Three bytes become four letters.
            let claims = format!(r#"{{"a":"{}"}}"#, "x".repeat((bytes - empty) / 4 * 3));
            token(HEAD, &claims)
        };
        assert!(Jwt::read(&filled(8 * 1024)).is_some());
        assert!(Jwt::read(&filled(8 * 1024 + 8)).is_none());
        assert!(Jwt::read(&filled(16 * 1024)).is_none());
    }

    #[test]
    fn times_are_numbers_that_fit_within_a_minute() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let ends = |claims: Value| {
            let token = token(HEAD, &claims.to_string());
            Jwt::read(&token)
                .unwrap()
                .ends_at(now)
                .map(|at| at.timestamp())
        };
        assert_eq!(ends(json!({"exp": 1_000_100})), Some(1_000_100));
        assert_eq!(ends(json!({"exp": 1_000_100.9})), Some(1_000_100));
        assert_eq!(
            ends(json!({"exp": 999_941, "nbf": 1_000_060, "iat": 1_000_060})),
            Some(999_941)
        );
        for refused in [
            json!({}),
            json!({"exp": null}),
            json!({"exp": "1000100"}),
            json!({"exp": true}),
            json!({"exp": 1e300}),
            json!({"exp": i64::MAX}),
            json!({"exp": 999_940}),
            json!({"exp": -1}),
            json!({"exp": 1_000_100, "nbf": 1_000_061}),
            json!({"exp": 1_000_100, "iat": 1_000_061}),
            json!({"exp": 1_000_100, "nbf": "0"}),
            json!({"exp": 1_000_100, "iat": null}),
        ] {
            assert_eq!(ends(refused.clone()), None, "{refused}");
        }
    }
}
