//! Connecting and disconnecting a project; defining metrics.

use chrono::{DateTime, Utc};
use entity::{Id, metric, posthog_connection};
use hogql::{
    allow::check_aggregate,
    ast::{From, Query, Relation, Select, Source},
    parse_expr,
};
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde_json::{Map, Value, json};

use super::{
    Posthog,
    client::Complaint,
    connection,
    probe::Probe,
    rules::{self, GivenHosts, Hosts},
    secret,
};
use crate::base::{Audited, Cx, Error, ErrorCode, LogPlace, Result, Tx};

/// Metrics a tenant may have: a page of contacts may be asked for all of them.
const METRICS_MAX: u64 = 200;
const EXPRESSION_BYTES_MAX: usize = 4_096;
const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// A project to connect.
#[derive(Clone)]
pub struct NewConnection {
    pub hosts: GivenHosts,
    pub project_id: String,
    pub project_token: String,
    /// Without it events are sent and flags are asked for, but nothing is joined.
    pub personal_api_key: Option<String>,
    pub forward_from: Option<ForwardFrom>,
}

/// Where the forwarder starts in the tenant's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, async_graphql::Enum)]
pub enum ForwardFrom {
    /// With the tenant's first event: nothing that was tracked before the connection is lost.
    Start,
    /// With the next event.
    Now,
}

/// What the caller's input came to.
struct Checked {
    hosts: Hosts,
    project_id: String,
    project_token: String,
    personal_api_key: Option<String>,
    forward_from: Option<ForwardFrom>,
    capabilities: Map<String, Value>,
}

/// Connects the tenant to a project, or connects it anew: what is not given is not kept. PostHog is asked first; a credential
/// that it refuses is the caller's error, while an outage is only written down.
///
/// Of the same project the forwarder keeps its place unless `forward_from` says otherwise; another project starts with
/// the log.
pub async fn connect(
    cx: &Cx,
    posthog: &Posthog,
    new: NewConnection,
) -> Result<posthog_connection::Model> {
    let hosts = Hosts::read(&new.hosts, |field, text| {
        posthog.outbound.base_url(field, text)
    })?;
    let project_id = rules::project_id(&new.project_id)?;
    let project_token = rules::project_token(&new.project_token)?;
    let key = new
        .personal_api_key
        .as_deref()
        .map(str::trim)
        .filter(|key| !key.is_empty());
    let personal_api_key = key.map(rules::personal_api_key).transpose()?;
    let probe = Probe {
        hosts: &hosts,
        project_id: &project_id,
        project_token: &project_token,
        personal_api_key: personal_api_key.as_deref(),
    };
    let capabilities = probe.run(posthog.http()).await?;
    let checked = Checked {
        hosts,
        project_id,
        project_token,
        personal_api_key,
        forward_from: new.forward_from,
        capabilities,
    };
    let secrets = &cx.env().secrets;
    cx.write(async |tx| {
        let tenant = tx.tenant();
        let seal = |place: String, text: &str| secrets.seal(tx.rng(), &place, text);
        let token = seal(secret::token_place(tenant), &checked.project_token)?;
        let key = checked.personal_api_key.as_deref();
        let key = key
            .map(|key| seal(secret::key_place(tenant), key))
            .transpose()?;
        store(tx, &checked, token, key).await
    })
    .await
}

