//! One `SELECT`, ready to run over rows.

use std::cmp::Ordering;
use std::collections::HashMap;

use hogql::ast::{Column, Expr, Select};

use super::Fault;
use super::aggregate::Aggregate;
use super::compile::{Compiler, Stage};
use super::kind::Kind;
use super::node::{Node, Place};
use super::table::Row;
use super::value::Value;

/// One `SELECT`, compiled.
pub(super) struct Plan {
    filter: Option<Node>,
    keys: Vec<Node>,
    aggregates: Vec<Aggregate>,
    having: Option<Node>,
    outputs: Vec<Node>,
    /// With "descending".
    pub(super) order: Vec<(Node, bool)>,
}

/// One row of the output and what it is ordered by.
pub(super) struct Output {
    pub(super) values: Vec<Value>,
    ranks: Vec<Value>,
}

/// The plan and the types of its columns.
pub(super) fn plan<'a>(
    compiler: &mut Compiler<'a>,
    select: &'a Select,
    columns: &'a [Column],
) -> Result<(Plan, Vec<Kind>), Fault> {
    let filter = select
        .filter
        .as_ref()
        .map(|filter| compiler.condition(Stage::Row, filter))
        .transpose()?;
    let keys = select
        .group_by
        .iter()
        .map(|key| compiler.key(key))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut outputs, mut kinds) = (Vec::new(), Vec::new());
    for column in columns {
        let (node, kind) = compiler.at(Stage::Output, &column.expr)?;
        outputs.push(node);
        kinds.push(kind);
    }
    let having = select
        .having
        .as_ref()
        .map(|having| compiler.condition(Stage::Output, having))
        .transpose()?;
    let mut order = Vec::new();
    for by in &select.order_by {
        if matches!(by.expr, Expr::Constant(_)) {
            return Err(Fault::unsupported("ordering by position"));
        }
        order.push((compiler.at(Stage::Output, &by.expr)?.0, by.descending));
    }
    let aggregates = std::mem::take(&mut compiler.aggregates);
    let grouped = !keys.is_empty() || !aggregates.is_empty();
    match &compiler.loose_column {
        Some(column) if grouped => {
            return Err(Fault::new(format!(
                "Column `{column}` is not under aggregate function and not in GROUP BY"
            )));
        }
        _ => {}
    }
    if having.is_some() && !grouped {
        return Err(Fault::unsupported("HAVING without groups"));
    }
    Ok((
        Plan {
            filter,
            keys,
            aggregates,
            having,
            outputs,
            order,
        },
        kinds,
    ))
}

impl Plan {
    /// Rows are gathered into groups.
    pub(super) const fn is_grouped(&self) -> bool {
        !self.keys.is_empty() || !self.aggregates.is_empty()
    }

    fn passes(&self, row: Row<'_>) -> Result<bool, Fault> {
        match &self.filter {
            None => Ok(true),
            Some(filter) => Ok(filter.evaluate(Place::row(row))?.is_true()),
        }
    }

    fn output(&self, place: Place<'_>) -> Result<Output, Fault> {
        let values = self
            .outputs
            .iter()
            .map(|node| node.evaluate(place))
            .collect::<Result<_, _>>()?;
        let ranks = self
            .order
            .iter()
            .map(|(node, _)| node.evaluate(place))
            .collect::<Result<_, _>>()?;
        Ok(Output { values, ranks })
    }

    pub(super) fn each<'r>(
        &self,
        rows: impl Iterator<Item = Row<'r>>,
        enough: usize,
    ) -> Result<Vec<Output>, Fault> {
        let mut outputs = Vec::new();
        for row in rows {
            if outputs.len() >= enough {
                break;
            }
            if self.passes(row)? {
                outputs.push(self.output(Place::row(row))?);
            }
        }
        Ok(outputs)
    }

    pub(super) fn groups<'r>(
        &self,
        rows: impl Iterator<Item = Row<'r>>,
    ) -> Result<Vec<Output>, Fault> {
        let mut places = HashMap::new();
        let mut groups: Vec<(Vec<Value>, Vec<Row<'r>>)> = Vec::new();
        if self.keys.is_empty() {
            // without keys there is one group, even of no rows
            groups.push((Vec::new(), Vec::new()));
            places.insert(Vec::new(), 0);
        }
        for row in rows {
            if !self.passes(row)? {
                continue;
            }
            let place = Place::row(row);
            let keys = self
                .keys
                .iter()
                .map(|key| key.evaluate(place))
                .collect::<Result<Vec<_>, _>>()?;
            let group = *places
                .entry(keys.iter().map(Value::key).collect())
                .or_insert(groups.len());
            match groups.get_mut(group) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((keys, vec![row])),
            }
        }
        let mut outputs = Vec::new();
        for (keys, rows) in &groups {
            let aggregates = self
                .aggregates
                .iter()
                .map(|aggregate| aggregate.evaluate(rows))
                .collect::<Result<Vec<_>, _>>()?;
            let place = Place {
                row: Row::Unit,
                keys,
                aggregates: &aggregates,
            };
            if self.having.as_ref().map_or(Ok(true), |having| {
                having.evaluate(place).map(|value| value.is_true())
            })? {
                outputs.push(self.output(place)?);
            }
        }
        Ok(outputs)
    }

    /// Nulls are last in both directions.
    pub(super) fn compare(&self, left: &Output, right: &Output) -> Ordering {
        for ((left, right), (_, descending)) in left.ranks.iter().zip(&right.ranks).zip(&self.order)
        {
            let order = match (left.is_null(), right.is_null()) {
                (false, false) => {
                    // ranks of one column have one type, so they have an order unless one is not a number
                    let order = left.order(right).ok().flatten().unwrap_or(Ordering::Equal);
                    if *descending { order.reverse() } else { order }
                }
                (left, right) => left.cmp(&right),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}
