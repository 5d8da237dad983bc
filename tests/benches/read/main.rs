//! Reads and writes, against PostGraphile and against a server written by hand: the same values on the same rows, asked
//! for by turns. Prints requests a second, latencies, the processor's time a request and memory, and which goals are met.
//!
//! `cargo build --release --workspace --bins && cargo bench -p tests --bench read`; `-- --help` tells the options. It needs
//! `TEST_POSTGRES_URL`, a server on this machine whose role is a superuser, and npm for PostGraphile.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod growth;
mod load;
mod one_tenant;
mod report;
mod rows;
mod seed;
mod servers;
mod usage;
mod work;
mod world;

use std::{
    env,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use api::app::install_crypto;
use clap::Parser;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, query_scalar};

use crate::{
    load::Connection,
    report::{Figures, Sample},
    rows::Density,
    servers::{KINDS, Kind, Server, install_postgraphile, postgraphile_folder},
    usage::Family,
    work::{ITEMS, Item, asks, values},
    world::{Size, World},
};

/// Asks that are compared before anything is measured.
const COMPARED: usize = 60;

/// Different requests of one item; sent over and over.
const REQUESTS: usize = 4_000;

const DATABASE: &str = "growthos_bench_read";

const WARM_UP: Duration = Duration::from_millis(1_500);

const DENSITY: Density = Density {
    events: 5,
    deliveries: 2,
};

#[derive(Parser)]
struct Args {
    /// How long each item is asked for, each time.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these work items.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Item>,
    /// Only these servers.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<Kind>,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 50)]
    tenants: usize,
    /// Each has two identifiers, three traits, five events and one and a half deliveries.
    #[arg(long, default_value_t = 200_000)]
    contacts: usize,
    /// Fills the databases anew; they are kept from run to run.
    #[arg(long)]
    fresh: bool,
    /// Only compares the servers' values.
    #[arg(long)]
    compare: bool,
    /// Instead: what a page costs where a tenant has so many contacts.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_missing_value = "10000,100000,1000000")]
    growth: Option<Vec<usize>>,
    /// Instead: what a tenant costs that has so many contacts, and five events of each.
    #[arg(long, num_args = 0..=1, default_missing_value = "1000000")]
    one_tenant: Option<u32>,
    /// Cargo says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    install_crypto();
    let server = postgres_server()?;
    if let Some(contacts) = &args.growth {
        let time = Duration::from_secs_f64(args.seconds);
        return growth::run(&server, contacts, args.fresh, args.connections, time).await;
    }
    if let Some(contacts) = args.one_tenant {
        let time = Duration::from_secs_f64(args.seconds);
        return one_tenant::run(&server, contacts, args.fresh, args.connections, time).await;
    }
    let or_all = |given: Vec<Kind>| {
        if given.is_empty() {
            KINDS.to_vec()
        } else {
            given
        }
    };
    let kinds = or_all(args.servers);
    let items = if args.only.is_empty() {
        ITEMS.to_vec()
    } else {
        args.only
    };

