//! Feature flags of contacts: decided here from polled definitions; what only PostHog can decide is asked there.

mod definitions;
mod remote;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_graphql::{Enum, Json, SimpleObject};
use chrono::{DateTime, Utc};
use entity::{ContactId, contact_identifier::Kind};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;

use self::definitions::Loaded;
use super::{Posthog, client::Failure, connection::Connection, flag};
use crate::{
    base::{Cx, Error, Result, instant},
    contact,
};

pub use self::definitions::{FeatureFlag, FeatureFlagVariant};
pub(super) use self::{
    definitions::Poll,
    remote::{AnswerKey, Remembered},
};

/// Subjects of one page for whom PostHog is asked at once.
const REMOTE_AT_ONCE: usize = 4;
/// How long all of a page's questions to PostHog may take together: as long as its clients give one.
const REMOTE_WAIT: Duration = Duration::from_secs(3);

/// A feature flag's value for one contact.
#[derive(Clone, Debug, PartialEq, SimpleObject)]
pub struct FeatureFlagValue {
    /// The flag's key.
    pub key: String,
    /// Whether the flag is on.
    pub enabled: bool,
    /// The variant, for a flag that is on and has variants.
    pub variant: Option<String>,
    /// What the flag's author attached to the value.
    pub payload: Option<Json<Value>>,
    /// Why it has this value, in PostHog's words, such as `condition_match`.
    pub reason: Option<String>,
    /// Where the value comes from.
    pub source: FlagSource,
    /// How current it is: when PostHog last confirmed the definitions, or answered.
    pub as_of: instant::Instant,
    /// The condition that decided, from 0.
    #[graphql(skip)]
    pub condition_index: Option<usize>,
}

/// Where a feature flag's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum FlagSource {
    /// Decided here, from PostHog's definitions.
    Local,
    /// Decided by PostHog, now or up to 30 seconds ago.
    Remote,
    /// PostHog's last answer; it gives none now.
    LastKnown,
    /// PostHog gives no answer and never gave one: the flag counts as off.
    Default,
}

/// One contact's flags, or why there are none.
pub(super) type Evaluated = Result<Vec<FeatureFlagValue>, Arc<Error>>;

/// Whom flags are evaluated for.
#[derive(Clone, Debug, Default)]
pub struct FlagSubject {
    pub distinct_id: String,
    /// The id before the person became known: leads to the contact while `distinct_id` does not yet.
    pub anon_distinct_id: Option<String>,
    pub device_id: Option<String>,
    /// Person properties.
    pub properties: Map<String, Value>,
    /// Group type to group key.
    pub groups: BTreeMap<String, String>,
    /// Group type to that group's properties.
    pub group_properties: BTreeMap<String, Map<String, Value>>,
}

/// What is waited for PostHog, for all subjects of a page together.
struct Patience {
    until: Instant,
    /// PostHog let somebody of the page wait in vain: the others do not.
    ended: AtomicBool,
}

