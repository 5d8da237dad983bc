//! PostHog's bucketing hash: the first 60 bits of a SHA-1, as a fraction of one.

use sha1::{Digest, Sha1};

/// 2^60 − 1, which rounds to 2^60 as a double, as it does in every PostHog client.
const SCALE: f64 = 1_152_921_504_606_846_976.0;

/// The hash, 0 to 1, of a flag key and a bucketing id. `salt` is empty for a rollout and
/// `"variant"` for the choice of a variant.
pub fn bucket(key: &str, id: &str, salt: &str) -> f64 {
    fraction(&[key, ".", id, salt])
}

/// The hash, 0 to 1, that decides whether a bucketing id is held out.
pub fn holdout(id: &str) -> f64 {
    fraction(&["holdout-", id])
}

fn fraction(parts: &[&str]) -> f64 {
    let mut digest = Sha1::new();
    for part in parts {
        digest.update(part.as_bytes());
    }
    let digest = digest.finalize();
    let mut head = [0_u8; 8];
    head.copy_from_slice(&digest[..8]);
    as_double(u64::from_be_bytes(head) >> 4) / SCALE
}

/// The clients divide two doubles, so the integer is rounded to one first.
#[expect(
    clippy::cast_precision_loss,
    reason = "the rounding is part of the algorithm"
)]
const fn as_double(bits: u64) -> f64 {
    bits as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_exact_to_the_last_bit() {
        let cases = [
            (
                bucket("simple-flag", "distinct_id_0", ""),
                0.783_696_376_422_043_2_f64,
            ),
            (
                bucket("beta-feature", "user-123", "variant"),
                0.536_585_666_516_297_6,
            ),
            (bucket("flag", "日本語", ""), 0.538_866_080_529_989_6),
            (bucket("flag", "🦔", "variant"), 0.487_576_072_017_524_84),
            (bucket("", "", ""), 0.227_826_027_208_098_58),
            (holdout("user-7"), 0.098_014_225_492_120_35),
        ];
        for (hash, expected) in cases {
            assert_eq!(hash.to_bits(), expected.to_bits(), "{expected}");
        }
    }

    #[test]
    fn the_dot_is_not_escaped() {
        assert_eq!(
            bucket("a", "b.c", "").to_bits(),
            bucket("a.b", "c", "").to_bits()
        );
    }
}
