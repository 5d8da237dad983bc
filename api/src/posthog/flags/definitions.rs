//! Flag definitions, polled while somebody asks for flags: a reader gets what is there and never waits for news.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::SimpleObject;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header;
use serde_json::Value;
use tokio::sync::watch;

use crate::posthog::{
    Posthog,
    client::{Answer, Endpoint, Failure},
    connection::Connection,
    flag,
};

/// How old definitions may be before they are asked for again; PostHog's clients poll as often.
const FRESH: TimeDelta = TimeDelta::seconds(30);
/// Definitions so old are only used when PostHog does not answer.
const STALE: TimeDelta = TimeDelta::minutes(5);
/// Waits after failures: PostHog may be still preparing a new project's definitions.
const FIRST_RETRY: TimeDelta = TimeDelta::seconds(5);
/// Where PostHog refuses the credential, waits grow to this.
const RETRY_MAX: TimeDelta = TimeDelta::seconds(60);
/// How long a reader waits for definitions where there are none.
const FIRST_WAIT: Duration = Duration::from_secs(3);

/// One project's definitions, compiled.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) flags: flag::Definitions,
    pub(super) shown: Vec<FeatureFlag>,
    etag: Option<String>,
}

/// A feature flag of the PostHog project, as it is defined there.
#[derive(Clone, Debug, SimpleObject)]
pub struct FeatureFlag {
    /// What code names it by.
    pub key: String,
    /// What people call it; PostHog keeps the flag's description here.
    pub name: String,
    /// Whether it is switched on at all.
    pub active: bool,
    /// Its variants; empty for a flag that is only on or off.
    pub variants: Vec<FeatureFlagVariant>,
    /// PostHog's number of it.
    #[graphql(skip)]
    pub id: i64,
    /// Counts its edits.
    #[graphql(skip)]
    pub version: Option<i64>,
    /// Whether an experiment reads its exposures.
    #[graphql(skip)]
    pub has_experiment: bool,
}

/// One variant of a feature flag.
#[derive(Clone, Debug, SimpleObject)]
pub struct FeatureFlagVariant {
    /// What code names it by.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// The share of those the flag is on for, 0 to 100.
    pub rollout_percentage: Option<f64>,
}

/// What is known of one connection's definitions.
pub(in crate::posthog) struct Poll {
    state: Mutex<State>,
    /// Rings after each attempt.
    attempts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    loaded: Option<Arc<Loaded>>,
    /// When PostHog last confirmed them.
    as_of: Option<DateTime<Utc>>,
    next_at: Option<DateTime<Utc>>,
    failures: i32,
    failure: Option<Failure>,
    polling: bool,
}

/// Definitions, when PostHog confirmed them, and why there is nothing newer.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) loaded: Option<(Arc<Loaded>, DateTime<Utc>)>,
    pub(super) failure: Option<Failure>,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            attempts: watch::Sender::new(0),
        }
    }
}

impl Poll {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn known(&self) -> Known {
        let state = self.state();
        Known {
            loaded: state.loaded.clone().zip(state.as_of),
            failure: state.failure.clone(),
        }
    }
    /// Whether an attempt is due, which is the caller's to make; and whether what is there is too old to be used
    /// without waiting for the attempt under way.
    fn look(&self, now: DateTime<Utc>) -> (bool, bool) {
        let mut state = self.state();
        let due = !state.polling && state.next_at.is_none_or(|at| now >= at);
        state.polling |= due;
        let old = state.loaded.is_none() || state.as_of.is_none_or(|at| now - at > STALE);
        (due, old && state.polling)
    }
    fn settle(&self, outcome: Result<Option<Loaded>, Failure>, now: DateTime<Utc>) {
        let mut state = self.state();
        state.polling = false;
        match outcome {
            Ok(news) => {
                if let Some(news) = news {
                    state.loaded = Some(Arc::new(news));
                }
                state.as_of = Some(now);
                state.failures = 0;
                state.failure = None;
                state.next_at = Some(now + FRESH);
            }
            Err(failure) => {
                state.failures = state.failures.saturating_add(1);
                let wait = match &failure {
                    Failure::Denied { .. } | Failure::Limited { .. } => (FIRST_RETRY
                        * 2_i32.pow(state.failures.clamp(1, 6).cast_unsigned()))
                    .min(RETRY_MAX),
                    _ if state.loaded.is_none() => FIRST_RETRY,
                    _ => FRESH,
                };
                // Over its quota a project has no flags, old ones neither.
                if matches!(failure, Failure::Refused { status: 402, .. }) {
                    state.loaded = None;
                }
                state.failure = Some(failure);
                state.next_at = Some(now + wait);
            }
        }
        drop(state);
        self.attempts
            .send_modify(|attempts| *attempts = attempts.wrapping_add(1));
    }
}

