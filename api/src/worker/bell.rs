//! Waking other processes, and being woken by them. A wake-up carries nothing and may be lost: polling is the truth.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::base::Env;

const CHANNEL: &str = "growthos_event";

/// Every `NOTIFY` takes a lock of the whole PostgreSQL server when it commits: one speaks for all rings this near.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// How long to wait before listening again after the connection failed.
const RETRY: Duration = Duration::from_secs(1);

/// Tells the other processes that this one appended to the log.
pub(super) async fn notify(env: &Env, stopping: &CancellationToken) {
    let mut own = env.bus.listen_to_own();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            rung = own.changed() => if rung.is_err() { return },
        }
        if let Err(error) = env.db.notify(CHANNEL).await {
            tracing::warn!(%error, "the other processes could not be woken; they poll");
        }
        sleep(DEBOUNCE).await;
    }
}

/// Rings this process's bell when another one appended. Ends at once on SQLite, which has no other process.
pub(super) async fn listen(env: &Env, stopping: &CancellationToken) {
    loop {
        let heard = tokio::select! {
            () = stopping.cancelled() => return,
            heard = hear(env) => heard,
        };
        match heard {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the other processes are not heard; polling goes on"
                );
            }
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = sleep(RETRY) => {}
        }
    }
}

async fn hear(env: &Env) -> anyhow::Result<()> {
    let Some(mut listener) = env.db.listen(CHANNEL).await? else {
        return Ok(());
    };
    loop {
        listener.recv().await?;
        env.bus.ring_from_afar();
    }
}
