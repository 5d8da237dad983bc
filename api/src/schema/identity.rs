//! Who is one person, why, and what people decide about it.

use std::collections::BTreeSet;

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use entity::{
    ContactId, Id, contact_evidence, contact_identifier, identity_block, identity_policy,
    merge_proposal, merge_record,
};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::Value;

use super::{contact::Contact, mutation::ContactPayload};
use crate::{
    base::{
        Error, ErrorCode, Listing, PageArgs, Result, SortBy,
        gql::{self, CxExt, UserErrors, outcome},
        instant::Instant,
        page,
    },
    contact::{
        self, Blocked, ContactKey, Identifier, IdentifierKind, IdentifierVerification, KindLimit,
        Loaders, MERGE_MAX, PolicyChanges, Undo,
    },
};

/// What became of two contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "merge_record::Kind")]
pub enum MergeRecordKind {
    /// One absorbed the other.
    Merge,
    /// One was taken out of the other.
    Split,
}

/// Why it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "merge_record::Mode")]
pub enum MergeMode {
    /// The evidence was enough.
    Auto,
    /// A proposal was approved.
    Review,
    /// Somebody asked for it.
    Manual,
}

/// One merge or split of two contacts.
pub struct MergeRecord(merge_record::Model);

impl From<merge_record::Model> for MergeRecord {
    fn from(row: merge_record::Model) -> Self {
        Self(row)
    }
}

