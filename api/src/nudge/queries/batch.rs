//! What a page of nudges or contacts asks for together: one query a page, whatever its length.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_graphql::{Context, dataloader::Loader};
use entity::{ContactId, Id, nudge, nudge_delivery, nudge_version};
use sea_orm::{ColumnTrait, Condition, Order, QueryFilter, QueryOrder, QuerySelect};

use super::{Narrow, members};
use crate::base::{Batch, Cx, Error, FromEnd, Result};

/// Versions of a nudge that are listed: its newest.
pub(in crate::nudge) const VERSIONS_LISTED: u64 = 50;

/// The request's batches of this room: made once a request, and put among its values.
pub struct Reads {
    pub(in crate::nudge) nudges: Batch<Rows, Id<nudge::Entity>>,
    pub(in crate::nudge) versions: Batch<Rows, Id<nudge_version::Entity>>,
    pub(in crate::nudge) newest_versions: Batch<Versions, Id<nudge::Entity>>,
    pub(in crate::nudge) counts: Batch<Deliveries, Id<nudge::Entity>>,
    pub(in crate::nudge) ends: Batch<Rows, Ends>,
    pub(in crate::nudge) totals: Batch<Rows, Totals>,
}

impl Reads {
    pub fn new(cx: &Cx) -> Arc<Self> {
        Arc::new(Self {
            nudges: Batch::new(Rows(cx.clone())),
            versions: Batch::new(Rows(cx.clone())),
            newest_versions: Batch::new(Versions(cx.clone())),
            counts: Batch::new(Deliveries(cx.clone())),
            ends: Batch::new(Rows(cx.clone())),
            totals: Batch::new(Rows(cx.clone())),
        })
    }
    /// The request's own.
    pub(in crate::nudge) fn of<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Self>> {
        ctx.data_opt().ok_or(Error::Forbidden)
    }
}

/// Loads rows, each by its own key.
pub(in crate::nudge) struct Rows(Cx);
/// Loads the newest versions of nudges, newest first.
pub(in crate::nudge) struct Versions(Cx);
/// Counts the deliveries of nudges.
pub(in crate::nudge) struct Deliveries(Cx);

/// An end of a contact's deliveries, which are sorted newest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::nudge) struct Ends {
    /// A root.
    pub(in crate::nudge) contact: ContactId,
    pub(in crate::nudge) narrow: Narrow,
    pub(in crate::nudge) end: FromEnd,
}

/// How many deliveries a contact has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::nudge) struct Totals {
    /// A root.
    pub(in crate::nudge) contact: ContactId,
    pub(in crate::nudge) narrow: Narrow,
}

/// A nudge's deliveries, counted by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::nudge) struct Counts {
    pub(in crate::nudge) offered: i64,
    pub(in crate::nudge) displayed: i64,
    pub(in crate::nudge) clicked: i64,
    pub(in crate::nudge) completed: i64,
    pub(in crate::nudge) dismissed: i64,
    pub(in crate::nudge) withdrawn: i64,
}

impl Loader<Id<nudge::Entity>> for Rows {
    type Value = Arc<nudge::Model>;
    type Error = Arc<Error>;
    async fn load(
        &self,
        ids: &[Id<nudge::Entity>],
    ) -> Result<HashMap<Id<nudge::Entity>, Self::Value>, Self::Error> {
        let rows = self.0.db().get_many(ids).await?;
        Ok(rows
            .into_iter()
            .map(|row: nudge::Model| (row.id, Arc::new(row)))
            .collect())
    }
}

impl Loader<Id<nudge_version::Entity>> for Rows {
    type Value = Arc<nudge_version::Model>;
    type Error = Arc<Error>;
    async fn load(
        &self,
        ids: &[Id<nudge_version::Entity>],
    ) -> Result<HashMap<Id<nudge_version::Entity>, Self::Value>, Self::Error> {
        let rows = self.0.db().get_many(ids).await?;
        Ok(rows
            .into_iter()
            .map(|row: nudge_version::Model| (row.id, Arc::new(row)))
            .collect())
    }
}

impl Loader<Id<nudge::Entity>> for Versions {
    type Value = Vec<Arc<nudge_version::Model>>;
    type Error = Arc<Error>;
    async fn load(
        &self,
        nudges: &[Id<nudge::Entity>],
    ) -> Result<HashMap<Id<nudge::Entity>, Self::Value>, Self::Error> {
        use nudge_version::{Column, Entity};
        let order = [(Column::Number, Order::Desc)];
        let rows = self
            .0
            .db()
            .first_of_each::<Entity, _>(
                Column::NudgeId,
                nudges,
                Condition::all(),
                &order,
                VERSIONS_LISTED,
            )
            .order_by_desc(Column::Number)
            .all()
            .await?;
        let mut versions: HashMap<_, Self::Value> = HashMap::new();
        for row in rows {
            versions
                .entry(row.nudge_id)
                .or_default()
                .push(Arc::new(row));
        }
        Ok(versions)
    }
}

