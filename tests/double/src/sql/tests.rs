use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::{Fault, check, evaluate};
use crate::event::{Event, EventLog};
use crate::person::Persons;
use crate::query::Snapshot;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-11-22T12:00:00Z")
}

/// ann has two ids, bob one; the newest first is on purpose.
fn snapshot() -> Snapshot {
    let rows = [
        (
            "2026-11-22T11:00:00Z",
            "purchase",
            "ann",
            json!({"amount": 30, "$session_id": "s2", "plan": null}),
        ),
        (
            "2026-11-22T10:00:00.5Z",
            "$pageview",
            "ann",
            json!({"$current_url": "/b", "$session_id": "s2", "plan": "pro"}),
        ),
        (
            "2026-11-20T10:00:00Z",
            "$pageview",
            "anon",
            json!({"$current_url": "/a", "$session_id": "s1", "plan": "free"}),
        ),
        (
            "2026-11-20T11:00:00Z",
            "$identify",
            "ann",
            json!({"$anon_distinct_id": "anon", "$set": {"email": "a@b.co"}}),
        ),
        (
            "2026-11-21T09:00:00Z",
            "purchase",
            "ann",
            json!({"amount": 12.5, "$session_id": "s1"}),
        ),
        (
            "2026-10-01T09:00:00Z",
            "signup",
            "bob",
            json!({"deep": {"a": [1, "x"]}, "$set": {"seats": 3}}),
        ),
    ];
    let (mut log, mut persons) = (EventLog::default(), Persons::default());
    for (sequence, (timestamp, name, distinct_id, properties)) in (1..).zip(rows) {
        let Json::Object(properties) = properties else {
            panic!("properties are an object")
        };
        let event = Event {
            sequence,
            uuid: Uuid::from_u128(sequence.into()),
            event: name.to_owned(),
            distinct_id: distinct_id.to_owned(),
            properties,
            timestamp: at(timestamp),
            received_at: now(),
            historical: false,
        };
        persons.apply(&event);
        log.push(event);
    }
    Snapshot {
        events: log.rows(),
        persons: Arc::new(persons),
        event_kinds: log.kinds(),
    }
}

fn run(text: &str, values: Json) -> Result<Json, String> {
    let Json::Object(values) = values else {
        panic!("values are an object")
    };
    evaluate(text, &values, &snapshot(), now())
        .map(|answer| answer.rows.into())
        .map_err(|fault| fault.message)
}

fn rows(text: &str) -> Json {
    run(text, json!({})).unwrap()
}

fn refusal(text: &str) -> String {
    run(text, json!({})).unwrap_err()
}

#[test]
fn the_products_page_query_joins_every_id_of_a_contact() {
    let text = "SELECT arrayElement({contacts}, indexOf({ids}, distinct_id)) AS contact, \
        countIf(timestamp > now() - toIntervalSecond({w0})) AS c0, \
        uniqIf($session_id, timestamp > now() - toIntervalSecond({w0})) AS c1, \
        uniqIf(toDate(timestamp), timestamp > now() - toIntervalSecond({w0})) AS c2, \
        minIf(timestamp, timestamp > now() - toIntervalSecond({w0})) AS c3, \
        maxIf(timestamp, timestamp > now() - toIntervalSecond({w0})) AS c4, \
        argMaxIf(properties.$current_url, timestamp, timestamp > now() - toIntervalSecond({w0})) AS c5, \
        sumIf(toFloat(properties.amount), and(event = 'purchase', timestamp > now() - toIntervalSecond({w0}))) AS c6 \
        FROM events WHERE distinct_id IN {ids} AND timestamp > now() - toIntervalSecond({span}) \
        GROUP BY contact LIMIT 50000";
    let values = json!({
        "contacts": ["A", "A", "B"], "ids": ["ann", "anon", "bob"], "w0": 30 * 86_400, "span": 90 * 86_400,
    });
    assert_eq!(
        run(text, values).unwrap(),
        json!([
            [
                "A",
                5,
                2,
                3,
                "2026-11-20T10:00:00Z",
                "2026-11-22T11:00:00Z",
                "/b",
                42.5
            ],
            [
                "B",
                0,
                0,
                0,
                "1970-01-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
                null,
                null
            ],
        ])
    );
}

