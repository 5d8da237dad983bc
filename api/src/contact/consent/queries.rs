//! How contacts stand.

use std::collections::HashMap;

use entity::{ContactId, consent};
use sea_orm::{
    ColumnTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::{Expr, ExprTrait as _},
};

use crate::base::{Result, Scope};

const LATER: &str = "later";

/// The latest of each contact's own statements, by topic and channel.
pub(in crate::contact) async fn current(
    scope: &Scope,
    contacts: &[ContactId],
) -> Result<HashMap<ContactId, Vec<consent::Model>>> {
    use consent::{Column, Entity};
    if contacts.is_empty() {
        return Ok(HashMap::new());
    }
    let own = |column: Column| Expr::col((Entity, column));
    let theirs = |column: Column| Expr::col((LATER, column));
    let mut later = sea_orm::sea_query::Query::select();
    later.expr(Expr::value(1)).from_as(Entity, LATER);
    for column in [
        Column::TenantId,
        Column::ContactId,
        Column::Topic,
        Column::Channel,
    ] {
        later.and_where(theirs(column).eq(own(column)));
    }
    let since = theirs(Column::At).gt(own(Column::At));
    let tie = theirs(Column::At)
        .eq(own(Column::At))
        .and(theirs(Column::Id).gt(own(Column::Id)));
    later.and_where(since.or(tie));
    let rows = scope
        .find::<Entity>()
        .filter(Column::ContactId.is_in(contacts.iter().copied()))
        .filter(Expr::exists(later).not())
        .order_by_asc(Column::Topic)
        .order_by_asc(Column::Channel)
        .all()
        .await?;
    let mut standing: HashMap<ContactId, Vec<consent::Model>> = HashMap::new();
    for row in rows {
        standing.entry(row.contact_id).or_default().push(row);
    }
    Ok(standing)
}
