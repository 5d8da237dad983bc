//! The composition root: the one place that knows every room.

mod subscription;

use std::{ops::Deref, sync::Arc};

use async_graphql::{Name, Pos, Request, Response, ServerError, Value};
use axum::http::{HeaderName, HeaderValue, header};
use entity::TenantId;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::subscription::Told;
use crate::{
    base::{
        Actor, Bus, Clock, Cx, Db, DbOptions, Env, Error, Ids, Kept, Module, Origin, Outbound,
        Result, Revocations, Rng, Secrets, gql,
    },
    config::{Config, Environment, Hidden},
    contact, import, job,
    nudge::{self, Streams},
    operation,
    posthog::{self, Posthog},
    privacy,
    schema::{self, Answered, Documents, Known, Ready, Schema},
    segment,
    tenant::{self, Allowances, Caller, Fronts, Limits, Principals, Standings, is_in_browsers},
    view,
    worker::{self, Worker},
};

/// Every room that hears, holds rows of contacts or has timed work.
const MODULES: &[&Module] = &[
    &contact::MODULE,
    &job::MODULE,
    &privacy::MODULE,
    &import::MODULE,
    &segment::MODULE,
    &segment::SOURCES,
    &view::MODULE,
    &nudge::MODULE,
    &worker::MODULE,
];

/// How much of its quotas a caller has left, and what they are.
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

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
pub struct App(Arc<Process>);

impl Deref for App {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.0
    }
}

