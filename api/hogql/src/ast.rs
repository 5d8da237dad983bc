//! The `HogQL` that this crate understands, as a tree.
//!
//! The parser desugars what has an exact spelling as a call, as PostHog's own parser does, so that whoever walks the tree meets one form only:
//!
//! | written | in the tree |
//! |---|---|
//! | `a ? b : c` | `if(a, b, c)` |
//! | `a ?? b` | `ifNull(a, b)` |
//! | `a \|\| b \|\| c` | `concat(a, b, c)` |
//! | `INTERVAL 3 DAY` | `toIntervalDay(3)` |
//! | `t.1` | `tupleElement(t, 1)` |
//! | `tuple(a, b)`, `array(a, b)` | [`Expr::Tuple`], [`Expr::Array`] |
//! | `and(a, b)`, `or(a, b)`, `not(a)` | [`Expr::And`], [`Expr::Or`], [`Expr::Not`] |
//! | `f(x).y` | [`Expr::Index`] by the string `'y'` |
//!
//! A tree that came from the parser is at most [`MAX_DEPTH`](crate::MAX_DEPTH) deep, so recursion over it is safe.

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    Select(Box<Select>),
    /// `a UNION ALL b …`, two or more; a member that is itself a union was written in parentheses.
    UnionAll(Vec<Self>),
}

/// One `SELECT`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    /// Tables are visible in this `SELECT`, in its subqueries and in the later members of this list; expressions in this `SELECT`.
    pub with: Vec<Cte>,
    pub distinct: bool,
    /// Never empty.
    pub columns: Vec<Column>,
    pub from: Option<From>,
    /// The `WHERE` clause.
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub having: Option<Expr>,
    pub order_by: Vec<Order>,
    /// In rows.
    pub limit: Option<u64>,
    /// In rows; never without `limit`.
    pub offset: Option<u64>,
}

/// One member of a `WITH` list.
#[derive(Clone, Debug, PartialEq)]
pub struct Cte {
    pub name: String,
    pub body: CteBody,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CteBody {
    /// `WITH name AS (SELECT …)`: a table.
    Query(Query),
    /// `WITH expr AS name`: an expression by name.
    Expr(Expr),
}

/// One member of the `SELECT` list.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub expr: Expr,
    pub alias: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct From {
    pub relation: Relation,
    pub joins: Vec<Join>,
}

/// Something with rows, and the name it goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    pub source: Source,
    pub alias: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A table of PostHog's or a name from `WITH`; never qualified by a database.
    Table(String),
    Subquery(Query),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    pub kind: JoinKind,
    pub relation: Relation,
    pub on: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub expr: Expr,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Constant(Constant),
    /// A dotted name, one member a step: `properties.$current_url` is `["properties", "$current_url"]`.
    /// A column, a column's path, an alias, a lambda's variable or an expression from `WITH`: the scope decides.
    Field(Vec<String>),
    /// `*`, or `t.*` with the table's name.
    Asterisk(Option<String>),
    /// `{name}`: a value that travels beside the query, as JSON.
    Placeholder(String),
    Call(Call),
    /// A call with `OVER (…)`.
    Window(Box<Window>),
    Array(Vec<Self>),
    Tuple(Vec<Self>),
    /// `base[index]`: an array's element (counted from 1) or, by a string, a property: `properties['x']`.
    Index {
        base: Box<Self>,
        index: Box<Self>,
    },
    /// Two or more operands; never a direct child of another `And` when parsed.
    And(Vec<Self>),
    /// Two or more operands; never a direct child of another `Or` when parsed.
    Or(Vec<Self>),
    Not(Box<Self>),
    /// `-x`; a negative literal is a [`Constant`] instead.
    Negate(Box<Self>),
    Binary {
        op: BinaryOp,
        left: Box<Self>,
        right: Box<Self>,
    },
    /// `expr [NOT] IN set`.
    In {
        expr: Box<Self>,
        negated: bool,
        /// A [`Tuple`](Self::Tuple) (also for `IN ('a')`), [`Array`](Self::Array), [`Subquery`](Self::Subquery) or
        /// [`Placeholder`](Self::Placeholder), or anything that yields an array or tuple.
        set: Box<Self>,
    },
    /// `expr [NOT] BETWEEN low AND high`, both ends included.
    Between {
        expr: Box<Self>,
        negated: bool,
        low: Box<Self>,
        high: Box<Self>,
    },
    /// `expr IS [NOT] NULL`.
    IsNull {
        expr: Box<Self>,
        negated: bool,
    },
    /// `CASE [operand] WHEN … THEN … [ELSE …] END`; without `ELSE` the rest is null.
    Case {
        operand: Option<Box<Self>>,
        /// Never empty.
        branches: Vec<CaseBranch>,
        otherwise: Option<Box<Self>>,
    },
    /// `x -> body`, `(x, y) -> body`: only as an argument of a call.
    Lambda {
        params: Vec<String>,
        body: Box<Self>,
    },
    /// A scalar, or the set of an [`In`](Self::In).
    Subquery(Box<Query>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    /// Always finite.
    Float(f64),
    String(String),
}

/// `name(args)`, `name(DISTINCT args)` or `name(params)(args)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// In `PostHog`'s spelling if it is a known function, whatever the case it was written in; otherwise as written.
    pub name: String,
    /// `Some` when written with two pairs of parentheses: `quantile(0.9)(x)`.
    pub params: Option<Vec<Expr>>,
    pub distinct: bool,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub call: Call,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<Order>,
    pub frame: Option<Frame>,
}

