//! The query endpoint: `HogQL` in, a table out.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Endpoint, Failure};
use crate::posthog::{Posthog, connection::Connection};

/// The answer to a query.
#[derive(Clone, Debug)]
pub(in crate::posthog) struct Table {
    pub(in crate::posthog) columns: Vec<String>,
    /// `ClickHouse`'s type of each column.
    pub(in crate::posthog) types: Vec<String>,
    pub(in crate::posthog) rows: Vec<Vec<Value>>,
    pub(in crate::posthog) has_more: bool,
    /// In rows.
    pub(in crate::posthog) limit: Option<u64>,
    /// When PostHog computed it.
    pub(in crate::posthog) as_of: DateTime<Utc>,
    /// PostHog had computed it before.
    pub(in crate::posthog) is_cached: bool,
}

/// What PostHog says against a text, with its place in it, in characters from 0.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::posthog) struct Complaint {
    pub(in crate::posthog) message: String,
    #[serde(default)]
    pub(in crate::posthog) start: Option<usize>,
}

/// The members that are read; everything else PostHog is free to change.
#[derive(Deserialize)]
struct Body {
    results: Option<Vec<Vec<Value>>>,
    #[serde(default)]
    columns: Option<Vec<String>>,
    #[serde(default)]
    types: Option<Vec<Value>>,
    #[serde(default, rename = "hasMore")]
    has_more: Option<bool>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    is_cached: Option<bool>,
    #[serde(default)]
    last_refresh: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    errors: Vec<Complaint>,
}

impl Posthog {
    /// Runs a query over fresh data. `name` labels it in PostHog's query log; `values` fill its placeholders.
    pub(in crate::posthog) async fn query(
        &self,
        connection: &Connection,
        name: &str,
        text: &str,
        values: &Map<String, Value>,
    ) -> crate::base::Result<Table, Failure> {
        let now = self.clock.now();
        let body = json!({
            "query": {"kind": "HogQLQuery", "query": text, "values": values, "name": name},
            // The default serves PostHog's result cache, hours old.
            "refresh": "force_blocking",
            "client_query_id": self.ids.next::<()>(now).uuid(),
            "name": name,
        });
        let answer = self.post_query(connection, &body).await?;
        let body: Body =
            serde_json::from_value(answer).map_err(|e| Failure::answer(e.to_string()))?;
        let rows = body
            .results
            .ok_or_else(|| Failure::answer("the query is still running".into()))?;
        Ok(Table {
            columns: body.columns.unwrap_or_default(),
            types: body
                .types
                .unwrap_or_default()
                .iter()
                .map(type_name)
                .collect(),
            rows,
            has_more: body.has_more.unwrap_or_default(),
            limit: body.limit,
            as_of: body
                .last_refresh
                .as_deref()
                .and_then(instant)
                .unwrap_or(now),
            is_cached: body.is_cached.unwrap_or_default(),
        })
    }
    /// Asks PostHog whether a text is a query that it would run, without running it.
    pub(in crate::posthog) async fn complaints(
        &self,
        connection: &Connection,
        text: &str,
    ) -> crate::base::Result<Vec<Complaint>, Failure> {
        let answer = self.post_query(connection, &metadata(text)).await?;
        let body: Metadata =
            serde_json::from_value(answer).map_err(|e| Failure::answer(e.to_string()))?;
        Ok(body.errors)
    }
    async fn post_query(
        &self,
        connection: &Connection,
        body: &Value,
    ) -> crate::base::Result<Value, Failure> {
        let key = connection.key().map_err(|e| Failure::Denied {
            status: 401,
            detail: e.to_string(),
        })?;
        let request = self
            .http()
            .post(connection.project_url("query/"))
            .bearer_auth(key)
            .json(body);
        self.gates
            .send(connection, Endpoint::Query, request)
            .await?
            .json()
    }
}

/// The request that checks a text.
pub(in crate::posthog) fn metadata(text: &str) -> Value {
    json!({"query": {"kind": "HogQLMetadata", "language": "hogQL", "query": text}})
}

/// Types come as pairs of column and type.
fn type_name(kind: &Value) -> String {
    let name = kind.as_array().and_then(|pair| pair.get(1)).unwrap_or(kind);
    name.as_str().unwrap_or_default().to_owned()
}

/// Reads one of PostHog's instants; one without an offset is taken as UTC.
pub(in crate::posthog) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(Into::into);
    zoned.or_else(|| {
        let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        let read = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
        naive.iter().find_map(read).map(|naive| naive.and_utc())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_with_and_without_an_offset() {
        let noon = DateTime::from_timestamp(1_795_348_800, 0);
        for text in [
            "2026-11-22T12:00:00Z",
            "2026-11-22T14:00:00.000000+02:00",
            "2026-11-22T12:00:00",
            "2026-11-22 12:00:00.000",
        ] {
            assert_eq!(instant(text), noon, "{text}");
        }
        assert_eq!(instant("yesterday"), None);
    }
}
