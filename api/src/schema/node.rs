//! Any object by its id. It is found, hidden and refused as by its own field.

use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object};
use entity::{
    ContactId, EventId, Id, TenantId, account, api_key, audit_entry, consent, contact_identifier,
    contact_view, dead_letter, erasure, identity_block, import_reject, issuer, job, merge_proposal,
    merge_record, metric, nudge_delivery, operation, posthog_connection, relationship,
    segment_size, tenant, touchpoint, trait_definition, trait_observation,
};

use super::{
    account::Account,
    contact::Contact,
    dead_letter::DeadLetter,
    event::Event,
    identity::{IdentityBlock, MergeProposal, MergeRecord},
    operation::Operation,
    relationship::Relationship,
    segment::{Segment, SegmentSize},
    timeline::{self, Length, Part, TimelineItem, Timelines},
    view::{self, ContactView, ContactViewRow},
};
use crate::{
    base::{
        Actor, Batch, Cx, Error, Result,
        gql::{self, ById, CxExt, Need},
    },
    contact::{self, Consent, Identifier, Loaders, Touchpoint, TraitDefinition, TraitObservation},
    import::{self, Import, ImportReject},
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
    Consent(Consent),
    Contact(Contact),
    ContactView(ContactView),
    ContactViewRow(ContactViewRow),
    DeadLetter(DeadLetter),
    Erasure(Erasure),
    Event(Event),
    Identifier(Identifier),
    IdentityBlock(IdentityBlock),
    Import(Import),
    ImportReject(ImportReject),
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
    Relationship(Relationship),
    Segment(Segment),
    SegmentSize(SegmentSize),
    Tenant(Tenant),
    TimelineItem(TimelineItem),
    Touchpoint(Touchpoint),
    TraitDefinition(TraitDefinition),
    TraitObservation(TraitObservation),
}

/// Declares what `node` loads by its id as it lies in its table: of which entity, who may ask for it, and what shows it. Rows of
/// `theirs` are about a contact, and a contact's token gets to its own.
macro_rules! by_id {
    (
        plain { $($plain:ident: $entity:ident, $need:ident => $shown:ident;)+ }
        theirs { $($own:ident: $theirs:ident, $own_need:ident => $own_shown:ident;)+ }
    ) => {
        /// One request's batches of rows that `node` and `nodes` ask for by their ids, and of what stands at the roof.
        pub struct Found {
            api_keys: Batch<ById, Id<api_key::Entity>>,
            observations: Batch<contact::Observations, Id<trait_observation::Entity>>,
            tenants: Batch<ById, Id<tenant::Entity>>,
            views: Batch<ById, Id<contact_view::Entity>>,
            pub(super) timeline_items: Batch<Timelines, String>,
            pub(super) timeline_lengths: Batch<Timelines, Length>,
            pub(super) timelines: Batch<Timelines, Part>,
            $($plain: Batch<ById, Id<$entity::Entity>>,)+
            $($own: Batch<ById, Id<$theirs::Entity>>,)+
        }

        impl Found {
            pub fn new(cx: &Cx) -> Arc<Self> {
                let rows = || ById(cx.clone());
                Arc::new(Self {
                    api_keys: Batch::new(rows()),
                    observations: Batch::new(contact::Observations(cx.clone())),
                    tenants: Batch::new(rows()),
                    views: Batch::new(rows()),
                    timeline_items: Batch::new(Timelines(cx.clone())),
                    timeline_lengths: Batch::new(Timelines(cx.clone())),
                    timelines: Batch::new(Timelines(cx.clone())),
                    $($plain: Batch::new(rows()),)+
                    $($own: Batch::new(rows()),)+
                })
            }

            /// The object of this id, if it is one that is shown as it lies in its table. The outer `None`: it is another's.
            async fn by_id(
                &self,
                ctx: &Context<'_>,
                id: &ID,
            ) -> async_graphql::Result<Option<Option<Node>>> {
                $(if let Some(id) = Id::parse(id) {
                    meets(ctx, gql::$need)?;
                    let row = self.$plain.ask(id).await?;
                    return Ok(Some(row.map(|row| Node::$shown(row.into()))));
                })+
                $(if let Some(id) = Id::parse(id) {
                    meets(ctx, gql::$own_need)?;
                    let Some(row) = self.$own.ask(id).await? else {
                        return Ok(Some(None));
                    };
                    let reachable = is_reachable(ctx, Some(row.contact_id)).await?;
                    return Ok(Some(reachable.then(|| Node::$own_shown(row.into()))));
                })+
                Ok(None)
            }
        }
    };
}

