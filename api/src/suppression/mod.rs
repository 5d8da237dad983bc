//! Who must not come back, and who must not be written to.
//!
//! Neither list holds an id or an address: both hold keyed marks of them, which answer whether one that is given is among them, and
//! tell nobody which ones those are. The key is the process's; a change of `secret_key` empties both lists.
//!
//! * A [`tombstoned`] name is of a person who was erased. What names one is dropped where it comes in.
//! * A [`suppressed`] address stays known, and is not written to.
//!
//! Emits and hears nothing.

use std::collections::HashSet;

use entity::{
    ContactId, Id, TenantId,
    contact_identifier::Kind,
    erasure,
    suppression::{self, Channel},
    tombstone,
};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect, Set, sea_query::OnConflict};

use crate::base::{Result, Scope, Secrets, Tx, hex};

/// By what somebody may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name<'a> {
    /// An identifier, normalised. The kinds of PostHog's distinct id are one namespace.
    Identifier(Kind, &'a str),
    Contact(ContactId),
}

impl Name<'_> {
    fn mark(self, secrets: &Secrets, tenant: TenantId) -> String {
        let (kind, value) = match self {
            Self::Identifier(Kind::Email, value) => ("email", value),
            Self::Identifier(Kind::Phone, value) => ("phone", value),
            Self::Identifier(Kind::ExternalId | Kind::AnonymousId | Kind::DistinctId, value) => {
                ("id", value)
            }
            Self::Contact(id) => return marked(secrets, tenant, "contact", &id.to_string()),
        };
        marked(secrets, tenant, kind, value)
    }
}

fn marked(secrets: &Secrets, tenant: TenantId, kind: &str, value: &str) -> String {
    let text = format!("tombstone/{}/{kind}/{value}", tenant.uuid());
    hex(&secrets.mark(text.as_bytes()))
}

/// Whether each of the names is of a person who was erased.
pub async fn tombstoned(tx: &Tx, names: &[Name<'_>]) -> Result<Vec<bool>> {
    let marks: Vec<String> = names
        .iter()
        .map(|name| name.mark(tx.secrets(), tx.tenant()))
        .collect();
    let asked: HashSet<&str> = marks.iter().map(String::as_str).collect();
    if asked.is_empty() {
        return Ok(vec![]);
    }
    let found: Vec<(String,)> = tx
        .find::<tombstone::Entity>()
        .filter(tombstone::Column::Mark.is_in(asked))
        .select_only()
        .column(tombstone::Column::Mark)
        .tuples()
        .await?;
    let found: HashSet<String> = found.into_iter().map(|(mark,)| mark).collect();
    Ok(marks.iter().map(|mark| found.contains(mark)).collect())
}

/// Remembers names of a person who is erased.
pub async fn bury(tx: &Tx, erasure: Id<erasure::Entity>, names: &[Name<'_>]) -> Result<()> {
    let marks: HashSet<String> = names
        .iter()
        .map(|name| name.mark(tx.secrets(), tx.tenant()))
        .collect();
    let rows = marks
        .into_iter()
        .map(|mark| tombstone::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            mark: Set(mark),
            erasure_id: Set(erasure),
            created_at: Set(tx.now()),
        })
        .collect();
    let once = OnConflict::columns([tombstone::Column::TenantId, tombstone::Column::Mark])
        .do_nothing()
        .to_owned();
    tx.insert_all(rows, Some(once)).await?;
    Ok(())
}

fn suppression_mark(
    secrets: &Secrets,
    tenant: TenantId,
    channel: Channel,
    address: &str,
) -> String {
    let channel = match channel {
        Channel::Email => "email",
        Channel::Phone => "phone",
    };
    let text = format!("suppression/{}/{channel}/{address}", tenant.uuid());
    hex(&secrets.mark(text.as_bytes()))
}

/// Has addresses, normalised, not be written to any more. Those that are not already stay as they are; says how many are new.
pub async fn suppress(tx: &Tx, addresses: &[(Channel, &str)], reason: &str) -> Result<u64> {
    let mut seen = HashSet::new();
    let rows = addresses
        .iter()
        .map(|(channel, address)| {
            let mark = suppression_mark(tx.secrets(), tx.tenant(), *channel, address);
            (*channel, mark)
        })
        .filter(|(_, mark)| seen.insert(mark.clone()))
        .map(|(channel, mark)| suppression::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            channel: Set(channel),
            mark: Set(mark),
            reason: Set(reason.to_owned()),
            created_at: Set(tx.now()),
        })
        .collect();
    let once = OnConflict::columns([suppression::Column::TenantId, suppression::Column::Mark])
        .do_nothing()
        .to_owned();
    tx.insert_all(rows, Some(once)).await
}

/// Whether each of the addresses, normalised, must not be written to.
pub async fn suppressed(
    scope: &Scope,
    secrets: &Secrets,
    addresses: &[(Channel, &str)],
) -> Result<Vec<bool>> {
    let marks: Vec<String> = addresses
        .iter()
        .map(|(channel, address)| suppression_mark(secrets, scope.tenant(), *channel, address))
        .collect();
    if marks.is_empty() {
        return Ok(vec![]);
    }
    let found: Vec<(String,)> = scope
        .find::<suppression::Entity>()
        .filter(suppression::Column::Mark.is_in(marks.iter().map(String::as_str)))
        .select_only()
        .column(suppression::Column::Mark)
        .tuples()
        .await?;
    let found: HashSet<String> = found.into_iter().map(|(mark,)| mark).collect();
    Ok(marks.iter().map(|mark| found.contains(mark)).collect())
}
