//! Text to tokens. Outside strings and quoted names only ASCII is known, so no look-alike character reaches the parser.

use crate::{SyntaxError, TEXT_BYTES_MAX};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A bare name or keyword, as written.
    Word(String),
    /// A name in backticks or double quotes, unescaped. Never a keyword.
    Quoted(String),
    /// Digits without a sign, a fraction or an exponent.
    Integer(String),
    /// Digits with a fraction or an exponent, without a sign.
    Decimal(String),
    /// A string in single quotes, unescaped.
    Text(String),
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// In bytes from the start of the text.
    pub(crate) start: usize,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 28] = [
    "->", "==", "!=", "<>", "<=", ">=", "||", "??", "(", ")", "[", "]", "{", "}", ",", ".", "*",
    "+", "-", "/", "%", "=", "<", ">", "?", ":", ";", "::",
];

/// All tokens of the text, the last one [`TokenKind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the text is longer than {TEXT_BYTES_MAX} bytes");
        return Err(SyntaxError::at(text, TEXT_BYTES_MAX, message));
    }
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
    };
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let kind = lexer.token()?;
        let ended = kind == TokenKind::End;
        lexer.tokens.push(Token { kind, start });
        if ended {
            return Ok(lexer.tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError::at(self.text, offset, message)
    }

    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\r', '\n']) {
                self.at += 1;
            } else if rest.starts_with("--") {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(self.error(self.at, "this comment is never closed"));
                };
                self.at += length + 4;
            } else if rest.starts_with("//") {
                // PostHog reads a comment here and others a division: refused, so that nobody reads it differently.
                return Err(self.error(self.at, "unexpected `//`, comments start with `--`"));
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, SyntaxError> {
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(TokenKind::End);
        };
        match first {
            '\'' => self.quoted('\'').map(TokenKind::Text),
            '`' | '"' => {
                let name = self.quoted(first)?;
                if name.is_empty() {
                    return Err(self.error(start, "a name cannot be empty"));
                }
                Ok(TokenKind::Quoted(name))
            }
            '0'..='9' => self.number(),
            'a'..='z' | 'A'..='Z' | '_' | '$' => {
                let rest = self.rest();
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let word = rest[..length].to_owned();
                self.at += length;
                Ok(TokenKind::Word(word))
            }
            other => {
                let symbols = SYMBOLS
                    .iter()
                    .filter(|symbol| self.rest().starts_with(**symbol));
                let Some(symbol) = symbols.max_by_key(|symbol| symbol.len()) else {
                    let message = format!("unexpected character `{}`", other.escape_debug());
                    return Err(self.error(start, message));
                };
                self.at += symbol.len();
                Ok(TokenKind::Symbol(symbol))
            }
        }
    }

    /// What stands between two of `quote`; a quote inside is doubled or escaped.
    fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let start = self.at;
        let unclosed = "this quote is never closed";
        let mut inside = String::new();
        self.at += 1;
        loop {
            let at = self.at;
            let next = self.take().ok_or_else(|| self.error(start, unclosed))?;
            if next == quote {
                if !self.rest().starts_with(quote) {
                    return Ok(inside);
                }
                self.at += 1;
                inside.push(quote);
            } else if next == '\\' {
                let escaped = self.take().ok_or_else(|| self.error(start, unclosed))?;
                inside.push(match escaped {
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'r' => '\r',
                    'n' => '\n',
                    't' => '\t',
                    '0' => '\0',
                    'a' => '\u{7}',
                    'v' => '\u{b}',
                    '\\' => '\\',
                    c if c == quote && c != '`' => c,
                    _ => return Err(self.error(at, "unknown escape, write a backslash twice")),
                });
            } else {
                inside.push(next);
            }
        }
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn number(&mut self) -> Result<TokenKind, SyntaxError> {
        let start = self.at;
        self.digits();
        // In `t.1.2` the members of a tuple are counted; there is no fraction.
        let after_dot =
            matches!(self.tokens.last(), Some(token) if token.kind == TokenKind::Symbol("."));
        let mut whole = true;
        if !after_dot {
            let fraction = self.rest().strip_prefix('.');
            if fraction.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                whole = false;
                self.at += 1;
                self.digits();
            }
            if self.rest().starts_with(['e', 'E']) {
                whole = false;
                self.at += 1;
                if self.rest().starts_with(['+', '-']) {
                    self.at += 1;
                }
                if self.digits() == 0 {
                    return Err(self.error(start, "this number has no digits after its exponent"));
                }
            }
        }
        let digits = self.text[start..self.at].to_owned();
        if self.rest().starts_with(is_word) {
            return Err(self.error(start, "a number cannot run into a name"));
        }
        if !whole {
            return Ok(TokenKind::Decimal(digits));
        }
        if digits.len() > 1 && digits.starts_with('0') {
            // PostHog's grammar has octal numbers of this form.
            return Err(self.error(start, "a whole number cannot start with 0"));
        }
        Ok(TokenKind::Integer(digits))
    }

    fn digits(&mut self) -> usize {
        let rest = self.rest();
        let count = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        self.at += count;
        count
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// Whether the name can be written bare, as far as its characters go.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(is_word)
}
