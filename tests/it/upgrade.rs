//! Databases of earlier versions: what was in them is there after the migrations that followed.

#![expect(
    clippy::disallowed_methods,
    reason = "an earlier version's database is written past the product"
)]

use api::base::Db;
use migration::MigratorTrait as _;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use tests::{Kind, on_each_place};
use uuid::Uuid;

/// What a statement gives, a row a text.
async fn texts(database: &DatabaseConnection, sql: &str) -> anyhow::Result<Vec<String>> {
    let asked = Statement::from_string(database.get_database_backend(), sql);
    let rows = database.query_all_raw(asked).await?;
    let texts = rows.iter().map(|row| row.try_get_by_index(0));
    Ok(texts.collect::<Result<_, _>>()?)
}

/// The migrations before the log lay in months.
const BEFORE: u32 = 11;

#[tokio::test]
async fn a_log_from_before_it_lay_in_months_is_whole_afterwards() -> anyhow::Result<()> {
    on_each_place(async |kind, url| {
        let folder = tempfile::TempDir::new()?;
        let old = if kind == Kind::Postgres {
            let admin = Database::connect(url).await?;
            let name = format!("{}_old", url.rsplit('/').next().unwrap());
            admin
                .execute_unprepared(&format!("CREATE DATABASE {name}"))
                .await?;
            admin.close().await?;
            format!("{url}_old")
        } else {
            format!("sqlite:{}?mode=rwc", folder.path().join("old.db").display())
        };
        let database = Database::connect(&old).await?;
        migration::Migrator::up(&database, Some(BEFORE)).await?;
        let id = |millis: u64, n: u128| {
            let id = Uuid::from_u128((u128::from(millis) << 80) | n);
            if kind == Kind::Postgres {
                format!("'{id}'")
            } else {
                format!("X'{}'", id.simple())
            }
        };
        let tenant = id(0, 1);
        let (november, january) = (1_763_208_000_000, 1_767_268_800_000);
        database
            .execute_unprepared(&format!(
                "INSERT INTO tenant (id, name, token_key, created_at) VALUES ({tenant}, 'acme', 'x', '2025-11-01T00:00:00+00:00')"
            ))
            .await?;
        for (name, message, millis, at) in [
            ("first", "'m1'", november, "2025-11-15T12:00:00+00:00"),
            ("second", "NULL", january, "2026-01-01T12:00:00+00:00"),
            ("third", "'m3'", january + 1, "2026-01-01T12:00:00.001+00:00"),
        ] {
            database
                .execute_unprepared(&format!(
                    "INSERT INTO event (partition, id, tenant_id, name, properties, context, source, message_id, causation_depth, occurred_at, received_at)
                     VALUES (3, {}, {tenant}, '{name}', '{{\"a\": 1}}', '{{}}', 'api', {message}, 0, '{at}', '{at}')",
                    id(millis, 7)
                ))
                .await?;
        }
        database
            .execute_unprepared(&format!(
                "INSERT INTO dead_letter (id, tenant_id, consumer, event_id, error, attempts, created_at)
                 VALUES ({}, {tenant}, 'nudge', {}, 'x', 10, '2025-11-16T00:00:00+00:00')",
                id(november, 8),
                id(november, 7)
            ))
            .await?;
        let log = "SELECT seq || '/' || xid || '/' || partition || '/' || name || '/' || CAST(properties AS text) || '/'
            || coalesce(message_id, '-') || '/' || CAST(occurred_at AS text) FROM event ORDER BY seq";
        let before = texts(&database, log).await?;
        assert_eq!(before.len(), 3);
        database.close().await?;

        assert!(Db::migrate(&old).await? > 0);
        let database = Database::connect(&old).await?;
        assert_eq!(texts(&database, log).await?, before);
        let messages = "SELECT m.message_id || ' is ' || e.name FROM event_message m JOIN event e ON e.id = m.id ORDER BY 1";
        assert_eq!(
            texts(&database, messages).await?,
            ["m1 is first", "m3 is third"]
        );
        if kind == Kind::Postgres {
            let places = "SELECT name || ' in ' || tableoid::regclass FROM event ORDER BY seq";
            assert_eq!(
                texts(&database, places).await?,
                ["first in log.event_2025_11", "second in log.event_2026_01", "third in log.event_2026_01"]
            );
        }
        database
            .execute_unprepared(&format!(
                "INSERT INTO event (partition, id, tenant_id, name, properties, context, source, causation_depth, occurred_at, received_at)
                 VALUES (3, {}, {tenant}, 'fourth', '{{}}', '{{}}', 'api', 0, '2026-01-02T00:00:00+00:00', '2026-01-02T00:00:00+00:00');
                 DELETE FROM event WHERE name = 'first'",
                id(january + 2, 7)
            ))
            .await?;
        let names = texts(&database, "SELECT name FROM event ORDER BY seq").await?;
        assert_eq!(names, ["second", "third", "fourth"]);
        let letters = texts(&database, "SELECT error FROM dead_letter").await?;
        assert_eq!(letters, Vec::<String>::new());
        database.close().await?;
        if kind == Kind::Postgres {
            let admin = Database::connect(url).await?;
            let name = old.rsplit('/').next().unwrap();
            admin
                .execute_unprepared(&format!("DROP DATABASE {name}"))
                .await?;
            admin.close().await?;
        }
        Ok(())
    })
    .await
}
