//! A migrated database a kit: copied from a template that is made once.

use std::{
    env, fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use api::base::Db;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The databases that the product runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kit is configured by the environment alone"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

/// Which databases this run is about.
pub(crate) fn chosen() -> Vec<Kind> {
    let names = variable("TEST_DATABASES").unwrap_or_else(|| "sqlite,postgres".to_owned());
    names
        .split(',')
        .map(|name| match name.trim() {
            "sqlite" => Kind::Sqlite,
            "postgres" => Kind::Postgres,
            other => panic!("TEST_DATABASES names {other:?}; there are sqlite and postgres"),
        })
        .collect()
}

fn postgres_server() -> String {
    let server = variable("TEST_POSTGRES_URL").unwrap_or_else(|| {
        panic!(
            "TEST_POSTGRES_URL is missing: a PostgreSQL server's URL without a database, such as postgres://postgres@127.0.0.1:5432; \
             tests/run starts one, and TEST_DATABASES=sqlite leaves PostgreSQL out"
        )
    });
    server.trim_end_matches('/').to_owned()
}

/// Numbers this process's databases.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where one kit's rows are; gone when dropped.
pub(crate) enum Place {
    Sqlite {
        url: String,
        _folder: TempDir,
    },
    Postgres {
        url: String,
        server: String,
        name: String,
    },
}

impl Place {
    pub(crate) async fn new(kind: Kind) -> anyhow::Result<Self> {
        match kind {
            Kind::Sqlite => {
                let folder = TempDir::new()?;
                let file = folder.path().join("growthos.db");
                fs::write(&file, sqlite_template().await?)?;
                Ok(Self::Sqlite {
                    url: format!("sqlite:{}", file.display()),
                    _folder: folder,
                })
            }
            Kind::Postgres => {
                let server = postgres_server();
                let template = postgres_template(&server).await?;
                let name = format!(
                    "growthos_test_{}_{}",
                    std::process::id(),
                    NUMBER.fetch_add(1, Ordering::Relaxed)
                );
                let mut admin = PgConnection::connect(&format!("{server}/postgres")).await?;
                admin
                    .execute(AssertSqlSafe(format!(
                        "CREATE DATABASE {name} TEMPLATE {template}"
                    )))
                    .await?;
                admin.close().await?;
                Ok(Self::Postgres {
                    url: format!("{server}/{name}"),
                    server,
                    name,
                })
            }
        }
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Sqlite { url, .. } | Self::Postgres { url, .. } => url,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self::Postgres { server, name, .. } = self else {
            return;
        };
        let (server, name) = (server.clone(), name.clone());
        // A drop cannot wait on the test's own runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&format!("{server}/postgres")).await?;
                admin
                    .execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
                    .await?;
                anyhow::Ok(())
            })
        })
        .join();
        if !std::thread::panicking() {
            assert!(
                matches!(dropped, Ok(Ok(()))),
                "the test's database could not be dropped: {dropped:?}"
            );
        }
    }
}

/// A migrated SQLite file's bytes, made once a process.
async fn sqlite_template() -> anyhow::Result<&'static [u8]> {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    let bytes = TEMPLATE
        .get_or_try_init(async || {
            let folder = TempDir::new()?;
            let (made, whole) = (
                folder.path().join("made.db"),
                folder.path().join("whole.db"),
            );
            Db::migrate(&format!("sqlite:{}", made.display())).await?;
            // The file alone lacks what is still in its write-ahead log; a vacuumed copy holds all.
            let mut connection =
                SqliteConnection::connect(&format!("sqlite:{}", made.display())).await?;
            connection
                .execute(AssertSqlSafe(format!("VACUUM INTO '{}'", whole.display())))
                .await?;
            connection.close().await?;
            anyhow::Ok(fs::read(&whole)?)
        })
        .await?;
    Ok(bytes)
}

/// The name of a migrated PostgreSQL database, made once a test binary: another build may have other migrations.
async fn postgres_template(server: &str) -> anyhow::Result<&'static str> {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let name = TEMPLATE
        .get_or_try_init(async || {
            let name = format!(
                "growthos_template_{:016x}",
                build_number(&env::current_exe()?)?
            );
            let mut admin = PgConnection::connect(&format!("{server}/postgres")).await?;
            // Several test processes may start at once.
            admin
                .execute("SELECT pg_advisory_lock(hashtext('growthos test template'))")
                .await?;
            let there: Option<i32> =
                sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
                    .bind(&name)
                    .fetch_optional(&mut admin)
                    .await?;
            if there.is_none() {
                // Renamed when it is ready: a killed run leaves no half-made template of this name.
                let raw = format!("{name}_{}", std::process::id());
                admin
                    .execute(AssertSqlSafe(format!("CREATE DATABASE {raw}")))
                    .await?;
                Db::migrate(&format!("{server}/{raw}")).await?;
                months(&format!("{server}/{raw}")).await?;
                admin
                    .execute(AssertSqlSafe(format!(
                        "ALTER DATABASE {raw} RENAME TO {name}"
                    )))
                    .await
                    .context("the migrated template is still in use")?;
            }
            admin.close().await?;
            anyhow::Ok(name)
        })
        .await?;
    Ok(name)
}

/// Gives the log the months of the kits' clock, as a worker would have made them, instead of those of the machine's.
async fn months(url: &str) -> anyhow::Result<()> {
    let mut database = PgConnection::connect(url).await?;
    database
        .execute(
            "SELECT log_month_drop(to_timestamp(substr(relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC')
             FROM pg_inherits JOIN pg_class ON oid = inhrelid
             WHERE inhparent = 'event'::regclass AND relname <> 'event_default';
             SELECT log_month_make(month AT TIME ZONE 'UTC')
             FROM generate_series(timestamp '2026-01-01', '2026-03-01', interval '1 month') AS month",
        )
        .await?;
    database.close().await?;
    Ok(())
}

/// Tells one build of the tests from another.
fn build_number(executable: &Path) -> anyhow::Result<u64> {
    let file = fs::metadata(executable)?;
    let mut hasher = DefaultHasher::new();
    (executable, file.len(), file.modified()?).hash(&mut hasher);
    Ok(hasher.finish())
}
