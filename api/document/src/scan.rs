//! Looks at the bytes of a document before the parser does.
//!
//! The parser recurses once for every open bracket, and without a limit of its own: a few kilobytes of `[` overflow the stack and
//! abort the process. So every path that parses a document passes [`scan`] first. It follows the lexical grammar *as the parser
//! reads it* (where the parser is laxer than the specification, so is this), because a bracket that one of them takes for
//! text and the other for structure would be a way around it.

use std::fmt;

/// Deepest nesting of `{`, `[` and `(`, counted together. The deepest query of a client in earnest, introspection, needs 15.
pub const NESTING_MAX: usize = 64;

/// Most lexical tokens in a document: names, numbers, strings and punctuators. Introspection has about 200.
pub const TOKENS_MAX: usize = 4_000;

/// Longest document, in bytes: the parser takes some tens of nanoseconds for a byte of white space or of a string. Long values
/// travel as variables.
pub const BYTES_MAX: usize = 32 * 1024;

/// Longest name, in bytes: a response repeats an alias for each row.
pub const NAME_BYTES_MAX: usize = 128;

/// Most names outside of parentheses: the parser takes two microseconds for a field, and so many fields are too many later.
pub const NAMES_MAX: usize = 2_000;

/// Why a document is not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than [`BYTES_MAX`].
    Bytes,
    /// A name longer than [`NAME_BYTES_MAX`].
    Name,
    /// More than [`NAMES_MAX`] names outside of parentheses.
    Names,
    /// Brackets nest deeper than [`NESTING_MAX`].
    Nesting,
    /// More than [`TOKENS_MAX`] tokens.
    Tokens,
    /// A string or block string does not end. The parser would refuse it too, but only after reading `"""` as two strings
    /// and what follows as structure.
    OpenString,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => write!(
                f,
                "the document has more than {BYTES_MAX} bytes; long values are sent as variables"
            ),
            Self::Name => write!(
                f,
                "the document has a name of more than {NAME_BYTES_MAX} bytes"
            ),
            Self::Names => write!(
                f,
                "the document has more than {NAMES_MAX} names outside of arguments"
            ),
            Self::Nesting => write!(f, "the document nests brackets deeper than {NESTING_MAX}"),
            Self::Tokens => write!(f, "the document has more than {TOKENS_MAX} tokens"),
            Self::OpenString => f.write_str("syntax error: a string in the document does not end"),
        }
    }
}

/// Refuses a document that is too deep or too long to parse. One pass, no allocation, no recursion.
///
/// `Ok` says nothing about the syntax.
pub fn scan(document: &str) -> Result<(), Refusal> {
    let bytes = document.as_bytes();
    match bytes.get(..BYTES_MAX) {
        // only its beginning is looked at, in which a string may be open
        Some(beginning) if bytes.len() > BYTES_MAX => match scan_bytes(beginning) {
            Ok(()) | Err(Refusal::OpenString) => Err(Refusal::Bytes),
            refused => refused,
        },
        _ => scan_bytes(bytes),
    }
}

fn scan_bytes(bytes: &[u8]) -> Result<(), Refusal> {
    let mut at = 0;
    let mut depth = 0_usize;
    let mut tokens = 0_usize;
    let mut names = 0_usize;
    // where the outermost open parenthesis stands
    let mut arguments = None;
    while let Some(&byte) = bytes.get(at) {
        let (length, found) = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => (1, 0),
            // the parser takes as long for an empty comment as for a token
            b'#' => (line_length(&bytes[at..]), 1),
            b'"' => (string_length(&bytes[at..])?, 1),
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(Refusal::Nesting);
                }
                if byte == b'(' {
                    arguments.get_or_insert(depth);
                }
                (1, 1)
            }
            b'}' | b']' | b')' => {
                if arguments == Some(depth) {
                    arguments = None;
                }
                depth = depth.saturating_sub(1);
                (1, 1)
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                names += usize::from(arguments.is_none());
                if names > NAMES_MAX {
                    return Err(Refusal::Names);
                }
                word(&bytes[at..])?
            }
            b'-' | b'0'..=b'9' => (number_length(&bytes[at..]), 1),
            b'.' if bytes[at..].starts_with(b"...") => (3, 1),
            // punctuators, and what no grammar knows: the parser stops there
            _ => (1, 1),
        };
        at += length;
        tokens += found;
        if tokens > TOKENS_MAX {
            return Err(Refusal::Tokens);
        }
    }
    Ok(())
}

/// A comment runs to the end of its line.
fn line_length(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
        .unwrap_or(rest.len())
}

fn string_length(rest: &[u8]) -> Result<usize, Refusal> {
    if rest.starts_with(br#"""""#) {
        block_string_length(rest)
    } else {
        quoted_string_length(rest)
    }
}

fn quoted_string_length(rest: &[u8]) -> Result<usize, Refusal> {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\n' | b'\r' => break,
            // what is escaped ends no string; an escape that does not exist stops the parser
            b'\\' if !matches!(rest.get(at + 1), Some(b'\n' | b'\r')) => at += 2,
            _ => at += 1,
        }
    }
    Err(Refusal::OpenString)
}

