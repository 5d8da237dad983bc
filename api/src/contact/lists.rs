//! Lists of what hangs on contacts, over each root's family. The same list of every contact of a page is read together.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::Arc,
};

use async_graphql::{Context, dataloader::Loader};
use chrono::{DateTime, Utc};
use entity::{ContactId, Id, TenantOwned};
use sea_orm::{
    ColumnTrait as _, Condition, FromQueryResult, ModelTrait as _, Order, QueryFilter as _,
    QuerySelect as _, Value,
};
use uuid::Uuid;

use super::{graphql::Loaders, queries};
use crate::base::{
    Batch, Counter, Cx, Error, FromEnd, Page, PageArgs, Result, SortBy, gql::CxExt as _, page,
    page_from_end,
};

/// A table whose rows are listed by contact.
pub(super) trait OfContact:
    TenantOwned<Model: Clone + Send + Sync + FromQueryResult + 'static> + 'static
{
    const ID: Self::Column;
    /// The columns that name a contact, two at most. A row that names two contacts of one family is in its list once.
    const CONTACTS: &'static [Self::Column];
    /// What its lists are sorted by: an instant.
    const AT: Self::Column;
    const NEWEST_FIRST: bool;
    /// The request's batches of it.
    fn lists(loaders: &Loaders) -> &Lists<Self>;
}

fn sort<E: OfContact>() -> SortBy<E> {
    SortBy {
        column: E::AT,
        descending: E::NEWEST_FIRST,
    }
}

/// Which of a contact's rows: fields of one place in a document ask for the same, and share a load.
#[derive(Clone, Debug)]
pub(super) struct Narrow {
    /// Tells one filter from another.
    text: String,
    condition: Condition,
}

impl Narrow {
    /// `filter` is what `condition` was made of.
    pub(super) fn new(filter: &impl std::fmt::Debug, condition: Condition) -> Self {
        Self {
            text: format!("{filter:?}"),
            condition,
        }
    }
}

/// One request's batches of one table.
pub(super) struct Lists<E: OfContact> {
    ends: Batch<OfRoots, End<E>>,
    totals: Batch<OfRoots, Total<E>>,
}

impl<E: OfContact> Lists<E> {
    pub(super) fn new(cx: &Cx) -> Self {
        Self {
            ends: Batch::new(OfRoots(cx.clone())),
            totals: Batch::new(OfRoots(cx.clone())),
        }
    }
}

struct OfRoots(Cx);

/// An end of a root's list.
struct End<E> {
    of: Total<E>,
    end: FromEnd,
}

/// How long a root's list is.
struct Total<E> {
    root: ContactId,
    narrow: Narrow,
    rows: PhantomData<fn() -> E>,
}

impl<E> Clone for Total<E> {
    fn clone(&self) -> Self {
        Self {
            root: self.root,
            narrow: self.narrow.clone(),
            rows: PhantomData,
        }
    }
}
impl<E> PartialEq for Total<E> {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root && self.narrow.text == other.narrow.text
    }
}
impl<E> Eq for Total<E> {}
impl<E> Hash for Total<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.root.hash(state);
        self.narrow.text.hash(state);
    }
}
impl<E> Clone for End<E> {
    fn clone(&self) -> Self {
        Self {
            of: self.of.clone(),
            end: self.end,
        }
    }
}
impl<E> PartialEq for End<E> {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of && self.end == other.end
    }
}
impl<E> Eq for End<E> {}
impl<E> Hash for End<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
        self.end.hash(state);
    }
}

/// A page of a root's list. `name` names the list in its cursors.
pub(super) async fn page_of<E: OfContact>(
    ctx: &Context<'_>,
    root: ContactId,
    name: &str,
    narrow: Narrow,
    args: PageArgs,
) -> async_graphql::Result<Page<E::Model>> {
    let cx = ctx.cx()?;
    let loaders = Loaders::of(ctx)?;
    let list = format!("{name} of {}/{}", root.uuid(), narrow.text);
    let Some(end) = args.from_end()? else {
        // One that starts at a cursor is of one contact: the cursor is no other's.
        let family = loaders.families.ask(root).await?.unwrap_or_default();
        let scope = cx.db();
        let theirs = E::CONTACTS.iter().fold(Condition::any(), |any, column| {
            any.add(column.is_in(family.iter().copied()))
        });
        let rows = scope
            .find::<E>()
            .filter(theirs)
            .filter(narrow.condition.clone());
        return Ok(page(cx, &list, rows, sort::<E>(), args).await?);
    };
    let of = Total {
        root,
        narrow,
        rows: PhantomData,
    };
    let asked = End {
        of: of.clone(),
        end,
    };
    let rows = E::lists(loaders).ends.ask(asked).await?;
    let loaders = Arc::clone(loaders);
    let counter: Counter = Arc::new(move || {
        let (loaders, of) = (Arc::clone(&loaders), of.clone());
        Box::pin(async move { Ok(E::lists(&loaders).totals.ask(of).await?.unwrap_or_default()) })
    });
    Ok(page_from_end(
        cx,
        &list,
        rows.unwrap_or_default(),
        &sort::<E>(),
        &args,
        counter,
    )?)
}

