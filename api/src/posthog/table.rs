//! Queries that the tenant writes itself.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hogql::{
    allow::{Policy, check_select},
    check_values, parse_select,
};
use moka::future::Cache;
use serde_json::{Map, Value};

use super::{
    Posthog,
    client::{Failure, Table},
    connection::ConnectionKey,
};
use crate::base::{Cx, Error, Result};

/// Rows of a query without a `LIMIT`, and at most: PostHog's own figures.
const ROWS_DEFAULT: u64 = 100;
const ROWS_MAX: u64 = 50_000;
/// All values of a query together, as JSON: they become part of the SQL that PostHog runs.
const VALUES_BYTES_MAX: usize = 400_000;
/// What results may take of the process's memory, in bytes, roughly.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Results by connection, text and values.
pub(super) struct Tables(Cache<TableKey, (DateTime<Utc>, Arc<Table>)>);

type TableKey = (ConnectionKey, String, String);

impl Default for Tables {
    fn default() -> Self {
        let tables = Cache::builder()
            .max_capacity(CACHE_BYTES_MAX)
            .weigher(weight)
            .build();
        Self(tables)
    }
}

fn weight((_, text, values): &TableKey, (_, table): &(DateTime<Utc>, Arc<Table>)) -> u32 {
    let cell = |value: &Value| match value {
        Value::String(text) => 32 + text.len(),
        Value::Array(_) | Value::Object(_) => value.to_string().len() * 4,
        _ => 32,
    };
    let rows: usize = table.rows.iter().flatten().map(cell).sum();
    u32::try_from(text.len() + values.len() + rows + 512).unwrap_or(u32::MAX)
}

/// A query that may be sent, as it is printed.
pub(super) fn checked_query(text: &str, values: &Map<String, Value>) -> Result<String> {
    let wrong = |why: String| Error::invalid("query", why);
    let query = parse_select(text).map_err(|e| wrong(e.to_string()))?;
    check_select(&query, &Policy::default()).map_err(|e| wrong(e.to_string()))?;
    check_values(&query, values.keys().map(String::as_str))
        .map_err(|e| Error::invalid("values", e.to_string()))?;
    Ok(hogql::with_limit(query, ROWS_DEFAULT, ROWS_MAX).to_string())
}

/// Values are constants: single ones, and lists of them.
fn check_constants(values: &Map<String, Value>) -> Result<()> {
    let wrong = |why: String| Err(Error::invalid("values", why));
    for (name, value) in values {
        let constant = match value {
            Value::Object(_) => false,
            Value::Array(members) => !members
                .iter()
                .any(|member| member.is_array() || member.is_object()),
            _ => true,
        };
        if !constant {
            return wrong(format!(
                "the value `{name}` is neither a constant nor a list of constants"
            ));
        }
    }
    if Value::Object(values.clone()).to_string().len() > VALUES_BYTES_MAX {
        return wrong(format!(
            "the values have more than {VALUES_BYTES_MAX} bytes as JSON"
        ));
    }
    Ok(())
}

impl Posthog {
    /// Runs a tenant's own query. With `age_max` a result up to that old will do. The answer says whether it was
    /// computed for an earlier call.
    pub(super) async fn table(
        &self,
        cx: &Cx,
        text: &str,
        values: Map<String, Value>,
        age_max: Option<TimeDelta>,
    ) -> Result<(Arc<Table>, bool)> {
        check_constants(&values)?;
        let text = checked_query(text, &values)?;
        let connection = self.connection(&cx.db()).await?;
        connection.key()?;
        let now = self.clock.now();
        let key = (
            connection.cache_key(),
            text,
            Value::Object(values.clone()).to_string(),
        );
        if let Some(age_max) = age_max {
            let known = self
                .tables
                .0
                .get(&key)
                .await
                .filter(|(at, _)| now - *at <= age_max);
            let outcome = if known.is_some() { "hit" } else { "miss" };
            metrics::counter!("growthos_posthog_cache_total", "cache" => "hogql", "outcome" => outcome).increment(1);
            if let Some((_, table)) = known {
                return Ok((table, true));
            }
        }
        let table = self
            .query(&connection, "growthos.hogql", &key.1, &values)
            .await;
        let table = Arc::new(table.map_err(|failure| match failure {
            Failure::Refused {
                status: 400,
                detail,
            } => Error::invalid("query", format!("PostHog refused the query: {detail}")),
            failure => failure.into(),
        })?);
        self.tables.0.insert(key, (now, table.clone())).await;
        let cached = table.is_cached;
        Ok((table, cached))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(text: &str, values: Value) -> Result<String> {
        let Value::Object(values) = values else {
            unreachable!()
        };
        check_constants(&values)?;
        checked_query(text, &values)
    }
    fn field(done: Result<String>) -> String {
        match done {
            Err(Error::User(e)) => e.field.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_query_is_printed_anew_and_never_without_a_limit() {
        assert_eq!(
            checked("select event, count() from events where distinct_id in {ids} group by event -- all", json!({"ids": ["a"]})).unwrap(),
            "SELECT event, count() FROM events WHERE distinct_id IN {ids} GROUP BY event LIMIT 100"
        );
        assert_eq!(
            checked("SELECT 1 LIMIT 1000000", json!({})).unwrap(),
            "SELECT 1 LIMIT 50000"
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        assert_eq!(field(checked("SELECT", json!({}))), "query");
        assert_eq!(
            field(checked("SELECT * FROM system.tables", json!({}))),
            "query"
        );
        assert_eq!(field(checked("SELECT sleep(3)", json!({}))), "query");
        assert_eq!(field(checked("SELECT {a}", json!({}))), "values");
        assert_eq!(field(checked("SELECT 1", json!({"a": 1}))), "values");
        assert_eq!(
            field(checked("SELECT {a}", json!({"a": {"b": 1}}))),
            "values"
        );
        assert_eq!(field(checked("SELECT {a}", json!({"a": [[1]]}))), "values");
        assert_eq!(
            field(checked("SELECT {a}", json!({"a": "x".repeat(400_001)}))),
            "values"
        );
    }
}
