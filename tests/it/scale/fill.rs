//! Much of everything: the tenant's rows of each table, copied by the database. The n-th copies point at each other, so that a
//! room that is added tomorrow is filled, too.

#![expect(
    clippy::disallowed_methods,
    reason = "the database copies its own rows"
)]

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tests::{Kind, Kit, Tenant};

/// How many copies there are to be.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) events: u32,
    /// Of every other table.
    pub(super) others: u32,
    /// One copy in so many points where the row does that it is a copy of, by each of its columns: what the tenant began with has
    /// much, and everything else has some.
    pub(super) own: u32,
}

/// What copies are not made of: an alias of each contact would leave no root.
const LEFT_OUT: [&str; 1] = ["contact_alias"];

/// Minutes between a copy and the next: forty thousand events lie in three months.
const STEP_MINUTES: u32 = 3;

/// Rows copied in one transaction: while it lasts, no reader of any log of this server comes past it.
const ROWS_PER_INSERT: u32 = 1_000;

/// What the copies differ in besides: `{n}` is the copy's number, `{id}` its id.
const VARIED: [(&str, &str, &str); 6] = [
    ("event", "caused_by", "{id}"),
    // A person has a few names, and not some of everybody's.
    ("contact_identifier", "contact_id", "{id}"),
    (
        "contact_trait",
        "key",
        "CASE WHEN {n} % 2 = 0 THEN 'seats' ELSE 'stage' END",
    ),
    (
        "contact_trait",
        "number",
        "CASE WHEN {n} % 2 = 0 THEN {n} / 2 % 200 END",
    ),
    (
        "contact_trait",
        "value",
        "CASE WHEN {n} % 2 = 0 THEN CAST({n} / 2 % 200 AS text) WHEN {n} % 101 = 0 THEN '\"rare\"' ELSE '\"common\"' END",
    ),
    (
        "contact_trait",
        "text",
        "CASE WHEN {n} % 2 = 1 THEN CASE WHEN {n} % 101 = 0 THEN 'rare' ELSE 'common' END END",
    ),
];

const COLUMNS: [&str; 2] = [
    "SELECT m.name, p.name, lower(p.type) FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'",
    "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL)
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
     ORDER BY a.attnum",
];

/// The unique indexes, a column a row.
const UNIQUE: [&str; 2] = [
    "SELECT m.name, l.name, i.name FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) i
     WHERE m.type = 'table' AND l.\"unique\"",
    "SELECT c.relname::text, i.indexrelid::regclass::text, a.attname::text
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
     WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
     ORDER BY array_position(i.indkey::int2[], a.attnum)",
];

/// Columns by table, in their order, with their types.
type Columns = BTreeMap<String, Vec<(String, String)>>;

/// The database, without a fence.
struct Filler {
    database: DatabaseConnection,
    postgres: bool,
    /// The first copy's instant, in milliseconds.
    since: i64,
    numbers: Numbers,
}

pub(super) async fn fill(kit: &Kit, tenant: &Tenant, numbers: Numbers) -> anyhow::Result<()> {
    let mut options = ConnectOptions::new(kit.database_url());
    // One session, for its settings.
    options.max_connections(1).sqlx_logging(false);
    let filler = Filler {
        database: Database::connect(options).await?,
        postgres: kit.database == Kind::Postgres,
        since: kit.now().timestamp_millis(),
        numbers,
    };
    filler
        .run(if filler.postgres {
            "SET session_replication_role = replica"
        } else {
            "PRAGMA foreign_keys = off"
        })
        .await?;
    let mut columns = Columns::new();
    for [table, column, ty] in filler.texts(COLUMNS).await? {
        columns.entry(table).or_default().push((column, ty));
    }
    let mut unique: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for [table, index, column] in filler.texts(UNIQUE).await? {
        unique
            .entry(table)
            .or_default()
            .entry(index)
            .or_default()
            .push(column);
    }
    for (place, (table, columns)) in columns.iter().enumerate() {
        let indexes = unique
            .remove(table)
            .unwrap_or_default()
            .into_values()
            .collect::<Vec<_>>();
        filler
            .copy(tenant, (table, place), columns, &indexes)
            .await?;
    }
    filler.run("ANALYZE").await?;
    filler.database.close().await?;
    Ok(())
}

/// Whether it is an id of something else, which differs from copy to copy.
fn points(column: &str, ty: &str) -> bool {
    ["uuid", "uuid_text"].contains(&ty) && column.ends_with("_id") && column != "tenant_id"
}

