//! Relay paging by key, both ways: cost grows with the page, not with the list.

mod listed;
mod merged;
mod placed;

use std::{borrow::Cow, pin::Pin, sync::Arc};

use async_graphql::{Object, OutputType, SimpleObject, TypeName};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use entity::TenantOwned;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, ModelTrait, Order, QueryFilter,
    QueryOrder, QuerySelect, Value,
};
use serde::{Deserialize, Serialize};

use super::{Cx, Env, Error, Result, Rows, Secrets, db::key};

pub use listed::{HangsOn, Listed};
pub use merged::{Between, Instance, page_merged};
pub use placed::{Place, page_placed, places};

/// Rows a page holds when the caller does not say, and at most.
pub const PAGE_DEFAULT: u64 = 25;
pub const PAGE_MAX: u64 = 100;

/// A list's `first`, `after`, `last` and `before`.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

/// By what a list is sorted; the id settles ties, so paging is stable. The column may not be null.
pub struct SortBy<E: EntityTrait> {
    pub column: E::Column,
    pub descending: bool,
}

/// How a list tells its length, when it is asked.
pub type Counter =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = async_graphql::Result<u64>> + Send>> + Send + Sync>;

/// A Relay connection. The library's own has no place for descriptions, and a `nodes` shortcut that Relay's lint forbids.
pub struct Listing<N: OutputType> {
    edges: Vec<Edge<N>>,
    page_info: PageInfo,
    counter: Counter,
}

/// One page of a list, and the way to its neighbours.
#[Object(name_type)]
impl<N: OutputType> Listing<N> {
    /// The page's items, in the list's order.
    async fn edges(&self) -> &[Edge<N>] {
        &self.edges
    }
    /// Whether the list goes on around this page, and where.
    async fn page_info(&self) -> &PageInfo {
        &self.page_info
    }
    /// How many items the whole list has; counted only when selected.
    async fn total_count(&self) -> async_graphql::Result<i32> {
        let count = (self.counter)().await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl<N: OutputType> TypeName for Listing<N> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", N::type_name()).into()
    }
}

/// One item of a list, and its place there.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub struct Edge<N: OutputType> {
    /// Names the place: what `after` and `before` take.
    cursor: String,
    /// The item.
    node: N,
}

impl<N: OutputType> TypeName for Edge<N> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", N::type_name()).into()
    }
}

/// Where a page of a list begins and ends.
#[derive(SimpleObject)]
pub struct PageInfo {
    /// Whether there are items before this page. Known where the page was asked for by `last`; else true behind an `after`.
    has_previous_page: bool,
    /// Whether there are items after this page. Known where the page was asked for by `first`; else true ahead of a `before`.
    has_next_page: bool,
    /// The cursor of the page's first item; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the page's last item; null on an empty page.
    end_cursor: Option<String>,
}

/// One page of rows, in the list's order.
pub struct Page<M> {
    rows: Vec<(String, M)>,
    has_previous: bool,
    has_next: bool,
    counter: Counter,
}

impl<M> Page<M> {
    pub fn rows(&self) -> impl Iterator<Item = &M> {
        self.rows.iter().map(|(_, row)| row)
    }
    pub fn listing<N: OutputType>(self, node: impl Fn(M) -> N) -> Listing<N> {
        self.keep(|row| Some(node(row)))
    }
    /// The same, of rows that may not be readable.
    pub fn try_listing<N: OutputType>(self, node: impl Fn(M) -> Result<N>) -> Result<Listing<N>> {
        let read = |(cursor, row)| Ok((cursor, node(row)?));
        let rows = self.rows.into_iter().map(read);
        let page = Page {
            rows: rows.collect::<Result<_>>()?,
            has_previous: self.has_previous,
            has_next: self.has_next,
            counter: self.counter,
        };
        Ok(page.listing(|node| node))
    }
    /// The same, without the rows that stand for nothing any more.
    pub fn keep<N: OutputType>(self, mut node: impl FnMut(M) -> Option<N>) -> Listing<N> {
        let cursor = |edge: Option<&(String, M)>| edge.map(|(cursor, _)| cursor.clone());
        Listing {
            page_info: PageInfo {
                has_previous_page: self.has_previous,
                has_next_page: self.has_next,
                start_cursor: cursor(self.rows.first()),
                end_cursor: cursor(self.rows.last()),
            },
            edges: self
                .rows
                .into_iter()
                .filter_map(|(cursor, row)| {
                    Some(Edge {
                        cursor,
                        node: node(row)?,
                    })
                })
                .collect(),
            counter: self.counter,
        }
    }
}

