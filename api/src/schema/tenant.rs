//! What a tenant shows of the rooms: its fields here, each room's part in the room.

use async_graphql::{ComplexObject, Context};

use crate::{
    base::gql::{self, CxExt},
    posthog::PosthogConnection,
    tenant::{self, ApiKey, Tenant},
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
    /// The tenant's PostHog project; absent where none is connected.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn posthog(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<PosthogConnection>> {
        Ok(PosthogConnection::of(ctx.cx()?).await?)
    }
}
