//! PostHog feature flags, evaluated here.
//!
//! [`Definitions::parse`] compiles the body of `/flags/definitions` once;
//! [`Definitions::evaluate`] and [`Definitions::evaluate_all`] then answer for a
//! [`Subject`] without I/O, clock or allocation worth speaking of.
//!
//! The rule of this room: a value is given only where PostHog's own clients,
//! posthog-python 7.91 and posthog-node 5.70, give the same one. Where either leaves the
//! decision to the server, or the two differ, the outcome is [`Undecided`] and the caller
//! asks `/flags`. Rules on which the clients differ are read both ways ("readings"); the
//! second reading of a flag is only made where such a rule was met.

mod cohort;
mod condition;
mod date;
mod definition;
mod dependency;
mod evaluate;
mod exact;
mod filter;
mod hash;
pub mod lines;
mod number;
mod pattern;
mod property;
mod semver;
mod subject;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

pub use definition::{Definitions, DefinitionsError};
pub use evaluate::{Evaluation, FlagValue, Outcome, Reason};
pub use hash::{bucket, holdout};
pub use subject::Subject;
pub use verdict::{Cause, Reach, Undecided};
