//! The databases: made, filled, and kept for the next run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use api::base::Db;
use chrono::SecondsFormat;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection, query_scalar,
};

use crate::{
    rows::{Cell, Density, Table, tables},
    world::World,
};

/// Says what the rows are; another number makes them anew.
const VERSION: u32 = 1;

/// `COPY` is sent in pieces of about this many bytes.
const COPY_BYTES: usize = 1 << 20;

/// Parameters of one statement of SQLite.
const SQLITE_PARAMETERS: usize = 1_000;

/// What is in a database, as it is written on it.
fn label(world: &World, density: Density) -> String {
    format!(
        "growthos bench {VERSION}: {} tenants, {} contacts, {} events, {} deliveries",
        world.tenants.len(),
        world.contacts.len(),
        density.events,
        density.deliveries,
    )
}

/// A PostgreSQL database of this name with the world in it; gives its URL. One that is there already, and has every
/// migration that this binary knows, is taken as it is, unless `fresh`.
pub(crate) async fn postgres(
    server: &str,
    name: &str,
    world: &World,
    density: Density,
    fresh: bool,
) -> anyhow::Result<String> {
    let url = format!("{server}/{name}");
    let label = label(world, density);
    let mut admin = PgConnection::connect(&format!("{server}/postgres"))
        .await
        .with_context(|| format!("no PostgreSQL answers at {server}"))?;
    let said: Option<Option<String>> = query_scalar(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
    )
    .bind(name)
    .fetch_optional(&mut admin)
    .await?;
    let kept = said.flatten().as_deref() == Some(label.as_str());
    if kept && !fresh && Db::pending_migrations(&url).await? == 0 {
        return Ok(url);
    }
    println!("{label}: filling {name}");
    for statement in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name}"),
    ] {
        admin.execute(AssertSqlSafe(statement)).await?;
    }
    Db::migrate(&url).await?;
    let mut database = PgConnection::connect(&url).await?;
    // The rows point where they should: no need to look each one up.
    database
        .execute("SET session_replication_role = replica; SET synchronous_commit = off")
        .await?;
    // The months of the world's events.
    database
        .execute(
            "SELECT log_month_make(month AT TIME ZONE 'UTC')
             FROM generate_series(timestamp '2025-09-01', '2026-01-01', interval '1 month') AS month",
        )
        .await?;
    let definitions = without_indexes(&mut database).await?;
    for table in tables(world, density) {
        copy(&mut database, table).await?;
    }
    for definition in definitions {
        database.execute(AssertSqlSafe(definition)).await?;
    }
    database.execute("VACUUM (ANALYZE)").await?;
    database.execute("CHECKPOINT").await?;
    database
        .execute(AssertSqlSafe(format!(
            "COMMENT ON DATABASE {name} IS '{label}'"
        )))
        .await?;
    Ok(url)
}

/// Drops the indexes that no constraint needs, and gives their definitions: they are made faster than they are kept.
pub(crate) async fn without_indexes(database: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        // A partitioned table's index is made on its partitions, too.
        "SELECT indexrelid::regclass::text, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') FROM pg_index
         JOIN pg_class ON pg_class.oid = indrelid AND relnamespace = 'public'::regnamespace
         WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
    )
    .fetch_all(&mut *database)
    .await?;
    let mut definitions = vec![];
    for (index, definition) in indexes {
        database
            .execute(AssertSqlSafe(format!("DROP INDEX {index}")))
            .await?;
        definitions.push(definition);
    }
    Ok(definitions)
}

async fn copy(database: &mut PgConnection, table: Table<'_>) -> anyhow::Result<()> {
    let statement = format!(
        "COPY {} ({}) FROM STDIN",
        table.name,
        table.columns.join(", ")
    );
    let mut sink = database.copy_in_raw(&statement).await?;
    let mut piece = String::with_capacity(COPY_BYTES + 4096);
    for row in table.rows {
        for (place, cell) in row.iter().enumerate() {
            if place > 0 {
                piece.push('\t');
            }
            match cell {
                Cell::Null => piece.push_str("\\N"),
                Cell::Id(id) => piece.push_str(&id.to_string()),
                Cell::Text(text) => {
                    let escaped = text.replace('\\', "\\\\").replace('\t', "\\t");
                    piece.push_str(&escaped.replace('\n', "\\n"));
                }
                Cell::Integer(number) => piece.push_str(&number.to_string()),
                Cell::Float(number) => piece.push_str(&number.to_string()),
                Cell::Time(at) => piece.push_str(&at.to_rfc3339()),
            }
        }
        piece.push('\n');
        if piece.len() > COPY_BYTES {
            sink.send(piece.as_bytes()).await?;
            piece.clear();
        }
    }
    sink.send(piece.as_bytes()).await?;
    sink.finish().await?;
    Ok(())
}

