//! The wake-up: says that the log grew, never what with. The truth is read from the log.

use std::sync::Arc;

use tokio::sync::watch;

/// A process's own bell. On PostgreSQL the worker rings the other processes' by `NOTIFY`.
#[derive(Clone, Debug)]
pub struct Bus {
    bell: Arc<watch::Sender<u64>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            bell: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Bus {
    pub fn ring(&self) {
        self.bell.send_modify(|rings| *rings = rings.wrapping_add(1));
    }
    /// Hears every ring from now on; several rings in a row may be heard as one.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}
