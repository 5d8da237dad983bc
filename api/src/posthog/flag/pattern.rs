//! `regex` and `not_regex`, in the subset that means the same in Python, JavaScript and
//! PostHog's server.
//!
//! The clients leave everything else to the server: look-around, back-references, word
//! boundaries, nested repetition, non-ASCII text. What remains is regular, so it runs in
//! linear time and needs no step limit.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};

use super::verdict::{UNSUPPORTED, Undecided, Verdict};

/// A longer pattern is left to the server.
const PATTERN_BYTES_MAX: usize = 4_096;
/// A compiled pattern that needs more memory is left to the server.
const PROGRAM_BYTES_MAX: usize = 256 * 1_024;
/// A longer value is left to the server.
const VALUE_BYTES_MAX: usize = 64 * 1_024;
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

/// The token before the current one, where it decides what may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Start,
    Open,
    EmptyGroup,
    Anchor,
    Bar,
    Close,
    Repetition,
    Literal,
}

/// Whether both clients evaluate the pattern themselves, be it valid or not: the union of
/// what posthog-python 7.91 and posthog-node 5.70 leave to the server.
fn is_portable(pattern: &[u8]) -> bool {
    if !pattern.is_ascii() {
        return false;
    }
    let at = |index: usize| pattern.get(index).copied().unwrap_or(0);
    let mut class_start: Option<usize> = None;
    let mut previous = Previous::Start;
    // One entry per open group: whether it holds a repetition, which must not be repeated.
    let mut groups: Vec<bool> = Vec::new();
    let mut closed_repeats = false;
    let mut index = 0;
    while index < pattern.len() {
        let byte = pattern[index];
        if byte == b'\\' {
            index += 1;
            if index < pattern.len() {
                match portable_escape(pattern, index, class_start.is_some()) {
                    Some(extra) => index += extra,
                    None => return false,
                }
            }
            previous = Previous::Literal;
            index += 1;
            continue;
        }
        if let Some(start) = class_start {
            match byte {
                b'[' => return false,
                b']' => {
                    let content = start + if at(start + 1) == b'^' { 2 } else { 1 };
                    if index == content {
                        return false;
                    }
                    class_start = None;
                    previous = Previous::Literal;
                }
                b'&' | b'-' | b'~' if at(index + 1) == byte => return false,
                b'-' if !portable_range(pattern, index) => return false,
                _ => {}
            }
            index += 1;
            continue;
        }
        let next_repeats = matches!(at(index + 1), b'+' | b'{');
        match byte {
            b'*' | b'+' | b'?' | b'{' => {
                if previous == Previous::Close && closed_repeats {
                    return false;
                }
                if matches!(previous, Previous::Anchor | Previous::EmptyGroup) {
                    return false;
                }
                if let Some(group) = groups.last_mut() {
                    *group = true;
                }
                if byte == b'{' {
                    let blocked = matches!(
                        previous,
                        Previous::Start | Previous::Bar | Previous::Open | Previous::Repetition
                    );
                    let Some(length) = repetition_length(&pattern[index..]) else {
                        return false;
                    };
                    index += length - 1;
                    if blocked || matches!(at(index + 1), b'+' | b'{') {
                        return false;
                    }
                } else if next_repeats {
                    return false;
                }
                previous = Previous::Repetition;
            }
            b'(' => {
                groups.push(false);
                if at(index + 1) == b'?' {
                    if at(index + 2) != b':' {
                        return false;
                    }
                    index += 2;
                }
                previous = Previous::Open;
            }
            b')' => {
                closed_repeats = groups.pop().unwrap_or(false);
                if let Some(outer) = groups.last_mut() {
                    *outer |= closed_repeats;
                }
                previous = match previous {
                    Previous::Open | Previous::EmptyGroup => Previous::EmptyGroup,
                    _ => Previous::Close,
                };
            }
            b'}' if next_repeats => return false,
            b'[' => class_start = Some(index),
            b'^' | b'$' => previous = Previous::Anchor,
            b'|' => previous = Previous::Bar,
            _ => previous = Previous::Literal,
        }
        index += 1;
    }
    true
}