    let world = World::new(Size {
        tenants: args.tenants,
        contacts: args.contacts,
    });
    seed::postgres(&server, DATABASE, &world, DENSITY, args.fresh).await?;
    let postgres = seed::postgres_copy(&server, DATABASE).await?;
    let sqlite = if kinds.contains(&Kind::Sqlite) {
        let file = seed::sqlite(&folder(), &world, DENSITY, args.fresh).await?;
        seed::sqlite_copy(&folder(), &file)?
    } else {
        String::new()
    };
    if kinds.iter().any(|kind| kind.is_postgraphile()) {
        install_postgraphile().await?;
        add_functions(&postgres).await?;
    }
    let mut servers = vec![];
    for kind in kinds {
        let url = if kind == Kind::Sqlite {
            &sqlite
        } else {
            &postgres
        };
        servers.push(Server::start(kind, url).await?);
    }
    for item in &items {
        compare(*item, &world, &servers).await?;
    }
    if args.compare {
        return Ok(());
    }
    let database = database_family(&postgres).await?;
    let time = Duration::from_secs_f64(args.seconds);
    let mut figures = Figures::default();
    // A server that cannot keep up with one item is still measured by the others.
    let mut failed = vec![];
    for round in 0..=args.rounds {
        for item in &items {
            for server in &servers {
                let load = Load {
                    item: *item,
                    contacts: world.everybody(),
                    connections: args.connections,
                    time: if round == 0 { WARM_UP } else { time },
                    seed: 1_000 + u64::try_from(round)?,
                };
                if failed.contains(&(*item, server.kind)) {
                    continue;
                }
                match measure(&load, &world, server, database).await {
                    Ok(sample) if round > 0 => figures.add(*item, server.kind, sample),
                    Ok(_) => {}
                    Err(error) => {
                        println!("left out from here on: {error:#}");
                        failed.push((*item, server.kind));
                    }
                }
            }
        }
    }
    figures.print(&items);
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "benchmarks are configured as the tests are"
)]
fn postgres_server() -> anyhow::Result<String> {
    let server = env::var("TEST_POSTGRES_URL").context(
        "TEST_POSTGRES_URL is missing: a PostgreSQL server's URL without a database, such as postgres://postgres@127.0.0.1:5432",
    )?;
    Ok(server.trim_end_matches('/').to_owned())
}

/// Where SQLite's files are kept.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench")
}

/// What a user of PostGraphile writes in SQL, because its tables alone do not say it.
async fn add_functions(url: &str) -> anyhow::Result<()> {
    let functions = std::fs::read_to_string(postgraphile_folder().join("functions.sql"))?;
    let mut database = PgConnection::connect(url).await?;
    database.execute(AssertSqlSafe(functions)).await?;
    Ok(())
}

/// The database server's processes.
async fn database_family(url: &str) -> anyhow::Result<Family> {
    let mut database = PgConnection::connect(url).await?;
    let pid: i32 = query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut database)
        .await?;
    Family::of_parent(pid.cast_unsigned())
}

/// All servers give the same values for the same parameters, or nothing is measured.
async fn compare(item: Item, world: &World, servers: &[Server]) -> anyhow::Result<()> {
    let mut compared = 0;
    for ask in asks(world, &world.everybody(), 7, COMPARED) {
        let mut first: Option<Value> = None;
        for server in servers {
            let speech = server.kind.speech();
            let mut connection = Connection::open(server.address).await?;
            let answer = connection.ask(&item.request(speech, world, &ask)).await?;
            let given = values(speech, answer)
                .with_context(|| format!("{}, {}", server.kind.title(), item.title()))?;
            match &first {
                None => first = Some(given),
                Some(expected) => ensure!(
                    *expected == given,
                    "{}: {} and {} do not give the same values:\n{expected}\n{given}",
                    item.title(),
                    servers[0].kind.title(),
                    server.kind.title(),
                ),
            }
        }
        compared += 1;
    }
    println!(
        "{}: {compared} answers have the same values on every server",
        item.title()
    );
    Ok(())
}

struct Load {
    item: Item,
    /// Whom it asks about.
    contacts: Range<usize>,
    connections: usize,
    time: Duration,
    seed: u64,
}

async fn measure(
    load: &Load,
    world: &World,
    server: &Server,
    database: Family,
) -> anyhow::Result<Sample> {
    let speech = server.kind.speech();
    let requests = asks(world, &load.contacts, load.seed, REQUESTS)
        .iter()
        .map(|ask| load.item.request(speech, world, ask))
        .collect();
    let own = server.family()?;
    let before = (own.cpu()?, database.cpu()?);
    let measured = load::run(
        server.address,
        &Arc::new(requests),
        load.connections,
        load.time,
    )
    .await
    .with_context(|| format!("{}, {}", server.kind.title(), load.item.title()))?;
    Ok(Sample {
        server_cpu: own.cpu()?.saturating_sub(before.0),
        database_cpu: database.cpu()?.saturating_sub(before.1),
        rss_bytes: own.rss_bytes()?,
        measured,
    })
}