/// One merge or split of two contacts.
#[Object]
impl MergeRecord {
    /// The record's id: what `contactUnmerge` takes.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What became of the two.
    async fn kind(&self) -> MergeRecordKind {
        self.0.kind.into()
    }
    /// Why it was done.
    async fn mode(&self) -> MergeMode {
        self.0.mode.into()
    }
    /// The id of the contact that stayed.
    async fn survivor_id(&self) -> ID {
        self.0.survivor_id.to_string().into()
    }
    /// The id of the contact that was absorbed by it, or taken out of it.
    async fn other_id(&self) -> ID {
        self.0.other_id.to_string().into()
    }
    /// Why the two were held to be one: the evidence that joined them. Null where it is not known by itself.
    async fn evidence(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Vec<Identifier>>> {
        let Some((a, b)) = self.0.a_id.zip(self.0.b_id) else {
            return Ok(None);
        };
        let loaders = Loaders::of(ctx)?;
        let (a, b) = futures_util::future::try_join(
            loaders.identifiers_by_id.ask(a),
            loaders.identifiers_by_id.ask(b),
        )
        .await?;
        Ok(Some(
            [a, b].into_iter().flatten().map(Identifier::from).collect(),
        ))
    }
    /// The id of the event that showed it; null where a person did it.
    async fn event_id(&self) -> Option<ID> {
        self.0.event_id.map(|id| id.to_string().into())
    }
    /// Who did it, or said what showed it: a key's id, a member, or `system`.
    async fn said_by(&self) -> &str {
        &self.0.said_by
    }
    /// The reason that was given.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// When it was done.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was undone; null while it holds.
    async fn reversed_at(&self) -> Option<Instant> {
        self.0.reversed_at.map(Instant)
    }
}

/// How a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "merge_proposal::State")]
pub enum MergeProposalState {
    /// It waits for an answer.
    NeedsReview,
    /// The contacts are one.
    Applied,
    /// The two are never joined by evidence.
    Rejected,
    /// Nobody answered in time; the two stay apart.
    Expired,
    /// It was applied, and undone.
    Reversed,
}

/// A merge that waits for a person's yes, because much hangs on it.
pub struct MergeProposal(merge_proposal::Model);

impl From<merge_proposal::Model> for MergeProposal {
    fn from(row: merge_proposal::Model) -> Self {
        Self(row)
    }
}

/// A merge that waits for a person's yes, because much hangs on it.
#[Object]
impl MergeProposal {
    /// The proposal's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// How it stands.
    async fn state(&self) -> MergeProposalState {
        self.0.state.into()
    }
    /// The contacts that would become one, as they are now.
    async fn contacts(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Contact>> {
        let loaders = Loaders::of(ctx)?;
        let (a, b) = futures_util::future::try_join(
            loaders.roots.ask(self.0.contact_a_id),
            loaders.roots.ask(self.0.contact_b_id),
        )
        .await?;
        Ok([a, b].into_iter().flatten().map(Contact::from).collect())
    }
    /// The two identifiers whose evidence asks for it.
    async fn evidence(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Identifier>> {
        let loaders = Loaders::of(ctx)?;
        let (a, b) = futures_util::future::try_join(
            loaders.identifiers_by_id.ask(self.0.a_id),
            loaders.identifiers_by_id.ask(self.0.b_id),
        )
        .await?;
        Ok([a, b].into_iter().flatten().map(Identifier::from).collect())
    }
    /// Why it is not done at once: `confirmed_conflict`, `large_component` or `merge_rate`.
    async fn concern(&self) -> &str {
        &self.0.concern
    }
    /// What it would touch, as an object: `identifiersJoined`, `identifiers`, `mergesLastHour`, `medianHourly`.
    async fn blast(&self) -> async_graphql::Json<&Value> {
        async_graphql::Json(&self.0.blast)
    }
    /// How much a wrong merge would spoil; the greater, the more.
    #[expect(
        clippy::cast_precision_loss,
        reason = "it is to be compared, not counted with"
    )]
    async fn risk(&self) -> f64 {
        self.0.risk as f64
    }
    /// When it was proposed.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// Until when an answer is waited for.
    async fn expires_at(&self) -> Instant {
        self.0.expires_at.into()
    }
    /// When it was decided; null while it waits.
    async fn decided_at(&self) -> Option<Instant> {
        self.0.decided_at.map(Instant)
    }
    /// Who decided.
    async fn decided_by(&self) -> Option<&str> {
        self.0.decided_by.as_deref()
    }
}

/// A value that stands for nobody, or two that are no evidence for each other.
pub struct IdentityBlock(identity_block::Model);

impl From<identity_block::Model> for IdentityBlock {
    fn from(row: identity_block::Model) -> Self {
        Self(row)
    }
}

/// A value that stands for nobody, or two that are no evidence for each other.
#[Object]
impl IdentityBlock {
    /// The block's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What the value is.
    async fn kind(&self) -> IdentifierKind {
        self.0.kind.into()
    }
    /// The value, normalised.
    async fn value(&self) -> &str {
        &self.0.value
    }
    /// What the other end is, where only the link between two values is blocked.
    async fn other_kind(&self) -> Option<IdentifierKind> {
        self.0.other_kind.map(IdentifierKind::from)
    }
    /// The other end, where only the link between two values is blocked.
    async fn other_value(&self) -> Option<&str> {
        self.0.other_value.as_deref()
    }
    /// Why it is blocked.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// Who blocked it; `system` where it joined too many contacts.
    async fn said_by(&self) -> &str {
        &self.0.said_by
    }
    /// Since when.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
}

/// What showed that two identifiers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "contact_evidence::Kind")]
pub enum EvidenceKind {
    /// One event named both.
    SameEvent,
    /// An identify call, or PostHog's `$identify`.
    Identify,
    /// An alias call, or PostHog's `$create_alias`.
    Alias,
    /// Somebody of the tenant said so.
    Manual,
}

/// An observation that two identifiers belong to one person.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Evidence {
    #[graphql(skip)]
    ends: [Id<contact_identifier::Entity>; 2],
    /// What showed it.
    kind: EvidenceKind,
    /// What the word of who said it was worth.
    level: IdentifierVerification,
    /// Why it joins nothing, such as `unverified`, `limit`, `shared_device` or `cannot_link`; null where it counts.
    dormant_reason: Option<String>,
    /// The event that named both; null where a person said so.
    event_id: Option<ID>,
    /// Who said so.
    source: String,
    /// When it was first observed.
    observed_at: Instant,
}

