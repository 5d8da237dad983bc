use std::collections::{HashMap, HashSet};

use super::{Refusal, TABLES, check_params};
use crate::ast::{Call, CteBody, Expr, Query, Relation, Select, Source};
use crate::functions::{is_allowed, is_window};

/// Which tables a query may read and how large it may be.
#[derive(Clone, Debug)]
pub struct Policy {
    pub tables: &'static [&'static str],
    /// `SELECT`s in the whole query.
    pub selects_max: usize,
    /// Joins in the whole query; each may multiply rows.
    pub joins_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tables: TABLES,
            selects_max: 32,
            joins_max: 8,
        }
    }
}

/// Checks a whole query: tables, functions, names and size.
///
/// Names are resolved as far as they are known here: aliases, lambda variables, `WITH` and the columns of subqueries; a column of one of
/// `PostHog`'s tables is `PostHog`'s to know.
///
/// # Errors
/// The first thing that is on no list.
pub fn check_select(query: &Query, policy: &Policy) -> Result<(), Refusal> {
    let mut check = Check {
        policy,
        selects: 0,
        joins: 0,
    };
    check.query(query, &Tables::new())?;
    Ok(())
}

/// The tables of `WITH` in sight.
type Tables = HashMap<String, Columns>;

/// The columns of something with rows.
#[derive(Clone)]
enum Columns {
    /// Not known here.
    Open,
    Named(HashSet<String>),
}

/// What names may mean in one `SELECT`.
struct Scope {
    tables: Tables,
    relations: Vec<(Option<String>, Columns)>,
    /// Aliases of columns and expressions of `WITH`.
    aliases: HashSet<String>,
    /// Variables of the lambdas around.
    variables: Vec<String>,
}

struct Check<'a> {
    policy: &'a Policy,
    selects: usize,
    joins: usize,
}

impl Check<'_> {
    fn query(&mut self, query: &Query, tables: &Tables) -> Result<Columns, Refusal> {
        let members = match query {
            Query::Select(select) => return self.select(select, tables),
            Query::UnionAll(members) => members,
        };
        let mut columns = None;
        for member in members {
            let of_member = self.query(member, tables)?;
            columns.get_or_insert(of_member);
        }
        Ok(columns.unwrap_or(Columns::Open))
    }

    fn select(&mut self, select: &Select, outer: &Tables) -> Result<Columns, Refusal> {
        count(&mut self.selects, "SELECTs", self.policy.selects_max)?;
        let mut scope = Scope {
            tables: outer.clone(),
            relations: Vec::new(),
            aliases: HashSet::new(),
            variables: Vec::new(),
        };
        let mut named = HashSet::new();
        for cte in &select.with {
            if !named.insert(cte.name.clone()) {
                return Err(Refusal::Duplicate(cte.name.clone()));
            }
            match &cte.body {
                CteBody::Query(query) => {
                    let columns = self.query(query, &scope.tables)?;
                    scope.tables.insert(cte.name.clone(), columns);
                }
                CteBody::Expr(_) => {
                    scope.aliases.insert(cte.name.clone());
                }
            }
        }
        for column in &select.columns {
            let Some(alias) = &column.alias else { continue };
            if !scope.aliases.insert(alias.clone()) {
                return Err(Refusal::Duplicate(alias.clone()));
            }
        }
        for (place, relation) in select.relations().enumerate() {
            if place > 0 {
                count(&mut self.joins, "joins", self.policy.joins_max)?;
            }
            let relation = self.relation(relation, &scope.tables)?;
            scope.relations.push(relation);
        }
        for expr in select.exprs() {
            match expr {
                Expr::Asterisk(table) => scope.asterisk(table.as_deref())?,
                expr => self.expr(expr, &mut scope)?,
            }
        }
        Ok(columns_of(select))
    }

    fn relation(
        &mut self,
        relation: &Relation,
        tables: &Tables,
    ) -> Result<(Option<String>, Columns), Refusal> {
        let (name, columns) = match &relation.source {
            Source::Subquery(query) => (None, self.query(query, tables)?),
            Source::Table(name) => {
                let columns = match tables.get(name) {
                    Some(columns) => columns.clone(),
                    None if self.policy.tables.contains(&name.as_str()) => Columns::Open,
                    None => return Err(Refusal::Table(name.clone())),
                };
                (Some(name.clone()), columns)
            }
        };
        Ok((relation.alias.clone().or(name), columns))
    }

    fn expr(&mut self, expr: &Expr, scope: &mut Scope) -> Result<(), Refusal> {
        match expr {
            Expr::Field(path) => return scope.field(path),
            Expr::Asterisk(_) => return Err(Refusal::Asterisk),
            Expr::Placeholder(name) if matches!(name.as_str(), "filters" | "variables") => {
                return Err(Refusal::Placeholder(name.clone()));
            }
            Expr::Subquery(query) => {
                self.query(query, &scope.tables)?;
            }
            Expr::Call(call) => {
                if is_window(&call.name) && !is_allowed(&call.name) {
                    return Err(Refusal::WithoutWindow(call.name.clone()));
                }
                check_call(call)?;
                if call.counts_all() {
                    return Ok(());
                }
            }
            Expr::Window(window) => {
                if !is_window(&window.call.name) {
                    return Err(Refusal::Window(window.call.name.clone()));
                }
                check_params(&window.call)?;
            }
            _ => {}
        }
        let outer_variables = scope.variables.len();
        if let Expr::Lambda { params, .. } = expr {
            scope.variables.extend_from_slice(params);
        }
        for child in expr.children() {
            self.expr(child, scope)?;
        }
        scope.variables.truncate(outer_variables);
        Ok(())
    }
}

