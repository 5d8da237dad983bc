//! Every shape of query that the join can make, for PostHog's own parser to judge.

use super::{
    ranking::{MetricFilter, ranking},
    statement::{Spec, statement},
};

/// One metric of each aggregate and each construct that metrics may hold.
pub(in crate::posthog) const EXPRESSIONS: &[&str] = &[
    "count()",
    "count(*)",
    "count(properties.plan)",
    "count(DISTINCT event)",
    "countIf(event = 'purchase')",
    "any(properties.plan)",
    "anyLast(properties.plan)",
    "argMax(properties.plan, timestamp)",
    "argMin(properties.`with-dash`, timestamp)",
    "avg(toFloat(properties.amount))",
    "groupArray(event)",
    "groupUniqArray(properties['plan'])",
    "max(timestamp)",
    "median(toFloat(properties.amount))",
    "min(timestamp)",
    "quantile(0.9)(toFloat(properties.amount))",
    "quantileIf(0.5)(toFloat(properties.amount), event = 'purchase' OR event = 'renewal')",
    "stddevPop(toFloat(properties.amount))",
    "stddevSamp(toFloat(properties.amount))",
    "sum(toFloat(properties.amount))",
    "sumIf(toFloat(properties.amount), event IN ('purchase', 'renewal') AND properties.$browser != 'bot')",
    "uniq($session_id)",
    "uniq(event, toDate(timestamp))",
    "uniqExact(event)",
    "varPop(toFloat(properties.amount))",
    "varSamp(toFloat(properties.amount))",
    "round(sum(toFloat(properties.amount)) / nullIf(count(), 0), 2)",
    "if(count() > 10, 'active', 'idle')",
    "CASE WHEN max(timestamp) > now() - INTERVAL 7 DAY THEN 'fresh' ELSE 'stale' END",
    "arrayMap(x -> upper(x), groupUniqArray(event))",
    "-count() + 1 - 2 * (3 - 4) % 5",
    "countIf(event LIKE 'a\\'b%' AND NOT (properties.x ILIKE '%\\\\%') AND properties.n BETWEEN 1 AND 2.5 AND properties.y IS NULL)",
];

/// The queries of the join: activity, metrics, and both, with one window and with several.
pub(in crate::posthog) fn statements() -> Vec<String> {
    const DAY_S: i64 = 86_400;
    let activity = |days: i64| Spec::Activity {
        window_s: days * DAY_S,
    };
    let metrics: Vec<Spec> = EXPRESSIONS
        .iter()
        .zip(1..)
        .map(|(expression, days)| Spec::Metric {
            expression: (*expression).to_owned(),
            window_s: days * DAY_S,
        })
        .collect();
    let mut asked = vec![
        vec![activity(30)],
        vec![activity(7), activity(30), activity(90)],
    ];
    asked.extend(metrics.iter().cloned().map(|metric| vec![metric]));
    asked.push([vec![activity(30)], metrics].concat());
    let ids = ["a".to_owned()];
    let pages = asked
        .iter()
        .map(|specs| statement(&specs.iter().collect::<Vec<_>>(), &[&ids]).text);
    pages.chain(rankings()).collect()
}

/// People by each metric, and by one under the bounds of another.
fn rankings() -> Vec<String> {
    let metric = |expression: &str, window_s| Spec::Metric {
        expression: expression.to_owned(),
        window_s,
    };
    let filter = MetricFilter {
        key: String::new(),
        eq: Some(1.0),
        gt: Some(1.0),
        gte: Some(1.0),
        lt: Some(1.0),
        lte: Some(1.0),
    };
    let filtered = (metric("count()", 60), &filter);
    let mut texts: Vec<String> = EXPRESSIONS
        .iter()
        .map(|expression| ranking(&metric(expression, 3_600), true, None).text)
        .collect();
    for by in [metric("uniq(event)", 3_600), metric("count()", 60)] {
        texts.push(ranking(&by, false, Some(&filtered)).text);
    }
    texts
}
