use super::{Refusal, check_params};
use crate::ast::{Call, Constant, Expr};
use crate::functions::{MetricAggregate, is_aggregate, is_scalar, metric_aggregate};

/// The columns of `events` itself. What `PostHog` would join (`person.…`, `session.…`, `group_0.…`) is left out: a metric reads one table.
const EVENT_COLUMNS: [&str; 16] = [
    "uuid",
    "event",
    "properties",
    "timestamp",
    "distinct_id",
    "elements_chain",
    "created_at",
    "person_mode",
    "person_id",
    "$session_id",
    "$window_id",
    "$group_0",
    "$group_1",
    "$group_2",
    "$group_3",
    "$group_4",
];

/// Checks a metric: an expression over `events` whose every look at a row is inside an aggregate that [`narrow`](crate::narrow()) knows
/// how to restrict, and which cannot disturb the query that it is put into.
///
/// # Errors
/// The first thing that a metric may not contain, or that it has no aggregate.
pub fn check_aggregate(metric: &Expr) -> Result<(), Refusal> {
    let mut check = Check {
        variables: Vec::new(),
        aggregated: false,
        place: Place::Outside,
    };
    check.expr(metric)?;
    if check.aggregated {
        Ok(())
    } else {
        Err(Refusal::NoAggregate)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    /// Inside a lambda that is not inside an aggregate: there is no row to look at, and nothing to aggregate.
    Lambda,
    Aggregate,
}

struct Check {
    /// Variables of the lambdas around.
    variables: Vec<String>,
    aggregated: bool,
    place: Place,
}

impl Check {
    fn expr(&mut self, expr: &Expr) -> Result<(), Refusal> {
        match expr {
            Expr::Field(path) => return self.field(path),
            Expr::Asterisk(_) => return Err(Refusal::Asterisk),
            Expr::Placeholder(_) => return Err(Refusal::InMetric("a placeholder")),
            Expr::Subquery(_) => return Err(Refusal::InMetric("a subquery")),
            Expr::Window(_) => return Err(Refusal::InMetric("OVER")),
            Expr::Call(call) => return self.call(call, expr),
            Expr::Lambda { params, body } => return self.lambda(params, body),
            _ => {}
        }
        self.children(expr)
    }

    fn children(&mut self, expr: &Expr) -> Result<(), Refusal> {
        expr.children()
            .into_iter()
            .try_for_each(|child| self.expr(child))
    }

    fn field(&self, path: &[String]) -> Result<(), Refusal> {
        let Some(root) = path.first() else {
            return Err(Refusal::Name(String::new()));
        };
        if self.variables.contains(root) {
            return Ok(());
        }
        if !EVENT_COLUMNS.contains(&root.as_str()) {
            return Err(Refusal::Name(path.join(".")));
        }
        match self.place {
            Place::Aggregate => Ok(()),
            Place::Outside | Place::Lambda => Err(Refusal::OutsideAggregate(path.join("."))),
        }
    }

    fn call(&mut self, call: &Call, expr: &Expr) -> Result<(), Refusal> {
        if let Some((aggregate, conditional)) = metric_aggregate(&call.name) {
            if self.place != Place::Outside {
                return Err(Refusal::NestedAggregate(call.name.clone()));
            }
            check_signature(call, aggregate, conditional)?;
            self.aggregated = true;
            self.place = Place::Aggregate;
            if !call.counts_all() {
                self.children(expr)?;
            }
            self.place = Place::Outside;
            return Ok(());
        }
        if !is_scalar(&call.name) || is_aggregate(&call.name) {
            return Err(Refusal::Function(call.name.clone()));
        }
        if call.distinct {
            return Err(Refusal::InMetric("DISTINCT outside count()"));
        }
        check_params(call)?;
        self.children(expr)
    }

    fn lambda(&mut self, params: &[String], body: &Expr) -> Result<(), Refusal> {
        let outer_place = self.place;
        let outer_variables = self.variables.len();
        if self.place == Place::Outside {
            self.place = Place::Lambda;
        }
        self.variables.extend_from_slice(params);
        self.expr(body)?;
        self.variables.truncate(outer_variables);
        self.place = outer_place;
        Ok(())
    }
}

/// Checks an aggregate's own shape, so that narrowing it is exact.
fn check_signature(
    call: &Call,
    aggregate: &MetricAggregate,
    conditional: bool,
) -> Result<(), Refusal> {
    let wrong = || Refusal::Arguments(call.name.clone());
    if call.distinct && (call.name != "count" || call.args.len() != 1) {
        return Err(Refusal::InMetric("DISTINCT outside count()"));
    }
    let mut given = call.args.len();
    if conditional {
        // `countIf(x, c)` exists too; it says `countIf(x IS NOT NULL AND c)`, which is clearer.
        if call.name == "countIf" && given != 1 {
            return Err(wrong());
        }
        given = given.checked_sub(1).ok_or_else(wrong)?;
    }
    let params = call.params.as_deref().unwrap_or_default();
    if !aggregate.args.contains(&given) || params.len() != aggregate.params {
        return Err(wrong());
    }
    let is_level = |param: &Expr| match param {
        Expr::Constant(Constant::Float(level)) => (0.0..=1.0).contains(level),
        Expr::Constant(Constant::Int(level)) => (0..=1).contains(level),
        _ => false,
    };
    if params.iter().all(is_level) {
        Ok(())
    } else {
        Err(Refusal::Level(call.name.clone()))
    }
}
