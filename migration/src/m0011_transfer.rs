//! Work that takes longer than a request, and what it carries in and out: imports, exports, erasures.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, big_integer_null, blob, integer, json_binary, json_binary_null, text,
        text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use crate::table::tenant_owned;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("job")
            .col(text("kind"))
            .col(text("state"))
            .col(uuid_null("contact_id"))
            .col(json_binary("input"))
            .col(json_binary("cursor"))
            .col(big_integer("done"))
            .col(big_integer_null("total"))
            .col(json_binary_null("result"))
            .col(text_null("error"))
            .col(integer("attempts"))
            .col(timestamp_with_time_zone("run_at"))
            .col(uuid_null("leased_by"))
            .col(timestamp_with_time_zone_null("leased_until"))
            .col(text("created_by"))
            .created_at()
            .col(timestamp_with_time_zone_null("started_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .col(timestamp_with_time_zone_null("expires_at"))
            .points_at("contact_id", "contact")
            .index(&["state", "run_at"])
            .index(&["expires_at"])
            .index(&["tenant_id", "created_at", "id"])
            .index(&["tenant_id", "contact_id"])
            .make(m)
            .await?;
        tenant_owned("job_chunk")
            .col(uuid("job_id"))
            .col(text("side"))
            .col(big_integer("position"))
            .col(blob("bytes"))
            .points_at("job_id", "job")
            .unique(&["tenant_id", "job_id", "side", "position"])
            .make(m)
            .await?;
        tenant_owned("erasure")
            .col(uuid("contact_id"))
            .col(json_binary("members"))
            .col(uuid_null("job_id"))
            .col(text_null("reason"))
            .col(text("requested_by"))
            .col(timestamp_with_time_zone("requested_at"))
            .col(text_null("sealed"))
            .col(json_binary("receipts"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .unique(&["tenant_id", "contact_id"])
            .index(&["tenant_id", "requested_at", "id"])
            .make(m)
            .await?;
        tenant_owned("tombstone")
            .col(text("mark"))
            .col(uuid("erasure_id"))
            .created_at()
            .points_at("erasure_id", "erasure")
            .unique(&["tenant_id", "mark"])
            .make(m)
            .await?;
        tenant_owned("suppression")
            .col(text("channel"))
            .col(text("mark"))
            .col(text("reason"))
            .created_at()
            .unique(&["tenant_id", "mark"])
            .index(&["tenant_id", "created_at", "id"])
            .make(m)
            .await?;
        tenant_owned("import_reject")
            .col(uuid("job_id"))
            .col(big_integer("line"))
            .col(text_null("field"))
            .col(text("reason"))
            .col(text("raw"))
            .points_at("job_id", "job")
            .unique(&["tenant_id", "job_id", "line"])
            .make(m)
            .await
    }
}
