//! How old the log grows: its months on PostgreSQL, and the end of a tenant's events.

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use entity::{EventId, Id, TenantOwned as _, event, event_message, event_retry};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Statement,
};
use uuid::Uuid;

use super::{Fence, System, Tx};
use crate::base::{LogPlace, Result};

/// The log's months by the names of their partitions, the earliest first.
const MONTHS: &str = r"
    SELECT substr(c.relname, 7) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = 'event'::regclass AND c.relname ~ '^event_\d{4}_\d\d$' ORDER BY 1";

/// A month of the log, which PostgreSQL has a partition for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogMonth {
    pub since: DateTime<Utc>,
    /// The next month's first instant.
    pub until: DateTime<Utc>,
}

impl LogMonth {
    fn of(year: i32, month: u32) -> Option<Self> {
        let since = NaiveDate::from_ymd_opt(year, month, 1)?
            .and_time(chrono::NaiveTime::MIN)
            .and_utc();
        let until = since.checked_add_months(Months::new(1))?;
        Some(Self { since, until })
    }
    /// The ids of the events that the month holds: from the first, and below the second.
    pub fn ids(&self) -> (EventId, EventId) {
        (event_id_at(self.since), event_id_at(self.until))
    }
}

/// What ids of events received at `at` or later are not below: they begin with their millisecond.
fn event_id_at(at: DateTime<Utc>) -> EventId {
    let ms = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Id::from_uuid(Uuid::from_u128(ms << 80))
}

impl System {
    /// Makes this month and `ahead` more, where they are not there. Nothing to do on SQLite.
    pub async fn make_log_months(&self, now: DateTime<Utc>, ahead: u32) -> Result<()> {
        if !self.is_postgres() {
            return Ok(());
        }
        let this = LogMonth::of(now.year(), now.month());
        let months = (0..=ahead).filter_map(|n| this?.since.checked_add_months(Months::new(n)));
        for since in months {
            self.call("SELECT log_month_make($1)", since).await?;
        }
        Ok(())
    }

    /// The months that ended at `before` or earlier, the earliest first. None on SQLite.
    pub async fn log_months_before(&self, before: DateTime<Utc>) -> Result<Vec<LogMonth>> {
        if !self.is_postgres() {
            return Ok(vec![]);
        }
        let asked = Statement::from_string(DbBackend::Postgres, MONTHS);
        let rows = self
            .place()
            .run(Fence::System, async |conn| conn.query_all_raw(asked).await)
            .await?;
        let mut months = vec![];
        for row in rows {
            let name: String = row.try_get_by_index(0)?;
            let month = name
                .split_once('_')
                .and_then(|(year, month)| LogMonth::of(year.parse().ok()?, month.parse().ok()?));
            months.extend(month.filter(|month| month.until <= before));
        }
        Ok(months)
    }

    /// Drops a month with all its events. Fails while anything points at one of them, and when the log is too busy to be locked
    /// for it.
    pub async fn drop_log_month(&self, month: &LogMonth) -> Result<()> {
        self.call("SELECT log_month_drop($1)", month.since).await
    }

    async fn call(&self, function: &str, month: DateTime<Utc>) -> Result<()> {
        let call = Statement::from_sql_and_values(DbBackend::Postgres, function, [month.into()]);
        self.write(async |conn| conn.query_one_raw(call).await)
            .await?;
        Ok(())
    }
}

impl Tx {
    /// Deletes at most `limit` of the tenant's events that were received before `before` and lie at or before `read` in the
    /// log, the oldest first, with what is kept of them: their message ids and dead letters. Gives how many. What waits to be
    /// tried again stays.
    pub async fn forget_events(
        &self,
        before: DateTime<Utc>,
        read: LogPlace,
        limit: u64,
    ) -> Result<u64> {
        use event::Column::{Id as Key, Seq, Xid};
        let waiting = self
            .subquery::<event_retry::Entity>()
            .column(event_retry::Column::EventId)
            .to_owned();
        let is_read = Condition::any().add(Xid.lt(read.xid)).add(
            Condition::all()
                .add(Xid.eq(read.xid))
                .add(Seq.lte(read.seq)),
        );
        let ids: Vec<(EventId,)> = self
            .find::<event::Entity>()
            .filter(Key.lt(event_id_at(before)))
            .filter(is_read)
            .filter(Key.not_in_subquery(waiting))
            .order_by_asc(Key)
            .limit(limit)
            .select_only()
            .column(Key)
            .tuples()
            .await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let ids: Vec<EventId> = ids.into_iter().map(|(id,)| id).collect();
        event_message::Entity::delete_many()
            .filter(event_message::Entity::TENANT.eq(self.tenant()))
            .filter(event_message::Column::Id.is_in(ids.iter().copied()))
            .exec(&self.conn())
            .await?;
        self.delete_many::<event::Entity>(&ids).await
    }
}
