//! Every shape of `HogQL` that the product sends, for PostHog's own parser to judge in the tests.

use serde_json::{Map, Value};

use super::{
    analytics::{self, EXPRESSIONS},
    audience::Audience,
    commands::{metric_expression, over_events},
    table::checked_query,
};

/// Queries as tenants write them, of each construct that is let through; they are sent as printed.
const QUERIES: &[&str] = &[
    "SELECT 1",
    "SELECT distinct_id, count() AS events, uniq($session_id), min(timestamp), argMax(properties.$current_url, timestamp) AS last_url
     FROM events WHERE distinct_id IN {ids} AND timestamp > now() - INTERVAL 30 DAY GROUP BY distinct_id LIMIT 50000",
    "SELECT person_id, groupUniqArray(distinct_id) AS ids FROM events WHERE person_id IN
     (SELECT person_id FROM person_distinct_ids WHERE distinct_id IN {ids}) GROUP BY person_id ORDER BY count() DESC, person_id",
    "SELECT id, properties.email, properties, created_at FROM persons WHERE properties.email IN {ids}",
    "SELECT distinct_id, properties.`with-dash` FROM events WHERE event = 'it''s' AND properties['x y'] NOT LIKE '%a%' LIMIT 10 OFFSET 5",
    "SELECT event FROM events WHERE (timestamp, uuid) > (toDateTime('2026-01-01T00:00:00Z'), uuid) ORDER BY timestamp, uuid LIMIT 10",
    "WITH buyers AS (SELECT DISTINCT distinct_id FROM events WHERE event = 'purchase') SELECT count() FROM buyers",
    "SELECT a.event, b.n FROM events AS a LEFT JOIN (SELECT event, count() AS n FROM events GROUP BY event) AS b ON a.event = b.event",
    "SELECT event FROM events UNION ALL SELECT properties.plan FROM persons",
    "SELECT event, row_number() OVER (PARTITION BY distinct_id ORDER BY timestamp DESC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM events",
    "SELECT arrayMap(x -> x + 1, [1, 2]), (1, 'a').1, -properties.n, NOT (1 = 2 OR 3 BETWEEN 2 AND 4), if(1 > 0, 'a', null) ?? 'b' FROM events",
    "SELECT toDate(timestamp) AS day, countIf(event = '$pageview') AS n FROM events GROUP BY day HAVING n > 1 ORDER BY day",
];

/// The text of every query that the product can send, as far as shapes go.
pub fn hogql_corpus() -> Vec<String> {
    let mut texts = analytics::statements();
    texts.extend(Audience::corpus());
    texts.extend(
        EXPRESSIONS
            .iter()
            .filter_map(|text| Some(over_events(&metric_expression(text).ok()?))),
    );
    let ids = Map::from_iter([("ids".to_owned(), Value::Array(vec![]))]);
    let no_ids = Map::new();
    texts.extend(QUERIES.iter().filter_map(|text| {
        let values = if text.contains("{ids}") {
            &ids
        } else {
            &no_ids
        };
        checked_query(text, values).ok()
    }));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_of_the_corpus_is_left_out_by_a_check() {
        for text in EXPRESSIONS {
            assert!(metric_expression(text).is_ok(), "{text}");
        }
        for text in QUERIES {
            let query = hogql::parse_select(text)
                .map_err(|e| format!("{text}: {e}"))
                .unwrap();
            let checked = hogql::allow::check_select(&query, &hogql::allow::Policy::default());
            assert_eq!(checked, Ok(()), "{text}");
        }
        let own = analytics::statements().len() + Audience::corpus().len();
        let all = own + EXPRESSIONS.len() + QUERIES.len();
        let texts = hogql_corpus();
        assert_eq!(texts.len(), all);
        for text in texts {
            assert!(hogql::parse_select(&text).is_ok(), "{text}");
        }
    }
}