impl Scope {
    fn field(&self, path: &[String]) -> Result<(), Refusal> {
        let unknown = || Refusal::Name(path.join("."));
        let (root, rest) = path.split_first().ok_or_else(unknown)?;
        if self.variables.contains(root) || self.aliases.contains(root) {
            return Ok(());
        }
        let named = self
            .relations
            .iter()
            .find(|(name, _)| name.as_ref() == Some(root));
        let known = match (named, rest.first()) {
            (Some((_, columns)), Some(column)) => columns.may_have(column),
            (Some(_), None) => true,
            (None, _) => self
                .relations
                .iter()
                .any(|(_, columns)| columns.may_have(root)),
        };
        if known { Ok(()) } else { Err(unknown()) }
    }

    fn asterisk(&self, table: Option<&str>) -> Result<(), Refusal> {
        let Some(table) = table else { return Ok(()) };
        let known = self
            .relations
            .iter()
            .any(|(name, _)| name.as_deref() == Some(table));
        if known {
            Ok(())
        } else {
            Err(Refusal::Name(table.to_owned()))
        }
    }
}

impl Columns {
    fn may_have(&self, column: &str) -> bool {
        match self {
            Self::Open => true,
            Self::Named(names) => names.contains(column),
        }
    }
}

/// The columns by which a query around this one can name its results.
fn columns_of(select: &Select) -> Columns {
    let mut names = HashSet::new();
    for column in &select.columns {
        match (&column.alias, &column.expr) {
            (Some(alias), _) => {
                names.insert(alias.clone());
            }
            (None, Expr::Asterisk(_)) => return Columns::Open,
            (None, Expr::Field(path)) => names.extend(path.last().cloned()),
            // Named by its own text, as PostHog prints it: cannot be told here, and needs no name there.
            (None, _) => {}
        }
    }
    Columns::Named(names)
}

fn check_call(call: &Call) -> Result<(), Refusal> {
    if !is_allowed(&call.name) {
        return Err(Refusal::Function(call.name.clone()));
    }
    check_params(call)
}

fn count(counter: &mut usize, what: &'static str, max: usize) -> Result<(), Refusal> {
    *counter += 1;
    if *counter > max {
        return Err(Refusal::TooMany { what, max });
    }
    Ok(())
}