/// A sort key, as a cursor carries it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub enum SortKey {
    #[serde(rename = "t")]
    MicrosUtc(i64),
    #[serde(rename = "i")]
    Integer(i64),
    #[serde(rename = "s")]
    Text(String),
    /// A number by its bits: read from decimal digits it might be its neighbour, and the page would begin one row off.
    #[serde(rename = "n")]
    NumberBits(u64),
    /// There is nothing to sort by.
    #[serde(rename = "x")]
    Absent,
}

impl SortKey {
    fn of(value: Value) -> Result<Self> {
        Ok(match value {
            Value::ChronoDateTimeUtc(Some(at)) => Self::MicrosUtc(at.timestamp_micros()),
            Value::BigInt(Some(n)) => Self::Integer(n),
            Value::Int(Some(n)) => Self::Integer(n.into()),
            Value::String(Some(text)) => Self::Text(text),
            other => return Err(anyhow::anyhow!("a list cannot be sorted by {other:?}").into()),
        })
    }
    /// As the database compares it; nothing of what is absent.
    pub fn value(self) -> Option<Value> {
        Some(match self {
            Self::MicrosUtc(micros) => DateTime::from_timestamp_micros(micros)?.into(),
            Self::Integer(n) => n.into(),
            Self::Text(text) => text.into(),
            Self::NumberBits(bits) => f64::from_bits(bits).into(),
            Self::Absent => return None,
        })
    }
}

/// Reads one page of a tenant's `rows`. `list` names the list and what it is filtered by: a cursor of another
/// list, order or tenant is refused.
pub async fn page<E>(
    cx: &Cx,
    list: &str,
    rows: Rows<'_, E>,
    sort: SortBy<E>,
    args: PageArgs,
) -> Result<Page<E::Model>>
where
    E: TenantOwned,
    E::Model: Send + Sync + FromQueryResult,
{
    let (whole, asker) = (rows.select.clone(), cx.clone());
    let counter: Counter = Arc::new(move || {
        let (cx, select) = (asker.clone(), whole.clone());
        Box::pin(async move { Ok(cx.db().rows(select).count().await?) })
    });
    let list = format!("{}/{list}", cx.tenant().uuid());
    read(&cx.env().secrets, &list, rows, sort, args, counter).await
}

