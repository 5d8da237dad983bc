//! The contact graph.

use sea_orm_migration::{
    prelude::*,
    schema::{
        double_null, integer, json_binary, json_binary_null, text, text_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("contact")
            .col(text("status"))
            .col(text("distinct_id"))
            .col(json_binary_null("first_touch"))
            .col(timestamp_with_time_zone_null("first_touch_at"))
            .col(json_binary_null("last_touch"))
            .col(timestamp_with_time_zone_null("last_touch_at"))
            .col(timestamp_with_time_zone_null("last_seen_at"))
            .col(uuid_null("merged_into"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .points_at("merged_into", "contact")
            .unique(&["tenant_id", "distinct_id"])
            .index(&["tenant_id", "created_at", "id"])
            .index(&["tenant_id", "updated_at", "id"])
            .index(&["tenant_id", "last_seen_at", "id"])
            .make(m)
            .await?;
        tenant_owned("contact_identifier")
            .col(uuid("contact_id"))
            .col(text("kind"))
            .col(text("value"))
            .col(text("shown"))
            .col(text("verification"))
            .col(text("source"))
            .col(timestamp_with_time_zone("first_seen_at"))
            .col(timestamp_with_time_zone("last_seen_at"))
            .points_at("contact_id", "contact")
            // By value first: the three kinds of PostHog's distinct id are looked up together.
            .unique(&["tenant_id", "value", "kind"])
            .index(&["tenant_id", "contact_id"])
            .make(m)
            .await?;
        tenant_owned("contact_alias")
            .col(uuid("absorbed_id"))
            .col(uuid("contact_id"))
            .col(text("reason"))
            .col(uuid_null("event_id"))
            .created_at()
            .points_at("absorbed_id", "contact")
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "absorbed_id"])
            .index(&["tenant_id", "contact_id"])
            .make(m)
            .await?;
        tenant_owned("contact_evidence")
            .col(text("kind"))
            .col(uuid("a_id"))
            .col(uuid("b_id"))
            .col(text_null("dormant_reason"))
            .col(uuid_null("event_id"))
            .col(text("source"))
            .col(timestamp_with_time_zone("observed_at"))
            .created_at()
            .points_at("a_id", "contact_identifier")
            .points_at("b_id", "contact_identifier")
            .unique(&["tenant_id", "a_id", "b_id", "kind"])
            .index(&["tenant_id", "b_id"])
            .make(m)
            .await?;
        tenant_owned("contact_trait")
            .col(uuid("contact_id"))
            .col(text("key"))
            .col(json_binary("value"))
            .col(text_null("text"))
            .col(double_null("number"))
            .col(integer("rank"))
            .col(text("source"))
            .col(timestamp_with_time_zone("observed_at"))
            .col(uuid("said_by"))
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "contact_id", "key"])
            .index(&["tenant_id", "key", "text"])
            .index(&["tenant_id", "key", "number"])
            .make(m)
            .await
    }
}
