//! Nudges in the schema.

mod delivery;
mod input;
mod item;
mod node;
mod plan;

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject, Subscription};
use entity::{ContactId, Id, nudge};
use futures_util::{StreamExt as _, stream::BoxStream};
use sea_orm::QueryFilter;

use self::{
    input::{
        NudgeArchiveInput, NudgeFilter, NudgeInteractionsRecordInput, NudgePublishInput,
        NudgeSaveInput,
    },
    item::NudgeStreamItem,
};
use super::{
    commands::{self, Recorded},
    queries, rules,
    stream::{self, Streams},
};
use crate::base::{
    Actor, Error, Listing, PageArgs, Result, SortBy, Turn,
    gql::{self, CxExt, UserErrors, outcome},
    page,
};

use delivery::NudgeInteraction;
pub use delivery::{NudgeDelivery, NudgeListArgs, of_contact};
pub use node::{Nudge, NudgeVersion, find, find_version};
pub use plan::DeliveriesPlan;

/// The contact that the caller is.
fn own_contact(ctx: &Context<'_>) -> Result<ContactId> {
    match ctx.actor() {
        Actor::Contact { id, .. } => Ok(*id),
        _ => Err(Error::Forbidden),
    }
}

#[derive(Default)]
pub struct NudgeQuery;

#[Object]
impl NudgeQuery {
    /// The tenant's nudges, newest first. Archived ones are in it unless the filter leaves them out.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn nudges(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many to give, from the start; 25 unless told, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Begins behind the nudge of this cursor.")] after: Option<String>,
        #[graphql(desc = "How many to give, from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Ends before the nudge of this cursor.")] before: Option<String>,
        #[graphql(desc = "Which nudges.")] filter: Option<NudgeFilter>,
    ) -> async_graphql::Result<Listing<Nudge>> {
        let cx = ctx.cx()?;
        let db = cx.db();
        let filter = filter.unwrap_or_default();
        let list = format!("nudges/{filter:?}");
        let rows = db.find::<nudge::Entity>().filter(filter.condition(&db)?);
        let sort = SortBy {
            column: nudge::Column::CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        Ok(page(cx, &list, rows, sort, args)
            .await?
            .listing(Nudge::from))
    }
    /// One nudge, by its id or its key: exactly one of them. Null where there is none.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn nudge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nudge's id.")] id: Option<ID>,
        #[graphql(desc = "The nudge's key.")] key: Option<String>,
    ) -> async_graphql::Result<Option<Nudge>> {
        let db = ctx.cx()?.db();
        let row = match (id, key) {
            (Some(id), None) => match Id::<nudge::Entity>::parse(&id) {
                Some(id) => db.get(id).await?,
                None => None,
            },
            (None, Some(key)) => queries::by_key(&db, &key).one().await?,
            _ => {
                return Err(
                    Error::invalid("id", "give the id or the key, exactly one of them").into(),
                );
            }
        };
        Ok(row.map(Nudge::from))
    }
}

