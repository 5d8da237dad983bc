//! From the bytes of a request to the text of its JSON: gzip, base64, lz-string and form fields, in whatever order they were wrapped.

use std::borrow::Cow;
use std::io::Read;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, Datelike, Utc};
use flate2::read::MultiGzDecoder;

use super::error::WireError;
use super::lz;

/// Bytes of a body on the single-event routes, before and after decompression: PostHog's own limit.
pub const SINGLE_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a body on `/batch`, before and after decompression: PostHog's own limit.
pub const BATCH_BODY_BYTES_MAX: usize = 20 * 1024 * 1024;

/// Wrappings around the JSON. A form holding base64 of gzip is three; more is nobody's client.
const LAYERS_MAX: usize = 4;

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Padding and the last character's spare bits differ between encoders, so neither is checked.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The query parameters that say something about the body.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    data: Option<String>,
    lz: bool,
    /// `_` or `sent_at`: the client's clock when it sent the request.
    pub(super) sent_at: Option<DateTime<Utc>>,
    /// `beacon=1`: the browser is leaving the page and reads no answer.
    pub(super) beacon: bool,
    /// `v`: the shape of the flags response.
    pub(super) version: Option<u32>,
    /// `config=true`: the flags response carries the remote configuration too.
    pub(super) config: bool,
}

impl Query {
    /// Reads a raw query string (without `?`). Unknown and malformed parameters are skipped.
    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "data" if !value.is_empty() => parsed.data = Some(value.into_owned()),
                "compression" => parsed.lz = names_lz(&value),
                "_" | "sent_at" => parsed.sent_at = client_clock(&value).or(parsed.sent_at),
                "beacon" => parsed.beacon = is_true(&value),
                "v" => parsed.version = value.parse().ok(),
                "config" => parsed.config = is_true(&value),
                _ => {}
            }
        }
        parsed
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// gzip and base64 are recognised by their bytes; only lz-string needs to be told from base64 by its name.
fn names_lz(compression: &str) -> bool {
    matches!(compression, "lz64" | "lz-string")
}

/// Milliseconds since the epoch. Old clients sent seconds, or a counter against caches, in the same parameter: a year before 2020
/// is one of those and says nothing about the clock.
fn client_clock(value: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::from_timestamp_millis(value.parse().ok()?)?;
    (2020..=9999).contains(&at.year()).then_some(at)
}

/// Unwraps the payload (the body, or `data=` of the query) until JSON text shows. No layer may unfold to more than `cap` bytes, and
/// unfolding stops there, so a bomb costs no more than an honest body of the largest size.
pub(super) fn decode_text(body: &[u8], query: &Query, cap: usize) -> Result<String, WireError> {
    let mut lz = query.lz;
    let mut payload = match &query.data {
        Some(data) => Cow::Borrowed(data.as_bytes()),
        None => Cow::Borrowed(body),
    };
    for _ in 0..=LAYERS_MAX {
        if payload.len() > cap {
            return Err(over(cap));
        }
        payload = if payload.starts_with(&GZIP_MAGIC) {
            Cow::Owned(inflate(&payload, cap)?)
        } else if let Some(start) = json_start(&payload) {
            return match str::from_utf8(&payload[start..]) {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err(WireError::invalid("the body is not UTF-8")),
            };
        } else if let Some(form) = Form::read(&payload) {
            lz |= form.lz;
            Cow::Owned(form.data)
        } else if lz {
            lz = false;
            Cow::Owned(lz::decompress(&payload, cap)?)
        } else {
            Cow::Owned(decode_base64(&payload)?)
        };
    }
    Err(WireError::invalid(format!(
        "the body is wrapped more than {LAYERS_MAX} times"
    )))
}

pub(super) fn over(cap: usize) -> WireError {
    WireError::too_large(format!("the body is larger than {cap} bytes"))
}

fn inflate(compressed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    let mut inflated = Vec::new();
    // One byte past the cap tells "too large" from "just fits" without inflating the rest.
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    // A gzip may have several members, one behind the other.
    MultiGzDecoder::new(compressed)
        .take(limit)
        .read_to_end(&mut inflated)
        .map_err(|_| WireError::invalid("the body is not valid gzip"))?;
    if inflated.len() > cap {
        return Err(over(cap));
    }
    Ok(inflated)
}

/// Where the JSON text begins, when the payload is JSON: an object or an array, after a byte order mark and white space.
fn json_start(payload: &[u8]) -> Option<usize> {
    let mark = if payload.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let blank = payload[mark..]
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    matches!(payload.get(mark + blank), Some(b'{' | b'[')).then_some(mark)
}

struct Form {
    data: Vec<u8>,
    lz: bool,
}

impl Form {
    /// An urlencoded form with a `data` field. Neither JSON nor base64 can look like one, so the content type is not asked.
    fn read(payload: &[u8]) -> Option<Self> {
        let has_data =
            payload.starts_with(b"data=") || payload.windows(6).any(|part| part == b"&data=");
        if !has_data {
            return None;
        }
        let mut form = Self {
            data: Vec::new(),
            lz: false,
        };
        for (key, value) in form_urlencoded::parse(payload) {
            match &*key {
                "data" => form.data = value.into_owned().into_bytes(),
                "compression" => form.lz = names_lz(&value),
                _ => {}
            }
        }
        Some(form)
    }
}

