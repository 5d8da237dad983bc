//! What stands between a client's bytes and the GraphQL engine.
//!
//! [`json`] and [`scan`] look at bytes before a parser does, [`parse`](parse()) makes a document of them, and [`weigh`](weigh())
//! measures it before it is validated or executed: nothing after them meets a text that it could not bear. A crate of its own,
//! without the engine and without the product, so that it is fuzzed and measured alone.

pub mod json;
mod parse;
pub mod scan;
mod weigh;

pub use parse::{Unparsed, parse};
pub use weigh::{Overweight, Sizes, directs, executed, introspects, weigh};

/// Bounds of a document that hold before it is parsed: see [`scan`](scan()).
pub use scan::{BYTES_MAX, scan};
