//! The one query behind a page of contacts: built as a tree, with every value beside it. Pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hogql::{
    ast::{BinaryOp, Column, Expr, From, Query, Relation, Select, Source},
    narrow, parse_expr,
};
use serde_json::{Map, Value, json};

use crate::posthog::client::Table;

/// PostHog cuts a longer result.
pub(super) const ROWS_MAX: u64 = 50_000;

/// What is asked of PostHog about each contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Spec {
    Activity {
        window_s: i64,
    },
    Metric {
        /// An expression that `hogql::allow::check_aggregate` let through, as printed.
        expression: String,
        window_s: i64,
    },
}

/// What PostHog knows of one contact under one [`Spec`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::posthog) enum Cell {
    Activity(Activity),
    Metric(Value),
}

/// What a contact did in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::posthog) struct Activity {
    pub(super) events: i64,
    pub(super) pageviews: i64,
    pub(super) sessions: i64,
    pub(super) active_days: i64,
    pub(super) first_seen_at: Option<DateTime<Utc>>,
    pub(super) last_seen_at: Option<DateTime<Utc>>,
    pub(super) last_url: Option<String>,
}

/// Columns of an [`Activity`].
const ACTIVITY_COLUMNS: usize = 7;

/// A query and the values of its placeholders.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) values: Map<String, Value>,
}

impl Spec {
    pub(super) const fn window_s(&self) -> i64 {
        match self {
            Self::Activity { window_s } | Self::Metric { window_s, .. } => *window_s,
        }
    }
    const fn columns(&self) -> usize {
        match self {
            Self::Activity { .. } => ACTIVITY_COLUMNS,
            Self::Metric { .. } => 1,
        }
    }
    /// Its aggregates over all rows.
    pub(super) fn aggregates(&self) -> Vec<Expr> {
        let (event, at) = (Expr::field(["event"]), Expr::field(["timestamp"]));
        match self {
            Self::Activity { .. } => vec![
                Expr::call("count", vec![]),
                Expr::call(
                    "countIf",
                    vec![Expr::binary(
                        BinaryOp::Equal,
                        event,
                        Expr::string("$pageview"),
                    )],
                ),
                Expr::call("uniq", vec![Expr::field(["$session_id"])]),
                Expr::call("uniq", vec![Expr::call("toDate", vec![at.clone()])]),
                Expr::call("min", vec![at.clone()]),
                Expr::call("max", vec![at.clone()]),
                Expr::call(
                    "argMax",
                    vec![Expr::field(["properties", "$current_url"]), at],
                ),
            ],
            // It was parsed, checked and printed when it was saved; should it be neither now, PostHog is
            // asked for nothing rather than for something that was never checked.
            Self::Metric { expression, .. } => {
                let parsed = parse_expr(expression).ok();
                let checked = parsed.filter(|expr| hogql::allow::check_aggregate(expr).is_ok());
                vec![checked.unwrap_or(Expr::Constant(hogql::ast::Constant::Null))]
            }
        }
    }
    /// Reads its cells of one row.
    fn cell(&self, cells: &[Value]) -> Option<Cell> {
        match self {
            Self::Metric { .. } => cells.first().cloned().map(Cell::Metric),
            Self::Activity { .. } => {
                let [events, pageviews, sessions, days, first, last, url] = cells else {
                    return None;
                };
                let events = events.as_i64()?;
                // Over no row ClickHouse's least and greatest instants are 1970.
                let at = |cell: &Value| {
                    let text = cell.as_str().filter(|_| events > 0)?;
                    crate::posthog::client::instant(text)
                };
                Some(Cell::Activity(Activity {
                    events,
                    pageviews: pageviews.as_i64()?,
                    sessions: sessions.as_i64()?,
                    active_days: days.as_i64()?,
                    first_seen_at: at(first),
                    last_seen_at: at(last),
                    last_url: url
                        .as_str()
                        .filter(|url| !url.is_empty())
                        .map(str::to_owned),
                }))
            }
        }
    }
}

