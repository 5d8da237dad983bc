//! What is said and asked of accounts. The object itself stands at the roof: it shows contacts.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Json};
use entity::{ContactId, Id, account, account_membership, contact};
use sea_orm::{ColumnTrait as _, Condition, QueryFilter as _};
use serde_json::{Map, Value};

use super::{
    commands::NewAccount,
    queries::{MemberCount, MembersEnd, is_member},
    rules::NAME_CHARS_MAX,
};
use crate::{
    base::{
        Counter, Error, Page, PageArgs, Result, Scope, SortBy, gql::CxExt as _, page,
        page_from_end, storable, storable_json,
    },
    contact::{graphql::Loaders, listed},
};

/// Names an account.
#[derive(InputObject)]
pub struct AccountKey {
    /// The group's type, such as `company`.
    r#type: String,
    /// What the tenant calls it.
    key: String,
}

/// Which accounts. All that is given must hold.
#[derive(Debug, Default, InputObject)]
pub struct AccountFilter {
    /// Of this type.
    r#type: Option<String>,
    /// Called so by the tenant.
    key: Option<String>,
}

impl AccountFilter {
    pub fn condition(&self) -> Condition {
        let is = |column: account::Column, text: &Option<String>| {
            text.clone().map(|text| column.eq(storable(text)))
        };
        Condition::all()
            .add_option(is(account::Column::Kind, &self.r#type))
            .add_option(is(account::Column::Key, &self.key))
    }
}

/// The account of a type and a key.
pub async fn of_key(scope: &Scope, key: AccountKey) -> Result<Option<account::Model>> {
    let filter = AccountFilter {
        r#type: Some(key.r#type),
        key: Some(key.key),
    };
    scope
        .find::<account::Entity>()
        .filter(filter.condition())
        .one()
        .await
}

/// An account as the tenant's backend knows it.
#[derive(InputObject)]
pub struct AccountUpsertInput {
    /// The group's type, such as `company`: 1 to 200 characters.
    r#type: String,
    /// What the tenant calls it, 1 to 200 characters; unique by type.
    key: String,
    /// What people call it; noted as the trait `name`.
    name: Option<String>,
    /// Traits to set: an object. Null unsets a trait.
    traits: Option<Json<Value>>,
}

impl AccountUpsertInput {
    pub fn new_account(self) -> Result<NewAccount> {
        let text = |field: &str, text: String| {
            let text = storable(text.trim().to_owned());
            let chars = text.chars().count();
            if (1..=NAME_CHARS_MAX).contains(&chars) {
                Ok(text)
            } else {
                Err(Error::invalid(
                    field,
                    format!("{field} has 1 to {NAME_CHARS_MAX} characters, not {chars}"),
                ))
            }
        };
        let mut set = match self.traits.map(|Json(value)| storable_json(value)) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(set)) => set,
            Some(_) => return Err(Error::invalid("traits", "traits is an object")),
        };
        if let Some(name) = self.name {
            set.insert("name".to_owned(), text("name", name)?.into());
        }
        Ok(NewAccount {
            name: (text("type", self.r#type)?, text("key", self.key)?),
            set,
        })
    }
}

/// A root's accounts, the first made first.
pub async fn of_contact(
    ctx: &Context<'_>,
    root: ContactId,
    args: PageArgs,
) -> async_graphql::Result<Page<account::Model>> {
    let cx = ctx.cx()?;
    let loaders = Loaders::of(ctx)?;
    let list = format!("accounts of {}", root.uuid());
    let sort = SortBy {
        column: account::Column::CreatedAt,
        descending: false,
    };
    let Some(end) = args.from_end()? else {
        let family = loaders.families.ask(root).await?.unwrap_or_default();
        let scope = cx.db();
        let mut theirs = scope.subquery::<account_membership::Entity>();
        theirs
            .column(account_membership::Column::AccountId.as_column_ref())
            .and_where(account_membership::Column::ContactId.is_in(family));
        let rows = scope
            .find::<account::Entity>()
            .filter(account::Column::Id.in_subquery(theirs));
        return Ok(page(cx, &list, rows, sort, args).await?);
    };
    let mut rows = loaders.accounts.ask(root).await?.unwrap_or_default();
    let total = rows.len() as u64;
    let counter: Counter = Arc::new(move || Box::pin(async move { Ok(total) }));
    if end.last {
        rows.reverse();
    }
    rows.truncate(usize::try_from(end.rows).unwrap_or(usize::MAX));
    Ok(page_from_end(cx, &list, rows, &sort, &args, counter)?)
}

/// An account's members, the newest contact first.
pub async fn members(
    ctx: &Context<'_>,
    account: Id<account::Entity>,
    args: PageArgs,
) -> async_graphql::Result<Page<contact::Model>> {
    let cx = ctx.cx()?;
    let loaders = Loaders::of(ctx)?;
    let list = format!("members of {}", account.uuid());
    let sort = SortBy {
        column: contact::Column::CreatedAt,
        descending: true,
    };
    let Some(end) = args.from_end()? else {
        let scope = cx.db();
        let rows = listed(&scope).filter(is_member(&scope, account));
        return Ok(page(cx, &list, rows, sort, args).await?);
    };
    let rows = loaders.members.ask(MembersEnd { account, end }).await?;
    let loaders = Arc::clone(loaders);
    let counter: Counter = Arc::new(move || {
        let loaders = Arc::clone(&loaders);
        Box::pin(async move {
            let count = loaders.member_counts.ask(MemberCount(account)).await?;
            Ok(count.unwrap_or_default())
        })
    });
    Ok(page_from_end(
        cx,
        &list,
        rows.unwrap_or_default(),
        &sort,
        &args,
        counter,
    )?)
}
