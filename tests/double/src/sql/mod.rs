//! `HogQL` over what the double was sent: the SELECTs that the product and its tests write, with PostHog's treatment of nulls and
//! types. What it does not evaluate exactly as PostHog it refuses, also when there is no row to get wrong.

mod aggregate;
mod compile;
mod function;
mod kind;
mod node;
mod plan;
mod run;
mod scope;
mod table;
#[cfg(test)]
mod tests;
mod value;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use self::kind::Kind;
use self::run::{Relation, Runner};
use self::scope::Scope;
use self::value::Value;
use crate::query::Snapshot;

/// Rows of a query without `LIMIT`.
const LIMIT_DEFAULT: u64 = 100;
/// A larger `LIMIT` is cut to this.
const LIMIT_MAX: u64 = 50_000;

/// Why a query was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// In bytes of the query's text, when it is known.
    pub(crate) offset: Option<usize>,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            offset: None,
        }
    }

    fn unsupported(what: &str) -> Self {
        Self::new(format!("the PostHog double does not evaluate {what}"))
    }

    fn unsupported_call(name: &str, kinds: &[Kind]) -> Self {
        let kinds: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        Self::new(format!(
            "Unsupported function call '{name}({})'",
            kinds.join(", ")
        ))
    }
}

/// The result of a query.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    /// `ClickHouse`'s names of the columns' types.
    pub(crate) types: Vec<String>,
    pub(crate) rows: Vec<Json>,
    /// There are rows beyond the limit.
    pub(crate) has_more: bool,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
    /// The query as it was understood.
    pub(crate) printed: String,
}

/// Evaluates one query; `values` fill its placeholders as constants.
pub(crate) fn evaluate(
    text: &str,
    values: &Map<String, Json>,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Answer, Fault> {
    let query = parse(text)?;
    let (asked, offset) = match &query {
        hogql::ast::Query::Select(select) => (select.limit, select.offset.unwrap_or(0)),
        hogql::ast::Query::UnionAll(_) => (None, 0),
    };
    let limit = asked.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let runner = Runner::new(snapshot, Some(values), now);
    // one row more than is shown tells whether there are more
    let Relation { columns, mut rows } =
        runner.query(&query, &Scope::default(), Some(limit + 1))?;
    let has_more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let (columns, kinds): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Ok(Answer {
        columns,
        types: kinds.iter().map(ToString::to_string).collect(),
        rows: rows
            .iter()
            .map(|row| row.iter().map(Value::to_json).collect())
            .collect(),
        has_more,
        limit,
        offset,
        printed: query.to_string(),
    })
}

/// Resolves a query without reading a row; gives the tables that it reads.
pub(crate) fn check(
    text: &str,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Vec<String>, Fault> {
    let empty = snapshot.emptied();
    let runner = Runner::new(&empty, None, now);
    runner.query(&parse(text)?, &Scope::default(), None)?;
    Ok(runner.tables())
}

fn parse(text: &str) -> Result<hogql::ast::Query, Fault> {
    hogql::parse_select(text).map_err(|error| Fault {
        message: error.to_string(),
        offset: Some(error.offset),
    })
}
