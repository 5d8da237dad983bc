//! `regex` and `not_regex`, in the subset that means the same in Python, JavaScript and
//! PostHog's server.
//!
//! The clients leave everything else to the server: look-around, back-references, word
//! boundaries, nested repetition, non-ASCII text. What remains is regular, so it runs in
//! linear time and needs no step limit.

mod portable;
mod translation;

use regex::bytes::{Regex, RegexBuilder};

use self::portable::is_portable;
use self::translation::Translation;
use super::verdict::{UNSUPPORTED, Undecided, Verdict};

/// A longer pattern is left to the server.
const PATTERN_BYTES_MAX: usize = 4_096;
/// A compiled pattern that needs more memory is left to the server.
const PROGRAM_BYTES_MAX: usize = 256 * 1_024;
/// A longer value is left to the server.
const VALUE_BYTES_MAX: usize = 64 * 1_024;
/// More repetitions are an error to some engine.
const REPETITIONS_MAX: u64 = 0xFFFF_FFFF;

/// A compiled pattern.
#[derive(Debug)]
pub(super) enum Pattern {
    /// The empty pattern matches every value.
    Everything,
    /// Not a regular expression anywhere: neither operator matches.
    Invalid,
    Compiled {
        regex: Regex,
        /// Has both `$` and a repetition or alternative: a final line feed is read
        /// differently.
        end_is_delicate: bool,
        spaces: bool,
    },
    /// Outside the common subset.
    Unportable,
}

impl Pattern {
    pub(super) fn compile(pattern: &str) -> Self {
        if pattern.is_empty() {
            return Self::Everything;
        }
        if pattern.len() > PATTERN_BYTES_MAX || !is_portable(pattern.as_bytes()) {
            return Self::Unportable;
        }
        let mut translation = Translation::of(pattern.as_bytes());
        if translation.run().is_none() {
            return Self::Invalid;
        }
        let regex = RegexBuilder::new(&translation.out)
            .unicode(false)
            .size_limit(PROGRAM_BYTES_MAX)
            .build();
        match regex {
            Ok(regex) => Self::Compiled {
                regex,
                end_is_delicate: translation.has_end && translation.branches,
                spaces: translation.has_space,
            },
            Err(_) => Self::Unportable,
        }
    }

    /// Whether the pattern is found in `value`; `negated` for `not_regex`.
    pub(super) fn matches(&self, value: &str, negated: bool) -> Verdict {
        match self {
            Self::Everything => Ok(!negated),
            Self::Invalid => Ok(false),
            Self::Unportable => Err(Undecided::pattern()),
            Self::Compiled {
                regex,
                end_is_delicate,
                spaces,
            } => {
                let text = value.as_bytes();
                let unclear = !value.is_ascii()
                    || text.len() > VALUE_BYTES_MAX
                    || text.contains(&b'\r')
                    || (*end_is_delicate && text.ends_with(b"\n"))
                    || (*spaces && text.iter().any(|byte| (0x1c..=0x1f).contains(byte)));
                if unclear {
                    Err(Undecided::pattern())
                } else {
                    Ok(regex.is_match(text) != negated)
                }
            }
        }
    }

    pub(super) fn support(&self) -> Result<(), Undecided> {
        match self {
            Self::Unportable => Err(UNSUPPORTED),
            _ => Ok(()),
        }
    }
}

/// The length of a `{n}`, `{n,}` or `{n,m}` at the start of `text`.
fn repetition_length(text: &[u8]) -> Option<usize> {
    let close = text.iter().position(|byte| *byte == b'}')?;
    let body = std::str::from_utf8(&text[1..close]).ok()?;
    let (least, most) = body.split_once(',').unwrap_or((body, ""));
    let is_count = |text: &str| {
        text.len() <= 10
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u64>().is_ok_and(|n| n <= REPETITIONS_MAX)
    };
    (is_count(least) && (most.is_empty() || is_count(most))).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pattern: &str, value: &str) -> Verdict {
        Pattern::compile(pattern).matches(value, false)
    }

    #[test]
    fn the_common_subset_is_matched_here() {
        let cases = [
            (r"\.com$", "a.com", true),
            (r"\.com$", "a.com.br", false),
            (r"^[\w.-]+@posthog\.com$", "jo-e.x@posthog.com", true),
            ("^(?:ab|cd){2}$", "abcd", true),
            ("a}]", "a}]", true),
            (r"[a-c\-]+?x", "--bx", true),
            (r"^\x41$", "A", true),
            (".", "\n", false),
            ("[^a]", "\n", true),
            ("", "anything", true),
        ];
        for (pattern, value, expected) in cases {
            assert_eq!(verdict(pattern, value), Ok(expected), "{pattern} {value}");
        }
    }

    #[test]
    fn an_invalid_pattern_matches_neither_way() {
        for pattern in [
            "?*", "(", ")", "[a", "a**", "a{3,2}", "[z-a]", "a\\", "(*a)",
        ] {
            let compiled = Pattern::compile(pattern);
            assert_eq!(compiled.matches("a", false), Ok(false), "{pattern}");
            assert_eq!(compiled.matches("a", true), Ok(false), "{pattern}");
        }
    }

    #[test]
    fn what_the_clients_leave_to_the_server_stays_undecided() {
        let patterns = [
            "(?=a)",
            "(?<!a)b",
            r"(a)\1",
            r"\bfoo",
            "(a+)+",
            "é",
            "a{,3}",
            "()*",
            "^*",
            "[]a]",
            "[a&&b]",
            r"[\d-z]",
            "a++",
            r"\pL",
            "a{99999999999}",
        ];
        for pattern in patterns {
            assert_eq!(
                verdict(pattern, "foo"),
                Err(Undecided::pattern()),
                "{pattern}"
            );
        }
        assert_eq!(verdict("a", "é"), Err(Undecided::pattern()));
        assert_eq!(verdict("a+$", "a\n"), Err(Undecided::pattern()));
        assert_eq!(verdict(r"\s", "\u{1c}"), Err(Undecided::pattern()));
    }

    #[test]
    fn a_pattern_that_would_grow_huge_stays_undecided() {
        assert_eq!(verdict("a{4294967295}", "a"), Err(Undecided::pattern()));
        assert_eq!(verdict(&"a".repeat(5_000), "a"), Err(Undecided::pattern()));
        let nested = format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000));
        assert_eq!(verdict(&nested, "a"), Err(Undecided::pattern()));
    }
}
