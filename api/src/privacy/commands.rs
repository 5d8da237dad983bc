use std::collections::BTreeSet;

use entity::{
    ContactId,
    contact_identifier::{self, Kind},
    erasure, job,
    suppression::Channel,
};
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ERASE, EXPORT};
use crate::{
    base::{Actor, Audited, Error, ErrorCode, Result, Scope, Tx, storable},
    contact,
    job::{NewJob, enqueue},
    suppression::{Name, bury, suppress},
};

const REASON_CHARS_MAX: usize = 500;

/// Why an erased person's addresses are not written to.
const SUPPRESSED_FOR: &str = "erased";

/// What an erasure still has to know of a person until every store has done its part; sealed where it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    /// By which PostHog may know the person.
    pub(super) distinct_ids: Vec<String>,
    /// What rows that name no contact may hold of the person.
    pub(super) texts: Vec<String>,
}

impl Known {
    /// Where it is sealed for.
    pub(super) fn place(scope: &Scope) -> String {
        format!("erasure.sealed/{}", scope.tenant().uuid())
    }
}

/// Begins to erase a contact and those it absorbed: from the commit on nothing brings the person back. Asked for again while it
/// goes on, it is the same erasure.
pub async fn erase(
    tx: &Tx,
    actor: &Actor,
    id: ContactId,
    reason: Option<String>,
) -> Result<erasure::Model> {
    let reason = reason.map(storable);
    if reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX)
    {
        return Err(Error::invalid(
            "reason",
            format!("a reason has at most {REASON_CHARS_MAX} characters"),
        ));
    }
    let root = root(tx, id).await?;
    let begun = tx
        .find::<erasure::Entity>()
        .filter(erasure::Column::ContactId.eq(root))
        .one()
        .await?;
    if let Some(begun) = begun {
        return Ok(begun);
    }
    let members = contact::family(tx, root).await?;
    let identifiers = tx
        .find::<contact_identifier::Entity>()
        .filter(contact_identifier::Column::ContactId.is_in(members.iter().copied()))
        .all()
        .await?;
    let mut ids = contact::distinct_ids(tx, &[root]).await?;
    let distinct_ids = ids.remove(&root).unwrap_or_default();
    let known = Known {
        texts: texts(&members, &identifiers),
        distinct_ids,
    };
    let sealed = tx
        .secrets()
        .seal(tx.rng(), &Known::place(tx), &serde_json::to_string(&known)?)?;
    let erasure = tx.new_id();
    let new = NewJob {
        kind: ERASE,
        contact_id: None,
        input: json!({"erasureId": erasure}),
        total: None,
    };
    let job = enqueue(tx, actor, new).await?;
    let row = tx
        .insert(erasure::ActiveModel {
            id: Set(erasure),
            tenant_id: Set(tx.tenant()),
            contact_id: Set(root),
            members: Set(json!(members)),
            job_id: Set(Some(job.id)),
            reason: Set(reason),
            requested_by: Set(actor.principal()),
            requested_at: Set(tx.now()),
            sealed: Set(Some(sealed)),
            receipts: Set(json!([])),
            finished_at: Set(None),
        })
        .await
        .map_err(Error::contended)?;
    let names: Vec<Name<'_>> = members
        .iter()
        .map(|id| Name::Contact(*id))
        .chain(
            identifiers
                .iter()
                .map(|row| Name::Identifier(row.kind, &row.value)),
        )
        .chain(
            known
                .distinct_ids
                .iter()
                .map(|id| Name::Identifier(Kind::DistinctId, id)),
        )
        .collect();
    bury(tx, erasure, &names).await?;
    let addresses: Vec<(Channel, &str)> = identifiers
        .iter()
        .filter_map(|row| {
            let channel = match row.kind {
                Kind::Email => Channel::Email,
                Kind::Phone => Channel::Phone,
                Kind::ExternalId | Kind::AnonymousId | Kind::DistinctId => return None,
            };
            Some((channel, row.value.as_str()))
        })
        .collect();
    suppress(tx, &addresses, SUPPRESSED_FOR).await?;
    let changes = json!({"contactId": root.to_string(), "reason": row.reason});
    tx.audit(Audited::new("contactErase", &row.id, changes))
        .await?;
    Ok(row)
}

/// Begins to write down all that is known of a contact and those it absorbed.
pub async fn export(tx: &Tx, actor: &Actor, id: ContactId) -> Result<job::Model> {
    let root = root(tx, id).await?;
    let new = NewJob {
        kind: EXPORT,
        contact_id: Some(root),
        input: json!({}),
        total: None,
    };
    let job = enqueue(tx, actor, new).await?;
    let changes = json!({"contactId": root.to_string()});
    tx.audit(Audited::new("contactExport", &job.id, changes))
        .await?;
    Ok(job)
}

async fn root(tx: &Tx, id: ContactId) -> Result<ContactId> {
    let root = contact::root(tx, id).await?;
    root.map(|root| root.id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            "contactId",
            format!("there is no contact {id}"),
        )
    })
}

/// By what rows that name no contact are found to speak of the person. An id of a few letters would find others' as well.
fn texts(members: &[ContactId], identifiers: &[contact_identifier::Model]) -> Vec<String> {
    const TELLING_CHARS_MIN: usize = 6;
    let ids = members.iter().map(ToString::to_string);
    let addresses = identifiers
        .iter()
        .flat_map(|row| [&row.value, &row.shown])
        .filter(|text| text.chars().count() >= TELLING_CHARS_MIN)
        .cloned();
    let texts: BTreeSet<String> = ids.chain(addresses).collect();
    texts.into_iter().collect()
}