/// Reads one page of a list that no tenant owns.
pub async fn system_page<E>(
    env: &Arc<Env>,
    list: &str,
    rows: Rows<'_, E>,
    sort: SortBy<E>,
    args: PageArgs,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
    E::Model: Send + Sync + FromQueryResult,
{
    let (whole, asker) = (rows.select.clone(), Arc::clone(env));
    let counter: Counter = Arc::new(move || {
        let (env, select) = (Arc::clone(&asker), whole.clone());
        Box::pin(async move { Ok(env.db.system().rows(select).count().await?) })
    });
    let list = format!("system/{list}");
    read(&env.secrets, &list, rows, sort, args, counter).await
}

async fn read<E>(
    secrets: &Secrets,
    list: &str,
    mut rows: Rows<'_, E>,
    sort: SortBy<E>,
    args: PageArgs,
    counter: Counter,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
    E::Model: Send + Sync + FromQueryResult,
{
    let window = Window::of(&args)?;
    let place = place(list, &sort);
    rows = narrowed(secrets, &place, rows, &sort, &args, &window)?;
    let found = rows.all().await?;
    cut(secrets, &place, found, &sort, &args, counter)
}

/// `rows` in the page's order, from its cursors on, and one more than it shows: that one tells whether the list goes on.
fn narrowed<'a, E: EntityTrait>(
    secrets: &Secrets,
    place: &str,
    mut rows: Rows<'a, E>,
    sort: &SortBy<E>,
    args: &PageArgs,
    window: &Window,
) -> Result<Rows<'a, E>> {
    let id = key::<E>();
    for (cursor, later) in [(&args.after, true), (&args.before, false)] {
        let Some(cursor) = cursor else { continue };
        let (at, at_id) = open_cursor(secrets, place, cursor)?;
        let column = &sort.column;
        let (bound, past, past_id) = if later == sort.descending {
            (column.lte(at.clone()), column.lt(at.clone()), id.lt(at_id))
        } else {
            (column.gte(at.clone()), column.gt(at.clone()), id.gt(at_id))
        };
        let tie = Condition::all().add(column.eq(at)).add(past_id);
        // The plain bound lets the index find the start; the condition settles ties.
        rows = rows
            .filter(bound)
            .filter(Condition::any().add(past).add(tie));
    }
    let order = if sort.descending == window.backward {
        Order::Asc
    } else {
        Order::Desc
    };
    Ok(rows
        .order_by(sort.column, order.clone())
        .order_by(id, order)
        .limit(window.rows()))
}

/// The statement that reads a page's rows as [`page`] does, for who reads them together with others; and the cursors' maker.
pub fn page_select<'a, E: TenantOwned>(
    cx: &'a Cx,
    list: &str,
    rows: Rows<'a, E>,
    sort: &SortBy<E>,
    args: &PageArgs,
    window: &Window,
) -> Result<(Rows<'a, E>, Cursors<'a>)> {
    let cursors = Cursors::of(cx, list, sort);
    let rows = narrowed(cursors.secrets, &cursors.place, rows, sort, args, window)?;
    Ok((rows, cursors))
}

/// Makes the cursors of one list of one tenant.
pub struct Cursors<'a> {
    secrets: &'a Secrets,
    place: String,
}

impl<'a> Cursors<'a> {
    /// `list` names the list as for [`page`].
    pub fn of<E: EntityTrait>(cx: &'a Cx, list: &str, sort: &SortBy<E>) -> Self {
        Self {
            secrets: &cx.env().secrets,
            place: place(&format!("{}/{list}", cx.tenant().uuid()), sort),
        }
    }
    /// The cursor of a row of a list that is sorted by an instant.
    pub fn at(&self, instant: DateTime<Utc>, id: uuid::Uuid) -> Result<String> {
        seal(self.secrets, &self.place, &Place::at(instant, id))
    }
}

/// How much of a list a page shows, and from which side.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    limit: u64,
    backward: bool,
    after: bool,
    before: bool,
}

/// Whether a list goes on beyond a page.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub has_previous: bool,
    pub has_next: bool,
}

impl Window {
    pub fn of(args: &PageArgs) -> Result<Self> {
        Ok(Self {
            limit: limit(args)?,
            backward: args.last.is_some(),
            after: args.after.is_some(),
            before: args.before.is_some(),
        })
    }
    /// How many rows are read: one more than are shown.
    pub const fn rows(&self) -> u64 {
        self.limit + 1
    }
    /// Whether the page is read from the list's end.
    pub const fn is_backward(&self) -> bool {
        self.backward
    }
    /// Whether a cursor says where the page starts.
    pub const fn has_cursor(&self) -> bool {
        self.after || self.before
    }
    /// Makes a page of rows that lie in the order in which they were read.
    pub fn cut<R>(&self, found: &mut Vec<R>) -> Ends {
        let more = found.len() as u64 > self.limit;
        found.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        if self.backward {
            found.reverse();
        }
        Ends {
            has_previous: if self.backward { more } else { self.after },
            has_next: if self.backward { self.before } else { more },
        }
    }
}