#[test]
fn columns_are_named_and_typed_as_by_posthog() {
    let text = "SELECT distinct_id, count(), max(timestamp) AS last, properties.plan, properties.amount, person_id, \
        groupUniqArray(event) FROM events GROUP BY distinct_id, properties.plan, properties.amount, person_id";
    let answer = evaluate(text, &Map::new(), &snapshot(), now()).unwrap();
    let names = [
        "distinct_id",
        "count()",
        "last",
        "plan",
        "amount",
        "person_id",
        "groupUniqArray(event)",
    ];
    assert_eq!(answer.columns, names);
    let types = [
        "String",
        "UInt64",
        "DateTime64(6, 'UTC')",
        "Nullable(String)",
        "Nullable(Float64)",
        "UUID",
        "Array(String)",
    ];
    assert_eq!(answer.types, types);
    assert_eq!(
        (answer.limit, answer.offset, answer.has_more),
        (100, 0, false)
    );
}

#[test]
fn a_limit_is_a_hundred_unless_given_and_says_whether_there_is_more() {
    let answer = |text| evaluate(text, &Map::new(), &snapshot(), now()).unwrap();
    let page = answer("SELECT event FROM events ORDER BY timestamp LIMIT 2 OFFSET 1");
    assert_eq!(Json::from(page.rows), json!([["$pageview"], ["$identify"]]));
    assert_eq!((page.limit, page.offset, page.has_more), (2, 1, true));
    assert!(!answer("SELECT event FROM events LIMIT 6").has_more);
    assert_eq!(
        answer("SELECT event FROM events LIMIT 1000000").limit,
        50_000
    );
}

#[test]
fn null_compares_as_in_hogql_and_is_never_lost_by_a_filter() {
    assert_eq!(
        rows("SELECT count() FROM events WHERE properties.plan != 'pro'"),
        json!([[5]])
    );
    assert_eq!(
        rows("SELECT count() FROM events WHERE properties.plan = null"),
        json!([[4]])
    );
    assert_eq!(
        rows("SELECT count() FROM events WHERE properties.plan IS NOT NULL"),
        json!([[2]])
    );
    assert_eq!(
        rows("SELECT count() FROM events WHERE properties.plan NOT IN ('pro')"),
        json!([[5]])
    );
    assert_eq!(
        rows("SELECT count() FROM events WHERE not(properties.plan = 'pro')"),
        json!([[5]])
    );
    assert_eq!(
        rows("SELECT count() FROM events WHERE properties.plan NOT LIKE 'p%'"),
        json!([[5]])
    );
    assert_eq!(
        rows("SELECT null + 1, and(null, 1), or(null, 1), lower(null)"),
        json!([[null, null, 1, null]])
    );
}

#[test]
fn aggregates_skip_nulls_and_have_clickhouses_answer_for_no_rows() {
    let text = "SELECT count(), sum(properties.amount), avg(properties.amount), median(properties.amount), \
        quantile(0.25)(properties.amount), min(properties.amount), any(properties.plan), argMax(properties.plan, timestamp), \
        argMin(event, timestamp), uniq(properties.plan), count(DISTINCT event), groupArray(properties.amount) FROM events";
    assert_eq!(
        rows(text),
        json!([[
            6,
            42.5,
            21.25,
            21.25,
            16.875,
            12.5,
            "pro",
            "pro",
            "signup",
            2,
            4,
            [30.0, 12.5]
        ]])
    );
    assert_eq!(
        rows(&format!("{text} WHERE event = 'none'")),
        json!([[0, null, null, null, null, null, null, null, "", 0, 0, []]])
    );
    let none = "SELECT min(timestamp), sum(1), avg(1), any(event) FROM events WHERE event = 'none'";
    assert_eq!(rows(none), json!([["1970-01-01T00:00:00Z", 0, null, ""]]));
    assert_eq!(
        rows("SELECT event FROM events WHERE event = 'none' GROUP BY event"),
        json!([])
    );
}

