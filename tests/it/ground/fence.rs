//! Row level security, the third wall: it holds where the application forgets to ask for a tenant.

use std::time::Duration;

use entity::{TenantId, api_key};
use futures_util::{StreamExt as _, stream};
use sea_orm::{EntityTrait as _, QueryTrait as _};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tests::{Kit, Tenant, on_each_database, on_postgres};

use crate::rows;

/// Each table with tenants' rows, and the column that says whose.
async fn fenced_tables(conn: &mut PgConnection) -> anyhow::Result<Vec<(String, String)>> {
    let rows = conn
        .fetch_all(
            "SELECT table_name::text, CASE table_name WHEN 'tenant' THEN 'id' ELSE 'tenant_id' END
             FROM information_schema.tables t WHERE table_schema = 'public' AND (table_name = 'tenant' OR EXISTS (
                 SELECT FROM information_schema.columns c
                 WHERE c.table_schema = 'public' AND c.table_name = t.table_name AND c.column_name = 'tenant_id'))
             ORDER BY 1",
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, sqlx::Error>>()?)
}

async fn count(conn: &mut PgConnection, query: String) -> anyhow::Result<i64> {
    Ok(conn.fetch_one(AssertSqlSafe(query)).await?.try_get(0)?)
}

/// Trap 11: the role that owns a table, and superusers, are not held by row level security.
#[tokio::test]
async fn the_application_works_as_a_role_that_owns_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let Some(role) = kit.app.env.db.role().await? else {
            assert!(!kit.app.env.db.is_postgres());
            return Ok(());
        };
        assert_eq!(role.name, migration::APP_ROLE);
        assert!(role.is_fenced(), "{role:?}");
        assert_eq!(
            kit.app.env.db.unfenced_tables().await?,
            Vec::<String>::new()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_role_sees_nothing_unasked_and_each_tenant_its_own() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        for tenant in [&acme, &bolt] {
            tenant
                .cx
                .write(async |tx| {
                    let contact = rows::contact(tx, "anna").await?;
                    rows::identifier(tx, contact.id, "anna").await?;
                    tx.emit(api::base::NewEvent::of_room(
                        "test",
                        "test.happened",
                        contact.id,
                        tx.now(),
                    ))
                    .await
                })
                .await?;
        }
        let mut conn = PgConnection::connect(kit.database_url()).await?;
        let tables = fenced_tables(&mut conn).await?;
        assert!(tables.len() >= 17, "{tables:?}");
        conn.execute(AssertSqlSafe(format!("SET ROLE {}", migration::APP_ROLE)))
            .await?;
        for (table, column) in &tables {
            assert_eq!(
                count(&mut conn, format!("SELECT count(*) FROM {table}")).await?,
                0,
                "{table} unasked"
            );
            for (tenant, other) in [(&acme, &bolt), (&bolt, &acme)] {
                let mut open = conn.begin().await?;
                set_tenant(&mut open, tenant.id).await?;
                let all = count(&mut open, format!("SELECT count(*) FROM {table}")).await?;
                let own = count(
                    &mut open,
                    format!(
                        "SELECT count(*) FROM {table} WHERE {column} = '{}'",
                        tenant.id.uuid()
                    ),
                )
                .await?;
                assert_eq!(all, own, "{table}");
                let held = [
                    "tenant",
                    "api_key",
                    "audit_entry",
                    "contact",
                    "contact_identifier",
                    "event",
                ]
                .contains(&table.as_str());
                assert_eq!(own > 0, held, "{table}");
                if table == "audit_entry" {
                    // Deletes nothing at all, whosoever: see the tests of the audit log.
                    open.rollback().await?;
                    continue;
                }
                let theirs = format!("WHERE {column} = '{}'", other.id.uuid());
                let done = open
                    .execute(AssertSqlSafe(format!("DELETE FROM {table} {theirs}")))
                    .await?;
                assert_eq!(done.rows_affected(), 0, "{table}");
                open.rollback().await?;
            }
        }
        // Nothing of it stays with the connection.
        assert_eq!(
            count(&mut conn, "SELECT count(*) FROM api_key".to_owned()).await?,
            0
        );
        Ok(())
    })
    .await
}