impl From<contact_evidence::Model> for Evidence {
    fn from(row: contact_evidence::Model) -> Self {
        Self {
            ends: [row.a_id, row.b_id],
            kind: row.kind.into(),
            level: row.level.into(),
            dormant_reason: row.dormant_reason,
            event_id: row.event_id.map(|id| id.to_string().into()),
            source: row.source,
            observed_at: row.observed_at.into(),
        }
    }
}

#[ComplexObject]
impl Evidence {
    /// The two identifiers.
    async fn between(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Identifier>> {
        let loaders = Loaders::of(ctx)?;
        let [a, b] = self.ends;
        let (a, b) = futures_util::future::try_join(
            loaders.identifiers_by_id.ask(a),
            loaders.identifiers_by_id.ask(b),
        )
        .await?;
        Ok([a, b].into_iter().flatten().map(Identifier::from).collect())
    }
}

/// Whose an identifier is, and why.
#[derive(SimpleObject)]
pub(super) struct ContactResolution {
    /// The contact.
    contact: Contact,
    /// The identifier that was asked for.
    identifier: Identifier,
    /// The evidence that leads from the identifier that the contact goes by to the one asked for; empty where it is that one.
    why: Vec<Evidence>,
    /// Evidence about the identifier that joins nothing, with its reason.
    dormant: Vec<Evidence>,
}

/// What a merge would do.
#[derive(SimpleObject)]
pub(super) struct ContactMergePreview {
    /// The contact that would stay; null where the merge cannot be done.
    survivor: Option<Contact>,
    /// The ids of the contacts that it would absorb.
    absorbed_ids: Vec<ID>,
    /// How many identifiers it would have.
    identifier_count: usize,
    /// Traits on which they differ.
    conflicts: Vec<TraitConflict>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A trait that contacts do not agree on.
#[derive(SimpleObject)]
pub(super) struct TraitConflict {
    /// The trait.
    key: String,
    /// Its values, one a contact that has it, in the order of the ids.
    values: Vec<async_graphql::Json<Value>>,
}

/// How many identifiers of a kind one contact may have by evidence; a person may join beyond it.
#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "IdentityLimitInput")]
pub(super) struct IdentityLimit {
    /// The kind.
    kind: IdentifierKind,
    /// At most so many, 1 to 200.
    max: u32,
    /// Those first seen within so many days of each other; for ever where absent.
    within_days: Option<u32>,
    /// Those of a lower level do not count.
    counts_from: IdentifierVerification,
}

/// What the tenant asks of evidence before it joins people.
pub(super) struct IdentityPolicy(Option<identity_policy::Model>);

/// What the tenant asks of evidence before it joins people.
#[Object]
impl IdentityPolicy {
    /// Limits that are not the usual ones. Those are: one user id, three confirmed e-mail addresses, three phone numbers, fifty
    /// anonymous ids and fifty distinct ids.
    async fn limits(&self) -> async_graphql::Result<Vec<IdentityLimit>> {
        let Some(row) = &self.0 else {
            return Ok(vec![]);
        };
        let limits: Vec<KindLimit> = serde_json::from_value(row.limits.clone())?;
        Ok(limits
            .into_iter()
            .map(|limit| IdentityLimit {
                kind: limit.kind.into(),
                max: u32::try_from(limit.max).unwrap_or(u32::MAX),
                within_days: limit.within_days,
                counts_from: limit.counts_from.into(),
            })
            .collect())
    }
    /// Whether there is a secret by which the backend proves user ids for browsers.
    async fn has_proof_secret(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|row| row.proof_secret.is_some())
    }
    /// Whether a browser must prove the user id that it names, by `userHash`.
    async fn proof_required(&self) -> bool {
        self.0.as_ref().is_some_and(|row| row.proof_required)
    }
}

#[derive(Default)]
pub(super) struct IdentityQuery;

#[Object]
impl IdentityQuery {
    /// Whose an identifier is, and why; null where it is nobody's.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn resolve(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The identifier.")] by: ContactKey,
    ) -> async_graphql::Result<Option<ContactResolution>> {
        let (kind, value) = by.parts();
        let Ok((value, _)) = contact::normalize(kind, value) else {
            // It is no such identifier, so nobody has it.
            return Ok(None);
        };
        let cx = ctx.cx()?;
        let found = cx
            .write(async |tx| contact::resolve(tx, kind, &value).await)
            .await?;
        let Some(found) = found else { return Ok(None) };
        let root = Loaders::of(ctx)?.roots.ask(found.contact).await?;
        let evidence = |rows: Vec<contact_evidence::Model>| {
            rows.into_iter().map(Evidence::from).collect::<Vec<_>>()
        };
        Ok(root.map(|root| ContactResolution {
            contact: root.into(),
            identifier: found.identifier.into(),
            why: evidence(found.path),
            dormant: evidence(found.dormant),
        }))
    }
    /// What `contactMerge` would do with these contacts. Nothing is changed.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_merge_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contacts, 2 to 10.")] contact_ids: Vec<ID>,
    ) -> async_graphql::Result<ContactMergePreview> {
        let cx = ctx.cx()?;
        let done = match contact_ids_of(&contact_ids) {
            Ok(ids) => {
                let preview = cx.write(async |tx| contact::preview(tx, &ids).await).await;
                match preview {
                    Ok(preview) => Ok((conflicts(ctx, &ids).await?, preview)),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let (done, errors) = outcome(done)?;
        let Some((conflicts, preview)) = done else {
            return Ok(ContactMergePreview {
                survivor: None,
                absorbed_ids: vec![],
                identifier_count: 0,
                conflicts: vec![],
                errors,
            });
        };
        let survivor = Loaders::of(ctx)?.roots.ask(preview.survivor).await?;
        Ok(ContactMergePreview {
            survivor: survivor.map(Contact::from),
            absorbed_ids: preview
                .absorbed
                .iter()
                .map(|id| id.to_string().into())
                .collect(),
            identifier_count: preview.identifiers,
            conflicts,
            errors,
        })
    }
    /// Merges that wait for a person, and those that were decided, the riskiest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn merge_proposals(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only those that stand here; those that wait where nothing is said.")]
        state: Option<MergeProposalState>,
    ) -> async_graphql::Result<Listing<MergeProposal>> {
        let cx = ctx.cx()?;
        let state: merge_proposal::State = state.unwrap_or(MergeProposalState::NeedsReview).into();
        let scope = cx.db();
        let rows = scope
            .find::<merge_proposal::Entity>()
            .filter(merge_proposal::Column::State.eq(state));
        let sort = SortBy {
            column: merge_proposal::Column::Risk,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let list = format!("mergeProposals/{state:?}");
        Ok(page(cx, &list, rows, sort, args)
            .await?
            .listing(MergeProposal))
    }
    /// Values that stand for nobody, the latest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn identity_blocks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<IdentityBlock>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let sort = SortBy {
            column: identity_block::Column::CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let rows = scope.find::<identity_block::Entity>();
        Ok(page(cx, "identityBlocks", rows, sort, args)
            .await?
            .listing(IdentityBlock))
    }
    /// What the tenant asks of evidence before it joins people.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn identity_policy(&self, ctx: &Context<'_>) -> async_graphql::Result<IdentityPolicy> {
        let scope = ctx.cx()?.db();
        Ok(IdentityPolicy(
            scope.find::<identity_policy::Entity>().one().await?,
        ))
    }
}

