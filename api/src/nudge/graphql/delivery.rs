//! A nudge that was offered to a contact, and the contact's list of them.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use entity::{
    ContactId, Id, nudge_delivery,
    nudge_interaction::{self, Kind},
};
use sea_orm::{ColumnTrait, QueryFilter};
use uuid::Uuid;

use super::{
    super::{
        queries::{self, Ends, Narrow, Reads, Totals},
        rules::State,
        stream::Offer,
    },
    node::{Nudge, NudgeContent},
};
use crate::base::{
    Counter, Cx, Error, Listing, PageArgs, SortBy, gql::CxExt, instant::Instant, page,
    page_from_end,
};

/// One nudge offered to one contact on one occasion.
pub struct NudgeDelivery {
    row: nudge_delivery::Model,
    /// What it says, where that was read already.
    offer: Option<Arc<Offer>>,
}

impl From<nudge_delivery::Model> for NudgeDelivery {
    fn from(row: nudge_delivery::Model) -> Self {
        Self { row, offer: None }
    }
}
impl From<Arc<Offer>> for NudgeDelivery {
    fn from(offer: Arc<Offer>) -> Self {
        Self {
            row: offer.delivery.clone(),
            offer: Some(offer),
        }
    }
}

/// One nudge offered to one contact on one occasion.
#[Object]
impl NudgeDelivery {
    /// The delivery's id: what interactions name.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }
    /// The nudge.
    async fn nudge(&self, ctx: &Context<'_>) -> async_graphql::Result<Nudge> {
        if let Some(offer) = &self.offer {
            return Ok(Arc::clone(&offer.nudge).into());
        }
        let row = Reads::of(ctx)?
            .nudges
            .ask(self.row.nudge_id)
            .await?
            .ok_or(Error::NotFound)?;
        Ok(row.into())
    }
    /// What it says: the version that ran when it was offered.
    async fn content(&self, ctx: &Context<'_>) -> async_graphql::Result<NudgeContent> {
        if let Some(offer) = &self.offer {
            return Ok(NudgeContent::of(&offer.version)?);
        }
        let version = Reads::of(ctx)?
            .versions
            .ask(self.row.nudge_version_id)
            .await?;
        Ok(NudgeContent::of(&*version.ok_or(Error::NotFound)?)?)
    }
    /// Where it is shown.
    async fn surface(&self) -> &str {
        &self.row.surface
    }
    /// Higher ones come first; -1000 to 1000.
    async fn priority(&self) -> i32 {
        self.row.priority
    }
    /// When it was offered.
    async fn offered_at(&self) -> Instant {
        self.row.offered_at.into()
    }
    /// When the offer ends; null: never.
    async fn expires_at(&self) -> Option<Instant> {
        self.row.expires_at.map(Instant)
    }
    /// An opaque mark, bound to this delivery and its tenant, by which the server knows it as its own.
    async fn lease_token(&self, ctx: &Context<'_>) -> async_graphql::Result<String> {
        Ok(lease_token(ctx.cx()?, self.row.id))
    }
    /// Where it stands.
    async fn state(&self, ctx: &Context<'_>) -> async_graphql::Result<State> {
        Ok(State::of(&self.row, ctx.cx()?.now()))
    }
    /// When it was first shown; null: not yet.
    async fn displayed_at(&self) -> Option<Instant> {
        self.row.displayed_at.map(Instant)
    }
    /// When its action was first used; null: not yet.
    async fn clicked_at(&self) -> Option<Instant> {
        self.row.clicked_at.map(Instant)
    }
    /// When its purpose was fulfilled; null: not yet.
    async fn completed_at(&self) -> Option<Instant> {
        self.row.completed_at.map(Instant)
    }
    /// When the contact closed it; null: not yet.
    async fn dismissed_at(&self) -> Option<Instant> {
        self.row.dismissed_at.map(Instant)
    }
    /// When it was taken back; null: it was not.
    async fn withdrawn_at(&self) -> Option<Instant> {
        self.row.withdrawn_at.map(Instant)
    }
}