async fn store(
    tx: &Tx,
    checked: &Checked,
    token: String,
    key: Option<String>,
) -> Result<posthog_connection::Model> {
    let now = tx.now();
    let before = connection::row(tx).await?;
    let same_project = before.as_ref().is_some_and(|row| {
        row.ingest_host == checked.hosts.ingest && row.project_id == checked.project_id
    });
    let place = match (checked.forward_from, &before) {
        (None, Some(row)) if same_project => LogPlace {
            xid: row.forwarded_xid,
            seq: row.forwarded_seq,
        },
        (None | Some(ForwardFrom::Start), _) => LogPlace::default(),
        (Some(ForwardFrom::Now), _) => tx.log_end().await?,
    };
    let row = posthog_connection::ActiveModel {
        id: Set(before.as_ref().map_or_else(|| tx.new_id(), |row| row.id)),
        tenant_id: Set(tx.tenant()),
        ingest_host: Set(checked.hosts.ingest.clone()),
        api_host: Set(checked.hosts.api.clone()),
        ui_host: Set(checked.hosts.ui.clone()),
        project_id: Set(checked.project_id.clone()),
        project_token: Set(token),
        personal_api_key: Set(key),
        capabilities: Set(checked.capabilities.clone().into()),
        probed_at: Set(Some(now)),
        forwarded_xid: Set(place.xid),
        forwarded_seq: Set(place.seq),
        forward_at: Set(Some(now)),
        forward_leased_until: Set(None),
        forward_attempt: Set(0),
        forward_error: Set(None),
        created_at: Set(before.as_ref().map_or(now, |row| row.created_at)),
        updated_at: Set(now),
    };
    let stored = if before.is_some() {
        tx.update(row).await?
    } else {
        // Two first connections at once: the later one runs again and finds the other.
        tx.insert(row).await.map_err(Error::contended)?
    };
    let changes = json!({
        "ingestHost": stored.ingest_host,
        "apiHost": stored.api_host,
        "uiHost": stored.ui_host,
        "projectId": stored.project_id,
        "hasPersonalApiKey": stored.personal_api_key.is_some(),
    });
    tx.audit(Audited::new("posthogConnect", &stored.id, changes))
        .await?;
    Ok(stored)
}

/// Forgets the connection of this id and its secrets, if it is the tenant's; events are no longer sent.
pub(super) async fn disconnect(tx: &Tx, id: Id<posthog_connection::Entity>) -> Result<bool> {
    let row = connection::row(tx).await?.filter(|row| row.id == id);
    let Some(row) = row else {
        return Ok(false);
    };
    tx.delete(row.id).await?;
    let changes = json!({"ingestHost": row.ingest_host, "projectId": row.project_id});
    tx.audit(Audited::new("posthogDisconnect", &row.id, changes))
        .await?;
    Ok(true)
}

/// A metric to define.
#[derive(Clone, Debug)]
pub struct NewMetric {
    pub key: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub expression: String,
    pub window_s: i64,
}

/// A metric that may be stored, and what PostHog says against it.
pub(super) struct CheckedMetric {
    metric: NewMetric,
    /// `None` when PostHog was not asked, or did not answer.
    pub(super) complaints: Option<Vec<Complaint>>,
}

/// Checks a metric: by our own grammar and lists always, by PostHog's where it is connected and answers.
pub(super) async fn check_metric(
    cx: &Cx,
    posthog: &Posthog,
    new: NewMetric,
) -> Result<CheckedMetric> {
    rules::check_metric_key(&new.key)?;
    check_chars("name", new.name.as_deref(), NAME_CHARS_MAX)?;
    check_chars(
        "description",
        new.description.as_deref(),
        DESCRIPTION_CHARS_MAX,
    )?;
    let expression = metric_expression(&new.expression)?;
    let complaints = match posthog.connection(&cx.db()).await {
        Ok(connection) if connection.key().is_ok() => posthog
            .complaints(&connection, &over_events(&expression))
            .await
            .ok(),
        _ => None,
    };
    Ok(CheckedMetric {
        metric: NewMetric { expression, ..new },
        complaints,
    })
}

fn check_chars(field: &str, text: Option<&str>, max: usize) -> Result<()> {
    if text.is_some_and(|text| text.chars().count() > max) {
        return Err(Error::invalid(
            field,
            format!("{field} has at most {max} characters"),
        ));
    }
    Ok(())
}

/// Reads a metric's expression and gives it as it is printed.
pub(super) fn metric_expression(text: &str) -> Result<String> {
    let wrong = |why: String| Error::invalid("expression", why);
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(wrong(format!(
            "an expression has at most {EXPRESSION_BYTES_MAX} bytes"
        )));
    }
    let expr = parse_expr(text).map_err(|e| wrong(e.to_string()))?;
    check_aggregate(&expr).map_err(|e| wrong(e.to_string()))?;
    Ok(expr.to_string())
}