/// Traits on which contacts differ.
async fn conflicts(
    ctx: &Context<'_>,
    ids: &[ContactId],
) -> async_graphql::Result<Vec<TraitConflict>> {
    let traits = contact::traits(&ctx.cx()?.db(), ids).await?;
    let said: Vec<_> = ids.iter().filter_map(|id| traits.get(id)).collect();
    let keys: BTreeSet<&String> = said.iter().flat_map(|traits| traits.keys()).collect();
    let conflict = |key: &String| {
        let values: Vec<&Value> = said.iter().filter_map(|traits| traits.get(key)).collect();
        let differ = values.windows(2).any(|pair| pair[0] != pair[1]);
        differ.then(|| TraitConflict {
            key: key.clone(),
            values: values
                .into_iter()
                .cloned()
                .map(async_graphql::Json)
                .collect(),
        })
    };
    Ok(keys.into_iter().filter_map(conflict).collect())
}

fn contact_ids_of(ids: &[ID]) -> Result<Vec<ContactId>> {
    if !(2..=MERGE_MAX).contains(&ids.len()) {
        return Err(Error::invalid(
            "contactIds",
            format!("give 2 to {MERGE_MAX} ids, not {}", ids.len()),
        ));
    }
    ids.iter().map(|id| contact_id(id, "contactIds")).collect()
}

