//! A nudge and its versions.

use std::sync::Arc;

use async_graphql::{Context, ID, Json, Object, SimpleObject};
use chrono::TimeDelta;
use entity::{Id, nudge, nudge_version};

use super::super::{
    queries::{Counts, Reads, VERSIONS_LISTED},
    rules::{Action, Condition, Content, Operator},
};
use crate::base::{
    Result,
    gql::{self, Duration},
    instant::Instant,
};

/// A prompt that answers what a contact does.
pub struct Nudge(Arc<nudge::Model>);

impl From<nudge::Model> for Nudge {
    fn from(row: nudge::Model) -> Self {
        Self(Arc::new(row))
    }
}
impl From<Arc<nudge::Model>> for Nudge {
    fn from(row: Arc<nudge::Model>) -> Self {
        Self(row)
    }
}

/// A prompt that answers what a contact does.
#[Object]
impl Nudge {
    /// The nudge's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What the tenant's code calls it; unique in the tenant, and never changes.
    async fn key(&self) -> &str {
        &self.0.key
    }
    /// What the tenant's people call it.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// When it was made.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was last saved, published or archived.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn updated_at(&self) -> Instant {
        self.0.updated_at.into()
    }
    /// When it was ended; null while it may run.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn archived_at(&self) -> Option<Instant> {
        self.0.archived_at.map(Instant)
    }
    /// The version that runs; null before the first publishing.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn live_version(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<NudgeVersion>> {
        let Some(id) = self.0.live_version_id else {
            return Ok(None);
        };
        Ok(Reads::of(ctx)?.versions.ask(id).await?.map(NudgeVersion))
    }
    /// The version that can still be changed; null when the newest one is published.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn draft_version(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<NudgeVersion>> {
        let newest = self.newest_versions(ctx).await?.into_iter().next();
        Ok(newest
            .filter(|version| version.published_at.is_none())
            .map(NudgeVersion))
    }
    /// The newest 50 versions, newest first.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; at most 50.", default = 10)] first: u32,
    ) -> async_graphql::Result<Vec<NudgeVersion>> {
        let most = u64::from(first).min(VERSIONS_LISTED);
        let newest = self.newest_versions(ctx).await?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(newest.into_iter().take(most).map(NudgeVersion).collect())
    }
    /// How many deliveries there were, by what happened to them.
    #[graphql(guard = "gql::NUDGES_READ", visible = "gql::nudges_read")]
    async fn deliveries(&self, ctx: &Context<'_>) -> async_graphql::Result<NudgeDeliveryCounts> {
        let counts = Reads::of(ctx)?.counts.ask(self.0.id).await?;
        Ok(counts.unwrap_or_default().into())
    }
}

