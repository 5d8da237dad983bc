//! What a tenant asks of evidence, and of browsers, before it joins people.

use entity::identity_policy;
use sea_orm::{IntoActiveModel, Set};
use serde_json::json;

use crate::{
    base::{Audited, Error, Result, Secrets, Tx, hex},
    contact::{proof, rules::KindLimit},
};

/// Identifiers of one kind that a tenant may allow a contact.
const LIMIT_MAX: usize = 200;

/// What changes of a policy; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct PolicyChanges {
    pub limits: Option<Vec<KindLimit>>,
    pub proof_required: Option<bool>,
}

/// Changes the tenant's policy. It holds for evidence from now on: who was joined stays joined until something is heard of them.
pub async fn save_policy(tx: &Tx, changes: PolicyChanges) -> Result<identity_policy::Model> {
    if let Some(limit) = changes
        .limits
        .iter()
        .flatten()
        .find(|limit| limit.max == 0 || limit.max > LIMIT_MAX)
    {
        return Err(Error::invalid(
            "limits",
            format!("a limit is 1 to {LIMIT_MAX}, not {}", limit.max),
        ));
    }
    let mut row = current(tx).await?;
    if let Some(limits) = &changes.limits {
        row.limits = Set(serde_json::to_value(limits)?);
    }
    if let Some(required) = changes.proof_required {
        row.proof_required = Set(required);
    }
    row.updated_at = Set(tx.now());
    let row = tx.update(row).await?;
    if row.proof_required && row.proof_secret.is_none() {
        return Err(Error::invalid(
            "proofRequired",
            "make a secret first: identityProofSecretRotate",
        ));
    }
    let changed = json!({"limits": changes.limits, "proofRequired": changes.proof_required});
    tx.audit(Audited::new("identityPolicySave", &row.id, changed))
        .await?;
    Ok(row)
}

/// Makes a new secret for proofs and gives it, this once; proofs made with the one before hold no more.
pub async fn rotate_proof_secret(
    tx: &Tx,
    secrets: &Secrets,
    reason: Option<&str>,
) -> Result<String> {
    let secret = hex(&tx.rng().bytes::<32>());
    let mut row = current(tx).await?;
    row.proof_secret = Set(Some(secrets.seal(
        tx.rng(),
        &proof::place(tx.tenant()),
        &secret,
    )?));
    row.updated_at = Set(tx.now());
    let row = tx.update(row).await?;
    tx.audit(Audited::new(
        "identityProofSecretRotate",
        &row.id,
        json!({"reason": reason}),
    ))
    .await?;
    Ok(secret)
}

async fn current(tx: &Tx) -> Result<identity_policy::ActiveModel> {
    if let Some(row) = tx.find::<identity_policy::Entity>().one().await? {
        return Ok(row.into_active_model());
    }
    let row = tx
        .insert(identity_policy::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            limits: Set(json!([])),
            proof_secret: Set(None),
            proof_required: Set(false),
            updated_at: Set(tx.now()),
        })
        .await
        .map_err(Error::contended)?;
    Ok(row.into_active_model())
}
