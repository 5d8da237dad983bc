//! "The last five of each": a page's children in one statement, by the index, however many rows there are.

use entity::TenantOwned;
use sea_orm::{
    Condition, Order, QueryFilter, Value,
    sea_query::{Alias, Expr, ExprTrait, JoinType, Query, SelectStatement},
};

use super::{Rows, Scope, scope::key};

/// The keys as a table; its one column's name is both databases' own.
const KEYS: &str = "key";
const KEY: &str = "column1";
const FIRST: &str = "first";

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
}