/// A copy of a database, to write in: the next run finds the original as it was.
pub(crate) async fn postgres_copy(server: &str, name: &str) -> anyhow::Result<String> {
    let mut admin = PgConnection::connect(&format!("{server}/postgres")).await?;
    let copy = format!("{name}_copy");
    for statement in [
        format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)"),
        format!("CREATE DATABASE {copy} TEMPLATE {name}"),
        "CHECKPOINT".to_owned(),
    ] {
        admin.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(format!("{server}/{copy}"))
}

/// A copy of a file, as of a database.
pub(crate) fn sqlite_copy(folder: &Path, file: &Path) -> anyhow::Result<String> {
    let copy = folder.join("copy.db");
    remove(&copy);
    fs::copy(file, &copy)?;
    Ok(format!("sqlite:{}", copy.display()))
}

/// A database's file, and what lies beside it.
fn remove(file: &Path) {
    for end in ["", "-wal", "-shm"] {
        // Mostly it is not there.
        let _ = fs::remove_file(format!("{}{end}", file.display()));
    }
}

/// A SQLite file with the world in it, in `folder`.
pub(crate) async fn sqlite(
    folder: &Path,
    world: &World,
    density: Density,
    fresh: bool,
) -> anyhow::Result<PathBuf> {
    let name = label(world, density).replace([':', ',', ' '], "-");
    let file = folder.join(format!("{name}.db"));
    let url = format!("sqlite:{}", file.display());
    if file.exists() && !fresh && Db::pending_migrations(&url).await? == 0 {
        return Ok(file);
    }
    println!("{}: filling {}", label(world, density), file.display());
    fs::create_dir_all(folder)?;
    let half = folder.join("half-made.db");
    remove(&half);
    remove(&file);
    let half_url = format!("sqlite:{}", half.display());
    Db::migrate(&half_url).await?;
    let mut database = SqliteConnection::connect(&half_url).await?;
    database
        .execute("PRAGMA foreign_keys = off; PRAGMA synchronous = off; BEGIN")
        .await?;
    for table in tables(world, density) {
        insert(&mut database, table).await?;
    }
    database
        .execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
        .await?;
    database.close().await?;
    fs::rename(&half, &file)?;
    Ok(file)
}

async fn insert(database: &mut SqliteConnection, table: Table<'_>) -> anyhow::Result<()> {
    let width = table.columns.len();
    let row = format!("({})", vec!["?"; width].join(", "));
    let statement = |rows: usize| {
        format!(
            "INSERT INTO {} ({}) VALUES {}",
            table.name,
            table.columns.join(", "),
            vec![row.as_str(); rows].join(", ")
        )
    };
    let many = SQLITE_PARAMETERS / width;
    let mut rows = table.rows.peekable();
    while rows.peek().is_some() {
        let batch: Vec<Vec<Cell>> = rows.by_ref().take(many).collect();
        let mut insert = sqlx::query(AssertSqlSafe(statement(batch.len())));
        for cell in batch.into_iter().flatten() {
            // As the product writes them: an id as its bytes, an instant as text.
            insert = match cell {
                Cell::Null => insert.bind(None::<String>),
                Cell::Id(id) => insert.bind(id.as_bytes().to_vec()),
                Cell::Text(text) => insert.bind(text),
                Cell::Integer(number) => insert.bind(number),
                Cell::Float(number) => insert.bind(number),
                Cell::Time(at) => insert.bind(at.to_rfc3339_opts(SecondsFormat::AutoSi, false)),
            };
        }
        insert.execute(&mut *database).await?;
    }
    Ok(())
}
