//! What a page of segments or contacts asks for together: one query a page, whatever its length.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use async_graphql::{Context, dataloader::Loader};
use chrono::{DateTime, Utc};
use entity::{ContactId, Id, segment, segment_member, segment_size, segment_source};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{
    base::{Batch, Cx, Error, HangsOn, Listed, Result, gql::ById},
    segment::membership::SegmentId,
};

/// One request's batches of this room.
pub struct Reads {
    pub segments: Batch<ById, SegmentId>,
    pub of_contacts: Batch<OfContacts, ContactId>,
    pub sources: Batch<ById, Id<segment_source::Entity>>,
    pub members: Arc<Listed<segment_member::Entity>>,
    pub sizes: Arc<Listed<segment_size::Entity>>,
}

impl Reads {
    pub fn new(cx: &Cx) -> Arc<Self> {
        Arc::new(Self {
            segments: Batch::new(ById(cx.clone())),
            of_contacts: Batch::new(OfContacts(cx.clone())),
            sources: Batch::new(ById(cx.clone())),
            members: Listed::new(cx),
            sizes: Listed::new(cx),
        })
    }
    /// The request's own.
    pub fn of<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Self>> {
        ctx.data_opt().ok_or(Error::Forbidden)
    }
}

impl HangsOn for segment_member::Entity {
    type Parent = segment::Entity;
    type At = DateTime<Utc>;
    const PARENT: Self::Column = segment_member::Column::SegmentId;
    const AT: Self::Column = segment_member::Column::EnteredAt;
    const NEWEST_FIRST: bool = true;
    const LIST: &'static str = "segmentMembers";
    fn place(row: &Self::Model) -> (SegmentId, DateTime<Utc>, Id<Self>) {
        (row.segment_id, row.entered_at, row.id)
    }
}

impl HangsOn for segment_size::Entity {
    type Parent = segment::Entity;
    type At = DateTime<Utc>;
    const PARENT: Self::Column = segment_size::Column::SegmentId;
    const AT: Self::Column = segment_size::Column::Hour;
    const NEWEST_FIRST: bool = true;
    const LIST: &'static str = "segmentSizes";
    fn place(row: &Self::Model) -> (SegmentId, DateTime<Utc>, Id<Self>) {
        (row.segment_id, row.hour, row.id)
    }
}

type Loaded<K, V> = Result<HashMap<K, V>, Arc<Error>>;

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
