//! The wake-up: says that the log grew, never what with. The truth is read from the log.

use std::sync::Arc;

use tokio::sync::watch;

/// A process's own bell. On PostgreSQL the worker rings the other processes' by `NOTIFY`.
#[derive(Clone, Debug)]
pub struct Bus {
    bell: Arc<watch::Sender<u64>>,
    /// Rung by this process alone: what the others are told. Apart, so that processes do not echo each other.
    own: Arc<watch::Sender<u64>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            bell: Arc::new(watch::Sender::new(0)),
            own: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Bus {
    /// This process appended to the log.
    pub fn ring(&self) {
        strike(&self.own);
        strike(&self.bell);
    }
    /// Another process did.
    pub fn ring_from_afar(&self) {
        strike(&self.bell);
    }
    /// Hears every ring from now on; several rings in a row may be heard as one.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
    /// Hears this process's rings alone.
    pub fn listen_to_own(&self) -> watch::Receiver<u64> {
        self.own.subscribe()
    }
}

fn strike(bell: &watch::Sender<u64>) {
    bell.send_modify(|rings| *rings = rings.wrapping_add(1));
}
