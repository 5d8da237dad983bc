//! What is known of a contact beyond its events: consents, what its traits mean, whom it is related to and which accounts it is
//! part of.

use sea_orm_migration::{
    prelude::*,
    schema::{
        boolean, json_binary, json_binary_null, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("consent")
            .col(uuid("contact_id"))
            .col(uuid_null("identifier_id"))
            .col(text("topic"))
            .col(text("channel"))
            .col(text("state"))
            .col(text("basis"))
            .col(json_binary("proof"))
            .col(text("said_by"))
            .col(timestamp_with_time_zone("at"))
            .created_at()
            .points_at("contact_id", "contact")
            // Which state is the current one, by topic and channel.
            .index(&["tenant_id", "contact_id", "topic", "channel", "at", "id"])
            .index(&["tenant_id", "contact_id", "at", "id"])
            .index(&["tenant_id", "identifier_id"])
            .make(m)
            .await?;
        tenant_owned("trait_schema")
            .col(timestamp_with_time_zone_null("locked_at"))
            .unique(&["tenant_id"])
            .make(m)
            .await?;
        tenant_owned("trait_definition")
            .col(text("key"))
            .col(text("kind"))
            .col(boolean("pii"))
            .col(text_null("description"))
            .col(text("policy"))
            .col(json_binary("sources"))
            .col(timestamp_with_time_zone("last_seen_at"))
            .col(timestamp_with_time_zone_null("settle_at"))
            .col(uuid_null("settled_to"))
            .created_at()
            .unique(&["tenant_id", "key"])
            .index(&["tenant_id", "created_at", "id"])
            .make(m)
            .await?;
        m.create_index(
            Index::create()
                .name("trait_definition_settle_at")
                .table("trait_definition")
                .col("settle_at")
                .to_owned(),
        )
        .await?;
        // A contact's history of all traits, as its timeline shows it.
        m.create_index(
            Index::create()
                .name("trait_observation_contact")
                .table("trait_observation")
                .col("tenant_id")
                .col("contact_id")
                .col("observed_at")
                .col("id")
                .to_owned(),
        )
        .await?;
        // Which contacts have a trait, in their order: whose winner is chosen anew.
        m.create_index(
            Index::create()
                .name("contact_trait_key_contact")
                .table("contact_trait")
                .col("tenant_id")
                .col("key")
                .col("contact_id")
                .to_owned(),
        )
        .await?;
        tenant_owned("relationship")
            .col(uuid("contact_a_id"))
            .col(uuid_null("identifier_a_id"))
            .col(uuid("contact_b_id"))
            .col(uuid_null("identifier_b_id"))
            .col(text("kind"))
            .col(timestamp_with_time_zone("valid_from"))
            .col(timestamp_with_time_zone_null("valid_to"))
            .col(text("source"))
            .col(json_binary_null("evidence"))
            .col(uuid_null("open"))
            .created_at()
            .points_at("contact_a_id", "contact")
            .points_at("contact_b_id", "contact")
            // Between the same two there is one of a kind at a time; those that ended have none.
            .unique(&["tenant_id", "open"])
            .index(&["tenant_id", "contact_a_id", "valid_from", "id"])
            .index(&["tenant_id", "contact_b_id", "valid_from", "id"])
            .index(&["tenant_id", "identifier_a_id"])
            .index(&["tenant_id", "identifier_b_id"])
            .make(m)
            .await?;
        tenant_owned("account")
            .col(text("kind"))
            .col(text("key"))
            .col(text_null("name"))
            .col(json_binary("traits"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id", "kind", "key"])
            .index(&["tenant_id", "created_at", "id"])
            .make(m)
            .await?;
        tenant_owned("account_membership")
            .col(uuid("account_id"))
            .col(uuid("contact_id"))
            .col(uuid_null("identifier_id"))
            .created_at()
            .col(timestamp_with_time_zone("last_seen_at"))
            .points_at("account_id", "account")
            .points_at("contact_id", "contact")
            .index(&["tenant_id", "contact_id", "account_id"])
            .index(&["tenant_id", "account_id", "contact_id"])
            .index(&["tenant_id", "identifier_id"])
            .make(m)
            .await
    }
}
