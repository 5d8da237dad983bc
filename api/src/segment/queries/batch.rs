//! What a page of segments or contacts asks for together: one query a page, whatever its length.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    marker::PhantomData,
    sync::Arc,
};

use async_graphql::{Context, dataloader::Loader};
use chrono::{DateTime, Utc};
use entity::{ContactId, Id, TenantOwned, segment, segment_member, segment_size};
use sea_orm::{
    ColumnTrait, Condition, FromQueryResult, Order, QueryFilter, QueryOrder, QuerySelect,
};

use crate::{
    base::{
        Batch, Counter, Cx, Error, FromEnd, Page, PageArgs, Result, SortBy,
        gql::{ById, CxExt},
        page, page_from_end,
    },
    segment::membership::SegmentId,
};

/// One request's batches of this room.
pub struct Reads {
    pub segments: Batch<ById, SegmentId>,
    pub of_contacts: Batch<OfContacts, ContactId>,
    members: Listed<segment_member::Entity>,
    sizes: Listed<segment_size::Entity>,
}

/// The batches of one kind of rows.
pub struct Listed<E: OfSegment> {
    ends: Batch<Rows<E>, (SegmentId, FromEnd)>,
    counts: Batch<Rows<E>, SegmentId>,
}

impl Reads {
    pub fn new(cx: &Cx) -> Arc<Self> {
        Arc::new(Self {
            segments: Batch::new(ById(cx.clone())),
            of_contacts: Batch::new(OfContacts(cx.clone())),
            members: Listed::new(cx),
            sizes: Listed::new(cx),
        })
    }
    /// The request's own.
    pub fn of<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Self>> {
        ctx.data_opt().ok_or(Error::Forbidden)
    }
}

impl<E: OfSegment> Listed<E> {
    fn new(cx: &Cx) -> Self {
        Self {
            ends: Batch::new(Rows(cx.clone(), PhantomData)),
            counts: Batch::new(Rows(cx.clone(), PhantomData)),
        }
    }
}

/// Rows that hang on a segment, and are listed the latest first.
pub trait OfSegment:
    TenantOwned<Model: Clone + Send + Sync + FromQueryResult + 'static> + 'static
{
    const SEGMENT: Self::Column;
    const AT: Self::Column;
    const LIST: &'static str;
    /// The row's segment, and its place in the list.
    fn place(row: &Self::Model) -> (SegmentId, DateTime<Utc>, Id<Self>);
    fn listed(reads: &Reads) -> &Listed<Self>;
}

impl OfSegment for segment_member::Entity {
    const SEGMENT: Self::Column = segment_member::Column::SegmentId;
    const AT: Self::Column = segment_member::Column::EnteredAt;
    const LIST: &'static str = "members";
    fn place(row: &Self::Model) -> (SegmentId, DateTime<Utc>, Id<Self>) {
        (row.segment_id, row.entered_at, row.id)
    }
    fn listed(reads: &Reads) -> &Listed<Self> {
        &reads.members
    }
}

impl OfSegment for segment_size::Entity {
    const SEGMENT: Self::Column = segment_size::Column::SegmentId;
    const AT: Self::Column = segment_size::Column::Hour;
    const LIST: &'static str = "sizes";
    fn place(row: &Self::Model) -> (SegmentId, DateTime<Utc>, Id<Self>) {
        (row.segment_id, row.hour, row.id)
    }
    fn listed(reads: &Reads) -> &Listed<Self> {
        &reads.sizes
    }
}

/// A page of a segment's rows. One from the list's end is read for all segments of the outer page at once; one that starts at a
/// cursor is of one segment: the cursor is no other's.
pub async fn page_of<E: OfSegment>(
    ctx: &Context<'_>,
    segment: SegmentId,
    args: PageArgs,
) -> async_graphql::Result<Page<E::Model>> {
    let cx = ctx.cx()?;
    let list = format!("segments/{}/{}", segment.uuid(), E::LIST);
    let sort = SortBy {
        column: E::AT,
        descending: true,
    };
    let Some(end) = args.from_end()? else {
        let scope = cx.db();
        let rows = scope.find::<E>().filter(E::SEGMENT.eq(segment));
        return Ok(page(cx, &list, rows, sort, args).await?);
    };
    let reads = Reads::of(ctx)?;
    let rows = E::listed(reads).ends.ask((segment, end)).await?;
    let counted = Arc::clone(reads);
    let counter: Counter = Arc::new(move || {
        let reads = Arc::clone(&counted);
        Box::pin(async move {
            let count = E::listed(&reads).counts.ask(segment).await?;
            Ok(count.unwrap_or_default())
        })
    });
    let rows = rows.unwrap_or_default();
    Ok(page_from_end::<E>(cx, &list, rows, &sort, &args, counter)?)
}

