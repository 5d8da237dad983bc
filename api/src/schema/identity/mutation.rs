//! Joining and taking apart by hand, and what evidence may do by itself.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::schema::{contact::Contact, mutation::ContactPayload};
use crate::{
    base::{
        Error, Result,
        gql::{self, CxExt, UserErrors, outcome},
    },
    contact::{self, Blocked, ContactKey, KindLimit, PolicyChanges, Undo},
};

use super::{
    contact_id, contact_ids_of, normalized,
    objects::{IdentityBlock, IdentityLimit, IdentityPolicy, MergeProposal},
    parsed,
};
/// Which contacts are one person.
#[derive(InputObject)]
pub(super) struct ContactMergeInput {
    /// The contacts, 2 to 10. Which of them stays is decided by what is known of them, not by their order.
    contact_ids: Vec<ID>,
    /// Why, at most 500 characters; kept in the merge history.
    reason: Option<String>,
}

/// Which merge is undone. Give one of the two.
#[derive(InputObject)]
pub(super) struct ContactUnmergeInput {
    /// A record of the merge history.
    merge_id: Option<ID>,
    /// The contact that was absorbed.
    contact_id: Option<ID>,
    /// Why, at most 500 characters; kept in the merge history.
    reason: Option<String>,
}

/// The contacts, as they are now.
#[derive(SimpleObject)]
pub(super) struct ContactUnmergePayload {
    /// The contact that was taken out; null where the input is wrong.
    contact: Option<Contact>,
    /// The one that it was part of.
    former: Option<Contact>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Which proposal is decided.
#[derive(InputObject)]
pub(super) struct MergeProposalDecideInput {
    /// The proposal.
    id: ID,
}

/// The proposal, as it is now.
#[derive(SimpleObject)]
pub(super) struct MergeProposalPayload {
    /// The proposal; null where the input is wrong.
    merge_proposal: Option<MergeProposal>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What stands for nobody.
#[derive(InputObject)]
pub(super) struct IdentityBlockAddInput {
    /// The value.
    value: ContactKey,
    /// The other end, where only the link between the two is meant.
    other: Option<ContactKey>,
    /// Why, at most 500 characters.
    reason: Option<String>,
}

/// The block.
#[derive(SimpleObject)]
pub(super) struct IdentityBlockPayload {
    /// The block; null where the input is wrong, and where it was removed.
    identity_block: Option<IdentityBlock>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Which block goes.
#[derive(InputObject)]
pub(super) struct IdentityBlockRemoveInput {
    /// The block.
    id: ID,
}

/// What changes of the policy; what is absent stays.
#[derive(InputObject)]
pub(super) struct IdentityPolicySaveInput {
    /// Limits that are not the usual ones; all of them, for those before are replaced.
    limits: Option<Vec<IdentityLimit>>,
    /// Whether a browser must prove the user id that it names.
    proof_required: Option<bool>,
}

/// The policy, as it is now.
#[derive(SimpleObject)]
pub(super) struct IdentityPolicyPayload {
    /// The policy; null where the input is wrong.
    identity_policy: Option<IdentityPolicy>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Why the secret is replaced.
#[derive(InputObject)]
pub(super) struct IdentityProofSecretRotateInput {
    /// The reason, at most 500 characters; kept in the audit log.
    reason: Option<String>,
}

/// The new secret.
#[derive(SimpleObject)]
pub(super) struct IdentityProofSecretPayload {
    /// The secret, shown this once: `userHash` is the HMAC-SHA256 of the user id with it, in hexadecimal.
    secret: Option<String>,
    #[graphql(flatten)]
    errors: UserErrors,
}

const REASON_CHARS_MAX: usize = 500;

fn bounded(reason: Option<String>) -> Result<Option<String>> {
    let reason = reason.map(crate::base::storable);
    if reason
        .as_ref()
        .is_some_and(|text| text.chars().count() > REASON_CHARS_MAX)
    {
        return Err(Error::invalid(
            "reason",
            format!("at most {REASON_CHARS_MAX} characters"),
        ));
    }
    Ok(reason)
}

#[derive(Default)]
pub(crate) struct IdentityMutation;

#[Object]
impl IdentityMutation {
    /// Says that contacts are one person, whatever the limits. It can be undone: `contactUnmerge`.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_merge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contacts.")] input: ContactMergeInput,
    ) -> async_graphql::Result<ContactPayload> {
        let cx = ctx.cx()?;
        let read = || Ok((contact_ids_of(&input.contact_ids)?, bounded(input.reason)?));
        let done = match read() {
            Ok((ids, reason)) => {
                cx.write(async |tx| contact::merge(tx, &ids, reason.clone()).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let done = done.map_err(|error| match error {
            Error::User(e) if e.field.as_deref() == Some("contactId") => {
                Error::user(e.code, "contactIds", e.message)
            }
            other => other,
        });
        let (root, errors) = outcome(done)?;
        Ok(ContactPayload::new(root, errors))
    }
    /// Takes a contact out of the one that absorbed it: each has again what came by its own identifiers. The two stay apart until
    /// `contactMerge` joins them.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_unmerge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which merge.")] input: ContactUnmergeInput,
    ) -> async_graphql::Result<ContactUnmergePayload> {
        let cx = ctx.cx()?;
        let read = || {
            let undo = match (&input.merge_id, &input.contact_id) {
                (Some(id), None) => Undo::Record(parsed(id, "mergeId", "merge")?),
                (None, Some(id)) => Undo::Contact(contact_id(id, "contactId")?),
                _ => {
                    return Err(Error::invalid(
                        "mergeId",
                        "give exactly one of mergeId and contactId",
                    ));
                }
            };
            Ok((undo, bounded(input.reason)?))
        };
        let done = match read() {
            Ok((undo, reason)) => {
                cx.write(async |tx| contact::unmerge(tx, undo, reason.clone()).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let (done, errors) = outcome(done)?;
        let (mut contact, mut former) = (None, None);
        if let Some((own, root)) = done {
            let mut rows = contact::roots(&cx.db(), &[own, root]).await?;
            contact = rows.remove(&own).map(Contact::from);
            former = rows.remove(&root).map(Contact::from);
        }
        Ok(ContactUnmergePayload {
            contact,
            former,
            errors,
        })
    }
    /// Joins the contacts of a proposal.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn merge_proposal_approve(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The proposal.")] input: MergeProposalDecideInput,
    ) -> async_graphql::Result<MergeProposalPayload> {
        decided(ctx, &input.id, true).await
    }
    /// Keeps the contacts of a proposal apart, for good.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn merge_proposal_reject(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The proposal.")] input: MergeProposalDecideInput,
    ) -> async_graphql::Result<MergeProposalPayload> {
        decided(ctx, &input.id, false).await
    }
    /// Has a value stand for nobody, such as an address that a form fills in by itself; or two values be no evidence for each
    /// other. What it joined comes apart.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn identity_block_add(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The value.")] input: IdentityBlockAddInput,
    ) -> async_graphql::Result<IdentityBlockPayload> {
        let cx = ctx.cx()?;
        let read = || {
            Ok(Blocked {
                value: normalized(&input.value, "value")?,
                other: input
                    .other
                    .as_ref()
                    .map(|other| normalized(other, "other"))
                    .transpose()?,
                reason: bounded(input.reason.clone())?,
            })
        };
        let done = match read() {
            Ok(blocked) => {
                cx.write(async |tx| contact::block(tx, &blocked).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let (row, errors) = outcome(done)?;
        Ok(IdentityBlockPayload {
            identity_block: row.map(IdentityBlock::from),
            errors,
        })
    }
    /// Takes a block away; what it kept apart comes together again where the evidence says so.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn identity_block_remove(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The block.")] input: IdentityBlockRemoveInput,
    ) -> async_graphql::Result<IdentityBlockPayload> {
        let cx = ctx.cx()?;
        let done = match parsed(&input.id, "id", "block") {
            Ok(id) => cx.write(async |tx| contact::unblock(tx, id).await).await,
            Err(error) => Err(error),
        };
        let (_, errors) = outcome(done)?;
        Ok(IdentityBlockPayload {
            identity_block: None,
            errors,
        })
    }
    /// Changes what the tenant asks of evidence, and of browsers.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn identity_policy_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What changes.")] input: IdentityPolicySaveInput,
    ) -> async_graphql::Result<IdentityPolicyPayload> {
        let changes = PolicyChanges {
            limits: input.limits.map(|limits| {
                let limits = limits.into_iter();
                limits
                    .map(|limit| KindLimit {
                        kind: limit.kind.into(),
                        max: usize::try_from(limit.max).unwrap_or(usize::MAX),
                        within_days: limit.within_days,
                        counts_from: limit.counts_from.into(),
                    })
                    .collect()
            }),
            proof_required: input.proof_required,
        };
        let cx = ctx.cx()?;
        let done = cx
            .write(async |tx| contact::save_policy(tx, changes.clone()).await)
            .await;
        let (row, errors) = outcome(done)?;
        Ok(IdentityPolicyPayload {
            identity_policy: row.map(|row| IdentityPolicy(Some(row))),
            errors,
        })
    }
    /// Makes a new secret by which the backend proves user ids for browsers. Proofs of the one before hold no more.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn identity_proof_secret_rotate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Why.")] input: IdentityProofSecretRotateInput,
    ) -> async_graphql::Result<IdentityProofSecretPayload> {
        let cx = ctx.cx()?;
        let secrets = &cx.env().secrets;
        let done = match bounded(input.reason) {
            Ok(reason) => {
                cx.write(async |tx| {
                    contact::rotate_proof_secret(tx, secrets, reason.as_deref()).await
                })
                .await
            }
            Err(error) => Err(error),
        };
        let (secret, errors) = outcome(done)?;
        Ok(IdentityProofSecretPayload { secret, errors })
    }
}

async fn decided(
    ctx: &Context<'_>,
    id: &ID,
    approve: bool,
) -> async_graphql::Result<MergeProposalPayload> {
    let cx = ctx.cx()?;
    let done = match parsed(id, "id", "proposal") {
        Ok(id) => {
            cx.write(async |tx| contact::decide(tx, id, approve).await)
                .await
        }
        Err(error) => Err(error),
    };
    let (row, errors) = outcome(done)?;
    Ok(MergeProposalPayload {
        merge_proposal: row.map(MergeProposal::from),
        errors,
    })
}