impl Patience {
    fn new() -> Self {
        Self {
            until: Instant::now() + REMOTE_WAIT,
            ended: AtomicBool::new(false),
        }
    }
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || Instant::now() >= self.until
    }
    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Posthog {
    /// Flags for whoever has `subject.distinct_id`, or else its `anon_distinct_id`: a contact's flags are those of its stable
    /// distinct id and its traits, over which the subject's properties go; of unknown ids only what the subject says is known.
    /// `keys`: all flags without.
    pub async fn flags_for(
        self: &Arc<Self>,
        cx: &Cx,
        mut subject: FlagSubject,
        keys: Option<Vec<String>>,
    ) -> Result<Vec<FeatureFlagValue>> {
        let given: Vec<String> = [
            Some(subject.distinct_id.clone()),
            subject.anon_distinct_id.take(),
        ]
        .into_iter()
        .flatten()
        .collect();
        let (connection, known) = cx
            .snapshot(async |scope| {
                let connection = self.connection(scope).await?;
                let mut found = None;
                for id in &given {
                    if found.is_none() {
                        found = contact::find_by(scope, Kind::DistinctId, id.trim()).await?;
                    }
                }
                let Some(row) = found else {
                    return Ok((connection, None));
                };
                let traits = contact::traits(scope, &[row.id]).await?.remove(&row.id);
                Ok((
                    connection,
                    Some((row.distinct_id, traits.unwrap_or_default())),
                ))
            })
            .await?;
        if let Some((distinct_id, mut traits)) = known {
            subject.distinct_id = distinct_id;
            traits.append(&mut subject.properties);
            subject.properties = traits;
        }
        let known = self.definitions(&connection).await;
        self.evaluate(&connection, &known, subject, keys, &Patience::new())
            .await
    }
    /// A page's flags: all of a contact's (`None`), or those of some keys. A contact for whom nothing is known and PostHog
    /// does not answer fails alone.
    pub(super) async fn flags_of_contacts(
        self: &Arc<Self>,
        cx: &Cx,
        wanted: HashMap<ContactId, Option<Vec<String>>>,
    ) -> Result<HashMap<ContactId, Evaluated>, Arc<Error>> {
        let contacts: Vec<ContactId> = wanted.keys().copied().collect();
        let (connection, rows, mut traits) = self.subjects(cx, &contacts).await?;
        let known = self.definitions(&connection).await;
        let mut wanted = wanted;
        let subjects = rows.into_iter().filter_map(|row| {
            let subject = FlagSubject {
                distinct_id: row.distinct_id,
                properties: traits.remove(&row.id).unwrap_or_default(),
                ..FlagSubject::default()
            };
            Some((row.id, subject, wanted.remove(&row.id)?))
        });
        let subjects: Vec<_> = subjects.collect();
        let patience = Patience::new();
        let (connection, known, patience) = (&connection, &known, &patience);
        let evaluations = subjects
            .into_iter()
            .map(|(contact, subject, keys)| async move {
                let values = self
                    .evaluate(connection, known, subject, keys, patience)
                    .await;
                (contact, values.map_err(Arc::new))
            });
        Ok(stream::iter(evaluations)
            .buffered(REMOTE_AT_ONCE)
            .collect()
            .await)
    }
    /// A flag's value for each of these contacts, as far as it can be decided here; fails where the definitions are not known, or
    /// the project has no such flag.
    pub async fn decided(
        self: &Arc<Self>,
        cx: &Cx,
        key: &str,
        contacts: &[ContactId],
    ) -> Result<HashMap<ContactId, FeatureFlagValue>> {
        let (connection, rows, mut traits) = self.subjects(cx, contacts).await?;
        let known = self.definitions(&connection).await;
        let Some((loaded, as_of)) = &known.loaded else {
            return Err(unknown(known.failure).into());
        };
        if !defines(loaded, key) {
            return Err(Error::invalid(
                "key",
                format!("the project has no feature flag {key}"),
            ));
        }
        let now = self.clock.now();
        let decided = rows.into_iter().filter_map(|row| {
            let subject = FlagSubject {
                distinct_id: row.distinct_id,
                properties: traits.remove(&row.id).unwrap_or_default(),
                ..FlagSubject::default()
            };
            let (values, _) = locally(loaded, &subject, Some(vec![key.to_owned()]), now, *as_of);
            Some((row.id, values.into_iter().next()?))
        });
        Ok(decided.collect())
    }
    /// The connection, and what flags are decided by of these contacts.
    async fn subjects(
        &self,
        cx: &Cx,
        contacts: &[ContactId],
    ) -> Result<(
        Connection,
        Vec<entity::contact::Model>,
        HashMap<ContactId, Map<String, Value>>,
    )> {
        cx.snapshot(async |scope| {
            let connection = self.connection(scope).await?;
            let rows = scope.get_many(contacts).await?;
            let traits = contact::traits(scope, contacts).await?;
            Ok((connection, rows, traits))
        })
        .await
    }
    /// The project's flags, in PostHog's order.
    pub async fn feature_flags(self: &Arc<Self>, cx: &Cx) -> Result<Vec<FeatureFlag>> {
        let connection = self.connection(&cx.db()).await?;
        connection.key()?;
        let known = self.definitions(&connection).await;
        match known.loaded {
            Some((loaded, _)) => Ok(loaded.shown.clone()),
            None => Err(unknown(known.failure).into()),
        }
    }
    async fn evaluate(
        &self,
        connection: &Connection,
        known: &definitions::Known,
        subject: FlagSubject,
        keys: Option<Vec<String>>,
        patience: &Patience,
    ) -> Result<Vec<FeatureFlagValue>> {
        let now = self.clock.now();
        let Some((loaded, as_of)) = &known.loaded else {
            let remote = self
                .remote_flags(connection, &subject, keys, patience)
                .await;
            return match remote.failure {
                Some(failure) if remote.values.is_empty() => Err(failure.into()),
                _ => Ok(remote.values),
            };
        };
        let (mut values, undecided) = locally(loaded, &subject, keys, now, *as_of);
        if !undecided.is_empty() {
            let remote = self
                .remote_flags(connection, &subject, Some(undecided), patience)
                .await;
            values.extend(remote.values);
            let unanswered = remote
                .unanswered
                .into_iter()
                .filter(|key| defines(loaded, key));
            values.extend(unanswered.map(|key| FeatureFlagValue {
                key,
                enabled: false,
                variant: None,
                payload: None,
                reason: None,
                source: FlagSource::Default,
                as_of: now.into(),
                condition_index: None,
            }));
            let order: HashMap<&str, usize> = loaded.flags.keys().zip(0..).collect();
            values.sort_by_key(|value| order.get(value.key.as_str()).copied());
        }
        Ok(values)
    }
}