async fn set_tenant(conn: &mut PgConnection, tenant: TenantId) -> anyhow::Result<()> {
    sqlx::query("SELECT set_config('app.tenant', $1, true)")
        .bind(tenant.uuid().to_string())
        .execute(conn)
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_role_cannot_write_a_row_in_another_tenants_name() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let mut conn = PgConnection::connect(kit.database_url()).await?;
        conn.execute(AssertSqlSafe(format!("SET ROLE {}", migration::APP_ROLE))).await?;
        for (statement, own, theirs) in [
            (
                "INSERT INTO contact (id, tenant_id, status, distinct_id, created_at, updated_at) VALUES (gen_random_uuid(), $1, 'anonymous', 'x', now(), now())",
                acme.id,
                bolt.id,
            ),
            ("UPDATE api_key SET tenant_id = $1", acme.id, bolt.id),
        ] {
            for (tenant, allowed) in [(own, true), (theirs, false)] {
                let mut open = conn.begin().await?;
                set_tenant(&mut open, acme.id).await?;
                let done = sqlx::query(statement).bind(tenant.uuid()).execute(&mut *open).await;
                let code = done.err().and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
                assert_eq!(code.as_deref(), if allowed { None } else { Some("42501") }, "{statement}");
                open.rollback().await?;
            }
        }
        let refused = conn.execute("ALTER TABLE contact DISABLE ROW LEVEL SECURITY").await;
        assert!(refused.is_err(), "the role does not own the table");
        Ok(())
    })
    .await
}

/// How many keys of other tenants a transaction of `tenant` reads when its query names no tenant.
async fn foreign_keys_seen(kit: &Kit, tenant: &Tenant) -> anyhow::Result<usize> {
    let scope = tenant.cx.db();
    let mut careless = scope.find::<api_key::Entity>();
    *sea_orm::QueryFilter::query(&mut careless) = api_key::Entity::find().into_query();
    let rows = careless.all().await?;
    anyhow::ensure!(
        kit.app.env.db.is_postgres() && rows.len() >= 2,
        "the tenant's own keys are there"
    );
    Ok(rows.iter().filter(|row| row.tenant_id != tenant.id).count())
}

/// Trap 10: a setting of the session would be there for whoever gets the connection next.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_setting_leaks_into_the_next_transaction() -> anyhow::Result<()> {
    const TRANSACTIONS: usize = 5_000;
    on_postgres(async |kit| {
        let mut tenants = vec![];
        for name in ["a", "b", "c", "d", "e"] {
            tenants.push(kit.tenant(name).await?);
        }
        let (kit, tenants) = (&kit, &tenants);
        let results: Vec<anyhow::Result<Option<usize>>> = stream::iter(0..TRANSACTIONS)
            .map(|n| async move {
                let asked = foreign_keys_seen(kit, &tenants[n % tenants.len()]);
                if n % 3 == 0 {
                    // Given up somewhere between `BEGIN` and `COMMIT`.
                    let patience = Duration::from_micros((n as u64 * 37) % 3_000);
                    tokio::time::timeout(patience, asked).await.ok().transpose()
                } else {
                    asked.await.map(Some)
                }
            })
            .buffer_unordered(48)
            .collect()
            .await;
        let (mut done, mut leaks) = (0, 0);
        for result in results {
            if let Some(foreign) = result? {
                done += 1;
                leaks += foreign;
            }
        }
        assert_eq!(leaks, 0);
        assert!(done >= TRANSACTIONS * 2 / 3, "{done} were not given up");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn doctor_finds_a_table_whose_fence_was_taken_down() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let wrong = async || -> Vec<_> {
            let findings =
                api::doctor::examine(&kit.app.config, api::base::Clock::System.now()).await;
            findings
                .into_iter()
                .filter(|finding| !finding.ok)
                .map(|finding| (finding.check, finding.message))
                .collect()
        };
        // The kit's own secrets are plain words.
        let guessable = "short or repetitive, so it can be guessed".to_owned();
        let expected = [
            ("secret_key", guessable.clone()),
            ("operator_token", guessable),
        ];
        let found = wrong().await;
        assert!(
            found.iter().all(|finding| expected.contains(finding)),
            "{found:?}"
        );
        if !kit.app.env.db.is_postgres() {
            return Ok(());
        }
        let mut owner = PgConnection::connect(kit.database_url()).await?;
        owner
            .execute("ALTER TABLE contact NO FORCE ROW LEVEL SECURITY; DROP POLICY tenant ON event")
            .await?;
        let found = wrong().await;
        assert!(
            found.contains(&(
                "row level security",
                "not forced, or without the policy \"tenant\", on contact, event".to_owned()
            )),
            "{found:?}"
        );
        Ok(())
    })
    .await
}