/// The mark by which a delivery is known as ours.
pub(super) fn lease_token(cx: &Cx, delivery: Id<nudge_delivery::Entity>) -> String {
    let lease = format!("nudge lease/{}/{}", cx.tenant().uuid(), delivery.uuid());
    BASE64_URL_SAFE_NO_PAD.encode(cx.env().secrets.mark(lease.as_bytes()))
}

/// Names the list of a contact's deliveries in its cursors.
pub(super) fn deliveries_list(contact: Uuid, narrow: &Narrow) -> String {
    format!("nudges of {contact}/{narrow:?}")
}

/// The order of every list of deliveries.
pub(super) const fn newest_first() -> SortBy<nudge_delivery::Entity> {
    SortBy {
        column: nudge_delivery::Column::OfferedAt,
        descending: true,
    }
}

/// What is asked of a contact's list of deliveries.
#[derive(Debug, Default)]
pub struct NudgeListArgs {
    pub page: PageArgs,
    /// Only those that stand here.
    pub state: Option<State>,
    /// Only those of this surface.
    pub surface: Option<String>,
    /// Only those that a client should show now: what the stream without a cursor begins with.
    pub open: bool,
}

/// The deliveries to a contact, a root, newest first. The same field of every contact of a page costs one
/// query together, as long as it names no cursor; so does their count.
pub async fn of_contact(
    ctx: &Context<'_>,
    contact: ContactId,
    args: NudgeListArgs,
) -> async_graphql::Result<Listing<NudgeDelivery>> {
    use nudge_delivery::{Column, Entity};
    let cx = ctx.cx()?;
    let NudgeListArgs {
        page: args,
        state,
        surface,
        open,
    } = args;
    let narrow = Narrow {
        state,
        open,
        surface,
    };
    let list = deliveries_list(contact.uuid(), &narrow);
    let sort = newest_first();
    let Some(end) = args.from_end()? else {
        let db = cx.db();
        let family = queries::family(&db, contact).await?;
        let rows = db
            .find::<Entity>()
            .filter(Column::ContactId.is_in(family))
            .filter(narrow.condition(cx.now()));
        return Ok(page(cx, &list, rows, sort, args)
            .await?
            .listing(NudgeDelivery::from));
    };
    let reads = Reads::of(ctx)?;
    let ends = Ends {
        contact,
        narrow: narrow.clone(),
        end,
    };
    let rows = reads.ends.ask(ends).await?.unwrap_or_default();
    let counted = Arc::clone(reads);
    let totals = Totals { contact, narrow };
    let counter: Counter = Arc::new(move || {
        let (reads, totals) = (Arc::clone(&counted), totals.clone());
        Box::pin(async move { Ok(reads.totals.ask(totals).await?.unwrap_or_default()) })
    });
    let page = page_from_end::<Entity>(cx, &list, rows, &sort, &args, counter)?;
    Ok(page.listing(NudgeDelivery::from))
}

/// What a contact did with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, async_graphql::Enum)]
#[graphql(remote = "Kind")]
pub enum NudgeInteractionKind {
    /// A client has it.
    Received,
    /// It was shown.
    Displayed,
    /// Its action was used.
    Clicked,
    /// The contact closed it.
    Dismissed,
    /// What it asked for was done.
    Completed,
    /// The contact put it off.
    Snoozed,
}

/// One thing that a contact did with a delivery, as it is on record.
#[derive(SimpleObject)]
pub(in crate::nudge) struct NudgeInteraction {
    /// The client's own id of it.
    client_id: String,
    /// The delivery.
    delivery_id: ID,
    /// What was done.
    kind: NudgeInteractionKind,
    /// When, by the client's clock, but never later than it was recorded.
    at: Instant,
}

impl From<nudge_interaction::Model> for NudgeInteraction {
    fn from(row: nudge_interaction::Model) -> Self {
        Self {
            client_id: row.client_id,
            delivery_id: row.delivery_id.to_string().into(),
            kind: row.kind.into(),
            at: row.occurred_at.into(),
        }
    }
}