/// From which end a page without cursors takes its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FromEnd {
    /// How many rows to read: one more than the page shows tells whether the list goes on.
    pub rows: u64,
    /// From the list's end, rather than its start.
    pub last: bool,
}

impl PageArgs {
    /// Where the page starts, if no cursor says so.
    pub fn from_end(&self) -> Result<Option<FromEnd>> {
        let window = Window::of(self)?;
        Ok((!window.has_cursor()).then_some(FromEnd {
            rows: window.rows(),
            last: window.backward,
        }))
    }
}

/// Makes a page of rows that were read together with other lists' rows, as [`PageArgs::from_end`] says. It is
/// the page that [`page`] would have read, and its cursors lead on there.
pub fn page_from_end<E>(
    cx: &Cx,
    list: &str,
    found: Vec<E::Model>,
    sort: &SortBy<E>,
    args: &PageArgs,
    counter: Counter,
) -> Result<Page<E::Model>>
where
    E: TenantOwned,
{
    let list = format!("{}/{list}", cx.tenant().uuid());
    let place = place(&list, sort);
    cut(&cx.env().secrets, &place, found, sort, args, counter)
}

fn place<E: EntityTrait>(list: &str, sort: &SortBy<E>) -> String {
    format!("{list}/{:?}/{}", sort.column, sort.descending)
}

/// Makes a page of the rows that were read for it.
fn cut<E: EntityTrait>(
    secrets: &Secrets,
    place: &str,
    mut found: Vec<E::Model>,
    sort: &SortBy<E>,
    args: &PageArgs,
    counter: Counter,
) -> Result<Page<E::Model>> {
    let Ends {
        has_previous,
        has_next,
    } = Window::of(args)?.cut(&mut found);
    let rows = found
        .into_iter()
        .map(|row| Ok((seal_cursor(secrets, place, &row, sort)?, row)))
        .collect::<Result<_>>()?;
    Ok(Page {
        rows,
        has_previous,
        has_next,
        counter,
    })
}

fn limit(args: &PageArgs) -> Result<u64> {
    let (name, asked) = match (args.first, args.last) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("first", "give first or last, not both"));
        }
        (Some(n), None) => ("first", n),
        (None, Some(n)) => ("last", n),
        (None, None) => return Ok(PAGE_DEFAULT),
    };
    u64::try_from(asked)
        .ok()
        .filter(|n| *n <= PAGE_MAX)
        .ok_or_else(|| {
            Error::invalid(
                name,
                format!("{name} is between 0 and {PAGE_MAX}, not {asked}"),
            )
        })
}

fn seal_cursor<E: EntityTrait>(
    secrets: &Secrets,
    place: &str,
    row: &E::Model,
    sort: &SortBy<E>,
) -> Result<String> {
    let row_place = Place {
        key: SortKey::of(row.get(sort.column))?,
        id: super::db::id_of::<E>(row).uuid(),
    };
    seal(secrets, place, &row_place)
}

fn seal(secrets: &Secrets, place: &str, row: &Place) -> Result<String> {
    let body = serde_json::to_vec(row)?;
    let mark = mark(secrets, place, &body);
    Ok(BASE64_URL_SAFE_NO_PAD.encode([&mark[..], &body].concat()))
}

fn open(secrets: &Secrets, place: &str, cursor: &str) -> Result<Place> {
    let read = || {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (given, body) = bytes.split_first_chunk::<16>()?;
        if *given != mark(secrets, place, body) {
            return None;
        }
        serde_json::from_slice(body).ok()
    };
    read().ok_or(Error::BadCursor)
}

fn open_cursor(secrets: &Secrets, place: &str, cursor: &str) -> Result<(Value, Value)> {
    let row = open(secrets, place, cursor)?;
    let key = row.key.value().ok_or(Error::BadCursor)?;
    Ok((key, row.id.into()))
}

fn mark(secrets: &Secrets, place: &str, body: &[u8]) -> [u8; 16] {
    secrets.mark(&[place.as_bytes(), body].concat())
}
