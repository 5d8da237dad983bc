//! "The last five of each": a page's children in one statement, by the index, however many rows there are.

use entity::TenantOwned;
use sea_orm::{
    Condition, Order, QueryFilter, Value,
    sea_query::{
        Alias, ArrayType, Asterisk, Expr, ExprTrait, Func, IntoCondition, JoinType, Query,
        SelectStatement, extension::postgres::PgFunc,
    },
};
use uuid::Uuid;

use super::{Rows, Scope, scope::key};
use crate::base::timeline::named_besides;

/// The keys as a table; its one column's name is both databases' own.
const KEYS: &str = "key";
const KEY: &str = "column1";
const FIRST: &str = "first";

/// The columns of a table of members: whose rows (`id`) are which one's (`root`).
pub const ROOT: &str = "root";
pub const MEMBER: &str = "id";
const MEMBERS: &str = "member";

/// Rows read together for many roots, as a statement that others may be joined to.
pub struct EachSelect {
    pub select: SelectStatement,
    /// What the rows' table is called in it.
    pub rows: &'static str,
}

impl Scope {
    /// The first `limit` rows, in `order`, of each of `keys` in `column`, among those that meet `narrow`. The
    /// result itself is in no order. Give at least one key.
    pub fn first_of_each<E, K>(
        &self,
        column: E::Column,
        keys: &[K],
        narrow: Condition,
        order: &[(E::Column, Order)],
        limit: u64,
    ) -> Rows<'_, E>
    where
        E: TenantOwned,
        K: Copy + Into<Value>,
    {
        let id = key::<E>();
        let table = Alias::new(E::default().table_name());
        let mut of_key: SelectStatement = self.subquery::<E>();
        of_key
            .column((table.clone(), id))
            .and_where(
                Expr::col((table.clone(), column))
                    .eq(Expr::col((Alias::new(KEYS), Alias::new(KEY)))),
            )
            .cond_where(narrow)
            .limit(limit);
        for (column, direction) in order {
            of_key.order_by((table.clone(), *column), direction.clone());
        }
        let first = Alias::new(FIRST);
        let first_id = Expr::col((first.clone(), id));
        let mut ids = Query::select();
        ids.expr(first_id.clone()).from_values(
            keys.iter().map(|key| -> Value { (*key).into() }),
            Alias::new(KEYS),
        );
        if self.place().db().is_postgres() {
            ids.join_lateral(JoinType::InnerJoin, of_key, first, Expr::cust("TRUE"));
        } else {
            // SQLite has no lateral join, but runs a correlated `IN` for each key, by the index.
            ids.join_as(
                JoinType::InnerJoin,
                table,
                first,
                first_id.in_subquery(of_key),
            );
        }
        self.find::<E>()
            .filter(Expr::col((E::default(), id)).in_subquery(ids))
    }

    /// Whether `column` is one of `keys`: on PostgreSQL one parameter, however many keys there are, so that the statement is
    /// prepared once.
    pub fn is_one_of<E: TenantOwned>(&self, column: E::Column, keys: &[Uuid]) -> Condition {
        let column = Expr::col((Alias::new(E::default().table_name()), column));
        if self.place().db().is_postgres() {
            column.eq(PgFunc::any(array(keys))).into_condition()
        } else {
            column.is_in(keys.iter().copied()).into_condition()
        }
    }

    /// A table of members in which each of `keys` is its own: [`ROOT`] and [`MEMBER`].
    pub fn members(&self, keys: &[Uuid]) -> SelectStatement {
        let mut members = Query::select();
        let key = if self.place().db().is_postgres() {
            members.from_function(Func::cust("unnest").arg(array(keys)), KEYS);
            Expr::col(KEYS)
        } else {
            members.from_values(keys.iter().copied(), KEYS);
            Expr::col((KEYS, KEY))
        };
        members.expr_as(key.clone(), ROOT).expr_as(key, MEMBER);
        members
    }

    /// The first `limit` rows, in `order`, of each of `members`, whose id is in `column`, among those that meet `narrow`: the
    /// root, and then `columns`. The result itself is in no order.
    pub fn first_of_members<E: TenantOwned>(
        &self,
        members: SelectStatement,
        column: E::Column,
        columns: &[E::Column],
        narrow: Condition,
        order: &[(E::Column, Order)],
        limit: u64,
    ) -> EachSelect {
        let table = Alias::new(E::default().table_name());
        let mut of_member: SelectStatement = self.subquery::<E>();
        of_member
            .and_where(Expr::col((table.clone(), column)).eq(Expr::col((MEMBERS, MEMBER))))
            .limit(limit);
        if !narrow.is_empty() {
            of_member.cond_where(narrow);
        }
        for (column, direction) in order {
            of_member.order_by((table.clone(), *column), direction.clone());
        }
        let mut select = Query::select();
        select.column((MEMBERS, ROOT));
        for column in columns {
            select.column((FIRST, *column));
        }
        select.from_subquery(members, MEMBERS);
        if self.place().db().is_postgres() {
            for column in columns {
                of_member.column((table.clone(), *column));
            }
            select.join_lateral(JoinType::InnerJoin, of_member, FIRST, Expr::cust("TRUE"));
        } else {
            // SQLite has no lateral join, but runs a correlated `IN` for each member, by the index.
            let id = key::<E>();
            of_member.column((table.clone(), id));
            let found = Expr::col((FIRST, id)).in_subquery(of_member);
            select.join_as(JoinType::InnerJoin, table, FIRST, found);
        }
        EachSelect {
            select,
            rows: FIRST,
        }
    }

