//! Segments: sets of contacts. They stand here because they show contacts.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{ComplexObject, Context, ID, Json, Object, SimpleObject};
use entity::{ContactId, Id, contact, segment, segment_size, segment_source};
use sea_orm::QueryFilter;
use serde_json::Value;

use super::contact::Contact;
use crate::{
    base::{
        Error, Listing, PageArgs, Result,
        gql::{self, CxExt, UserErrors, outcome},
        instant::Instant,
        page,
    },
    contact::{self as contact_room, Loaders},
    segment::{
        self as room, Rule, SegmentDeleteInput, SegmentExplainNode, SegmentFilter, SegmentKind,
        SegmentMembersInput, SegmentSaveInput, SegmentState,
    },
};

/// A set of contacts: those that a rule describes, kept live, or those that were put into it by hand.
pub struct Segment(Arc<segment::Model>);

impl From<segment::Model> for Segment {
    fn from(row: segment::Model) -> Self {
        Self(Arc::new(row))
    }
}
impl From<Arc<segment::Model>> for Segment {
    fn from(row: Arc<segment::Model>) -> Self {
        Self(row)
    }
}

/// A set of contacts: those that a rule describes, kept live, or those that were put into it by hand.
#[Object]
impl Segment {
    /// The segment's id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What the tenant's code calls it; unique in the tenant, and never changes.
    async fn key(&self) -> &str {
        &self.0.key
    }
    /// What the tenant's people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// What it is for.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }
    /// Who decides what is in it.
    async fn kind(&self) -> SegmentKind {
        if self.0.rule.is_some() {
            SegmentKind::Rule
        } else {
            SegmentKind::Static
        }
    }
    /// Who is in it, as it was saved, in the shape of `SegmentRuleInput`; null where it is filled by hand.
    async fn rule(&self) -> Option<Json<Value>> {
        self.0.rule.clone().map(Json)
    }
    /// How far it is.
    async fn state(&self) -> SegmentState {
        self.0.state.into()
    }
    /// How much of all contacts a new rule was asked of, from 0 to 1.
    async fn progress(&self) -> f64 {
        progress(&self.0)
    }
    /// Why contacts could not be asked, when that was tried last; null where all is well.
    async fn failure(&self) -> Option<&str> {
        self.0.failure.as_deref()
    }
    /// When all contacts had been asked; null before they were for the first time.
    async fn computed_at(&self) -> Option<Instant> {
        self.0.computed_at.map(Instant)
    }
    /// How many contacts are in it.
    async fn size(&self) -> i64 {
        self.0.size
    }
    /// When it was made.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was last saved.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at.into()
    }
    /// The contacts in it, those that entered last first. Needs the scope `contacts:read` too: asked for without, the segment itself
    /// is null.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<Contact>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let listed = &room::Reads::of(ctx)?.members;
        let page = listed.page(ctx.cx()?, self.0.id, args).await?;
        let roots = &Loaders::of(ctx)?.roots;
        let asked = page.rows().map(async |row| {
            let root = roots.ask(row.contact_id).await?;
            Ok::<_, async_graphql::Error>(root.map(|root| (row.contact_id, root)))
        });
        let found = futures_util::future::try_join_all(asked).await?;
        let mut found: HashMap<ContactId, contact::Model> = found.into_iter().flatten().collect();
        Ok(page.keep(|row| found.remove(&row.contact_id).map(Contact::from)))
    }
    /// What its rule asks of PostHog, in the rule's order, and how that went; empty for other rules.
    async fn sources(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<SegmentSource>> {
        let sources = &room::Reads::of(ctx)?.sources;
        let ids = room::source_ids(&self.0)?;
        let asked = ids.into_iter().map(|id| sources.ask(id));
        let rows = futures_util::future::try_join_all(asked).await?;
        Ok(rows
            .into_iter()
            .flatten()
            .map(SegmentSource::from)
            .collect())
    }
    /// Its size in each hour in which it changed, the latest first.
    async fn size_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<SegmentSize>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let listed = &room::Reads::of(ctx)?.sizes;
        let page = listed.page(ctx.cx()?, self.0.id, args).await?;
        Ok(page.listing(SegmentSize::from))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, shown to people")]
fn progress(row: &segment::Model) -> f64 {
    match row.state {
        segment::State::Live => 1.0,
        _ if row.walk_total == 0 => 0.0,
        _ => (row.walked as f64 / row.walk_total as f64).min(1.0),
    }
}

/// A set of contacts that only PostHog knows. Rules that ask the same share it.
#[derive(SimpleObject)]
pub(super) struct SegmentSource {
    /// The part of the rule that asks for it.
    rule: Json<Value>,
    /// How many contacts are in it.
    size: i64,
    /// When PostHog last told who is in it; null before it first did.
    synced_at: Option<Instant>,
    /// When it is asked again.
    next_sync_at: Instant,
    /// Why it could not be asked the last time; null when it could.
    failure: Option<String>,
}

impl From<segment_source::Model> for SegmentSource {
    fn from(row: segment_source::Model) -> Self {
        Self {
            rule: Json(row.rule),
            size: row.size,
            synced_at: row.synced_at.map(Instant::from),
            next_sync_at: row.due_at.into(),
            failure: row.failure,
        }
    }
}

/// A segment's size in an hour.
#[derive(SimpleObject)]
pub struct SegmentSize {
    /// The size's id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// When the hour began.
    hour: Instant,
    /// How many contacts were in the segment after the hour's last change.
    size: i64,
}

impl From<segment_size::Model> for SegmentSize {
    fn from(row: segment_size::Model) -> Self {
        Self {
            id: row.id.to_string().into(),
            hour: row.hour.into(),
            size: row.size,
        }
    }
}

/// How many contacts a rule holds of now.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct SegmentEstimate {
    /// How many they are.
    count: u64,
    #[graphql(skip)]
    sample: Vec<contact::Model>,
}

