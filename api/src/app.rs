//! The composition root: the one place that knows every room.

use std::sync::Arc;

use async_graphql::{Request, Response};
use entity::TenantId;
use futures_util::{Stream, StreamExt as _, stream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    base::{
        Actor, Bus, Clock, Cx, Db, DbOptions, Env, Ids, Module, Origin, Outbound, Result,
        Revocations, Rng, Secrets, gql,
    },
    config::{Config, Hidden},
    contact,
    nudge::{self, Streams},
    posthog::{self, Posthog},
    schema::{self, Documents, Ready, Schema},
    tenant::{self, Caller, Principals},
    worker::Worker,
};

/// The rooms that hear.
const MODULES: &[&Module] = &[&nudge::MODULE];

/// What a process is made of; tests give a clock, ids and randomness that stand still.
pub struct Parts {
    pub config: Config,
    pub db: Db,
    pub clock: Clock,
    pub ids: Ids,
    pub rng: Rng,
}

impl Parts {
    /// Opens the configured database.
    pub async fn connect(config: Config) -> Result<Self> {
        let options = DbOptions {
            url: config.database_url.reveal().to_owned(),
            connections_max: config.database_connections_max,
            read_timeout: config.read_timeout(),
        };
        Ok(Self {
            db: Db::connect(&options).await?,
            config,
            clock: Clock::System,
            ids: Ids::Random,
            rng: Rng::Random,
        })
    }
}

/// Names the one TLS implementation that everything in this process uses. To be called before any client is made;
/// calling it again changes nothing.
pub fn install_crypto() {
    // An error says that one is named already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// One process. Clones share everything.
#[derive(Clone)]
pub struct App {
    pub env: Arc<Env>,
    pub config: Arc<Config>,
    pub principals: Principals,
    pub schema: Schema,
    /// The GraphQL documents that were read.
    pub documents: Documents,
    pub posthog: Arc<Posthog>,
    /// Open nudge subscriptions.
    pub streams: Arc<Streams>,
    pub worker: Worker,
    /// Everything that runs beside a request; a stop waits for it.
    pub tasks: TaskTracker,
    /// Cancelled when the process is to stop.
    pub stopping: CancellationToken,
}

impl App {
    pub fn new(parts: Parts) -> Result<Self> {
        let env = Arc::new(Env {
            db: parts.db,
            clock: parts.clock,
            ids: parts.ids,
            rng: parts.rng,
            secrets: Secrets::new(parts.config.secret_key_or_development()),
            bus: Bus::default(),
            revocations: Revocations::default(),
        });
        let tasks = TaskTracker::new();
        let outbound = Outbound::new(parts.config.allow_private_upstreams)?;
        let posthog = Arc::new(Posthog::new(&env, outbound.clone(), tasks.clone()));
        let streams = Arc::new(Streams::default());
        let operator_token = parts.config.operator_token.as_ref().map(Hidden::reveal);
        Ok(Self {
            principals: Principals::new(
                Arc::clone(&env),
                operator_token,
                outbound.clone(),
                tasks.clone(),
            ),
            schema: schema::build()
                .data(Arc::clone(&env))
                .data(Arc::clone(&posthog))
                .data(Arc::clone(&streams))
                .data(outbound.clone())
                .finish(),
            documents: Documents::default(),
            worker: Worker::new(Arc::clone(&env), outbound, MODULES),
            posthog,
            streams,
            config: Arc::new(parts.config),
            stopping: CancellationToken::new(),
            tasks,
            env,
        })
    }

    /// Feeds the subscriptions of this process until it stops.
    pub fn feed_streams(&self) {
        let tail = Arc::clone(&self.streams).run(Arc::clone(&self.env), self.stopping.clone());
        self.tasks.spawn(tail);
    }

    /// Hears from now on which credentials end elsewhere, so that keys may be remembered.
    pub fn hear_revocations(&self) {
        self.tasks.spawn(tenant::hear_revocations(
            Arc::clone(&self.env),
            self.stopping.clone(),
        ));
    }

    /// Starts the worker, unless it is configured away.
    pub async fn start_worker(&self) -> Result<()> {
        if self.config.worker {
            self.worker.start(&self.tasks, &self.stopping).await?;
        }
        Ok(())
    }

    /// What a tenant's fields ask for, as `actor`.
    pub fn cx(&self, tenant: TenantId, actor: Actor) -> Cx {
        Cx::new(Arc::clone(&self.env), tenant, actor)
    }

    /// Executes a query or a mutation for `caller`. What fails is named for the caller, and logged under `request_id`.
    pub async fn execute(&self, caller: &Caller, request: Request, request_id: &str) -> Response {
        self.execute_from(caller, request, request_id, Origin::default())
            .await
    }

    /// Executes a query or a mutation that came from somewhere.
    pub async fn execute_from(
        &self,
        caller: &Caller,
        request: Request,
        request_id: &str,
        origin: Origin,
    ) -> Response {
        let request = self.with_caller(caller, request, request_id, origin);
        let mut response = match Ready::new(&self.documents, request).await {
            Ok(ready) => schema::execute(&self.schema, ready).await.0,
            Err(error) => Response::from_errors(vec![error]),
        };
        gql::seal(&mut response, request_id);
        response
    }

    /// Runs a subscription for `caller` until it is dropped.
    pub fn subscribe(
        &self,
        caller: &Caller,
        request: Request,
        request_id: String,
    ) -> impl Stream<Item = Response> + Send + use<> {
        let request = self.with_caller(caller, request, &request_id, Origin::default());
        let (schema, documents) = (self.schema.clone(), self.documents.clone());
        let opened = async move {
            match Ready::new(&documents, request).await {
                Ok(ready) => schema::subscribe(&schema, ready).left_stream(),
                Err(error) => stream::iter([Response::from_errors(vec![error])]).right_stream(),
            }
        };
        stream::once(opened).flatten().map(move |mut response| {
            gql::seal(&mut response, &request_id);
            response
        })
    }

    /// Puts in what fields ask the request for: who asks and, inside a tenant, the `Cx`.
    pub fn with_caller(
        &self,
        caller: &Caller,
        request: Request,
        request_id: &str,
        origin: Origin,
    ) -> Request {
        let origin = Origin {
            request_id: Some(request_id.to_owned()),
            ..origin
        };
        let request = request
            .data(caller.actor.clone())
            .data(origin.clone())
            .data(gql::RequestId(request_id.to_owned()));
        let Some(tenant) = caller.tenant else {
            return request;
        };
        let actor = caller.actor.clone();
        let cx = Cx::asked(Arc::clone(&self.env), tenant, actor, origin);
        // Loaders are made anew with this request's `Cx`, so that a batch never mixes tenants.
        request
            .data(contact::Loaders::new(&cx))
            .data(schema::Found::new(&cx))
            .data(posthog::loaders(&cx, &self.posthog))
            .data(nudge::Reads::new(&cx))
            .data(cx)
    }

    /// Names a request in logs and answers.
    pub fn new_request_id(&self) -> String {
        self.env
            .ids
            .next::<entity::tenant::Entity>(self.env.clock.now())
            .uuid()
            .to_string()
    }

    /// Whether a browser at `origin` may use `/graphql`.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let allowed = &self.config.cors_allowed_origins;
        allowed.is_empty()
            || allowed.iter().any(|known| known == origin)
            || origin == self.config.public_origin()
    }
}
