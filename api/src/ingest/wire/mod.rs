//! PostHog's public wire protocol, decoded: what an unmodified posthog-js, posthog-node or posthog-python sends to `/e`, `/i/v0/e`,
//! `/capture`, `/batch`, `/flags` and `/array/{token}/config`, and what it expects to read back.
//!
//! Pure functions: no I/O, no clock (`now` is an argument), no panic reachable from input. A request passes through `body` (sizes,
//! compression, wrapping), `json` (the text, mended where clients are known to break it), `capture` (the envelope and its token) and
//! `event` (one event). `identity` says what an event tells about the person behind it; `flags` and `config` are the two
//! other endpoints.
//!
//! Headers play no part: posthog-js sends gzip without naming it and JSON as `text/plain`, so what a body is, is read off the body.

mod body;
mod capture;
mod config;
mod error;
mod event;
mod flags;
mod identity;
mod instant;
mod json;
mod lz;

pub use body::{BATCH_BODY_BYTES_MAX, SINGLE_BODY_BYTES_MAX};
pub use capture::{BATCH_EVENTS_MAX, Capture, decode_capture};
pub use config::remote_config;
pub use error::WireError;
pub use event::{EVENT_BYTES_MAX, EVENT_NAME_CHARS_MAX, PROPERTY_DEPTH_MAX, WireEvent};
pub use flags::{FlagReason, FlagResult, FlagsRequest, decode_flags, flags_response};
pub use identity::{DISTINCT_ID_CHARS_MAX, Identity, Merge};
