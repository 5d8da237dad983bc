//! What one large tenant costs: lists with a filter and an order, and look-ups, where there are a million contacts and five
//! million events.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use api::base::Db;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, query_scalar};

use crate::{
    load::{self, Connection},
    seed::without_indexes,
    servers::{Kind, Server},
};

const DATABASE: &str = "growthos_bench_scale";

/// The key that `one_tenant.sql` gives the tenant.
const KEY: &str = "gos_sk_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Contacts that are looked up by turns.
const ASKED: u64 = 2_000;

/// What is asked, with the median that is wanted in milliseconds. `N` is another number for each request.
const ITEMS: [(&str, f64, &str); 5] = [
    (
        "contacts of a common trait, newest first",
        50.0,
        r#"{ contacts(first: 50, filter: {trait: {key: "plan", eq: "free"}}) { edges { node { id name email } } } }"#,
    ),
    (
        "contacts of a rare trait, last changed first",
        50.0,
        r#"{ contacts(first: 50, filter: {trait: {key: "plan", eq: "enterprise"}}, orderBy: {field: UPDATED_AT, direction: DESC}) { edges { node { id name email } } } }"#,
    ),
    (
        "contacts of one in a thousand, last changed first",
        50.0,
        r#"{ contacts(first: 50, filter: {trait: {key: "seats", eq: N}}, orderBy: {field: UPDATED_AT, direction: DESC}) { edges { node { id name email } } } }"#,
    ),
    (
        "a contact by its external id",
        5.0,
        r#"{ contact(by: {externalId: "user-N"}) { id email } }"#,
    ),
    (
        "a contact by its e-mail address, with its last events",
        5.0,
        r#"{ contact(by: {email: "user-N@example.com"}) { id events(first: 5) { edges { node { name } } } } }"#,
    ),
];

pub(crate) async fn run(
    server: &str,
    contacts: u32,
    fresh: bool,
    connections: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let url = fill(server, contacts, fresh).await?;
    let server = Server::start(Kind::Growthos, &url).await?;
    println!("| of {contacts} contacts | p50 ms | p99 ms | wanted p50 | req/s |");
    println!("|---|---|---|---|---|");
    for (title, wanted, document) in ITEMS {
        let requests: Vec<Vec<u8>> = (1..=ASKED)
            .map(|n| {
                let number = n * 7_919 % u64::from(contacts) + 1;
                let number = if document.contains("eq: N") {
                    number % 1_000
                } else {
                    number
                };
                let body = json!({"query": document.replace('N', &number.to_string())});
                load::request("/graphql", KEY, &body.to_string())
            })
            .collect();
        let mut connection = Connection::open(server.address).await?;
        let answer: Value = serde_json::from_slice(connection.ask(&requests[0]).await?)?;
        anyhow::ensure!(answer["errors"].is_null(), "{title}: {answer}");
        let requests = Arc::new(requests);
        // The first is to warm up.
        load::run(server.address, &requests, connections, time).await?;
        let measured = load::run(server.address, &requests, connections, time).await?;
        println!(
            "| {title} | {:.2} | {:.2} | {wanted} | {:.0} |",
            measured.per_mille(500).as_secs_f64() * 1e3,
            measured.per_mille(990).as_secs_f64() * 1e3,
            measured.per_second(),
        );
    }
    Ok(())
}

/// The database with the tenant in it; one that is there already is taken as it is, unless `fresh`.
async fn fill(server: &str, contacts: u32, fresh: bool) -> anyhow::Result<String> {
    let url = format!("{server}/{DATABASE}");
    let label = format!("growthos bench 1: one tenant, {contacts} contacts");
    let mut admin = PgConnection::connect(&format!("{server}/postgres"))
        .await
        .with_context(|| format!("no PostgreSQL answers at {server}"))?;
    let said: Option<Option<String>> = query_scalar(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
    )
    .bind(DATABASE)
    .fetch_optional(&mut admin)
    .await?;
    let kept = said.flatten().as_deref() == Some(label.as_str());
    if kept && !fresh && Db::pending_migrations(&url).await? == 0 {
        return Ok(url);
    }
    println!("{label}: filling {DATABASE}");
    for statement in [
        format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"),
        format!("CREATE DATABASE {DATABASE}"),
    ] {
        admin.execute(AssertSqlSafe(statement)).await?;
    }
    Db::migrate(&url).await?;
    let mut database = PgConnection::connect(&url).await?;
    database
        .execute(AssertSqlSafe(format!(
            "SET session_replication_role = replica; SET synchronous_commit = off; SET bench.contacts = {contacts}"
        )))
        .await?;
    let indexes = without_indexes(&mut database).await?;
    database.execute(include_str!("one_tenant.sql")).await?;
    for definition in indexes {
        database.execute(AssertSqlSafe(definition)).await?;
    }
    database.execute("VACUUM (ANALYZE)").await?;
    database
        .execute(AssertSqlSafe(format!(
            "COMMENT ON DATABASE {DATABASE} IS '{label}'"
        )))
        .await?;
    Ok(url)
}
