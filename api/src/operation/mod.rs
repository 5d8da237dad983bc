//! Trusted documents: what a tenant's own clients ask, known before they ask it.
//!
//! A build pushes its documents; the clients then name one by its SHA-256. A tenant can require that: what its browsers ask is
//! a closed list then. Whether a text is a document of the schema is checked where the schema is, before it comes here.
//!
//! Emits and hears nothing.

mod commands;
mod queries;

pub use commands::{NewOperation, delete, push};
pub use queries::text_of;
