//! A member of a JSON column, by its type: each database reads JSON in words of its own.

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};

use super::Scope;

/// A member as what it may be: each is null where it is something else.
pub struct Member {
    pub text: Expr,
    pub number: Expr,
    /// As the text `true` or `false`.
    pub truth: Expr,
    /// It is there, and not JSON's null.
    pub is_set: Expr,
}

impl Scope {
    /// The member `name` of the object in `column`. No quote and no backslash may stand in the name: SQLite has no way to
    /// write them.
    pub fn member(&self, column: &Expr, name: &str) -> Member {
        if self.place().db().is_postgres() {
            let name = Expr::value(name).cast_as("text");
            let of = |sql: &'static str| Expr::cust_with_exprs(sql, [column.clone(), name.clone()]);
            let (kind, value) = (of("jsonb_typeof($1 -> $2)"), of("($1 ->> $2)"));
            let is = |one: &str| kind.clone().eq(one);
            Member {
                text: only(is("string"), value.clone()),
                number: only(is("number"), value.clone().cast_as("double precision")),
                truth: only(is("boolean"), value),
                is_set: kind.clone().is_not_null().and(kind.ne("null")),
            }
        } else {
            let path = Expr::value(format!("$.\"{name}\""));
            let of = |sql: &'static str| Expr::cust_with_exprs(sql, [column.clone(), path.clone()]);
            let (kind, value) = (of("json_type(?, ?)"), of("json_extract(?, ?)"));
            let is = |some: [&str; 2]| kind.clone().is_in(some);
            Member {
                text: only(kind.clone().eq("text"), value.clone()),
                number: only(is(["integer", "real"]), value),
                truth: only(is(["true", "false"]), kind.clone()),
                is_set: kind.clone().is_not_null().and(kind.clone().ne("null")),
            }
        }
    }
}

fn only(when: Expr, then: Expr) -> Expr {
    CaseStatement::new().case(when, then).into()
}
