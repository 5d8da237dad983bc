mod front;

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::TimeDelta;
use entity::{ContactId, Id, TenantId, api_key, tenant};

pub use self::front::{FrontMutation, TenantLimits};

use super::{NewKey, commands, queries};
use crate::base::{
    Actor, Cx, Error, ErrorCode, Listing, PageArgs, Result, SortBy,
    gql::{self, CxExt, Duration, UserErrors, outcome},
    instant::Instant,
    system_page,
};

/// A customer of the one who hosts: every other object belongs to one.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct Tenant {
    /// Names the tenant; does not change.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// What people call it.
    name: String,
    /// When it was made.
    created_at: Instant,
    /// Since when its credentials are refused; absent while they work.
    suspended_at: Option<Instant>,
    /// How long its events are kept after their receipt; absent: for ever.
    event_retention: Option<Duration>,
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        Self {
            id: row.id.to_string().into(),
            name: row.name,
            created_at: row.created_at.into(),
            suspended_at: row.suspended_at.map(Instant),
            event_retention: row
                .event_retention_s
                .map(|seconds| Duration(TimeDelta::seconds(seconds))),
        }
    }
}

/// A secret or publishable key; the key itself is shown once, when it is made.
#[derive(SimpleObject)]
pub struct ApiKey {
    /// Names the key; it is not the key.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// Where it may be used.
    kind: ApiKeyKind,
    /// What people call it.
    name: String,
    /// The key's first characters, to tell keys apart.
    prefix: String,
    /// What a secret key may do, such as `contacts:read`; `*` is everything. Empty for a publishable key.
    scopes: Vec<String>,
    /// When it was made.
    created_at: Instant,
    /// When it was used last, to the minute; absent when never.
    last_used_at: Option<Instant>,
    /// When it stops working because it was rotated; absent when it was not.
    expires_at: Option<Instant>,
    /// When it was revoked; absent when it was not.
    revoked_at: Option<Instant>,
}

/// Where a key may be used.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "api_key::Kind")]
pub enum ApiKeyKind {
    /// In the tenant's backend only: reads and writes within its scopes.
    Secret,
    /// In a browser: tells what happened and reads no contact.
    Publishable,
}

impl TryFrom<api_key::Model> for ApiKey {
    type Error = Error;
    fn try_from(row: api_key::Model) -> Result<Self> {
        Ok(Self {
            id: row.id.to_string().into(),
            kind: row.kind.into(),
            scopes: commands::scopes_of(&row)?,
            name: row.name,
            prefix: row.prefix,
            created_at: row.created_at.into(),
            last_used_at: row.last_used_at.map(Instant),
            expires_at: row.expires_at.map(Instant),
            revoked_at: row.revoked_at.map(Instant),
        })
    }
}

/// A tenant to make.
#[derive(InputObject)]
struct TenantCreateInput {
    /// What people call it; 1 to 200 characters.
    name: String,
}

