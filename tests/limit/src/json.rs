//! Values as JSON, written straight into the answer.

use std::io::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The UUID in a TypeID.
pub(crate) fn read_type_id(text: &str) -> Option<Uuid> {
    let (_, digits) = text.rsplit_once('_')?;
    let mut bits = 0_u128;
    for digit in digits.bytes() {
        let five = DIGITS.iter().position(|each| *each == digit)?;
        bits = (bits << 5) | u128::try_from(five).ok()?;
    }
    Some(Uuid::from_u128(bits))
}

/// An answer that grows.
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut self.0, text);
        self
    }
    /// A name in capitals, such as an enum's value.
    pub(crate) fn capitals(&mut self, text: &str) -> &mut Self {
        self.0.push(b'"');
        self.0
            .extend(text.bytes().map(|byte| byte.to_ascii_uppercase()));
        self.0.push(b'"');
        self
    }
    pub(crate) fn number(&mut self, number: i64) -> &mut Self {
        let _ = write!(self.0, "{number}");
        self
    }
    pub(crate) fn type_id(&mut self, prefix: &str, id: Uuid) -> &mut Self {
        let bits = id.as_u128();
        self.0.push(b'"');
        self.raw(prefix).raw("_");
        self.0.extend(
            (0..26).rev().map(|digit| {
                DIGITS[usize::try_from((bits >> (digit * 5)) & 31).unwrap_or_default()]
            }),
        );
        self.0.push(b'"');
        self
    }
    pub(crate) fn time(&mut self, at: DateTime<Utc>) -> &mut Self {
        self.0.push(b'"');
        self.raw(&at.to_rfc3339_opts(SecondsFormat::AutoSi, false));
        self.0.push(b'"');
        self
    }
    pub(crate) fn time_or_null(&mut self, at: Option<DateTime<Utc>>) -> &mut Self {
        match at {
            Some(at) => self.time(at),
            None => self.raw("null"),
        }
    }
    pub(crate) fn text_or_null(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }
    /// A list; `write` writes each row.
    pub(crate) fn list<T>(
        &mut self,
        rows: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.0.push(b'[');
        for (at, row) in rows.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            write(self, row);
        }
        self.0.push(b']');
        self
    }
}