/// In a block string only `\"""` is an escape.
fn block_string_length(rest: &[u8]) -> Result<usize, Refusal> {
    let mut at = 3;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with(br#"""""#) {
            return Ok(at + 3);
        }
        at += if here.starts_with(br#"\""""#) { 4 } else { 1 };
    }
    Err(Refusal::OpenString)
}

/// The length of a name and how many tokens the parser makes of it: it reads `truefalse` as two values, so that one long word
/// would be a list of any length.
fn word(rest: &[u8]) -> Result<(usize, usize), Refusal> {
    let length = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .unwrap_or(rest.len());
    let mut left = &rest[..length];
    let mut tokens = 0;
    while let Some(shorter) = [&b"true"[..], b"false", b"null"]
        .iter()
        .find_map(|keyword| left.strip_prefix(*keyword))
    {
        left = shorter;
        tokens += 1;
    }
    if left.len() > NAME_BYTES_MAX {
        return Err(Refusal::Name);
    }
    Ok((length, tokens + usize::from(!left.is_empty())))
}

/// The length of one number. A leading zero stands alone: the parser reads `007` as three numbers.
fn number_length(rest: &[u8]) -> usize {
    let digits = |from: usize| {
        rest[from.min(rest.len())..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let sign = usize::from(rest[0] == b'-');
    let mut at = sign
        + if rest.get(sign) == Some(&b'0') {
            1
        } else {
            digits(sign)
        };
    if rest.get(at) == Some(&b'.') && digits(at + 1) > 0 {
        at += 1 + digits(at + 1);
    }
    if matches!(rest.get(at), Some(b'e' | b'E')) {
        let exponent_sign = usize::from(matches!(rest.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + exponent_sign);
        if exponent > 0 {
            at += 1 + exponent_sign + exponent;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, NAME_BYTES_MAX, NAMES_MAX, NESTING_MAX, Refusal, TOKENS_MAX, scan};

    /// How many tokens the scan counts: the fewest words that must go before it for the limit to strike.
    fn tokens(document: &str) -> usize {
        (0..=TOKENS_MAX + 1)
            .rev()
            .find(|before| scan(&format!("{}{document}", "! ".repeat(*before))).is_ok())
            .map_or(TOKENS_MAX + 1, |room| TOKENS_MAX - room)
    }

    #[test]
    fn brackets_nest_to_the_limit_and_no_deeper() {
        for (open, close) in [
            ("{", "}"),
            ("[", "]"),
            ("(", ")"),
            ("{a:", "}"),
            ("{a(b:[", "])}"),
        ] {
            let brackets = open.matches(['{', '[', '(']).count();
            let fits = NESTING_MAX / brackets;
            assert_eq!(
                scan(&format!("{}{}", open.repeat(fits), close.repeat(fits))),
                Ok(()),
                "{open}"
            );
            let deep = fits + 1;
            assert_eq!(
                scan(&format!("{}{}", open.repeat(deep), close.repeat(deep))),
                Err(Refusal::Nesting),
                "{open}"
            );
        }
    }

    #[test]
    fn a_hundred_thousand_brackets_are_refused_at_the_sixty_fifth() {
        assert_eq!(scan(&"[".repeat(100_000)), Err(Refusal::Nesting));
        assert_eq!(
            scan(&format!("{{a(b:{}", "{c:[".repeat(50_000))),
            Err(Refusal::Nesting)
        );
        assert_eq!(
            scan(&format!("query($a:{}Int", "[".repeat(100_000))),
            Err(Refusal::Nesting)
        );
    }

    #[test]
    fn brackets_side_by_side_are_not_nested() {
        assert_eq!(scan(&"{}[]()".repeat(600)), Ok(()));
        assert_eq!(scan(&"]".repeat(65)), Ok(()));
        assert_eq!(
            scan(&format!("{}{}", "]".repeat(65), "[".repeat(65))),
            Err(Refusal::Nesting)
        );
    }

    #[test]
    fn brackets_in_strings_and_comments_are_text() {
        let brackets = "[{(".repeat(50);
        assert_eq!(scan(&format!("{{a(b:\"{brackets}\")}}")), Ok(()));
        assert_eq!(scan(&format!("{{a(b:\"\\\"{brackets}\\\\\")}}")), Ok(()));
        assert_eq!(
            scan(&format!(
                "{{a(b:\"\"\"\n{brackets}\n \\\"\"\" \" \"\" {brackets}\"\"\")}}"
            )),
            Ok(())
        );
        assert_eq!(scan(&format!("# {brackets} \" \n{{a}}")), Ok(()));
    }

    #[test]
    fn brackets_after_a_string_or_comment_count_again() {
        let brackets = "[".repeat(65);
        for before in [
            "\"\"",
            "\"\\\\\"",
            "\"\"\"\"\"\"",
            "\"\"\" \\\\\"\"\" \"\"\"",
            "#\n",
            "#\r",
            "# \"\"\"\n",
            "\"#\"",
            "\u{feff}",
        ] {
            assert_eq!(
                scan(&format!("{before}{brackets}")),
                Err(Refusal::Nesting),
                "{before:?}"
            );
        }
    }

    #[test]
    fn a_string_that_does_not_end_is_refused() {
        for document in [
            "\"",
            "\"a",
            "\"a\nb\"",
            "\"a\r\"",
            "\"a\\",
            "\"a\\\"",
            "\"a\\\nb\"",
            "\"\"\"",
            "\"\"\"a\"\"",
            "\"\"\"a\\\"\"\"",
            "\"\"\"\"",
            "{a(b:[\"\"\" [[[",
        ] {
            assert_eq!(scan(document), Err(Refusal::OpenString), "{document:?}");
        }
    }

    #[test]
    fn tokens_are_counted_as_the_parser_reads_them() {
        for (document, count) in [
            ("", 0),
            (" ,\t\r\n\u{20}", 0),
            ("# a b c", 1),
            ("query Q($a: Int! = 1) @b { ...c }", 17),
            ("-1.5e+10", 1),
            ("1e5 1E-5 0.5", 3),
            ("1-1-1", 3),
            ("0000", 4),
            ("-", 1),
            ("truefalsenull", 3),
            ("nullable", 2),
            ("name", 1),
            ("\"a b c\"", 1),
            ("\"\"\"a \" b\"\"\"", 1),
            ("é", 2),
        ] {
            assert_eq!(tokens(document), count, "{document:?}");
        }
    }

    #[test]
    fn a_document_has_at_most_four_thousand_tokens() {
        assert_eq!(scan(&"! ".repeat(TOKENS_MAX)), Ok(()));
        assert_eq!(scan(&"! ".repeat(TOKENS_MAX + 1)), Err(Refusal::Tokens));
        assert_eq!(scan(&"0".repeat(TOKENS_MAX + 1)), Err(Refusal::Tokens));
        assert_eq!(scan(&"true".repeat(TOKENS_MAX + 1)), Err(Refusal::Tokens));
    }

    #[test]
    fn whatever_passes_the_scan_is_parsed_without_overflowing_the_stack() {
        let half = NESTING_MAX / 2;
        for (open, close) in [("[", "]"), ("{a:", "}"), ("[{a:", "}]")] {
            let depth = (NESTING_MAX - 2) / open.matches(['{', '[']).count();
            let document = format!("{{a(b:{}{})}}", open.repeat(depth), close.repeat(depth));
            assert_eq!(scan(&document), Ok(()));
            assert!(
                async_graphql_parser::parse_query(document.replace("a:}", "a:1}")).is_ok(),
                "{open}"
            );
        }
        let selections = format!("{}a{}", "{a".repeat(half), "}".repeat(half));
        assert!(async_graphql_parser::parse_query(selections).is_ok());
    }

    #[test]
    fn white_space_is_free_and_a_comment_is_a_token_whatever_its_length() {
        let filler = ", \t # [[[ a b c\n ".repeat(1_000);
        let document = format!("{{a{filler}b}}");
        assert_eq!(tokens(&document), 1_004);
        assert!(async_graphql_parser::parse_query(document).is_ok());
    }

    #[test]
    fn names_are_fewer_outside_of_arguments() {
        assert_eq!(scan(&"a ".repeat(NAMES_MAX)), Ok(()));
        assert_eq!(scan(&"a ".repeat(NAMES_MAX + 1)), Err(Refusal::Names));
        for (open, close) in [("(", ")"), ("{a([{", "}])}"), ("((", "))")] {
            let names = "b ".repeat(NAMES_MAX + 1);
            assert_eq!(scan(&format!("{open}{names}{close}")), Ok(()), "{open}");
            let after = format!("{open}{close}{names}");
            assert_eq!(scan(&after), Err(Refusal::Names), "{open}");
        }
    }

    #[test]
    fn documents_and_names_have_a_length() {
        let long = |bytes: usize| format!("{{a(b: \"{}\")}}", "x".repeat(bytes - 10));
        assert_eq!(scan(&long(BYTES_MAX)), Ok(()));
        assert_eq!(scan(&long(BYTES_MAX + 1)), Err(Refusal::Bytes));
        let named = |bytes: usize| format!("{{ {}: a }}", "x".repeat(bytes));
        assert_eq!(scan(&named(NAME_BYTES_MAX)), Ok(()));
        assert_eq!(scan(&named(NAME_BYTES_MAX + 1)), Err(Refusal::Name));
    }

    #[test]
    fn refusals_never_quote_the_document() {
        assert_eq!(
            Refusal::Nesting.to_string(),
            "the document nests brackets deeper than 64"
        );
        assert_eq!(
            Refusal::Tokens.to_string(),
            "the document has more than 4000 tokens"
        );
        assert_eq!(
            Refusal::OpenString.to_string(),
            "syntax error: a string in the document does not end"
        );
    }
}
