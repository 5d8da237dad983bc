//! The limit: what a server written by hand for four requests can reach on the product's own tables. It does the work
//! that the benchmark asks of the product: a key is checked, a fenced transaction is opened as the product's role, rows
//! become JSON. It knows no GraphQL: what a request selects was decided when this was written.
//!
//! `growthos-limit POSTGRES_URL PORT`

mod json;
mod pool;
mod work;

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::pool::{Client, Pool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Limit {
    pool: Pool,
    /// Tenants by their keys' digests, as the table has them.
    tenants: HashMap<String, Uuid>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("the database's url is missing")?;
    let port: u16 = arguments.next().context("the port is missing")?.parse()?;
    let pool = Pool::connect(&url).await?;
    let tenants = pool.take().await?.tenants().await?;
    let app = Router::new()
        .route("/ready", get(async || StatusCode::OK))
        .route("/q1", post(contact))
        .route("/q2", post(page))
        .route("/q3", post(flat))
        .route("/m1", post(set_trait))
        .with_state(Arc::new(Limit { pool, tenants }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

impl Limit {
    /// The tenant whose key it is, and a connection.
    async fn admit(&self, headers: &HeaderMap) -> Result<(Uuid, Client<'_>), Refusal> {
        let key = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or(Refusal::Unauthenticated)?;
        let tenant = self
            .tenants
            .get(&json::hex(&Sha256::digest(key)))
            .ok_or(Refusal::Unauthenticated)?;
        Ok((*tenant, self.pool.take().await?))
    }
}

enum Refusal {
    Unauthenticated,
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED.into_response(),
            Self::Failed(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
            }
        }
    }
}

type Answer = Result<([(header::HeaderName, &'static str); 1], Vec<u8>), Refusal>;

#[expect(clippy::unnecessary_wraps, reason = "the last word of each handler")]
const fn json(body: Vec<u8>) -> Answer {
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

#[derive(Deserialize)]
struct ById {
    id: String,
}

async fn contact(
    State(limit): State<Arc<Limit>>,
    headers: HeaderMap,
    Json(asked): Json<ById>,
) -> Answer {
    let (tenant, client) = limit.admit(&headers).await?;
    let id = json::read_type_id(&asked.id).context("no id")?;
    json(client.contact(tenant, id).await?)
}

#[derive(Deserialize)]
struct ByStage {
    stage: String,
}

async fn page(
    State(limit): State<Arc<Limit>>,
    headers: HeaderMap,
    Json(asked): Json<ByStage>,
) -> Answer {
    let (tenant, client) = limit.admit(&headers).await?;
    json(client.page(tenant, &asked.stage).await?)
}

async fn flat(State(limit): State<Arc<Limit>>, headers: HeaderMap) -> Answer {
    let (tenant, client) = limit.admit(&headers).await?;
    json(client.flat(tenant).await?)
}

#[derive(Deserialize)]
struct Change {
    id: String,
    plan: String,
}

async fn set_trait(
    State(limit): State<Arc<Limit>>,
    headers: HeaderMap,
    Json(asked): Json<Change>,
) -> Answer {
    let (tenant, client) = limit.admit(&headers).await?;
    let id = json::read_type_id(&asked.id).context("no id")?;
    json(client.set_trait(tenant, id, &asked.plan).await?)
}
