//! Running a query: rows, groups, order, limits.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use hogql::ast::{Column, Expr, Query, Select, Source};
use serde_json::{Map, Value as Json};

use super::Fault;
use super::compile::Compiler;
use super::kind::Kind;
use super::plan::plan;
use super::scope::Scope;
use super::table::{Row, Table};
use super::value::Value;
use crate::event::PropertyKinds;
use crate::query::Snapshot;

/// Columns with their types, and rows.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) columns: Vec<(String, Kind)>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// What every part of one query shares.
pub(super) struct Runner<'a> {
    snapshot: &'a Snapshot,
    /// Nothing in a check without values: every placeholder is null.
    values: Option<&'a Map<String, Json>>,
    now: DateTime<Utc>,
    tables: RefCell<BTreeSet<String>>,
}

/// What a `SELECT` reads from.
struct Origin<'s> {
    table: Table,
    /// What its columns may be prefixed with.
    name: Option<&'s str>,
    /// Of a subquery.
    rows: Vec<Vec<Value>>,
}

impl<'s> Origin<'s> {
    const fn of(table: Table, name: Option<&'s str>) -> Self {
        Self {
            table,
            name,
            rows: Vec::new(),
        }
    }
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        values: Option<&'a Map<String, Json>>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            snapshot,
            values,
            now,
            tables: RefCell::default(),
        }
    }

    pub(super) const fn now(&self) -> DateTime<Utc> {
        self.now
    }

    pub(super) fn property_kinds(&self) -> (&PropertyKinds, &PropertyKinds) {
        (&self.snapshot.event_kinds, self.snapshot.persons.kinds())
    }

    /// The tables that were read so far.
    pub(super) fn tables(&self) -> Vec<String> {
        self.tables.borrow().iter().cloned().collect()
    }

    pub(super) fn value(&self, name: &str) -> Result<Value, Fault> {
        match self.values {
            None => Ok(Value::Null),
            Some(values) => match values.get(name) {
                Some(json) => Value::from_json(json),
                None => Err(Fault::new(format!("Unresolved placeholder: {{{name}}}"))),
            },
        }
    }

    /// `limit` goes before the query's own.
    pub(super) fn query(
        &self,
        query: &Query,
        scope: &Scope<'_>,
        limit: Option<u64>,
    ) -> Result<Relation, Fault> {
        match query {
            Query::Select(select) => self.select(select, scope, limit.or(select.limit)),
            Query::UnionAll(members) => {
                let mut all: Option<Relation> = None;
                for member in members {
                    let relation = self.query(member, scope, None)?;
                    all = Some(match all {
                        None => relation,
                        Some(all) => union(all, relation)?,
                    });
                }
                let mut all = all.ok_or_else(|| Fault::new("an empty union"))?;
                all.rows.truncate(limit.map_or(usize::MAX, size));
                Ok(all)
            }
        }
    }

    fn select(
        &self,
        select: &Select,
        outer: &Scope<'_>,
        limit: Option<u64>,
    ) -> Result<Relation, Fault> {
        let scope = outer.within(&select.with);
        let Origin {
            table,
            name: table_name,
            rows: derived,
        } = self.from(select, &scope)?;
        let columns = expanded(&select.columns, &table);
        let aliases = columns
            .iter()
            .filter_map(|column| Some((column.alias.as_deref()?, &column.expr)))
            .collect::<HashMap<_, _>>();
        let mut compiler = Compiler::new(self, &scope, &table, table_name, aliases);
        let (plan, kinds) = plan(&mut compiler, select, &columns)?;
        let names = columns.iter().map(name_of);
        let columns: Vec<_> = names.zip(kinds).collect();

        let grouped = plan.is_grouped();
        let (offset, limit) = (
            select.offset.map_or(0, size),
            limit.map_or(usize::MAX, size),
        );
        let in_any_order = plan.order.is_empty() && !select.distinct && !grouped;
        let enough = if in_any_order {
            offset.saturating_add(limit)
        } else {
            usize::MAX
        };
        let rows = self.rows(&table, &derived);
        let mut outputs = if grouped {
            plan.groups(rows)?
        } else {
            plan.each(rows, enough)?
        };
        if select.distinct {
            let mut seen = HashSet::new();
            outputs.retain(|output| {
                seen.insert(output.values.iter().map(Value::key).collect::<Vec<_>>())
            });
        }
        outputs.sort_by(|left, right| plan.compare(left, right));
        let rows = outputs
            .into_iter()
            .skip(offset)
            .take(limit)
            .map(|output| output.values)
            .collect();
        Ok(Relation { columns, rows })
    }

    fn from<'s>(&self, select: &'s Select, scope: &Scope<'_>) -> Result<Origin<'s>, Fault> {
        let Some(from) = &select.from else {
            return Ok(Origin::of(Table::Unit, None));
        };
        if !from.joins.is_empty() {
            return Err(Fault::unsupported("joins"));
        }
        let alias = from.relation.alias.as_deref();
        let (relation, name) = match &from.relation.source {
            Source::Subquery(query) => (self.query(query, scope, None)?, alias),
            Source::Table(name) => match (scope.query(name), Table::named(name)) {
                (Some((query, scope)), _) => {
                    (self.query(query, &scope, None)?, alias.or(Some(name)))
                }
                (None, Some(table)) => {
                    self.tables.borrow_mut().insert(name.clone());
                    return Ok(Origin::of(table, alias.or(Some(name))));
                }
                (None, None) => return Err(Fault::new(format!("Unknown table `{name}`."))),
            },
        };
        let Relation { columns, rows } = relation;
        Ok(Origin {
            table: Table::Derived { columns },
            name,
            rows,
        })
    }

    fn rows<'r>(
        &'r self,
        table: &Table,
        derived: &'r [Vec<Value>],
    ) -> Box<dyn Iterator<Item = Row<'r>> + 'r> {
        let persons = &*self.snapshot.persons;
        match table {
            Table::Unit => Box::new(std::iter::once(Row::Unit)),
            Table::Events => Box::new(
                self.snapshot
                    .events
                    .iter()
                    .map(move |event| Row::Event(event, persons)),
            ),
            Table::Persons => Box::new(persons.all().map(Row::Person)),
            Table::DistinctIds => Box::new(persons.all().flat_map(|person| {
                person
                    .distinct_ids
                    .iter()
                    .map(move |id| Row::Pair(id, person))
            })),
            Table::CohortPeople => Box::new(
                persons
                    .in_cohorts()
                    .map(|(cohort, person)| Row::Member(cohort, person)),
            ),
            Table::Derived { .. } => Box::new(derived.iter().map(|row| Row::Derived(row))),
        }
    }
}

