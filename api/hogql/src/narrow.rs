//! Restricting aggregates to some rows.

use crate::ast::{Call, Expr};
use crate::functions::metric_aggregate;

/// The expression with each of its aggregates seeing only the rows where the condition holds, as `ClickHouse`'s `-If` combinator defines
/// it: `sum(x)` becomes `sumIf(x, c)`, `countIf(a)` becomes `countIf(a AND c)`.
///
/// Exact for whatever [`check_aggregate`](crate::allow::check_aggregate) lets through; an aggregate that it refuses is left as it is.
#[must_use]
pub fn narrow(expr: Expr, condition: &Expr) -> Expr {
    let narrowed = match &expr {
        Expr::Call(call) => narrow_call(call, condition),
        _ => None,
    };
    match narrowed {
        Some(narrowed) => narrowed,
        None => expr.map_children(&mut |child| narrow(child, condition)),
    }
}

fn narrow_call(call: &Call, condition: &Expr) -> Option<Expr> {
    let (aggregate, conditional) = metric_aggregate(&call.name)?;
    let mut args = call.args.clone();
    if call.distinct {
        // ClickHouse's own meaning of count(DISTINCT …); no other aggregate of a metric is DISTINCT.
        args.push(condition.clone());
        return Some(Expr::call("uniqExactIf", args));
    }
    let condition = if conditional {
        args.pop()?.and(condition.clone())
    } else {
        condition.clone()
    };
    if aggregate.name == "count" {
        // `count(x)` counts the rows where x is not null.
        let counted = args.pop().filter(|arg| !matches!(arg, Expr::Asterisk(_)));
        let condition = match counted {
            Some(counted) => Expr::IsNull {
                expr: counted.into(),
                negated: true,
            }
            .and(condition),
            None => condition,
        };
        return Some(Expr::call("countIf", vec![condition]));
    }
    args.push(condition);
    Some(Expr::Call(Call {
        name: aggregate.if_name.to_owned(),
        params: call.params.clone(),
        distinct: false,
        args,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::METRIC_AGGREGATES;
    use crate::{allow::check_aggregate, parse_expr};

    #[track_caller]
    fn narrows(metric: &str, expected: &str) {
        let metric = parse_expr(metric).unwrap();
        assert_eq!(check_aggregate(&metric), Ok(()));
        let condition = parse_expr("event = 'x'").unwrap();
        let narrowed = narrow(metric, &condition);
        assert_eq!(narrowed.to_string(), expected);
        assert_eq!(parse_expr(expected).unwrap(), narrowed);
        assert_eq!(check_aggregate(&narrowed), Ok(()));
    }

    #[test]
    fn each_aggregate_gets_its_conditional_form() {
        narrows("count()", "countIf(event = 'x')");
        narrows("count(*)", "countIf(event = 'x')");
        narrows(
            "COUNT(properties.a)",
            "countIf(properties.a IS NOT NULL AND event = 'x')",
        );
        narrows(
            "countIf(properties.a = 1)",
            "countIf(properties.a = 1 AND event = 'x')",
        );
        narrows(
            "countIf(event = 'a' OR event = 'b')",
            "countIf((event = 'a' OR event = 'b') AND event = 'x')",
        );
        narrows(
            "count(DISTINCT distinct_id)",
            "uniqExactIf(distinct_id, event = 'x')",
        );
        narrows(
            "sum(toFloat(properties.a))",
            "sumIf(toFloat(properties.a), event = 'x')",
        );
        narrows(
            "sumIf(toFloat(properties.a), event = 'p')",
            "sumIf(toFloat(properties.a), event = 'p' AND event = 'x')",
        );
        narrows(
            "argMax(properties.plan, timestamp)",
            "argMaxIf(properties.plan, timestamp, event = 'x')",
        );
        narrows(
            "quantile(0.9)(toFloat(properties.a))",
            "quantileIf(0.9)(toFloat(properties.a), event = 'x')",
        );
        narrows(
            "uniq(event, distinct_id)",
            "uniqIf(event, distinct_id, event = 'x')",
        );
        narrows(
            "groupUniqArray(event)",
            "groupUniqArrayIf(event, event = 'x')",
        );
    }

    #[test]
    fn aggregates_inside_other_functions_are_narrowed_too() {
        narrows(
            "if(count() > 0, round(sum(toFloat(properties.a)) / count(), 2), null)",
            "if(countIf(event = 'x') > 0, round(sumIf(toFloat(properties.a), event = 'x') / countIf(event = 'x'), 2), null)",
        );
        narrows(
            "CASE WHEN max(timestamp) > now() - INTERVAL 7 DAY THEN 'active' ELSE 'idle' END",
            "CASE WHEN (maxIf(timestamp, event = 'x') > (now() - toIntervalDay(7))) THEN 'active' ELSE 'idle' END",
        );
    }

    #[test]
    fn every_aggregate_of_metrics_is_narrowed() {
        for aggregate in &METRIC_AGGREGATES {
            let args = vec!["timestamp"; *aggregate.args.start()].join(", ");
            let params = if aggregate.params == 1 { "(0.5)" } else { "" };
            let metric = parse_expr(&format!("{}{params}({args})", aggregate.name)).unwrap();
            assert_eq!(check_aggregate(&metric), Ok(()));
            let narrowed = narrow(metric, &Expr::field(["event"])).to_string();
            assert!(narrowed.starts_with(aggregate.if_name), "{narrowed}");
            assert!(narrowed.ends_with("event)"), "{narrowed}");
        }
    }
}
