//! `Account`: a company, a team, a workspace.

use async_graphql::{Context, ID, Json, Object, SimpleObject};
use entity::{Id, account};
use sea_orm::QueryFilter as _;
use serde_json::Value;

use super::contact::Contact;
use crate::{
    base::{
        Error, Listing, PageArgs, SortBy,
        gql::{self, CxExt as _, UserErrors, outcome},
        instant::Instant,
        page,
    },
    contact::{self, AccountFilter, AccountKey, AccountUpsertInput},
};

/// A company, a team, a workspace: what PostHog calls a group.
pub struct Account(account::Model);

impl From<account::Model> for Account {
    fn from(row: account::Model) -> Self {
        Self(row)
    }
}

/// A company, a team, a workspace: what PostHog calls a group.
#[Object]
impl Account {
    /// The account's id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// The group's type, such as `company`.
    async fn r#type(&self) -> &str {
        &self.0.kind
    }
    /// What the tenant calls it; unique by type.
    async fn key(&self) -> &str {
        &self.0.key
    }
    /// What people call it: the trait `name`.
    async fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }
    /// All traits, as an object.
    async fn traits(&self) -> Json<&Value> {
        Json(&self.0.traits)
    }
    /// When it was first heard of.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When its traits last changed.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at.into()
    }
    /// Who acts for it, the newest contact first.
    async fn contacts(
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
        let page = contact::account_members(ctx, self.0.id, args).await?;
        Ok(page.listing(Contact::from))
    }
}

#[derive(Default)]
pub(super) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// One account, by its id or by its type and key; null where there is none.
    #[graphql(visible = "gql::contacts_read")]
    async fn account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's id. Give this or `by`.")] id: Option<ID>,
        #[graphql(desc = "The account's type and key. Give this or `id`.")] by: Option<AccountKey>,
    ) -> Option<async_graphql::Result<Account>> {
        let found = async {
            let scope = ctx.cx()?.db();
            let row = match (id, by) {
                (Some(id), None) => match Id::<account::Entity>::parse(&id) {
                    Some(id) => scope.get(id).await?,
                    None => None,
                },
                (None, Some(key)) => contact::account_of_key(&scope, key).await?,
                _ => return Err(Error::invalid("id", "give exactly one of id and by").into()),
            };
            Ok(row.map(Account::from))
        };
        gql::nullable(ctx, gql::CONTACTS_READ, found).await
    }
    /// The tenant's accounts, the newest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many of the list, at most 100; 25 where nothing is said.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many of the list, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which accounts.")] filter: Option<AccountFilter>,
    ) -> async_graphql::Result<Listing<Account>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let filter = filter.unwrap_or_default();
        let rows = scope.find::<account::Entity>().filter(filter.condition());
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let sort = SortBy {
            column: account::Column::CreatedAt,
            descending: true,
        };
        let page = page(cx, &format!("accounts/{filter:?}"), rows, sort, args).await?;
        Ok(page.listing(Account::from))
    }
}

/// What became of an account.
#[derive(SimpleObject)]
struct AccountUpsertPayload {
    /// The account, as it is now; null where the input is wrong.
    account: Option<Account>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub(super) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Makes an account, or changes the one of this type and key; PostHog is told as of a `$groupidentify`.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn account_upsert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account as the tenant's backend knows it.")]
        input: AccountUpsertInput,
    ) -> async_graphql::Result<AccountUpsertPayload> {
        let done = async {
            let new = input.new_account()?;
            let new = &new;
            ctx.cx()?
                .write(async |tx| contact::account_upsert(tx, new).await)
                .await
        };
        let (row, errors) = outcome(done.await)?;
        Ok(AccountUpsertPayload {
            account: row.map(Account::from),
            errors,
        })
    }
}