/// What became of a nudge's draft.
#[derive(SimpleObject)]
struct NudgeSavePayload {
    /// The nudge, with its draft; null when nothing was saved.
    nudge: Option<Nudge>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What became of the publishing.
#[derive(SimpleObject)]
struct NudgePublishPayload {
    /// The nudge, with its live version; null when nothing was published.
    nudge: Option<Nudge>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What became of the archiving.
#[derive(SimpleObject)]
struct NudgeArchivePayload {
    /// The nudge; null when nothing was archived.
    nudge: Option<Nudge>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What became of what the client told.
#[derive(SimpleObject)]
struct NudgeInteractionsRecordPayload {
    /// What is on record now, in the order in which it was told; one told before is as it was first recorded.
    /// A refused one is missing here and in `userErrors` by its index; it keeps no other out.
    interactions: Vec<NudgeInteraction>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct NudgeMutation;

#[Object]
impl NudgeMutation {
    /// Saves a nudge's draft. The nudge of a new key is made. A published version never changes: after
    /// publishing, saving makes a new draft, which runs once it is published.
    #[graphql(guard = "gql::NUDGES_WRITE", visible = "gql::nudges_write")]
    async fn nudge_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nudge and its draft.")] input: NudgeSaveInput,
    ) -> async_graphql::Result<NudgeSavePayload> {
        let saved = match input.draft() {
            Ok(draft) => {
                let draft = &draft;
                ctx.cx()?
                    .write(async |tx| commands::save(tx, draft).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let (nudge, errors) = outcome(saved)?;
        Ok(NudgeSavePayload {
            nudge: nudge.map(Nudge::from),
            errors,
        })
    }
    /// Publishes a nudge's draft: from now on it is what runs. Offers already made keep their version.
    #[graphql(guard = "gql::NUDGES_WRITE", visible = "gql::nudges_write")]
    async fn nudge_publish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nudge.")] input: NudgePublishInput,
    ) -> async_graphql::Result<NudgePublishPayload> {
        let published = match input::nudge_id(&input.id) {
            Ok(id) => {
                ctx.cx()?
                    .write(async |tx| commands::publish(tx, id).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let (nudge, errors) = outcome(published)?;
        Ok(NudgePublishPayload {
            nudge: nudge.map(Nudge::from),
            errors,
        })
    }
    /// Ends a nudge: it is offered no more, and within moments its open deliveries are withdrawn. An archived
    /// nudge cannot be changed or published; archiving it again changes nothing.
    #[graphql(guard = "gql::NUDGES_WRITE", visible = "gql::nudges_write")]
    async fn nudge_archive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The nudge.")] input: NudgeArchiveInput,
    ) -> async_graphql::Result<NudgeArchivePayload> {
        let archived = match input::nudge_id(&input.id) {
            Ok(id) => {
                ctx.cx()?
                    .write(async |tx| commands::archive(tx, id).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let (nudge, errors) = outcome(archived)?;
        Ok(NudgeArchivePayload {
            nudge: nudge.map(Nudge::from),
            errors,
        })
    }
    /// Records what the contact did with its deliveries, up to 100 a call. Telling the same `clientId` again
    /// changes nothing, so an offline queue may be sent until it is answered.
    #[graphql(guard = "gql::CONTACT", visible = "gql::contact_only")]
    async fn nudge_interactions_record(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What was done.")] input: NudgeInteractionsRecordInput,
    ) -> async_graphql::Result<NudgeInteractionsRecordPayload> {
        let contact = own_contact(ctx)?;
        let told = input.interactions();
        let told = &told;
        let recorded = ctx
            .cx()?
            .write(async |tx| commands::record_interactions(tx, contact, told).await)
            .await;
        let (recorded, mut errors) = outcome(recorded)?;
        let Recorded {
            interactions,
            refused,
        } = recorded.unwrap_or_default();
        errors
            .user_errors
            .extend(refused.into_iter().map(Into::into));
        Ok(NudgeInteractionsRecordPayload {
            interactions: interactions
                .into_iter()
                .map(NudgeInteraction::from)
                .collect(),
            errors,
        })
    }
}

#[derive(Default)]
pub struct NudgeSubscription;

#[Subscription]
impl NudgeSubscription {
    /// The caller's own nudges as they are offered and withdrawn. Without `after` it begins with the open
    /// offers of the last 30 days, oldest first. With the cursor of the last item that the client has, it
    /// goes on behind it: nothing is lost and nothing comes twice. It follows the contact through merges.
    #[graphql(guard = "gql::CONTACT", visible = "gql::contact_only")]
    async fn nudges(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The cursor of the last item that the client has.")] after: Option<String>,
        #[graphql(desc = "Only what is shown there, such as `app`.")] surface: Option<String>,
    ) -> async_graphql::Result<BoxStream<'static, async_graphql::Result<NudgeStreamItem>>> {
        let place = ctx.stream_place();
        let told = Turn::of(ctx, || {
            if let Some(surface) = &surface {
                rules::surface_is_fit(surface).map_err(|why| Error::invalid("surface", why))?;
            }
            let streams: &Arc<Streams> = ctx.data_unchecked();
            stream::open(
                ctx.cx()?.clone(),
                Arc::clone(streams),
                own_contact(ctx)?,
                place.after(after).as_deref(),
                surface,
            )
        })?;
        let place = Arc::clone(&place);
        let told = told.map(move |told| {
            let told = told?;
            place.give(told.cursor());
            Ok(NudgeStreamItem::from(told))
        });
        Ok(told.boxed())
    }
}
