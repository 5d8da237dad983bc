//! Sets of contacts that PostHog knows, which segments' rules name.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, integer, json_binary, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid,
    },
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("segment_source")
            .col(json_binary("rule"))
            .col(big_integer("round"))
            .col(big_integer("size"))
            .col(timestamp_with_time_zone_null("synced_at"))
            .col(timestamp_with_time_zone("due_at"))
            .col(integer("attempt"))
            .col(text_null("failure"))
            .created_at()
            .index(&["due_at"])
            .make(m)
            .await?;
        tenant_owned("segment_source_member")
            .col(uuid("source_id"))
            .col(uuid("contact_id"))
            .col(big_integer("round"))
            .created_at()
            .points_at("source_id", "segment_source")
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "contact_id", "source_id"])
            .index(&["tenant_id", "source_id", "round", "contact_id"])
            .make(m)
            .await
    }
}