/// Builds the query of all `specs` over all `people`, each given by every distinct id that PostHog may know them
/// by. A row is one person: its first column counts them from 1. Row 0 is nobody: what the metrics give over no
/// event at all, because PostHog has no row for people without events.
pub(super) fn statement(specs: &[&Spec], people: &[&[String]]) -> Statement {
    let windows: BTreeSet<i64> = specs.iter().map(|spec| spec.window_s()).collect();
    let window = |window_s: i64| {
        format!(
            "w{}",
            windows.iter().position(|w| *w == window_s).unwrap_or(0)
        )
    };
    let cells: Vec<Expr> = specs
        .iter()
        .flat_map(|spec| {
            let within = since(&window(spec.window_s()));
            spec.aggregates()
                .into_iter()
                .map(move |aggregate| narrow(aggregate, &within))
        })
        .collect();
    let columns = |person: Expr| -> Vec<Column> {
        let named = cells
            .iter()
            .enumerate()
            .map(|(at, cell)| cell.clone().named(format!("c{at}")));
        std::iter::once(person.named("contact"))
            .chain(named)
            .collect()
    };
    let id = || Expr::field(["distinct_id"]);
    let person = Expr::call(
        "arrayElement",
        vec![
            Expr::placeholder("contacts"),
            Expr::call("indexOf", vec![Expr::placeholder("ids"), id()]),
        ],
    );
    let named = Expr::In {
        expr: id().into(),
        negated: false,
        set: Expr::placeholder("ids").into(),
    };
    let page = Query::Select(Box::new(Select {
        columns: columns(person),
        from: Some(events()),
        filter: Some(named.and(since("span"))),
        group_by: vec![Expr::field(["contact"])],
        ..Select::default()
    }));
    let metrics = specs.iter().any(|spec| matches!(spec, Spec::Metric { .. }));
    let query = if metrics {
        let nobody = Query::Select(Box::new(Select {
            columns: columns(Expr::int(0)),
            from: Some(events()),
            filter: Some(Expr::binary(BinaryOp::Equal, Expr::int(1), Expr::int(0))),
            ..Select::default()
        }));
        Query::UnionAll(vec![page, nobody])
    } else {
        page
    };
    let mut values = Map::new();
    for (at, window_s) in windows.iter().enumerate() {
        values.insert(format!("w{at}"), json!(window_s));
    }
    values.insert(
        "span".into(),
        json!(windows.last().copied().unwrap_or_default()),
    );
    let places = people
        .iter()
        .enumerate()
        .flat_map(|(at, ids)| ids.iter().map(move |_| at + 1));
    values.insert("contacts".into(), places.collect());
    values.insert(
        "ids".into(),
        people.iter().copied().flatten().cloned().collect(),
    );
    Statement {
        text: hogql::with_limit(query, ROWS_MAX, ROWS_MAX).to_string(),
        values,
    }
}

/// Events of as many seconds as the placeholder of this name says, counted back from now.
pub(super) fn since(name: &str) -> Expr {
    let span = Expr::call("toIntervalSecond", vec![Expr::placeholder(name)]);
    let from = Expr::binary(BinaryOp::Subtract, Expr::call("now", vec![]), span);
    Expr::binary(BinaryOp::Greater, Expr::field(["timestamp"]), from)
}

pub(super) fn events() -> From {
    From {
        relation: Relation {
            source: Source::Table("events".into()),
            alias: None,
        },
        joins: vec![],
    }
}

