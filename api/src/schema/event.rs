//! `Event`: one thing that happened.

use async_graphql::{Context, ID, Json, Object};
use entity::{ContactId, event};
use sea_orm::QueryFilter;
use serde_json::Value;

use super::{contact::Contact, node::is_reachable};
use crate::{
    base::{
        Listing, PageArgs, SortBy,
        gql::{self, CxExt},
        instant::Instant,
        page,
    },
    contact::{EventFilter, Loaders},
};

/// One thing that happened, as it is in the log for ever.
pub struct Event {
    row: event::Model,
}

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        Self { row }
    }
}

/// One thing that happened, as it is in the log for ever.
#[Object]
impl Event {
    /// The event's id.
    pub(super) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }
    /// What happened: a product's own name such as `signup`, PostHog's such as `$pageview`, or a module's such as
    /// `nudge.displayed`.
    async fn name(&self) -> &str {
        &self.row.name
    }
    /// Who it is about: the contact of today, where that contact was absorbed since. Null where the event names
    /// nobody.
    #[graphql(visible = "gql::contact_or_own")]
    async fn contact(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<Contact>> {
        let found = async {
            Ok(match self.row.contact_id {
                Some(id) => Loaders::of(ctx)?.roots.ask(id).await?.map(Contact::from),
                None => None,
            })
        };
        gql::nullable(ctx, gql::CONTACT_OR_OWN, found).await
    }
    /// What there is to say of it: an object.
    async fn properties(&self) -> Json<&Value> {
        Json(&self.row.properties)
    }
    /// Its circumstances, such as the page and the user agent: an object.
    async fn context(&self) -> Json<&Value> {
        Json(&self.row.context)
    }
    /// Who wrote it down: `api`, `capture`, or a module's name.
    async fn source(&self) -> &str {
        &self.row.source
    }
    /// The client's own id of it; no two events of the tenant have the same.
    async fn message_id(&self) -> Option<&str> {
        self.row.message_id.as_deref()
    }
    /// When it happened.
    async fn occurred_at(&self) -> Instant {
        self.row.occurred_at.into()
    }
    /// When it was written down.
    async fn received_at(&self) -> Instant {
        self.row.received_at.into()
    }
    /// The event that this one is a reaction to.
    async fn caused_by(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<Self>> {
        let cause = async {
            let Some(id) = self.row.caused_by else {
                return Ok(None);
            };
            let Some(row) = Loaders::of(ctx)?.events_by_id.ask(id).await? else {
                return Ok(None);
            };
            // What one contact does may be answered at another.
            let reachable = is_reachable(ctx, row.contact_id).await?;
            Ok(reachable.then(|| row.into()))
        };
        cause.await.transpose()
    }
}

/// The order of every list of events.
pub(super) const fn newest_first() -> SortBy<event::Entity> {
    SortBy {
        column: event::Column::OccurredAt,
        descending: true,
    }
}

/// Names the list of a contact's events in its cursors.
pub(super) fn contact_events_list(contact: ContactId) -> String {
    format!("contact/{contact}/events")
}

#[derive(Default)]
pub(super) struct EventQuery;

#[Object]
impl EventQuery {
    /// The tenant's events, the newest first.
    #[graphql(guard = "gql::EVENTS_READ", visible = "gql::events_read")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which events.")] filter: Option<EventFilter>,
    ) -> async_graphql::Result<Listing<Event>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let mut rows = scope.find::<event::Entity>();
        if let Some(filter) = filter {
            rows = rows.filter(filter.condition(&scope).await?);
        }
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = page(cx, "events", rows, newest_first(), args).await?;
        Ok(page.listing(Event::from))
    }
}
