//! Trap 3: a client that hangs up, or a time-out, while a transaction begins, must not make a later write vanish.

use std::{collections::HashSet, time::Duration};

use api::config::Config;
use entity::{api_key, contact, tenant};
use futures_util::{StreamExt as _, stream};
use sea_orm::{ColumnTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tests::{Kind, Kit, OPERATOR, Tenant, on_each_database, on_postgres};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::rows;

const WRITES: u64 = 1_000;

/// Writes a contact, and gives up after `patience`. Says whether the write was acknowledged.
async fn write_impatiently(
    tenant: &Tenant,
    name: &str,
    patience: Duration,
) -> anyhow::Result<bool> {
    let write = tenant.cx.write(async |tx| rows::contact(tx, name).await);
    match tokio::time::timeout(patience, write).await {
        Ok(done) => done.map(|_| true).map_err(Into::into),
        Err(_) => Ok(false),
    }
}

/// Begins a write and drops it after so many polls: the first ends where the database is to answer `BEGIN`.
async fn drop_after_polls(tenant: &Tenant, polls: usize) {
    // The pool has a connection to give at once.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let write = tenant
        .cx
        .write(async |tx| rows::contact(tx, "given up").await);
    let mut write = std::pin::pin!(write);
    for _ in 0..polls {
        if futures_util::poll!(&mut write).is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What PostgreSQL thinks: how many of this database's connections sit idle inside a transaction.
async fn idle_in_transaction(kit: &Kit) -> anyhow::Result<i64> {
    let mut conn = PgConnection::connect(kit.database_url()).await?;
    let row = conn
        .fetch_one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'")
        .await?;
    Ok(row.try_get(0)?)
}

#[tokio::test]
async fn no_connection_goes_back_to_the_pool_inside_a_transaction() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for polls in [1, 1, 1, 2, 3, 4, 5, 6, 8, 10, 1] {
            drop_after_polls(&acme, polls).await;
            if kit.database == Kind::Postgres {
                let mut left = 1;
                for _ in 0..100 {
                    left = idle_in_transaction(&kit).await?;
                    if left == 0 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                assert_eq!(left, 0, "after {polls} polls");
            }
            acme.cx
                .write(async |tx| {
                    rows::contact(tx, &tx.new_id::<contact::Entity>().to_string()).await
                })
                .await?;
        }
        // With enough polls even the write that is to be given up gets done.
        let scope = acme.cx.db();
        let kept = scope
            .find::<contact::Entity>()
            .filter(contact::Column::DistinctId.ne("given up"));
        assert_eq!(kept.count().await?, 11);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_amid_cancelled_transactions_is_there() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let acme = &acme;
        let acknowledged: Vec<_> = stream::iter(0..WRITES)
            .map(|n| async move {
                let name = format!("c{n}");
                // Two in three are given up at some moment; the third waits, on a connection that one of those left.
                let patience = if n % 3 == 0 {
                    Duration::from_secs(30)
                } else {
                    Duration::from_micros(n * 53 % 4_000)
                };
                write_impatiently(acme, &name, patience)
                    .await
                    .map(|done| done.then_some(name))
            })
            .buffer_unordered(8)
            .collect()
            .await;
        let acknowledged: Vec<String> = acknowledged
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        let there: HashSet<String> = acme
            .cx
            .db()
            .find::<contact::Entity>()
            .all()
            .await?
            .into_iter()
            .map(|row| row.distinct_id)
            .collect();
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|name| !there.contains(*name))
            .collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        assert!(
            acknowledged.len() as u64 > WRITES / 3,
            "{} were acknowledged",
            acknowledged.len()
        );
        Ok(())
    })
    .await
}

/// Sends a mutation and hangs up after `patience`, or reads the answer. Gives the name if its making was acknowledged.
async fn create_and_hang_up(
    address: std::net::SocketAddr,
    name: String,
    patience: Duration,
) -> anyhow::Result<Option<String>> {
    let query = format!(
        r#"mutation {{ tenantCreate(input: {{name: "{name}"}}) {{ tenant {{ name }} }} }}"#
    );
    let body = json!({ "query": query }).to_string();
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {OPERATOR}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    match tokio::time::timeout(patience, stream.read_to_string(&mut answer)).await {
        Err(_) => Ok(None),
        Ok(read) => {
            read?;
            let body: Value =
                serde_json::from_str(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body))?;
            anyhow::ensure!(
                body["data"]["tenantCreate"]["tenant"]["name"] == name,
                "{body}"
            );
            Ok(Some(name))
        }
    }
}

