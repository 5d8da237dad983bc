//! What there is to see of who is who: merges, proposals, blocks, evidence and the policy.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use entity::{
    Id, contact_evidence, contact_identifier, identity_block, identity_policy, merge_proposal,
    merge_record,
};
use serde_json::Value;

use crate::schema::contact::Contact;
use crate::{
    base::{gql::UserErrors, instant::Instant},
    contact::{Identifier, IdentifierKind, IdentifierVerification, KindLimit, Loaders},
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
    pub(super) contact: Contact,
    /// The identifier that was asked for.
    pub(super) identifier: Identifier,
    /// The evidence that leads from the identifier that the contact goes by to the one asked for; empty where it is that one.
    pub(super) why: Vec<Evidence>,
    /// Evidence about the identifier that joins nothing, with its reason.
    pub(super) dormant: Vec<Evidence>,
}

/// What a merge would do.
#[derive(SimpleObject)]
pub(super) struct ContactMergePreview {
    /// The contact that would stay; null where the merge cannot be done.
    pub(super) survivor: Option<Contact>,
    /// The ids of the contacts that it would absorb.
    pub(super) absorbed_ids: Vec<ID>,
    /// How many identifiers it would have.
    pub(super) identifier_count: usize,
    /// Traits on which they differ.
    pub(super) conflicts: Vec<TraitConflict>,
    #[graphql(flatten)]
    pub(super) errors: UserErrors,
}

/// A trait that contacts do not agree on.
#[derive(SimpleObject)]
pub(super) struct TraitConflict {
    /// The trait.
    pub(super) key: String,
    /// Its values, one a contact that has it, in the order of the ids.
    pub(super) values: Vec<async_graphql::Json<Value>>,
}

/// How many identifiers of a kind one contact may have by evidence; a person may join beyond it.
#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "IdentityLimitInput")]
pub(super) struct IdentityLimit {
    /// The kind.
    pub(super) kind: IdentifierKind,
    /// At most so many, 1 to 200.
    pub(super) max: u32,
    /// Those first seen within so many days of each other; for ever where absent.
    pub(super) within_days: Option<u32>,
    /// Those of a lower level do not count.
    pub(super) counts_from: IdentifierVerification,
}

/// What the tenant asks of evidence before it joins people.
pub(super) struct IdentityPolicy(pub(super) Option<identity_policy::Model>);

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
