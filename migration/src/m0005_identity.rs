//! Issuers of tokens, and the audit log.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, json_binary, json_binary_null, text, text_null, timestamp_with_time_zone, uuid,
    },
    sea_orm::{ConnectionTrait, DatabaseBackend},
};

use crate::{
    APP_ROLE,
    table::{global, tenant_owned},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        tenant_owned("issuer")
            .col(text("kind"))
            .col(text("iss"))
            .col(text("audience"))
            .col(json_binary("algorithms"))
            .col(text_null("jwks_url"))
            .col(text_null("secret"))
            .col(json_binary_null("public_keys"))
            .col(text("subject_claim"))
            .col(text_null("subject_is"))
            .col(text_null("role_claim"))
            .col(json_binary("roles"))
            .col(big_integer("lifetime_max_s"))
            .created_at()
            .col(timestamp_with_time_zone("updated_at"))
            .unique(&["tenant_id", "iss", "audience"])
            .make(m)
            .await?;
        // Points at no tenant: that a tenant was deleted, and by whom, is told after it is gone.
        global("audit_entry", Some("tenant_id"))
            .col(uuid("id").primary_key())
            .col(uuid("tenant_id"))
            .col(timestamp_with_time_zone("at"))
            .col(text("actor_kind"))
            .col(text_null("actor_id"))
            .col(text_null("actor_name"))
            .col(text("action"))
            .col(text_null("object_id"))
            .col(json_binary("changes"))
            .col(text_null("ip"))
            .col(text_null("user_agent"))
            .col(text_null("request_id"))
            .index(&["tenant_id", "at", "id"])
            .index(&["tenant_id", "object_id"])
            .make(m)
            .await?;
        append_only(m).await
    }
}

/// Nobody who works as the application changes what was written down.
async fn append_only(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    let db = m.get_connection();
    if m.get_database_backend() == DatabaseBackend::Postgres {
        db.execute_unprepared(&format!(
            "REVOKE UPDATE, DELETE ON audit_entry FROM {APP_ROLE}"
        ))
        .await?;
        return Ok(());
    }
    for verb in ["UPDATE", "DELETE"] {
        db.execute_unprepared(&format!(
            "CREATE TRIGGER audit_entry_no_{} BEFORE {verb} ON audit_entry
             BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END",
            verb.to_lowercase()
        ))
        .await?;
    }
    Ok(())
}