fn decode_base64(payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let text = payload.trim_ascii();
    if text.is_empty() {
        return Err(WireError::invalid("the body is empty"));
    }
    let symbols: Vec<u8> = text
        .iter()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\t'))
        .map(|byte| match byte {
            // The URL-safe alphabet; and a form's decoding turns `+` into a space.
            b'-' | b' ' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    BASE64.decode(symbols).map_err(|_| {
        WireError::invalid("the body is neither JSON, nor gzip, nor base64, nor a form with data")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const TEXT: &str = r#"{"event":"ünïcode>>>???"}"#;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(body: &[u8], query: &str) -> Result<String, WireError> {
        decode_text(body, &Query::parse(query), SINGLE_BODY_BYTES_MAX)
    }

    #[test]
    fn every_wrapping_unfolds_to_the_same_text() {
        let base64 = base64::engine::general_purpose::STANDARD.encode(TEXT);
        assert!(
            base64.contains('+') || base64.contains('/'),
            "the sample must need care: {base64}"
        );
        let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(TEXT);
        let gzip_base64 = base64::engine::general_purpose::STANDARD.encode(gzip(TEXT.as_bytes()));
        let escaped: String = form_urlencoded::byte_serialize(TEXT.as_bytes()).collect();
        let bodies: Vec<(Vec<u8>, &str)> = vec![
            (TEXT.into(), ""),
            (TEXT.into(), "compression=gzip"),
            (gzip(TEXT.as_bytes()), ""),
            (gzip(TEXT.as_bytes()), "compression=gzip-js&_=1795359952741"),
            (gzip(&gzip(TEXT.as_bytes())), ""),
            (base64.clone().into(), ""),
            (base64.clone().into(), "compression=base64"),
            (url_safe.into(), "compression=b64"),
            (gzip_base64.clone().into(), "compression=gzip"),
            (format!("data={base64}").into(), ""),
            (format!("ip=1&data={base64}&compression=base64").into(), ""),
            (
                format!("data={}", gzip_base64.replace('+', "%2B")).into(),
                "",
            ),
            (format!("data={escaped}").into(), ""),
            (format!("\u{feff}{TEXT}").into(), ""),
        ];
        for (body, query) in bodies {
            assert_eq!(
                decode(&body, query).as_deref(),
                Ok(TEXT),
                "{query} {body:?}"
            );
        }
        assert_eq!(
            decode(b"", &format!("data={escaped}&ip=1")).as_deref(),
            Ok(TEXT)
        );
        assert_eq!(decode(b"", &format!("data={base64}")).as_deref(), Ok(TEXT));
    }

    #[test]
    fn lz_string_is_read_when_it_is_named() {
        let packed = "N4XyA===";
        assert!(decode(packed.as_bytes(), "").is_err());
        assert_eq!(
            decode(packed.as_bytes(), "compression=lz64").as_deref(),
            Ok("{}")
        );
        let form = format!("compression=lz-string&data={packed}");
        assert_eq!(decode(form.as_bytes(), "").as_deref(), Ok("{}"));
    }

    #[test]
    fn a_bomb_is_refused_at_the_cap() {
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        assert!(bomb.len() < SINGLE_BODY_BYTES_MAX);
        assert_eq!(decode(&bomb, "").map_err(|error| error.status), Err(413));
        let nested = gzip(&bomb);
        assert_eq!(decode(&nested, "").map_err(|error| error.status), Err(413));
        let plain = vec![b' '; SINGLE_BODY_BYTES_MAX + 1];
        assert_eq!(decode(&plain, "").map_err(|error| error.status), Err(413));
    }

    #[test]
    fn a_body_of_exactly_the_cap_is_read() {
        let mut text = TEXT.to_owned();
        text.extend(std::iter::repeat_n(' ', SINGLE_BODY_BYTES_MAX - TEXT.len()));
        assert_eq!(
            decode(text.as_bytes(), "").map(|text| text.len()),
            Ok(SINGLE_BODY_BYTES_MAX)
        );
        assert_eq!(
            decode(&gzip(text.as_bytes()), "").map(|text| text.len()),
            Ok(SINGLE_BODY_BYTES_MAX)
        );
    }

    #[test]
    fn what_is_no_json_after_all_is_refused_with_the_reason() {
        let mut five = TEXT.as_bytes().to_vec();
        for _ in 0..5 {
            five = gzip(&five);
        }
        let truncated = gzip(TEXT.as_bytes())[..20].to_vec();
        let cases: [(&[u8], &str); 7] = [
            (b"", "the body is empty"),
            (b" \r\n", "the body is empty"),
            (b"data=", "the body is empty"),
            (
                b"hello, world",
                "the body is neither JSON, nor gzip, nor base64, nor a form with data",
            ),
            (b"{\"event\":\"\xff\"}", "the body is not UTF-8"),
            (&truncated, "the body is not valid gzip"),
            (&five, "the body is wrapped more than 4 times"),
        ];
        for (body, reason) in cases {
            assert_eq!(
                decode(body, ""),
                Err(WireError::invalid(reason)),
                "{body:?}"
            );
        }
    }

    #[test]
    fn the_query_tells_the_clients_clock_in_milliseconds_only() {
        let clock = |query| Query::parse(query).sent_at.map(|at| at.to_rfc3339());
        assert_eq!(
            clock("_=1795359952741").as_deref(),
            Some("2026-11-22T15:05:52.741+00:00")
        );
        assert_eq!(
            clock("ver=1.2&sent_at=1795359952741").as_deref(),
            Some("2026-11-22T15:05:52.741+00:00")
        );
        assert_eq!(clock("_=1795359952"), None);
        assert_eq!(clock("_=now"), None);
        assert_eq!(clock("_=9223372036854775807"), None);
    }
}
