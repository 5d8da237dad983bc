//! Saved lists of contacts, and what gives contacts in a trait's order.

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
            .await?;
        // Half of all contacts may have one and the same value: without their ids in the index each page would sort that half.
        for column in ["text", "number"] {
            m.create_index(
                Index::create()
                    .name(format!("contact_trait_{column}_contact"))
                    .table("contact_trait")
                    .col("tenant_id")
                    .col("key")
                    .col(column)
                    .col("contact_id")
                    .to_owned(),
            )
            .await?;
            m.drop_index(
                Index::drop()
                    .name(format!("contact_trait_tenant_id_key_{column}"))
                    .table("contact_trait")
                    .to_owned(),
            )
            .await?;
        }
        Ok(())
    }
}
