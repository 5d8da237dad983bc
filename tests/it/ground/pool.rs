//! Trap 9: a connection that is checked before each use makes small queries several times slower.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::base::{Db, DbOptions};
use entity::tenant;
use tests::on_postgres;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Passes bytes on and counts in how many pieces they come: a client that waits for each answer sends one a round trip.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, pieces: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        pieces.fetch_add(1, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

/// A proxy before PostgreSQL; gives its port and the count of what clients sent.
#[expect(
    clippy::disallowed_methods,
    reason = "the proxy is no part of an application"
)]
async fn proxy(server: String) -> anyhow::Result<(u16, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(upstream) = TcpStream::connect(&server).await else {
                return;
            };
            let _ = client.set_nodelay(true);
            let _ = upstream.set_nodelay(true);
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), upstream.into_split());
            tokio::spawn(pass(from_client, to_server, Arc::clone(&counted)));
            tokio::spawn(pass(from_server, to_client, Arc::default()));
        }
    });
    Ok((port, sent))
}

#[tokio::test]
async fn a_small_read_is_not_preceded_by_a_check_of_its_connection() -> anyhow::Result<()> {
    const READS: u64 = 50;
    on_postgres(async |kit| {
        let url: reqwest::Url = kit.database_url().parse()?;
        let server = format!(
            "{}:{}",
            url.host_str().unwrap_or("127.0.0.1"),
            url.port().unwrap_or(5432)
        );
        let (port, sent) = proxy(server).await?;
        let mut through = url;
        through.set_host(Some("127.0.0.1"))?;
        through
            .set_port(Some(port))
            .map_err(|()| anyhow::anyhow!("the URL takes no port"))?;
        let db = Db::connect(&DbOptions {
            url: through.to_string(),
            connections_max: 1,
            read_timeout: Duration::from_secs(35),
        })
        .await?;
        let read = async || db.system().find::<tenant::Entity>().all().await;
        // Prepares its statements.
        read().await?;
        let before = sent.load(Ordering::Relaxed);
        for _ in 0..READS {
            read().await?;
        }
        let round_trips = sent.load(Ordering::Relaxed) - before;
        // BEGIN, whose rows, the read, COMMIT; and on the way back to the pool, when the caller has its answer: whether
        // it is outside a transaction, and sqlx's own check.
        assert!(
            round_trips <= READS * 6 + 2,
            "{round_trips} for {READS} reads"
        );
        db.close().await?;
        Ok(())
    })
    .await
}
