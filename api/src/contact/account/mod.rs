//! Companies, teams, workspaces: what PostHog calls groups.
//!
//! An event that carries `$groups` makes its contact a member of them, by the identifier that it came by; `$groupidentify` says
//! what an account is. What a backend says with `accountUpsert` goes to PostHog as a `$groupidentify` of its own.
//!
//! Emits `$groupidentify`; hears every event that carries `$groups`, and `$groupidentify` of others.

mod commands;
mod graphql;
mod queries;
mod reactions;
mod rules;

pub use commands::upsert;
pub use graphql::{AccountFilter, AccountKey, AccountUpsertInput, members, of_contact, of_key};
pub(super) use queries::{AccountsOf, MemberCount, MemberCounts, MembersEnd, MembersEnds};
pub(super) use reactions::hear;