    /// As [`Scope::first_of_members`], of a table that is known by its names: itself, its contact, and the column by which a row
    /// that names two contacts of one family is that one's alone. The root alone is selected.
    pub fn first_of_named(
        &self,
        members: &SelectStatement,
        (table, contact, unless): (&'static str, &'static str, Option<&'static str>),
        narrow: Condition,
        order: &[(&'static str, Order)],
        limit: u64,
    ) -> EachSelect {
        let column = |name: &'static str| (Alias::new(table), Alias::new(name));
        let mut of_member = Query::select();
        of_member
            .from(Alias::new(table))
            .and_where(Expr::col(column("tenant_id")).eq(Expr::value(self.tenant())))
            .and_where(Expr::col(column(contact)).eq(Expr::col((MEMBERS, MEMBER))))
            .limit(limit);
        if !narrow.is_empty() {
            of_member.cond_where(narrow);
        }
        if let Some(unless) = unless {
            let root = Expr::col((MEMBERS, ROOT));
            let besides = named_besides(members, root, Expr::col(column(unless)));
            of_member.and_where(besides.not());
        }
        for (name, direction) in order {
            of_member.order_by(column(name), direction.clone());
        }
        let mut select = Query::select();
        select
            .column((MEMBERS, ROOT))
            .from_subquery(members.clone(), MEMBERS);
        if self.place().db().is_postgres() {
            of_member.column((Alias::new(table), Asterisk));
            select.join_lateral(JoinType::InnerJoin, of_member, FIRST, Expr::cust("TRUE"));
        } else {
            of_member.column(column("id"));
            let found = Expr::col((FIRST, Alias::new("id"))).in_subquery(of_member);
            select.join_as(JoinType::InnerJoin, Alias::new(table), FIRST, found);
        }
        EachSelect {
            select,
            rows: FIRST,
        }
    }

    /// As [`Scope::count_of_members`], of a table that is known by its names.
    pub fn count_of_named(
        &self,
        members: &SelectStatement,
        (table, contact, unless): (&'static str, &'static str, Option<&'static str>),
        narrow: Condition,
    ) -> SelectStatement {
        let column = |name: &'static str| Expr::col((Alias::new(table), Alias::new(name)));
        let besides = unless
            .map(|unless| named_besides(members, Expr::col((MEMBERS, ROOT)), column(unless)).not());
        let theirs = Condition::all()
            .add(column("tenant_id").eq(Expr::value(self.tenant())))
            .add(column(contact).eq(Expr::col((MEMBERS, MEMBER))))
            .add_option(besides)
            .add_option(Some(narrow).filter(|narrow| !narrow.is_empty()));
        Query::select()
            .column((MEMBERS, ROOT))
            .expr(column("id").count())
            .from_subquery(members.clone(), MEMBERS)
            .join(JoinType::InnerJoin, Alias::new(table), theirs)
            .group_by_col((MEMBERS, ROOT))
            .to_owned()
    }

    /// How many rows that meet `narrow` each root has, over its `members`: the root, and the number. Roots without any are left
    /// out.
    pub fn count_of_members<E: TenantOwned>(
        &self,
        members: SelectStatement,
        column: E::Column,
        narrow: Condition,
    ) -> SelectStatement {
        let table = Alias::new(E::default().table_name());
        let theirs = Condition::all()
            .add(Expr::col((table.clone(), E::TENANT)).eq(Expr::value(self.tenant())))
            .add(Expr::col((table.clone(), column)).eq(Expr::col((MEMBERS, MEMBER))))
            .add_option(Some(narrow).filter(|narrow| !narrow.is_empty()));
        Query::select()
            .column((MEMBERS, ROOT))
            .expr(Expr::col((table.clone(), key::<E>())).count())
            .from_subquery(members, MEMBERS)
            .join(JoinType::InnerJoin, table, theirs)
            .group_by_col((MEMBERS, ROOT))
            .to_owned()
    }
}

fn array(keys: &[Uuid]) -> Expr {
    let keys = keys.iter().map(|key| Value::from(*key)).collect();
    Expr::value(Value::Array(ArrayType::Uuid, Some(Box::new(keys)))).cast_as("uuid[]")
}
