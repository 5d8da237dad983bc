//! Opening the pools, and the hooks that keep a connection clean between uses.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use migration::{APP_ROLE, Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::{
    Connection, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Db, Inner, pipeline::Pipeline};
use crate::base::Result;

/// Long enough for a burst, short enough that a stray read inside a write is loud (it deadlocks on SQLite's
/// one writer until this passes).
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A pooled connection idle for longer is checked before use; checking each one costs small queries 4 ×.
const IDLE_UNCHECKED: Duration = Duration::from_secs(30);

/// What keeps the plans of prepared statements good. A plan that was made for an empty table and kept reads all of it when it
/// has grown; to make one each time costs more than most statements take to run. Every table here has an index for what it is
/// asked for, so none is read whole where an index serves; and no statement is so long that it is worth compiling.
pub(super) const PLANNER: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];

/// With a connection go the plans that it has made: none outlives what the tables were like by more than this, even where
/// nothing tells PostgreSQL that they have changed.
pub(super) const CONNECTION_AGE_MAX: Duration = Duration::from_mins(5);

/// SQLite's page cache for one connection. A big one on each of several connections inflates memory.
const SQLITE_CACHE_KIB: &str = "-8000";

/// SQLite readers beside the writer.
const SQLITE_READERS: u32 = 4;

#[derive(Clone, Debug)]
pub struct DbOptions {
    /// `sqlite:path?mode=rwc`, `sqlite://path` or `postgres://…`.
    pub url: String,
    /// PostgreSQL connections at most; 4 to 16 measured best.
    pub connections_max: u32,
    /// How long PostgreSQL works on a statement that only reads: longer than anybody waits for it.
    pub read_timeout: Duration,
}

impl Db {
    pub async fn connect(options: &DbOptions) -> Result<Self> {
        let statements = Arc::new(AtomicU64::new(0));
        let mut pipeline = None;
        let (reader, writer) = if options.url.starts_with("postgres") {
            let mut pool = postgres(options).await?;
            count(&mut pool, &statements);
            pipeline = Pipeline::connect(options).await;
            (pool.clone(), pool)
        } else {
            let (mut reader, mut writer) = sqlite(&options.url).await?;
            count(&mut reader, &statements);
            count(&mut writer, &statements);
            (reader, writer)
        };
        Ok(Self {
            inner: Arc::new(Inner {
                reader,
                writer,
                pipeline,
                url: options.url.clone(),
                read_timeout: options.read_timeout,
                statements,
            }),
        })
    }

    /// Brings the schema up to date, as the role that the URL names; says how many steps were taken.
    /// On PostgreSQL an advisory lock lets several processes start at once.
    pub async fn migrate(url: &str) -> Result<usize> {
        let mut lock = None;
        let conn: DatabaseConnection = if url.starts_with("postgres") {
            let mut holder = PgConnection::connect(url)
                .await
                .map_err(anyhow::Error::from)?;
            holder
                .execute("SELECT pg_advisory_lock(hashtext('growthos migrate'))")
                .await
                .map_err(anyhow::Error::from)?;
            lock = Some(holder);
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .connect(url)
                .await
                .map_err(anyhow::Error::from)?;
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
        } else {
            sqlite(url).await?.1
        };
        let pending = Migrator::get_pending_migrations(&conn).await?.len();
        Migrator::up(&conn, None).await?;
        conn.close().await?;
        drop(lock);
        Ok(pending)
    }

