//! Pages of what hangs on the rows of a page: one from the list's end is read for all of these at once; one that starts at a cursor is
//! of one row, the cursor is no other's.

use std::{collections::HashMap, marker::PhantomData, sync::Arc};

use async_graphql::dataloader::Loader;
use entity::{Id, TenantOwned};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, Order, QueryFilter, QuerySelect,
};

use super::{Counter, Cx, Error, FromEnd, Page, PageArgs, Result, SortBy, page, page_from_end};
use crate::base::{Batch, key};

/// Rows that each hang on one row of another table, and are listed by it.
pub trait HangsOn:
    TenantOwned<Model: Clone + Send + Sync + FromQueryResult + 'static> + 'static
{
    type Parent: EntityTrait;
    /// What the lists are sorted by, before the id.
    type At: Ord;
    const PARENT: Self::Column;
    const AT: Self::Column;
    const NEWEST_FIRST: bool;
    /// Names the lists.
    const LIST: &'static str;
    /// The row's parent, and its place in the list.
    fn place(row: &Self::Model) -> (Id<Self::Parent>, Self::At, Id<Self>);
}

/// One request's batches of such rows.
pub struct Listed<E: HangsOn> {
    ends: Batch<Rows<E>, (Id<E::Parent>, FromEnd)>,
    counts: Batch<Rows<E>, Id<E::Parent>>,
}

impl<E: HangsOn> Listed<E> {
    pub fn new(cx: &Cx) -> Arc<Self> {
        Arc::new(Self {
            ends: Batch::new(Rows(cx.clone(), PhantomData)),
            counts: Batch::new(Rows(cx.clone(), PhantomData)),
        })
    }

    /// A page of what hangs on `parent`.
    pub async fn page(
        self: &Arc<Self>,
        cx: &Cx,
        parent: Id<E::Parent>,
        args: PageArgs,
    ) -> Result<Page<E::Model>, Arc<Error>> {
        let list = format!("{}/{}", E::LIST, parent.uuid());
        let sort = SortBy {
            column: E::AT,
            descending: E::NEWEST_FIRST,
        };
        let Some(end) = args.from_end()? else {
            let scope = cx.db();
            let rows = scope.find::<E>().filter(E::PARENT.eq(parent));
            return Ok(page(cx, &list, rows, sort, args).await?);
        };
        let rows = self.ends.ask((parent, end)).await?;
        let counted = Arc::clone(self);
        let counter: Counter = Arc::new(move || {
            let listed = Arc::clone(&counted);
            Box::pin(async move { Ok(listed.counts.ask(parent).await?.unwrap_or_default()) })
        });
        let rows = rows.unwrap_or_default();
        Ok(page_from_end::<E>(cx, &list, rows, &sort, &args, counter)?)
    }
}

type Loaded<K, V> = Result<HashMap<K, V>, Arc<Error>>;

struct Rows<E>(Cx, PhantomData<fn() -> E>);

impl<E: HangsOn> Loader<(Id<E::Parent>, FromEnd)> for Rows<E> {
    type Value = Vec<E::Model>;
    type Error = Arc<Error>;

    async fn load(
        &self,
        keys: &[(Id<E::Parent>, FromEnd)],
    ) -> Loaded<(Id<E::Parent>, FromEnd), Vec<E::Model>> {
        let mut asked: HashMap<FromEnd, Vec<Id<E::Parent>>> = HashMap::new();
        for (parent, end) in keys {
            asked.entry(*end).or_default().push(*parent);
        }
        let scope = self.0.db();
        let mut loaded: HashMap<_, Vec<E::Model>> = HashMap::new();
        for (end, parents) in asked {
            let is_descending = E::NEWEST_FIRST != end.last;
            let order = if is_descending {
                Order::Desc
            } else {
                Order::Asc
            };
            let mut rows = scope
                .first_of_each::<E, _>(
                    E::PARENT,
                    &parents,
                    Condition::all(),
                    &[(E::AT, order.clone()), (key::<E>(), order)],
                    end.rows,
                )
                .all()
                .await?;
            rows.sort_by(|a, b| {
                let ((_, a_at, a_id), (_, b_at, b_id)) = (E::place(a), E::place(b));
                let order = (a_at, a_id.uuid()).cmp(&(b_at, b_id.uuid()));
                if is_descending {
                    order.reverse()
                } else {
                    order
                }
            });
            for row in rows {
                loaded.entry((E::place(&row).0, end)).or_default().push(row);
            }
        }
        Ok(loaded)
    }
}

impl<E: HangsOn> Loader<Id<E::Parent>> for Rows<E> {
    type Value = u64;
    type Error = Arc<Error>;

    async fn load(&self, parents: &[Id<E::Parent>]) -> Loaded<Id<E::Parent>, u64> {
        let scope = self.0.db();
        let rows: Vec<(Id<E::Parent>, i64)> = scope
            .find::<E>()
            .filter(E::PARENT.is_in(parents.iter().copied()))
            .select_only()
            .column(E::PARENT)
            .column_as(key::<E>().count(), "rows")
            .group_by(E::PARENT)
            .tuples()
            .await?;
        Ok(rows
            .into_iter()
            .map(|(parent, count)| (parent, u64::try_from(count).unwrap_or_default()))
            .collect())
    }
}