fn contact_id(id: &ID, field: &str) -> Result<ContactId> {
    ContactId::parse(id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            field,
            format!("there is no contact {}", id.as_str()),
        )
    })
}

fn parsed<T: entity::Named>(id: &ID, field: &str, what: &str) -> Result<Id<T>> {
    Id::parse(id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            field,
            format!("there is no {what} {}", id.as_str()),
        )
    })
}

/// Which contacts are one person.
#[derive(InputObject)]
struct ContactMergeInput {
    /// The contacts, 2 to 10. Which of them stays is decided by what is known of them, not by their order.
    contact_ids: Vec<ID>,
    /// Why, at most 500 characters; kept in the merge history.
    reason: Option<String>,
}

/// Which merge is undone. Give one of the two.
#[derive(InputObject)]
struct ContactUnmergeInput {
    /// A record of the merge history.
    merge_id: Option<ID>,
    /// The contact that was absorbed.
    contact_id: Option<ID>,
    /// Why, at most 500 characters; kept in the merge history.
    reason: Option<String>,
}

/// The contacts, as they are now.
#[derive(SimpleObject)]
struct ContactUnmergePayload {
    /// The contact that was taken out; null where the input is wrong.
    contact: Option<Contact>,
    /// The one that it was part of.
    former: Option<Contact>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Which proposal is decided.
#[derive(InputObject)]
struct MergeProposalDecideInput {
    /// The proposal.
    id: ID,
}

/// The proposal, as it is now.
#[derive(SimpleObject)]
struct MergeProposalPayload {
    /// The proposal; null where the input is wrong.
    merge_proposal: Option<MergeProposal>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What stands for nobody.
#[derive(InputObject)]
struct IdentityBlockAddInput {
    /// The value.
    value: ContactKey,
    /// The other end, where only the link between the two is meant.
    other: Option<ContactKey>,
    /// Why, at most 500 characters.
    reason: Option<String>,
}

/// The block.
#[derive(SimpleObject)]
struct IdentityBlockPayload {
    /// The block; null where the input is wrong, and where it was removed.
    identity_block: Option<IdentityBlock>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Which block goes.
#[derive(InputObject)]
struct IdentityBlockRemoveInput {
    /// The block.
    id: ID,
}

/// What changes of the policy; what is absent stays.
#[derive(InputObject)]
struct IdentityPolicySaveInput {
    /// Limits that are not the usual ones; all of them, for those before are replaced.
    limits: Option<Vec<IdentityLimit>>,
    /// Whether a browser must prove the user id that it names.
    proof_required: Option<bool>,
}

/// The policy, as it is now.
#[derive(SimpleObject)]
struct IdentityPolicyPayload {
    /// The policy; null where the input is wrong.
    identity_policy: Option<IdentityPolicy>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Why the secret is replaced.
#[derive(InputObject)]
struct IdentityProofSecretRotateInput {
    /// The reason, at most 500 characters; kept in the audit log.
    reason: Option<String>,
}

/// The new secret.
#[derive(SimpleObject)]
struct IdentityProofSecretPayload {
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

fn normalized(key: &ContactKey, field: &str) -> Result<(contact_identifier::Kind, String)> {
    let (kind, text) = key.parts();
    let (value, _) = contact::normalize(kind, text).map_err(|why| Error::invalid(field, why))?;
    Ok((kind, value))
}

#[derive(Default)]
pub(super) struct IdentityMutation;

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
            identity_block: row.map(IdentityBlock),
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
        merge_proposal: row.map(MergeProposal),
        errors,
    })
}
