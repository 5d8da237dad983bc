//! What PostHog observes of a contact, joined into it.

mod corpus;
mod join;
mod ranking;
mod statement;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_graphql::{Context, Json, Object, SimpleObject, dataloader::Loader};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{ContactId, metric};
use serde_json::Value;

use self::{
    join::{Joined, Person},
    statement::{Cell, Spec},
};
use super::{
    Posthog,
    client::Failure,
    flags::FeatureFlagValue,
    loaders::{Loaders, Wanted},
    queries,
};
use crate::{
    base::{
        Cx, Error, ErrorCode, Result,
        gql::{self, Duration, Url},
        instant::Instant,
    },
    contact,
};

pub use self::ranking::{MetricFilter, RankedPerson, Ranking, RankingWanted};
pub(super) use self::{
    corpus::{EXPRESSIONS, statements},
    join::Join,
    ranking::Rankings,
};

/// The span of a window: PostHog is not asked about longer ones for a page of contacts.
pub(super) const WINDOW_MIN: TimeDelta = TimeDelta::minutes(1);
pub(super) const WINDOW_MAX: TimeDelta = TimeDelta::days(366);
const ACTIVITY_WINDOW: TimeDelta = TimeDelta::days(30);

/// What a field asks of PostHog about one contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Activity {
        window_s: i64,
    },
    /// By the metric's key.
    Metric(String),
}

/// Loads a page's items in one query.
pub(super) struct AnalyticsLoader {
    cx: Cx,
    posthog: Arc<Posthog>,
}

impl AnalyticsLoader {
    pub(super) const fn new(cx: Cx, posthog: Arc<Posthog>) -> Self {
        Self { cx, posthog }
    }
    async fn answer(
        &self,
        asked: &[(ContactId, Item)],
    ) -> Result<HashMap<(ContactId, Item), Answer>> {
        let contacts: BTreeSet<ContactId> = asked.iter().map(|(contact, _)| *contact).collect();
        let contacts: Vec<ContactId> = contacts.into_iter().collect();
        let keys: BTreeSet<&str> = asked.iter().filter_map(|(_, item)| item.metric()).collect();
        let (connection, metrics, mut ids) = self
            .cx
            .snapshot(async |scope| {
                let connection = self.posthog.connection(scope).await?;
                let metrics = queries::metrics_by_key(scope, keys).await?;
                let ids = contact::distinct_ids(scope, &contacts).await?;
                Ok((connection, metrics, ids))
            })
            .await?;
        connection.key()?;
        let specs: HashMap<&Item, Arc<Spec>> = asked
            .iter()
            .filter_map(|(_, item)| Some((item, Arc::new(spec(item, &metrics)?))))
            .collect();
        let people = contacts.iter().filter_map(|contact| {
            // A contact always has an id of its own: one without is not there, or another tenant's.
            let ids = ids.remove(contact).filter(|ids| !ids.is_empty())?;
            Some(Person {
                contact: *contact,
                ids,
            })
        });
        let cells = self
            .posthog
            .join(
                &connection,
                people.collect(),
                specs.values().cloned().collect(),
            )
            .await;
        let answers = asked.iter().map(|(contact, item)| {
            let answer = match specs.get(item) {
                None => Err(unknown_metric(item).into()),
                Some(spec) => match cells.get(&(*contact, spec.clone())) {
                    None => Err(Error::NotFound.into()),
                    Some(Ok(joined)) => Ok(joined.clone()),
                    Some(Err(failure)) => Err(refusal(item, failure).into()),
                },
            };
            ((*contact, item.clone()), answer)
        });
        Ok(answers.collect())
    }
}

type Answer = Result<Joined, Arc<Error>>;

impl Loader<(ContactId, Item)> for AnalyticsLoader {
    type Value = Answer;
    type Error = Arc<Error>;

    async fn load(
        &self,
        asked: &[(ContactId, Item)],
    ) -> Result<HashMap<(ContactId, Item), Answer>, Arc<Error>> {
        self.answer(asked).await.map_err(Arc::new)
    }
}

impl Item {
    fn metric(&self) -> Option<&str> {
        match self {
            Self::Activity { .. } => None,
            Self::Metric(key) => Some(key),
        }
    }
}

