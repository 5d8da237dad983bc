//! Any object by its id. It is found, hidden and refused as by its own field.

use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object};
use entity::{
    ContactId, EventId, Id, TenantId, account, api_key, audit_entry, contact_identifier,
    dead_letter, erasure, identity_block, issuer, job, merge_proposal, merge_record, metric,
    nudge_delivery, operation, posthog_connection, relationship, tenant, trait_definition,
};

use super::{
    account::Account,
    contact::Contact,
    dead_letter::DeadLetter,
    event::Event,
    identity::{IdentityBlock, MergeProposal, MergeRecord},
    operation::Operation,
    relationship::Relationship,
    segment::Segment,
    timeline::{Length, Part, Timelines},
};
use crate::{
    base::{
        Actor, Batch, Cx, Error, Result,
        gql::{self, ById, CxExt, Need},
    },
    contact::{Identifier, Loaders, TraitDefinition},
    import::{self, Import},
    job::Job,
    nudge::{self, Nudge, NudgeDelivery, NudgeVersion},
    posthog::{Metric, PosthogConnection},
    privacy::Erasure,
    segment,
    tenant::{ApiKey, AuditEntry, Issuer, Tenant},
};

/// What one `nodes` asks for at most: a page.
const IDS_MAX: usize = 100;

/// An object with an id of its own.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "The object's id, unique over all types."
))]
pub enum Node {
    Account(Account),
    ApiKey(ApiKey),
    AuditEntry(AuditEntry),
    Contact(Contact),
    DeadLetter(DeadLetter),
    Erasure(Erasure),
    Event(Event),
    Identifier(Identifier),
    IdentityBlock(IdentityBlock),
    Import(Import),
    Issuer(Issuer),
    Job(Job),
    MergeProposal(MergeProposal),
    MergeRecord(MergeRecord),
    Metric(Metric),
    Nudge(Nudge),
    NudgeDelivery(NudgeDelivery),
    NudgeVersion(NudgeVersion),
    Operation(Operation),
    PosthogIntegration(PosthogConnection),
    Segment(Segment),
    Relationship(Relationship),
    Tenant(Tenant),
    TraitDefinition(TraitDefinition),
}

/// One request's batches of rows that `node` and `nodes` ask for by their ids, and of what stands at the roof.
pub struct Found {
    accounts: Batch<ById, Id<account::Entity>>,
    api_keys: Batch<ById, Id<api_key::Entity>>,
    audit_entries: Batch<ById, Id<audit_entry::Entity>>,
    blocks: Batch<ById, Id<identity_block::Entity>>,
    dead_letters: Batch<ById, Id<dead_letter::Entity>>,
    deliveries: Batch<ById, Id<nudge_delivery::Entity>>,
    erasures: Batch<ById, Id<erasure::Entity>>,
    identifiers: Batch<ById, Id<contact_identifier::Entity>>,
    integrations: Batch<ById, Id<posthog_connection::Entity>>,
    issuers: Batch<ById, Id<issuer::Entity>>,
    jobs: Batch<ById, Id<job::Entity>>,
    merges: Batch<ById, Id<merge_record::Entity>>,
    metrics: Batch<ById, Id<metric::Entity>>,
    operations: Batch<ById, Id<operation::Entity>>,
    proposals: Batch<ById, Id<merge_proposal::Entity>>,
    relationships: Batch<ById, Id<relationship::Entity>>,
    tenants: Batch<ById, Id<tenant::Entity>>,
    pub(super) timeline_lengths: Batch<Timelines, Length>,
    pub(super) timelines: Batch<Timelines, Part>,
    trait_definitions: Batch<ById, Id<trait_definition::Entity>>,
}

impl Found {
    pub fn new(cx: &Cx) -> Arc<Self> {
        let rows = || ById(cx.clone());
        Arc::new(Self {
            accounts: Batch::new(rows()),
            api_keys: Batch::new(rows()),
            audit_entries: Batch::new(rows()),
            blocks: Batch::new(rows()),
            dead_letters: Batch::new(rows()),
            deliveries: Batch::new(rows()),
            erasures: Batch::new(rows()),
            identifiers: Batch::new(rows()),
            integrations: Batch::new(rows()),
            issuers: Batch::new(rows()),
            jobs: Batch::new(rows()),
            merges: Batch::new(rows()),
            metrics: Batch::new(rows()),
            operations: Batch::new(rows()),
            proposals: Batch::new(rows()),
            relationships: Batch::new(rows()),
            tenants: Batch::new(rows()),
            timeline_lengths: Batch::new(Timelines(cx.clone())),
            timelines: Batch::new(Timelines(cx.clone())),
            trait_definitions: Batch::new(rows()),
        })
    }
}

#[derive(Default)]
pub(super) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// One object by its id; null where there is none.
    #[graphql(visible = "gql::reader")]
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The object's id.")] id: ID,
    ) -> Option<async_graphql::Result<Node>> {
        gql::nullable(ctx, gql::READER, find(ctx, &id)).await
    }
    /// Several objects by their ids, in the ids' order; null where there is none.
    #[graphql(guard = "gql::READER", visible = "gql::reader")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The objects' ids; at most 100.")] ids: Vec<ID>,
    ) -> async_graphql::Result<Vec<Option<async_graphql::Result<Node>>>> {
        if ids.len() > IDS_MAX {
            let message = format!("at most {IDS_MAX} ids, not {}", ids.len());
            return Err(Error::invalid("ids", message).into());
        }
        // All at once, so that they share their loads.
        let found = ids.iter().map(|id| find(ctx, id));
        let found = futures_util::future::join_all(found).await;
        Ok(found.into_iter().map(Result::transpose).collect())
    }
}