impl Loader<Id<nudge::Entity>> for Deliveries {
    type Value = Counts;
    type Error = Arc<Error>;
    async fn load(
        &self,
        nudges: &[Id<nudge::Entity>],
    ) -> Result<HashMap<Id<nudge::Entity>, Counts>, Self::Error> {
        use nudge_delivery::{Column, Entity};
        type Row = (Id<nudge::Entity>, i64, i64, i64, i64, i64, i64);
        let rows: Vec<Row> = self
            .0
            .db()
            .find::<Entity>()
            .filter(Column::NudgeId.is_in(nudges.iter().copied()))
            .select_only()
            .column(Column::NudgeId)
            .column_as(Column::Id.count(), "offered")
            .column_as(Column::DisplayedAt.count(), "displayed")
            .column_as(Column::ClickedAt.count(), "clicked")
            .column_as(Column::CompletedAt.count(), "completed")
            .column_as(Column::DismissedAt.count(), "dismissed")
            .column_as(Column::WithdrawnAt.count(), "withdrawn")
            .group_by(Column::NudgeId)
            .tuples()
            .await?;
        let counts = |(nudge, offered, displayed, clicked, completed, dismissed, withdrawn)| {
            let counts = Counts {
                offered,
                displayed,
                clicked,
                completed,
                dismissed,
                withdrawn,
            };
            (nudge, counts)
        };
        Ok(rows.into_iter().map(counts).collect())
    }
}

impl Loader<Ends> for Rows {
    type Value = Vec<nudge_delivery::Model>;
    type Error = Arc<Error>;
    async fn load(&self, keys: &[Ends]) -> Result<HashMap<Ends, Self::Value>, Self::Error> {
        use nudge_delivery::{Column, Entity};
        let db = self.0.db();
        let members = members(&db, &roots(keys.iter().map(|key| key.contact))).await?;
        let ids: Vec<_> = members.keys().copied().collect();
        let mut found = HashMap::new();
        // The same field of every contact of a page asks the same: one round.
        let asked: HashSet<_> = keys.iter().map(|key| (&key.narrow, key.end)).collect();
        for (narrow, end) in asked {
            let direction = if end.last { Order::Asc } else { Order::Desc };
            let order = [
                (Column::OfferedAt, direction.clone()),
                (Column::Id, direction.clone()),
            ];
            let rows = db
                .first_of_each::<Entity, _>(
                    Column::ContactId,
                    &ids,
                    narrow.condition(self.0.now()),
                    &order,
                    end.rows,
                )
                .order_by(Column::OfferedAt, direction.clone())
                .order_by(Column::Id, direction)
                .all()
                .await?;
            for row in rows {
                let Some(root) = members.get(&row.contact_id) else {
                    continue;
                };
                let key = Ends {
                    contact: *root,
                    narrow: narrow.clone(),
                    end,
                };
                let rows: &mut Vec<_> = found.entry(key).or_default();
                // Each member of a family gave its first rows; the family's are the first of all of them.
                if (rows.len() as u64) < end.rows {
                    rows.push(row);
                }
            }
        }
        Ok(found)
    }
}

impl Loader<Totals> for Rows {
    type Value = u64;
    type Error = Arc<Error>;
    async fn load(&self, keys: &[Totals]) -> Result<HashMap<Totals, u64>, Self::Error> {
        use nudge_delivery::{Column, Entity};
        let db = self.0.db();
        let members = members(&db, &roots(keys.iter().map(|key| key.contact))).await?;
        let mut found = HashMap::new();
        let asked: HashSet<_> = keys.iter().map(|key| &key.narrow).collect();
        for narrow in asked {
            let rows: Vec<(ContactId, i64)> = db
                .find::<Entity>()
                .filter(narrow.condition(self.0.now()))
                .filter(Column::ContactId.is_in(members.keys().copied()))
                .select_only()
                .column(Column::ContactId)
                .column_as(Column::Id.count(), "total")
                .group_by(Column::ContactId)
                .tuples()
                .await?;
            for (contact, total) in rows {
                let Some(root) = members.get(&contact) else {
                    continue;
                };
                let key = Totals {
                    contact: *root,
                    narrow: narrow.clone(),
                };
                *found.entry(key).or_default() += u64::try_from(total).unwrap_or_default();
            }
        }
        Ok(found)
    }
}

fn roots(contacts: impl Iterator<Item = ContactId>) -> Vec<ContactId> {
    let roots: HashSet<_> = contacts.collect();
    roots.into_iter().collect()
}
