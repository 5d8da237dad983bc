//! Connections: how many there are, how long each may be silent, and how they end.
//!
//! A connection that has nothing in flight ends after a while, whatever its peer trickles into it: the first request must come
//! soon, the next ones may take their time. One whose peer reads nothing ends too. HTTP/1.1 and HTTP/2 are told apart by their first
//! bytes.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::{
    Request,
    body::{Frame, Incoming, SizeHint},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Sleep, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::{proxy::Hop, tls::Tls};

/// How long a client may take to agree on TLS, and then until its first request has come, headers and all.
const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a connection may have nothing in flight. Longer than the 60 s after which load balancers give up theirs, so that they
/// never send a request into a closing one.
const IDLE_TIME_MAX: Duration = Duration::from_secs(75);

/// How long a connection without anything in flight is kept after it was told to end.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// How long bytes may wait for a peer that reads nothing.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);

/// Pause after a failed accept, such as for want of file descriptors: trying again at once would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The buffer of an HTTP/1.1 connection, and so its longest head, and the longest headers on HTTP/2.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// Most headers of a request on HTTP/1.1.
const HEADERS_MAX: usize = 100;

/// Most requests in flight on one HTTP/2 connection: as many as operations on one WebSocket.
const STREAMS_MAX: u32 = 100;

/// What a peer may send on one HTTP/2 stream, and on all of them, before it is read.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What waits on one HTTP/2 stream for its peer to read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Streams that a peer opened and took back before they were accepted: more is the rapid-reset attack.
const PENDING_RESETS_MAX: usize = 20;

/// How often an HTTP/2 peer is pinged, and how long it may take to answer: a dead one is noticed in 30 s.
const PING_EVERY: Duration = Duration::from_secs(15);
const PONG_TIME_MAX: Duration = Duration::from_secs(15);

/// What every connection is served with.
pub(super) struct Listening {
    pub(super) routes: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) connections_max: usize,
    pub(super) stopping: CancellationToken,
}

/// Serves until the process is about to stop, and then until each connection has ended. Dropped, it cuts them off.
pub(super) async fn listen(listening: Listening, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(listening.connections_max));
    let server = Arc::new(Server {
        http: http(),
        cut: CancellationToken::new(),
        listening,
    });
    let _cut = server.cut.clone().drop_guard();
    let stopping = server.listening.stopping.clone();
    let connections = TaskTracker::new();
    while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Refused at once, a client or a load balancer can go elsewhere; in a queue it would wait in vain.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            metrics::counter!("growthos_connections_refused_total").increment(1);
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection would not send at once");
        }
        let server = Arc::clone(&server);
        let connection = async move {
            let cut = server.cut.clone();
            cut.run_until_cancelled(server.greet(stream, peer, place))
                .await;
        };
        connections.spawn(connection.in_current_span());
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Whether a connection ended before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // One clock for both protocols: `quiet`.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX as usize)
        .max_headers(HEADERS_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_TIME_MAX);
    http
}

struct Server {
    listening: Listening,
    http: Builder<TokioExecutor>,
    /// Cancelled when connections are not waited for any more.
    cut: CancellationToken,
}

impl Server {
    async fn greet(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let hop = Hop {
            peer: peer.ip().to_canonical(),
            is_tls: self.listening.tls.is_some(),
        };
        match &self.listening.tls {
            None => self.talk(Wire::new(stream, place), hop).await,
            Some(tls) => {
                match timeout(FIRST_REQUEST_TIME_MAX, tls.acceptor().accept(stream)).await {
                    Ok(Ok(stream)) => self.talk(Wire::new(stream, place), hop).await,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
        }
    }

    async fn talk<S>(&self, wire: Wire<S>, hop: Hop)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let in_flight = Arc::new(watch::Sender::new(0));
        let mut seen = in_flight.subscribe();
        let routes = self.listening.routes.clone();
        let answer = tower::service_fn(move |mut request: Request<Incoming>| {
            let running = Running::new(&in_flight);
            request.extensions_mut().insert(hop);
            let routes = routes.clone();
            async move {
                let answered = routes.oneshot(request).await;
                answered.map(|response: Response| {
                    response.map(|body| Body::new(Running::until_sent(running, body)))
                })
            }
        });
        let answer = TowerToHyperService::new(answer);
        let mut connection = pin!(
            self.http
                .serve_connection_with_upgrades(TokioIo::new(wire), answer)
        );
        tokio::select! {
            // A request that waits to be read counts, however late it is read.
            biased;
            ended = connection.as_mut() => return note(ended),
            () = quiet(&mut seen, FIRST_REQUEST_TIME_MAX, IDLE_TIME_MAX) => {}
            () = self.listening.stopping.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            ended = connection => note(ended),
            () = quiet(&mut seen, GOODBYE_TIME_MAX, GOODBYE_TIME_MAX) => {}
        }
    }
}

fn note(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke");
    }
}

/// Ends when nothing was in flight for `first` from now on, or for `then` after something was.
async fn quiet(in_flight: &mut watch::Receiver<usize>, first: Duration, then: Duration) {
    let mut patience = first;
    loop {
        match timeout(patience, in_flight.changed()).await {
            Ok(Ok(())) => patience = then,
            // Whoever counts is gone: it is the connection itself that ends now.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) if *in_flight.borrow() == 0 => return,
            Err(_) => {}
        }
    }
}

/// Counts a request as in flight until its answer is handed over or given up.
struct Running(Arc<watch::Sender<usize>>);

impl Running {
    fn new(in_flight: &Arc<watch::Sender<usize>>) -> Self {
        in_flight.send_modify(|count| *count += 1);
        Self(Arc::clone(in_flight))
    }

    const fn until_sent(self, body: Body) -> Answer {
        Answer {
            body,
            _running: self,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The body of an answer that is in flight.
struct Answer {
    body: Body,
    _running: Running,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The bytes of a connection, a WebSocket's too. It keeps its place among the connections for as long as it is there, and breaks
/// when its peer reads nothing.
struct Wire<S> {
    stream: S,
    stall_time_max: Duration,
    /// Rings when bytes have waited too long; none wait otherwise.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl<S> Wire<S> {
    const fn new(stream: S, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            stall_time_max: STALL_TIME_MAX,
            stalled: None,
            _place: place,
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let time_max = self.stall_time_max;
        self.stalled
            .get_or_insert_with(|| Box::pin(sleep(time_max)))
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, AsyncWrite::poll_flush)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, AsyncWrite::poll_shutdown)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn place() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    #[tokio::test]
    async fn a_connection_breaks_when_its_peer_reads_nothing_and_not_when_it_reads_slowly() {
        let (mut peer, ours) = duplex(8);
        let mut wire = Wire::new(ours, place());
        wire.stall_time_max = Duration::from_millis(400);
        let reading = async {
            let mut byte = [0];
            for _ in 0..40 {
                sleep(Duration::from_millis(20)).await;
                peer.read_exact(&mut byte).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(wire.write_all(&[7; 48]), reading);
        written.unwrap();
        let stalled = timeout(Duration::from_secs(20), wire.write_all(&[7; 48])).await;
        assert_eq!(
            stalled.unwrap().unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }
}