by_id! {
    plain {
        accounts: account, CONTACTS_READ => Account;
        audit_entries: audit_entry, TENANT_READ => AuditEntry;
        blocks: identity_block, CONTACTS_READ => IdentityBlock;
        dead_letters: dead_letter, TENANT_READ => DeadLetter;
        erasures: erasure, PRIVACY_READ => Erasure;
        integrations: posthog_connection, TENANT_READ => PosthogIntegration;
        issuers: issuer, TENANT_READ => Issuer;
        jobs: job, CONTACTS_READ => Job;
        merges: merge_record, CONTACTS_READ => MergeRecord;
        metrics: metric, ANALYTICS_READ => Metric;
        operations: operation, TENANT_READ => Operation;
        proposals: merge_proposal, CONTACTS_READ => MergeProposal;
        rejects: import_reject, CONTACTS_READ => ImportReject;
        relationships: relationship, CONTACTS_READ => Relationship;
        sizes: segment_size, SEGMENTS_READ => SegmentSize;
        trait_definitions: trait_definition, CONTACTS_READ => TraitDefinition;
    }
    theirs {
        consents: consent, CONTACT_OR_OWN => Consent;
        deliveries: nudge_delivery, NUDGES_OR_OWN => NudgeDelivery;
        identifiers: contact_identifier, CONTACT_OR_OWN => Identifier;
        touchpoints: touchpoint, CONTACT_OR_OWN => Touchpoint;
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
    if let Some(known) = found.by_id(ctx, id).await? {
        return Ok(known);
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACT_OR_OWN)?;
        let Some(row) = found.observations.ask(id).await? else {
            return Ok(None);
        };
        let reachable = is_reachable(ctx, Some(row.contact_id)).await?;
        return Ok(reachable.then(|| Node::TraitObservation(row.into())));
    }
    if let Some(id) = Id::<import::Named>::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.jobs.ask(Id::from_uuid(id.uuid())).await?;
        return Ok(row.and_then(Import::of).map(Node::Import));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let row = found.views.ask(id).await?;
        let view = row.map(ContactView::try_from).transpose()?;
        return Ok(view.map(Node::ContactView));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::SEGMENTS_READ)?;
        let row = segment::Reads::of(ctx)?.segments.ask(id).await?;
        return Ok(row.map(|row| Node::Segment(row.into())));
    }
    if let Some(id) = Id::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.api_keys.ask(id).await?;
        return Ok(row.map(ApiKey::try_from).transpose()?.map(Node::ApiKey));
    }
    if let Some(id) = TenantId::parse(id) {
        meets(ctx, gql::TENANT_READ)?;
        let row = found.tenants.ask(id).await?;
        return Ok(row.map(|row| Node::Tenant(row.into())));
    }
    if let Some((view, contact)) = view::row_id(id) {
        meets(ctx, gql::CONTACTS_READ)?;
        let (view, contact) = futures_util::future::try_join(
            found.views.ask(view),
            Loaders::of(ctx)?.roots.ask(contact),
        )
        .await?;
        let (Some(view), Some(contact)) = (view, contact) else {
            return Ok(None);
        };
        let row = ContactView::try_from(view)?.row_of(contact);
        return Ok(Some(Node::ContactViewRow(row)));
    }
    let item = timeline::find(ctx, found, id).await?;
    Ok(item.map(Node::TimelineItem))
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
