//! PostHog: the connection, the forwarder's place, and the metrics joined into contacts.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, integer, json_binary, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null,
    },
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("posthog_connection")
            .col(text("ingest_host"))
            .col(text("api_host"))
            .col(text("ui_host"))
            .col(text("project_id"))
            .col(text("project_token"))
            .col(text_null("personal_api_key"))
            .col(json_binary("capabilities"))
            .col(timestamp_with_time_zone_null("probed_at"))
            .col(big_integer("forwarded_xid"))
            .col(big_integer("forwarded_seq"))
            .col(timestamp_with_time_zone_null("forward_at"))
            .col(timestamp_with_time_zone_null("forward_leased_until"))
            .col(integer("forward_attempt"))
            .col(text_null("forward_error"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id"])
            .index(&["forward_at"])
            .make(m)
            .await?;
        tenant_owned("metric")
            .key_and_name()
            .col(text_null("description"))
            .col(text("expression"))
            .col(big_integer("window_s"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id", "key"])
            .make(m)
            .await
    }
}
