//! Time, ids and randomness come from here alone, so a test can hold all three still.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use entity::Id;
use rand::Rng as _;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// Stands still until advanced. Milliseconds since the epoch.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    #[must_use]
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.timestamp_millis())))
    }
    /// The instant, in whole microseconds: what both databases can hold.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now().trunc_subsecs(6),
            Self::Fixed(ms) => {
                DateTime::from_timestamp_millis(ms.load(Ordering::Relaxed)).unwrap_or_default()
            }
        }
    }
    /// Moves a fixed clock forward. A system clock ignores it.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Fixed(ms) = self {
            ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
        }
    }
}

#[derive(Clone, Debug)]
pub enum Ids {
    Random,
    /// 1, 2, 3, … after the clock's millisecond: the same ids on every run.
    Counted(Arc<AtomicU64>),
}

impl Ids {
    #[must_use]
    pub fn counted() -> Self {
        Self::Counted(Arc::default())
    }
    /// A version-7 UUID: sorts by creation.
    #[expect(clippy::disallowed_methods, reason = "the one place that draws ids")]
    pub fn next<T>(&self, now: DateTime<Utc>) -> Id<T> {
        let ms = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let tail = match self {
            Self::Random => *Uuid::now_v7().as_bytes(),
            Self::Counted(n) => u128::from(n.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes(),
        };
        let mut random = [0; 10];
        random.copy_from_slice(&tail[6..]);
        Id::from_uuid(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }
}

/// Where secrets and jitter come from.
#[derive(Clone, Debug)]
pub enum Rng {
    Random,
    /// The same bytes on every run: for tests alone.
    Counted(Arc<AtomicU64>),
}

impl Rng {
    #[must_use]
    pub fn counted() -> Self {
        Self::Counted(Arc::default())
    }
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match self {
            Self::Random => rand::rng().fill_bytes(&mut bytes),
            Self::Counted(n) => {
                let count = (n.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes();
                for (byte, from) in bytes.iter_mut().rev().zip(count.iter().rev()) {
                    *byte = *from;
                }
            }
        }
        bytes
    }
    /// Between 0 and 1.
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.bytes())) / f64::from(u32::MAX)
    }
}
