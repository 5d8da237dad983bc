//! The database, seen one tenant at a time.
//!
//! The raw connections are private to this folder, and a query needs one to run: so a query that names no
//! tenant cannot be executed elsewhere. [`Scope`] reads one tenant, [`Tx`] writes one tenant, [`System`] is
//! the loud exception for what no tenant owns or what works across them.

mod age;
mod check;
mod connect;
mod each;
mod held;
mod json;
mod log;
mod pipeline;
mod scope;
mod system;
mod tx;

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use entity::TenantId;
use migration::SYSTEM_ROLE;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::{Env, Error, Result, cx::Asker};
pub use age::LogMonth;
pub use check::Role;
pub use connect::DbOptions;
pub use each::{EachSelect, MEMBER, ROOT};
pub use json::Member;
pub use pipeline::{Cells, Planning, Read};
pub(super) use scope::id_of;
pub(crate) use scope::key;
pub use scope::{Rows, Scope};
pub use system::System;
pub use tx::Tx;

/// How often a unit of work runs before contention becomes the caller's error.
const WRITE_ATTEMPTS: u32 = 8;

/// The root. Held by the composition root; rooms never see it.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    /// SQLite: a pool of readers beside the one writer. PostgreSQL: the same pool twice.
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    /// PostgreSQL: where reads are sent together, if its driver reaches the server.
    pipeline: Option<pipeline::Pipeline>,
    url: String,
    read_timeout: Duration,
    statements: Arc<AtomicU64>,
}

/// Whose rows a transaction may touch: told to PostgreSQL at its start.
#[derive(Clone, Copy)]
enum Fence {
    Tenant(TenantId),
    System,
}

impl Fence {
    /// What PostgreSQL's policies go by, said inside the transaction and ended with it. The values are ours: a uuid and words.
    fn sql(self) -> String {
        match self {
            Self::Tenant(tenant) => {
                format!("SELECT set_config('app.tenant', '{}', true)", tenant.uuid())
            }
            Self::System => format!("SET LOCAL ROLE {SYSTEM_ROLE}"),
        }
    }
}

impl Db {
    pub fn is_postgres(&self) -> bool {
        self.inner.writer.get_database_backend() == DbBackend::Postgres
    }
    /// Statements sent so far, transaction control not counted.
    pub fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }
    fn count(&self, statements: usize, took: Duration) {
        self.inner
            .statements
            .fetch_add(statements as u64, Ordering::Relaxed);
        metrics::histogram!("growthos_database_statement_seconds").record(took.as_secs_f64());
    }
    pub fn tenant(&self, tenant: TenantId) -> Scope {
        Scope::pooled(self.clone(), tenant)
    }
    /// For what no tenant owns, and for work across tenants: keys, consumers, leases.
    pub fn system(&self) -> System {
        System::new(self.clone())
    }

    /// A fenced transaction. The setting is local to the transaction (`true`), so that a pooled
    /// connection carries nothing into its next use.
    async fn begin(&self, fence: Fence, writes: bool) -> Result<DatabaseTransaction, DbErr> {
        let pool = if writes {
            &self.inner.writer
        } else {
            &self.inner.reader
        };
        if !self.is_postgres() {
            let mode = if writes {
                SqliteTransactionMode::Immediate
            } else {
                SqliteTransactionMode::Deferred
            };
            return pool
                .begin_with_options(TransactionOptions {
                    sqlite_transaction_mode: Some(mode),
                    ..Default::default()
                })
                .await;
        }
        let open = pool.begin().await?;
        let mut sql = fence.sql();
        if !writes {
            // Who asked may be gone, and a statement that nobody waits for would go on.
            let read_time_max = self.inner.read_timeout.as_millis();
            let _ = write!(sql, "; SET LOCAL statement_timeout = {read_time_max}");
        }
        open.execute_unprepared(&sql).await?;
        Ok(open)
    }

    pub(super) async fn snapshot<T>(
        &self,
        tenant: TenantId,
        work: impl AsyncFnOnce(&Scope) -> Result<T>,
    ) -> Result<T> {
        let open = self.begin(Fence::Tenant(tenant), false).await?;
        let scope = Scope::open(self.clone(), tenant, open);
        let done = work(&scope).await;
        scope.close(done).await
    }

    pub(super) async fn write<T>(
        &self,
        env: &Env,
        tenant: TenantId,
        asker: &Arc<Asker>,
        work: impl AsyncFnOnce(&Tx) -> Result<T> + Clone,
    ) -> Result<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let open = self.begin(Fence::Tenant(tenant), true).await?;
            let tx = Tx::new(
                Scope::open(self.clone(), tenant, open),
                env,
                Arc::clone(asker),
            );
            let done = work.clone()(&tx).await;
            match tx.finish(env, done).await {
                Err(error) if attempt < WRITE_ATTEMPTS && is_contention(&error) => {
                    let wait = 2_f64.powi(attempt.cast_signed()) * (0.5 + env.rng.fraction());
                    tokio::time::sleep(Duration::from_secs_f64(wait / 1_000.0)).await;
                }
                done => return done,
            }
        }
    }
}

/// Whether running the same work again may succeed: a lost race, a serialization failure (40001), a
/// deadlock (40P01) or SQLite's busy answers.
fn is_contention(error: &Error) -> bool {
    match error {
        Error::Contended => true,
        Error::Internal(cause) => cause
            .downcast_ref::<DbErr>()
            .and_then(sqlx_code)
            .is_some_and(|code| matches!(code.as_str(), "40001" | "40P01" | "5" | "517")),
        _ => false,
    }
}

fn sqlx_code(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(cause) | DbErr::Query(cause) | DbErr::Conn(cause)) = error else {
        return None;
    };
    let sea_orm::RuntimeErr::SqlxError(cause) = cause else {
        return None;
    };
    Some(cause.as_database_error()?.code()?.into_owned())
}
