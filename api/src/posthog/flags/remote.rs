//! Flags that only PostHog can decide: asked for one subject at a time, remembered for a while, and kept as last
//! known when PostHog does not answer.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use async_graphql::Json;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{FeatureFlagValue, FlagSource, FlagSubject, Patience};
use crate::posthog::{
    Posthog,
    client::{Cause, Endpoint, Failure},
    connection::{Connection, ConnectionKey},
};

/// How long an answer counts as current.
const FRESH: TimeDelta = TimeDelta::seconds(30);

/// One subject's one flag, or all its flags, where `None`.
pub(in crate::posthog) type AnswerKey = (ConnectionKey, String, Option<String>);

/// What PostHog answered.
#[derive(Clone)]
pub(in crate::posthog) struct Remembered {
    /// A hash of what PostHog was told of the subject.
    subject: u64,
    at: DateTime<Utc>,
    /// One for a flag, none where there is no such flag.
    values: Vec<FeatureFlagValue>,
}

/// What is to be had of the flags that were asked for.
#[derive(Debug, Default)]
pub(super) struct Remote {
    pub(super) values: Vec<FeatureFlagValue>,
    /// Keys without an answer, now or earlier.
    pub(super) unanswered: Vec<String>,
    /// Why PostHog was of no help.
    pub(super) failure: Option<Failure>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    flags: BTreeMap<String, Flag>,
    #[serde(default, rename = "quotaLimited")]
    quota_limited: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Flag {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    reason: Option<Reason>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    failed: bool,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    condition_index: Option<usize>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    payload: Option<Value>,
}

impl Posthog {
    /// Asks PostHog for flags of `keys`, or for all, while there is patience.
    pub(super) async fn remote_flags(
        &self,
        connection: &Connection,
        subject: &FlagSubject,
        keys: Option<Vec<String>>,
        patience: &Patience,
    ) -> Remote {
        let now = self.clock.now();
        let known = subject.fingerprint();
        let mut remote = Remote::default();
        let mut missing = Vec::new();
        for key in wanted(keys.as_ref()) {
            match self.remembered(connection, subject, key.clone()).await {
                Some(answer) if answer.subject == known && now - answer.at < FRESH => {
                    remote.values.extend(answer.values);
                }
                _ => missing.push(key),
            }
        }
        if missing.is_empty() {
            return remote;
        }
        let keys: Vec<String> = missing.iter().flatten().cloned().collect();
        let asked = if patience.is_over() {
            Err(Failure::TIMEOUT)
        } else {
            self.ask_flags(connection, subject, &keys, patience).await
        };
        match asked {
            Ok(flags) => {
                for key in missing {
                    let values = match &key {
                        None => flags.values().flatten().cloned().collect(),
                        Some(key) => match flags.get(key) {
                            // PostHog failed on this one alone.
                            Some(None) => {
                                self.last_known(
                                    connection,
                                    subject,
                                    Some(key.clone()),
                                    &mut remote,
                                )
                                .await;
                                continue;
                            }
                            Some(Some(value)) => vec![value.clone()],
                            None => vec![],
                        },
                    };
                    remote.values.extend(values.iter().cloned());
                    let remembered = Remembered {
                        subject: known,
                        at: now,
                        values,
                    };
                    let place = (connection.cache_key(), subject.distinct_id.clone(), key);
                    self.answers.insert(place, remembered).await;
                }
            }
            Err(failure) => {
                if failure.is_timeout() {
                    patience.end();
                }
                for key in missing {
                    self.last_known(connection, subject, key, &mut remote).await;
                }
                remote.failure = Some(failure);
            }
        }
        remote
    }
    async fn last_known(
        &self,
        connection: &Connection,
        subject: &FlagSubject,
        key: Option<String>,
        remote: &mut Remote,
    ) {
        match self.remembered(connection, subject, key.clone()).await {
            Some(answer) => {
                remote
                    .values
                    .extend(answer.values.into_iter().map(|value| FeatureFlagValue {
                        source: FlagSource::LastKnown,
                        ..value
                    }));
            }
            None => remote.unanswered.extend(key),
        }
    }
    async fn remembered(
        &self,
        connection: &Connection,
        subject: &FlagSubject,
        key: Option<String>,
    ) -> Option<Remembered> {
        self.answers
            .get(&(connection.cache_key(), subject.distinct_id.clone(), key))
            .await
    }
    /// PostHog's answer by key; a flag that PostHog failed to evaluate has none.
    async fn ask_flags(
        &self,
        connection: &Connection,
        subject: &FlagSubject,
        keys: &[String],
        patience: &Patience,
    ) -> Result<BTreeMap<String, Option<FeatureFlagValue>>, Failure> {
        let mut body = json!({
            "token": connection.project_token,
            "distinct_id": subject.distinct_id,
            "person_properties": subject.properties,
            "groups": subject.groups,
            "group_properties": subject.group_properties,
            // The request comes from a server, whose place says nothing of the person.
            "geoip_disable": true,
            "evaluation_runtime": "server",
        });
        if let Some(device) = &subject.device_id {
            body["$device_id"] = json!(device);
        }
        if !keys.is_empty() {
            body["flag_keys_to_evaluate"] = json!(keys);
        }
        let mut url = connection.ingest_url("flags/");
        url.set_query(Some("v=2"));
        let send = || {
            let request = self.http().post(url.clone()).json(&body);
            self.gates
                .send_by(connection, Endpoint::Flags, request, patience.until)
        };
        let answer = match send().await {
            // As PostHog's own clients: once more after a broken connection or a gateway's failure, never else.
            Err(Failure::Down {
                cause: Cause::Transport(_) | Cause::Status(502 | 504),
                ..
            }) => send().await?,
            answer => answer?,
        };
        let body: Body =
            serde_json::from_value(answer.json()?).map_err(|e| Failure::answer(e.to_string()))?;
        if body
            .quota_limited
            .is_some_and(|limited| limited.iter().any(|what| what == "feature_flags"))
        {
            return Err(Failure::Refused {
                status: 402,
                detail: "the quota of feature flags is used up".into(),
            });
        }
        let now = self.clock.now();
        let flags = body
            .flags
            .into_iter()
            .map(|(key, flag)| (key.clone(), flag.value(key, now)));
        Ok(flags.collect())
    }
}

fn wanted(keys: Option<&Vec<String>>) -> Vec<Option<String>> {
    match keys {
        None => vec![None],
        Some(keys) => keys.iter().cloned().map(Some).collect(),
    }
}

impl Flag {
    fn value(self, key: String, now: DateTime<Utc>) -> Option<FeatureFlagValue> {
        let payload = self
            .metadata
            .and_then(|metadata| metadata.payload)
            .filter(|payload| !payload.is_null());
        // A payload is JSON in a string; what is not JSON is the string itself.
        let payload = payload.map(|payload| match &payload {
            Value::String(text) => serde_json::from_str(text).unwrap_or(payload),
            _ => payload,
        });
        let reason = self.reason;
        (!self.failed).then(|| FeatureFlagValue {
            key,
            enabled: self.enabled,
            variant: self.variant,
            payload: payload.map(Json),
            condition_index: reason.as_ref().and_then(|reason| reason.condition_index),
            reason: reason.and_then(|reason| reason.code),
            source: FlagSource::Remote,
            as_of: now.into(),
        })
    }
}

impl FlagSubject {
    /// A hash of everything that PostHog is told.
    fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (&self.distinct_id, &self.device_id, &self.groups).hash(&mut hash);
        let properties =
            |properties: &Map<String, Value>| Value::Object(properties.clone()).to_string();
        properties(&self.properties).hash(&mut hash);
        for (group, own) in &self.group_properties {
            (group, properties(own)).hash(&mut hash);
        }
        hash.finish()
    }
}