/// The cells of `people` (how many they are) under each of `specs`, a person a row: what the table says, or
/// what there is to say of people without events. `None` when the table is not an answer to [`statement`].
pub(super) fn read(specs: &[&Spec], people: usize, table: &Table) -> Option<Vec<Vec<Cell>>> {
    let mut of_person: Vec<Option<Vec<Cell>>> = vec![None; people + 1];
    for row in &table.rows {
        let (person, mut cells) = row.split_first()?;
        let mut read = Vec::with_capacity(specs.len());
        for spec in specs {
            let (own, rest) = cells.split_at_checked(spec.columns())?;
            read.push(spec.cell(own)?);
            cells = rest;
        }
        let person = usize::try_from(person.as_u64()?).ok()?;
        *of_person.get_mut(person)? = Some(read);
    }
    let mut of_person = of_person.into_iter();
    let nobody = of_person.next().flatten().unwrap_or_else(|| {
        let empty = |spec: &&Spec| match spec {
            Spec::Activity { .. } => Cell::Activity(Activity::default()),
            Spec::Metric { .. } => Cell::Metric(Value::Null),
        };
        specs.iter().map(empty).collect()
    });
    Some(
        of_person
            .map(|cells| cells.unwrap_or_else(|| nobody.clone()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }
    fn metric(expression: &str, days: i64) -> Spec {
        Spec::Metric {
            expression: expression.into(),
            window_s: days * DAY_S,
        }
    }
    fn table(rows: Value) -> Table {
        Table {
            columns: vec![],
            types: vec![],
            rows: serde_json::from_value(rows).unwrap(),
            has_more: false,
            limit: None,
            as_of: DateTime::UNIX_EPOCH,
            is_cached: false,
        }
    }

    #[test]
    fn one_select_holds_every_column_of_every_contact_and_no_value() {
        let specs = [
            Spec::Activity {
                window_s: 7 * DAY_S,
            },
            metric("sum(toFloat(properties.amount))", 90),
        ];
        let people = [ids(&["ann", "anon'); DROP"]), ids(&["bob"])];
        let made = statement(&[&specs[0], &specs[1]], &[&people[0], &people[1]]);
        let within = |w: &str| format!("timestamp > now() - toIntervalSecond({{{w}}})");
        let (week, quarter) = (within("w0"), within("w1"));
        let cells = format!(
            "countIf({week}) AS c0, countIf(event = '$pageview' AND {week}) AS c1, uniqIf($session_id, {week}) AS c2, \
             uniqIf(toDate(timestamp), {week}) AS c3, minIf(timestamp, {week}) AS c4, maxIf(timestamp, {week}) AS c5, \
             argMaxIf(properties.$current_url, timestamp, {week}) AS c6, sumIf(toFloat(properties.amount), {quarter}) AS c7"
        );
        let expected = format!(
            "SELECT * FROM (SELECT arrayElement({{contacts}}, indexOf({{ids}}, distinct_id)) AS contact, {cells} FROM events \
             WHERE distinct_id IN {{ids}} AND {span} GROUP BY contact \
             UNION ALL SELECT 0 AS contact, {cells} FROM events WHERE 1 = 0) LIMIT 50000",
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
            json!({
                "w0": 7 * DAY_S, "w1": 90 * DAY_S, "span": 90 * DAY_S,
                "contacts": [1, 1, 2], "ids": ["ann", "anon'); DROP", "bob"],
            })
        );
    }

    #[test]
    fn activity_alone_needs_no_row_of_nobody() {
        let spec = Spec::Activity { window_s: DAY_S };
        let made = statement(&[&spec], &[&ids(&["a"])]);
        assert!(!made.text.contains("UNION"), "{}", made.text);
        assert!(
            made.text.ends_with("GROUP BY contact LIMIT 50000"),
            "{}",
            made.text
        );
    }

    #[test]
    fn an_expression_that_was_never_checked_is_never_sent() {
        let spec = metric("count() + (SELECT 1 FROM persons)", 1);
        let made = statement(&[&spec], &[&ids(&["a"])]);
        assert!(!made.text.contains("persons"), "{}", made.text);
        assert!(made.text.contains("null AS c0"), "{}", made.text);
    }

    #[test]
    fn rows_are_read_by_person_and_the_others_get_what_nobody_has() {
        let specs = [Spec::Activity { window_s: DAY_S }, metric("count()", 1)];
        let specs = [&specs[0], &specs[1]];
        let zero = "1970-01-01T00:00:00Z";
        let answer = table(json!([
            [
                2,
                5,
                2,
                1,
                3,
                "2026-11-20T10:00:00Z",
                "2026-11-22T11:00:00Z",
                "/b",
                42.5
            ],
            [0, 0, 0, 0, 0, zero, zero, null, 0],
            [3, 0, 0, 0, 0, zero, zero, "", 7],
        ]));
        let cells = read(&specs, 3, &answer).unwrap();
        let empty = Cell::Activity(Activity::default());
        assert_eq!(cells[0], [empty.clone(), Cell::Metric(json!(0))]);
        assert_eq!(
            cells[1],
            [
                Cell::Activity(Activity {
                    events: 5,
                    pageviews: 2,
                    sessions: 1,
                    active_days: 3,
                    first_seen_at: crate::posthog::client::instant("2026-11-20T10:00:00Z"),
                    last_seen_at: crate::posthog::client::instant("2026-11-22T11:00:00Z"),
                    last_url: Some("/b".into()),
                }),
                Cell::Metric(json!(42.5)),
            ]
        );
        assert_eq!(cells[2], [empty, Cell::Metric(json!(7))]);
    }

    #[test]
    fn a_table_of_another_shape_is_no_answer() {
        let spec = Spec::Activity { window_s: DAY_S };
        for rows in [
            json!([[1, 2]]),
            json!([["a", 1, 1, 1, 1, "", "", ""]]),
            json!([[9, 1, 1, 1, 1, "", "", ""]]),
            json!([[]]),
        ] {
            assert_eq!(read(&[&spec], 1, &table(rows.clone())), None, "{rows}");
        }
    }
}
