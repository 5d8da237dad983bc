//! `SELECT` and what stands around it.

use super::{Grown, Parser, Result, is_reserved};
use crate::ast::{
    Column, Cte, CteBody, Expr, From, Join, JoinKind, Order, Query, Relation, Select, Source,
};
use crate::lexer::TokenKind;

impl Parser<'_> {
    pub(super) fn query(&mut self) -> Result<Grown<Query>> {
        self.nested(Self::union)
    }

    /// Whether a query starts that many tokens ahead, so that a parenthesis before it holds a query and not an expression.
    pub(super) fn is_query_ahead(&self, places: usize) -> bool {
        self.is_word_ahead(places, "select") || self.is_word_ahead(places, "with")
    }

    fn union(&mut self) -> Result<Grown<Query>> {
        let first = self.union_member()?;
        if !self.is_word("union") {
            return Ok(first.grown);
        }
        let mut tallest = first.grown.height;
        self.must_stand_alone(&first)?;
        let mut members = vec![first.grown.tree];
        while self.take_word("union") {
            // Plain UNION means different things in different settings of ClickHouse.
            self.expect_word("all")?;
            let member = self.union_member()?;
            self.must_stand_alone(&member)?;
            tallest = tallest.max(member.grown.height);
            members.push(member.grown.tree);
        }
        self.node(tallest, Query::UnionAll(members))
    }

    fn union_member(&mut self) -> Result<Member> {
        if self.take_symbol("(") {
            let grown = self.query()?;
            self.expect_symbol(")")?;
            return Ok(Member {
                grown,
                parenthesised: true,
            });
        }
        let select = self.select()?;
        Ok(Member {
            grown: select.map(|select| Query::Select(Box::new(select))),
            parenthesised: false,
        })
    }

    /// Refuses a bare member whose `WITH`, `ORDER BY` or `LIMIT` might be meant for the whole union.
    fn must_stand_alone(&self, member: &Member) -> Result<()> {
        match &member.grown.tree {
            Query::Select(select) if !member.parenthesised && !select.stands_alone() => Err(self
                .error(
                    "put each member of UNION ALL that has WITH, ORDER BY or LIMIT in parentheses",
                )),
            _ => Ok(()),
        }
    }

    fn select(&mut self) -> Result<Grown<Select>> {
        let mut tallest = 0;
        let mut select = Select::default();
        if self.take_word("with") {
            select.with = self.commas(&mut tallest, Self::cte)?;
        }
        self.expect_word("select")?;
        select.distinct = self.take_word("distinct");
        select.columns = self.commas(&mut tallest, Self::column)?;
        if self.take_word("from") {
            select.from = Some(self.from(&mut tallest)?);
        }
        if self.take_word("where") {
            select.filter = Some(self.part(&mut tallest, Self::expr)?);
        }
        if self.take_words(&["group", "by"]) {
            select.group_by = self.commas(&mut tallest, Self::expr)?;
        }
        if self.take_word("having") {
            select.having = Some(self.part(&mut tallest, Self::expr)?);
        }
        select.order_by = self.order_by(&mut tallest)?;
        if self.take_word("limit") {
            select.limit = Some(self.row_count()?);
            if self.take_word("offset") {
                select.offset = Some(self.row_count()?);
            }
        }
        self.node(tallest, select)
    }

    fn cte(&mut self) -> Result<Grown<Cte>> {
        let named = matches!(self.kind(), TokenKind::Quoted(_))
            || matches!(self.kind(), TokenKind::Word(word) if !is_reserved(word));
        if named && self.is_word_ahead(1, "as") && self.is_symbol_ahead(2, "(") {
            let name = self.name("a name")?;
            self.advance();
            self.advance();
            let query = self.query()?;
            self.expect_symbol(")")?;
            return Ok(query.map(|query| Cte {
                name,
                body: CteBody::Query(query),
            }));
        }
        let expr = self.expr()?;
        self.expect_word("as")?;
        let name = self.name("a name")?;
        Ok(expr.map(|expr| Cte {
            name,
            body: CteBody::Expr(expr),
        }))
    }

    fn column(&mut self) -> Result<Grown<Column>> {
        if let Some(asterisk) = self.asterisk()? {
            return self.node(
                0,
                Column {
                    expr: asterisk,
                    alias: None,
                },
            );
        }
        let expr = self.expr()?;
        let alias = if self.take_word("as") {
            Some(self.name("an alias")?)
        } else {
            None
        };
        Ok(expr.map(|expr| Column { expr, alias }))
    }

    /// `*` or `t.*`, if it stands here.
    pub(super) fn asterisk(&mut self) -> Result<Option<Expr>> {
        if self.take_symbol("*") {
            return Ok(Some(Expr::Asterisk(None)));
        }
        if self.is_symbol_ahead(1, ".") && self.is_symbol_ahead(2, "*") {
            let table = self.name("a table")?;
            self.advance();
            self.advance();
            return Ok(Some(Expr::Asterisk(Some(table))));
        }
        Ok(None)
    }

    fn from(&mut self, tallest: &mut usize) -> Result<From> {
        let relation = self.part(tallest, Self::relation)?;
        let mut joins = Vec::new();
        while let Some(kind) = self.join_kind()? {
            let relation = self.part(tallest, Self::relation)?;
            self.expect_word("on")?;
            let on = self.part(tallest, Self::expr)?;
            joins.push(Join { kind, relation, on });
        }
        Ok(From { relation, joins })
    }

    fn join_kind(&mut self) -> Result<Option<JoinKind>> {
        let kind = if self.take_word("left") {
            self.take_word("outer");
            JoinKind::Left
        } else if self.take_word("inner") || self.is_word("join") {
            JoinKind::Inner
        } else {
            return Ok(None);
        };
        self.expect_word("join")?;
        Ok(Some(kind))
    }

    fn relation(&mut self) -> Result<Grown<Relation>> {
        let source = if self.take_symbol("(") {
            let query = self.query()?;
            self.expect_symbol(")")?;
            query.map(Source::Subquery)
        } else if self.is_symbol("{") {
            return Err(self.error("a placeholder cannot stand for a table"));
        } else {
            let name = self.name("a table")?;
            if self.is_symbol(".") {
                return Err(self.error("a table cannot be qualified by a database"));
            }
            if self.is_symbol("(") {
                return Err(self.error("table functions are not supported"));
            }
            self.node(0, Source::Table(name))?
        };
        let implicit_alias = match self.kind() {
            TokenKind::Quoted(_) => true,
            TokenKind::Word(word) => !is_reserved(word),
            _ => false,
        };
        let alias = if self.take_word("as") || implicit_alias {
            Some(self.name("an alias")?)
        } else {
            None
        };
        Ok(source.map(|source| Relation { source, alias }))
    }

    /// The members of `ORDER BY`, none when it does not stand here.
    pub(super) fn order_by(&mut self, tallest: &mut usize) -> Result<Vec<Order>> {
        if !self.take_words(&["order", "by"]) {
            return Ok(Vec::new());
        }
        self.commas(tallest, |parser| {
            let expr = parser.expr()?;
            let descending = parser.take_word("desc") || parser.take_word("descending");
            if !descending && !parser.take_word("asc") {
                parser.take_word("ascending");
            }
            Ok(expr.map(|expr| Order { expr, descending }))
        })
    }

    /// A count of rows, always a plain number: a placeholder could not be bounded.
    pub(super) fn row_count(&mut self) -> Result<u64> {
        let TokenKind::Integer(digits) = self.kind() else {
            return Err(self.unexpected("a number of rows"));
        };
        let Ok(rows) = digits.parse() else {
            return Err(self.error("this number of rows is too large"));
        };
        self.advance();
        Ok(rows)
    }

    /// One part, with its height accounted for.
    pub(super) fn part<T>(
        &mut self,
        tallest: &mut usize,
        f: impl FnOnce(&mut Self) -> Result<Grown<T>>,
    ) -> Result<T> {
        let part = f(self)?;
        *tallest = part.height.max(*tallest);
        Ok(part.tree)
    }

    /// One or more parts between commas.
    pub(super) fn commas<T>(
        &mut self,
        tallest: &mut usize,
        mut f: impl FnMut(&mut Self) -> Result<Grown<T>>,
    ) -> Result<Vec<T>> {
        let mut parts = vec![self.part(tallest, &mut f)?];
        while self.take_symbol(",") {
            parts.push(self.part(tallest, &mut f)?);
        }
        Ok(parts)
    }
}

struct Member {
    grown: Grown<Query>,
    parenthesised: bool,
}