#[test]
fn groups_filter_order_and_name_by_alias() {
    let text = "SELECT toStartOfDay(timestamp) AS day, count() AS n FROM events \
        GROUP BY day HAVING n > 1 ORDER BY n DESC, day DESC";
    assert_eq!(
        rows(text),
        json!([["2026-11-22T00:00:00Z", 2], ["2026-11-20T00:00:00Z", 2]])
    );
    let expression = "SELECT upper(event), count() * 10 FROM events GROUP BY event ORDER BY count() DESC, event LIMIT 2";
    assert_eq!(
        rows(expression),
        json!([["$PAGEVIEW", 20], ["PURCHASE", 20]])
    );
}

#[test]
fn persons_and_their_ids_follow_merges() {
    let ids = "SELECT distinct_id FROM person_distinct_ids WHERE person_id IN \
        (SELECT person_id FROM person_distinct_ids WHERE distinct_id = 'anon') ORDER BY distinct_id";
    assert_eq!(rows(ids), json!([["ann"], ["anon"]]));
    let whole = "SELECT groupUniqArray(distinct_id), count() FROM events WHERE person_id IN \
        (SELECT person_id FROM person_distinct_ids WHERE distinct_id IN ['anon']) GROUP BY person_id";
    assert_eq!(rows(whole), json!([[["ann", "anon"], 5]]));
    let persons = "SELECT properties.email, properties.seats, is_identified FROM persons ORDER BY properties.email";
    assert_eq!(rows(persons), json!([["a@b.co", null, 1], [null, 3.0, 0]]));
    let joined = "SELECT DISTINCT person.properties.email FROM events WHERE distinct_id = 'anon'";
    assert_eq!(rows(joined), json!([["a@b.co"]]));
}

#[test]
fn subqueries_unions_and_with_are_tables() {
    let nested = "SELECT name, sum(n) FROM (SELECT event AS name, 1 AS n FROM events) GROUP BY name HAVING sum(n) > 1 ORDER BY name";
    assert_eq!(rows(nested), json!([["$pageview", 2], ["purchase", 2]]));
    let with = "WITH buyers AS (SELECT DISTINCT distinct_id FROM events WHERE event = 'purchase') \
        SELECT count() FROM events WHERE distinct_id IN (SELECT distinct_id FROM buyers)";
    assert_eq!(rows(with), json!([[4]]));
    assert_eq!(
        rows("SELECT count() FROM (SELECT 1 AS x UNION ALL SELECT 2 AS x)"),
        json!([[2]])
    );
}

#[test]
fn a_keyset_page_compares_tuples() {
    let text = "SELECT event FROM events WHERE (timestamp, uuid) > (toDateTime({ts}), toUUID({uuid})) ORDER BY timestamp, uuid";
    let values = json!({"ts": "2026-11-21T09:00:00Z", "uuid": Uuid::from_u128(5)});
    assert_eq!(
        run(text, values).unwrap(),
        json!([["$pageview"], ["purchase"]])
    );
}

