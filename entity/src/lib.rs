//! One file per table: the row, its columns, its relations. No logic.

pub mod account;
pub mod account_membership;
pub mod api_key;
pub mod audit_entry;
pub mod consent;
pub mod consumer;
pub mod contact;
pub mod contact_alias;
pub mod contact_cannot_link;
pub mod contact_evidence;
pub mod contact_identifier;
pub mod contact_trait;
pub mod contact_view;
pub mod dead_letter;
pub mod erasure;
pub mod event;
pub mod event_message;
pub mod event_retry;
pub mod id;
pub mod idempotency;
pub mod identity_block;
pub mod identity_policy;
pub mod import_reject;
pub mod issuer;
pub mod job;
pub mod job_chunk;
pub mod merge_proposal;
pub mod merge_record;
pub mod metric;
pub mod nudge;
pub mod nudge_decision;
pub mod nudge_delivery;
pub mod nudge_interaction;
pub mod nudge_version;
pub mod operation;
pub mod posthog_connection;
pub mod relationship;
pub mod schedule;
pub mod segment;
pub mod segment_due;
pub mod segment_listing;
pub mod segment_member;
pub mod segment_size;
pub mod segment_source;
pub mod segment_source_member;
pub mod segment_trigger;
pub mod suppression;
pub mod tenant;
pub mod tenant_front;
pub mod tombstone;
pub mod touchpoint;
pub mod trait_definition;
pub mod trait_observation;
pub mod trait_schema;

use sea_orm::EntityTrait;

pub use id::{Id, Named};

pub type TenantId = Id<tenant::Entity>;
pub type ContactId = Id<contact::Entity>;
pub type EventId = Id<event::Entity>;

/// A table whose every row belongs to one tenant.
pub trait TenantOwned: EntityTrait {
    const TENANT: Self::Column;
}