/// What the parts of a process are.
pub struct Process {
    pub env: Arc<Env>,
    pub config: Arc<Config>,
    pub principals: Principals,
    pub schema: Schema,
    /// The same for items of subscriptions, see [`schema::Opened`].
    items: Schema,
    /// The GraphQL documents that were read.
    pub documents: Documents,
    /// How each tenant's door stands, and what it has used of its limits in this process.
    pub fronts: Fronts,
    pub allowances: Allowances,
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
            memory: Arc::default(),
            modules: MODULES,
            kept: Kept::default(),
        });
        let tasks = TaskTracker::new();
        let outbound = Outbound::new(parts.config.allow_private_upstreams)?;
        let posthog = Arc::new(Posthog::new(&env, outbound.clone(), tasks.clone()));
        env.kept.put(Arc::clone(&posthog));
        env.kept.put(Arc::<view::Lists>::default());
        let streams = Arc::new(Streams::default());
        let documents = Documents::default();
        let fronts = Fronts::new(Arc::clone(&env));
        let operator_token = parts.config.operator_token.as_ref().map(Hidden::reveal);
        let origin = parts.config.public_origin();
        let schema = || {
            schema::executing()
                .data(gql::PublicOrigin(origin.clone()))
                .data(Arc::clone(&env))
                .data(Arc::clone(&posthog))
                .data(Arc::clone(&streams))
                .data(outbound.clone())
                .data(documents.clone())
                .data(fronts.clone())
        };
        Ok(Self(Arc::new(Process {
            schema: schema().finish(),
            items: schema().extension(schema::Opened).finish(),
            principals: Principals::new(
                Arc::clone(&env),
                operator_token,
                outbound.clone(),
                tasks.clone(),
            ),
            documents,
            fronts,
            allowances: Allowances::default(),
            worker: Worker::new(Arc::clone(&env), outbound, MODULES),
            posthog,
            streams,
            config: Arc::new(parts.config),
            stopping: CancellationToken::new(),
            tasks,
            env,
        })))
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
        let mut response = match Box::pin(self.admit(caller, request)).await {
            Ok(Admitted { ready, .. }) => Box::pin(self.run(caller, ready)).await,
            Err(error) => self.refuse(caller, error),
        };
        gql::seal(&mut response, request_id);
        response
    }

    /// Lets a request in that is within the limits, and takes what it may cost.
    async fn admit(&self, caller: &Caller, request: Request) -> Result<Admitted, ServerError> {
        let limits = match caller.tenant {
            Some(tenant) => self.fronts.of(tenant).await.map_err(engines)?.limits,
            None => Limits::default(),
        };
        let ready = Ready::new(&self.documents, request).await?;
        if ready.introspects()
            && self.config.environment == Environment::Production
            && is_in_browsers(&caller.actor)
        {
            return Err(engines(Error::Forbidden));
        }
        if self.config.environment == Environment::Production
            && let Some(pos) = ready.beyond_sight(&caller.actor)
        {
            // the same answer, whether it is hidden or not there
            return Err(ServerError {
                locations: vec![pos],
                ..engines(Error::Forbidden)
            });
        }
        if ready.cost > limits.cost_max as usize {
            return Err(engines(Error::TooComplex(format!(
                "the answer may have {} values with pages of these sizes, the limit is {}",
                ready.cost, limits.cost_max
            ))));
        }
        let now = self.env.clock.now();
        self.allowances
            .take(caller, &limits, ready.cost, now)
            .map_err(engines)?;
        Ok(Admitted { ready, limits })
    }

    async fn run(&self, caller: &Caller, ready: Ready) -> Response {
        let (requested, repeats) = (ready.cost, ready.repeats());
        let Answered {
            mut response,
            values,
            ..
        } = schema::execute(&self.schema, ready, |request| self.with_loaders(request)).await;
        let actual = values.min(requested);
        let standings = self.allowances.give_back(caller, requested - actual);
        if !repeats {
            let cost = [
                ("requested", requested.into()),
                ("actual", actual.into()),
                (
                    "remaining",
                    standings.map_or(Value::Null, |standings| standings.remaining().into()),
                ),
            ];
            let cost = cost.map(|(name, value)| (Name::new(name), value));
            response
                .extensions
                .insert("cost".to_owned(), Value::Object(cost.into_iter().collect()));
        }
        add_standings(&mut response, standings);
        response
    }

    /// The answer to a request that is not executed.
    fn refuse(&self, caller: &Caller, error: ServerError) -> Response {
        let retry_after = match error.source::<Error>() {
            Some(Error::RateLimited { retry_after, .. }) => *retry_after,
            _ => None,
        };
        let mut response = Response::from_errors(vec![error]);
        if let Some(after) = retry_after {
            let headers = &mut response.http_headers;
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        add_standings(&mut response, self.allowances.give_back(caller, 0));
        response
    }

    /// Puts in who asks and, inside a tenant, the `Cx`.
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
        request.data(Cx::asked(Arc::clone(&self.env), tenant, actor, origin))
    }

    /// Puts in what the engine's resolvers load with.
    pub fn with_loaders(&self, request: Request) -> Request {
        let Some(cx) = schema::cx_of(&request).cloned() else {
            return request;
        };
        // Loaders are made anew with this request's `Cx`, so that a batch never mixes tenants.
        request
            .data(contact::Loaders::new(&cx))
            .data(schema::Found::new(&cx))
            .data(posthog::loaders(&cx, &self.posthog))
            .data(nudge::Reads::new(&cx))
            .data(segment::Reads::new(&cx))
            .data(view::Reads::new(&cx))
            .data(import::Rejects::new(&cx))
    }

    /// The document that `tenant` trusts under this hash.
    pub async fn trusted(
        &self,
        tenant: TenantId,
        hash: schema::Hash,
    ) -> Result<Option<Arc<Known>>> {
        let cx = self.cx(tenant, Actor::System);
        let text = async { operation::text_of(&cx.db(), &hash).await };
        self.documents.trusted(tenant, hash, text).await
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

/// A request that is within its caller's limits.
struct Admitted {
    ready: Ready,
    limits: Limits,
}

/// As the engine carries errors.
fn engines(error: Error) -> ServerError {
    ServerError {
        locations: vec![],
        ..async_graphql::Error::from(error).into_server_error(Pos::default())
    }
}

/// `RateLimit` and `RateLimit-Policy`, as draft-ietf-httpapi-ratelimit-headers writes them: quotas of points, by the minute.
fn add_standings(response: &mut Response, standings: Option<Standings>) {
    let Some(Standings { tenant, key }) = standings else {
        return;
    };
    let policy = format!(
        "\"tenant\";q={};w=60, \"key\";q={};w=60",
        tenant.quota, key.quota
    );
    let left = format!(
        "\"tenant\";r={};t={}, \"key\";r={};t={}",
        tenant.remaining, tenant.full_in_s, key.remaining, key.full_in_s
    );
    for (name, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.http_headers.insert(name, value);
        }
    }
}
