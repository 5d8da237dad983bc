//! Calls: aggregates, the functions that are more than functions, operators.

use hogql::ast::{Call, Constant, Expr};

use super::{Compiled, Compiler, Stage};
use crate::sql::Fault;
use crate::sql::aggregate::{self, Aggregate, Measure};
use crate::sql::function::{self, Arithmetic, Comparison, Function};
use crate::sql::kind::Kind;
use crate::sql::node::{Node, Place};
use crate::sql::table::Row;
use crate::sql::value::Value;

impl<'a> Compiler<'a> {
    pub(super) fn call(&mut self, call: &'a Call) -> Result<Compiled, Fault> {
        let level = match call.params.as_deref() {
            None => None,
            Some([Expr::Constant(Constant::Float(level))]) => Some(*level),
            Some([Expr::Constant(Constant::Int(0))]) => Some(0.0),
            Some([Expr::Constant(Constant::Int(1))]) => Some(1.0),
            Some(_) => {
                return Err(Fault::unsupported(&format!(
                    "these parameters of {}",
                    call.name
                )));
            }
        };
        if let Some((measure, conditional)) = aggregate::named(&call.name, level) {
            return self.aggregate(call, measure, conditional);
        }
        if call.params.is_some() || call.distinct {
            return Err(Fault::unsupported_call(&call.name, &[]));
        }
        self.named_call(&call.name, &call.args)
    }

    fn aggregate(
        &mut self,
        call: &'a Call,
        measure: Measure,
        conditional: bool,
    ) -> Result<Compiled, Fault> {
        if self.stage == Stage::Row {
            return Err(Fault::new(format!(
                "Aggregation '{}' cannot stand in WHERE, GROUP BY or another aggregation",
                call.name
            )));
        }
        let measure = match measure {
            Measure::Count if call.distinct => Measure::CountDistinct,
            _ if call.distinct => return Err(Fault::unsupported_call(&call.name, &[])),
            other => other,
        };
        let (condition, arguments) = match call.args.split_last() {
            Some((condition, arguments)) if conditional => (Some(condition), arguments),
            _ => (None, call.args.as_slice()),
        };
        if conditional && condition.is_none() {
            return Err(Fault::unsupported_call(&call.name, &[]));
        }
        let condition = condition
            .map(|condition| self.condition(Stage::Row, condition))
            .transpose()?;
        let before = std::mem::replace(&mut self.stage, Stage::Row);
        let arguments = match arguments {
            [Expr::Asterisk(None)] if measure == Measure::Count => Ok((Vec::new(), Vec::new())),
            _ => self.all(arguments),
        };
        self.stage = before;
        let (arguments, kinds) = arguments?;
        let kind = measure
            .kind(&kinds)
            .ok_or_else(|| Fault::unsupported_call(&call.name, &kinds))?;
        self.aggregates.push(Aggregate {
            measure,
            arguments,
            condition,
            kind: kind.clone(),
        });
        Ok((Node::Aggregate(self.aggregates.len() - 1), kind))
    }

