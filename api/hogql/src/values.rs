//! The values that travel beside a query.

use std::collections::BTreeSet;

use crate::ast::{CteBody, Expr, Query, Select, Source};

/// Why the values do not fit the query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("no value is given for the placeholder {{{0}}}")]
    Missing(String),
    #[error("the value `{0}` is not used in the query")]
    Unused(String),
}

/// The names of all placeholders, those of subqueries included.
pub fn placeholders(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    of_query(query, &mut names);
    names
}

/// Checks that each placeholder has a value and each value a placeholder.
///
/// # Errors
/// The first of either that has no partner.
pub fn check_values<'a>(
    query: &Query,
    values: impl IntoIterator<Item = &'a str>,
) -> Result<(), ValueError> {
    let mut missing = placeholders(query);
    for value in values {
        if !missing.remove(value) {
            return Err(ValueError::Unused(value.to_owned()));
        }
    }
    missing
        .pop_first()
        .map_or(Ok(()), |name| Err(ValueError::Missing(name)))
}

fn of_query(query: &Query, names: &mut BTreeSet<String>) {
    match query {
        Query::Select(select) => of_select(select, names),
        Query::UnionAll(members) => {
            for member in members {
                of_query(member, names);
            }
        }
    }
}

fn of_select(select: &Select, names: &mut BTreeSet<String>) {
    for cte in &select.with {
        if let CteBody::Query(query) = &cte.body {
            of_query(query, names);
        }
    }
    for relation in select.relations() {
        if let Source::Subquery(query) = &relation.source {
            of_query(query, names);
        }
    }
    for expr in select.exprs() {
        of_expr(expr, names);
    }
}

fn of_expr(expr: &Expr, names: &mut BTreeSet<String>) {
    match expr {
        Expr::Placeholder(name) => {
            names.insert(name.clone());
        }
        Expr::Subquery(query) => of_query(query, names),
        _ => {
            for child in expr.children() {
                of_expr(child, names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_select;

    #[test]
    fn placeholders_are_found_wherever_an_expression_stands() {
        let query = parse_select(
            "WITH {a} AS x, t AS (SELECT {b}) SELECT f({c}), count() OVER (PARTITION BY {d}) FROM (SELECT {e}) AS s
             JOIN (SELECT {f}) AS r ON {g} WHERE x IN (SELECT {h} UNION ALL SELECT {i}) GROUP BY {j} HAVING {k} ORDER BY {l}, {a}",
        );
        let names: Vec<_> = placeholders(&query.unwrap()).into_iter().collect();
        assert_eq!(names.concat(), "abcdefghijkl");
    }

    #[test]
    fn values_and_placeholders_must_match() {
        let query = parse_select("SELECT {b}, {a}").unwrap();
        assert_eq!(check_values(&query, ["a", "b"]), Ok(()));
        assert_eq!(
            check_values(&query, ["b"]),
            Err(ValueError::Missing("a".into()))
        );
        assert_eq!(
            check_values(&query, ["a", "b", "c"]),
            Err(ValueError::Unused("c".into()))
        );
    }
}
