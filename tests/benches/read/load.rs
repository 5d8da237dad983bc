//! The load: connections that each ask, wait for the answer, and ask again. One thread, no allocation a request: what it
//! takes of the machine is taken from the servers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

/// Answers that are read whole, of so many, to see that they are answers.
const READ_EVERY: usize = 64;

/// What a load measured.
pub(crate) struct Measured {
    pub(crate) requests: usize,
    pub(crate) took: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        count(self.requests) / self.took.as_secs_f64()
    }
    /// The latency that so many of a thousand requests kept below.
    pub(crate) fn per_mille(&self, mille: usize) -> Duration {
        let place = self.latencies.len() * mille / 1_000;
        self.latencies.get(place).copied().unwrap_or_default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) const fn count(number: usize) -> f64 {
    number as f64
}

/// An HTTP request, whole.
pub(crate) fn request(path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\naccept: application/json\r\n\
         authorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends `requests` over and over for as long as `time`, over so many connections.
pub(crate) async fn run(
    address: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Measured> {
    let mut opened = vec![];
    for _ in 0..connections {
        opened.push(Connection::open(address).await?);
    }
    let start = Instant::now();
    let end = start + time;
    let mut askers = JoinSet::new();
    for (number, mut connection) in opened.into_iter().enumerate() {
        let requests = Arc::clone(requests);
        askers.spawn(async move {
            // Each begins elsewhere, so that no two ask for the same at once.
            let mut at = number * requests.len() / connections;
            let mut latencies = vec![];
            while Instant::now() < end {
                let asked_at = Instant::now();
                let answer = connection.ask(&requests[at % requests.len()]).await?;
                latencies.push(asked_at.elapsed());
                if latencies.len().is_multiple_of(READ_EVERY) {
                    let text = std::str::from_utf8(answer)?;
                    ensure!(!text.contains("\"errors\""), "an answer has errors: {text}");
                }
                at += 1;
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = vec![];
    while let Some(done) = askers.join_next().await {
        latencies.append(&mut done??);
    }
    latencies.sort_unstable();
    Ok(Measured {
        requests: latencies.len(),
        took: start.elapsed(),
        latencies,
    })
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(1 << 16),
        })
    }

    /// The body of the answer; an answer other than 200 is an error.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let body = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await?;
        };
        let head = std::str::from_utf8(&self.buffer[..body])?.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .with_context(|| format!("the answer has no length: {head}"))?;
        let length: usize = length.trim().parse()?;
        while self.buffer.len() < body + length {
            self.read().await?;
        }
        let answer = &self.buffer[body..body + length];
        ensure!(
            head.starts_with("http/1.1 200"),
            "{head}{}",
            String::from_utf8_lossy(answer)
        );
        Ok(answer)
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
