//! What a tree may use, by closed lists.
//!
//! * [`check_select`]: a whole query, as an operator of a tenant writes it.
//! * [`check_aggregate`]: a metric, one expression over a contact's events that shares its query with others.

mod metric;
mod select;

pub use metric::check_aggregate;
pub use select::{Policy, check_select};

use crate::ast::Call;
use crate::functions::is_parametric;

/// Tables with the tenant's own product data. Not among them: `system.*`, `query_log` and `log_entries`, the platform's metadata.
pub const TABLES: &[&str] = &[
    "events",
    "persons",
    "person_distinct_ids",
    "sessions",
    "groups",
    "cohort_people",
    "static_cohort_people",
    "session_replay_events",
];

/// Why a tree may not be sent, by the name of what stands against it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the table `{0}` is not allowed")]
    Table(String),
    #[error("the function `{0}` is not allowed")]
    Function(String),
    #[error("the function `{0}` needs OVER")]
    WithoutWindow(String),
    #[error("the function `{0}` cannot stand before OVER")]
    Window(String),
    #[error("the function `{0}` takes no parameters")]
    Parameters(String),
    #[error("unknown name `{0}`")]
    Name(String),
    #[error("the name `{0}` is given twice")]
    Duplicate(String),
    #[error("PostHog keeps the placeholder `{0}` for itself")]
    Placeholder(String),
    #[error("`*` can only be selected or counted")]
    Asterisk,
    #[error("more than {max} {what} in one query")]
    TooMany { what: &'static str, max: usize },
    #[error("a metric cannot contain {0}")]
    InMetric(&'static str),
    #[error("a metric needs an aggregate such as count()")]
    NoAggregate,
    #[error("`{0}` stands outside an aggregate")]
    OutsideAggregate(String),
    #[error("the aggregate `{0}` stands inside another function's aggregate or lambda")]
    NestedAggregate(String),
    #[error("wrong number of arguments or parameters for `{0}`")]
    Arguments(String),
    #[error("the parameter of `{0}` must be a number between 0 and 1")]
    Level(String),
}

fn check_params(call: &Call) -> Result<(), Refusal> {
    if call.params.is_some() && !is_parametric(&call.name) {
        return Err(Refusal::Parameters(call.name.clone()));
    }
    Ok(())
}
