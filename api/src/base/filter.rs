//! What filters are made of: the operators a type has, and the conditions they become.
//!
//! An absent value is not equal to anything: `eq` leaves it out, `ne` and `notIn` keep it.

use async_graphql::{Enum, InputObject};
use sea_orm::{
    Condition,
    sea_query::{Expr, ExprTrait, Func, LikeExpr},
};
use serde::{Deserialize, Serialize};

use super::{instant::Instant, storable};

/// Marks a wildcard that is meant as itself. Not the backslash, which PostgreSQL's strings may read themselves.
const LIKE_ESCAPE: char = '!';

/// What a text must be. All operators given must hold.
#[derive(Clone, Debug, Default, PartialEq, InputObject, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct StringFilter {
    /// Is this text, letter for letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eq: Option<String>,
    /// Is not this text; an absent value is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ne: Option<String>,
    /// Is one of these texts; at most 100.
    #[graphql(validator(max_items = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#in: Option<Vec<String>>,
    /// Is none of these texts, or absent; at most 100.
    #[graphql(validator(max_items = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_in: Option<Vec<String>>,
    /// Holds this text; upper and lower case are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Starts with this text; upper and lower case are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<String>,
    /// Is there at all, or is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

impl StringFilter {
    /// The filter with each text that is compared as a whole put through `normal`.
    #[must_use]
    pub fn normalized(mut self, normal: impl Fn(String) -> String) -> Self {
        self.eq = self.eq.map(&normal);
        self.ne = self.ne.map(&normal);
        for texts in [&mut self.r#in, &mut self.not_in] {
            *texts = texts
                .take()
                .map(|texts| texts.into_iter().map(&normal).collect());
        }
        self
    }
    /// How many operators it names.
    pub const fn operators(&self) -> usize {
        self.eq.is_some() as usize
            + self.ne.is_some() as usize
            + self.r#in.is_some() as usize
            + self.not_in.is_some() as usize
            + self.contains.is_some() as usize
            + self.starts_with.is_some() as usize
            + self.exists.is_some() as usize
    }
    /// For a column of the row itself.
    pub fn of_column(&self, column: &Expr) -> Condition {
        let Among { some, none } = self.among(column);
        let mut all = Condition::all();
        if let Some(some) = some {
            all = all.add(column.clone().is_not_null()).add(some);
        }
        if let Some(none) = none {
            all = all.add(
                Condition::any()
                    .add(column.clone().is_null())
                    .add(none.not()),
            );
        }
        all
    }
    /// For a `value` of which a row may have several, or none.
    pub fn among(&self, value: &Expr) -> Among {
        let is = |text: &String| value.clone().eq(storable(text.clone()));
        let is_in = |texts: &Vec<String>| value.clone().is_in(texts.iter().cloned().map(storable));
        let mut among = Among::default();
        for condition in [
            self.eq.as_ref().map(is),
            self.r#in.as_ref().map(is_in),
            self.contains.as_ref().map(|text| like(value, "%", text)),
            self.starts_with.as_ref().map(|text| like(value, "", text)),
        ]
        .into_iter()
        .flatten()
        {
            among.must(condition);
        }
        for condition in [self.ne.as_ref().map(is), self.not_in.as_ref().map(is_in)]
            .into_iter()
            .flatten()
        {
            among.must_not(condition);
        }
        match self.exists {
            Some(true) => among.must(Expr::value(true)),
            Some(false) => among.must_not(Expr::value(true)),
            None => {}
        }
        among
    }
}

/// What is asked of the values that a row has several of, or none.
#[derive(Clone, Debug, Default)]
pub struct Among {
    /// One value meets all of this.
    pub some: Option<Condition>,
    /// No value meets this.
    pub none: Option<Condition>,
}

impl Among {
    /// One value must meet `condition`, too.
    pub fn must(&mut self, condition: impl Into<Condition>) {
        let some = self.some.take().unwrap_or_else(Condition::all);
        self.some = Some(some.add(condition.into()));
    }
    /// No value may meet `condition`, either.
    pub fn must_not(&mut self, condition: impl Into<Condition>) {
        let none = self.none.take().unwrap_or_else(Condition::any);
        self.none = Some(none.add(condition.into()));
    }
}

/// When something must have happened. All operators given must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct DateTimeFilter {
    /// Earlier than this instant.
    pub before: Option<Instant>,
    /// Later than this instant.
    pub after: Option<Instant>,
    /// Has an instant at all, or has none.
    pub exists: Option<bool>,
}

impl DateTimeFilter {
    /// How many operators it names.
    pub const fn operators(&self) -> usize {
        self.before.is_some() as usize
            + self.after.is_some() as usize
            + self.exists.is_some() as usize
    }
    /// For a column of the row itself.
    pub fn of_column(&self, column: &Expr) -> Condition {
        Condition::all()
            .add_option(self.before.map(|at| column.clone().lt(at.0)))
            .add_option(self.after.map(|at| column.clone().gt(at.0)))
            .add_option(self.exists.map(|exists| {
                if exists {
                    column.clone().is_not_null()
                } else {
                    column.clone().is_null()
                }
            }))
    }
}

/// Which way a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum OrderDirection {
    /// The smallest, or the earliest, first.
    Asc,
    /// The largest, or the latest, first.
    Desc,
}

/// No text that filters see is longer; SQLite fails on patterns over 50,000 bytes.
const PATTERN_BYTES_MAX: usize = 10_000;

/// `text` anywhere after `before`, whatever the case of its letters. SQLite itself lowers ASCII letters alone.
pub fn like(value: &Expr, before: &str, text: &str) -> Expr {
    if text.len() > PATTERN_BYTES_MAX {
        return Expr::value(false);
    }
    let mut pattern = String::from(before);
    for c in storable(text.to_lowercase()).chars() {
        if matches!(c, '%' | '_' | LIKE_ESCAPE) {
            pattern.push(LIKE_ESCAPE);
        }
        pattern.push(c);
    }
    pattern.push('%');
    Expr::expr(Func::lower(value.clone())).like(LikeExpr::new(pattern).escape(LIKE_ESCAPE))
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Alias, Query, SqliteQueryBuilder};

    use super::*;

    fn sql(filter: &StringFilter) -> String {
        let query = Query::select()
            .expr(Expr::cust("1"))
            .cond_where(filter.of_column(&Expr::col(Alias::new("name"))))
            .to_string(SqliteQueryBuilder);
        query
            .strip_prefix("SELECT 1 WHERE ")
            .unwrap_or(&query)
            .to_owned()
    }

    #[test]
    fn wildcards_in_a_text_are_meant_as_themselves() {
        let filter = StringFilter {
            starts_with: Some("50%_Off!".into()),
            ..StringFilter::default()
        };
        assert_eq!(
            sql(&filter),
            r#""name" IS NOT NULL AND LOWER("name") LIKE '50!%!_off!!%' ESCAPE '!'"#
        );
    }

    #[test]
    fn an_absent_value_is_unequal_to_every_text() {
        let filter = StringFilter {
            ne: Some("a".into()),
            ..StringFilter::default()
        };
        assert_eq!(sql(&filter), r#""name" IS NULL OR (NOT "name" = 'a')"#);
    }
}