/// A tenant just made. Its keys are shown this once.
#[derive(SimpleObject)]
struct TenantCreatePayload {
    /// The tenant; absent when it was not made.
    tenant: Option<Tenant>,
    /// A secret key that holds every scope.
    secret_key: Option<String>,
    /// A publishable key.
    publishable_key: Option<String>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A tenant to delete with everything in it.
#[derive(InputObject)]
struct TenantDeleteInput {
    /// The tenant's id.
    id: ID,
    /// The tenant's name, as a confirmation.
    name: String,
}

/// What was deleted.
#[derive(SimpleObject)]
struct TenantDeletePayload {
    /// The id of the tenant that is no more; absent when nothing was deleted.
    tenant_id: Option<ID>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A tenant to suspend.
#[derive(InputObject)]
struct TenantSuspendInput {
    /// The tenant's id.
    id: ID,
}

/// A suspended tenant to resume.
#[derive(InputObject)]
struct TenantResumeInput {
    /// The tenant's id.
    id: ID,
}

/// A tenant whose credentials are refused from now on.
#[derive(SimpleObject)]
struct TenantSuspendPayload {
    /// The tenant as it is now; absent when nothing changed.
    tenant: Option<Tenant>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A tenant whose credentials work again.
#[derive(SimpleObject)]
struct TenantResumePayload {
    /// The tenant as it is now; absent when nothing changed.
    tenant: Option<Tenant>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A key to make.
#[derive(InputObject)]
struct ApiKeyCreateInput {
    /// Where it may be used.
    kind: ApiKeyKind,
    /// What people call it; 1 to 200 characters.
    name: String,
    /// What a secret key may do; none for a publishable key. A key cannot give a scope that it does not hold.
    #[graphql(default)]
    scopes: Vec<String>,
}

/// A key just made. The key itself is shown this once.
#[derive(SimpleObject)]
struct ApiKeyCreatePayload {
    /// The key's entry; absent when it was not made.
    api_key: Option<ApiKey>,
    /// The key itself, to be put into `Authorization: Bearer …`.
    key: Option<String>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A key to replace by a new one.
#[derive(InputObject)]
struct ApiKeyRotateInput {
    /// The id of the key to replace.
    id: ID,
    /// How long the old key goes on working: at most 30 days, `PT0S` ends it at once.
    #[graphql(default_with = "one_day()")]
    grace_for: Duration,
}

fn one_day() -> Duration {
    Duration(TimeDelta::days(1))
}

/// The key that replaces the old one. The key itself is shown this once.
#[derive(SimpleObject)]
struct ApiKeyRotatePayload {
    /// The new key's entry; absent when it was not made.
    api_key: Option<ApiKey>,
    /// The new key itself.
    key: Option<String>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A key to revoke at once.
#[derive(InputObject)]
struct ApiKeyRevokeInput {
    /// The id of the key to end.
    id: ID,
}

/// A key that no longer works.
#[derive(SimpleObject)]
struct ApiKeyRevokePayload {
    /// The key's entry; absent when there was none.
    api_key: Option<ApiKey>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Whom a token speaks for, and how long.
#[derive(InputObject)]
struct ContactTokenCreateInput {
    /// The contact to speak for; the id of an absorbed contact stands for the one it became.
    contact_id: ID,
    /// How long the token lives: at most `PT24H`, for it cannot be revoked singly.
    #[graphql(default_with = "one_hour()")]
    expires_in: Duration,
}

fn one_hour() -> Duration {
    Duration(TimeDelta::hours(1))
}

/// A token with which a contact's own browser reads what is meant for the contact.
#[derive(SimpleObject)]
struct ContactTokenCreatePayload {
    /// The token, to be put into `Authorization: Bearer …`; absent when none was signed.
    token: Option<String>,
    /// The contact that it speaks for.
    contact_id: Option<ID>,
    /// When it ends.
    expires_at: Option<Instant>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct TenantQuery;

#[Object]
impl TenantQuery {
    /// The caller's tenant.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn tenant(&self, ctx: &Context<'_>) -> async_graphql::Result<Tenant> {
        let row = queries::tenant(&ctx.cx()?.db()).await?;
        Ok(row.ok_or(Error::NotFound)?.into())
    }

    /// Every tenant, the newest first. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenants(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start; 25 unless said, at most 100.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<Tenant>> {
        let env = ctx.env();
        let system = env.db.system();
        let sort = SortBy {
            column: tenant::Column::CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = system_page(env, "tenants", queries::tenants(&system), sort, args).await?;
        Ok(page.listing(Into::into))
    }
}

/// Another's tenant, or the operator's view of one, to write.
fn cx_of(ctx: &Context<'_>, id: &str) -> Result<Cx> {
    let id = TenantId::parse(id).ok_or_else(no_such_tenant)?;
    let env = Arc::clone(ctx.env());
    Ok(Cx::asked(env, id, Actor::Operator, ctx.origin()))
}

fn no_such_tenant() -> Error {
    Error::user(ErrorCode::NotFound, "id", "there is no such tenant")
}

fn key_id(id: &str) -> Result<Id<api_key::Entity>> {
    Id::parse(id).ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such key"))
}

fn missing_is_no_such_tenant(error: Error) -> Error {
    match error {
        Error::NotFound => no_such_tenant(),
        error => error,
    }
}

#[derive(Default)]
pub struct TenantMutation;

#[Object]
impl TenantMutation {
    /// Makes a tenant with its first two keys. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenant_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tenant to make.")] input: TenantCreateInput,
    ) -> async_graphql::Result<TenantCreatePayload> {
        let (made, errors) = outcome(
            commands::create_tenant_as(ctx.env(), &input.name, ctx.actor().clone(), ctx.origin())
                .await,
        )?;
        let (tenant, secret_key, publishable_key) = match made {
            Some(made) => (
                Some(made.tenant.into()),
                Some(made.secret.key),
                Some(made.publishable.key),
            ),
            None => (None, None, None),
        };
        Ok(TenantCreatePayload {
            tenant,
            secret_key,
            publishable_key,
            errors,
        })
    }

