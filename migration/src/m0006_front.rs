//! The door: what the operator limits, what a tenant lets in, and the documents that it trusts.

use sea_orm_migration::{
    prelude::*,
    schema::{boolean, integer_null, json_binary, text, text_null, timestamp_with_time_zone},
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("tenant_front")
            .col(integer_null("cost_max"))
            .col(integer_null("points_per_minute"))
            .col(integer_null("key_points_per_minute"))
            .col(integer_null("subscriptions_max"))
            .col(integer_null("contact_subscriptions_max"))
            .col(json_binary("allowed_origins"))
            .col(boolean("require_persisted_operations"))
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id"])
            .make(m)
            .await?;
        tenant_owned("operation")
            .col(text("hash"))
            .col(text_null("name"))
            .col(text("text"))
            .col(text("pushed_by"))
            .col(timestamp_with_time_zone("pushed_at"))
            .unique(&["tenant_id", "hash"])
            .index(&["tenant_id", "pushed_at"])
            .make(m)
            .await
    }
}
