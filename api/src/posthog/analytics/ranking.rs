//! Contacts by a metric: one query over everybody that PostHog knows, the people in order with some of their ids.

use std::sync::Arc;

use async_graphql::{InputObject, SimpleObject};
use chrono::{DateTime, TimeDelta, Utc};
use entity::metric;
use hogql::{
    ast::{BinaryOp, Expr, Order, Query, Select},
    narrow,
};
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::statement::{ROWS_MAX, Spec, Statement, events, since};
use crate::{
    base::{Cx, Error, Result},
    posthog::{
        Posthog,
        client::{Failure, Table},
        connection::{Connection, ConnectionKey},
        queries,
    },
};

/// How old a ranking may be: as long as people turn its pages. A page of another ranking would repeat some of the last one's.
const FRESH: TimeDelta = TimeDelta::minutes(5);
/// What rankings may take of the process's memory, in bytes, roughly.
const CACHE_BYTES_MAX: u64 = 128 * 1024 * 1024;
const FLIGHTS_MAX: u64 = 1_000;
/// Ids of a person that are read: one that is known here is enough.
const IDS_A_PERSON: i64 = 8;

/// What a metric must be, over the events of a person. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, InputObject, SimpleObject, Serialize, Deserialize)]
#[graphql(name = "MetricBounds", input_name = "MetricFilter")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricFilter {
    /// The metric's key.
    pub key: String,
    /// Is this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eq: Option<f64>,
    /// Is greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<f64>,
    /// Is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gte: Option<f64>,
    /// Is less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<f64>,
    /// Is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lte: Option<f64>,
}

impl MetricFilter {
    fn bounds(&self) -> impl Iterator<Item = (&'static str, BinaryOp, f64)> {
        [
            ("eq", BinaryOp::Equal, self.eq),
            ("gt", BinaryOp::Greater, self.gt),
            ("gte", BinaryOp::GreaterOrEqual, self.gte),
            ("lt", BinaryOp::Less, self.lt),
            ("lte", BinaryOp::LessOrEqual, self.lte),
        ]
        .into_iter()
        .filter_map(|(name, op, bound)| Some((name, op, bound?)))
    }
    /// Whether it asks for anything.
    pub fn is_empty(&self) -> bool {
        self.bounds().next().is_none()
    }
}

/// People to rank: by a metric, or those that a metric's bounds let through, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankingWanted {
    /// The key of the metric that they are sorted by; that of the filter's, the greatest first, where absent.
    pub by: Option<String>,
    pub descending: bool,
    pub filter: Option<MetricFilter>,
}

