//! Tree to text, on one line.
//!
//! Parentheses are generous: wherever two grammars could disagree on what binds tighter, they stand, so that `PostHog` reads the tree
//! that was checked. Every name that is not plainly a name is quoted and every string escaped.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::ast::{
    BinaryOp, Bound, Call, Column, Constant, Cte, CteBody, Expr, Frame, FrameUnit, From, JoinKind,
    Order, Query, Relation, Select, Source, Window,
};
use crate::lexer::is_plain_name;
use crate::parser::is_reserved;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let members = match self {
            Self::Select(select) => return select.fmt(f),
            Self::UnionAll(members) => members,
        };
        separated(f, members, " UNION ALL ", |f, member| match member {
            Self::Select(select) if select.stands_alone() => select.fmt(f),
            _ => write!(f, "({member})"),
        })
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        clause(f, "WITH ", &self.with, " ")?;
        f.write_str("SELECT ")?;
        if self.distinct {
            f.write_str("DISTINCT ")?;
        }
        separated(f, &self.columns, ", ", |f, column| column.fmt(f))?;
        if let Some(from) = &self.from {
            write!(f, " FROM {from}")?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        clause(f, " GROUP BY ", &self.group_by, "")?;
        if let Some(having) = &self.having {
            write!(f, " HAVING {having}")?;
        }
        clause(f, " ORDER BY ", &self.order_by, "")?;
        if let Some(limit) = self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " OFFSET {offset}")?;
        }
        Ok(())
    }
}

impl Display for Cte {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = Name(&self.name);
        match &self.body {
            CteBody::Query(query) => write!(f, "{name} AS ({query})"),
            CteBody::Expr(expr) => write!(f, "{expr} AS {name}"),
        }
    }
}

impl Display for Column {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        alias(f, self.alias.as_deref())
    }
}

impl Display for From {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.relation.fmt(f)?;
        for join in &self.joins {
            let kind = match join.kind {
                JoinKind::Inner => "INNER",
                JoinKind::Left => "LEFT",
            };
            write!(f, " {kind} JOIN {} ON {}", join.relation, join.on)?;
        }
        Ok(())
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Table(name) => Name(name).fmt(f)?,
            Source::Subquery(query) => write!(f, "({query})")?,
        }
        alias(f, self.alias.as_deref())
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        f.write_str(if self.descending { " DESC" } else { " ASC" })
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(constant) => constant.fmt(f),
            Self::Field(path) => separated(f, path, ".", |f, step| Name(step).fmt(f)),
            Self::Asterisk(None) => f.write_str("*"),
            Self::Asterisk(Some(table)) => write!(f, "{}.*", Name(table)),
            Self::Placeholder(name) => write!(f, "{{{name}}}"),
            Self::Call(call) => call.fmt(f),
            Self::Window(window) => window.fmt(f),
            Self::Array(items) => write!(f, "[{}]", List(items)),
            Self::Tuple(items) if items.len() > 1 => write!(f, "({})", List(items)),
            Self::Tuple(items) => write!(f, "tuple({})", List(items)),
            // A number would take a minus sign before it for its own.
            Self::Index { base, index } if matches!(**base, Self::Constant(_)) => {
                write!(f, "({base})[{index}]")
            }
            Self::Index { base, index } => write!(f, "{}[{index}]", Operand(base)),
            Self::And(members) => separated(f, members, " AND ", |f, member| Member(member).fmt(f)),
            Self::Or(members) => separated(f, members, " OR ", |f, member| Member(member).fmt(f)),
            // As a call: PostHog takes `NOT (a) = b` for one, other dialects do not.
            Self::Not(operand) => write!(f, "not({operand})"),
            Self::Negate(operand) if matches!(**operand, Self::Constant(_)) => {
                write!(f, "-({operand})")
            }
            Self::Negate(operand) => write!(f, "-{}", Operand(operand)),
            Self::Binary { op, left, right } => {
                write!(f, "{} {op} {}", Operand(left), Operand(right))
            }
            Self::In { expr, negated, set } => {
                write!(f, "{} {}IN ", Operand(expr), not(*negated))?;
                match &**set {
                    // Two parentheses around one constant are how a set of one is written.
                    Self::Tuple(items) if matches!(items[..], [Self::Constant(_)]) => {
                        write!(f, "({})", List(items))
                    }
                    set => Operand(set).fmt(f),
                }
            }
            Self::Between {
                expr,
                negated,
                low,
                high,
            } => write!(
                f,
                "{} {}BETWEEN {} AND {}",
                Operand(expr),
                not(*negated),
                Operand(low),
                Operand(high)
            ),
            Self::IsNull { expr, negated } => {
                write!(f, "{} IS {}NULL", Operand(expr), not(*negated))
            }
            Self::Case {
                operand,
                branches,
                otherwise,
            } => {
                f.write_str("CASE")?;
                if let Some(operand) = operand {
                    write!(f, " {}", Operand(operand))?;
                }
                for branch in branches {
                    write!(
                        f,
                        " WHEN {} THEN {}",
                        Operand(&branch.when),
                        Operand(&branch.then)
                    )?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {}", Operand(otherwise))?;
                }
                f.write_str(" END")
            }
            Self::Lambda { params, body } => {
                f.write_str("(")?;
                separated(f, params, ", ", |f, param| Name(param).fmt(f))?;
                write!(f, ") -> {body}")
            }
            Self::Subquery(query) => write!(f, "({query})"),
        }
    }
}

