//! Rows as small as a table allows, for tests of what lies below the rooms.

use api::base::{Error, Result, Tx};
use entity::{ContactId, contact, contact_identifier, posthog_connection};
use sea_orm::{ColumnTrait as _, QueryFilter as _, Set};
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

/// What lists show and no mutation makes by itself: a line that an import refused, a segment's size at an hour, and a member of an
/// account.
pub(crate) async fn of_lists(tx: &Tx) -> Result<()> {
    use entity::{account, account_membership, import_reject, job, segment, segment_size};
    let import = tx
        .find::<job::Entity>()
        .filter(job::Column::Kind.eq("import"));
    let import = import.one().await?.ok_or(Error::NotFound)?;
    tx.insert(import_reject::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        job_id: Set(import.id),
        line: Set(2),
        field: Set(None),
        reason: Set("test".to_owned()),
        raw: Set("x".to_owned()),
    })
    .await?;
    let segment = tx.find::<segment::Entity>().one().await?;
    let segment = segment.ok_or(Error::NotFound)?;
    tx.insert(segment_size::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        segment_id: Set(segment.id),
        hour: Set(tx.now()),
        size: Set(1),
    })
    .await?;
    let victim = tx
        .find::<contact_identifier::Entity>()
        .filter(contact_identifier::Column::Value.eq("victim"));
    let victim = victim.one().await?.ok_or(Error::NotFound)?;
    let account = tx.find::<account::Entity>().one().await?;
    tx.insert(account_membership::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        account_id: Set(account.ok_or(Error::NotFound)?.id),
        contact_id: Set(victim.contact_id),
        identifier_id: Set(Some(victim.id)),
        created_at: Set(tx.now()),
        last_seen_at: Set(tx.now()),
    })
    .await?;
    Ok(())
}
