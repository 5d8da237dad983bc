//! From the syntax tree to nodes: names, types and the places where aggregates may stand.

mod call;
mod set;

use std::collections::HashMap;

use hogql::ast::{BinaryOp, CaseBranch, Constant, Expr};

use self::call::{Operator, apply, apply_named, choose, folded};
use super::Fault;
use super::aggregate::Aggregate;
use super::function::{Arithmetic, Comparison};
use super::kind::Kind;
use super::node::Node;
use super::run::Runner;
use super::scope::Scope;
use super::table::Table;
use super::value::Value;

/// A node and the type of its value.
type Compiled = (Node, Kind);

/// Where an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// `WHERE`, `GROUP BY` and the arguments of aggregates: one row.
    Row,
    /// The `SELECT` list, `HAVING` and `ORDER BY`: a row or a group.
    Output,
}

/// Compiles the expressions of one `SELECT`.
pub(super) struct Compiler<'a> {
    runner: &'a Runner<'a>,
    scope: &'a Scope<'a>,
    table: &'a Table,
    table_name: Option<&'a str>,
    aliases: HashMap<&'a str, &'a Expr>,
    /// Aliases being expanded: inside its own definition a name means the column.
    expanding: Vec<&'a str>,
    keys: Vec<(&'a Expr, Kind)>,
    stage: Stage,
    pub(super) aggregates: Vec<Aggregate>,
    /// A column read in the output outside of any aggregate: an error once there are groups.
    pub(super) loose_column: Option<String>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        runner: &'a Runner<'a>,
        scope: &'a Scope<'a>,
        table: &'a Table,
        table_name: Option<&'a str>,
        aliases: HashMap<&'a str, &'a Expr>,
    ) -> Self {
        Self {
            runner,
            scope,
            table,
            table_name,
            aliases,
            expanding: Vec::new(),
            keys: Vec::new(),
            stage: Stage::Row,
            aggregates: Vec::new(),
            loose_column: None,
        }
    }

    /// A group's key; an alias is taken for what it names.
    pub(super) fn key(&mut self, expr: &'a Expr) -> Result<Node, Fault> {
        let named = match expr {
            Expr::Field(path) if path.len() == 1 => {
                self.aliases.get(path[0].as_str()).copied().unwrap_or(expr)
            }
            Expr::Constant(_) => {
                return Err(Fault::new("the PostHog double does not group by position"));
            }
            _ => expr,
        };
        let (node, kind) = self.at(Stage::Row, expr)?;
        self.keys.push((named, kind));
        Ok(node)
    }

    /// A condition: a number, in `ClickHouse`'s sense of truth.
    pub(super) fn condition(&mut self, stage: Stage, expr: &'a Expr) -> Result<Node, Fault> {
        let (node, kind) = self.at(stage, expr)?;
        if kind.is_number() {
            Ok(node)
        } else {
            Err(Fault::new(format!("Illegal type {kind} of a condition")))
        }
    }

    pub(super) fn at(&mut self, stage: Stage, expr: &'a Expr) -> Result<Compiled, Fault> {
        let before = std::mem::replace(&mut self.stage, stage);
        let compiled = self.compile(expr);
        self.stage = before;
        compiled
    }

    fn compile(&mut self, expr: &'a Expr) -> Result<Compiled, Fault> {
        if self.stage == Stage::Output
            && let Some(index) = self.keys.iter().position(|(key, _)| *key == expr)
        {
            return Ok((Node::Key(index), self.keys[index].1.clone()));
        }
        match expr {
            Expr::Constant(constant) => Self::constant(match constant {
                Constant::Null => Value::Null,
                Constant::Bool(truth) => Value::Bool(*truth),
                Constant::Int(number) => Value::Int(*number),
                Constant::Float(number) => Value::Float(*number),
                Constant::String(text) => Value::text(text),
            }),
            Expr::Placeholder(name) => Self::constant(self.runner.value(name)?),
            Expr::Field(path) => self.field(&path.iter().map(String::as_str).collect::<Vec<_>>()),
            Expr::Index { base, index } => self.index(expr, base, index),
            Expr::Call(call) => self.call(call),
            Expr::Array(items) => {
                let (nodes, kinds) = self.all(items)?;
                let mut element = Kind::Nothing;
                for kind in &kinds {
                    element = element
                        .common(kind)
                        .ok_or_else(|| Fault::new("an array mixes types"))?;
                }
                Ok((folded(Node::Array(nodes))?, Kind::Array(element.into())))
            }
            Expr::Tuple(members) => {
                let (nodes, kinds) = self.all(members)?;
                Ok((folded(Node::Tuple(nodes))?, Kind::Tuple(kinds)))
            }
            Expr::And(operands) => self.logic(operands, Node::And),
            Expr::Or(operands) => self.logic(operands, Node::Or),
            Expr::Not(operand) => self.named_call("not", std::slice::from_ref(&**operand)),
            Expr::Negate(operand) => self.named_call("negate", std::slice::from_ref(&**operand)),
            Expr::Binary { op, left, right } => self.binary(*op, left, right),
            Expr::In { expr, negated, set } => self.among(expr, set, *negated),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let (value, kind) = self.compile(expr)?;
                let (low, low_kind) = self.compile(low)?;
                let (high, high_kind) = self.compile(high)?;
                let least = Comparison::GreaterOrEqual.function(&kind, &low_kind)?;
                let most = Comparison::LessOrEqual.function(&kind, &high_kind)?;
                let inside = Node::And(vec![
                    apply(least, vec![value.clone(), low])?,
                    apply(most, vec![value, high])?,
                ]);
                if *negated {
                    apply_named("not", vec![inside], &[Kind::UInt8])
                } else {
                    Ok((inside, Kind::UInt8))
                }
            }
            Expr::IsNull { expr, negated } => self.named_call(
                if *negated { "isNotNull" } else { "isNull" },
                std::slice::from_ref(&**expr),
            ),
            Expr::Case {
                operand,
                branches,
                otherwise,
            } => self.case(operand.as_deref(), branches, otherwise.as_deref()),
            Expr::Asterisk(_) => Err(Fault::new("* stands only in the list of a SELECT")),
            Expr::Window(_) => Err(Fault::unsupported("window functions")),
            Expr::Lambda { .. } => Err(Fault::unsupported("lambdas")),
            Expr::Subquery(_) => Err(Fault::unsupported("subqueries other than in FROM and IN")),
        }
    }

    fn constant(value: Value) -> Result<Compiled, Fault> {
        let kind = Kind::of(&value).ok_or_else(|| Fault::new("an array mixes types"))?;
        Ok((Node::Constant(value), kind))
    }

    fn all(&mut self, exprs: &'a [Expr]) -> Result<(Vec<Node>, Vec<Kind>), Fault> {
        let mut compiled = (Vec::new(), Vec::new());
        for expr in exprs {
            let (node, kind) = self.compile(expr)?;
            compiled.0.push(node);
            compiled.1.push(kind);
        }
        Ok(compiled)
    }

    fn field(&mut self, path: &[&'a str]) -> Result<Compiled, Fault> {
        if let [name] = path
            && !self.expanding.contains(name)
            && let Some(expr) = self
                .aliases
                .get(name)
                .copied()
                .or_else(|| self.scope.expr(name))
        {
            self.expanding.push(name);
            let compiled = self.compile(expr);
            self.expanding.pop();
            return compiled;
        }
        let bare = match path {
            [table, rest @ ..] if !rest.is_empty() && self.table_name == Some(*table) => rest,
            all => all,
        };
        let (events, persons) = self.runner.property_kinds();
        let found = self.table.resolve(bare, events, persons);
        let (reader, kind) = found
            .ok_or_else(|| Fault::new(format!("Unable to resolve field: {}", path.join("."))))?;
        if self.stage == Stage::Output {
            self.loose_column.get_or_insert_with(|| path.join("."));
        }
        Ok((Node::Column(reader), kind))
    }

    fn index(
        &mut self,
        whole: &'a Expr,
        base: &'a Expr,
        index: &'a Expr,
    ) -> Result<Compiled, Fault> {
        if let Some(path) = path_of(whole) {
            return self.field(&path);
        }
        let (base, base_kind) = self.compile(base)?;
        let (index, index_kind) = self.compile(index)?;
        apply_named("arrayElement", vec![base, index], &[base_kind, index_kind])
    }

    fn logic(
        &mut self,
        operands: &'a [Expr],
        make: fn(Vec<Node>) -> Node,
    ) -> Result<Compiled, Fault> {
        let (nodes, kinds) = self.all(operands)?;
        if let Some(kind) = kinds.iter().find(|kind| !kind.is_number()) {
            return Err(Fault::new(format!("Illegal type {kind} of a condition")));
        }
        let nullable = kinds.iter().any(Kind::is_nullable);
        Ok((folded(make(nodes))?, Kind::UInt8.nullable_if(nullable)))
    }

    fn binary(&mut self, op: BinaryOp, left: &'a Expr, right: &'a Expr) -> Result<Compiled, Fault> {
        let (left, left_kind) = self.compile(left)?;
        let (right, right_kind) = self.compile(right)?;
        let operator = match op {
            BinaryOp::Add => Operator::Arithmetic(Arithmetic::Add),
            BinaryOp::Subtract => Operator::Arithmetic(Arithmetic::Subtract),
            BinaryOp::Multiply => Operator::Arithmetic(Arithmetic::Multiply),
            BinaryOp::Divide => Operator::Arithmetic(Arithmetic::Divide),
            BinaryOp::Modulo => Operator::Arithmetic(Arithmetic::Modulo),
            BinaryOp::Equal => Operator::Comparison(Comparison::Equal),
            BinaryOp::NotEqual => Operator::Comparison(Comparison::NotEqual),
            BinaryOp::Less => Operator::Comparison(Comparison::Less),
            BinaryOp::LessOrEqual => Operator::Comparison(Comparison::LessOrEqual),
            BinaryOp::Greater => Operator::Comparison(Comparison::Greater),
            BinaryOp::GreaterOrEqual => Operator::Comparison(Comparison::GreaterOrEqual),
            BinaryOp::Like => Operator::Comparison(Comparison::Like),
            BinaryOp::NotLike => Operator::Comparison(Comparison::NotLike),
            BinaryOp::ILike => Operator::Comparison(Comparison::ILike),
            BinaryOp::NotILike => Operator::Comparison(Comparison::NotILike),
        };
        operator.apply(left, &left_kind, right, &right_kind)
    }

    fn case(
        &mut self,
        operand: Option<&'a Expr>,
        branches: &'a [CaseBranch],
        otherwise: Option<&'a Expr>,
    ) -> Result<Compiled, Fault> {
        let operand = operand.map(|operand| self.compile(operand)).transpose()?;
        let mut chosen = Vec::new();
        for CaseBranch { when, then } in branches {
            let (when, when_kind) = self.compile(when)?;
            let when = match &operand {
                None => (when, when_kind),
                Some((value, kind)) => {
                    let equal = Comparison::Equal.function(kind, &when_kind)?;
                    (apply(equal, vec![value.clone(), when])?, Kind::UInt8)
                }
            };
            chosen.push((when, self.compile(then)?));
        }
        let otherwise = match otherwise {
            Some(otherwise) => self.compile(otherwise)?,
            None => (Node::Constant(Value::Null), Kind::null()),
        };
        choose(chosen, otherwise)
    }
}

/// `properties['a']['b']` as the dotted name that it means.
fn path_of(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Field(path) => Some(path.iter().map(String::as_str).collect()),
        Expr::Index { base, index } => {
            let mut path = path_of(base)?;
            let Expr::Constant(Constant::String(step)) = &**index else {
                return None;
            };
            path.push(step);
            Some(path)
        }
        _ => None,
    }
}
