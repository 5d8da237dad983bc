//! Tenants, their keys, the log, and the worker's books.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, integer, json_binary, json_binary_null, text, text_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
    sea_orm::{ConnectionTrait, DatabaseBackend},
};

use crate::{
    APP_ROLE, SYSTEM_ROLE,
    table::{fence, global, tenant_owned},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let postgres = m.get_database_backend() == DatabaseBackend::Postgres;
        if postgres {
            for role in [APP_ROLE, SYSTEM_ROLE] {
                // A role belongs to the whole server: another database may have made it already, just now.
                m.get_connection()
                    .execute_unprepared(&format!(
                        "DO $$ BEGIN
                             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                                 CREATE ROLE {role} NOLOGIN;
                             END IF;
                         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                         END $$;
                         DO $$ BEGIN
                             IF NOT pg_has_role(current_user, '{role}', 'MEMBER') THEN
                                 EXECUTE format('GRANT {role} TO %I', current_user);
                             END IF;
                         END $$;"
                    ))
                    .await?;
            }
            // What the application may, the system may, too.
            m.get_connection()
                .execute_unprepared(&format!(
                    "DO $$ BEGIN
                         IF NOT pg_has_role('{SYSTEM_ROLE}', '{APP_ROLE}', 'MEMBER') THEN
                             GRANT {APP_ROLE} TO {SYSTEM_ROLE};
                         END IF;
                     EXCEPTION WHEN OTHERS THEN
                         -- Made by another database's migration, just now.
                         IF NOT pg_has_role('{SYSTEM_ROLE}', '{APP_ROLE}', 'MEMBER') THEN RAISE; END IF;
                     END $$;
                     GRANT USAGE ON SCHEMA public TO {APP_ROLE};"
                ))
                .await?;
        }
        global("tenant", Some("id"))
            .col(uuid("id").primary_key())
            .col(text("name"))
            .col(text("token_key"))
            .created_at()
            .col(timestamp_with_time_zone_null("suspended_at"))
            .make(m)
            .await?;
        tenant_owned("api_key")
            .col(text("kind"))
            .col(text("name"))
            .col(text("prefix"))
            .col(text("hash"))
            .col(json_binary("scopes"))
            .created_at()
            .col(timestamp_with_time_zone_null("last_used_at"))
            .col(timestamp_with_time_zone_null("expires_at"))
            .col(timestamp_with_time_zone_null("revoked_at"))
            .unique(&["hash"])
            .make(m)
            .await?;
        create_event(m, postgres).await?;
        tenant_owned("event_retry")
            .col(text("consumer"))
            .col(uuid("event_id"))
            .col(uuid("lane"))
            .col(integer("attempt"))
            .col(timestamp_with_time_zone("run_at"))
            .col(text_null("last_error"))
            .points_at("event_id", "event")
            .unique(&["consumer", "event_id"])
            .index(&["consumer", "lane"])
            .index(&["run_at"])
            .make(m)
            .await?;
        tenant_owned("dead_letter")
            .col(text("consumer"))
            .col(uuid("event_id"))
            .col(text("error"))
            .col(integer("attempts"))
            .created_at()
            .col(timestamp_with_time_zone_null("replayed_at"))
            .points_at("event_id", "event")
            .unique(&["tenant_id", "consumer", "event_id"])
            .make(m)
            .await?;
        tenant_owned("idempotency")
            .col(text("scope"))
            .col(text("input_hash"))
            .col(json_binary_null("response"))
            .created_at()
            .col(timestamp_with_time_zone("expires_at"))
            .unique(&["tenant_id", "scope"])
            .index(&["expires_at"])
            .make(m)
            .await?;
        global("consumer", None)
            .col(text("name"))
            .col(integer("partition"))
            .col(big_integer("xid"))
            .col(big_integer("seq"))
            .col(uuid_null("leased_by"))
            .col(timestamp_with_time_zone_null("leased_until"))
            .unique(&["name", "partition"])
            .make(m)
            .await
    }
}

/// The log. Its place (`xid`, `seq`) is the database's to give: on PostgreSQL the writing transaction and
/// a sequence, on SQLite, which has one writer, the row's number alone.
async fn create_event(m: &SchemaManager<'_>, postgres: bool) -> Result<(), DbErr> {
    let (seq, xid, uuid, json, time) = if postgres {
        (
            "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)",
            "uuid",
            "jsonb",
            "timestamp with time zone",
        )
    } else {
        (
            "integer PRIMARY KEY AUTOINCREMENT",
            "bigint NOT NULL DEFAULT 0",
            "uuid_text",
            "jsonb_text",
            "timestamp_with_timezone_text",
        )
    };
    let db = m.get_connection();
    db.execute_unprepared(&format!(
        r#"CREATE TABLE "event" (
            "seq" {seq},
            "xid" {xid},
            "partition" integer NOT NULL,
            "id" {uuid} NOT NULL UNIQUE,
            "tenant_id" {uuid} NOT NULL REFERENCES "tenant" ("id") ON DELETE CASCADE,
            "contact_id" {uuid},
            "identifier_id" {uuid},
            "name" text NOT NULL,
            "properties" {json} NOT NULL,
            "context" {json} NOT NULL,
            "source" text NOT NULL,
            "message_id" text,
            "caused_by" {uuid},
            "causation_depth" integer NOT NULL,
            "occurred_at" {time} NOT NULL,
            "received_at" {time} NOT NULL
        )"#
    ))
    .await?;
    for (name, unique, columns) in [
        ("event_place", "", "xid, seq"),
        ("event_tenant_place", "", "tenant_id, xid, seq"),
        ("event_tenant_id_id", "UNIQUE", "tenant_id, id"),
        ("event_tenant_message", "UNIQUE", "tenant_id, message_id"),
        (
            "event_contact",
            "",
            "tenant_id, contact_id, occurred_at, id",
        ),
        ("event_time", "", "tenant_id, occurred_at, id"),
        ("event_name_time", "", "tenant_id, name, occurred_at, id"),
    ] {
        db.execute_unprepared(&format!(
            r#"CREATE {unique} INDEX {name} ON "event" ({columns})"#
        ))
        .await?;
    }
    fence(m, "event", Some("tenant_id")).await
}