async fn tenant_names(kit: &Kit) -> anyhow::Result<HashSet<String>> {
    let system = kit.app.env.db.system();
    Ok(system
        .find::<tenant::Entity>()
        .all()
        .await?
        .into_iter()
        .map(|row| row.name)
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_hang_up_lose_nothing_that_others_were_promised() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let server = kit.serve().await?;
        let address = server.address;
        let acknowledged: Vec<_> = stream::iter(0..WRITES)
            .map(|n| {
                let patience = if n % 3 == 0 {
                    Duration::from_secs(30)
                } else {
                    Duration::from_micros(n * 101 % 10_000)
                };
                create_and_hang_up(address, format!("t{n}"), patience)
            })
            .buffer_unordered(16)
            .collect()
            .await;
        let acknowledged: Vec<String> = acknowledged
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        assert!(
            acknowledged.len() as u64 >= WRITES / 3,
            "{} were acknowledged",
            acknowledged.len()
        );
        let there = tenant_names(&kit).await?;
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|name| !there.contains(*name))
            .collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");

        if kit.database == Kind::Postgres {
            let mut left = 1;
            for _ in 0..500 {
                left = idle_in_transaction(&kit).await?;
                if left == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(left, 0, "sessions idle in a transaction");
        }
        // A stop waits for what nobody else does: each is whole then, with its two keys, or absent.
        server.stop().await?;
        let system = kit.another_process().await?.env.db.system();
        let tenants = system.find::<tenant::Entity>().all().await?;
        let keys = system.find::<api_key::Entity>().all().await?;
        for tenant in tenants {
            let own = keys.iter().filter(|key| key.tenant_id == tenant.id);
            assert_eq!(own.count(), 2, "{}", tenant.name);
        }
        Ok(())
    })
    .await
}

/// How many of this database's sessions wait for a lock.
async fn waiting(kit: &Kit) -> anyhow::Result<i64> {
    let mut conn = PgConnection::connect(kit.database_url()).await?;
    let row = conn
        .fetch_one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        .await?;
    Ok(row.try_get(0)?)
}

async fn until_waiting(kit: &Kit, count: i64) -> anyhow::Result<()> {
    for _ in 0..2_000 {
        if waiting(kit).await? == count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("{} sessions wait, not {count}", waiting(kit).await?)
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_ended_and_its_connection_comes_back_clean()
-> anyhow::Result<()> {
    on_postgres(async |_| {
        let config = Config {
            request_timeout_s: 1,
            ..Config::default()
        };
        let kit = Kit::with(Kind::Postgres, config).await?;
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let ask = || {
            reqwest::Client::new()
                .post(server.url("/graphql"))
                .bearer_auth(&acme.secret_key)
                .header("accept", "application/graphql-response+json")
                .json(&json!({"query": "{ contacts { totalCount } }"}))
                .send()
        };
        assert_eq!(ask().await?.status(), 200);
        let mut holder = PgConnection::connect(kit.database_url()).await?;
        holder
            .execute("BEGIN; LOCK TABLE contact IN ACCESS EXCLUSIVE MODE")
            .await?;
        let answer = ask().await?;
        assert_eq!(answer.status(), 504);
        let answer: Value = answer.json().await?;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "TIMEOUT");
        {
            let asked = ask();
            let mut asked = std::pin::pin!(asked);
            tokio::select! {
                answer = &mut asked => panic!("{answer:?}"),
                waits = until_waiting(&kit, 2) => waits?,
            }
        }
        // The server itself ends both, the lock still being held.
        until_waiting(&kit, 0).await?;
        holder.execute("COMMIT").await?;
        for _ in 0..20 {
            assert_eq!(ask().await?.status(), 200);
        }
        assert_eq!(idle_in_transaction(&kit).await?, 0);
        server.stop().await
    })
    .await
}
