//! A backend without tenants and tables, and a process that serves it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    base::{
        Clock,
        gql::{CxExt as _, StreamPlace},
    },
    transport::{self, Backend, Item, Refused, RequestMeta},
};
use async_graphql::{Context, Object, Request, Response, Schema, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than any case waits that is not about it.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(3);

/// What the fields did.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) started: AtomicU64,
    pub(super) written: AtomicU64,
    /// Items that streams gave.
    pub(super) produced: AtomicU64,
    /// Streams that were opened and not yet dropped.
    pub(super) live: AtomicU64,
    requests: AtomicU64,
}

/// Counts a stream for as long as it is there.
struct Live(Arc<Counts>);

impl Live {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.live.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
    fn produce(&self) {
        self.0.produced.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

fn counts<'a>(ctx: &Context<'a>) -> &'a Arc<Counts> {
    ctx.data_unchecked()
}

pub(super) struct Query;

#[Object]
impl Query {
    async fn hello(&self) -> &str {
        "hello"
    }
    async fn request_id(&self, ctx: &Context<'_>) -> String {
        ctx.data_unchecked::<RequestMeta>().request_id.clone()
    }
    async fn nope(&self) -> async_graphql::Result<&str> {
        Err("the field failed".into())
    }
    /// Waits for ever.
    async fn hang(&self, ctx: &Context<'_>) -> bool {
        let _live = Live::new(counts(ctx));
        std::future::pending().await
    }
    async fn long(&self) -> String {
        "x".repeat(5_000)
    }
    async fn boom(&self, #[graphql(default = true)] really: bool) -> &str {
        assert!(!really, "a secret of the panic");
        "calm"
    }
}

pub(super) struct Mutation;

#[Object]
impl Mutation {
    async fn write(&self, ctx: &Context<'_>, ms: u64) -> u64 {
        let counts = counts(ctx);
        counts.started.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(ms)).await;
        counts.written.fetch_add(1, Ordering::SeqCst) + 1
    }
}

pub(super) struct Subscriptions;

#[Subscription]
impl Subscriptions {
    /// Numbers below `to`, one each `ms`.
    async fn count(&self, ctx: &Context<'_>, to: u64, ms: u64) -> impl Stream<Item = u64> + use<> {
        let live = Live::new(counts(ctx));
        stream::iter(0..to).then(move |number| {
            live.produce();
            async move {
                if ms > 0 {
                    sleep(Duration::from_millis(ms)).await;
                }
                number
            }
        })
    }
    /// Numbers behind `after` and below `to`, one each `ms`, each with its own cursor.
    async fn placed(
        &self,
        ctx: &Context<'_>,
        to: u64,
        ms: u64,
        after: Option<String>,
    ) -> async_graphql::Result<impl Stream<Item = u64> + use<>> {
        let live = Live::new(counts(ctx));
        let place = ctx.stream_place();
        let begin = match place.after(after) {
            None => 0,
            Some(cursor) => {
                cursor
                    .strip_prefix("at-")
                    .ok_or("no cursor")?
                    .parse::<u64>()?
                    + 1
            }
        };
        Ok(stream::iter(begin..to).then(move |number| {
            live.produce();
            let place = Arc::clone(&place);
            async move {
                sleep(Duration::from_millis(ms)).await;
                place.give(&format!("at-{number}"));
                number
            }
        }))
    }
    /// Always has a next item.
    async fn flood(&self, ctx: &Context<'_>) -> impl Stream<Item = String> + use<> {
        let live = Live::new(counts(ctx));
        stream::repeat_with(move || {
            live.produce();
            "x".repeat(100_000)
        })
    }
    async fn panics(&self) -> impl Stream<Item = u64> {
        stream::iter(0..2).map(|number| {
            assert_eq!(number, 0, "a secret of the panic");
            number
        })
    }
}

