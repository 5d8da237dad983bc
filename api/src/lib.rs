pub mod base;
pub mod contact;
pub mod ingest;
pub mod nudge;