impl Display for Constant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(number) => number.fmt(f),
            // Debug always shows a fraction or an exponent, so that a decimal number stays one.
            Self::Float(number) => write!(f, "{number:?}"),
            Self::String(text) => quoted(f, '\'', text),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(params) = &self.params {
            write!(f, "({})", List(params))?;
        }
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        write!(f, "({distinct}{})", List(&self.args))
    }
}

impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} OVER (", self.call)?;
        clause(f, "PARTITION BY ", &self.partition_by, "")?;
        let after_partition = !self.partition_by.is_empty();
        clause(
            f,
            if after_partition {
                " ORDER BY "
            } else {
                "ORDER BY "
            },
            &self.order_by,
            "",
        )?;
        if let Some(frame) = &self.frame {
            let first = !after_partition && self.order_by.is_empty();
            write!(f, "{}{frame}", if first { "" } else { " " })?;
        }
        f.write_str(")")
    }
}

impl Display for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.unit {
            FrameUnit::Rows => "ROWS ",
            FrameUnit::Range => "RANGE ",
        })?;
        match self.end {
            None => self.start.fmt(f),
            Some(end) => write!(f, "BETWEEN {} AND {end}", self.start),
        }
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::CurrentRow => f.write_str("CURRENT ROW"),
            Self::UnboundedPreceding => f.write_str("UNBOUNDED PRECEDING"),
            Self::UnboundedFollowing => f.write_str("UNBOUNDED FOLLOWING"),
            Self::Preceding(rows) => write!(f, "{rows} PRECEDING"),
            Self::Following(rows) => write!(f, "{rows} FOLLOWING"),
        }
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "LIKE",
            Self::NotLike => "NOT LIKE",
            Self::ILike => "ILIKE",
            Self::NotILike => "NOT ILIKE",
        })
    }
}

/// An expression next to an operator: in parentheses unless nothing could tear it apart.
struct Operand<'a>(&'a Expr);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = match self.0 {
            Expr::Constant(Constant::Int(number)) => *number >= 0,
            Expr::Constant(Constant::Float(number)) => number.is_sign_positive(),
            Expr::Constant(_)
            | Expr::Field(_)
            | Expr::Placeholder(_)
            | Expr::Call(_)
            | Expr::Array(_)
            | Expr::Tuple(_)
            | Expr::Not(_)
            | Expr::Index { .. }
            | Expr::Subquery(_) => true,
            _ => false,
        };
        if whole {
            return self.0.fmt(f);
        }
        write!(f, "({})", self.0)
    }
}

/// A member of `AND` or `OR`: comparisons stand bare, for the reader's sake.
struct Member<'a>(&'a Expr);

impl Display for Member<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Binary { .. } | Expr::In { .. } | Expr::IsNull { .. } | Expr::Constant(_) => {
                self.0.fmt(f)
            }
            other => Operand(other).fmt(f),
        }
    }
}

struct List<'a>(&'a [Expr]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        separated(f, self.0, ", ", |f, item| item.fmt(f))
    }
}

/// A name, in backticks unless it is plain and not reserved.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_plain_name(self.0) && !is_reserved(self.0) {
            return f.write_str(self.0);
        }
        quoted(f, '`', self.0)
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn alias(f: &mut Formatter<'_>, alias: Option<&str>) -> fmt::Result {
    match alias {
        Some(alias) => write!(f, " AS {}", Name(alias)),
        None => Ok(()),
    }
}

/// A list after a keyword; nothing at all when it is empty.
fn clause<T: Display>(f: &mut Formatter<'_>, keyword: &str, items: &[T], end: &str) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    f.write_str(keyword)?;
    separated(f, items, ", ", |f, item| item.fmt(f))?;
    f.write_str(end)
}

fn separated<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    separator: &str,
    print: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            f.write_str(separator)?;
        }
        print(f, item)?;
    }
    Ok(())
}

/// The text between two of `quote`, with the escapes that `PostHog`'s lexer knows.
fn quoted(f: &mut Formatter<'_>, quote: char, text: &str) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\'' if quote == '\'' => f.write_str("\\'")?,
            '`' if quote == '`' => f.write_str("``")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\r' => f.write_str("\\r")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\0' => f.write_str("\\0")?,
            '\u{7}' => f.write_str("\\a")?,
            '\u{b}' => f.write_str("\\v")?,
            other => f.write_char(other)?,
        }
    }
    f.write_char(quote)
}