/// What is to be asked for an item; `None` when the tenant has no such metric.
fn spec(item: &Item, metrics: &HashMap<String, metric::Model>) -> Option<Spec> {
    match item {
        Item::Activity { window_s } => Some(Spec::Activity {
            window_s: *window_s,
        }),
        Item::Metric(key) => metrics.get(key).map(|metric| Spec::Metric {
            expression: metric.expression.clone(),
            window_s: metric.window_s,
        }),
    }
}

fn unknown_metric(item: &Item) -> Error {
    let key = item.metric().unwrap_or_default();
    Error::user(
        ErrorCode::NotFound,
        "key",
        format!("there is no metric with the key {key:?}"),
    )
}

fn refusal(item: &Item, failure: &Failure) -> Error {
    match (item, failure) {
        (
            Item::Metric(key),
            Failure::Refused {
                status: 400,
                detail,
            },
        ) => Error::invalid(
            "key",
            format!("PostHog refused the expression of the metric {key:?}: {detail}"),
        ),
        _ => failure.clone().into(),
    }
}

/// What PostHog observes of a contact, under all its ids. Each field is null, with an error at its path, while PostHog
/// does not answer, and for who lacks the scope `analytics:read`; the contact stands.
pub struct ContactAnalytics {
    contact: ContactId,
}

impl ContactAnalytics {
    /// Of the contact with this id: a root, not one that was absorbed.
    pub const fn new(contact: ContactId) -> Self {
        Self { contact }
    }
    async fn item(&self, ctx: &Context<'_>, item: Item) -> Result<Joined, Arc<Error>> {
        Loaders::of(ctx)?.item(self.contact, item).await
    }
}

impl Loaders {
    /// The request's own.
    pub fn of<'a>(ctx: &Context<'a>) -> Result<&'a Self> {
        ctx.data_opt().ok_or(Error::Forbidden)
    }
    async fn item(&self, contact: ContactId, item: Item) -> Result<Joined, Arc<Error>> {
        let loaded = self.analytics.ask((contact, item)).await?;
        loaded.unwrap_or_else(|| Err(Error::NotFound.into()))
    }
    /// One of the tenant's metrics for a contact, and when PostHog computed it; in one query with whatever else is asked for in the
    /// same breath.
    pub async fn metric(
        &self,
        contact: ContactId,
        key: &str,
    ) -> Result<(Value, DateTime<Utc>), Arc<Error>> {
        let joined = self.item(contact, Item::Metric(key.to_owned())).await?;
        match joined.cell {
            Cell::Metric(value) => Ok((value, joined.as_of)),
            Cell::Activity(_) => Err(Error::NotFound.into()),
        }
    }
    /// One feature flag's value for a contact; `None` when there is no such flag.
    pub async fn flag(
        &self,
        contact: ContactId,
        key: &str,
    ) -> Result<Option<FeatureFlagValue>, Arc<Error>> {
        let asked = (contact, Wanted::Key(key.to_owned()));
        let values = self.flags.ask(asked).await?.unwrap_or_else(|| Ok(vec![]))?;
        Ok(values.into_iter().next())
    }
}

/// Reads a window in seconds, which came by the input `field`.
pub(super) fn window_s(field: &str, window: Duration) -> Result<i64> {
    if (WINDOW_MIN..=WINDOW_MAX).contains(&window.0) {
        Ok(window.0.num_seconds())
    } else {
        Err(Error::invalid(field, "a window is between PT1M and P366D"))
    }
}