    pub(super) fn named_call(
        &mut self,
        name: &str,
        arguments: &'a [Expr],
    ) -> Result<Compiled, Fault> {
        let name = function::canonical(name);
        match (name.as_str(), arguments) {
            ("now", []) => return Self::constant(Value::Instant(self.runner.now())),
            ("today", []) => return Self::constant(Value::Date(self.runner.now().date_naive())),
            _ => {}
        }
        let (mut nodes, mut kinds) = self.all(arguments)?;
        let is_condition = |kinds: &[Kind]| kinds.iter().all(Kind::is_number);
        match (name.as_str(), kinds.as_slice()) {
            ("and" | "or", [_, _, ..]) if is_condition(&kinds) => {
                let nullable = kinds.iter().any(Kind::is_nullable);
                let node = if name == "and" {
                    Node::And(nodes)
                } else {
                    Node::Or(nodes)
                };
                return Ok((folded(node)?, Kind::UInt8.nullable_if(nullable)));
            }
            ("if" | "multiIf", [_, _, _, ..])
                if kinds.len() % 2 == 1 && (name == "multiIf" || kinds.len() == 3) =>
            {
                let otherwise = nodes.pop().zip(kinds.pop());
                let mut branches = Vec::new();
                let mut rest = nodes.into_iter().zip(kinds);
                while let Some((when, then)) = rest.next().zip(rest.next()) {
                    branches.push((when, then));
                }
                return choose(
                    branches,
                    otherwise.unwrap_or((Node::Constant(Value::Null), Kind::null())),
                );
            }
            ("tupleElement", [Kind::Tuple(members), _]) => {
                let Node::Constant(Value::Int(place)) = nodes[1] else {
                    return Err(Fault::unsupported(
                        "members of tuples by anything but a number",
                    ));
                };
                let member = usize::try_from(place - 1)
                    .ok()
                    .and_then(|index| members.get(index))
                    .cloned();
                let kind =
                    member.ok_or_else(|| Fault::new(format!("a tuple has no member {place}")))?;
                let element = function::lookup(
                    "arrayElement",
                    &[Kind::Array(kind.clone().into()), Kind::UInt8],
                );
                let (function, _) =
                    element.ok_or_else(|| Fault::unsupported_call("tupleElement", &kinds))?;
                return Ok((apply(function, nodes)?, kind));
            }
            (_, [left, right]) => {
                let operator = Comparison::named(&name)
                    .map(Operator::Comparison)
                    .or_else(|| Arithmetic::named(&name).map(Operator::Arithmetic));
                if let (Some(operator), Some(second), Some(first)) =
                    (operator, nodes.get(1), nodes.first())
                {
                    return operator.apply(first.clone(), left, second.clone(), right);
                }
            }
            _ => {}
        }
        apply_named(&name, nodes, &kinds)
    }
}

pub(super) enum Operator {
    Arithmetic(Arithmetic),
    Comparison(Comparison),
}

impl Operator {
    pub(super) fn apply(
        self,
        left: Node,
        left_kind: &Kind,
        right: Node,
        right_kind: &Kind,
    ) -> Result<Compiled, Fault> {
        let (function, kind) = match self {
            Self::Arithmetic(arithmetic) => arithmetic.function(left_kind, right_kind)?,
            Self::Comparison(comparison) => {
                (comparison.function(left_kind, right_kind)?, Kind::UInt8)
            }
        };
        Ok((apply(function, vec![left, right])?, kind))
    }
}

pub(super) fn choose(
    branches: Vec<(Compiled, Compiled)>,
    otherwise: Compiled,
) -> Result<Compiled, Fault> {
    let (otherwise, mut common) = otherwise;
    let mut nodes = Vec::with_capacity(branches.len());
    for ((when, when_kind), (then, then_kind)) in branches {
        if !when_kind.is_number() {
            return Err(Fault::new(format!(
                "Illegal type {when_kind} of a condition"
            )));
        }
        common = common.common(&then_kind).ok_or_else(|| {
            Fault::new(format!(
                "There is no supertype for types {common}, {then_kind}"
            ))
        })?;
        nodes.push((when, then));
    }
    Ok((
        folded(Node::Choose {
            branches: nodes,
            otherwise: otherwise.into(),
        })?,
        common,
    ))
}

pub(super) fn apply_named(
    name: &str,
    arguments: Vec<Node>,
    kinds: &[Kind],
) -> Result<Compiled, Fault> {
    let (function, kind) =
        function::lookup(name, kinds).ok_or_else(|| Fault::unsupported_call(name, kinds))?;
    Ok((apply(function, arguments)?, kind))
}

pub(super) fn apply(function: Function, arguments: Vec<Node>) -> Result<Node, Fault> {
    folded(Node::Apply(function, arguments))
}

/// What depends on no row is evaluated once, here.
pub(super) fn folded(node: Node) -> Result<Node, Fault> {
    let is_constant = |nodes: &[Node]| nodes.iter().all(|node| matches!(node, Node::Constant(_)));
    let constant = match &node {
        Node::Apply(_, nodes)
        | Node::And(nodes)
        | Node::Or(nodes)
        | Node::Tuple(nodes)
        | Node::Array(nodes) => is_constant(nodes),
        Node::Among { value, .. } => is_constant(std::slice::from_ref(value)),
        Node::Choose { .. }
        | Node::Constant(_)
        | Node::Column(_)
        | Node::Key(_)
        | Node::Aggregate(_) => false,
    };
    if constant {
        node.evaluate(Place::row(Row::Unit)).map(Node::Constant)
    } else {
        Ok(node)
    }
}
