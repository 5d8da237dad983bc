//! What operators stand between: literals, names, calls and whatever has brackets of its own.

use super::words::{interval_function, is_callable};
use super::{Grown, Parser, Result};
use crate::ast::{Call, CaseBranch, Constant, Expr};
use crate::functions::canonical;
use crate::lexer::TokenKind;

impl Parser<'_> {
    pub(super) fn postfix(&mut self) -> Result<Grown<Expr>> {
        let mut base = self.primary()?;
        loop {
            let mut tallest = base.height;
            if self.take_symbol("[") {
                let index = self.part(&mut tallest, Self::expr)?;
                self.expect_symbol("]")?;
                base = self.node(
                    tallest,
                    Expr::Index {
                        base: base.tree.into(),
                        index: index.into(),
                    },
                )?;
            } else if self.take_symbol(".") {
                let tree = match self.kind().clone() {
                    TokenKind::Integer(_) => {
                        let member = self.number("")?;
                        Expr::call("tupleElement", vec![base.tree, member])
                    }
                    TokenKind::Word(name) | TokenKind::Quoted(name) => {
                        self.advance();
                        Expr::Index {
                            base: base.tree.into(),
                            index: Expr::string(name).into(),
                        }
                    }
                    _ => return Err(self.unexpected("a name")),
                };
                base = self.node(tallest, tree)?;
            } else {
                return Ok(base);
            }
        }
    }

    fn primary(&mut self) -> Result<Grown<Expr>> {
        match self.kind() {
            TokenKind::Integer(_) | TokenKind::Decimal(_) => {
                let number = self.number("")?;
                self.node(0, number)
            }
            TokenKind::Text(text) => {
                let text = Expr::string(text);
                self.advance();
                self.node(0, text)
            }
            TokenKind::Symbol("{") => self.placeholder(),
            TokenKind::Symbol("(") => self.parenthesised(),
            TokenKind::Symbol("[") => {
                self.advance();
                let items = self.arguments("]")?;
                self.node(items.height, Expr::Array(items.tree))
            }
            TokenKind::Word(_) if self.is_word("case") => self.case(),
            TokenKind::Word(_) if self.is_word("interval") => self.interval(),
            TokenKind::Word(_) if self.is_symbol_ahead(1, "(") => self.call(),
            TokenKind::Word(word) => {
                let constant = match word.to_ascii_lowercase().as_str() {
                    "null" => Constant::Null,
                    "true" => Constant::Bool(true),
                    "false" => Constant::Bool(false),
                    _ => return self.field(),
                };
                self.advance();
                self.node(0, Expr::Constant(constant))
            }
            TokenKind::Quoted(_) if self.is_symbol_ahead(1, "(") => {
                Err(self.error("the name of a function cannot be quoted"))
            }
            TokenKind::Quoted(_) => self.field(),
            _ => Err(self.unexpected("an expression")),
        }
    }

    pub(super) fn number(&mut self, sign: &str) -> Result<Expr> {
        let constant = match self.kind() {
            TokenKind::Integer(digits) => format!("{sign}{digits}").parse().ok().map(Constant::Int),
            TokenKind::Decimal(digits) => {
                let number = format!("{sign}{digits}").parse().ok();
                number
                    .filter(|number: &f64| number.is_finite())
                    .map(Constant::Float)
            }
            _ => return Err(self.unexpected("a number")),
        };
        let Some(constant) = constant else {
            return Err(self.error("this number is too large"));
        };
        self.advance();
        Ok(Expr::Constant(constant))
    }

    fn placeholder(&mut self) -> Result<Grown<Expr>> {
        self.expect_symbol("{")?;
        let TokenKind::Word(name) = self.kind().clone() else {
            return Err(self.unexpected("the name of a value"));
        };
        self.advance();
        self.expect_symbol("}")?;
        self.node(0, Expr::Placeholder(name))
    }

    /// A subquery, an expression or a tuple in parentheses.
    pub(super) fn parenthesised(&mut self) -> Result<Grown<Expr>> {
        self.expect_symbol("(")?;
        if self.is_query_ahead(0) {
            let query = self.query()?;
            self.expect_symbol(")")?;
            return self.node(query.height, Expr::Subquery(query.tree.into()));
        }
        let mut tallest = 0;
        let mut items = self.commas(&mut tallest, Self::expr)?;
        self.expect_symbol(")")?;
        match items.pop() {
            Some(tree) if items.is_empty() => Ok(Grown {
                tree,
                height: tallest,
            }),
            last => {
                items.extend(last);
                self.node(tallest, Expr::Tuple(items))
            }
        }
    }

    fn field(&mut self) -> Result<Grown<Expr>> {
        let mut path = vec![self.name("an expression")?];
        while self.is_symbol(".") {
            let (TokenKind::Word(name) | TokenKind::Quoted(name)) = self.kind_ahead(1) else {
                break;
            };
            path.push(name.clone());
            self.advance();
            self.advance();
        }
        self.node(0, Expr::Field(path))
    }

    fn case(&mut self) -> Result<Grown<Expr>> {
        let mut tallest = 0;
        self.expect_word("case")?;
        let operand = if self.is_word("when") {
            None
        } else {
            Some(self.part(&mut tallest, Self::expr)?.into())
        };
        let mut branches = Vec::new();
        self.expect_word("when")?;
        loop {
            let when = self.part(&mut tallest, Self::expr)?;
            self.expect_word("then")?;
            let then = self.part(&mut tallest, Self::expr)?;
            branches.push(CaseBranch { when, then });
            if !self.take_word("when") {
                break;
            }
        }
        let otherwise = if self.take_word("else") {
            Some(self.part(&mut tallest, Self::expr)?.into())
        } else {
            None
        };
        self.expect_word("end")?;
        self.node(
            tallest,
            Expr::Case {
                operand,
                branches,
                otherwise,
            },
        )
    }

    /// `INTERVAL 3 DAY` or `INTERVAL '3 days'`.
    fn interval(&mut self) -> Result<Grown<Expr>> {
        self.expect_word("interval")?;
        if let TokenKind::Text(text) = self.kind() {
            let written = text.split_once(' ').and_then(|(count, unit)| {
                let function = interval_function(unit.strip_suffix('s').unwrap_or(unit))?;
                Some(Expr::call(function, vec![Expr::int(count.parse().ok()?)]))
            });
            let Some(interval) = written else {
                return Err(self.error("expected an interval such as '3 day'"));
            };
            self.advance();
            return self.node(1, interval);
        }
        let count = self.sum()?;
        let function = match self.kind() {
            TokenKind::Word(unit) => interval_function(unit),
            _ => None,
        };
        let Some(function) = function else {
            return Err(self.unexpected("a unit such as DAY"));
        };
        self.advance();
        self.node(count.height, Expr::call(function, vec![count.tree]))
    }

    fn call(&mut self) -> Result<Grown<Expr>> {
        let TokenKind::Word(name) = self.kind() else {
            return Err(self.unexpected("a function"));
        };
        if !is_callable(name) {
            return Err(self.unexpected("an expression"));
        }
        let name = canonical(name).unwrap_or(name).to_owned();
        self.advance();
        self.advance();
        let mut distinct = self.take_word("distinct");
        let first = self.arguments(")")?;
        let mut tallest = first.height;
        let (params, args) = if !distinct && self.take_symbol("(") {
            distinct = self.take_word("distinct");
            let args = self.arguments(")")?;
            tallest = tallest.max(args.height);
            (Some(first.tree), args.tree)
        } else {
            (None, first.tree)
        };
        let call = Call {
            name,
            params,
            distinct,
            args,
        };
        if self.is_word("over") {
            return self.window(call, tallest);
        }
        if call.is_plain("not") && call.args.len() != 1 {
            return Err(self.error("not() denies one thing"));
        }
        self.node(tallest, desugared(call))
    }

    /// The rest of a list whose bracket was opened, asterisks and lambdas allowed.
    fn arguments(&mut self, close: &str) -> Result<Grown<Vec<Expr>>> {
        let mut height = 0;
        let mut tree = Vec::new();
        if !self.take_symbol(close) {
            tree = self.commas(&mut height, Self::argument)?;
            self.expect_symbol(close)?;
        }
        Ok(Grown { tree, height })
    }

    fn argument(&mut self) -> Result<Grown<Expr>> {
        if let Some(asterisk) = self.asterisk()? {
            return self.node(0, asterisk);
        }
        let Some(params) = self.lambda_params()? else {
            return self.expr();
        };
        self.expect_symbol("->")?;
        let body = self.expr()?;
        self.node(
            body.height,
            Expr::Lambda {
                params,
                body: body.tree.into(),
            },
        )
    }

    /// The variables of a lambda, if one starts here.
    fn lambda_params(&mut self) -> Result<Option<Vec<String>>> {
        if self.is_symbol_ahead(1, "->") {
            return Ok(Some(vec![self.name("a variable")?]));
        }
        if !self.is_symbol("(") {
            return Ok(None);
        }
        let mut places = 1;
        while self.is_symbol_ahead(places + 1, ",") {
            places += 2;
        }
        if !self.is_symbol_ahead(places + 1, ")") || !self.is_symbol_ahead(places + 2, "->") {
            return Ok(None);
        }
        self.advance();
        let mut params = vec![self.name("a variable")?];
        while self.take_symbol(",") {
            params.push(self.name("a variable")?);
        }
        self.expect_symbol(")")?;
        Ok(Some(params))
    }
}

/// The tree's own node for a call that has one.
fn desugared(mut call: Call) -> Expr {
    if call.params.is_some() || call.distinct {
        return Expr::Call(call);
    }
    match call.name.as_str() {
        "tuple" => Expr::Tuple(call.args),
        "array" => Expr::Array(call.args),
        "not" => match call.args.pop() {
            Some(operand) => Expr::Not(operand.into()),
            None => Expr::Call(call),
        },
        "and" if call.args.len() > 1 => Expr::And(
            call.args
                .into_iter()
                .flat_map(Expr::into_and_members)
                .collect(),
        ),
        "or" if call.args.len() > 1 => Expr::Or(
            call.args
                .into_iter()
                .flat_map(Expr::into_or_members)
                .collect(),
        ),
        _ => Expr::Call(call),
    }
}
