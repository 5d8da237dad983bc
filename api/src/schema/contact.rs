//! `Contact`: one person as every room knows them.

mod profile;

use std::sync::Arc;

use async_graphql::{Context, ID, Json, MergedObject, Object};
use entity::{
    ContactId,
    contact_identifier::{self, Kind},
    event, merge_record,
};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::{Map, Value};

use self::profile::Profile;
use super::{
    event::{Event, contact_events_list, newest_first},
    identity::MergeRecord,
    segment::Segment,
};
use crate::{
    base::{
        Actor, Counter, Error, Listing, PageArgs, SortBy,
        gql::{self, CxExt},
        instant::Instant,
        page, page_from_end,
    },
    contact::{
        self, Attribution, ContactFilter, ContactKey, ContactOrder, ContactStatus, EventFilter,
        EventsKey, Identifier, Loaders,
    },
    nudge,
    posthog::ContactAnalytics,
    segment,
};

/// One person, over every touchpoint.
#[derive(MergedObject)]
pub struct Contact(Person, Profile);

impl From<entity::contact::Model> for Contact {
    fn from(row: entity::contact::Model) -> Self {
        let profile = Profile::new(row.id);
        Self(Person { row }, profile)
    }
}

impl Contact {
    /// For [`Node`](super::Node).
    pub(super) async fn id(&self, _: &Context<'_>) -> async_graphql::Result<ID> {
        Ok(self.0.row.id.to_string().into())
    }
}

/// Who it is, and what happened.
pub(super) struct Person {
    row: entity::contact::Model,
}