    /// Migrations that this binary knows and the database lacks.
    pub async fn pending_migrations(url: &str) -> Result<usize> {
        let conn: DatabaseConnection = if url.starts_with("postgres") {
            // A pool tries again until its time is over, and then says only that; this says what is wrong.
            let reached = PgConnection::connect(url)
                .await
                .map_err(anyhow::Error::from)?;
            reached.close().await.map_err(anyhow::Error::from)?;
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect(url)
                .await
                .map_err(anyhow::Error::from)?;
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
        } else {
            sqlite(url).await?.1
        };
        let pending = Migrator::get_pending_migrations(&conn).await?.len();
        conn.close().await?;
        Ok(pending)
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<()> {
        self.inner.reader.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Hears the other processes' bells; `None` on SQLite, which has no other process.
    pub async fn listen(&self, channel: &str) -> Result<Option<PgListener>> {
        if !self.is_postgres() {
            return Ok(None);
        }
        let mut listener = PgListener::connect(&self.inner.url)
            .await
            .map_err(anyhow::Error::from)?;
        listener
            .listen(channel)
            .await
            .map_err(anyhow::Error::from)?;
        Ok(Some(listener))
    }

    /// Rings the other processes' bells. Callers debounce: every `NOTIFY` takes a lock of the whole server.
    pub async fn notify(&self, channel: &'static str) -> Result<()> {
        if self.is_postgres() {
            self.inner
                .writer
                .execute_unprepared(&format!("NOTIFY {channel}"))
                .await?;
        }
        Ok(())
    }

    pub async fn close(&self) -> Result<()> {
        self.inner.reader.clone().close().await?;
        self.inner.writer.clone().close().await?;
        if let Some(pipeline) = &self.inner.pipeline {
            pipeline.close();
        }
        Ok(())
    }
}

fn count(pool: &mut DatabaseConnection, statements: &Arc<AtomicU64>) {
    let statements = Arc::clone(statements);
    pool.set_metric_callback(move |info| {
        statements.fetch_add(1, Ordering::Relaxed);
        metrics::histogram!("growthos_database_statement_seconds")
            .record(info.elapsed.as_secs_f64());
    });
}

async fn postgres(options: &DbOptions) -> Result<DatabaseConnection> {
    let connect = PgConnectOptions::from_str(&options.url)
        .map_err(anyhow::Error::from)?
        .application_name("growthos")
        .options([
            ("timezone", "UTC"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("statement_timeout", "30s"),
        ])
        .options(PLANNER);
    let pool = PgPoolOptions::new()
        .max_connections(options.connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(CONNECTION_AGE_MAX)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > IDLE_UNCHECKED {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        // The session's role owns nothing, so row level security holds for whoever the URL names.
        .after_connect(|conn, _| {
            Box::pin(async move {
                conn.execute(sqlx::AssertSqlSafe(format!("SET ROLE {APP_ROLE}")))
                    .await?;
                Ok(())
            })
        })
        // A `begin` that was cancelled half-way leaves the server inside a transaction that sqlx does not
        // know of; the next writes would answer Ok and vanish.
        .after_release(|conn, _| {
            Box::pin(async move {
                if !is_outside_transaction(conn).await {
                    conn.execute("ROLLBACK").await?;
                }
                Ok(true)
            })
        })
        .connect_with(connect)
        .await
        .map_err(anyhow::Error::from)?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Whether the server, and not sqlx alone, thinks that no transaction is open. A plain `ROLLBACK` would do without
/// asking, but the server's log would hold a warning for each. A simple query outside a transaction is one of its
/// own, which starts with it; inside one it starts later, and inside a failed one it fails.
async fn is_outside_transaction(conn: &mut PgConnection) -> bool {
    let asked = sqlx::raw_sql("SELECT transaction_timestamp() = statement_timestamp()");
    let outside = asked.fetch_one(conn).await.and_then(|row| row.try_get(0));
    matches!(outside, Ok(true))
}

async fn sqlite(url: &str) -> Result<(DatabaseConnection, DatabaseConnection)> {
    if url.contains(":memory:") {
        return Err(anyhow::anyhow!(
            "an in-memory SQLite cannot be shared by readers and the writer: name a file"
        )
        .into());
    }
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(anyhow::Error::from)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: what was acknowledged survives a power cut, too.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(ACQUIRE_TIMEOUT)
        .pragma("cache_size", SQLITE_CACHE_KIB)
        .pragma("mmap_size", "0");
    let pool = |connections: u32| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            // The same cancelled `begin` as on PostgreSQL; SQLite answers an error where there is nothing
            // to roll back.
            .after_release(|conn, _| {
                Box::pin(async move {
                    let _ = conn.execute("ROLLBACK").await;
                    Ok(true)
                })
            })
    };
    let writer = pool(1)
        .connect_with(connect.clone())
        .await
        .map_err(anyhow::Error::from)?;
    let reader = pool(SQLITE_READERS)
        .connect_with(connect.pragma("query_only", "on"))
        .await
        .map_err(anyhow::Error::from)?;
    Ok((
        SqlxSqliteConnector::from_sqlx_sqlite_pool(reader),
        SqlxSqliteConnector::from_sqlx_sqlite_pool(writer),
    ))
}
