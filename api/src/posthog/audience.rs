//! Sets of persons that PostHog knows, told as distinct ids.

use hogql::{
    allow::{Policy, check_select},
    ast::{Expr, Query},
    check_values, parse_select,
};
use serde_json::{Map, Value, json};

use super::Posthog;
use crate::base::{Cx, Error, Result};

/// Distinct ids of one answer: PostHog gives 50,000 rows, and ids of 800 bytes stay within what is read of an answer.
pub const IDS_AT_ONCE: usize = 20_000;

/// A set of persons.
#[derive(Clone, Copy, Debug)]
pub enum Audience<'a> {
    Cohort(i32),
    /// Who was shown one variant of a flag's experiment, and no other.
    Exposed {
        flag: &'a str,
        variant: &'a str,
    },
    /// Whom a tenant's own query names by its column `distinct_id`.
    Query(&'a str),
}

const COHORT: &str = "SELECT distinct_id FROM person_distinct_ids WHERE person_id IN \
    (SELECT person_id FROM cohort_people WHERE cohort_id = {cohort})";

const EXPOSED: &str = "SELECT distinct_id FROM person_distinct_ids WHERE person_id IN \
    (SELECT person_id FROM events WHERE event = '$feature_flag_called' AND properties.$feature_flag = {flag} GROUP BY person_id \
    HAVING uniq(properties.$feature_flag_response) = 1 AND any(properties.$feature_flag_response) = {variant})";

/// A text that can name an audience, parsed; fails at `query`.
fn parsed(text: &str) -> Result<Query> {
    let wrong = |why: String| Error::invalid("query", why);
    let query = parse_select(text).map_err(|e| wrong(e.to_string()))?;
    check_select(&query, &Policy::default()).map_err(|e| wrong(e.to_string()))?;
    check_values(&query, []).map_err(|e| wrong(e.to_string()))?;
    if !tells_ids(&query) {
        return Err(wrong("the query has no column distinct_id".to_owned()));
    }
    Ok(query)
}

/// Whether each SELECT has a column of this name; a `*` may hold it.
fn tells_ids(query: &Query) -> bool {
    match query {
        Query::UnionAll(members) => members.iter().all(tells_ids),
        Query::Select(select) => select.columns.iter().any(|column| match &column.alias {
            Some(alias) => alias == ID,
            None => match &column.expr {
                Expr::Field(path) => path.last().is_some_and(|name| name == ID),
                Expr::Asterisk(_) => true,
                _ => false,
            },
        }),
    }
}

const ID: &str = "distinct_id";

impl Audience<'_> {
    /// Fails at `query` for a text that cannot be asked. Whether PostHog takes it is seen when it is.
    pub fn check(text: &str) -> Result<()> {
        parsed(text).map(|_| ())
    }
    /// The query for the next ids, and its values.
    fn statement(&self, after: &str) -> Result<(String, Map<String, Value>)> {
        let (inner, values) = match self {
            Self::Cohort(id) => (COHORT.to_owned(), json!({"cohort": id})),
            Self::Exposed { flag, variant } => (
                EXPOSED.to_owned(),
                json!({"flag": flag, "variant": variant}),
            ),
            Self::Query(text) => (parsed(text)?.to_string(), json!({})),
        };
        let text = format!(
            "SELECT DISTINCT distinct_id FROM ({inner}) WHERE distinct_id > {{after}} ORDER BY distinct_id LIMIT {IDS_AT_ONCE}"
        );
        let mut values = match values {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        values.insert("after".to_owned(), after.into());
        Ok((super::table::checked_query(&text, &values)?, values))
    }
    /// Every shape of query that is sent, for PostHog's own parser to judge.
    pub(super) fn corpus() -> Vec<String> {
        let query = "SELECT person.properties.email, distinct_id FROM events WHERE event = 'signup' LIMIT 10";
        let union = "SELECT distinct_id FROM events UNION ALL SELECT pdi.distinct_id FROM person_distinct_ids AS pdi";
        let exposed = Self::Exposed {
            flag: "f",
            variant: "test",
        };
        [
            Self::Cohort(1),
            exposed,
            Self::Query(query),
            Self::Query(union),
        ]
        .iter()
        .filter_map(|audience| Some(audience.statement("").ok()?.0))
        .collect()
    }
}

impl Posthog {
    /// The audience's distinct ids behind `after`, in their order, at most [`IDS_AT_ONCE`]: as many where there are more.
    pub async fn audience(
        &self,
        cx: &Cx,
        audience: &Audience<'_>,
        after: &str,
    ) -> Result<Vec<String>> {
        let (text, values) = audience.statement(after)?;
        let connection = self.connection(&cx.db()).await?;
        let table = self
            .query(&connection, "growthos.segment", &text, &values)
            .await?;
        let ids = table.rows.into_iter().filter_map(|row| {
            let Some(Value::String(id)) = row.into_iter().next() else {
                return None;
            };
            Some(id)
        });
        Ok(ids.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_must_name_people_and_bring_no_values() {
        for text in [
            "SELECT distinct_id FROM events",
            "SELECT e.distinct_id, event FROM events AS e",
            "SELECT concat('a', properties.x) AS distinct_id FROM events",
            "SELECT * FROM person_distinct_ids",
            "SELECT distinct_id FROM events UNION ALL SELECT distinct_id FROM person_distinct_ids",
        ] {
            assert!(Audience::check(text).is_ok(), "{text}");
        }
        for text in [
            "SELECT person_id FROM events",
            "SELECT distinct_id AS id FROM events",
            "SELECT distinct_id FROM events UNION ALL SELECT id FROM persons",
            "SELECT distinct_id FROM events WHERE event = {event}",
            "SELECT distinct_id FROM system.tables",
            "DROP TABLE events",
        ] {
            match Audience::check(text) {
                Err(Error::User(error)) => assert_eq!(error.field.as_deref(), Some("query")),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn no_shape_is_left_out_of_the_corpus() {
        assert_eq!(Audience::corpus().len(), 4);
    }
}