impl Filler {
    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.database.execute_unprepared(sql).await?;
        Ok(())
    }

    async fn texts(&self, sql: [&str; 2]) -> anyhow::Result<Vec<[String; 3]>> {
        let sql = sql[usize::from(self.postgres)];
        let asked = Statement::from_string(self.database.get_database_backend(), sql);
        let rows = self.database.query_all_raw(asked).await?;
        let texts = rows.iter().map(|row| {
            Ok([
                row.try_get_by_index(0)?,
                row.try_get_by_index(1)?,
                row.try_get_by_index(2)?,
            ])
        });
        texts.collect()
    }

    /// Copies the tenant's rows of a table by turns. One of which a tenant has one row alone is left as it is.
    async fn copy(
        &self,
        tenant: &Tenant,
        (table, place): (&str, usize),
        columns: &[(String, String)],
        unique: &[Vec<String>],
    ) -> anyhow::Result<()> {
        let has = |name: &str| columns.iter().any(|(column, _)| column == name);
        let owner = match table {
            "tenant" => "id",
            _ if has("tenant_id") && has("id") && !LEFT_OUT.contains(&table) => "tenant_id",
            _ => return Ok(()),
        };
        let Some(telling) = telling(columns, unique) else {
            return Ok(());
        };
        let (mut into, mut from) = (vec![], vec![]);
        let mut pointing = 0;
        for (column, ty) in columns {
            // The log's place is the database's to give.
            if table == "event" && ["seq", "xid"].contains(&column.as_str()) {
                continue;
            }
            into.push(format!("\"{column}\""));
            let tells = telling.contains(column.as_str());
            from.push(self.value(table, column, ty, tells, pointing, place));
            pointing += u32::from(points(column, ty));
        }
        let tenant = if self.postgres {
            format!("'{}'", tenant.id.uuid())
        } else {
            format!("X'{}'", tenant.id.uuid().simple())
        };
        let rows = self.rows(table);
        for first in (1..=rows).step_by(ROWS_PER_INSERT as usize) {
            let last = rows.min(first + ROWS_PER_INSERT - 1);
            self.run(&format!(
                "INSERT INTO \"{table}\" ({})
                 WITH RECURSIVE numbers(n) AS
                     (SELECT CAST({first} AS bigint) UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}),
                 own AS (SELECT o.*, row_number() OVER (ORDER BY id) - 1 AS own_turn, count(*) OVER () AS own_count
                     FROM \"{table}\" o WHERE {owner} = {tenant} {})
                 SELECT {} FROM numbers JOIN own t ON t.own_turn = n / {} % t.own_count",
                into.join(", "),
                self.uncopied(),
                from.join(", "),
                self.numbers.own,
            ))
            .await?;
        }
        Ok(())
    }

    /// How many copies there are to be of a table's rows.
    fn rows(&self, table: &str) -> u32 {
        if table == "event" {
            self.numbers.events
        } else {
            self.numbers.others
        }
    }

    /// Copies are made of what the product wrote. Its ids here are counted and not drawn, and below those of the copies.
    fn uncopied(&self) -> String {
        format!("AND id < {}", self.id("1"))
    }

    /// What a copy has in a column, the `pointing`-th that points at something. Where the row that it is a copy of has nothing,
    /// it has nothing. No two tables have copies of one instant, as they have of one id: `place` is the table's.
    fn value(
        &self,
        table: &str,
        column: &str,
        ty: &str,
        tells: bool,
        pointing: u32,
        place: usize,
    ) -> String {
        let own = format!("t.\"{column}\"");
        let varied = VARIED
            .iter()
            .find(|(of, name, _)| (*of, *name) == (table, column));
        if let Some((_, _, varied)) = varied {
            let varied = varied.replace("{n}", "n").replace("{id}", &self.id("n"));
            return if ty == "jsonb" {
                format!("({varied})::jsonb")
            } else {
                varied
            };
        }
        let copied = match (column, ty) {
            ("id", _) => return self.id("n"),
            (_, "uuid" | "uuid_text") if tells => self.id("n"),
            _ if points(column, ty) => {
                let target = column.strip_suffix("_id").unwrap_or(column);
                let own_turn = self.numbers.own;
                let theirs = self.id(&format!("(1 + (n - 1) % {})", self.rows(target)));
                format!(
                    "CASE WHEN n % {own_turn} = {} THEN {own} ELSE {theirs} END",
                    pointing % own_turn
                )
            }
            (_, "text") if tells => format!("{own} || '-' || n"),
            (_, "integer" | "bigint") if tells => format!("{own} + n"),
            (_, "timestamp with time zone") => {
                format!(
                    "{own} + n * interval '{STEP_MINUTES} minutes' + interval '{place} milliseconds'"
                )
            }
            (_, "timestamp_with_timezone_text") => {
                format!(
                    "strftime('%Y-%m-%dT%H:%M:%f+00:00', {own}, (n * {STEP_MINUTES}) || ' minutes', '0.{place:03} seconds')"
                )
            }
            _ => return own,
        };
        format!("CASE WHEN {own} IS NOT NULL THEN {copied} END")
    }

    /// The id of the n-th copy in every table: in the order in which they were made, as the product's are.
    fn id(&self, n: &str) -> String {
        let at = format!("{} + {n} * {}", self.since, STEP_MINUTES * 60_000);
        if self.postgres {
            format!("(lpad(to_hex({at}), 12, '0') || lpad(to_hex({n}), 20, '0'))::uuid")
        } else {
            format!("unhex(printf('%012x%020x', {at}, {n}))")
        }
    }
}

/// The columns in which copies must differ for the unique indexes' sake; `None` where a tenant can have one row alone.
fn telling<'a>(
    columns: &'a [(String, String)],
    unique: &'a [Vec<String>],
) -> Option<BTreeSet<&'a str>> {
    let mut telling = BTreeSet::new();
    for index in unique {
        let types = index.iter().filter_map(|name| {
            let (name, ty) = columns.iter().find(|(column, _)| column == name)?;
            Some((name.as_str(), ty.as_str()))
        });
        let of: Vec<(&str, &str)> = types.collect();
        let last = |kinds: &[&str]| {
            let ones = of.iter().rev();
            ones.filter(|(name, _)| !["tenant_id", "kind"].contains(name))
                .find(|(_, ty)| kinds.contains(ty))
                .map(|(name, _)| *name)
        };
        let pointing = of.iter().filter(|(name, ty)| points(name, ty)).count();
        let differs = of
            .iter()
            .any(|(name, ty)| *name == "id" || ty.starts_with("timestamp"));
        // No two copies keep the same two of the row that they are copies of.
        if differs || pointing > 1 {
            continue;
        }
        let one = last(&["integer", "bigint"])
            .or_else(|| last(&["uuid", "uuid_text"]))
            .or_else(|| last(&["text"]));
        telling.insert(one?);
    }
    Some(telling)
}