/// Who it is, and what happened.
#[Object]
impl Person {
    /// The contact's id. The id of a contact that this one absorbed leads here, too.
    async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }
    /// How well the contact is known.
    async fn status(&self) -> ContactStatus {
        self.row.status.into()
    }
    /// When the contact was first heard of.
    async fn created_at(&self) -> Instant {
        self.row.created_at.into()
    }
    /// When the contact last changed.
    async fn updated_at(&self) -> Instant {
        self.row.updated_at.into()
    }
    /// When the contact was last seen, to the minute.
    async fn last_seen_at(&self) -> Option<Instant> {
        self.row.last_seen_at.map(Instant)
    }
    /// The person's id in the tenant's own product.
    async fn external_id(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<String>> {
        let first = self.all_identifiers(ctx).await.map(|rows| {
            rows.into_iter()
                .find(|row| row.kind == Kind::ExternalId)
                .map(|row| row.shown)
        });
        first.transpose()
    }
    /// The e-mail address: the trait `email`, else the newest address known.
    async fn email(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<String>> {
        self.trait_or_newest(ctx, "email", Kind::Email)
            .await
            .transpose()
    }
    /// The phone number: the trait `phone`, else the newest number known.
    async fn phone(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<String>> {
        self.trait_or_newest(ctx, "phone", Kind::Phone)
            .await
            .transpose()
    }
    /// What the person is called: the trait `name`, else `first_name` and `last_name`.
    async fn name(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<String>> {
        let traits = self.all_traits(ctx).await;
        traits.map(|traits| contact::name_in(&traits)).transpose()
    }
    /// The ids that clients made up before they knew the person, the first seen first.
    async fn anonymous_ids(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<String>> {
        let identifiers = self.all_identifiers(ctx).await?;
        Ok(identifiers
            .into_iter()
            .filter(|row| row.kind == Kind::AnonymousId)
            .map(|row| row.shown)
            .collect())
    }
    /// All traits, as an object.
    async fn traits(&self, ctx: &Context<'_>) -> async_graphql::Result<Json<Map<String, Value>>> {
        Ok(Json(Arc::unwrap_or_clone(self.all_traits(ctx).await?)))
    }
    /// One trait's value; null where it is not set.
    async fn r#trait(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The trait's name.")] key: String,
    ) -> Option<async_graphql::Result<Json<Value>>> {
        let traits = self.all_traits(ctx).await;
        traits
            .map(|traits| traits.get(&key).cloned().map(Json))
            .transpose()
    }
    /// Every id of the person, the first seen first.
    async fn identifiers(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Identifier>> {
        let rows = self.all_identifiers(ctx).await?;
        Ok(rows.into_iter().map(Identifier::from).collect())
    }
    /// Where the person came from, first and last.
    async fn attribution(&self) -> Attribution {
        Attribution::of(&self.row)
    }
    /// What the person did, and what was done, the newest first; those of absorbed contacts with it. Needs the scope
    /// `events:read`, or the contact's own token: asked for without, the contact itself is null.
    #[graphql(guard = "gql::EVENTS_OR_OWN", visible = "gql::events_or_own")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which events; without `contactId`.")] filter: Option<EventFilter>,
    ) -> async_graphql::Result<Listing<Event>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let filter = filter.unwrap_or_default();
        let key = EventsKey {
            filter: format!("{filter:?}"),
            narrow: filter.within_contact()?,
        };
        self.event_page(ctx, args, key).await
    }
    /// The merges and splits that made the contact what it is, the newest first.
    async fn merge_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<MergeRecord>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let cx = ctx.cx()?;
        let list = format!("mergeHistory/{}", self.row.id);
        let sort = SortBy {
            column: merge_record::Column::CreatedAt,
            descending: true,
        };
        let Some(end) = args.from_end()? else {
            let family = Loaders::of(ctx)?.families.ask(self.row.id).await?;
            let scope = cx.db();
            let rows = contact::merges_about(&scope, &family.unwrap_or_default());
            return Ok(page(cx, &list, rows, sort, args)
                .await?
                .listing(MergeRecord::from));
        };
        // All of a page's contacts are read at once, and all that there is of each: it is little.
        let rows = Loaders::of(ctx)?.merges.ask(self.row.id).await?;
        let mut rows = rows.unwrap_or_default();
        let all = rows.len() as u64;
        if end.last {
            rows.reverse();
        }
        rows.truncate(usize::try_from(end.rows).unwrap_or(usize::MAX));
        let counter: Counter = Arc::new(move || Box::pin(async move { Ok(all) }));
        let page = page_from_end(cx, &list, rows, &sort, &args, counter)?;
        Ok(page.listing(MergeRecord::from))
    }
    /// What PostHog observes of the contact, joined. Each field is null, with an error at its path, while
    /// PostHog does not answer, and for who lacks the scope `analytics:read`.
    #[graphql(visible = "gql::analytics_read")]
    async fn analytics(&self) -> ContactAnalytics {
        ContactAnalytics::new(self.row.id)
    }
    /// The segments that the contact is in, by key. Needs the scope `segments:read`: asked for without, the contact itself is null.
    #[graphql(guard = "gql::SEGMENTS_READ", visible = "gql::segments_read")]
    async fn segments(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Segment>> {
        let found = segment::Reads::of(ctx)?
            .of_contacts
            .ask(self.row.id)
            .await?;
        Ok(found
            .unwrap_or_default()
            .into_iter()
            .map(Segment::from)
            .collect())
    }
    /// The nudges that were offered to the contact, the newest first; those of absorbed contacts with it. Needs the scope
    /// `nudges:read`, or the contact's own token: asked for without, the contact itself is null.
    #[graphql(guard = "gql::NUDGES_OR_OWN", visible = "gql::nudges_or_own")]
    #[expect(
        clippy::too_many_arguments,
        reason = "Relay's arguments and the filters"
    )]
    async fn nudges(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only those that stand here.")] state: Option<nudge::State>,
        #[graphql(desc = "Only those of this surface, such as `app`.")] surface: Option<String>,
        #[graphql(
            desc = "Only those that a client should show now: what a subscription without a cursor begins with.",
            default = false
        )]
        open: bool,
    ) -> async_graphql::Result<Listing<nudge::NudgeDelivery>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let args = nudge::NudgeListArgs {
            page,
            state,
            surface,
            open,
        };
        nudge::of_contact(ctx, self.row.id, args).await
    }
}