fn size(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// The list with every `*` replaced by the table's columns.
fn expanded(columns: &[Column], table: &Table) -> Vec<Column> {
    let mut all = Vec::new();
    for column in columns {
        match &column.expr {
            Expr::Asterisk(_) => all.extend(table.columns().into_iter().map(|name| Column {
                expr: Expr::Field(vec![name]),
                alias: None,
            })),
            _ => all.push(column.clone()),
        }
    }
    all
}

/// As PostHog names a column: its alias, a field's last step, else its text.
fn name_of(column: &Column) -> String {
    match (&column.alias, &column.expr) {
        (Some(alias), _) => alias.clone(),
        (None, Expr::Field(path)) => path.last().cloned().unwrap_or_default(),
        (None, expr) => expr.to_string(),
    }
}

fn union(mut left: Relation, right: Relation) -> Result<Relation, Fault> {
    if left.columns.len() != right.columns.len() {
        return Err(Fault::new(
            "the members of a union have different numbers of columns",
        ));
    }
    for ((_, kind), (_, other)) in left.columns.iter_mut().zip(&right.columns) {
        *kind = kind.common(other).ok_or_else(|| {
            Fault::new(format!("There is no supertype for types {kind}, {other}"))
        })?;
    }
    left.rows.extend(right.rows);
    Ok(left)
}
