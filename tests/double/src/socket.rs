//! Connections that can be broken on command: reset, or left hanging in the middle of an answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Between two tries to accept when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Whole,
    /// The next write sends half of its bytes, then the connection hangs.
    Half,
    Hung,
    Broken,
}

#[derive(Debug, Default)]
struct Line {
    mode: Mode,
    /// The connection's task, to be told when the mode changes.
    waker: Option<Waker>,
}

/// The switch of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(Arc<Mutex<Line>>);

impl Wire {
    /// Half of the next answer is sent, and nothing after it.
    pub(crate) fn hang_halfway(&self) {
        self.set(Mode::Half);
    }

    /// The peer gets a reset.
    pub(crate) fn reset(&self) {
        self.set(Mode::Broken);
    }

    fn set(&self, mode: Mode) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.mode = mode;
        if let Some(waker) = line.waker.take() {
            waker.wake();
        }
    }

    /// The mode now; the task is woken at its next change.
    fn mode(&self, context: &Context<'_>) -> Mode {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.waker = Some(context.waker().clone());
        line.mode
    }
}

impl Connected<IncomingStream<'_, Listener>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// The open connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wires(Arc<Mutex<Vec<Weak<Mutex<Line>>>>>);

impl Wires {
    fn add(&self, wire: &Wire) {
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(&wire.0));
    }

    pub(crate) fn reset_all(&self) {
        let wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in wires.iter().filter_map(Weak::upgrade) {
            Wire(line).reset();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) wires: Wires,
}

impl axum::serve::Listener for Listener {
    type Io = Socket;
    type Addr = Wire;

    async fn accept(&mut self) -> (Socket, Wire) {
        loop {
            match self.tcp.accept().await {
                Ok((tcp, _)) => {
                    let wire = Wire::default();
                    self.wires.add(&wire);
                    return (
                        Socket {
                            tcp,
                            wire: wire.clone(),
                        },
                        wire,
                    );
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Wire> {
        Ok(Wire::default())
    }
}

#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    wire: Wire,
}

impl Socket {
    fn broken(&self) -> io::Error {
        // without lingering, closing is a reset instead of an orderly end; if that fails the end is orderly
        let _ = self.tcp.set_zero_linger();
        io::ErrorKind::ConnectionReset.into()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.wire.mode(context) {
            Mode::Broken => Poll::Ready(Err(self.broken())),
            Mode::Whole | Mode::Half | Mode::Hung => {
                Pin::new(&mut self.tcp).poll_read(context, into)
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.wire.mode(context) {
            Mode::Broken => Poll::Ready(Err(self.broken())),
            Mode::Hung => Poll::Pending,
            Mode::Whole => Pin::new(&mut self.tcp).poll_write(context, bytes),
            Mode::Half => {
                let written =
                    Pin::new(&mut self.tcp).poll_write(context, &bytes[..bytes.len().div_ceil(2)]);
                if written.is_ready() {
                    self.wire.set(Mode::Hung);
                }
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
