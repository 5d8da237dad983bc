//! A tenant's door in the schema: the operator sets its limits, the tenant whom it lets in.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::{Tenant, cx_of, missing_is_no_such_tenant};
use crate::{
    base::{
        Error,
        gql::{self, CxExt, Duration, UserErrors, outcome},
    },
    tenant::{Fronts, Limits, commands, front as door, queries},
};

/// What a tenant may ask. A point is a value in an answer; limits of points and subscriptions hold in each process.
#[derive(SimpleObject)]
pub struct TenantLimits {
    /// Points that one operation may cost.
    cost_max: i32,
    /// Points a minute, and at once, of the tenant as a whole.
    points_per_minute: i32,
    /// Points a minute, and at once, of each key and each contact.
    key_points_per_minute: i32,
    /// Subscriptions at the same time of the tenant as a whole.
    subscriptions_max: i32,
    /// Subscriptions at the same time of each contact.
    contact_subscriptions_max: i32,
}

impl From<Limits> for TenantLimits {
    fn from(limits: Limits) -> Self {
        let shown = |limit: u32| i32::try_from(limit).unwrap_or(i32::MAX);
        Self {
            cost_max: shown(limits.cost_max),
            points_per_minute: shown(limits.points_per_minute),
            key_points_per_minute: shown(limits.key_points_per_minute),
            subscriptions_max: shown(limits.subscriptions_max),
            contact_subscriptions_max: shown(limits.contact_subscriptions_max),
        }
    }
}

/// A tenant's limits, all of them: an absent one is the product's default.
#[derive(InputObject)]
struct TenantLimitsSetInput {
    /// The tenant's id.
    id: ID,
    /// Points that one operation may cost: 100 to 50,000; 50,000 unless said.
    cost_max: Option<i32>,
    /// Points a minute of the tenant as a whole: 1,000 to 1,000,000,000; 120,000,000 unless said.
    points_per_minute: Option<i32>,
    /// Points a minute of each key and each contact: 1,000 to 1,000,000,000; 60,000,000 unless said.
    key_points_per_minute: Option<i32>,
    /// Subscriptions at the same time of the tenant as a whole: 0 to 1,000,000; 50,000 unless said.
    subscriptions_max: Option<i32>,
    /// Subscriptions at the same time of each contact: 0 to 1,000; 20 unless said.
    contact_subscriptions_max: Option<i32>,
}

/// The limits as they are now.
#[derive(SimpleObject)]
struct TenantLimitsSetPayload {
    /// The limits; absent when nothing changed. Other processes know them within seconds.
    limits: Option<TenantLimits>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What to change of the tenant's own settings; what is absent stays.
#[derive(InputObject)]
struct TenantUpdateInput {
    /// The origins whose browsers may use `/graphql`, such as `https://app.example.com`, or `https://*.example.com` for every one
    /// below it; every origin when empty. At most 50.
    allowed_origins: Option<Vec<String>>,
    /// Whether publishable keys and contacts may run trusted documents alone; secret keys may run any.
    require_persisted_operations: Option<bool>,
    /// How long events are kept after their receipt, at least `P30D`; null: for ever. Older ones are deleted within hours, once
    /// everybody who hears of events has read them.
    event_retention: MaybeUndefined<Duration>,
}

/// How long a tenant's events are kept.
#[derive(InputObject)]
struct TenantRetentionSetInput {
    /// The tenant's id.
    id: ID,
    /// How long events are kept after their receipt, at least `P30D`; for ever when absent.
    event_retention: Option<Duration>,
}

/// The tenant as it is now.
#[derive(SimpleObject)]
struct TenantRetentionSetPayload {
    /// The tenant; absent when nothing changed.
    tenant: Option<Tenant>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The tenant as it is now.
#[derive(SimpleObject)]
struct TenantUpdatePayload {
    /// The tenant; absent when nothing changed. Other processes know of the change within seconds.
    tenant: Option<Tenant>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct FrontMutation;

#[Object]
impl FrontMutation {
    /// Sets what a tenant may ask. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenant_limits_set(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tenant, and all of its limits.")] input: TenantLimitsSetInput,
    ) -> async_graphql::Result<TenantLimitsSetPayload> {
        let done = async {
            let cx = cx_of(ctx, &input.id)?;
            let limits = [
                input.cost_max,
                input.points_per_minute,
                input.key_points_per_minute,
                input.subscriptions_max,
                input.contact_subscriptions_max,
            ];
            let front = cx
                .write(async |tx| door::set_limits(tx, limits).await)
                .await?;
            ctx.data_unchecked::<Fronts>().forget(cx.tenant()).await;
            Ok(front)
        };
        let (front, errors) = outcome(done.await.map_err(missing_is_no_such_tenant))?;
        Ok(TenantLimitsSetPayload {
            limits: front.map(|front| front.limits.into()),
            errors,
        })
    }

    /// Sets how long a tenant's events are kept. For the operator.
    #[graphql(guard = "gql::OPERATOR", visible = "gql::operator")]
    async fn tenant_retention_set(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tenant, and how long.")] input: TenantRetentionSetInput,
    ) -> async_graphql::Result<TenantRetentionSetPayload> {
        let retention = input.event_retention.map(|Duration(time)| time);
        let done = async {
            cx_of(ctx, &input.id)?
                .write(async |tx| commands::set_retention(tx, retention).await)
                .await
        };
        let (tenant, errors) = outcome(done.await.map_err(missing_is_no_such_tenant))?;
        Ok(TenantRetentionSetPayload {
            tenant: tenant.map(Into::into),
            errors,
        })
    }

    /// Changes the tenant's own settings.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn tenant_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: TenantUpdateInput,
    ) -> async_graphql::Result<TenantUpdatePayload> {
        let cx = ctx.cx()?;
        let retention = input.event_retention.map_value(|Duration(time)| time);
        let done = async {
            let row = cx
                .write(async |tx| {
                    let origins = input.allowed_origins.as_deref();
                    let required = input.require_persisted_operations;
                    door::change_door(tx, origins, required, retention).await?;
                    queries::tenant(tx).await?.ok_or(Error::NotFound)
                })
                .await?;
            ctx.data_unchecked::<Fronts>().forget(cx.tenant()).await;
            Ok(row)
        };
        let (row, errors) = outcome(done.await)?;
        Ok(TenantUpdatePayload {
            tenant: row.map(Into::into),
            errors,
        })
    }
}
