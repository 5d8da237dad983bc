//! PostHog, the observation layer: what is sent there, and what it knows.

pub mod flag;
pub mod forward;
pub mod secret;