#[ComplexObject]
impl SegmentEstimate {
    /// Up to 10 of them, the newest. Needs the scope `contacts:read` too.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn sample(&self) -> Vec<Contact> {
        self.sample.iter().cloned().map(Contact::from).collect()
    }
}

/// Why a contact is in a segment, or is not.
#[derive(SimpleObject)]
pub(super) struct SegmentExplanation {
    /// The segment.
    segment: Segment,
    /// The contact; an absorbed one's root.
    contact: Contact,
    /// Whether it is in the segment: what is stored. Rules are asked within a second of what happens.
    member: bool,
    /// Since when it is in it.
    entered_at: Option<Instant>,
    /// The rule and each of its parts, in the order in which they were written, as they hold now; empty where the segment is filled
    /// by hand.
    nodes: Vec<SegmentExplainNode>,
}

#[derive(Default)]
pub(super) struct SegmentQuery;

#[Object]
impl SegmentQuery {
    /// The tenant's segments, the newest first.
    #[graphql(guard = "gql::SEGMENTS_READ", visible = "gql::segments_read")]
    async fn segments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which segments.")] filter: Option<SegmentFilter>,
    ) -> async_graphql::Result<Listing<Segment>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let filter = filter.unwrap_or_default();
        let list = format!("segments/{filter:?}");
        let rows = scope.find::<segment::Entity>().filter(filter.condition());
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = page(cx, &list, rows, room::newest_first(), args).await?;
        Ok(page.listing(Segment::from))
    }
    /// One segment, by its id or its key: exactly one of them. Null where there is none.
    #[graphql(guard = "gql::SEGMENTS_READ", visible = "gql::segments_read")]
    async fn segment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The segment's id.")] id: Option<ID>,
        #[graphql(desc = "The segment's key.")] key: Option<String>,
    ) -> async_graphql::Result<Option<Segment>> {
        Ok(named(ctx, id, key).await?.map(Segment::from))
    }
    /// How many contacts a rule holds of now, without saving it.
    #[graphql(guard = "gql::SEGMENTS_READ", visible = "gql::segments_read")]
    async fn segment_estimate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rule.")] rule: Rule,
    ) -> async_graphql::Result<SegmentEstimate> {
        let estimate = room::estimate(ctx.cx()?, &rule).await?;
        Ok(SegmentEstimate {
            count: estimate.count,
            sample: estimate.sample,
        })
    }
    /// Why a contact is in a segment, or is not: what each part of the rule says of it, and what it saw. Null where there is no such
    /// segment or contact. Needs the scope `contacts:read` too.
    #[graphql(
        guard = "gql::SEGMENTS_READ.and(gql::CONTACTS_READ)",
        visible = "explainable"
    )]
    async fn segment_explain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contact's id.")] contact_id: ID,
        #[graphql(desc = "The segment's id. Give this or the key.")] id: Option<ID>,
        #[graphql(desc = "The segment's key. Give this or the id.")] key: Option<String>,
    ) -> async_graphql::Result<Option<SegmentExplanation>> {
        let Some(segment) = named(ctx, id, key).await? else {
            return Ok(None);
        };
        let cx = ctx.cx()?;
        let contact = match ContactId::parse(&contact_id) {
            Some(id) => contact_room::root(&cx.db(), id).await?,
            None => None,
        };
        let Some(contact) = contact else {
            return Ok(None);
        };
        let explained = room::explain(cx, segment, contact).await?;
        Ok(Some(SegmentExplanation {
            segment: explained.segment.into(),
            contact: explained.contact.into(),
            member: explained.entered_at.is_some(),
            entered_at: explained.entered_at.map(Instant),
            nodes: explained.told.into_iter().map(Into::into).collect(),
        }))
    }
}

