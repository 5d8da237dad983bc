//! Segments: rules, who meets them, what can change that, and when time does.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, integer, json_binary_null, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
    sea_orm::ConnectionTrait,
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("segment")
            .key_and_name()
            .col(text_null("description"))
            .col(json_binary_null("rule"))
            .col(integer("revision"))
            .col(text("state"))
            .col(big_integer("size"))
            .col(timestamp_with_time_zone_null("computed_at"))
            .col(uuid_null("walk_at"))
            .col(big_integer("walked"))
            .col(big_integer("walk_total"))
            .col(timestamp_with_time_zone_null("due_at"))
            .col(integer("attempt"))
            .col(text_null("failure"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id", "key"])
            .index(&["tenant_id", "created_at", "id"])
            .index(&["due_at"])
            .make(m)
            .await?;
        tenant_owned("segment_member")
            .col(uuid("segment_id"))
            .col(uuid("contact_id"))
            .col(timestamp_with_time_zone("entered_at"))
            .points_at("segment_id", "segment")
            .points_at("contact_id", "contact")
            // Contact first: a merge, and a contact's own list, ask by it.
            .unique(&["tenant_id", "contact_id", "segment_id"])
            .index(&["tenant_id", "segment_id", "entered_at", "id"])
            .make(m)
            .await?;
        tenant_owned("segment_listing")
            .col(uuid("segment_id"))
            .col(uuid("contact_id"))
            .created_at()
            .points_at("segment_id", "segment")
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "segment_id", "contact_id"])
            .index(&["tenant_id", "contact_id"])
            .make(m)
            .await?;
        tenant_owned("segment_due")
            .col(uuid("segment_id"))
            .col(uuid("contact_id"))
            .col(timestamp_with_time_zone("due_at"))
            .points_at("segment_id", "segment")
            .points_at("contact_id", "contact")
            .unique(&["tenant_id", "segment_id", "contact_id"])
            .index(&["tenant_id", "contact_id"])
            .index(&["due_at"])
            .make(m)
            .await?;
        tenant_owned("segment_trigger")
            .col(uuid("segment_id"))
            .col(text("kind"))
            .col(text("name"))
            .points_at("segment_id", "segment")
            .unique(&["tenant_id", "kind", "name", "segment_id"])
            .index(&["tenant_id", "segment_id"])
            .make(m)
            .await?;
        tenant_owned("segment_size")
            .col(uuid("segment_id"))
            .col(timestamp_with_time_zone("hour"))
            .col(big_integer("size"))
            .points_at("segment_id", "segment")
            .unique(&["tenant_id", "segment_id", "hour"])
            .make(m)
            .await?;
        // Rules count the events of a name by contact, everybody's in one go: the index alone answers. It finds one contact's, too, so
        // it stands in for the one that began with the contact.
        m.drop_index(
            Index::drop()
                .name("event_contact_name")
                .table("event")
                .to_owned(),
        )
        .await?;
        m.create_index(
            Index::create()
                .name("event_name_contact")
                .table("event")
                .col("tenant_id")
                .col("name")
                .col("contact_id")
                .col("occurred_at")
                .to_owned(),
        )
        .await?;
        // Everybody that there is, by id, without their wide rows: walks and estimates go through all of them.
        m.get_connection()
            .execute_unprepared(
                "CREATE INDEX contact_roots ON contact (tenant_id, id) WHERE merged_into IS NULL",
            )
            .await?;
        Ok(())
    }
}