impl Posthog {
    /// The definitions of a connection's project. Waits only where there are none that could be used.
    pub(super) async fn definitions(self: &Arc<Self>, connection: &Connection) -> Known {
        let fresh = async { Arc::new(Poll::default()) };
        let poll = self.polls.get_with(connection.cache_key(), fresh).await;
        let mut attempts = poll.attempts.subscribe();
        let (due, wait) = poll.look(self.clock.now());
        if due {
            let (posthog, poll, connection) = (self.clone(), poll.clone(), connection.clone());
            self.tasks
                .spawn(async move { posthog.poll(&connection, &poll).await });
        }
        if wait {
            // Without an answer in time the caller makes do with what is there.
            let _ = tokio::time::timeout(FIRST_WAIT, attempts.changed()).await;
        }
        poll.known()
    }
    async fn poll(&self, connection: &Connection, poll: &Poll) {
        let etag = poll
            .known()
            .loaded
            .and_then(|(loaded, _)| loaded.etag.clone());
        let outcome = self.fetch_definitions(connection, etag).await;
        poll.settle(outcome, self.clock.now());
    }
    /// `None` when they are still the same.
    async fn fetch_definitions(
        &self,
        connection: &Connection,
        etag: Option<String>,
    ) -> Result<Option<Loaded>, Failure> {
        let key = connection.key().map_err(|e| Failure::Denied {
            status: 401,
            detail: e.to_string(),
        })?;
        let mut url = connection.ingest_url("flags/definitions");
        url.set_query(Some("send_cohorts"));
        url.query_pairs_mut()
            .append_pair("token", &connection.project_token);
        let mut request = self.http().get(url).bearer_auth(key);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let answer = self
            .gates
            .send(connection, Endpoint::Definitions, request)
            .await?;
        if answer.status == 304 {
            return Ok(None);
        }
        compile(&answer).map(Some)
    }
}

fn compile(answer: &Answer) -> Result<Loaded, Failure> {
    let body = answer.json()?;
    let flags = flag::Definitions::parse(&body).map_err(|e| Failure::answer(e.to_string()))?;
    let shown = body
        .get("flags")
        .and_then(Value::as_array)
        .map(|flags| flags.iter().filter_map(shown).collect());
    Ok(Loaded {
        flags,
        shown: shown.unwrap_or_default(),
        etag: answer.etag.clone(),
    })
}

fn shown(flag: &Value) -> Option<FeatureFlag> {
    let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
    let variants = flag
        .pointer("/filters/multivariate/variants")
        .and_then(Value::as_array);
    let variant = |variant: &Value| {
        Some(FeatureFlagVariant {
            key: text(variant, "key")?,
            name: text(variant, "name").filter(|name| !name.is_empty()),
            rollout_percentage: variant.get("rollout_percentage").and_then(Value::as_f64),
        })
    };
    Some(FeatureFlag {
        key: text(flag, "key")?,
        name: text(flag, "name").unwrap_or_default(),
        active: flag
            .get("active")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        variants: variants
            .map(|variants| variants.iter().filter_map(variant).collect())
            .unwrap_or_default(),
        id: flag.get("id").and_then(Value::as_i64).unwrap_or_default(),
        version: flag.get("version").and_then(Value::as_i64),
        has_experiment: flag
            .get("has_experiment")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }
    fn loaded() -> Loaded {
        Loaded {
            flags: flag::Definitions::parse(&serde_json::json!({"flags": []})).unwrap(),
            shown: vec![],
            etag: None,
        }
    }
    const fn denied() -> Failure {
        Failure::Denied {
            status: 401,
            detail: String::new(),
        }
    }

    #[test]
    fn definitions_are_asked_for_every_thirty_seconds_by_one_reader() {
        let poll = Poll::default();
        assert_eq!(poll.look(at(0)), (true, true));
        assert_eq!(
            poll.look(at(0)),
            (false, true),
            "one attempt at a time, all others wait"
        );
        poll.settle(Ok(Some(loaded())), at(1));
        assert_eq!(poll.look(at(30)), (false, false));
        assert_eq!(
            poll.look(at(31)),
            (true, false),
            "stale ones are used while new ones are fetched"
        );
        poll.settle(Ok(None), at(32));
        assert_eq!(poll.known().loaded.unwrap().1, at(32));
        assert_eq!(
            poll.look(at(600)),
            (true, true),
            "very old ones are waited for"
        );
    }

    #[test]
    fn a_refused_credential_is_tried_less_and_less_and_the_last_good_definitions_stay() {
        let poll = Poll::default();
        poll.settle(Ok(Some(loaded())), at(0));
        let mut now = 0;
        for wait in [10, 20, 40, 60, 60] {
            poll.settle(Err(denied()), at(now));
            assert!(!poll.look(at(now + wait - 1)).0);
            now += wait;
            assert!(poll.look(at(now)).0);
        }
        assert!(poll.known().loaded.is_some());
    }

    #[test]
    fn a_project_over_its_quota_has_no_flags() {
        let poll = Poll::default();
        poll.settle(Ok(Some(loaded())), at(0));
        poll.settle(
            Err(Failure::Refused {
                status: 402,
                detail: String::new(),
            }),
            at(30),
        );
        assert!(poll.known().loaded.is_none());
        assert!(poll.look(at(60)).0);
    }
}