fn contact_in<E: OfContact>(row: &E::Model, column: E::Column) -> Option<ContactId> {
    match row.get(column) {
        Value::Uuid(id) => id.map(Id::from_uuid),
        _ => None,
    }
}

/// Where a row stands in its list.
fn place<E: OfContact>(row: &E::Model) -> (Option<DateTime<Utc>>, Option<Uuid>) {
    let at = match row.get(E::AT) {
        Value::ChronoDateTimeUtc(at) => at,
        _ => None,
    };
    let id = match row.get(E::ID) {
        Value::Uuid(id) => id,
        _ => None,
    };
    (at, id)
}

impl<E: OfContact> Loader<End<E>> for OfRoots {
    type Value = Vec<E::Model>;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[End<E>]) -> Result<HashMap<End<E>, Vec<E::Model>>, Arc<Error>> {
        let scope = self.0.db();
        let mut asked: HashMap<(&str, FromEnd), Vec<&End<E>>> = HashMap::new();
        for key in keys {
            asked
                .entry((&key.of.narrow.text, key.end))
                .or_default()
                .push(key);
        }
        let mut loaded = HashMap::new();
        for ((_, end), keys) in asked {
            let roots: Vec<ContactId> = keys.iter().map(|key| key.of.root).collect();
            let (members, root_of) = queries::members(&scope, &roots).await?;
            let descending = E::NEWEST_FIRST != end.last;
            let order = if descending { Order::Desc } else { Order::Asc };
            let mut found: HashMap<ContactId, Vec<E::Model>> = HashMap::new();
            for column in E::CONTACTS {
                let narrow = keys[0].of.narrow.condition.clone();
                let order = [(E::AT, order.clone()), (E::ID, order.clone())];
                let rows = scope
                    .first_of_each::<E, _>(*column, &members, narrow, &order, end.rows)
                    .all()
                    .await?;
                for row in rows {
                    let root = contact_in::<E>(&row, *column).and_then(|id| root_of.get(&id));
                    if let Some(root) = root {
                        found.entry(*root).or_default().push(row);
                    }
                }
            }
            for key in keys {
                let mut rows = found.remove(&key.of.root).unwrap_or_default();
                rows.sort_by_key(place::<E>);
                rows.dedup_by_key(|row| place::<E>(row));
                if descending {
                    rows.reverse();
                }
                rows.truncate(usize::try_from(end.rows).unwrap_or(usize::MAX));
                loaded.insert(key.clone(), rows);
            }
        }
        Ok(loaded)
    }
}

impl<E: OfContact> Loader<Total<E>> for OfRoots {
    type Value = u64;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[Total<E>]) -> Result<HashMap<Total<E>, u64>, Arc<Error>> {
        let scope = self.0.db();
        let mut asked: HashMap<&str, Vec<&Total<E>>> = HashMap::new();
        for key in keys {
            asked.entry(&key.narrow.text).or_default().push(key);
        }
        let mut loaded = HashMap::new();
        for keys in asked.into_values() {
            let roots: Vec<ContactId> = keys.iter().map(|key| key.root).collect();
            let (members, root_of) = queries::members(&scope, &roots).await?;
            let mut totals: HashMap<ContactId, i64> = HashMap::new();
            let rows = |columns: &[E::Column]| {
                columns.iter().fold(
                    scope.find::<E>().filter(keys[0].narrow.condition.clone()),
                    |rows, column| rows.filter(column.is_in(members.iter().copied())),
                )
            };
            for column in E::CONTACTS {
                let counts: Vec<(ContactId, i64)> = rows(&[*column])
                    .select_only()
                    .column(*column)
                    .column_as(E::ID.count(), "rows")
                    .group_by(*column)
                    .tuples()
                    .await?;
                for (contact, count) in counts {
                    if let Some(root) = root_of.get(&contact) {
                        *totals.entry(*root).or_default() += count;
                    }
                }
            }
            if let [one, other] = E::CONTACTS {
                // Counted for either of its contacts, but listed once.
                let twice: Vec<(ContactId, ContactId, i64)> = rows(&[*one, *other])
                    .select_only()
                    .column(*one)
                    .column(*other)
                    .column_as(E::ID.count(), "rows")
                    .group_by(*one)
                    .group_by(*other)
                    .tuples()
                    .await?;
                for (one, other, count) in twice {
                    let root = root_of.get(&one);
                    if let Some(root) = root.filter(|root| root_of.get(&other) == Some(*root)) {
                        *totals.entry(*root).or_default() -= count;
                    }
                }
            }
            for key in keys {
                let total = totals.get(&key.root).copied().unwrap_or_default();
                loaded.insert(key.clone(), u64::try_from(total).unwrap_or_default());
            }
        }
        Ok(loaded)
    }
}
