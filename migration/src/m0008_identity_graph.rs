//! The contact graph, built from its evidence: what an identifier stands for by itself, what evidence is worth, what must not be
//! joined, and what was.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, boolean, integer, json_binary, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use crate::table::{across_tenants, tenant_owned};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        for column in [
            uuid_null("origin_id"),
            boolean("blocked").default(false).to_owned(),
        ] {
            m.alter_table(
                Table::alter()
                    .table("contact_identifier")
                    .add_column(column)
                    .to_owned(),
            )
            .await?;
        }
        for column in [
            text("level").default("claimed").to_owned(),
            text("standing").default("active").to_owned(),
        ] {
            m.alter_table(
                Table::alter()
                    .table("contact_evidence")
                    .add_column(column)
                    .to_owned(),
            )
            .await?;
        }
        across_tenants(
            m,
            &["contact_identifier"],
            "UPDATE contact_identifier SET origin_id = contact_id",
        )
        .await?;
        m.drop_index(
            Index::drop()
                .name("contact_evidence_tenant_id_a_id_b_id_kind")
                .table("contact_evidence")
                .to_owned(),
        )
        .await?;
        m.create_index(
            Index::create()
                .name("contact_evidence_once")
                .table("contact_evidence")
                .col("tenant_id")
                .col("a_id")
                .col("b_id")
                .col("kind")
                .col("level")
                .unique()
                .to_owned(),
        )
        .await?;
        tenant_owned("merge_proposal")
            .col(uuid("contact_a_id"))
            .col(uuid("contact_b_id"))
            .col(uuid("a_id"))
            .col(uuid("b_id"))
            .col(text("concern"))
            .col(json_binary("blast"))
            .col(big_integer("risk"))
            .col(text("state"))
            .col(uuid_null("event_id"))
            .created_at()
            .col(timestamp_with_time_zone("expires_at"))
            .col(timestamp_with_time_zone_null("decided_at"))
            .col(text_null("decided_by"))
            .points_at("contact_a_id", "contact")
            .points_at("contact_b_id", "contact")
            .points_at("a_id", "contact_identifier")
            .points_at("b_id", "contact_identifier")
            .index(&["tenant_id", "state", "risk", "id"])
            .index(&["tenant_id", "created_at", "id"])
            .index(&["tenant_id", "contact_a_id"])
            .index(&["tenant_id", "contact_b_id"])
            .index(&["state", "expires_at"])
            .make(m)
            .await?;
        tenant_owned("contact_cannot_link")
            .col(uuid("a_id"))
            .col(uuid("b_id"))
            .col(text("said_by"))
            .col(text_null("reason"))
            .col(uuid_null("proposal_id"))
            .created_at()
            .points_at("a_id", "contact_identifier")
            .points_at("b_id", "contact_identifier")
            .points_at("proposal_id", "merge_proposal")
            .unique(&["tenant_id", "a_id", "b_id"])
            .index(&["tenant_id", "b_id"])
            .make(m)
            .await?;
        tenant_owned("merge_record")
            .col(text("kind"))
            .col(uuid("survivor_id"))
            .col(uuid("other_id"))
            .col(text("mode"))
            .col(boolean("known"))
            .col(uuid_null("a_id"))
            .col(uuid_null("b_id"))
            .col(json_binary("before"))
            .col(uuid_null("event_id"))
            .col(text("said_by"))
            .col(text_null("reason"))
            .created_at()
            .col(timestamp_with_time_zone_null("reversed_at"))
            .points_at("survivor_id", "contact")
            .points_at("other_id", "contact")
            .index(&["tenant_id", "survivor_id", "created_at"])
            .index(&["tenant_id", "other_id", "created_at"])
            .index(&["tenant_id", "created_at", "id"])
            .index(&["tenant_id", "a_id", "created_at"])
            .index(&["tenant_id", "b_id", "created_at"])
            .make(m)
            .await?;
        tenant_owned("identity_block")
            .col(text("kind"))
            .col(text("value"))
            .col(text_null("other_kind"))
            .col(text_null("other_value"))
            .col(text_null("reason"))
            .col(text("said_by"))
            .created_at()
            .index(&["tenant_id", "value", "kind"])
            .index(&["tenant_id", "other_value", "other_kind"])
            .make(m)
            .await?;
        tenant_owned("identity_policy")
            .col(json_binary("limits"))
            .col(text_null("proof_secret"))
            .col(boolean("proof_required"))
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id"])
            .make(m)
            .await?;
        tenant_owned("trait_observation")
            .col(uuid("contact_id"))
            .col(uuid_null("identifier_id"))
            .col(text("key"))
            .col(json_binary("value"))
            .col(integer("rank"))
            .col(text("source"))
            .col(timestamp_with_time_zone("first_observed_at"))
            .col(timestamp_with_time_zone("observed_at"))
            .col(uuid("said_by"))
            .col(uuid("same"))
            .created_at()
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "same"])
            .index(&["tenant_id", "contact_id", "key", "observed_at"])
            .index(&["tenant_id", "identifier_id"])
            .make(m)
            .await?;
        across_tenants(
            m,
            &["contact_trait", "trait_observation"],
            "INSERT INTO trait_observation (id, tenant_id, contact_id, identifier_id, key, value, rank, source,
                 first_observed_at, observed_at, said_by, same, created_at)
             SELECT id, tenant_id, contact_id, NULL, key, value, rank, source, observed_at, observed_at, said_by, id, observed_at
             FROM contact_trait",
        )
        .await?;
        tenant_owned("touchpoint")
            .col(uuid("contact_id"))
            .col(uuid_null("identifier_id"))
            .col(uuid("event_id"))
            .col(json_binary("touch"))
            .col(timestamp_with_time_zone("occurred_at"))
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "event_id"])
            .index(&["tenant_id", "contact_id", "occurred_at", "id"])
            .index(&["tenant_id", "identifier_id"])
            .make(m)
            .await
    }
}