type Loaded<K, V> = Result<HashMap<K, V>, Arc<Error>>;

/// Loads the rows of segments.
pub(super) struct Rows<E>(Cx, PhantomData<fn() -> E>);

impl<E: OfSegment> Loader<(SegmentId, FromEnd)> for Rows<E> {
    type Value = Vec<E::Model>;
    type Error = Arc<Error>;

    async fn load(
        &self,
        keys: &[(SegmentId, FromEnd)],
    ) -> Loaded<(SegmentId, FromEnd), Vec<E::Model>> {
        let mut asked: HashMap<FromEnd, Vec<SegmentId>> = HashMap::new();
        for (segment, end) in keys {
            asked.entry(*end).or_default().push(*segment);
        }
        let scope = self.0.db();
        let mut loaded: HashMap<_, Vec<E::Model>> = HashMap::new();
        for (end, segments) in asked {
            let order = if end.last { Order::Asc } else { Order::Desc };
            let id = crate::base::key::<E>();
            let mut rows = scope
                .first_of_each::<E, _>(
                    E::SEGMENT,
                    &segments,
                    Condition::all(),
                    &[(E::AT, order.clone()), (id, order)],
                    end.rows,
                )
                .all()
                .await?;
            rows.sort_by_key(|row| {
                let (_, at, id) = E::place(row);
                Reverse((at, id))
            });
            if end.last {
                rows.reverse();
            }
            for row in rows {
                loaded.entry((E::place(&row).0, end)).or_default().push(row);
            }
        }
        Ok(loaded)
    }
}

impl<E: OfSegment> Loader<SegmentId> for Rows<E> {
    type Value = u64;
    type Error = Arc<Error>;

    async fn load(&self, segments: &[SegmentId]) -> Loaded<SegmentId, u64> {
        let scope = self.0.db();
        let rows: Vec<(SegmentId, i64)> = scope
            .find::<E>()
            .filter(E::SEGMENT.is_in(segments.iter().copied()))
            .select_only()
            .column(E::SEGMENT)
            .column_as(E::AT.count(), "rows")
            .group_by(E::SEGMENT)
            .tuples()
            .await?;
        Ok(rows
            .into_iter()
            .map(|(segment, count)| (segment, u64::try_from(count).unwrap_or_default()))
            .collect())
    }
}

/// Loads the segments that contacts are in, by name.
pub struct OfContacts(Cx);

impl Loader<ContactId> for OfContacts {
    type Value = Vec<Arc<segment::Model>>;
    type Error = Arc<Error>;

    async fn load(&self, contacts: &[ContactId]) -> Loaded<ContactId, Self::Value> {
        use segment_member::Column;
        let scope = self.0.db();
        let rows: Vec<(ContactId, SegmentId)> = scope
            .find::<segment_member::Entity>()
            .filter(Column::ContactId.is_in(contacts.iter().copied()))
            .select_only()
            .columns([Column::ContactId, Column::SegmentId])
            .tuples()
            .await?;
        let named: HashSet<SegmentId> = rows.iter().map(|(_, segment)| *segment).collect();
        let named: BTreeSet<SegmentId> = named.into_iter().collect();
        let segments: Vec<segment::Model> = scope
            .find::<segment::Entity>()
            .filter(segment::Column::Id.is_in(named))
            .order_by_asc(segment::Column::Key)
            .all()
            .await?;
        let mut of: HashMap<SegmentId, Vec<ContactId>> = HashMap::new();
        for (contact, segment) in rows {
            of.entry(segment).or_default().push(contact);
        }
        let mut loaded: HashMap<ContactId, Self::Value> = HashMap::new();
        for segment in segments.into_iter().map(Arc::new) {
            for contact in of.get(&segment.id).into_iter().flatten() {
                loaded
                    .entry(*contact)
                    .or_default()
                    .push(Arc::clone(&segment));
            }
        }
        Ok(loaded)
    }
}
