//! Going from an expression to the expressions directly below it.

use std::iter;

use crate::ast::{Call, CaseBranch, CteBody, Expr, Order, Relation, Select, Window};

impl Expr {
    /// The expressions directly below this one, in the order of the text; a subquery's are not among them.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match self {
            Self::Constant(_)
            | Self::Field(_)
            | Self::Asterisk(_)
            | Self::Placeholder(_)
            | Self::Subquery(_) => Vec::new(),
            Self::Call(call) => call.children().collect(),
            Self::Window(window) => {
                let order_by = window.order_by.iter().map(|order| &order.expr);
                let over = window.partition_by.iter().chain(order_by);
                window.call.children().chain(over).collect()
            }
            Self::Array(items) | Self::Tuple(items) | Self::And(items) | Self::Or(items) => {
                items.iter().collect()
            }
            Self::Index { base, index } => vec![base, index],
            Self::Not(operand) | Self::Negate(operand) => vec![operand],
            Self::Binary { left, right, .. } => vec![left, right],
            Self::In { expr, set, .. } => vec![expr, set],
            Self::Between {
                expr, low, high, ..
            } => vec![expr, low, high],
            Self::IsNull { expr, .. } => vec![expr],
            Self::Case {
                operand,
                branches,
                otherwise,
            } => {
                let branches = branches
                    .iter()
                    .flat_map(|branch| [&branch.when, &branch.then]);
                let ends = otherwise.as_deref();
                operand
                    .as_deref()
                    .into_iter()
                    .chain(branches)
                    .chain(ends)
                    .collect()
            }
            Self::Lambda { body, .. } => vec![body],
        }
    }

    /// This expression with each of those directly below it replaced; a subquery's are left alone.
    pub(crate) fn map_children(self, f: &mut dyn FnMut(Self) -> Self) -> Self {
        match self {
            Self::Constant(_)
            | Self::Field(_)
            | Self::Asterisk(_)
            | Self::Placeholder(_)
            | Self::Subquery(_) => self,
            Self::Call(call) => Self::Call(call.map_children(f)),
            Self::Window(window) => Self::Window(Box::new(Window {
                call: window.call.map_children(f),
                partition_by: all(window.partition_by, f),
                order_by: window
                    .order_by
                    .into_iter()
                    .map(|Order { expr, descending }| Order {
                        expr: f(expr),
                        descending,
                    })
                    .collect(),
                frame: window.frame,
            })),
            Self::Array(items) => Self::Array(all(items, f)),
            Self::Tuple(items) => Self::Tuple(all(items, f)),
            Self::And(items) => Self::And(all(items, f)),
            Self::Or(items) => Self::Or(all(items, f)),
            Self::Index { base, index } => Self::Index {
                base: boxed(*base, f),
                index: boxed(*index, f),
            },
            Self::Not(operand) => Self::Not(boxed(*operand, f)),
            Self::Negate(operand) => Self::Negate(boxed(*operand, f)),
            Self::Binary { op, left, right } => Self::Binary {
                op,
                left: boxed(*left, f),
                right: boxed(*right, f),
            },
            Self::In { expr, negated, set } => Self::In {
                expr: boxed(*expr, f),
                negated,
                set: boxed(*set, f),
            },
            Self::Between {
                expr,
                negated,
                low,
                high,
            } => Self::Between {
                expr: boxed(*expr, f),
                negated,
                low: boxed(*low, f),
                high: boxed(*high, f),
            },
            Self::IsNull { expr, negated } => Self::IsNull {
                expr: boxed(*expr, f),
                negated,
            },
            Self::Case {
                operand,
                branches,
                otherwise,
            } => Self::Case {
                operand: operand.map(|operand| boxed(*operand, f)),
                branches: branches
                    .into_iter()
                    .map(|CaseBranch { when, then }| CaseBranch {
                        when: f(when),
                        then: f(then),
                    })
                    .collect(),
                otherwise: otherwise.map(|otherwise| boxed(*otherwise, f)),
            },
            Self::Lambda { params, body } => Self::Lambda {
                params,
                body: boxed(*body, f),
            },
        }
    }
}

impl Call {
    fn children(&self) -> impl Iterator<Item = &Expr> {
        self.params.iter().flatten().chain(&self.args)
    }

    fn map_children(self, f: &mut dyn FnMut(Expr) -> Expr) -> Self {
        Self {
            params: self.params.map(|params| all(params, f)),
            args: all(self.args, f),
            ..self
        }
    }
}

fn all(items: Vec<Expr>, f: &mut dyn FnMut(Expr) -> Expr) -> Vec<Expr> {
    items.into_iter().map(f).collect()
}

fn boxed(expr: Expr, f: &mut dyn FnMut(Expr) -> Expr) -> Box<Expr> {
    Box::new(f(expr))
}

impl Select {
    /// What it reads from, in the order of the text.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &Relation> {
        let from = self.from.iter();
        from.flat_map(|from| {
            iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        })
    }

    /// Its own expressions, in the order of the text.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let with = self.with.iter().filter_map(|cte| match &cte.body {
            CteBody::Expr(expr) => Some(expr),
            CteBody::Query(_) => None,
        });
        let columns = self.columns.iter().map(|column| &column.expr);
        let joins = self
            .from
            .iter()
            .flat_map(|from| from.joins.iter().map(|join| &join.on));
        let order_by = self.order_by.iter().map(|order| &order.expr);
        with.chain(columns)
            .chain(joins)
            .chain(&self.filter)
            .chain(&self.group_by)
            .chain(&self.having)
            .chain(order_by)
    }
}