/// People in a metric's order.
#[derive(Debug)]
pub struct Ranking {
    /// Tells it from any other.
    pub id: Uuid,
    /// When PostHog computed it.
    pub as_of: DateTime<Utc>,
    pub people: Vec<RankedPerson>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RankedPerson {
    /// Some of the ids that PostHog knows the person by.
    pub ids: Vec<String>,
    pub value: f64,
}

/// The rankings of the last minutes.
pub(in crate::posthog) struct Rankings {
    known: Cache<RankingKey, (DateTime<Utc>, Arc<Ranking>)>,
    flights: Cache<RankingKey, Arc<Result<Arc<Ranking>, Failure>>>,
}

/// The connection, the query and its values.
type RankingKey = (ConnectionKey, String, String);

impl Default for Rankings {
    fn default() -> Self {
        let weight = |_: &RankingKey, (_, ranking): &(DateTime<Utc>, Arc<Ranking>)| {
            let ids = ranking.people.iter().flat_map(|person| &person.ids);
            let bytes: usize = ids.map(|id| 24 + id.len()).sum();
            u32::try_from(bytes + ranking.people.len() * 32 + 1_024).unwrap_or(u32::MAX)
        };
        Self {
            known: Cache::builder()
                .max_capacity(CACHE_BYTES_MAX)
                .weigher(weight)
                .build(),
            flights: Cache::new(FLIGHTS_MAX),
        }
    }
}

impl Posthog {
    /// The people that are asked for, in order; at most [`ROWS_MAX`]. One query, kept for some minutes, and shared by whoever asks
    /// for the same at the same time.
    pub async fn rank(&self, cx: &Cx, wanted: &RankingWanted) -> Result<Arc<Ranking>> {
        let filtered = wanted.filter.as_ref().map(|filter| filter.key.as_str());
        let keys = wanted.by.as_deref().into_iter().chain(filtered).collect();
        let (connection, metrics) = cx
            .snapshot(async |scope| {
                let connection = self.connection(scope).await?;
                Ok((connection, queries::metrics_by_key(scope, keys).await?))
            })
            .await?;
        connection.key()?;
        let spec = |place: &str, key: &str| {
            let unknown = || super::unknown_metric(&super::Item::Metric(key.to_owned()));
            let metric = metrics.get(key).ok_or_else(|| unknown().at(place));
            metric.map(spec)
        };
        let by = wanted.by.as_deref();
        let by = by.map(|key| spec("orderBy.metric", key)).transpose()?;
        let filter = wanted.filter.as_ref();
        let filter = filter.map(|filter| {
            let spec = spec("metricFilter.key", &filter.key)?;
            Ok::<_, Error>((spec, filter))
        });
        let filter = filter.transpose()?;
        let Some(by) = by.or_else(|| filter.as_ref().map(|(spec, _)| spec.clone())) else {
            return Err(Error::invalid("orderBy", "there is no metric to rank by"));
        };
        let made = ranking(&by, wanted.descending, filter.as_ref());
        let key = (
            connection.cache_key(),
            made.text.clone(),
            Value::Object(made.values.clone()).to_string(),
        );
        let now = self.clock.now();
        let known = self.rankings.known.get(&key).await;
        let known = known.filter(|(at, _)| now - *at < FRESH);
        let outcome = if known.is_some() { "hit" } else { "miss" };
        metrics::counter!("growthos_posthog_cache_total", "cache" => "ranking", "outcome" => outcome)
            .increment(1);
        if let Some((_, ranking)) = known {
            return Ok(ranking);
        }
        let flights = &self.rankings.flights;
        let landed = flights
            .get_with(key.clone(), async {
                Arc::new(self.ranked(&connection, &key, &made).await)
            })
            .await;
        flights.invalidate(&key).await;
        match landed.as_ref() {
            Ok(ranking) => Ok(Arc::clone(ranking)),
            Err(Failure::Refused {
                status: 400,
                detail,
            }) => Err(Error::invalid(
                "orderBy.metric",
                format!("PostHog cannot rank by this metric: {detail}"),
            )),
            Err(failure) => Err(failure.clone().into()),
        }
    }

