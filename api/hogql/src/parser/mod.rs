//! Recursive descent over the tokens.
//!
//! Two bounds keep every later recursion safe: [`Parser::nested`] counts how deep the parser itself is, and each finished part
//! carries its height, because a long chain such as `1 + 1 + …` makes a tall tree without any nesting.

mod expr;
mod operand;
mod query;
mod window;
mod words;

use crate::ast::{Expr, Query};
use crate::lexer::{Token, TokenKind, tokens};
use crate::{MAX_DEPTH, SyntaxError};

pub(crate) use words::is_reserved;

/// Reads one query, `UNION ALL` included.
///
/// # Errors
/// Anything that is not understood in full, with its place in the text.
pub fn parse_select(text: &str) -> Result<Query, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let query = parser.query()?;
    parser.end("the end of the query")?;
    Ok(query.tree)
}

/// Reads one expression, such as a metric.
///
/// # Errors
/// Anything that is not understood in full, with its place in the text.
pub fn parse_expr(text: &str) -> Result<Expr, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let expr = parser.expr()?;
    parser.end("the end of the expression")?;
    Ok(expr.tree)
}

/// How deep the parser may recurse. An operation and the parentheses that the printer puts around it are two levels, so that what was
/// read can be read again after printing. Unoptimised, a level takes up to 18 KB of stack, and threads have 2 MB.
const NESTING_MAX: usize = 2 * MAX_DEPTH;

type Result<T, E = SyntaxError> = std::result::Result<T, E>;

/// A finished part of the tree and its height.
struct Grown<T> {
    tree: T,
    /// In nodes from here to the deepest leaf; never above [`MAX_DEPTH`] for an expression or a query.
    height: usize,
}

impl<T> Grown<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Grown<U> {
        Grown {
            tree: f(self.tree),
            height: self.height,
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        Ok(Self {
            text,
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
        })
    }

    /// Runs one more level of nesting: an operator's right side, a parenthesis, a bracket or a query.
    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == NESTING_MAX {
            return Err(self.error(format!("nested more than {NESTING_MAX} levels deep")));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// A node above parts of which the tallest has this height.
    fn node<T>(&self, tallest_part: usize, tree: T) -> Result<Grown<T>> {
        if tallest_part >= MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} operations on top of each other");
            return Err(self.error(message));
        }
        Ok(Grown {
            tree,
            height: tallest_part + 1,
        })
    }

    fn kind(&self) -> &TokenKind {
        self.kind_ahead(0)
    }

    /// The token that many places ahead; the end goes on for ever.
    fn kind_ahead(&self, places: usize) -> &TokenKind {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + places).min(last)].kind
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol_ahead(0, symbol)
    }

    fn is_symbol_ahead(&self, places: usize, symbol: &str) -> bool {
        matches!(self.kind_ahead(places), TokenKind::Symbol(found) if *found == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        self.is_word_ahead(0, word)
    }

    /// Keywords are known in any case.
    fn is_word_ahead(&self, places: usize, word: &str) -> bool {
        matches!(self.kind_ahead(places), TokenKind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// Takes all of the words, or none.
    fn take_words(&mut self, words: &[&str]) -> bool {
        let found = (0..)
            .zip(words)
            .all(|(places, word)| self.is_word_ahead(places, word));
        if found {
            self.at += words.len();
        }
        found
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{symbol}`")))
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) {
            return Ok(());
        }
        Err(self.unexpected(word))
    }

    /// A name that the author chose: quoted, or bare and not reserved.
    fn name(&mut self, what: &str) -> Result<String> {
        let name = match self.kind() {
            TokenKind::Quoted(name) => name.clone(),
            TokenKind::Word(word) if !is_reserved(word) => word.clone(),
            TokenKind::Word(word) => {
                let message = format!(
                    "expected {what}, found the reserved word `{word}`, quote it with backticks to use it as a name"
                );
                return Err(self.error(message));
            }
            _ => return Err(self.unexpected(what)),
        };
        self.advance();
        Ok(name)
    }

    fn end(&self, expected: &str) -> Result<()> {
        if *self.kind() == TokenKind::End {
            return Ok(());
        }
        Err(self.unexpected(expected))
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        let offset = self.tokens[self.at.min(self.tokens.len() - 1)].start;
        SyntaxError::at(self.text, offset, message)
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        let found = match self.kind() {
            TokenKind::Word(word) => format!("`{}`", shortened(word)),
            TokenKind::Quoted(name) => format!("the name `{}`", shortened(name)),
            TokenKind::Integer(digits) | TokenKind::Decimal(digits) => {
                format!("the number {}", shortened(digits))
            }
            TokenKind::Text(_) => "a string".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end".to_owned(),
        };
        self.error(format!("expected {expected}, found {found}"))
    }
}

/// What a message shows of the author's text.
fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        return format!("{shown}…");
    }
    shown
}
