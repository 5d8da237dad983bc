//! lz-string (`compression=lz64`), which posthog-js sent before gzip and old snippets still send.
//!
//! Algorithm: pieroxy's lz-string, `decompressFromBase64`: LZ78 over UTF-16 units, codes of growing width read lowest bit first from
//! base64 symbols of six bits, highest bit first. Every dictionary entry is a stretch of the output already written (a phrase plus
//! the unit that followed it), so entries are kept as ranges and memory stays within the cap, however a phrase doubles.

use super::body::over;
use super::error::WireError;

/// Codes with a meaning of their own; dictionary entries count on from here.
const UNIT_8_BITS: usize = 0;
const UNIT_16_BITS: usize = 1;
const END: usize = 2;
const FIRST_ENTRY: usize = 3;

/// Unpacks base64 of lz-string to UTF-8. Refuses (413) what unfolds to more than `cap` bytes, and (400) what is malformed.
pub(super) fn decompress(packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    let units = unfold(packed, cap)?;
    let text = String::from_utf16(&units).map_err(|_| malformed())?;
    Ok(text.into_bytes())
}

fn malformed() -> WireError {
    WireError::invalid("the body is not valid lz-string")
}

fn unfold(packed: &[u8], cap: usize) -> Result<Vec<u16>, WireError> {
    let mut bits = Bits { packed, at: 0 };
    let mut output: Vec<u16> = Vec::new();
    // Start and length in `output`; the index is the code less FIRST_ENTRY.
    let mut entries: Vec<(usize, usize)> = Vec::new();
    let mut previous: Option<(usize, usize)> = None;
    let mut width = 2;
    let mut codes_left = 1_usize;
    loop {
        let code = bits.read(width)?;
        let phrase = match code {
            END => return Ok(output),
            UNIT_8_BITS | UNIT_16_BITS => {
                let unit = bits.read(if code == UNIT_8_BITS { 8 } else { 16 })?;
                let literal = (output.len(), 1);
                output.push(u16::try_from(unit).map_err(|_| malformed())?);
                entries.push(literal);
                // The very first unit stands before any phrase and is counted once, below.
                if previous.is_some() {
                    grow(&mut codes_left, &mut width);
                }
                literal
            }
            known => {
                let (start, length) = match entries.get(known - FIRST_ENTRY) {
                    Some(&entry) => entry,
                    // The entry being made: the previous phrase and its own first unit.
                    None if known - FIRST_ENTRY == entries.len() => {
                        let (start, length) = previous.ok_or_else(malformed)?;
                        (start, length + 1)
                    }
                    None => return Err(malformed()),
                };
                let phrase = (output.len(), length);
                if output.len() + length > cap {
                    return Err(over(cap));
                }
                for offset in 0..length {
                    output.push(output[start + offset]);
                }
                phrase
            }
        };
        if output.len() > cap {
            return Err(over(cap));
        }
        if let Some((start, length)) = previous {
            entries.push((start, length + 1));
        }
        grow(&mut codes_left, &mut width);
        previous = Some(phrase);
    }
}

/// Counts one more code; when the width is used up, the next one is a bit wider.
fn grow(codes_left: &mut usize, width: &mut u32) {
    *codes_left -= 1;
    if *codes_left == 0 {
        *codes_left = 1 << *width;
        *width += 1;
    }
}

struct Bits<'a> {
    packed: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl Bits<'_> {
    fn read(&mut self, width: u32) -> Result<usize, WireError> {
        let mut value = 0;
        for place in 0..width {
            let symbol = symbol(*self.packed.get(self.at / 6).ok_or_else(malformed)?)?;
            value |= usize::from(symbol >> (5 - self.at % 6) & 1) << place;
            self.at += 1;
        }
        Ok(value)
    }
}

fn symbol(byte: u8) -> Result<u8, WireError> {
    Ok(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        // A form's decoding turned `+` into a space.
        b'+' | b'-' | b' ' => 62,
        b'/' | b'_' => 63,
        // Padding: the end mark stands before it.
        b'=' => 0,
        _ => return Err(malformed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with lz-string 1.5.0, `compressToBase64`.
    const SAMPLES: [(&str, &str); 3] = [
        ("{}", "N4XyA==="),
        (
            r#"{"event":"ünïcode €🎉"}"#,
            "N4IgpgbmB2AuIC4QB/oHuDGB7AJmABIDUEgPBuCR+yAL5A==",
        ),
        (
            r#"{"api_key":"k","batch":[{"event":"signup 1","distinct_id":"user_1","properties":{"$set":{"email":"a@b.co"}}},{"event":"signup 2","distinct_id":"user_2","properties":{"$set":{"email":"a@b.co"}}},{"event":"signup 3","distinct_id":"user_3","properties":{"$set":{"email":"a@b.co"}}}]}"#,
            "N4IghgDglg+g1gUwJ4gFwjiANCARmAFwGMALNAbVAQDcEA7AtEAZygHM6BXCAAgEZsIACZRmBKHSIEYUIU07MEAJxgCcEJQHsIy8QmZpQAEkWNUVALZgoAGyZgAArgB0RTSAC+XrFVoMmrBzcPABMgiJiElIycugKyjBh6lo6SnoG5iAmCGaW1nboji5unt6+9GYs7Fy8AMzhouKS0rLyiir1ydq6UPqGWab9CFa29k6u7l4eALoeQA==",
        ),
    ];
    const REPEATED: &str =
        "IY18ZXTt/DFOS1b0c17Pd/wYUcSaWeRZVdTbXfQ408y62+x519z73/wMFDhI0WPETJU6TNlyZQA=";

    #[test]
    fn what_lz_string_packed_comes_back() {
        for (text, packed) in SAMPLES {
            assert_eq!(
                decompress(packed.as_bytes(), 4096).as_deref(),
                Ok(text.as_bytes())
            );
        }
        assert_eq!(decompress(REPEATED.as_bytes(), 3000), Ok(vec![b'a'; 3000]));
    }

    #[test]
    fn a_bomb_is_refused_at_the_cap() {
        assert_eq!(decompress(REPEATED.as_bytes(), 2999), Err(over(2999)));
    }

    #[test]
    fn malformed_input_is_refused() {
        for packed in ["", "N", "!!!!", "zzzz", "N4Igp"] {
            assert_eq!(
                decompress(packed.as_bytes(), 4096),
                Err(malformed()),
                "{packed}"
            );
        }
    }
}
