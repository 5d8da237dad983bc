//! Issuers' published keys, remembered.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Id, issuer};
use moka::future::Cache;
use tokio::sync::Mutex;

use super::super::key::{self, Key};
use crate::base::{Clock, Error, Outbound, Result, Unavailable};

/// How long a set is used without asking again: as long as a key that the issuer took back may still work.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// How long a set is used while its issuer does not answer.
const STALE_MAX: TimeDelta = TimeDelta::hours(1);

/// An issuer is asked once in this time, however many unknown keys are named to us.
const ASKED_EVERY: TimeDelta = TimeDelta::minutes(1);

const TIMEOUT: Duration = Duration::from_secs(5);
const SET_BYTES_MAX: usize = 256 * 1024;

/// Issuers remembered at once.
const ISSUERS_MAX: u64 = 1_000;

/// Names a set: another one as soon as its issuer was changed. Tenants share none, also where they name the same address.
type Place = (Id<issuer::Entity>, DateTime<Utc>);

/// The keys that issuers publish at addresses of their own.
#[derive(Clone)]
pub(in crate::tenant) struct Jwks {
    outbound: Outbound,
    clock: Clock,
    sets: Cache<Place, Arc<Remote>>,
}

#[derive(Default)]
struct Remote {
    last: RwLock<Last>,
    /// Held while the issuer is asked: one asks, the others wait for what it hears.
    asking: Mutex<()>,
}

#[derive(Clone, Default)]
struct Last {
    keys: Option<(Arc<[Key]>, DateTime<Utc>)>,
    asked_at: Option<DateTime<Utc>>,
}

impl Last {
    /// The keys, where they are younger than `age_max` and hold `kid`, if one is named.
    fn keys(
        &self,
        now: DateTime<Utc>,
        age_max: TimeDelta,
        kid: Option<&str>,
    ) -> Option<Arc<[Key]>> {
        let (keys, read_at) = self.keys.as_ref()?;
        let named = kid.is_none_or(|kid| keys.iter().any(|key| key.kid.as_deref() == Some(kid)));
        (named && now - *read_at < age_max).then(|| Arc::clone(keys))
    }
}

impl Remote {
    fn last(&self) -> Last {
        self.last
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
    fn set(&self, change: impl FnOnce(&mut Last)) {
        change(&mut self.last.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Jwks {
    pub(in crate::tenant) fn new(outbound: Outbound, clock: Clock) -> Self {
        Self {
            outbound,
            clock,
            sets: Cache::new(ISSUERS_MAX),
        }
    }

    /// The keys that `issuer` publishes at `url`, among which `kid` may be. A `kid` that is not known makes the issuer be
    /// asked again, within limits.
    pub(in crate::tenant) async fn keys(
        &self,
        issuer: &issuer::Model,
        url: &str,
        kid: Option<&str>,
    ) -> Result<Arc<[Key]>> {
        let place = (issuer.id, issuer.updated_at);
        let remote = self.sets.get_with(place, async { Arc::default() }).await;
        let now = self.clock.now();
        if let Some(keys) = remote.last().keys(now, FRESH, kid) {
            return Ok(keys);
        }
        let stale = remote.last().keys(now, STALE_MAX, kid);
        let _asking = match (remote.asking.try_lock(), &stale) {
            (Ok(asking), _) => asking,
            // Somebody asks already, and these keys will do.
            (Err(_), Some(keys)) => return Ok(Arc::clone(keys)),
            (Err(_), None) => remote.asking.lock().await,
        };
        let last = remote.last();
        if let Some(keys) = last.keys(now, FRESH, kid) {
            return Ok(keys);
        }
        if last.asked_at.is_none_or(|at| now - at >= ASKED_EVERY) {
            remote.set(|last| last.asked_at = Some(now));
            match self.ask(url).await {
                Ok(keys) => {
                    count("ok");
                    let keys: Arc<[Key]> = keys.into();
                    remote.set(|last| last.keys = Some((Arc::clone(&keys), now)));
                    return Ok(keys);
                }
                Err(error) => {
                    count("failed");
                    tracing::warn!(
                        issuer = %issuer.id,
                        tenant = %issuer.tenant_id,
                        error = format!("{error:#}"),
                        "an issuer's keys could not be read"
                    );
                }
            }
        }
        stale
            // The set is known, and the key is not in it.
            .or_else(|| last.keys(now, FRESH, None))
            .ok_or_else(unavailable)
    }

    async fn ask(&self, url: &str) -> anyhow::Result<Vec<Key>> {
        // Looked at when it was saved, too; the settings may have changed since.
        let url = self.outbound.base_url("jwksUrl", url)?;
        let mut answer = self
            .outbound
            .client()
            .get(url)
            .timeout(TIMEOUT)
            .send()
            .await?;
        // A redirect is no answer, either.
        anyhow::ensure!(
            answer.status() == reqwest::StatusCode::OK,
            "it answered {}",
            answer.status()
        );
        let mut text = vec![];
        while let Some(chunk) = answer.chunk().await? {
            anyhow::ensure!(
                text.len() + chunk.len() <= SET_BYTES_MAX,
                "it answered more than {SET_BYTES_MAX} bytes"
            );
            text.extend_from_slice(&chunk);
        }
        key::set(&text).ok_or_else(|| anyhow::anyhow!("it answered no JWK Set"))
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("growthos_tenant_jwks_asked_total", "outcome" => outcome).increment(1);
}

fn unavailable() -> Error {
    Error::Unavailable(Unavailable {
        code: "ISSUER_UNAVAILABLE",
        message: "the issuer's keys could not be read".to_owned(),
        retry_after: None,
    })
}