/// How many bytes follow the escaped one, if both clients know the escape.
fn portable_escape(pattern: &[u8], index: usize, in_class: bool) -> Option<usize> {
    let escaped = pattern[index];
    match escaped {
        b'x' => pattern
            .get(index + 1..index + 3)?
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(2),
        b'd' | b'D' | b's' | b'S' | b'w' | b'W' | b'f' | b'n' | b'r' | b't' => Some(0),
        b'b' if in_class => Some(0),
        _ if in_class => b"\\-[]^.$*+?(){}|".contains(&escaped).then_some(0),
        b'<' | b'>' => None,
        b' ' => Some(0),
        _ => escaped.is_ascii_punctuation().then_some(0),
    }
}

/// Whether the dash at `index` of a class is no range that ends in a shorthand like `\d`.
fn portable_range(pattern: &[u8], index: usize) -> bool {
    let is_shorthand = |bytes: Option<&[u8]>| {
        bytes.is_some_and(|bytes| {
            bytes[0] == b'\\' && matches!(bytes[1], b'd' | b'D' | b's' | b'S' | b'w' | b'W')
        })
    };
    let trailing = matches!(pattern.get(index + 1), None | Some(b']'));
    let before = index
        .checked_sub(2)
        .and_then(|from| pattern.get(from..index));
    trailing || !(is_shorthand(pattern.get(index + 1..index + 3)) || is_shorthand(before))
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

/// Rewrites a portable pattern for the `regex` crate, every literal escaped, and finds
/// what Python and JavaScript refuse.
struct Translation<'a> {
    pattern: &'a [u8],
    index: usize,
    out: String,
    has_end: bool,
    has_space: bool,
    branches: bool,
}

impl<'a> Translation<'a> {
    const fn of(pattern: &'a [u8]) -> Self {
        Self {
            pattern,
            index: 0,
            out: String::new(),
            has_end: false,
            has_space: false,
            branches: false,
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.pattern.get(self.index).copied();
        self.index += usize::from(byte.is_some());
        byte
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.index).copied()
    }

    /// `None` if the pattern is invalid.
    fn run(&mut self) -> Option<()> {
        let mut depth = 0_u32;
        let mut repeatable = false;
        while let Some(byte) = self.next() {
            let mut now_repeatable = true;
            match byte {
                b'\\' => self.escape()?,
                b'[' => self.class()?,
                b'(' => {
                    self.index += if self.peek() == Some(b'?') { 2 } else { 0 };
                    self.out.push_str("(?:");
                    depth += 1;
                    now_repeatable = false;
                }
                b')' => {
                    depth = depth.checked_sub(1)?;
                    self.out.push(')');
                }
                b'|' => {
                    self.branches = true;
                    self.out.push('|');
                    now_repeatable = false;
                }
                b'^' => self.out.push_str("\\A"),
                b'$' => {
                    self.has_end = true;
                    self.out.push_str("\\z");
                }
                b'.' => self.out.push('.'),
                b'*' | b'+' | b'?' | b'{' if !repeatable => return None,
                b'*' | b'+' | b'?' => {
                    self.repetition(self.index)?;
                    now_repeatable = false;
                }
                b'{' => {
                    let length = repetition_length(&self.pattern[self.index - 1..])?;
                    self.repetition(self.index - 1 + length)?;
                    now_repeatable = false;
                }
                literal => self.literal(literal),
            }
            repeatable = now_repeatable;
        }
        (depth == 0).then_some(())
    }

