//! Bounding the rows of a query.

use crate::ast::{Column, Expr, From, Query, Relation, Select, Source};

/// The query with a `LIMIT` on its result: its own, cut to `max`, or else `default`, both in rows.
///
/// A union becomes the subquery of a `SELECT *`, because a `LIMIT` behind it would bound its last member alone.
#[must_use]
pub fn with_limit(query: Query, default: u64, max: u64) -> Query {
    let mut select = match query {
        Query::Select(select) => select,
        Query::UnionAll(members) => Box::new(Select {
            columns: vec![Column {
                expr: Expr::Asterisk(None),
                alias: None,
            }],
            from: Some(From {
                relation: Relation {
                    source: Source::Subquery(Query::UnionAll(members)),
                    alias: None,
                },
                joins: Vec::new(),
            }),
            ..Select::default()
        }),
    };
    select.limit = Some(select.limit.unwrap_or(default).min(max));
    Query::Select(select)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_select;

    #[test]
    fn a_query_without_a_limit_gets_one_and_a_larger_one_is_cut() {
        for (text, expected) in [
            ("SELECT 1", "SELECT 1 LIMIT 100"),
            ("SELECT 1 LIMIT 7 OFFSET 3", "SELECT 1 LIMIT 7 OFFSET 3"),
            ("SELECT 1 LIMIT 50001", "SELECT 1 LIMIT 50000"),
            (
                "SELECT 1 UNION ALL SELECT 2",
                "SELECT * FROM (SELECT 1 UNION ALL SELECT 2) LIMIT 100",
            ),
            (
                "(SELECT 1 LIMIT 9) UNION ALL SELECT 2",
                "SELECT * FROM ((SELECT 1 LIMIT 9) UNION ALL SELECT 2) LIMIT 100",
            ),
        ] {
            let limited = with_limit(parse_select(text).unwrap(), 100, 50_000);
            assert_eq!(limited.to_string(), expected);
            assert_eq!(parse_select(expected).unwrap(), limited);
        }
    }
}
