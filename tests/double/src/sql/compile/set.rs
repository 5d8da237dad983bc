//! `IN`: sets that are known before any row is read.

use std::collections::HashSet;
use std::sync::Arc;

use hogql::ast::Expr;
use uuid::Uuid;

use super::call::folded;
use super::{Compiled, Compiler};
use crate::sql::Fault;
use crate::sql::kind::Kind;
use crate::sql::node::Node;
use crate::sql::value::{Value, parse_instant};

impl<'a> Compiler<'a> {
    /// `expr [NOT] IN set`: the set is a subquery or known before any row is read.
    pub(super) fn among(
        &mut self,
        expr: &'a Expr,
        set: &'a Expr,
        negated: bool,
    ) -> Result<Compiled, Fault> {
        let (value, kind) = self.compile(expr)?;
        let members: Vec<Value> = if let Expr::Subquery(query) = set {
            let relation = self.runner.query(query, self.scope, None)?;
            let columns: Vec<&Kind> = relation.columns.iter().map(|(_, kind)| kind).collect();
            let fits = match (columns.as_slice(), kind.bare()) {
                ([column], _) => column.comparable(&kind),
                (columns, Kind::Tuple(members)) => {
                    columns.len() == members.len()
                        && columns
                            .iter()
                            .zip(members)
                            .all(|(column, member)| column.comparable(member))
                }
                _ => false,
            };
            if !fits {
                return Err(Fault::new(
                    "the subquery of IN has other columns than what is looked up in it",
                ));
            }
            let single = columns.len() == 1;
            let member = |row: Vec<Value>| {
                if single {
                    row.into_iter().next().unwrap_or(Value::Null)
                } else {
                    Value::Tuple(row.into())
                }
            };
            relation.rows.into_iter().map(member).collect()
        } else {
            match self.compile(set)?.0 {
                Node::Constant(value) => match value.items() {
                    Some(items) => items.to_vec(),
                    None => vec![value],
                },
                _ => return Err(Fault::unsupported("sets that depend on the row")),
            }
        };
        let mut keys = HashSet::with_capacity(members.len());
        for member in members.iter().filter(|member| !member.is_null()) {
            keys.insert(cast(member, &kind)?.key());
        }
        Ok((
            folded(Node::Among {
                value: value.into(),
                set: Arc::new(keys),
                negated,
            })?,
            Kind::UInt8,
        ))
    }
}

/// A member of a set as the type that is looked up in it.
fn cast(value: &Value, kind: &Kind) -> Result<Value, Fault> {
    let no_type = || Fault::new(format!("cannot convert a member of the set to {kind}"));
    match (value, kind.bare()) {
        (Value::Text(text), Kind::Uuid) => Uuid::try_parse(text)
            .map(Value::Uuid)
            .map_err(|_| no_type()),
        (Value::Text(text), Kind::DateTime) => {
            parse_instant(text).map(Value::Instant).ok_or_else(no_type)
        }
        (Value::Text(text), Kind::Date) => parse_instant(text)
            .map(|instant| Value::Date(instant.date_naive()))
            .ok_or_else(no_type),
        (Value::Tuple(members) | Value::Array(members), Kind::Tuple(kinds))
            if members.len() == kinds.len() =>
        {
            let members = members
                .iter()
                .zip(kinds)
                .map(|(member, kind)| cast(member, kind));
            Ok(Value::Tuple(members.collect::<Result<_, _>>()?))
        }
        _ if Kind::of(value).is_some_and(|of| of.common(kind).is_some()) => Ok(value.clone()),
        _ => Err(no_type()),
    }
}
