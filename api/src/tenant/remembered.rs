//! Keys remembered for a moment, so that not every request asks the database who its key is.
//!
//! A key that was revoked must not be let in from memory. What is remembered counts only while no credential has ended
//! anywhere since it was looked up: see [`Revocations`](crate::base::Revocations). Another process's revocations are heard
//! over PostgreSQL's `LISTEN`; while they are not, nothing is remembered. On SQLite nothing ever is: the command line may
//! revoke a key beside the server with nothing to tell it, and a look-up there is one read inside the process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::api_key;
use moka::future::Cache;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::base::{Env, REVOCATIONS};

/// A backstop, should a revocation be heard of neither here nor from afar.
const AGE_MAX: TimeDelta = TimeDelta::seconds(5);

/// Keys remembered at once: a few hundred bytes each.
const KEYS_MAX: u64 = 20_000;

/// How long to wait before listening again after the connection failed.
const RETRY: Duration = Duration::from_secs(1);

/// A key as it was read.
pub(super) struct Remembered {
    pub(super) row: api_key::Model,
    /// When its use was last written down, or is being; in microseconds since the epoch.
    used_at: AtomicI64,
    read_at: DateTime<Utc>,
    /// The count of revocations before it was read.
    revocations: Option<u64>,
}

impl Remembered {
    pub(super) fn new(
        row: api_key::Model,
        read_at: DateTime<Utc>,
        revocations: Option<u64>,
    ) -> Self {
        let used_at = row
            .last_used_at
            .map_or(i64::MIN, |at| at.timestamp_micros());
        Self {
            row,
            used_at: AtomicI64::new(used_at),
            read_at,
            revocations,
        }
    }
    /// Whether its use at `now` is to be written down, because it was not for `every`. Says yes to one who asks.
    pub(super) fn is_use_due(&self, now: DateTime<Utc>, every: TimeDelta) -> bool {
        let last = self.used_at.load(Ordering::Relaxed);
        last <= (now - every).timestamp_micros()
            && self
                .used_at
                .compare_exchange(
                    last,
                    now.timestamp_micros(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

/// The keys that were looked up lately, by their fingerprints.
#[derive(Clone)]
pub(super) struct Keys(Cache<String, Arc<Remembered>>);

impl Keys {
    pub(super) fn new() -> Self {
        Self(Cache::new(KEYS_MAX))
    }
    /// The key of this fingerprint, if it is remembered and what is remembered holds at `now`.
    pub(super) async fn get(
        &self,
        fingerprint: &str,
        revocations: Option<u64>,
        now: DateTime<Utc>,
    ) -> Option<Arc<Remembered>> {
        let known = self.0.get(fingerprint).await?;
        let age = now - known.read_at;
        let holds = revocations.is_some()
            && known.revocations == revocations
            && (TimeDelta::zero()..AGE_MAX).contains(&age);
        holds.then_some(known)
    }
    pub(super) async fn put(&self, fingerprint: String, known: &Arc<Remembered>) {
        // Read while nobody listened: never to be believed.
        if known.revocations.is_some() {
            self.0.insert(fingerprint, Arc::clone(known)).await;
        }
    }
}

/// Hears other processes' revocations until the process stops. Ends at once on SQLite.
pub async fn hear_revocations(env: Arc<Env>, stopping: CancellationToken) {
    loop {
        let heard = tokio::select! {
            () = stopping.cancelled() => break,
            heard = hear(&env) => heard,
        };
        env.revocations.heard(false);
        match heard {
            Ok(()) => return,
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "other processes' revocations are not heard; every key is looked up"
            ),
        }
        tokio::select! {
            () = stopping.cancelled() => break,
            () = sleep(RETRY) => {}
        }
    }
    env.revocations.heard(false);
}

async fn hear(env: &Env) -> anyhow::Result<()> {
    let Some(mut listener) = env.db.listen(REVOCATIONS).await? else {
        return Ok(());
    };
    // Else it would connect anew by itself, and what was said meanwhile be missed unnoticed.
    listener.eager_reconnect(false);
    env.revocations.heard(true);
    while listener.try_recv().await?.is_some() {
        env.revocations.happened();
    }
    anyhow::bail!("the connection was lost")
}

#[cfg(test)]
mod tests {
    use entity::Id;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::base::Revocations;

    fn read(now: DateTime<Utc>, revocations: &Revocations) -> Arc<Remembered> {
        let row = api_key::Model {
            id: Id::from_uuid(Uuid::nil()),
            tenant_id: Id::from_uuid(Uuid::nil()),
            kind: api_key::Kind::Secret,
            name: String::new(),
            prefix: String::new(),
            hash: String::new(),
            scopes: json!([]),
            created_at: now,
            last_used_at: None,
            expires_at: None,
            revoked_at: None,
        };
        Arc::new(Remembered::new(row, now, revocations.now()))
    }

    #[tokio::test]
    async fn a_look_up_that_a_revocation_overtook_leaves_nothing_that_works() {
        let now = DateTime::UNIX_EPOCH;
        let (keys, revocations) = (Keys::new(), Revocations::default());
        revocations.heard(true);
        // Read before the key ended, remembered after.
        let overtaken = read(now, &revocations);
        revocations.happened();
        keys.put("k".to_owned(), &overtaken).await;
        assert!(keys.get("k", revocations.now(), now).await.is_none());
        keys.put("k".to_owned(), &read(now, &revocations)).await;
        assert!(keys.get("k", revocations.now(), now).await.is_some());
    }

    #[tokio::test]
    async fn nothing_is_remembered_for_long_or_while_nobody_listens() {
        let now = DateTime::UNIX_EPOCH;
        let (keys, revocations) = (Keys::new(), Revocations::default());
        keys.put("k".to_owned(), &read(now, &revocations)).await;
        assert!(
            keys.get("k", revocations.now(), now).await.is_none(),
            "nobody listens"
        );
        revocations.heard(true);
        assert!(
            keys.get("k", revocations.now(), now).await.is_none(),
            "read before"
        );
        keys.put("k".to_owned(), &read(now, &revocations)).await;
        let later = |ms| now + TimeDelta::milliseconds(ms);
        assert!(
            keys.get("k", revocations.now(), later(4_999))
                .await
                .is_some()
        );
        assert!(
            keys.get("k", revocations.now(), later(5_000))
                .await
                .is_none()
        );
        assert!(
            keys.get("k", revocations.now(), later(-1)).await.is_none(),
            "a clock set back"
        );
        revocations.heard(false);
        assert!(keys.get("k", revocations.now(), now).await.is_none());
    }

    #[test]
    fn the_use_of_a_key_is_due_once_in_its_time() {
        let now = DateTime::UNIX_EPOCH;
        let key = read(now, &Revocations::default());
        let every = TimeDelta::minutes(1);
        assert!(key.is_use_due(now, every));
        assert!(!key.is_use_due(now + TimeDelta::seconds(59), every));
        assert!(key.is_use_due(now + every, every));
    }
}
