//! Reads that are sent together. A round trip to PostgreSQL costs as much as a small query; sqlx makes one for each statement,
//! and one each for the transaction's begin, its tenant and its end. Here all of them leave at once, on connections of their own:
//! see `docs/decisions/0021`.

use std::{borrow::Cow, error::Error as StdError, str::FromStr as _, time::Instant};

use chrono::{DateTime, Utc};
use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use futures_util::future::join_all;
use migration::APP_ROLE;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value, sea_query::SelectStatement};
use serde::de::DeserializeOwned;
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::{
    Db, Fence, Scope,
    connect::{ACQUIRE_TIMEOUT, CONNECTION_AGE_MAX, DbOptions, PLANNER},
};
use crate::base::Result;

/// Prepared statements that a connection keeps. What users filter by shapes them, so there is no end of them.
const STATEMENTS_MAX: usize = 256;

/// One statement of several, ready to be sent.
#[derive(Clone, Debug)]
pub struct Read(Statement);

/// How PostgreSQL is to plan statements that were prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planning {
    /// Once: rows by their ids, or in the order of an index. One plan fits all values, and to make it takes longer than to run it.
    Once,
    /// As PostgreSQL thinks best: filters, where it matters how frequent a value is.
    ByValues,
}

/// One row of an answer; its columns are told by their place.
pub struct Cells(Place);

enum Place {
    Piped(Row),
    Orm(QueryResult),
}

impl Scope {
    pub fn read(&self, select: &SelectStatement) -> Read {
        Read(
            self.place()
                .db()
                .inner
                .reader
                .get_database_backend()
                .build(select),
        )
    }

    /// The rows of each of `reads`, in one transaction of the tenant. Where it can be, the round trip is one.
    pub async fn read_all(&self, reads: Vec<Read>, planning: Planning) -> Result<Vec<Vec<Cells>>> {
        if let super::scope::Place::Pool(db) = self.place()
            && let Some(pipeline) = &db.inner.pipeline
        {
            return Ok(pipeline.send(db, self.fence(), &reads, planning).await?);
        }
        let mut found = Vec::with_capacity(reads.len());
        for Read(statement) in reads {
            let rows = self
                .place()
                .run(self.fence(), async |conn| {
                    conn.query_all_raw(statement).await
                })
                .await?;
            found.push(rows.into_iter().map(|row| Cells(Place::Orm(row))).collect());
        }
        Ok(found)
    }
}

/// The connections that reads are pipelined on.
pub(super) struct Pipeline {
    pool: Pool,
}

