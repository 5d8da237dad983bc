//! GraphQL over WebSocket: the protocol `graphql-transport-ws`, for queries and mutations as well as subscriptions.
//!
//! One task per socket reads, writes and keeps the time; each operation has a task of its own and hands its messages over
//! through one bounded queue. When the peer reads slowly, the queue fills and the operations wait: nothing piles up.

mod message;
mod operation;

use std::{collections::HashMap, time::Duration};

use async_graphql::parser::types::OperationType;
use axum::{
    extract::{
        FromRequestParts as _, Request, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use futures_channel::mpsc;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::{
    message::{ClientMessage, Close, say},
    operation::{Reply, Speaker, answered, opened, stream_out},
};
use super::{
    BODY_BYTES_MAX, Backend, Channel, Refused, RequestMeta, SUBSCRIPTIONS_MAX, answer,
    authenticate, execute,
    http::Head,
    request::{Asked, Prepared},
    still_holds,
};

const SUBPROTOCOL: &str = "graphql-transport-ws";

/// How long a client may take to say `connection_init`.
const INIT_TIME_MAX: Duration = Duration::from_secs(3);

/// How often the peer is pinged: below the 30 to 60 s after which proxies forget a quiet connection.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long a peer may say nothing at all. Two pings went unanswered then.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long one message may wait for a peer that does not read.
const SEND_TIME_MAX: Duration = Duration::from_secs(30);

/// How long queries and mutations may take to finish when the server stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a closed socket is kept, so that the peer reads why: a socket dropped with bytes unread resets the connection.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(2);

/// Messages of all operations that wait for the socket, besides one of each.
const QUEUE_MAX: usize = 16;

/// The read buffer of a socket, in bytes: what an idle subscriber says fits into it, and what is longer takes several reads. The
/// library's own default of 128 KiB would be most of what a subscriber costs.
const READ_BUFFER_BYTES: usize = 256;

pub(super) fn is_upgrade(request: &Request) -> bool {
    request.method() == Method::GET
        && request
            .headers()
            .get(header::UPGRADE)
            .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Accepts every well-formed upgrade: who speaks another subprotocol reads in the close frame which one it should be.
pub(super) async fn upgrade<B: Backend>(backend: B, head: Head, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let mut upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let ours = HeaderValue::from_static(SUBPROTOCOL);
    let spoken = upgrade
        .requested_protocols()
        .any(|protocol| *protocol == ours);
    // a client whose offer is not answered fails before it can read the close frame
    let selected = if spoken {
        Some(ours)
    } else {
        upgrade.requested_protocols().next().cloned()
    };
    if let Some(protocol) = selected {
        upgrade.set_selected_protocol(protocol);
    }
    let tracked = backend.tasks().token();
    // The session is a task of its own, and boxed: the library's holds the socket once for each of its steps, as long as it is there.
    let session = async move |socket: WebSocket| {
        let _tracked = tracked;
        let tasks = backend.tasks().clone();
        if spoken {
            tasks.spawn(
                Session::new(backend, head, socket)
                    .serve()
                    .in_current_span(),
            );
        } else {
            tasks.spawn(hang_up(socket, End::Close(Close::wrong_subprotocol())));
        }
    };
    let span = tracing::Span::current();
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .on_upgrade(move |socket| session(socket).instrument(span))
}

/// Where the connection stands.
enum Phase<C> {
    /// No `connection_init` yet.
    Silent { until: Instant },
    /// The credential is being checked. Meanwhile the socket is read, because a second `connection_init` is an error.
    Asking(BoxFuture<'static, Result<C, Refused>>),
    /// Acknowledged.
    Open {
        caller: C,
        expires_at: Option<DateTime<Utc>>,
    },
}

/// An operation in flight.
struct Operation {
    /// Tells operations apart that had the same id one after the other.
    number: u64,
    is_subscription: bool,
    /// Cancels the subscription or query. A mutation runs to its end.
    _cancelled: Option<AbortOnDropHandle<()>>,
}

/// How a session ends.
enum End {
    /// The server closes, in good order.
    Close(Close),
    /// The server closes because what it read is no WebSocket message; what follows cannot be read either.
    Unreadable(Close),
    /// The peer has closed, or is gone.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

enum Event<C> {
    Heard(Option<Result<Message, axum::Error>>),
    Reply(Reply),
    Asked(Result<C, Refused>),
    Ping,
    Alarm,
    Stopping,
}

struct Session<B: Backend> {
    backend: B,
    head: Head,
    socket: WebSocket,
    phase: Phase<B::Caller>,
    operations: HashMap<String, Operation>,
    /// How many operations there have been.
    count: u64,
    replies: mpsc::Sender<Reply>,
    queue: mpsc::Receiver<Reply>,
    /// When the peer last said something.
    heard_at: Instant,
    /// What the credential was checked under last.
    as_of: Option<u64>,
    /// Set when the server stops: the socket is closed then, or as soon as nothing is executing.
    drain_until: Option<Instant>,
}

impl<B: Backend> Session<B> {
    fn new(backend: B, head: Head, socket: WebSocket) -> Box<Self> {
        let (replies, queue) = mpsc::channel(QUEUE_MAX);
        let now = Instant::now();
        let phase = Phase::Silent {
            until: now + INIT_TIME_MAX,
        };
        Box::new(Self {
            backend,
            head,
            socket,
            phase,
            operations: HashMap::new(),
            count: 0,
            replies,
            queue,
            heard_at: now,
            as_of: None,
            drain_until: None,
        })
    }

    async fn serve(mut self: Box<Self>) {
        let Err(end) = self.run().await;
        let Self {
            socket,
            operations,
            queue,
            ..
        } = *self;
        // the operations are dropped, and their subscriptions cancelled, before the farewell
        drop((operations, queue));
        hang_up(socket, end).boxed().await;
    }

    /// What is rare is boxed: the session waits nearly all of its life, and would carry the size of the largest of them.
    async fn run(&mut self) -> Result<std::convert::Infallible, End> {
        let stopping = self.backend.stopping();
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let alarm = self.alarm();
            let event = tokio::select! {
                heard = self.socket.recv() => Event::Heard(heard),
                Some(reply) = self.queue.next() => Event::Reply(reply),
                asked = asked(&mut self.phase) => Event::Asked(asked),
                _ = pings.tick() => Event::Ping,
                () = sleep_until(alarm) => Event::Alarm,
                () = stopping.cancelled(), if self.drain_until.is_none() => Event::Stopping,
            };
            // asked each time, not only when the alarm rings: nothing is told to a caller whose time is over
            self.check_expiry()?;
            match event {
                Event::Heard(Some(Ok(message))) => {
                    self.heard_at = Instant::now();
                    self.hear(message).boxed().await?;
                }
                Event::Heard(Some(Err(error))) => {
                    tracing::debug!(%error, "a websocket could not be read");
                    return Err(End::Unreadable(Close::invalid_message(
                        "invalid message, or one over 1 MiB",
                    )));
                }
                Event::Heard(None) => return Err(End::Gone),
                Event::Reply(reply) => self.pass_on(reply).boxed().await?,
                Event::Asked(outcome) => self.open(outcome).boxed().await?,
                Event::Ping => self.ping().boxed().await?,
                Event::Alarm => self.check_time()?,
                Event::Stopping => self.drain_until = Some(Instant::now() + DRAIN_TIME_MAX),
            }
            if self.drain_until.is_some()
                && self
                    .operations
                    .values()
                    .all(|operation| operation.is_subscription)
            {
                return Err(Close::going_away("the server stops").into());
            }
        }
    }

    /// When time itself must be looked at next.
    fn alarm(&self) -> Instant {
        let phase = match &self.phase {
            Phase::Silent { until } => Some(*until),
            Phase::Asking(_) => None,
            Phase::Open { expires_at, .. } => {
                // already over is checked before; a time beyond what the clock can count never comes
                expires_at
                    .and_then(|at| (at - self.backend.now()).to_std().ok())
                    .and_then(|left| Instant::now().checked_add(left))
            }
        };
        [phase, self.drain_until]
            .into_iter()
            .flatten()
            .fold(self.heard_at + SILENCE_MAX, Instant::min)
    }

    fn check_time(&self) -> Result<(), End> {
        let now = Instant::now();
        match self.phase {
            Phase::Silent { until } if until <= now => return Err(Close::init_overdue().into()),
            _ => {}
        }
        if self.heard_at + SILENCE_MAX <= now {
            return Err(Close::going_away("no answer to pings").into());
        }
        if self.drain_until.is_some_and(|until| until <= now) {
            return Err(Close::going_away("the server stops").into());
        }
        Ok(())
    }

    fn check_expiry(&self) -> Result<(), End> {
        match &self.phase {
            Phase::Open {
                expires_at: Some(at),
                ..
            } if *at <= self.backend.now() => {
                Err(Close::forbidden("forbidden: the credential has expired").into())
            }
            _ => Ok(()),
        }
    }

    async fn check_credential(&mut self) -> Result<(), End> {
        match &self.phase {
            Phase::Open { caller, .. }
                if !still_holds(&self.backend, caller, &mut self.as_of).await =>
            {
                Err(Close::forbidden("forbidden: the credential has ended").into())
            }
            _ => Ok(()),
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return Err(Close::invalid_message("invalid message: binary").into());
            }
            // the library has answered a ping
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        match ClientMessage::read(&text)? {
            ClientMessage::ConnectionInit {
                authorization,
                tenant,
            } => self.ask(authorization, tenant),
            ClientMessage::Ping(payload) => self.send(say::pong(payload)).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, parameters } => self.subscribe(id, parameters).await,
            ClientMessage::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    fn ask(&mut self, authorization: Option<String>, tenant: Option<String>) -> Result<(), End> {
        let Phase::Silent { .. } = self.phase else {
            return Err(Close::too_many_inits().into());
        };
        let backend = self.backend.clone();
        // Before it is checked: what ends meanwhile is not overlooked.
        self.as_of = backend.revocations();
        let given = self.head.credential.take();
        let credential = authorization.or(given);
        let origin = self.head.origin.clone();
        let tenant = tenant.or_else(|| self.head.tenant.clone());
        self.phase = Phase::Asking(
            async move { authenticate(&backend, credential, origin, tenant).await }.boxed(),
        );
        Ok(())
    }

    async fn open(&mut self, outcome: Result<B::Caller, Refused>) -> Result<(), End> {
        match outcome {
            Ok(caller) => {
                let expires_at = self.backend.expires_at(&caller);
                self.phase = Phase::Open { caller, expires_at };
                self.check_expiry()?;
                self.send(say::connection_ack()).await
            }
            Err(Refused::Unauthenticated(reason) | Refused::Forbidden(reason)) => {
                Err(Close::forbidden(format!("forbidden: {reason}")).into())
            }
            Err(Refused::Unavailable(reason)) => Err(Close::try_again_later(reason).into()),
        }
    }

    async fn subscribe(&mut self, id: String, parameters: Value) -> Result<(), End> {
        self.check_credential().await?;
        let Phase::Open { caller, .. } = &self.phase else {
            return Err(Close::unauthorized().into());
        };
        if self.operations.contains_key(&id) {
            return Err(Close::duplicate_id(&id).into());
        }
        if self.operations.len() >= SUBSCRIPTIONS_MAX {
            return Err(Close::too_many_subscriptions().into());
        }
        if self.drain_until.is_some() {
            // the close that follows tells the client to ask elsewhere
            return Ok(());
        }
        let request_id = self.backend.request_id();
        let prepared = match Asked::read(parameters) {
            Ok(asked) => self.backend.prepare(caller, asked).await,
            Err(failure) => Err(failure),
        };
        let Prepared { request, operation } = match prepared {
            Ok(prepared) => prepared,
            Err(failure) if failure.is_malformed() => {
                return Err(Close::invalid_message(format!(
                    "invalid message: {}",
                    failure.message
                ))
                .into());
            }
            Err(failure) => {
                return self
                    .send(say::error(&id, &answer::failure(&failure, &request_id)))
                    .await;
            }
        };
        let meta = RequestMeta {
            request_id,
            origin: self.head.origin.clone(),
            client: self.head.client.clone(),
            channel: Channel::WebSocket,
            operation,
            last_event_id: None,
        };
        let is_subscription = operation == OperationType::Subscription;
        let mut speaker = Speaker {
            id: id.clone(),
            number: self.count,
            replies: self.replies.clone(),
        };
        let (backend, caller) = (self.backend.clone(), caller.clone());
        let tasks = self.backend.tasks();
        let task = if is_subscription {
            let stopping = backend.stopping();
            let subscription = opened(&id, backend, caller, request, meta);
            tasks.spawn(
                async move {
                    let _ = stream_out(subscription, speaker, stopping).await;
                }
                .in_current_span(),
            )
        } else {
            tasks.spawn(
                async move {
                    let answer = execute(&backend, caller, request, meta).await;
                    let _ = speaker.say(answered(&speaker.id, &answer)).await;
                }
                .in_current_span(),
            )
        };
        self.operations.insert(
            id,
            Operation {
                number: self.count,
                is_subscription,
                // what it waits for borrows nothing, so it is dropped wherever it waits
                _cancelled: (operation != OperationType::Mutation)
                    .then(|| AbortOnDropHandle::new(task)),
            },
        );
        self.count += 1;
        Ok(())
    }

    /// Sends what an operation says, unless the client has completed it meanwhile.
    async fn pass_on(&mut self, reply: Reply) -> Result<(), End> {
        if self
            .operations
            .get(&reply.id)
            .is_none_or(|operation| operation.number != reply.number)
        {
            return Ok(());
        }
        if reply.said.is_last {
            self.operations.remove(&reply.id);
        }
        for text in reply.said.texts {
            self.send(text).await?;
        }
        Ok(())
    }

    /// Two kinds: every peer's network stack answers the frame, even while a browser has put the page to sleep; and the message
    /// is the only one that a script in a browser can see, to know that the server lives.
    async fn ping(&mut self) -> Result<(), End> {
        self.check_credential().await?;
        send(&mut self.socket, Message::Ping(Vec::new().into())).await?;
        match self.phase {
            Phase::Open { .. } => self.send(say::ping()).await,
            _ => Ok(()),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        send(&mut self.socket, Message::Text(text.into())).await
    }
}

/// The outcome of [`Phase::Asking`]; in another phase it never comes.
async fn asked<C>(phase: &mut Phase<C>) -> Result<C, Refused> {
    match phase {
        Phase::Asking(outcome) => outcome.await,
        _ => std::future::pending().await,
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND_TIME_MAX, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        // gone, or it reads nothing: it would not read a close frame either
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

async fn hang_up(mut socket: WebSocket, end: End) {
    let farewell = async {
        let is_readable = match end {
            End::Gone => true,
            End::Close(close) => socket
                .send(Message::Close(Some(close.into_frame())))
                .await
                .is_ok(),
            End::Unreadable(close) => {
                if socket
                    .send(Message::Close(Some(close.into_frame())))
                    .await
                    .is_ok()
                {
                    sleep(FAREWELL_TIME_MAX).await;
                }
                false
            }
        };
        // until the peer has closed too
        while is_readable && socket.recv().await.is_some_and(|heard| heard.is_ok()) {}
    };
    // who does not answer in time is dropped
    let _ = timeout(FAREWELL_TIME_MAX, farewell).await;
}