/// `ROWS start` or `ROWS BETWEEN start AND end`, the same with `RANGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub unit: FrameUnit,
    pub start: Bound,
    pub end: Option<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUnit {
    Rows,
    Range,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    CurrentRow,
    UnboundedPreceding,
    UnboundedFollowing,
    Preceding(u64),
    Following(u64),
}

#[derive(Clone, Debug, PartialEq)]
pub struct CaseBranch {
    pub when: Expr,
    pub then: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    /// `=`, `==`
    Equal,
    /// `!=`, `<>`
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
    ILike,
    NotILike,
}

impl Expr {
    /// The field with this path.
    pub fn field<const N: usize>(path: [&str; N]) -> Self {
        Self::Field(path.map(str::to_owned).into())
    }

    /// `name(args)`.
    pub fn call(name: &str, args: Vec<Self>) -> Self {
        Self::Call(Call {
            name: name.to_owned(),
            params: None,
            distinct: false,
            args,
        })
    }

    pub fn placeholder(name: impl Into<String>) -> Self {
        Self::Placeholder(name.into())
    }

    pub fn string(text: impl Into<String>) -> Self {
        Self::Constant(Constant::String(text.into()))
    }

    pub fn int(number: i64) -> Self {
        Self::Constant(Constant::Int(number))
    }

    pub fn binary(op: BinaryOp, left: Self, right: Self) -> Self {
        Self::Binary {
            op,
            left: left.into(),
            right: right.into(),
        }
    }

    /// Both conditions, flattened.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut members = self.into_and_members();
        members.extend(other.into_and_members());
        Self::And(members)
    }

    /// Either condition, flattened.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut members = self.into_or_members();
        members.extend(other.into_or_members());
        Self::Or(members)
    }

    pub(crate) fn into_and_members(self) -> Vec<Self> {
        match self {
            Self::And(members) => members,
            one => vec![one],
        }
    }

    pub(crate) fn into_or_members(self) -> Vec<Self> {
        match self {
            Self::Or(members) => members,
            one => vec![one],
        }
    }

    /// This expression as a `SELECT` column, `AS alias`.
    #[must_use]
    pub fn named(self, alias: impl Into<String>) -> Column {
        Column {
            expr: self,
            alias: Some(alias.into()),
        }
    }
}

impl Call {
    /// Whether this is a call of that function with nothing but arguments.
    pub fn is_plain(&self, name: &str) -> bool {
        self.name == name && self.params.is_none() && !self.distinct
    }

    /// Whether this is `count(*)`.
    pub(crate) fn counts_all(&self) -> bool {
        self.is_plain("count") && matches!(self.args[..], [Expr::Asterisk(None)])
    }
}

impl Select {
    /// Whether it can be a member of `UNION ALL` without parentheses.
    pub(crate) fn stands_alone(&self) -> bool {
        self.with.is_empty() && self.order_by.is_empty() && self.limit.is_none()
    }
}