impl Pipeline {
    /// `None`, and a warning, where the driver of these connections cannot reach the server: reads then go the longer way.
    pub(super) async fn connect(options: &DbOptions) -> Option<Self> {
        match Self::try_connect(options).await {
            Ok(pipeline) => Some(pipeline),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "reads are not pipelined");
                None
            }
        }
    }

    async fn try_connect(options: &DbOptions) -> anyhow::Result<Self> {
        let mut config = tokio_postgres::Config::from_str(&url_for_driver(&options.url)?)?;
        config.application_name("growthos reads").options(format!(
            "-c timezone=UTC -c statement_timeout={} -c default_transaction_read_only=on {}",
            options.read_timeout.as_millis(),
            PLANNER
                .map(|(name, value)| format!("-c {name}={value}"))
                .join(" ")
        ));
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager =
            Manager::from_config(config, MakeRustlsConnect::with_webpki_roots(), recycling);
        let pool = Pool::builder(manager)
            .max_size(usize::try_from(options.connections_max)?)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(ACQUIRE_TIMEOUT))
            .wait_timeout(Some(ACQUIRE_TIMEOUT))
            .pre_recycle(Hook::sync_fn(|_, metrics| {
                if metrics.age() > CONNECTION_AGE_MAX {
                    return Err(HookError::message("it is old, and so are its plans"));
                }
                Ok(())
            }))
            // The session's role owns nothing, so row level security holds for whoever the URL names.
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    let step_down = format!("SET ROLE {APP_ROLE}");
                    client
                        .batch_execute(&step_down)
                        .await
                        .map_err(HookError::Backend)
                })
            }))
            .build()?;
        drop(pool.get().await?);
        Ok(Self { pool })
    }

    async fn send(
        &self,
        db: &Db,
        fence: Fence,
        reads: &[Read],
        planning: Planning,
    ) -> anyhow::Result<Vec<Vec<Cells>>> {
        let mut held = Held {
            client: Some(self.pool.get().await?),
            is_idle: false,
        };
        let client = held.client.as_ref().expect("held until it is dropped");
        if client.statement_cache.size() > STATEMENTS_MAX {
            client.statement_cache.clear();
        }
        let mut prepared = Vec::with_capacity(reads.len());
        for Read(statement) in reads {
            prepared.push(client.prepare_cached(&statement.sql).await?);
        }
        let params: Vec<Vec<Param<'_>>> = reads
            .iter()
            .map(|Read(statement)| {
                let values = statement.values.as_ref().map(|values| values.0.as_slice());
                values.unwrap_or_default().iter().map(Param).collect()
            })
            .collect();
        let begun = Instant::now();
        let once = match planning {
            Planning::Once => "; SET LOCAL plan_cache_mode = force_generic_plan",
            Planning::ByValues => "",
        };
        let begin = format!("BEGIN READ ONLY; {}{once}", fence.sql());
        let queries = join_all(prepared.iter().zip(&params).map(|(statement, params)| {
            let params: Vec<&(dyn ToSql + Sync)> = params
                .iter()
                .map(|param| param as &(dyn ToSql + Sync))
                .collect();
            async move { client.query(statement, &params).await }
        }));
        // Polled in this order, so sent in this order; all of it is sent before anything is waited for. A future that is
        // dropped leaves nothing open: the end is on its way.
        let (begun_ok, found, ended) = tokio::join!(biased; client.batch_execute(&begin), queries, client.batch_execute("COMMIT"));
        held.is_idle = true;
        db.count(reads.len(), begun.elapsed());
        begun_ok?;
        let found = found
            .into_iter()
            .map(|rows| {
                Ok(rows?
                    .into_iter()
                    .map(|row| Cells(Place::Piped(row)))
                    .collect())
            })
            .collect::<anyhow::Result<_>>()?;
        ended?;
        Ok(found)
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection in use. One whose answers nobody waits for any more goes out of the pool: whoever came next would wait for
/// them.
struct Held {
    client: Option<Client>,
    /// Whether everything that was asked is answered.
    is_idle: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_idle
            && let Some(client) = self.client.take()
        {
            drop(Client::take(client));
        }
    }
}

/// The URL with what the driver knows of its parameters. It checks the certificate wherever there is TLS.
fn url_for_driver(url: &str) -> anyhow::Result<String> {
    let mut url = url::Url::parse(url)?;
    let known: Vec<(String, String)> = url
        .query_pairs()
        .filter_map(|(name, value)| match (&*name, &*value) {
            ("sslmode" | "ssl-mode", "disable") => Some(("sslmode".into(), "disable".into())),
            ("sslmode" | "ssl-mode", "require" | "verify-ca" | "verify-full") => {
                Some(("sslmode".into(), "require".into()))
            }
            ("host" | "port" | "user" | "password" | "dbname", _) => {
                Some((name.into_owned(), value.into_owned()))
            }
            _ => None,
        })
        .collect();
    url.set_query(None);
    if !known.is_empty() {
        url.query_pairs_mut().extend_pairs(known);
    }
    Ok(url.into())
}

/// A value of sea-query's, as the driver takes it.
#[derive(Debug)]
struct Param<'a>(&'a Value);

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Value::Bool(value) => value.to_sql(ty, out),
            Value::Int(value) if *ty == Type::INT8 => value.map(i64::from).to_sql(ty, out),
            Value::Int(value) => value.to_sql(ty, out),
            Value::BigInt(value) => value.to_sql(ty, out),
            Value::BigUnsigned(value) => value.map(i64::try_from).transpose()?.to_sql(ty, out),
            Value::Double(value) => value.to_sql(ty, out),
            Value::String(value) => value.to_sql(ty, out),
            Value::Uuid(value) => value.to_sql(ty, out),
            Value::ChronoDateTimeUtc(value) => value.to_sql(ty, out),
            Value::Json(value) => value.as_deref().to_sql(ty, out),
            Value::Array(_, Some(values)) => {
                let values: Vec<Param<'_>> = values.iter().map(Param).collect();
                values.to_sql(ty, out)
            }
            other => Err(format!("no parameter is of the kind of {other:?}").into()),
        }
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

