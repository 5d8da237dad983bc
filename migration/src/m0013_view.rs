//! Saved lists of contacts.

use sea_orm_migration::{
    prelude::*,
    schema::{json_binary, text_null, timestamp_with_time_zone},
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("contact_view")
            .key_and_name()
            .col(text_null("description"))
            .col(json_binary("definition"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id", "key"])
            .index(&["tenant_id", "created_at", "id"])
            .make(m)
            .await
    }
}