impl Nudge {
    async fn newest_versions(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Vec<Arc<nudge_version::Model>>> {
        Ok(Reads::of(ctx)?
            .newest_versions
            .ask(self.0.id)
            .await?
            .unwrap_or_default())
    }
}

/// The nudge of this id; `None` where there is none.
pub async fn find(
    ctx: &Context<'_>,
    id: Id<nudge::Entity>,
) -> async_graphql::Result<Option<Nudge>> {
    Ok(Reads::of(ctx)?.nudges.ask(id).await?.map(Nudge))
}

/// The version of this id; `None` where there is none.
pub async fn find_version(
    ctx: &Context<'_>,
    id: Id<nudge_version::Entity>,
) -> async_graphql::Result<Option<NudgeVersion>> {
    Ok(Reads::of(ctx)?.versions.ask(id).await?.map(NudgeVersion))
}

/// How many deliveries of a nudge there were. One delivery may count in several of them.
#[derive(SimpleObject)]
struct NudgeDeliveryCounts {
    /// Offers that were made.
    offered: i64,
    /// Deliveries that were shown.
    displayed: i64,
    /// Deliveries whose action was used.
    clicked: i64,
    /// Deliveries whose purpose was fulfilled.
    completed: i64,
    /// Deliveries that the contact closed.
    dismissed: i64,
    /// Deliveries that were taken back.
    withdrawn: i64,
}

impl From<Counts> for NudgeDeliveryCounts {
    fn from(counts: Counts) -> Self {
        let Counts {
            offered,
            displayed,
            clicked,
            completed,
            dismissed,
            withdrawn,
        } = counts;
        Self {
            offered,
            displayed,
            clicked,
            completed,
            dismissed,
            withdrawn,
        }
    }
}

/// What a nudge says, where, and when. A published one never changes.
pub struct NudgeVersion(Arc<nudge_version::Model>);

/// What a nudge says, where, and when. A published one never changes.
#[Object]
impl NudgeVersion {
    /// The version's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// 1 for the nudge's first version, and one more for each.
    async fn number(&self) -> i32 {
        self.0.number
    }
    /// What it says.
    async fn content(&self) -> async_graphql::Result<NudgeContent> {
        Ok(NudgeContent::of(&self.0)?)
    }
    /// Where it is shown.
    async fn surface(&self) -> &str {
        &self.0.surface
    }
    /// What it answers.
    async fn trigger(&self) -> async_graphql::Result<NudgeTrigger> {
        let conditions: Vec<Condition> = serde_json::from_value(self.0.conditions.clone())?;
        Ok(NudgeTrigger {
            event: self.0.trigger_event.clone(),
            conditions: conditions.into_iter().map(NudgeCondition::from).collect(),
        })
    }
    /// Higher ones come first; -1000 to 1000.
    async fn priority(&self) -> i32 {
        self.0.priority
    }
    /// How long an offer stands; null: for ever.
    async fn expires_after(&self) -> Option<Duration> {
        self.0
            .expires_after_s
            .and_then(TimeDelta::try_seconds)
            .map(Duration)
    }
    /// How often one contact may see the nudge, all its versions counted; null: no limit.
    async fn cap_per_contact(&self) -> Option<i32> {
        self.0.cap_per_contact
    }
    /// When it was published; null while it is a draft.
    async fn published_at(&self) -> Option<Instant> {
        self.0.published_at.map(Instant)
    }
    /// When it was first saved.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
}

/// What a nudge says: plain text, without markup.
#[derive(SimpleObject)]
pub(super) struct NudgeContent {
    /// One line, at most 120 characters.
    title: String,
    /// At most 2,000 characters, perhaps several lines.
    body: String,
    /// What the contact can do about it; null: nothing but read.
    action: Option<NudgeAction>,
}

/// What a contact can do about a nudge.
#[derive(SimpleObject)]
struct NudgeAction {
    /// What stands on the button.
    label: String,
    /// Where it leads: an http or https URL, or a path of the surface's own site.
    url: String,
}

impl NudgeContent {
    pub(super) fn of(version: &nudge_version::Model) -> Result<Self> {
        let content: Content = serde_json::from_value(version.content.clone())?;
        let action = |Action { label, url }| NudgeAction { label, url };
        Ok(Self {
            title: content.title,
            body: content.body,
            action: content.action.map(action),
        })
    }
}

/// Which events a nudge answers.
#[derive(SimpleObject)]
struct NudgeTrigger {
    /// The event's name.
    event: String,
    /// What its properties must be; all of them hold.
    conditions: Vec<NudgeCondition>,
}

/// One comparison of a property of an event.
#[derive(SimpleObject)]
struct NudgeCondition {
    /// The property's name.
    property: String,
    /// How it is compared.
    operator: Operator,
    /// What it is compared with; null with `EXISTS` and `NOT_EXISTS`.
    value: Option<Json<serde_json::Value>>,
}

impl From<Condition> for NudgeCondition {
    fn from(condition: Condition) -> Self {
        Self {
            property: condition.property().to_owned(),
            operator: condition.operator(),
            value: condition.value().cloned().map(Json),
        }
    }
}