/// JSON as PostgreSQL sends it, not yet read.
struct RawJson<'a>(&'a [u8]);

impl<'a> FromSql<'a> for RawJson<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        // jsonb begins with the number of its form.
        let text = if *ty == Type::JSONB {
            raw.get(1..).ok_or("an empty jsonb")?
        } else {
            raw
        };
        Ok(Self(text))
    }
    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }
}

impl Cells {
    pub fn uuid(&self, column: usize) -> Result<Uuid> {
        Ok(match &self.0 {
            Place::Piped(row) => row.try_get(column).map_err(anyhow::Error::from)?,
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
    pub fn uuid_if_any(&self, column: usize) -> Result<Option<Uuid>> {
        Ok(match &self.0 {
            Place::Piped(row) => row.try_get(column).map_err(anyhow::Error::from)?,
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
    pub fn text(&self, column: usize) -> Result<Cow<'_, str>> {
        Ok(match &self.0 {
            Place::Piped(row) => Cow::Borrowed(row.try_get(column).map_err(anyhow::Error::from)?),
            Place::Orm(row) => Cow::Owned(row.try_get_by_index(column)?),
        })
    }
    pub fn text_if_any(&self, column: usize) -> Result<Option<Cow<'_, str>>> {
        Ok(match &self.0 {
            Place::Piped(row) => {
                let text: Option<&str> = row.try_get(column).map_err(anyhow::Error::from)?;
                text.map(Cow::Borrowed)
            }
            Place::Orm(row) => row
                .try_get_by_index::<Option<String>>(column)?
                .map(Cow::Owned),
        })
    }
    pub fn instant(&self, column: usize) -> Result<DateTime<Utc>> {
        Ok(match &self.0 {
            Place::Piped(row) => row.try_get(column).map_err(anyhow::Error::from)?,
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
    pub fn instant_if_any(&self, column: usize) -> Result<Option<DateTime<Utc>>> {
        Ok(match &self.0 {
            Place::Piped(row) => row.try_get(column).map_err(anyhow::Error::from)?,
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
    /// A 64-bit number, such as a count.
    pub fn long(&self, column: usize) -> Result<i64> {
        Ok(match &self.0 {
            Place::Piped(row) => row.try_get(column).map_err(anyhow::Error::from)?,
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
    pub fn int(&self, column: usize) -> Result<i32> {
        Ok(match &self.0 {
            Place::Piped(row) => row.try_get(column).map_err(anyhow::Error::from)?,
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
    pub fn json(&self, column: usize) -> Result<serde_json::Value> {
        Ok(self.json_if_any(column)?.unwrap_or_default())
    }
    /// JSON read as a `T`, and as its default where it is no `T`; `None` where there is no JSON.
    pub fn parsed<T: DeserializeOwned + Default>(&self, column: usize) -> Result<Option<T>> {
        Ok(match &self.0 {
            Place::Piped(row) => {
                let raw: Option<RawJson<'_>> = row.try_get(column).map_err(anyhow::Error::from)?;
                raw.map(|RawJson(text)| serde_json::from_slice(text).unwrap_or_default())
            }
            Place::Orm(row) => row
                .try_get_by_index::<Option<serde_json::Value>>(column)?
                .map(|value| serde_json::from_value(value).unwrap_or_default()),
        })
    }
    pub fn json_if_any(&self, column: usize) -> Result<Option<serde_json::Value>> {
        Ok(match &self.0 {
            Place::Piped(row) => {
                let raw: Option<RawJson<'_>> = row.try_get(column).map_err(anyhow::Error::from)?;
                raw.map(|RawJson(text)| serde_json::from_slice(text))
                    .transpose()?
            }
            Place::Orm(row) => row.try_get_by_index(column)?,
        })
    }
}