pub(super) async fn find(ctx: &Context<'_>, id: &ID) -> async_graphql::Result<Option<Node>> {
    let loaders = Loaders::of(ctx)?;
    if let Some(id) = ContactId::parse(id) {
        meets(ctx, gql::CONTACT_OR_OWN)?;
        let Some(row) = loaders.roots.ask(id).await? else {
            return Ok(None);
        };
        let reachable = is_reachable(ctx, Some(row.id)).await?;
        return Ok(reachable.then(|| Node::Contact(row.into())));
    }
    if let Some(id) = EventId::parse(id) {
        meets(ctx, gql::EVENTS_OR_OWN)?;
        let Some(row) = loaders.events_by_id.ask(id).await? else {
            return Ok(None);
        };
        let reachable = is_reachable(ctx, row.contact_id).await?;
        return Ok(reachable.then(|| Node::Event(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::NUDGES_READ)?;
        return Ok(nudge::find(ctx, id).await?.map(Node::Nudge));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::NUDGES_READ)?;
        let version = nudge::find_version(ctx, id).await?;
        return Ok(version.map(Node::NudgeVersion));
    }
    // Its future is large, and every `node` would carry it.
    Box::pin(find_more(ctx, id)).await
}

/// Of the types that other fields show by the list, or one a tenant.
async fn find_more(ctx: &Context<'_>, id: &ID) -> async_graphql::Result<Option<Node>> {
    let found: &Arc<Found> = ctx.data_opt().ok_or(Error::Forbidden)?;
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::NUDGES_OR_OWN)?;
        let Some(row) = found.deliveries.ask(id).await? else {
            return Ok(None);
        };
        let reachable = is_reachable(ctx, Some(row.contact_id)).await?;
        return Ok(reachable.then(|| Node::NudgeDelivery(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACT_OR_OWN)?;
        let Some(row) = found.identifiers.ask(id).await? else {
            return Ok(None);
        };
        let reachable = is_reachable(ctx, Some(row.contact_id)).await?;
        return Ok(reachable.then(|| Node::Identifier(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::ANALYTICS_READ)?;
        let row = found.metrics.ask(id).await?;
        return Ok(row.map(|row| Node::Metric(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.accounts.ask(id).await?;
        return Ok(row.map(|row| Node::Account(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.relationships.ask(id).await?;
        return Ok(row.map(|row| Node::Relationship(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.trait_definitions.ask(id).await?;
        return Ok(row.map(|row| Node::TraitDefinition(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.jobs.ask(id).await?;
        return Ok(row.map(|row| Node::Job(row.into())));
    }
    if let Some(id) = Id::<import::Named>::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.jobs.ask(Id::from_uuid(id.uuid())).await?;
        return Ok(row.and_then(Import::of).map(Node::Import));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::PRIVACY_READ)?;
        let row = found.erasures.ask(id).await?;
        return Ok(row.map(|row| Node::Erasure(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.merges.ask(id).await?;
        return Ok(row.map(|row| Node::MergeRecord(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.proposals.ask(id).await?;
        return Ok(row.map(|row| Node::MergeProposal(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.blocks.ask(id).await?;
        return Ok(row.map(|row| Node::IdentityBlock(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::SEGMENTS_READ)?;
        let row = segment::Reads::of(ctx)?.segments.ask(id).await?;
        return Ok(row.map(|row| Node::Segment(row.into())));
    }
    find_managed(ctx, found, id).await
}

/// Of the types that show how the tenant is run.
async fn find_managed(
    ctx: &Context<'_>,
    found: &Found,
    id: &ID,
) -> async_graphql::Result<Option<Node>> {
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.dead_letters.ask(id).await?;
        return Ok(row.map(|row| Node::DeadLetter(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.audit_entries.ask(id).await?;
        return Ok(row.map(|row| Node::AuditEntry(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.issuers.ask(id).await?;
        return Ok(row.map(|row| Node::Issuer(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.operations.ask(id).await?;
        return Ok(row.map(|row| Node::Operation(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.api_keys.ask(id).await?;
        return Ok(row.map(ApiKey::try_from).transpose()?.map(Node::ApiKey));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.integrations.ask(id).await?;
        return Ok(row.map(|row| Node::PosthogIntegration(row.into())));
    }
    if let Some(id) = TenantId::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.tenants.ask(id).await?;
        return Ok(row.map(|row| Node::Tenant(row.into())));
    }
    Ok(None)
}

fn meets(ctx: &Context<'_>, need: Need) -> Result<()> {
    if need.met_by(ctx.actor()) {
        Ok(())
    } else {
        Err(Error::Forbidden)
    }
}

/// Whether the caller gets to what is about `contact`: a contact's token gets to its own alone, and cannot tell
/// another's from nobody's.
pub(super) async fn is_reachable(
    ctx: &Context<'_>,
    contact: Option<ContactId>,
) -> async_graphql::Result<bool> {
    let Actor::Contact { id: own, .. } = ctx.actor() else {
        return Ok(true);
    };
    let Some(contact) = contact else {
        return Ok(false);
    };
    // Either may have been absorbed since it was written down.
    let roots = &Loaders::of(ctx)?.roots;
    let (own, contact) =
        futures_util::future::try_join(roots.ask(*own), roots.ask(contact)).await?;
    Ok(match (own, contact) {
        (Some(own), Some(contact)) => own.id == contact.id,
        _ => false,
    })
}
