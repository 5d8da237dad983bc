//! What a tenant shows of the rooms: its fields here, each room's part in the room.

use async_graphql::{ComplexObject, Context};

use crate::{
    base::gql::{self, CxExt},
    posthog::PosthogConnection,
    tenant::{self, ApiKey, Issuer, Tenant, TenantLimits},
};

#[ComplexObject]
impl Tenant {
    /// The tenant's keys, the oldest first; revoked and expired ones too.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn api_keys(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<ApiKey>> {
        let rows = tenant::api_keys(&ctx.cx()?.db()).await?;
        let keys = rows
            .into_iter()
            .map(ApiKey::try_from)
            .collect::<Result<_, _>>()?;
        Ok(keys)
    }
    /// Who may sign tokens for the tenant's members and contacts, the oldest first.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn issuers(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Issuer>> {
        let rows = tenant::issuers(&ctx.cx()?.db()).await?;
        Ok(rows.into_iter().map(Issuer::from).collect())
    }
    /// What the operator lets the tenant ask.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn limits(&self, ctx: &Context<'_>) -> async_graphql::Result<TenantLimits> {
        Ok(tenant::front(&ctx.cx()?.db()).await?.limits.into())
    }
    /// The origins whose browsers may use `/graphql`; every one when empty.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn allowed_origins(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<String>> {
        Ok(tenant::front(&ctx.cx()?.db()).await?.allowed_origins)
    }
    /// Whether publishable keys and contacts may run trusted documents alone.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn require_persisted_operations(&self, ctx: &Context<'_>) -> async_graphql::Result<bool> {
        let front = tenant::front(&ctx.cx()?.db()).await?;
        Ok(front.require_persisted_operations)
    }
    /// The tenant's PostHog project; absent where none is connected.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn posthog(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<PosthogConnection>> {
        Ok(PosthogConnection::of(ctx.cx()?).await?)
    }
}