    async fn ranked(
        &self,
        connection: &Connection,
        key: &RankingKey,
        made: &Statement,
    ) -> Result<Arc<Ranking>, Failure> {
        let table = self
            .query(connection, "growthos.ranking", &made.text, &made.values)
            .await?;
        let people = read(&table)
            .ok_or_else(|| Failure::answer("its rows are not those of the query".into()))?;
        let now = self.clock.now();
        let ranking = Arc::new(Ranking {
            id: self.ids.next::<Ranking>(now).uuid(),
            as_of: table.as_of,
            people,
        });
        let kept = (now, Arc::clone(&ranking));
        self.rankings.known.insert(key.clone(), kept).await;
        Ok(ranking)
    }
}

fn spec(metric: &metric::Model) -> Spec {
    Spec::Metric {
        expression: metric.expression.clone(),
        window_s: metric.window_s,
    }
}

/// The query of a ranking. A row is one person as PostHog has it: its ids, and the number that it is ranked by; who has none is
/// left out.
pub(super) fn ranking(
    by: &Spec,
    descending: bool,
    filter: Option<&(Spec, &MetricFilter)>,
) -> Statement {
    let mut values = Map::new();
    let number = |spec: &Spec, window: &str| {
        let mut aggregates = spec.aggregates();
        let narrowed = narrow(aggregates.remove(0), &since(window));
        Expr::call("toFloat", vec![narrowed])
    };
    let mut having = Expr::IsNull {
        expr: Expr::field(["score"]).into(),
        negated: true,
    };
    values.insert("w0".into(), json!(by.window_s()));
    let mut span = by.window_s();
    if let Some((spec, filter)) = filter {
        let measured = if spec == by {
            Expr::field(["score"])
        } else {
            values.insert("w1".into(), json!(spec.window_s()));
            span = span.max(spec.window_s());
            number(spec, "w1")
        };
        for (name, op, bound) in filter.bounds() {
            values.insert(name.into(), json!(bound));
            let holds = Expr::binary(op, measured.clone(), Expr::placeholder(name));
            having = having.and(holds);
        }
    }
    values.insert("span".into(), json!(span));
    let ids = Expr::call(
        "arraySlice",
        vec![
            Expr::call("groupUniqArray", vec![Expr::field(["distinct_id"])]),
            Expr::int(1),
            Expr::int(IDS_A_PERSON),
        ],
    );
    let person = || Expr::field(["person_id"]);
    let select = Select {
        columns: vec![ids.named("known_by"), number(by, "w0").named("score")],
        from: Some(events()),
        filter: Some(since("span")),
        group_by: vec![person()],
        having: Some(having),
        order_by: vec![
            Order {
                expr: Expr::field(["score"]),
                descending,
            },
            Order {
                expr: person(),
                descending: false,
            },
        ],
        ..Select::default()
    };
    let query = Query::Select(Box::new(select));
    Statement {
        text: hogql::with_limit(query, ROWS_MAX, ROWS_MAX).to_string(),
        values,
    }
}

/// The people of a table; `None` when it is not an answer to [`ranking`].
fn read(table: &Table) -> Option<Vec<RankedPerson>> {
    let rows = table.rows.iter();
    rows.filter_map(|row| {
        let [ids, value] = &row[..] else {
            return Some(None);
        };
        // What is no number is left out: the mean of texts, say.
        let value = value.as_f64()?;
        let ids: Option<Vec<String>> = ids
            .as_array()?
            .iter()
            .map(|id| id.as_str().map(str::to_owned))
            .collect();
        Some(ids.map(|ids| RankedPerson { ids, value }))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(expression: &str, days: i64) -> Spec {
        Spec::Metric {
            expression: expression.into(),
            window_s: days * 86_400,
        }
    }

    #[test]
    fn one_select_ranks_people_and_holds_no_value() {
        let revenue = metric("sum(toFloat(properties.amount))", 30);
        let visits = metric("count()", 7);
        let filter = MetricFilter {
            key: "visits".into(),
            gte: Some(2.0),
            lt: Some(9.5),
            ..MetricFilter::default()
        };
        let made = ranking(&revenue, true, Some(&(visits, &filter)));
        let within = |w: &str| format!("timestamp > now() - toIntervalSecond({{{w}}})");
        let expected = format!(
            "SELECT arraySlice(groupUniqArray(distinct_id), 1, 8) AS known_by, toFloat(sumIf(toFloat(properties.amount), {w0})) AS score \
             FROM events WHERE {span} GROUP BY person_id \
             HAVING score IS NOT NULL AND toFloat(countIf({w1})) >= {{gte}} AND toFloat(countIf({w1})) < {{lt}} \
             ORDER BY score DESC, person_id LIMIT 50000",
            w0 = within("w0"),
            w1 = within("w1"),
            span = within("span"),
        );
        assert_eq!(
            hogql::parse_select(&made.text).unwrap(),
            hogql::parse_select(&expected).unwrap(),
            "{}",
            made.text
        );
        assert_eq!(
            Value::from(made.values),
            json!({"w0": 30 * 86_400, "w1": 7 * 86_400, "span": 30 * 86_400, "gte": 2.0, "lt": 9.5})
        );
    }

    #[test]
    fn a_filter_by_the_same_metric_asks_for_it_once() {
        let visits = metric("count()", 7);
        let filter = MetricFilter {
            key: "visits".into(),
            gt: Some(1.0),
            ..MetricFilter::default()
        };
        let made = ranking(&visits, false, Some(&(visits.clone(), &filter)));
        assert_eq!(made.text.matches("countIf").count(), 1, "{}", made.text);
        assert!(
            made.text.contains("score IS NOT NULL AND score > {gt}"),
            "{}",
            made.text
        );
    }

    #[test]
    fn rows_without_a_number_are_left_out_and_other_tables_are_no_answer() {
        let table = |rows: Value| Table {
            columns: vec![],
            types: vec![],
            rows: serde_json::from_value(rows).unwrap(),
            has_more: false,
            limit: None,
            as_of: DateTime::UNIX_EPOCH,
            is_cached: false,
        };
        let ann = RankedPerson {
            ids: vec!["ann".into(), "a1".into()],
            value: 2.5,
        };
        let read = |rows: Value| read(&table(rows));
        assert_eq!(
            read(json!([[["ann", "a1"], 2.5], [["bob"], null]])),
            Some(vec![ann])
        );
        assert_eq!(read(json!([[["ann"]]])), None);
        assert_eq!(read(json!([[[1], 2]])), None);
    }
}