/// Why definitions are not known.
fn unknown(failure: Option<Failure>) -> Failure {
    failure.unwrap_or(Failure::TIMEOUT)
}

fn defines(loaded: &Loaded, key: &str) -> bool {
    loaded.flags.keys().any(|known| known == key)
}

/// What can be decided here, and the keys of what cannot: flags that need PostHog, and those it did not send,
/// which may exist all the same.
fn locally(
    loaded: &Loaded,
    subject: &FlagSubject,
    keys: Option<Vec<String>>,
    now: DateTime<Utc>,
    as_of: DateTime<Utc>,
) -> (Vec<FeatureFlagValue>, Vec<String>) {
    let person = flag::Subject::person(&subject.distinct_id, &subject.properties)
        .on_device(subject.device_id.as_deref())
        .in_groups(&subject.groups, &subject.group_properties);
    let evaluated: Vec<(String, Option<flag::Evaluation>)> = match keys {
        None => {
            let all = loaded.flags.evaluate_all(&person, now).into_iter();
            all.map(|(key, evaluation)| (key.to_owned(), Some(evaluation)))
                .collect()
        }
        Some(keys) => {
            let each = keys.into_iter().map(|key| {
                let evaluation = loaded.flags.evaluate(&key, &person, now);
                (key, evaluation)
            });
            each.collect()
        }
    };
    let mut values = Vec::with_capacity(evaluated.len());
    let mut undecided = Vec::new();
    for (key, evaluation) in evaluated {
        match evaluation.and_then(|evaluation| value(&key, evaluation, as_of)) {
            Some(value) => values.push(value),
            None => undecided.push(key),
        }
    }
    (values, undecided)
}

fn value(
    key: &str,
    evaluation: flag::Evaluation,
    as_of: DateTime<Utc>,
) -> Option<FeatureFlagValue> {
    let (enabled, variant) = match evaluation.outcome {
        flag::Outcome::Undecided(_) => return None,
        flag::Outcome::Value(flag::FlagValue::Bool(enabled)) => (enabled, None),
        flag::Outcome::Value(flag::FlagValue::Variant(variant)) => (true, Some(variant)),
    };
    Some(FeatureFlagValue {
        key: key.to_owned(),
        enabled,
        variant,
        payload: evaluation.payload.map(Json),
        reason: evaluation.reason.map(|reason| reason.code().to_owned()),
        source: FlagSource::Local,
        as_of: as_of.into(),
        condition_index: evaluation.condition_index,
    })
}
