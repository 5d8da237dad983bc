//! What is known of a contact beyond who it is and what happened.

use async_graphql::{Context, Object};
use entity::ContactId;

use crate::schema::{
    account::Account,
    relationship::{self, RelatedContact, Relationship},
    timeline::{self, TimelineItem},
};

use crate::{
    base::{Listing, PageArgs, gql},
    contact::{
        self, Consent, ConsentFilter, RelatedArgs, RelationshipDirection, RelationshipFilter,
        RelationshipKind, Touch, TouchpointFilter, TraitObservation,
    },
};

/// What is known of a contact beyond who it is and what happened.
pub(super) struct Profile {
    /// A root.
    id: ContactId,
}

impl Profile {
    pub(super) const fn new(id: ContactId) -> Self {
        Self { id }
    }
}

/// What is known of a contact beyond who it is and what happened.
#[Object]
impl Profile {
    /// What the contact allows: how it stands, by topic and channel. Where contacts became one, the most restrictive of what each
    /// said, until it is said anew.
    async fn consents(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Consent>> {
        contact::consents(ctx, self.id).await
    }
    /// Everything that was said of what the contact allows, the newest first; what absorbed contacts said with it.
    async fn consent_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which statements.")] filter: Option<ConsentFilter>,
    ) -> async_graphql::Result<Listing<Consent>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        contact::consent_history(ctx, self.id, filter.unwrap_or_default(), args).await
    }
    /// What was said of the contact's traits, from which source and when, the newest first; what was said of absorbed contacts with
    /// it, and without the traits that the caller may not see.
    async fn trait_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only of the trait of this name.")] key: Option<String>,
    ) -> async_graphql::Result<Listing<TraitObservation>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        contact::trait_history(ctx, self.id, key, args).await
    }
    /// Every visit that a campaign, a referral, a link or a printed code brought, the oldest first; those of absorbed contacts with
    /// it.
    async fn touchpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which visits.")] filter: Option<TouchpointFilter>,
    ) -> async_graphql::Result<Listing<Touch>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        contact::touchpoints(ctx, self.id, filter.unwrap_or_default(), args).await
    }
    /// What the contact is to others, and they to it, the newest first; what absorbed contacts were with it. Needs the scope
    /// `contacts:read`: asked for without, the contact itself is null.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn relationships(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which relationships.")] filter: Option<RelationshipFilter>,
    ) -> async_graphql::Result<Listing<Relationship>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = contact::relationships(ctx, self.id, filter.unwrap_or_default(), args).await?;
        Ok(page.listing(Relationship::from))
    }
    /// Whom the contact is related to now, perhaps over others: the nearest first, each once. Needs the scope `contacts:read`:
    /// asked for without, the contact itself is null.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn related(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Along relationships of this kind; of all, where absent.")] kind: Option<
            RelationshipKind,
        >,
        #[graphql(
            desc = "Which way they are walked.",
            default_with = "RelationshipDirection::Any"
        )]
        direction: RelationshipDirection,
        #[graphql(desc = "Over how many relationships, at most 5.", default = 1)] depth: u32,
        #[graphql(desc = "How many contacts, at most 100.", default = 25)] first: u32,
    ) -> async_graphql::Result<Vec<RelatedContact>> {
        let args = RelatedArgs {
            kind,
            direction,
            depth,
            first,
        };
        relationship::met(ctx, contact::related(ctx, self.id, args).await?).await
    }
    /// The accounts that the contact acts for, the first made first; those of absorbed contacts with it. Needs the scope
    /// `contacts:read`: asked for without, the contact itself is null.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<Account>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = contact::accounts(ctx, self.id, args).await?;
        Ok(page.listing(Account::from))
    }
    /// Everything about the contact over all modules, the newest first, as far as the caller may see it: events, merges, consents,
    /// traits, visits, nudges. What is about absorbed contacts with it.
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(
            desc = "Only items of these kinds, such as `CONSENT`.",
            validator(max_items = 100)
        )]
        kinds: Option<Vec<String>>,
    ) -> async_graphql::Result<Listing<TimelineItem>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        timeline::of_contact(ctx, self.id, kinds, args).await
    }
}
