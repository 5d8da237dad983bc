//! The test kit: a whole application on a database of its own, with time, ids and randomness held still.
//!
//! `TEST_DATABASES` says which databases the cases run on (`sqlite,postgres` unless set); `TEST_POSTGRES_URL` is a
//! PostgreSQL server's URL without a database, of a role that may create databases.

mod database;
pub mod process;
mod server;

use std::sync::Arc;

use anyhow::Context as _;
use api::{
    app::{App, Parts, install_crypto},
    base::{Actor, Clock, Cx, Db, DbOptions, Ids, Rng},
    config::{Config, Hidden},
    tenant::{self, Caller},
};
use async_graphql::{Request, Response, Variables};
use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use entity::{ContactId, TenantId, api_key};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};

pub use database::Kind;
pub use server::Server;

/// The operator's bearer token in every kit.
pub const OPERATOR: &str = "the operator's token in tests";

/// When every kit's clock starts: 2026-01-01T09:00:00Z.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 9, 0, 0)
        .single()
        .unwrap_or_default()
}

/// An application on a fresh, migrated database, which is gone with the kit.
pub struct Kit {
    pub app: App,
    pub database: Kind,
    // Dropped last: the application's pools still point into it.
    place: database::Place,
}

/// A tenant made the way the operator makes one.
pub struct Tenant {
    pub id: TenantId,
    /// Holds every scope.
    pub secret_key: String,
    pub publishable_key: String,
    /// As the secret key acts.
    pub cx: Cx,
}

/// Runs a case on each database, in a kit of its own each time.
///
/// # Errors
/// The case's own error, with the database's name.
///
/// # Panics
/// When `TEST_DATABASES` names PostgreSQL and `TEST_POSTGRES_URL` is missing: nothing is skipped in silence.
pub async fn on_each_database(case: impl AsyncFn(Kit) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for kind in database::chosen() {
        announce(kind);
        let kit = Kit::new(kind).await?;
        case(kit).await.with_context(|| format!("on {kind}"))?;
    }
    Ok(())
}

/// Runs a case on PostgreSQL alone, where this run is about PostgreSQL: for what SQLite does not have.
///
/// # Errors
/// The case's own.
pub async fn on_postgres(case: impl AsyncFn(Kit) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if database::chosen().contains(&Kind::Postgres) {
        case(Kit::new(Kind::Postgres).await?).await?;
    }
    Ok(())
}

