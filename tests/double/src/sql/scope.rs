//! The names that `WITH` gives.

use hogql::ast::{Cte, CteBody, Expr, Query};

/// The members of the `WITH` lists in force, outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'a>(Vec<&'a Cte>);

impl<'a> Scope<'a> {
    pub(super) fn within(&self, members: &'a [Cte]) -> Self {
        Self(self.0.iter().copied().chain(members).collect())
    }

    /// The query of this name, and the names that it sees itself: those before it, so that it never sees itself.
    pub(super) fn query(&self, name: &str) -> Option<(&'a Query, Self)> {
        let place = self
            .0
            .iter()
            .rposition(|cte| cte.name == name && matches!(cte.body, CteBody::Query(_)))?;
        match &self.0[place].body {
            CteBody::Query(query) => Some((query, Self(self.0[..place].to_vec()))),
            CteBody::Expr(_) => None,
        }
    }

    pub(super) fn expr(&self, name: &str) -> Option<&'a Expr> {
        self.0.iter().rev().find_map(|cte| match &cte.body {
            CteBody::Expr(expr) if cte.name == name => Some(expr),
            _ => None,
        })
    }
}