#[test]
fn properties_are_reached_by_every_spelling() {
    let text = "SELECT properties.deep, properties['deep']['a'], JSONExtractString(properties, 'deep', 'a', 2), e.properties.none \
        FROM events AS e WHERE event = 'signup'";
    assert_eq!(
        rows(text),
        json!([[r#"{"a":[1,"x"]}"#, r#"[1,"x"]"#, "x", null]])
    );
}

#[test]
fn functions_give_exact_values() {
    for (expression, value) in [
        ("toDate('2026-02-03T04:05:06Z')", json!("2026-02-03")),
        ("toDateTime('nonsense')", json!(null)),
        ("today() - INTERVAL 1 MONTH", json!("2026-10-22")),
        ("now() - INTERVAL 90 MINUTE", json!("2026-11-22T10:30:00Z")),
        (
            "dateDiff('day', toDateTime('2026-11-21T23:59:00Z'), now())",
            json!(1),
        ),
        ("dateDiff('month', toDate('2026-09-30'), today())", json!(2)),
        ("dateTrunc('week', now())", json!("2026-11-16T00:00:00Z")),
        ("toStartOfWeek(now())", json!("2026-11-22")),
        ("toStartOfMonth(now())", json!("2026-11-01")),
        ("if(1 > 2, 'a', 'b')", json!("b")),
        ("multiIf(1 = 2, 'a', 1 = 1, 'b', 'c')", json!("b")),
        ("CASE 3 WHEN 1 THEN 'a' WHEN 3 THEN 'b' END", json!("b")),
        ("coalesce(null, 5)", json!(5)),
        ("ifNull(toInt('x'), 7)", json!(7)),
        ("nullIf('a', 'a')", json!(null)),
        ("concat('a', toString(1), 'é')", json!("a1é")),
        ("length('é')", json!(2)),
        ("position('abc', 'c')", json!(3)),
        (
            "startsWith('abc', 'ab') and endsWith('abc', 'bc')",
            json!(1),
        ),
        ("'ABC' ILIKE 'a%'", json!(1)),
        ("7 / 2", json!(3.5)),
        ("7 % 4 - 5", json!(-2)),
        ("round(2.5)", json!(2.0)),
        ("round(2.341, 2)", json!(2.34)),
        ("floor(-1.5) + ceil(1.2) + abs(-3)", json!(3.0)),
        ("toInt('12')", json!(12)),
        ("toInt(1.5)", json!(null)),
        ("toFloat('1e3')", json!(1000.0)),
        ("[10, 20][2]", json!(20)),
        ("arrayElement(['a'], 0)", json!("")),
        ("indexOf(['a', 'b'], 'z')", json!(0)),
        ("has([1, 2], 2)", json!(1)),
        ("tuple(1, 'a')", json!([1, "a"])),
        ("tupleElement((1, 'a'), 2)", json!("a")),
        ("5 BETWEEN 1 AND 5", json!(1)),
        ("3 IN [1, 2]", json!(0)),
    ] {
        assert_eq!(
            rows(&format!("SELECT {expression}")),
            json!([[value]]),
            "{expression}"
        );
    }
}

#[test]
fn what_is_not_evaluated_is_refused_even_over_no_rows() {
    for (text, message) in [
        ("SELECT nope FROM events", "Unable to resolve field: nope"),
        ("SELECT 1 FROM nope", "Unknown table `nope`."),
        (
            "SELECT windowFunnel(1)(timestamp, event = 'a') FROM events",
            "Unsupported function call 'windowFunnel()'",
        ),
        (
            "SELECT reverse(event) FROM events WHERE event = 'none'",
            "Unsupported function call 'reverse(String)'",
        ),
        (
            "SELECT event > 5 FROM events WHERE event = 'none'",
            "There is no supertype for types String, UInt8",
        ),
        (
            "SELECT event, count() FROM events",
            "Column `event` is not under aggregate function and not in GROUP BY",
        ),
        (
            "SELECT count() FROM events WHERE distinct_id IN {ids}",
            "Unresolved placeholder: {ids}",
        ),
        (
            "SELECT sum(event) FROM events",
            "Unsupported function call 'sum(String)'",
        ),
        (
            "SELECT 1 FROM events e JOIN persons p ON e.person_id = p.id",
            "the PostHog double does not evaluate joins",
        ),
        (
            "SELECT row_number() OVER (ORDER BY event) FROM events",
            "the PostHog double does not evaluate window functions",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
    assert!(refusal("SELECT max(count()) FROM events").contains("cannot stand in"));
    assert!(refusal("SELECT event FROM events WHERE count() > 1").contains("cannot stand in"));
    assert!(!refusal("SELECT 1; DROP TABLE events").is_empty());
}

#[test]
fn a_check_needs_no_values_and_names_the_tables() {
    let checked = |text| check(text, &snapshot(), now());
    let text = "SELECT arrayElement({contacts}, indexOf({ids}, distinct_id)) AS contact, \
        countIf(timestamp > now() - toIntervalSecond({w})) FROM events \
        WHERE person_id IN (SELECT person_id FROM person_distinct_ids WHERE distinct_id IN {ids}) GROUP BY contact";
    assert_eq!(
        checked(text),
        Ok(vec!["events".to_owned(), "person_distinct_ids".to_owned()])
    );
    let Err(Fault { offset, .. }) = checked("SELECT count( FROM events") else {
        panic!("parsed")
    };
    assert!(offset.is_some());
    assert_eq!(checked("SELECT nope FROM events").unwrap_err().offset, None);
}