/// What stands before the expression in [`over_events`], in characters.
pub(super) const BEFORE_EXPRESSION: usize = "SELECT ".len();

/// The query by which PostHog checks an expression; without rows to read, should PostHog run it.
pub(super) fn over_events(expression: &str) -> String {
    let events = From {
        relation: Relation {
            source: Source::Table("events".into()),
            alias: None,
        },
        joins: vec![],
    };
    let column = parse_expr(expression).map(|expr| hogql::ast::Column { expr, alias: None });
    let select = Select {
        columns: column.into_iter().collect(),
        from: Some(events),
        ..Select::default()
    };
    hogql::with_limit(Query::Select(Box::new(select)), 1, 1).to_string()
}

/// Stores a metric, or replaces the one with its key.
pub(super) async fn save_metric(tx: &Tx, checked: &CheckedMetric) -> Result<metric::Model> {
    let now: DateTime<Utc> = tx.now();
    let new = &checked.metric;
    let before = tx
        .find::<metric::Entity>()
        .filter(metric::Column::Key.eq(&*new.key))
        .one()
        .await?;
    let name = new
        .name
        .as_deref()
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let row = metric::ActiveModel {
        id: Set(before.as_ref().map_or_else(|| tx.new_id(), |row| row.id)),
        tenant_id: Set(tx.tenant()),
        key: Set(new.key.clone()),
        name: Set(name.unwrap_or(&new.key).to_owned()),
        description: Set(new.description.clone()),
        expression: Set(new.expression.clone()),
        window_s: Set(new.window_s),
        created_at: Set(before.as_ref().map_or(now, |row| row.created_at)),
        updated_at: Set(now),
    };
    let stored = if before.is_some() {
        tx.update(row).await?
    } else if tx.find::<metric::Entity>().count().await? >= METRICS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "key",
            format!("a tenant has at most {METRICS_MAX} metrics"),
        ));
    } else {
        tx.insert(row).await.map_err(Error::contended)?
    };
    let changes = json!({
        "key": stored.key,
        "expression": stored.expression,
        "expressionBefore": before.map(|row| row.expression),
    });
    tx.audit(Audited::new("metricSave", &stored.id, changes))
        .await?;
    Ok(stored)
}

/// Deletes a metric; says whether it was there.
pub(super) async fn delete_metric(tx: &Tx, id: Id<metric::Entity>) -> Result<bool> {
    let Some(row) = tx.get::<metric::Entity>(id).await? else {
        return Ok(false);
    };
    tx.delete(row.id).await?;
    let changes = json!({"key": row.key, "expression": row.expression});
    tx.audit(Audited::new("metricDelete", &row.id, changes))
        .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_kept_as_it_is_printed() {
        assert_eq!(
            metric_expression(" SUM( toFloat(properties.amount) ) /* revenue */ ").unwrap(),
            "sum(toFloat(properties.amount))"
        );
        assert_eq!(over_events("count()"), "SELECT count() FROM events LIMIT 1");
    }

    #[test]
    fn hostile_expressions_are_refused() {
        for text in [
            "",
            "1",
            "properties.amount",
            "count() FROM events",
            "count(); DROP TABLE events",
            "count() FROM system.users --",
            "(SELECT count() FROM persons)",
            "countIf(distinct_id IN (SELECT distinct_id FROM events))",
            "sum({x})",
            "sleep(3)",
            "sum(sleep(3))",
            "sum(length(url('http://169.254.169.254/')))",
            "max(person.properties.email)",
            "count() OVER ()",
            "arrayJoin(groupArray(event))",
            "sum(sum(1))",
            "count() + timestamp",
            "count() SETTINGS max_execution_time = 0",
        ] {
            match metric_expression(text) {
                Err(Error::User(e)) => assert_eq!(e.field.as_deref(), Some("expression"), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(metric_expression(&"(".repeat(4_000)).is_err());
        assert!(metric_expression(&format!("count(){}", " ".repeat(4_096))).is_err());
    }
}
