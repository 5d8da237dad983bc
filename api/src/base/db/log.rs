//! Reading the log in the order in which it became visible.

use entity::event;
use sea_orm::{
    ColumnTrait, Condition, QueryFilter, QueryOrder, Select,
    sea_query::{Expr, ExprTrait, Order, Query},
};

use super::{Db, Rows, Scope, System};
use crate::base::{LogPlace, Result};

impl Scope {
    /// This tenant's events after `place`, in the log's order.
    pub fn log_after(&self, place: LogPlace) -> Rows<'_, event::Entity> {
        self.find::<event::Entity>().after(place)
    }
    /// The place that everything now visible to this tenant lies at or before.
    pub async fn log_end(&self) -> Result<LogPlace> {
        end(self.find::<event::Entity>()).await
    }
}

impl System {
    /// All tenants' events after `place`, in the log's order.
    pub fn log_after(&self, place: LogPlace) -> Rows<'_, event::Entity> {
        self.find::<event::Entity>().after(place)
    }
    /// All tenants' events of these names after `place`, and the log's last event whatever its name: who
    /// follows a few names moves on with the log, and reads no stretch of it twice.
    pub fn log_of_after(&self, names: &[&str], place: LogPlace) -> Rows<'_, event::Entity> {
        use event::Column::{Name, Seq, Xid};
        let rows = self.log_after(place);
        let mut last = Query::select()
            .from(event::Entity)
            .column(Seq)
            .order_by(Xid, Order::Desc)
            .order_by(Seq, Order::Desc)
            .limit(1)
            .to_owned();
        if rows.place.db().is_postgres() {
            last.and_where(is_settled());
        }
        let wanted = Condition::any()
            .add(Name.is_in(names.iter().copied()))
            .add(Seq.in_subquery(last));
        rows.filter(wanted)
    }
    /// The place that everything now visible lies at or before.
    pub async fn log_end(&self) -> Result<LogPlace> {
        end(self.find::<event::Entity>()).await
    }
}

async fn end(rows: Rows<'_, event::Entity>) -> Result<LogPlace> {
    let rows = Rows {
        select: visible(rows.place.db(), rows.select),
        ..rows
    };
    let last = rows
        .order_by_desc(event::Column::Xid)
        .order_by_desc(event::Column::Seq)
        .one()
        .await?;
    Ok(last.as_ref().map(LogPlace::of).unwrap_or_default())
}

impl Rows<'_, event::Entity> {
    fn after(self, place: LogPlace) -> Self {
        use event::Column::{Seq, Xid};
        let after = Condition::any().add(Xid.gt(place.xid)).add(
            Condition::all()
                .add(Xid.eq(place.xid))
                .add(Seq.gt(place.seq)),
        );
        Self {
            // The plain bound lets the index find the start; the condition settles ties.
            select: visible(self.place.db(), self.select)
                .filter(Xid.gte(place.xid))
                .filter(after),
            ..self
        }
        .order_by_asc(Xid)
        .order_by_asc(Seq)
    }
}

/// On PostgreSQL only what no open transaction can still be put before: rows whose transaction is older
/// than the oldest one running. SQLite's one writer commits in order.
fn visible(db: &Db, select: Select<event::Entity>) -> Select<event::Entity> {
    if db.is_postgres() {
        select.filter(is_settled())
    } else {
        select
    }
}

fn is_settled() -> Expr {
    Expr::col((event::Entity, event::Column::Xid)).lt(Expr::cust(
        "(SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)",
    ))
}