#[derive(Clone)]
pub(super) struct Toy {
    schema: Schema<Query, Mutation, Subscriptions>,
    counts: Arc<Counts>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

#[derive(Clone)]
pub(super) struct Who {
    expires_at: Option<DateTime<Utc>>,
}

impl Backend for Toy {
    type Caller = Who;

    async fn authenticate(
        &self,
        credential: Option<&str>,
        origin: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Who, Refused> {
        if let Some(tenant) = tenant {
            return Err(Refused::Forbidden(format!("{tenant} is not here")));
        }
        if origin == Some("http://evil.example") {
            return Err(Refused::Forbidden("this origin may not ask".into()));
        }
        let mut expires_at = None;
        match credential {
            None | Some("Bearer good") => {}
            Some("Bearer slow") => sleep(Duration::from_millis(500)).await,
            Some("Bearer short") => expires_at = Some(self.now() + Duration::from_millis(700)),
            Some("Bearer down") => return Err(Refused::Unavailable("the database is down".into())),
            Some("Bearer panic") => panic!("a secret of the panic"),
            // As long a reason as anybody could think of: a close frame holds 123 bytes.
            Some(_) => return Err(Refused::Unauthenticated("ä".repeat(200))),
        }
        Ok(Who { expires_at })
    }
    fn revocations(&self) -> Option<u64> {
        Some(0)
    }
    async fn still_holds(&self, _: &Who) -> bool {
        true
    }
    fn expires_at(&self, who: &Who) -> Option<DateTime<Utc>> {
        who.expires_at
    }
    async fn execute(&self, _: Who, request: Request, meta: RequestMeta) -> Response {
        self.schema.execute(request.data(meta)).await
    }
    fn subscribe(
        self,
        _: Who,
        request: Request,
        meta: RequestMeta,
    ) -> impl Stream<Item = Item> + Send + 'static {
        let place = Arc::new(StreamPlace::new(meta.last_event_id.clone()));
        self.schema
            .execute_stream(request.data(meta).data(Arc::clone(&place)))
            .map(move |response| Item {
                cursor: place.take(),
                response,
            })
    }
    fn request_time_max(&self) -> Duration {
        REQUEST_TIME_MAX
    }
    fn now(&self) -> DateTime<Utc> {
        Clock::System.now()
    }
    fn request_id(&self) -> String {
        format!(
            "req-{}",
            self.counts.requests.fetch_add(1, Ordering::SeqCst)
        )
    }
    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
    fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }
    fn graphiql_enabled(&self) -> bool {
        true
    }
}

/// A toy that listens.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) counts: Arc<Counts>,
    toy: Toy,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's own task; it must not wait for itself in the tracker"
    )]
    pub(super) async fn start() -> Self {
        api::app::install_crypto();
        let counts = Arc::new(Counts::default());
        let toy = Toy {
            schema: Schema::build(Query, Mutation, Subscriptions)
                .data(Arc::clone(&counts))
                .finish(),
            counts: Arc::clone(&counts),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, stopping) = (transport::router(toy.clone()), toy.stopping.clone());
        let serve = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stopping.cancelled().await });
        Self {
            address,
            counts,
            toy,
            task: tokio::spawn(serve.into_future()),
        }
    }
    pub(super) fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }
    pub(super) fn stop(&self) {
        self.toy.stopping.cancel();
    }
    /// Waits for whatever still runs after [`stop`](Self::stop).
    pub(super) async fn stopped(self) {
        self.task.await.unwrap().unwrap();
        self.toy.tasks.close();
        self.toy.tasks.wait().await;
    }
    /// Waits until a count is `wanted`; fails when it never is.
    pub(super) async fn until(&self, count: impl Fn(&Counts) -> &AtomicU64, wanted: u64) {
        let count = count(&self.counts);
        for _ in 0..1_000 {
            if count.load(Ordering::SeqCst) == wanted {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{} instead of {wanted}", count.load(Ordering::SeqCst));
    }
}
