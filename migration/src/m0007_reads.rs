//! What reads of pages need: an index for what happened to one contact by name, and what PostgreSQL is to know of traits.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        // Without it SQLite takes the tenant's index by name for each contact of a page, which holds the events of everybody.
        m.create_index(
            Index::create()
                .name("event_contact_name")
                .table("event")
                .col("tenant_id")
                .col("contact_id")
                .col("name")
                .col("occurred_at")
                .to_owned(),
        )
        .await?;
        if m.get_database_backend() == DatabaseBackend::Postgres {
            // A text tells its trait: taken one by one, the planner thinks that few contacts have a stage of the most common one,
            // and sorts all of them for a page.
            m.get_connection()
                .execute_unprepared(
                    "CREATE STATISTICS contact_trait_texts (dependencies, mcv)
                     ON tenant_id, key, text FROM contact_trait",
                )
                .await?;
        }
        Ok(())
    }
}
