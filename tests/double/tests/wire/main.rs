//! The double over real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "the lint knows test functions, not what they are made of"
)]

mod capture;
mod client;
mod failures;
mod flags;
mod pace;
mod query;
mod rest;
