//! A strict front end for the part of `HogQL` that this product sends to `PostHog`.
//!
//! A text is parsed, checked against closed lists and printed again; only what was printed leaves the house. So `PostHog` never
//! sees a construct that this crate did not understand, and a difference between two parsers cannot be used to smuggle one in.
//!
//! * [`parse_select`], [`parse_expr`] and `Display` of [`Query`](ast::Query) and [`Expr`](ast::Expr): text to tree and back.
//! * [`allow`]: which tables, functions and names a tree may use, and what a metric may be.
//! * [`with_limit`]: no query without a bound on its rows.
//! * [`narrow`](narrow()): an aggregate over all rows becomes one over the rows where a condition holds.
//! * [`placeholders`] and [`check_values`]: the values that travel beside the text.

pub mod allow;
pub mod ast;
mod error;
mod functions;
mod lexer;
mod limit;
mod narrow;
mod parser;
mod print;
mod values;
mod walk;

pub use error::SyntaxError;
pub use limit::with_limit;
pub use narrow::narrow;
pub use parser::{parse_expr, parse_select};
pub use values::{ValueError, check_values, placeholders};

/// The longest text that is parsed, in bytes. Values travel beside it, so a text has no reason to grow with them.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// How many nodes a tree from the parser has from its root to a leaf, at most: recursion over it then fits any thread's stack.
pub const MAX_DEPTH: usize = 32;
