//! Rows as small as a table allows, for tests of what lies below the rooms.

use api::base::{Result, Tx};
use entity::{ContactId, contact, contact_identifier, posthog_connection};
use sea_orm::Set;
use serde_json::json;

pub(crate) async fn contact(tx: &Tx, distinct_id: &str) -> Result<contact::Model> {
    tx.insert(contact::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        status: Set(contact::Status::Anonymous),
        distinct_id: Set(distinct_id.to_owned()),
        created_at: Set(tx.now()),
        updated_at: Set(tx.now()),
        ..Default::default()
    })
    .await
}

pub(crate) async fn identifier(
    tx: &Tx,
    contact: ContactId,
    value: &str,
) -> Result<contact_identifier::Model> {
    tx.insert(contact_identifier::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        contact_id: Set(contact),
        kind: Set(contact_identifier::Kind::ExternalId),
        value: Set(value.to_owned()),
        shown: Set(value.to_owned()),
        verification: Set(contact_identifier::Verification::Claimed),
        source: Set("test".to_owned()),
        first_seen_at: Set(tx.now()),
        last_seen_at: Set(tx.now()),
        origin_id: Set(Some(contact)),
        blocked: Set(false),
    })
    .await
}

/// A connection that nothing was ever sent over.
pub(crate) async fn posthog_connection(tx: &Tx) -> Result<posthog_connection::Model> {
    tx.insert(posthog_connection::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        ingest_host: Set("https://eu.example.com".to_owned()),
        api_host: Set("https://eu.example.com".to_owned()),
        ui_host: Set("https://eu.example.com".to_owned()),
        project_id: Set("1".to_owned()),
        project_token: Set("phc_secret".to_owned()),
        capabilities: Set(json!({})),
        forwarded_xid: Set(0),
        forwarded_seq: Set(0),
        forward_attempt: Set(0),
        created_at: Set(tx.now()),
        updated_at: Set(tx.now()),
        ..Default::default()
    })
    .await
}