/// Runs a case on a fresh, migrated database of each kind, given by its URL: for cases about whole processes.
///
/// # Errors
/// The case's own error.
pub async fn on_each_place(
    case: impl AsyncFn(Kind, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    install_crypto();
    for kind in database::chosen() {
        announce(kind);
        let place = database::Place::new(kind).await?;
        case(kind, place.url()).await?;
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "a case that panics is shown with what it printed"
)]
fn announce(kind: Kind) {
    eprintln!("on {kind}:");
}

impl Kit {
    pub async fn new(kind: Kind) -> anyhow::Result<Self> {
        Self::with(kind, Config::default()).await
    }

    /// A kit whose application is configured; the database, the keys and the operator's token are the kit's.
    pub async fn with(kind: Kind, config: Config) -> anyhow::Result<Self> {
        let place = database::Place::new(kind).await?;
        let app = Self::app_on(place.url(), config).await?;
        Ok(Self {
            app,
            database: kind,
            place,
        })
    }

    async fn app_on(url: &str, config: Config) -> anyhow::Result<App> {
        install_crypto();
        let db = Db::connect(&DbOptions {
            url: url.to_owned(),
            connections_max: 8,
            read_timeout: config.read_timeout(),
        })
        .await?;
        Ok(App::new(Parts {
            config: Config {
                database_url: Hidden::from(url),
                secret_key: Some(Hidden::from("the secret key of every kit")),
                operator_token: Some(Hidden::from(OPERATOR)),
                allow_private_upstreams: true,
                shutdown_timeout_s: 5,
                ..config
            },
            db,
            clock: Clock::fixed(start()),
            ids: Ids::counted(),
            rng: Rng::counted(),
        })?)
    }

    /// The database's URL, for a second process or a raw connection.
    pub fn database_url(&self) -> &str {
        self.place.url()
    }

    /// A second process on the same database, as after a restart: its clock is this kit's now, its ids and randomness are
    /// drawn, so that they do not meet this kit's.
    pub async fn another_process(&self) -> anyhow::Result<App> {
        let db = Db::connect(&DbOptions {
            url: self.place.url().to_owned(),
            connections_max: 8,
            read_timeout: self.app.config.read_timeout(),
        })
        .await?;
        Ok(App::new(Parts {
            config: (*self.app.config).clone(),
            db,
            clock: self.app.env.clock.clone(),
            ids: Ids::Random,
            rng: Rng::Random,
        })?)
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.app.env.clock.now()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.app.env.clock.advance(by);
    }

    /// Makes a tenant with its first two keys.
    pub async fn tenant(&self, name: &str) -> anyhow::Result<Tenant> {
        let made = tenant::create_tenant(&self.app.env, name).await?;
        let actor = Actor::SecretKey {
            id: made.secret.row.id,
            scopes: ["*".to_owned()].into(),
        };
        Ok(Tenant {
            id: made.tenant.id,
            secret_key: made.secret.key,
            publishable_key: made.publishable.key,
            cx: Cx::new(Arc::clone(&self.app.env), made.tenant.id, actor),
        })
    }

    /// A secret key of the tenant that holds these scopes alone.
    pub async fn key(&self, tenant: &Tenant, scopes: &[&str]) -> anyhow::Result<String> {
        let new = tenant::NewKey {
            kind: api_key::Kind::Secret,
            name: scopes.join(" "),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        let issued = tenant
            .cx
            .write(async |tx| tenant::create_key(tx, &Actor::System, new.clone()).await)
            .await?;
        Ok(issued.key)
    }

    /// A token that speaks for the contact for an hour.
    pub async fn contact_token(
        &self,
        tenant: &Tenant,
        contact: ContactId,
    ) -> anyhow::Result<String> {
        Ok(
            tenant::mint_contact_token(&tenant.cx, contact, TimeDelta::hours(1))
                .await?
                .token,
        )
    }

    /// Asks as whoever holds `credential` (without a scheme; empty: nobody), through everything but HTTP.
    /// Gives the response as a client reads it, but for what it cost.
    pub async fn gql(&self, credential: &str, query: &str, variables: Value) -> Value {
        let mut answer = self.gql_with_cost(credential, query, variables).await;
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("extensions");
        }
        answer
    }

    /// As [`Kit::gql`], with `extensions.cost`.
    pub async fn gql_with_cost(&self, credential: &str, query: &str, variables: Value) -> Value {
        let caller = match self.app.principals.by_token(credential).await {
            Ok(caller) => caller,
            Err(error) => {
                let code = if matches!(error, api::base::Error::Unauthenticated) {
                    "UNAUTHENTICATED"
                } else {
                    "INTERNAL"
                };
                return json!({"errors": [{"message": error.to_string(), "extensions": {"code": code}}]});
            }
        };
        let request = Request::new(query).variables(Variables::from_json(variables));
        let response = self.app.execute(&caller, request, "test").await;
        serde_json::to_value(response).unwrap_or_default()
    }

    /// Database statements that a query costs once the process is warm. Runs it three times: not for mutations.
    pub async fn statements_of(&self, credential: &str, query: &str, variables: Value) -> u64 {
        let mut least = u64::MAX;
        for _ in 0..3 {
            let before = self.app.env.db.statements();
            self.gql(credential, query, variables.clone()).await;
            // Other statements, such as the note that a key was used, may fall into one run, not into each.
            least = least.min(self.app.env.db.statements() - before);
        }
        least
    }

    /// Subscribes as `caller`, through everything but the transport; gives the answers as they come.
    pub fn subscribe(
        &self,
        caller: Caller,
        request: Request,
    ) -> impl Stream<Item = Response> + Send + use<> {
        self.app
            .subscribe(caller, request, "test")
            .map(|item| item.response)
    }

    /// Serves the application on a free port until the server is dropped or stopped.
    pub async fn serve(&self) -> anyhow::Result<Server> {
        Server::start(self.app.clone()).await
    }
}
