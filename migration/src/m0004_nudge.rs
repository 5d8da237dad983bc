//! Nudges: what may be shown, what was decided, offered and done.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer_null, integer, integer_null, json_binary, text, text_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("nudge")
            .key_and_name()
            .col(uuid_null("live_version_id"))
            .col(timestamp_with_time_zone_null("archived_at"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id", "key"])
            .make(m)
            .await?;
        tenant_owned("nudge_version")
            .col(uuid("nudge_id"))
            .col(integer("number"))
            .col(json_binary("content"))
            .col(text("surface"))
            .col(text("trigger_event"))
            .col(json_binary("conditions"))
            .col(integer("priority"))
            .col(big_integer_null("expires_after_s"))
            .col(integer_null("cap_per_contact"))
            .col(timestamp_with_time_zone_null("published_at"))
            .created_at()
            .points_at("nudge_id", "nudge")
            .unique(&["tenant_id", "nudge_id", "number"])
            .index(&["tenant_id", "trigger_event"])
            .make(m)
            .await?;
        let mut delivery = tenant_owned("nudge_delivery")
            .col(uuid("nudge_id"))
            .col(uuid("nudge_version_id"))
            .col(uuid("contact_id"))
            .col(uuid_null("identifier_id"))
            .col(uuid("event_id"))
            .col(text("surface"))
            .col(integer("priority"))
            .col(timestamp_with_time_zone("offered_at"));
        for at in [
            "received_at",
            "displayed_at",
            "clicked_at",
            "completed_at",
            "dismissed_at",
            "snoozed_at",
            "withdrawn_at",
            "expires_at",
        ] {
            delivery = delivery.col(timestamp_with_time_zone_null(at));
        }
        delivery
            .col(text_null("withdrawn_reason"))
            .points_at("nudge_id", "nudge")
            .points_at("nudge_version_id", "nudge_version")
            .points_at("contact_id", "contact")
            .index(&["tenant_id", "contact_id", "offered_at"])
            .index(&["tenant_id", "nudge_id", "contact_id"])
            .make(m)
            .await?;
        tenant_owned("nudge_decision")
            .col(uuid("nudge_id"))
            .col(uuid("nudge_version_id"))
            .col(uuid("contact_id"))
            .col(uuid_null("identifier_id"))
            .col(uuid("event_id"))
            .col(text("verdict"))
            .created_at()
            .points_at("nudge_id", "nudge")
            .points_at("nudge_version_id", "nudge_version")
            .points_at("contact_id", "contact")
            // Event first: it is looked up by the events of a batch.
            .unique(&["tenant_id", "event_id", "nudge_id"])
            .index(&["tenant_id", "contact_id", "created_at"])
            .make(m)
            .await?;
        tenant_owned("nudge_interaction")
            .col(uuid("delivery_id"))
            .col(text("kind"))
            .col(text("client_id"))
            .col(timestamp_with_time_zone("occurred_at"))
            .created_at()
            .points_at("delivery_id", "nudge_delivery")
            .unique(&["tenant_id", "delivery_id", "client_id"])
            .make(m)
            .await
    }
}
