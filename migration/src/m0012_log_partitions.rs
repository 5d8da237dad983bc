//! The log by months, and how long it is kept: see `docs/decisions/0040`. On PostgreSQL its rows lie in a partition a month; on
//! both databases a message id is kept beside the log, which it is unique in as a whole.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer_null, text, timestamp_with_time_zone},
    sea_orm::DatabaseBackend,
};

use crate::{
    APP_ROLE, SYSTEM_ROLE,
    table::{fence, global},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The columns of the log.
const COLUMNS: &str = "seq, xid, partition, id, tenant_id, contact_id, identifier_id, name, properties, context, source,
    message_id, caused_by, causation_depth, occurred_at, received_at";

/// Out of the way with what there was, and the log anew: `id` is a version-7 UUID, which begins with the instant of receipt.
const PARTITIONED: &str = r"
    ALTER TABLE event_retry DROP CONSTRAINT event_retry_tenant_id_event_id_fkey;
    ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_tenant_id_event_id_fkey;
    ALTER TABLE event RENAME TO event_before;
    -- Its owner, who copies it, is no tenant.
    ALTER TABLE event_before NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE event_before DROP CONSTRAINT event_pkey, DROP CONSTRAINT event_id_key;
    DROP INDEX event_place, event_tenant_place, event_tenant_id_id, event_tenant_message, event_contact, event_time,
        event_name_time, event_name_contact;
    CREATE SEQUENCE event_seq;
    CREATE TABLE event (
        seq bigint NOT NULL DEFAULT nextval('event_seq'),
        xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
        partition integer NOT NULL,
        id uuid NOT NULL PRIMARY KEY,
        tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
        contact_id uuid,
        identifier_id uuid,
        name text NOT NULL,
        properties jsonb NOT NULL,
        context jsonb NOT NULL,
        source text NOT NULL,
        message_id text,
        caused_by uuid,
        causation_depth integer NOT NULL,
        occurred_at timestamp with time zone NOT NULL,
        received_at timestamp with time zone NOT NULL
    ) PARTITION BY RANGE (id);
    CREATE UNIQUE INDEX event_tenant_id_id ON event (tenant_id, id);
    CREATE INDEX event_place ON event (xid, seq);
    CREATE INDEX event_tenant_place ON event (tenant_id, xid, seq);
    CREATE INDEX event_contact ON event (tenant_id, contact_id, occurred_at, id);
    CREATE INDEX event_time ON event (tenant_id, occurred_at, id);
    CREATE INDEX event_name_time ON event (tenant_id, name, occurred_at, id);
    CREATE INDEX event_name_contact ON event (tenant_id, name, contact_id, occurred_at);
    -- The months lie where the application may not go: it reaches them through the log alone, which has the policies.
    CREATE SCHEMA log;
    CREATE TABLE log.event_default PARTITION OF event DEFAULT;
    CREATE FUNCTION log.id_at(at timestamp with time zone) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
    $$;
    -- Makes the partition of the month that begins then, unless there is one. A month of which the default partition has rows
    -- stays there. Waits for nobody for long: who writes the log waits behind it.
    CREATE FUNCTION public.log_month_make(since timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
    DECLARE
        month text := 'event_' || to_char(since, 'YYYY_MM');
    BEGIN
        IF since <> date_trunc('month', since) THEN
            RAISE EXCEPTION '% begins no month', since;
        END IF;
        IF to_regclass('log.' || month) IS NOT NULL THEN
            RETURN false;
        END IF;
        EXECUTE format('CREATE TABLE log.%I (LIKE public.event INCLUDING DEFAULTS INCLUDING INDEXES)', month);
        EXECUTE format(
            'ALTER TABLE public.event ATTACH PARTITION log.%I FOR VALUES FROM (%L) TO (%L)',
            month, log.id_at(since), log.id_at(since + interval '1 month'));
        RETURN true;
    EXCEPTION WHEN check_violation THEN
        RETURN false;
    END $$;
    -- Drops the partition of the month that begins then, with all that is in it.
    CREATE FUNCTION public.log_month_drop(since timestamp with time zone) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
    DECLARE
        month text := 'event_' || to_char(since, 'YYYY_MM');
    BEGIN
        EXECUTE format('ALTER TABLE public.event DETACH PARTITION log.%I', month);
        EXECUTE format('DROP TABLE log.%I', month);
    END $$;
    REVOKE ALL ON FUNCTION public.log_month_make, public.log_month_drop FROM PUBLIC;
";

/// The months that there are events of, and those to come.
const FILL: &str = "
    SELECT log_month_make(month AT TIME ZONE 'UTC')
    FROM generate_series(
        date_trunc('month', coalesce((SELECT min(received_at) FROM event_before), now()) AT TIME ZONE 'UTC'),
        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months',
        interval '1 month') AS month;
    SELECT setval('event_seq', coalesce((SELECT max(seq) FROM event_before), 0) + 1, false);";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, m: &SchemaManager) -> Result<(), DbErr> {
        let db = m.get_connection();
        let postgres = m.get_database_backend() == DatabaseBackend::Postgres;
        let (uuid, apart) = if postgres {
            db.execute_unprepared(PARTITIONED).await?;
            db.execute_unprepared(FILL).await?;
            db.execute_unprepared(&format!(
                "INSERT INTO event ({COLUMNS}) SELECT {COLUMNS} FROM event_before;
                 DROP TABLE event_before;
                 ALTER TABLE event_retry ADD FOREIGN KEY (tenant_id, event_id) REFERENCES event (tenant_id, id) ON DELETE CASCADE;
                 ALTER TABLE dead_letter ADD FOREIGN KEY (tenant_id, event_id) REFERENCES event (tenant_id, id) ON DELETE CASCADE;
                 GRANT USAGE ON SEQUENCE event_seq TO {APP_ROLE};
                 GRANT EXECUTE ON FUNCTION public.log_month_make, public.log_month_drop TO {SYSTEM_ROLE};"
            ))
            .await?;
            ("uuid", "")
        } else {
            db.execute_unprepared("DROP INDEX event_tenant_message")
                .await?;
            ("uuid_text", "WITHOUT ROWID")
        };
        db.execute_unprepared(&format!(
            "CREATE TABLE event_message (
                 tenant_id {uuid} NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
                 message_id text NOT NULL,
                 id {uuid} NOT NULL,
                 PRIMARY KEY (tenant_id, message_id)
             ) {apart};
             INSERT INTO event_message (tenant_id, message_id, id)
                 SELECT tenant_id, message_id, id FROM event WHERE message_id IS NOT NULL;
             CREATE UNIQUE INDEX event_message_id ON event_message (id);"
        ))
        .await?;
        if postgres {
            fence(m, "event", Some("tenant_id")).await?;
        }
        fence(m, "event_message", Some("tenant_id")).await?;
        // Lists that had no index in their order.
        for (table, columns) in [
            ("dead_letter", "tenant_id, created_at, id"),
            ("identity_block", "tenant_id, created_at, id"),
            ("metric", "tenant_id, created_at, id"),
            ("nudge", "tenant_id, created_at, id"),
            ("tenant", "created_at, id"),
        ] {
            db.execute_unprepared(&format!("CREATE INDEX {table}_made ON {table} ({columns})"))
                .await?;
        }
        m.alter_table(
            Table::alter()
                .table("tenant")
                .add_column(big_integer_null("event_retention_s"))
                .to_owned(),
        )
        .await?;
        global("schedule", None)
            .col(text("name").primary_key())
            .col(timestamp_with_time_zone("due_at"))
            .make(m)
            .await
    }
}
