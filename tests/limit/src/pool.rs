//! Connections with their statements prepared, one a request at a time.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{NoTls, Statement};
use uuid::Uuid;

use crate::work::Statements;

/// 4 to 16 measured best on two cores.
const CONNECTIONS: usize = 8;

pub(crate) struct Pool {
    idle: Mutex<Vec<Connection>>,
    seats: Semaphore,
}

pub(crate) struct Connection {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) fence: Statement,
    pub(crate) statements: Statements,
}

/// A connection that goes back when it is dropped.
pub(crate) struct Client<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    _seat: SemaphorePermit<'a>,
}

impl Pool {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut idle = vec![];
        for _ in 0..CONNECTIONS {
            idle.push(Connection::open(url).await?);
        }
        Ok(Self {
            idle: Mutex::new(idle),
            seats: Semaphore::new(CONNECTIONS),
        })
    }
    pub(crate) async fn take(&self) -> anyhow::Result<Client<'_>> {
        let seat = self.seats.acquire().await?;
        Ok(Client {
            pool: self,
            connection: self.idle().pop(),
            _seat: seat,
        })
    }
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    #[expect(
        clippy::disallowed_methods,
        reason = "a connection's driver ends with the process; there is nothing to wait for"
    )]
    async fn open(url: &str) -> anyhow::Result<Self> {
        let (client, driver) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(driver);
        // The product's role: it owns nothing, so row level security holds for it.
        client.batch_execute("SET ROLE growthos_app").await?;
        let fence = client
            .prepare("SELECT set_config('app.tenant', $1, true)")
            .await?;
        let statements = Statements::prepare(&client).await?;
        Ok(Self {
            client,
            fence,
            statements,
        })
    }
    /// Every tenant by its keys' digests.
    pub(crate) async fn tenants(&self) -> anyhow::Result<HashMap<String, Uuid>> {
        self.client
            .batch_execute("BEGIN; SET LOCAL ROLE growthos_system")
            .await?;
        let rows = self
            .client
            .query("SELECT hash, tenant_id FROM api_key", &[])
            .await?;
        self.client.batch_execute("COMMIT").await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }
}

impl Deref for Client<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("there is a connection for each seat")
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        self.pool.idle().extend(self.connection.take());
    }
}