impl Person {
    async fn all_identifiers(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Vec<contact_identifier::Model>> {
        let loaders = Loaders::of(ctx)?;
        Ok(loaders
            .identifiers
            .ask(self.row.id)
            .await?
            .unwrap_or_default())
    }
    async fn all_traits(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Arc<Map<String, Value>>> {
        let loaders = Loaders::of(ctx)?;
        Ok(loaders.traits.ask(self.row.id).await?.unwrap_or_default())
    }
    async fn trait_or_newest(
        &self,
        ctx: &Context<'_>,
        key: &str,
        kind: Kind,
    ) -> async_graphql::Result<Option<String>> {
        // Both are asked for at once, so that the page's other fields share the loads.
        let (traits, identifiers) =
            futures_util::future::try_join(self.all_traits(ctx), self.all_identifiers(ctx)).await?;
        let said = traits.get(key).and_then(Value::as_str);
        Ok(match said {
            Some(said) => Some(said.to_owned()),
            None => identifiers
                .into_iter()
                .filter(|row| row.kind == kind)
                .max_by_key(|row| (row.last_seen_at, row.id))
                .map(|row| row.shown),
        })
    }
    /// A page from a list's end is read for all contacts of the outer page at once. One that starts at a cursor
    /// is of one contact: the cursor is no other's.
    async fn event_page(
        &self,
        ctx: &Context<'_>,
        args: PageArgs,
        key: EventsKey,
    ) -> async_graphql::Result<Listing<Event>> {
        let cx = ctx.cx()?;
        let loaders = Loaders::of(ctx)?;
        let id = self.row.id;
        let list = contact_events_list(id);
        let page = if let Some(end) = args.from_end()? {
            let rows = loaders.events.ask((id, key.clone(), end)).await?;
            let counter = counter(loaders, id, key);
            page_from_end(
                cx,
                &list,
                rows.unwrap_or_default(),
                &newest_first(),
                &args,
                counter,
            )?
        } else {
            let family = loaders.families.ask(id).await?.unwrap_or_default();
            let scope = cx.db();
            let rows = scope
                .find::<event::Entity>()
                .filter(event::Column::ContactId.is_in(family))
                .filter(key.narrow);
            page(cx, &list, rows, newest_first(), args).await?
        };
        Ok(page.listing(Event::from))
    }
}

fn counter(loaders: &Arc<Loaders>, root: ContactId, key: EventsKey) -> Counter {
    let loaders = Arc::clone(loaders);
    Arc::new(move || {
        let (loaders, key) = (Arc::clone(&loaders), key.clone());
        Box::pin(async move {
            Ok(loaders
                .event_counts
                .ask((root, key))
                .await?
                .unwrap_or_default())
        })
    })
}

#[derive(Default)]
pub(super) struct ContactQuery;

#[Object]
impl ContactQuery {
    /// The contact whose token this is.
    #[graphql(visible = "gql::contact_only")]
    async fn me(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<Contact>> {
        gql::nullable(ctx, gql::CONTACT, own(ctx)).await
    }
    /// One contact, by its id or by one of its identifiers; null where there is none. An absorbed contact's id
    /// answers with its root.
    #[graphql(visible = "gql::contacts_read")]
    async fn contact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contact's id. Give this or `by`.")] id: Option<ID>,
        #[graphql(desc = "One of the contact's identifiers. Give this or `id`.")] by: Option<
            ContactKey,
        >,
    ) -> Option<async_graphql::Result<Contact>> {
        gql::nullable(ctx, gql::CONTACTS_READ, named(ctx, id, by)).await
    }
    /// The tenant's contacts, the newest first unless another order is asked for.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    #[expect(clippy::too_many_arguments, reason = "Relay's arguments")]
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which contacts.")] filter: Option<ContactFilter>,
        #[graphql(desc = "How they are sorted.")] order_by: Option<ContactOrder>,
    ) -> async_graphql::Result<Listing<Contact>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let mut rows = contact::listed(&scope);
        if let Some(filter) = filter {
            rows = rows.filter(filter.condition(&scope, cx.actor())?);
        }
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = page(
            cx,
            "contacts",
            rows,
            ContactOrder::sort(order_by.as_ref()),
            args,
        )
        .await?;
        Ok(page.listing(Contact::from))
    }
}

async fn own(ctx: &Context<'_>) -> async_graphql::Result<Option<Contact>> {
    let Actor::Contact { id, .. } = ctx.actor() else {
        return Ok(None);
    };
    Ok(Loaders::of(ctx)?.roots.ask(*id).await?.map(Contact::from))
}

async fn named(
    ctx: &Context<'_>,
    id: Option<ID>,
    by: Option<ContactKey>,
) -> async_graphql::Result<Option<Contact>> {
    let row = match (id, by) {
        (Some(id), None) => match ContactId::parse(&id) {
            Some(id) => Loaders::of(ctx)?.roots.ask(id).await?,
            None => None,
        },
        (None, Some(key)) => {
            let (kind, value) = key.parts();
            match contact::normalize(kind, value) {
                Ok((value, _)) => contact::find_by(&ctx.cx()?.db(), kind, &value).await?,
                // It is no such identifier, so nobody has it.
                Err(_) => None,
            }
        }
        _ => return Err(Error::invalid("id", "give exactly one of id and by").into()),
    };
    Ok(row.map(Contact::from))
}
