//! The plans that PostgreSQL took, by its own word: `auto_explain` tells each session of its statements, and the drivers log
//! what a session is told.

use std::{cell::RefCell, sync::Once};

use log::{LevelFilter, Log, Metadata, Record};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tests::Kit;

thread_local! {
    /// What this thread's sessions were told, while somebody listens. A test's tasks all run on its thread.
    static TOLD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Ear;

impl Log for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        TOLD.with_borrow(Option::is_some)
    }
    fn log(&self, record: &Record<'_>) {
        TOLD.with_borrow_mut(|told| {
            if let Some(told) = told {
                told.push(record.args().to_string());
            }
        });
    }
    fn flush(&self) {}
}

/// Rows that a table must have for it to count as large.
const LARGE: f64 = 5_000.0;

/// Has every new session of the kit's database tell its plans; gives the tables that are large, and their partitions.
pub(super) async fn watch(kit: &Kit) -> anyhow::Result<Vec<String>> {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&Ear).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
    let mut admin = PgConnection::connect(kit.database_url()).await?;
    admin
        .execute(
            "DO $$
             DECLARE setting text[];
             BEGIN
                 FOREACH setting SLICE 1 IN ARRAY ARRAY[
                     ['session_preload_libraries', 'auto_explain'],
                     ['auto_explain.log_min_duration', '0'],
                     ['auto_explain.log_level', 'notice'],
                     ['auto_explain.log_format', 'json'],
                     ['auto_explain.log_analyze', 'on'],
                     ['auto_explain.log_timing', 'off'],
                     -- What a worker of its own looks at, nobody is told.
                     ['max_parallel_workers_per_gather', '0']]
                 LOOP
                     EXECUTE format('ALTER DATABASE %I SET %s = %L', current_database(), setting[1], setting[2]);
                 END LOOP;
             END $$",
        )
        .await?;
    let large = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace IN ('public'::regnamespace, 'log'::regnamespace) AND relkind = 'r' AND reltuples >= $1",
    )
    .bind(LARGE)
    .fetch_all(&mut admin)
    .await?;
    admin.close().await?;
    Ok(large)
}

/// The answer to a document, and the plans of the statements that it ran, in a process that knows nothing yet.
pub(super) async fn of(
    kit: &Kit,
    credential: &str,
    document: &str,
) -> anyhow::Result<(Value, Vec<Plan>)> {
    let process = kit.another_process().await?;
    let caller = process.principals.by_token(credential).await?;
    let before = process.env.db.statements();
    TOLD.set(Some(vec![]));
    let request = async_graphql::Request::new(document);
    let answer = process.execute(&caller, request, "test").await;
    let told = TOLD.take().unwrap_or_default();
    let sent = process.env.db.statements() - before;
    process.env.db.close().await?;
    let plans: Vec<Plan> = told.iter().filter_map(|told| Plan::read(told)).collect();
    anyhow::ensure!(
        plans.len() as u64 >= sent,
        "{sent} statements were sent, and {} plans told: {told:#?}",
        plans.len()
    );
    Ok((serde_json::to_value(answer)?, plans))
}

/// How one statement was run.
#[derive(Debug)]
pub(super) struct Plan {
    sql: String,
    root: Value,
}

impl Plan {
    fn read(told: &str) -> Option<Self> {
        let (_, plan) = told.split_once("plan:\n")?;
        let plan: Value = serde_json::from_str(plan).ok()?;
        Some(Self {
            sql: plan["Query Text"].as_str()?.to_owned(),
            root: plan["Plan"].clone(),
        })
    }

    fn nodes(&self) -> Vec<&Value> {
        let mut nodes = vec![&self.root];
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            nodes.extend(node["Plans"].as_array().into_iter().flatten());
            at += 1;
        }
        nodes
    }

    /// Rows of large tables that the statement looked at.
    pub(super) fn reads_of(&self, large: &[String]) -> f64 {
        let of_large = |node: &&&Value| {
            let table = node["Relation Name"].as_str().unwrap_or_default();
            large.iter().any(|name| name == table)
        };
        self.nodes()
            .iter()
            .filter(of_large)
            .map(|node| looked_at(node))
            .sum()
    }

    /// What is wrong with the plan, if anything: it reads a large table in no index's order, or more rows than `rows_max`.
    pub(super) fn fault(&self, large: &[String], rows_max: f64) -> Option<String> {
        let is_large = |table: &Value| large.iter().any(|name| *table == json!(name));
        for node in self.nodes() {
            let (kind, table) = (&node["Node Type"], &node["Relation Name"]);
            let sequential = is_large(table) && kind == "Seq Scan";
            let looked_at = looked_at(node);
            if sequential || looked_at > rows_max {
                return Some(format!(
                    "{kind} of {table} by {} looks at {looked_at} rows\n{}\n{:#}",
                    node["Index Name"], self.sql, self.root
                ));
            }
        }
        None
    }
}

/// Rows that a node took from a table or an index, and those that it left out. Zero for one that takes its rows from others.
fn looked_at(node: &Value) -> f64 {
    if node["Relation Name"].is_null() && node["Index Name"].is_null() {
        return 0.0;
    }
    let of = |key: &str| node[key].as_f64().unwrap_or_default();
    let each =
        of("Actual Rows") + of("Rows Removed by Filter") + of("Rows Removed by Index Recheck");
    each * of("Actual Loops")
}