/// What PostHog observes of a contact, under all its ids. Each field is null, with an error at its path, while PostHog
/// does not answer, and for who lacks the scope `analytics:read`; the contact stands.
#[Object]
impl ContactAnalytics {
    /// What the contact did lately. Events of the last minute may be missing: `asOf` says when PostHog counted.
    async fn activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "How far back to look, PT1M to P366D.",
            default_with = "Duration(ACTIVITY_WINDOW)"
        )]
        window: Duration,
    ) -> Option<async_graphql::Result<ContactActivity>> {
        let found = async {
            let window_s = window_s("window", window)?;
            let joined = self.item(ctx, Item::Activity { window_s }).await?;
            let activity = ContactActivity::new(joined);
            Ok(Some(activity.ok_or(Error::NotFound)?))
        };
        // Boxed, here and below: a page's query waits in it, 16 kB of the stack otherwise.
        Box::pin(gql::nullable(ctx, gql::ANALYTICS_READ, found)).await
    }

    /// One of the tenant's metrics, for this contact.
    async fn metric(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The metric's key, as metricSave took it.")] key: String,
    ) -> Option<async_graphql::Result<MetricValue>> {
        let found = async {
            let (value, as_of) = Loaders::of(ctx)?.metric(self.contact, &key).await?;
            Ok(Some(MetricValue {
                key,
                value: Json(value),
                as_of: as_of.into(),
            }))
        };
        Box::pin(gql::nullable(ctx, gql::ANALYTICS_READ, found)).await
    }

    /// One feature flag's value for this contact; null when there is no such flag. Reading it tells PostHog nothing: it is no
    /// exposure of an experiment.
    async fn feature_flag(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The flag's key.")] key: String,
    ) -> Option<async_graphql::Result<FeatureFlagValue>> {
        let found = async { Ok(Loaders::of(ctx)?.flag(self.contact, &key).await?) };
        gql::nullable(ctx, gql::ANALYTICS_READ, found).await
    }

    /// Feature flags' values for this contact, in the order of their definitions. Reading them tells PostHog nothing: it is no
    /// exposure of an experiment.
    async fn feature_flags(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only the flags of these keys, at most 100; those that do not exist are left out. Without it, all flags.",
            validator(max_items = 100)
        )]
        keys: Option<Vec<String>>,
    ) -> Option<async_graphql::Result<Vec<FeatureFlagValue>>> {
        let found = async {
            let loader = &Loaders::of(ctx)?.flags;
            let Some(keys) = keys else {
                let asked = (self.contact, Wanted::All);
                let found = loader.ask(asked).await?;
                return Ok(Some(found.unwrap_or_else(|| Ok(vec![]))?));
            };
            let asked = keys
                .into_iter()
                .map(|key| loader.ask((self.contact, Wanted::Key(key))));
            let found = futures_util::future::try_join_all(asked).await?;
            let values: Vec<_> = found.into_iter().flatten().collect::<Result<_, _>>()?;
            Ok(Some(values.into_iter().flatten().collect()))
        };
        gql::nullable(ctx, gql::ANALYTICS_READ, found).await
    }

    /// The person's page in PostHog.
    async fn person_url(&self, ctx: &Context<'_>) -> Option<async_graphql::Result<Url>> {
        let found = async {
            let url = Loaders::of(ctx)?.persons.ask(self.contact).await?;
            Ok(url.map(|url| Url(url.into())))
        };
        gql::nullable(ctx, gql::ANALYTICS_READ, found).await
    }
}

/// What a contact did in a window.
#[derive(SimpleObject)]
pub struct ContactActivity {
    /// Events of any name.
    event_count: i64,
    /// Events named `$pageview`.
    pageview_count: i64,
    /// Different sessions.
    session_count: i64,
    /// Different days with an event, in the PostHog project's time zone.
    active_days: i64,
    /// The first event in the window; null without any.
    first_seen_at: Option<Instant>,
    /// The last event in the window; null without any.
    last_seen_at: Option<Instant>,
    /// The URL of the last event that had one.
    last_url: Option<String>,
    /// When PostHog counted.
    as_of: Instant,
}

impl ContactActivity {
    fn new(joined: Joined) -> Option<Self> {
        let Cell::Activity(activity) = joined.cell else {
            return None;
        };
        Some(Self {
            event_count: activity.events,
            pageview_count: activity.pageviews,
            session_count: activity.sessions,
            active_days: activity.active_days,
            first_seen_at: activity.first_seen_at.map(Instant),
            last_seen_at: activity.last_seen_at.map(Instant),
            last_url: activity.last_url,
            as_of: joined.as_of.into(),
        })
    }
}

/// A metric's value for one contact.
#[derive(SimpleObject)]
pub struct MetricValue {
    /// The metric's key.
    key: String,
    /// What the expression gives: a number, a text, a list, or null.
    value: Json<Value>,
    /// When PostHog computed it.
    as_of: Instant,
}
