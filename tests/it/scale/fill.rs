//! Much of everything: the tenant's first row of each table, copied by the database. The n-th copies point at each other, so
//! that a room that is added tomorrow is filled, too.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tests::{Kind, Kit, Tenant};

/// How many copies there are to be.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) contacts: u32,
    pub(super) events: u32,
    pub(super) others: u32,
}

/// What copies are not made of: an alias of each contact would leave no root.
const LEFT_OUT: [&str; 1] = ["contact_alias"];

/// What the copies differ in besides: `{n}` is the copy's number, `{id}` its id.
const VARIED: [(&str, &str, &str); 6] = [
    ("event", "caused_by", "{id}"),
    (
        "merge_record",
        "survivor_id",
        "CASE WHEN {n} % 5 = 0 THEN t.survivor_id ELSE {id} END",
    ),
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
    "SELECT m.name, p.name, p.type FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'",
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
    for (table, columns) in &columns {
        let indexes = unique
            .remove(table)
            .unwrap_or_default()
            .into_values()
            .collect::<Vec<_>>();
        filler.copy(tenant, table, columns, &indexes).await?;
    }
    filler.run("ANALYZE").await?;
    filler.database.close().await?;
    Ok(())
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

    /// Copies the tenant's first row of a table. One of which a tenant has one row alone is left as it is.
    async fn copy(
        &self,
        tenant: &Tenant,
        table: &str,
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
        for (column, ty) in columns {
            // The log's place is the database's to give.
            if table == "event" && ["seq", "xid"].contains(&column.as_str()) {
                continue;
            }
            into.push(format!("\"{column}\""));
            from.push(self.value(table, column, ty, telling.contains(column.as_str())));
        }
        let rows = match table {
            "contact" => self.numbers.contacts,
            "event" => self.numbers.events,
            _ => self.numbers.others,
        };
        let tenant = if self.postgres {
            format!("'{}'", tenant.id.uuid())
        } else {
            format!("X'{}'", tenant.id.uuid().simple())
        };
        let first = if has("contact_id") {
            "ORDER BY CASE WHEN contact_id = (SELECT contact_id FROM contact_identifier WHERE value = 'victim') THEN 0 ELSE 1 END"
        } else {
            ""
        };
        self.run(&format!(
            "INSERT INTO \"{table}\" ({})
             WITH RECURSIVE numbers(n) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})
             SELECT {} FROM (SELECT * FROM \"{table}\" WHERE {owner} = {tenant} {first} LIMIT 1) t CROSS JOIN numbers",
            into.join(", "),
            from.join(", "),
        ))
        .await
    }

    /// What a copy has in a column. Where the first row has nothing, no copy has.
    fn value(&self, table: &str, column: &str, ty: &str, tells: bool) -> String {
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
            ("tenant_id", _) => return own,
            // One in five is of the first row's contact, who has much, too.
            ("contact_id", _) if !tells => {
                let theirs = self.id(&format!("(1 + n % {})", self.numbers.contacts));
                format!("CASE WHEN n % 5 = 0 THEN {own} ELSE {theirs} END")
            }
            (_, "uuid" | "uuid_text") if tells || column.ends_with("_id") => self.id("n"),
            (_, "text") if tells => format!("{own} || '-' || n"),
            (_, "timestamp with time zone") => format!("{own} + n * interval '1 minute'"),
            (_, "timestamp_with_timezone_text") => {
                format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', {own}, n || ' minutes')")
            }
            _ => return own,
        };
        format!("CASE WHEN {own} IS NOT NULL THEN {copied} END")
    }

    /// The id of the n-th copy in every table: in the order in which they were made, a minute apart, as the product's are.
    fn id(&self, n: &str) -> String {
        let since = self.since;
        if self.postgres {
            format!(
                "(lpad(to_hex({since} + {n} * 60000), 12, '0') || lpad(to_hex({n}), 20, '0'))::uuid"
            )
        } else {
            format!("unhex(printf('%012x%020x', {since} + {n} * 60000, {n}))")
        }
    }
}

/// The columns in which copies must differ for the unique indexes' sake; `None` where a tenant can have one row alone.
fn telling<'a>(
    columns: &'a [(String, String)],
    unique: &'a [Vec<String>],
) -> Option<BTreeSet<&'a str>> {
    let is = |column: &str, kinds: &[&str]| {
        columns
            .iter()
            .any(|(name, ty)| name == column && kinds.contains(&ty.as_str()))
    };
    let others = unique
        .iter()
        .filter(|index| !index.iter().any(|column| column == "id"));
    others
        .map(|index| {
            let free = || {
                index
                    .iter()
                    .map(String::as_str)
                    .filter(|column| *column != "tenant_id")
            };
            let uuid = free().find(|column| is(column, &["uuid", "uuid_text"]));
            uuid.or_else(|| free().find(|column| is(column, &["text"])))
        })
        .collect()
}
