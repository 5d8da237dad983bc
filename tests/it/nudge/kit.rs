//! What these cases share.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use api::{
    base::{Actor, Cx, LogPlace},
    nudge,
};
use entity::{ContactId, Id, event};
use sea_orm::{QueryOrder as _, QuerySelect as _};
use serde_json::{Value, json};
use tests::{Kit, Tenant};

/// Saves a nudge of this key that answers `signup`, with `more` on top, and publishes it. Gives its id.
pub(crate) async fn published(
    kit: &Kit,
    tenant: &Tenant,
    key: &str,
    more: Value,
) -> anyhow::Result<String> {
    let saved = save(kit, tenant, draft(key, more)).await;
    let id = saved["nudge"]["id"]
        .as_str()
        .with_context(|| format!("not saved: {saved}"))?
        .to_owned();
    let published = publish(kit, tenant, &id).await;
    anyhow::ensure!(
        published["userErrors"] == json!([]),
        "not published: {published}"
    );
    Ok(id)
}

pub(super) fn draft(key: &str, more: Value) -> Value {
    let mut input = json!({
        "key": key,
        "content": {"title": "Welcome", "body": "Take the tour.", "action": {"label": "Start", "url": "/tour"}},
        "surface": "app",
        "trigger": {"event": "signup"},
    });
    if let (Value::Object(input), Value::Object(more)) = (&mut input, more) {
        input.extend(more);
    }
    input
}

pub(super) async fn save(kit: &Kit, tenant: &Tenant, input: Value) -> Value {
    let query = "mutation ($input: NudgeSaveInput!) { nudgeSave(input: $input) {
        nudge { id key name draftVersion { number content { title } } liveVersion { number content { title } } }
        userErrors { code field message } } }";
    answer(
        kit.gql(&tenant.secret_key, query, json!({ "input": input }))
            .await,
        "nudgeSave",
    )
}

pub(super) async fn publish(kit: &Kit, tenant: &Tenant, id: &str) -> Value {
    let query = "mutation ($id: ID!) { nudgePublish(input: {id: $id}) {
        nudge { id liveVersion { number publishedAt } draftVersion { number } } userErrors { code field message } } }";
    answer(
        kit.gql(&tenant.secret_key, query, json!({ "id": id }))
            .await,
        "nudgePublish",
    )
}

pub(super) async fn archive(kit: &Kit, tenant: &Tenant, id: &str) -> Value {
    let query = "mutation ($id: ID!) { nudgeArchive(input: {id: $id}) { nudge { id archivedAt } userErrors { code field message } } }";
    answer(
        kit.gql(&tenant.secret_key, query, json!({ "id": id }))
            .await,
        "nudgeArchive",
    )
}

/// The field's value, or the whole response where it failed.
pub(super) fn answer(mut response: Value, field: &str) -> Value {
    if response.get("errors").is_some() {
        return response;
    }
    response["data"][field].take()
}

/// Tracks an event of the user, or of the visitor where the id begins with `anon`, and gives the contact.
pub(crate) async fn track(
    kit: &Kit,
    tenant: &Tenant,
    user: &str,
    event: &str,
    properties: Value,
) -> anyhow::Result<ContactId> {
    let query = "mutation ($input: TrackInput!) { track(input: $input) { contact { id } userErrors { message } } }";
    let id = if user.starts_with("anon") {
        "anonymousId"
    } else {
        "userId"
    };
    let input = json!({id: user, "event": event, "properties": properties});
    let tracked = kit
        .gql(&tenant.secret_key, query, json!({ "input": input }))
        .await;
    let id = tracked["data"]["track"]["contact"]["id"].as_str();
    id.and_then(Id::parse)
        .with_context(|| format!("not tracked: {tracked}"))
}

/// Joins an anonymous visitor with a user.
pub(crate) async fn identify(
    kit: &Kit,
    tenant: &Tenant,
    user: &str,
    anonymous: &str,
) -> anyhow::Result<ContactId> {
    let query = "mutation ($input: IdentifyInput!) { identify(input: $input) { contact { id } userErrors { message } } }";
    let input = json!({"userId": user, "anonymousId": anonymous});
    let known = kit
        .gql(&tenant.secret_key, query, json!({ "input": input }))
        .await;
    let id = known["data"]["identify"]["contact"]["id"].as_str();
    id.and_then(Id::parse)
        .with_context(|| format!("not identified: {known}"))
}

/// This room's consumer of one tenant's log, driven by hand.
pub(crate) struct Ear {
    cx: Cx,
    place: LogPlace,
}

impl Ear {
    pub(crate) fn of(kit: &Kit, tenant: &Tenant) -> Self {
        Self {
            cx: Cx::new(Arc::clone(&kit.app.env), tenant.id, Actor::System),
            place: LogPlace::default(),
        }
    }
    /// Hears what is new, and then what that led to, until nothing is.
    pub(crate) async fn listen(&mut self) -> anyhow::Result<()> {
        let hear = nudge::MODULE.hear.context("the room has an ear")?;
        loop {
            let events = self.cx.db().log_after(self.place).limit(100).all().await?;
            let Some(last) = events.last() else {
                if self.unsettled().await? {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    continue;
                }
                return Ok(());
            };
            self.place = LogPlace::of(last);
            for heard in hear(&self.cx, &events).await {
                heard?;
            }
        }
    }
    /// Whether the log holds events that cannot be read yet: on PostgreSQL a transaction that is open anywhere on the
    /// server, in another case's database too, holds them back.
    async fn unsettled(&self) -> anyhow::Result<bool> {
        let db = self.cx.db();
        let last = db
            .find::<event::Entity>()
            .order_by_desc(event::Column::Xid)
            .order_by_desc(event::Column::Seq);
        Ok(last
            .one()
            .await?
            .is_some_and(|last| LogPlace::of(&last) > self.place))
    }
    /// Hears everything again from the start, as after a lost checkpoint.
    pub(crate) async fn listen_again(&mut self) -> anyhow::Result<()> {
        self.place = LogPlace::default();
        self.listen().await
    }
}

pub(super) async fn rows<E: entity::TenantOwned>(tenant: &Tenant) -> anyhow::Result<Vec<E::Model>> {
    Ok(tenant.cx.db().find::<E>().all().await?)
}

/// Each decision's verdict, in the order in which they were made.
pub(super) async fn verdicts(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let mut decisions = rows::<entity::nudge_decision::Entity>(tenant).await?;
    decisions.sort_by_key(|row| row.id);
    Ok(decisions.into_iter().map(|row| row.verdict).collect())
}

pub(super) async fn deliveries(
    tenant: &Tenant,
) -> anyhow::Result<Vec<entity::nudge_delivery::Model>> {
    let mut deliveries = rows::<entity::nudge_delivery::Entity>(tenant).await?;
    // Their own ids are hashes; their events came one after the other.
    deliveries.sort_by_key(|row| row.event_id);
    Ok(deliveries)
}

/// The tenant's events of this name, in the log's order.
pub(super) async fn events(tenant: &Tenant, name: &str) -> anyhow::Result<Vec<event::Model>> {
    let mut events = rows::<event::Entity>(tenant).await?;
    events.retain(|row| row.name == name);
    events.sort_by_key(|row| (row.xid, row.seq));
    Ok(events)
}
