//! Operators, by precedence.

use super::{Grown, Parser, Result};
use crate::ast::{BinaryOp, Expr};
use crate::lexer::TokenKind;

/// How tightly an operator binds, loosest first, as in `PostHog`'s grammar. `BETWEEN` is the exception: there it binds looser than
/// `OR`, here as in SQL, and the printer's parentheses keep the two readings apart.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Or,
    And,
    Not,
    IfNull,
    Comparison,
    Sum,
    Product,
    Prefix,
}

#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    IfNull,
    Concat,
    Is,
    In,
    Between,
    Binary(BinaryOp),
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Grown<Expr>> {
        self.nested(Self::ternary)
    }

    fn ternary(&mut self) -> Result<Grown<Expr>> {
        let condition = self.infix(Level::Or)?;
        if !self.take_symbol("?") {
            return Ok(condition);
        }
        let mut tallest = condition.height;
        let then = self.part(&mut tallest, Self::expr)?;
        self.expect_symbol(":")?;
        let otherwise = self.part(&mut tallest, Self::expr)?;
        self.node(
            tallest,
            Expr::call("if", vec![condition.tree, then, otherwise]),
        )
    }

    /// An operand and all operators after it that bind at least this tightly.
    fn infix(&mut self, least: Level) -> Result<Grown<Expr>> {
        let mut left = self.prefix(least)?;
        while let Some((level, infix, negated)) = self.infix_here() {
            if level < least {
                break;
            }
            self.at += if negated { 2 } else { 1 };
            left = self.infix_with(left, level, infix, negated)?;
        }
        Ok(left)
    }

    /// The operator that stands here and whether `NOT` precedes it.
    fn infix_here(&self) -> Option<(Level, Infix, bool)> {
        use BinaryOp as Op;
        let (level, infix) = match self.kind() {
            TokenKind::Symbol(symbol) => match *symbol {
                "??" => (Level::IfNull, Infix::IfNull),
                "=" | "==" => (Level::Comparison, Infix::Binary(Op::Equal)),
                "!=" | "<>" => (Level::Comparison, Infix::Binary(Op::NotEqual)),
                "<" => (Level::Comparison, Infix::Binary(Op::Less)),
                "<=" => (Level::Comparison, Infix::Binary(Op::LessOrEqual)),
                ">" => (Level::Comparison, Infix::Binary(Op::Greater)),
                ">=" => (Level::Comparison, Infix::Binary(Op::GreaterOrEqual)),
                "+" => (Level::Sum, Infix::Binary(Op::Add)),
                "-" => (Level::Sum, Infix::Binary(Op::Subtract)),
                "||" => (Level::Sum, Infix::Concat),
                "*" => (Level::Product, Infix::Binary(Op::Multiply)),
                "/" => (Level::Product, Infix::Binary(Op::Divide)),
                "%" => (Level::Product, Infix::Binary(Op::Modulo)),
                _ => return None,
            },
            TokenKind::Word(_) if self.is_word("or") => (Level::Or, Infix::Or),
            TokenKind::Word(_) if self.is_word("and") => (Level::And, Infix::And),
            TokenKind::Word(_) if self.is_word("is") => (Level::Comparison, Infix::Is),
            TokenKind::Word(_) => {
                let negated = self.is_word("not");
                let places = usize::from(negated);
                let is = |word| self.is_word_ahead(places, word);
                let infix = if is("in") {
                    Infix::In
                } else if is("between") {
                    Infix::Between
                } else if is("like") {
                    Infix::Binary(if negated { Op::NotLike } else { Op::Like })
                } else if is("ilike") {
                    Infix::Binary(if negated { Op::NotILike } else { Op::ILike })
                } else {
                    return None;
                };
                return Some((Level::Comparison, infix, negated));
            }
            _ => return None,
        };
        Some((level, infix, false))
    }

    fn infix_with(
        &mut self,
        left: Grown<Expr>,
        level: Level,
        infix: Infix,
        negated: bool,
    ) -> Result<Grown<Expr>> {
        let expr = left.tree;
        let widens = match (infix, &expr) {
            (Infix::And, Expr::And(_)) | (Infix::Or, Expr::Or(_)) => true,
            (Infix::Concat, Expr::Call(call)) => call.is_plain("concat"),
            _ => false,
        };
        // A node that takes one more member instead of a node above it.
        let mut tallest = left.height - usize::from(widens);
        match infix {
            Infix::And => {
                let right = self.right(&mut tallest, Level::Not)?;
                self.node(tallest, expr.and(right))
            }
            Infix::Or => {
                let right = self.right(&mut tallest, Level::And)?;
                self.node(tallest, expr.or(right))
            }
            Infix::IfNull => {
                let right = self.right(&mut tallest, Level::Comparison)?;
                self.node(tallest, Expr::call("ifNull", vec![expr, right]))
            }
            Infix::Concat => {
                let right = self.right(&mut tallest, Level::Product)?;
                match expr {
                    Expr::Call(mut call) if call.is_plain("concat") => {
                        call.args.push(right);
                        self.node(tallest, Expr::Call(call))
                    }
                    expr => self.node(tallest, Expr::call("concat", vec![expr, right])),
                }
            }
            Infix::Is => {
                let negated = self.take_word("not");
                self.expect_word("null")?;
                let expr = expr.into();
                self.node(tallest, Expr::IsNull { expr, negated })
            }
            Infix::In => {
                let set = self.part(&mut tallest, Self::set)?.into();
                let expr = expr.into();
                self.node(tallest, Expr::In { expr, negated, set })
            }
            Infix::Between => {
                let low = self.right(&mut tallest, Level::Sum)?;
                self.expect_word("and")?;
                let high = self.right(&mut tallest, Level::Sum)?;
                self.node(
                    tallest,
                    Expr::Between {
                        expr: expr.into(),
                        negated,
                        low: low.into(),
                        high: high.into(),
                    },
                )
            }
            Infix::Binary(op) => {
                let right_level = match level {
                    Level::Comparison => Level::Sum,
                    Level::Sum => Level::Product,
                    _ => Level::Prefix,
                };
                let right = self.right(&mut tallest, right_level)?;
                self.node(tallest, Expr::binary(op, expr, right))
            }
        }
    }

    /// An expression without comparisons.
    pub(super) fn sum(&mut self) -> Result<Grown<Expr>> {
        self.operand(Level::Sum)
    }

    /// What may stand after `IN`.
    fn set(&mut self) -> Result<Grown<Expr>> {
        if self.is_word("cohort") && !self.is_symbol_ahead(1, "(") {
            return Err(self.error("IN COHORT is not supported, ask cohort_people"));
        }
        if !self.is_symbol("(") {
            return self.sum();
        }
        let set = self.parenthesised()?;
        if self
            .infix_here()
            .is_some_and(|(level, ..)| level > Level::Comparison)
        {
            // Elsewhere it would belong to the set.
            return Err(self.error("put IN and its set in parentheses here"));
        }
        match set.tree {
            Expr::Constant(_) => self.node(set.height, Expr::Tuple(vec![set.tree])),
            _ => Ok(set),
        }
    }

    fn prefix(&mut self, least: Level) -> Result<Grown<Expr>> {
        // PostHog takes NOT before a parenthesis for a call: it binds tightest, unless a subquery follows.
        let is_call = self.is_symbol_ahead(1, "(") && !self.is_query_ahead(2);
        if self.is_word("not") && !is_call {
            if least > Level::Not {
                return Err(self.error("put NOT and what it denies in parentheses here"));
            }
            self.advance();
            let operand = self.operand(Level::Not)?;
            return self.node(operand.height, Expr::Not(operand.tree.into()));
        }
        if !self.take_symbol("-") {
            return self.postfix();
        }
        if matches!(self.kind(), TokenKind::Integer(_) | TokenKind::Decimal(_)) {
            let number = self.number("-")?;
            return self.node(0, number);
        }
        let operand = self.operand(Level::Prefix)?;
        self.node(operand.height, Expr::Negate(operand.tree.into()))
    }

    /// What stands behind an operator, one level further in.
    fn operand(&mut self, least: Level) -> Result<Grown<Expr>> {
        self.nested(|parser| parser.infix(least))
    }

    fn right(&mut self, tallest: &mut usize, least: Level) -> Result<Expr> {
        let right = self.operand(least)?;
        *tallest = right.height.max(*tallest);
        Ok(right.tree)
    }
}