    /// Copies the repetition that ends before `end`, and a lazy mark.
    fn repetition(&mut self, end: usize) -> Option<()> {
        self.branches = true;
        let text = std::str::from_utf8(&self.pattern[self.index - 1..end]).ok()?;
        let bounds = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        if let Some((least, most)) = bounds.and_then(|body| body.split_once(','))
            && !most.is_empty()
            && most.parse::<u64>().ok()? < least.parse::<u64>().ok()?
        {
            return None;
        }
        self.out.push_str(text);
        self.index = end;
        if self.peek() == Some(b'?') {
            self.index += 1;
            self.out.push('?');
        }
        Some(())
    }

    fn literal(&mut self, byte: u8) {
        write!(self.out, "\\x{byte:02x}").unwrap_or_default();
    }

    fn escape(&mut self) -> Option<()> {
        match self.escaped()? {
            Escaped::Shorthand(name) => {
                self.out.push('\\');
                self.out.push(char::from(name));
            }
            Escaped::Literal(byte) => self.literal(byte),
        }
        Some(())
    }

    fn escaped(&mut self) -> Option<Escaped> {
        Some(match self.next()? {
            b'x' => {
                let digits = self.pattern.get(self.index..self.index + 2)?;
                self.index += 2;
                let digits = std::str::from_utf8(digits).ok()?;
                Escaped::Literal(u8::from_str_radix(digits, 16).ok()?)
            }
            name @ (b'd' | b'D' | b's' | b'S' | b'w' | b'W') => {
                self.has_space |= matches!(name, b's' | b'S');
                Escaped::Shorthand(name)
            }
            b'b' => Escaped::Literal(0x08),
            b'f' => Escaped::Literal(0x0c),
            b'n' => Escaped::Literal(b'\n'),
            b'r' => Escaped::Literal(b'\r'),
            b't' => Escaped::Literal(b'\t'),
            punctuation => Escaped::Literal(punctuation),
        })
    }

    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.peek() == Some(b'^') {
            self.index += 1;
            self.out.push('^');
        }
        loop {
            let low = match self.class_item()? {
                ClassItem::End => break,
                ClassItem::Shorthand(name) => {
                    self.out.push('\\');
                    self.out.push(char::from(name));
                    continue;
                }
                ClassItem::Literal(byte) => byte,
            };
            self.literal(low);
            let opens_range = self.peek() == Some(b'-')
                && !matches!(self.pattern.get(self.index + 1), None | Some(b']'));
            if opens_range {
                self.index += 1;
                let ClassItem::Literal(high) = self.class_item()? else {
                    return None;
                };
                if high < low {
                    return None;
                }
                self.out.push('-');
                self.literal(high);
            }
        }
        self.out.push(']');
        Some(())
    }

    fn class_item(&mut self) -> Option<ClassItem> {
        Some(match self.next()? {
            b']' => ClassItem::End,
            b'\\' => match self.escaped()? {
                Escaped::Shorthand(name) => ClassItem::Shorthand(name),
                Escaped::Literal(byte) => ClassItem::Literal(byte),
            },
            byte => ClassItem::Literal(byte),
        })
    }
}

enum Escaped {
    Shorthand(u8),
    Literal(u8),
}

enum ClassItem {
    End,
    Shorthand(u8),
    Literal(u8),
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
        for pattern in ["?*", "(", ")", "[a", "a**", "a{3,2}", "[z-a]", "a\\", "(*a)"] {
            let compiled = Pattern::compile(pattern);
            assert_eq!(compiled.matches("a", false), Ok(false), "{pattern}");
            assert_eq!(compiled.matches("a", true), Ok(false), "{pattern}");
        }
    }

    #[test]
    fn what_the_clients_leave_to_the_server_stays_undecided() {
        let patterns = [
            "(?=a)", "(?<!a)b", r"(a)\1", r"\bfoo", "(a+)+", "é", "a{,3}", "()*", "^*", "[]a]",
            "[a&&b]", r"[\d-z]", "a++", r"\pL", "a{99999999999}",
        ];
        for pattern in patterns {
            assert_eq!(verdict(pattern, "foo"), Err(Undecided::pattern()), "{pattern}");
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