fn explainable(ctx: &Context<'_>) -> bool {
    gql::segments_read(ctx) && gql::contacts_read(ctx)
}

async fn named(
    ctx: &Context<'_>,
    id: Option<ID>,
    key: Option<String>,
) -> Result<Option<segment::Model>> {
    let scope = ctx.cx()?.db();
    match (id, key) {
        (Some(id), None) => match Id::<segment::Entity>::parse(&id) {
            Some(id) => scope.get(id).await,
            None => Ok(None),
        },
        (None, Some(key)) => room::by_key(&scope, &key).one().await,
        _ => Err(Error::invalid(
            "id",
            "give the id or the key, exactly one of them",
        )),
    }
}

/// What became of a segment.
#[derive(SimpleObject)]
struct SegmentPayload {
    /// The segment; null when nothing was changed.
    segment: Option<Segment>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What became of the deletion.
#[derive(SimpleObject)]
struct SegmentDeletePayload {
    /// The id of what is gone; null when nothing was deleted.
    deleted_id: Option<ID>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub(super) struct SegmentMutation;

#[Object]
impl SegmentMutation {
    /// Saves the segment of a key, or makes it. A new rule is asked of all contacts in the background: the segment is `COMPUTING`
    /// until then.
    #[graphql(guard = "gql::SEGMENTS_WRITE", visible = "gql::segments_write")]
    async fn segment_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The segment as it is to be.")] input: SegmentSaveInput,
    ) -> async_graphql::Result<SegmentPayload> {
        let new = &input.saved();
        payload(ctx.cx()?.write(async |tx| room::save(tx, new).await).await)
    }
    /// Deletes a segment, and who was in it; `segment.left` is not told of them. One that stands in another's rule is kept.
    #[graphql(guard = "gql::SEGMENTS_WRITE", visible = "gql::segments_write")]
    async fn segment_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The segment.")] input: SegmentDeleteInput,
    ) -> async_graphql::Result<SegmentDeletePayload> {
        let deleted = match room::segment_id(&input.id) {
            Ok(id) => ctx.cx()?.write(async |tx| room::delete(tx, id).await).await,
            Err(error) => Err(error),
        };
        let (deleted, errors) = outcome(deleted)?;
        Ok(SegmentDeletePayload {
            deleted_id: deleted.map(|()| input.id),
            errors,
        })
    }
    /// Puts contacts into a static segment; those that are in it stay.
    #[graphql(guard = "gql::SEGMENTS_WRITE", visible = "gql::segments_write")]
    async fn segment_members_add(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The segment and the contacts.")] input: SegmentMembersInput,
    ) -> async_graphql::Result<SegmentPayload> {
        let changed = match input.listing() {
            Ok(listing) => {
                let listing = &listing;
                ctx.cx()?
                    .write(async |tx| room::list(tx, listing).await)
                    .await
            }
            Err(error) => Err(error),
        };
        payload(changed)
    }
    /// Takes contacts out of a static segment; those that are not in it stay out.
    #[graphql(guard = "gql::SEGMENTS_WRITE", visible = "gql::segments_write")]
    async fn segment_members_remove(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The segment and the contacts.")] input: SegmentMembersInput,
    ) -> async_graphql::Result<SegmentPayload> {
        let changed = match input.listing() {
            Ok(listing) => {
                let listing = &listing;
                ctx.cx()?
                    .write(async |tx| room::unlist(tx, listing).await)
                    .await
            }
            Err(error) => Err(error),
        };
        payload(changed)
    }
}

fn payload(done: Result<segment::Model>) -> async_graphql::Result<SegmentPayload> {
    let (segment, errors) = outcome(done)?;
    Ok(SegmentPayload {
        segment: segment.map(Segment::from),
        errors,
    })
}