    /// Deletes a tenant and everything that is its own, for good. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenant_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tenant to delete, and its name.")] input: TenantDeleteInput,
    ) -> async_graphql::Result<TenantDeletePayload> {
        let done = async {
            cx_of(ctx, &input.id)?
                .write(async |tx| commands::delete_tenant(tx, &input.name).await)
                .await
        };
        let (deleted, errors) = outcome(done.await.map_err(missing_is_no_such_tenant))?;
        Ok(TenantDeletePayload {
            tenant_id: deleted.map(|id| id.to_string().into()),
            errors,
        })
    }

    /// Refuses a tenant's credentials until it is resumed. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenant_suspend(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tenant to suspend.")] input: TenantSuspendInput,
    ) -> async_graphql::Result<TenantSuspendPayload> {
        let done = async {
            cx_of(ctx, &input.id)?
                .write(async |tx| commands::suspend_tenant(tx).await)
                .await
        };
        let (tenant, errors) = outcome(done.await.map_err(missing_is_no_such_tenant))?;
        Ok(TenantSuspendPayload {
            tenant: tenant.map(Into::into),
            errors,
        })
    }

    /// Accepts a suspended tenant's credentials again. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenant_resume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tenant to resume.")] input: TenantResumeInput,
    ) -> async_graphql::Result<TenantResumePayload> {
        let done = async {
            cx_of(ctx, &input.id)?
                .write(async |tx| commands::resume_tenant(tx).await)
                .await
        };
        let (tenant, errors) = outcome(done.await.map_err(missing_is_no_such_tenant))?;
        Ok(TenantResumePayload {
            tenant: tenant.map(Into::into),
            errors,
        })
    }

    /// Makes a key.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn api_key_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to make.")] input: ApiKeyCreateInput,
    ) -> async_graphql::Result<ApiKeyCreatePayload> {
        let cx = ctx.cx()?;
        let new = NewKey {
            kind: input.kind.into(),
            name: input.name,
            scopes: input.scopes,
        };
        let done = cx
            .write(async |tx| commands::create_key(tx, cx.actor(), new.clone()).await)
            .await;
        let (issued, errors) = outcome(done)?;
        let (api_key, key) = shown(issued)?;
        Ok(ApiKeyCreatePayload {
            api_key,
            key,
            errors,
        })
    }

    /// Replaces a key by a new one of the same kind, name and scopes.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn api_key_rotate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to replace.")] input: ApiKeyRotateInput,
    ) -> async_graphql::Result<ApiKeyRotatePayload> {
        let cx = ctx.cx()?;
        let done = async {
            let id = key_id(&input.id)?;
            cx.write(async |tx| commands::rotate_key(tx, cx.actor(), id, input.grace_for.0).await)
                .await
        };
        let (issued, errors) = outcome(done.await)?;
        let (api_key, key) = shown(issued)?;
        Ok(ApiKeyRotatePayload {
            api_key,
            key,
            errors,
        })
    }

    /// Ends a key at once.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn api_key_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to end.")] input: ApiKeyRevokeInput,
    ) -> async_graphql::Result<ApiKeyRevokePayload> {
        let cx = ctx.cx()?;
        let done = async {
            let id = key_id(&input.id)?;
            cx.write(async |tx| commands::revoke_key(tx, id).await)
                .await
        };
        let (row, errors) = outcome(done.await)?;
        Ok(ApiKeyRevokePayload {
            api_key: row.map(TryInto::try_into).transpose()?,
            errors,
        })
    }

    /// Signs a token that speaks for one contact, to be handed to that contact's browser.
    #[graphql(guard = "gql::TOKENS_WRITE", visible = "gql::tokens_write")]
    async fn contact_token_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contact, and how long the token lives.")]
        input: ContactTokenCreateInput,
    ) -> async_graphql::Result<ContactTokenCreatePayload> {
        let cx = ctx.cx()?;
        let done = async {
            let contact = ContactId::parse(&input.contact_id).ok_or_else(|| {
                Error::user(ErrorCode::NotFound, "contactId", "there is no such contact")
            })?;
            commands::mint_contact_token(cx, contact, input.expires_in.0).await
        };
        let (minted, errors) = outcome(done.await)?;
        let (token, contact_id, expires_at) = match minted {
            Some(minted) => (
                Some(minted.token),
                Some(minted.contact.to_string().into()),
                Some(minted.expires_at.into()),
            ),
            None => (None, None, None),
        };
        Ok(ContactTokenCreatePayload {
            token,
            contact_id,
            expires_at,
            errors,
        })
    }
}

/// A new key's two halves, as payloads show them.
fn shown(issued: Option<commands::IssuedKey>) -> Result<(Option<ApiKey>, Option<String>)> {
    match issued {
        Some(issued) => Ok((Some(issued.row.try_into()?), Some(issued.key))),
        None => Ok((None, None)),
    }
}
