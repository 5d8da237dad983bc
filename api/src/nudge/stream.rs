//! The stream of one contact's nudges: what it missed, from the log, then what happens, from the tail.
//!
//! There is no gap and no overlap, by construction: joining the hub gives the place where the tail stands;
//! the log is read up to there, and the tail tells of everything behind it.

mod cursor;
mod hub;
mod tail;

use std::{collections::HashMap, sync::Arc};

use async_stream::try_stream;
use chrono::{DateTime, TimeDelta, Utc};
use entity::{ContactId, Id, TenantId, event, nudge, nudge_delivery, nudge_version};
use futures_util::Stream;
use sea_orm::{ColumnTrait, FromQueryResult, QueryFilter, QuerySelect};

use super::{OFFERED, SOURCE, WITHDRAWN, queries, rules};
use crate::base::{Cx, LogPlace, OWN_MESSAGE, Result};

pub use hub::Streams;

/// How far back a stream without a cursor looks for open offers.
const FRESH_DAYS: TimeDelta = TimeDelta::days(30);

/// Events of the log that are read at once.
const PAGE_ROWS: u64 = 100;

/// An offer, with what it says.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) delivery: nudge_delivery::Model,
    pub(super) version: Arc<nudge_version::Model>,
    pub(super) nudge: Arc<nudge::Model>,
}

/// What a subscriber is told, at its place in the log.
#[derive(Clone, Debug)]
struct Frame {
    place: LogPlace,
    surface: Arc<str>,
    item: Item,
}

#[derive(Clone, Debug)]
enum Item {
    Offered(Arc<Offer>),
    Withdrawn {
        delivery: Id<nudge_delivery::Entity>,
        reason: Arc<str>,
    },
}

/// What a stream gives.
pub(super) enum Told {
    Delivered {
        cursor: String,
        offer: Arc<Offer>,
    },
    Withdrawn {
        cursor: String,
        delivery: Id<nudge_delivery::Entity>,
        reason: Arc<str>,
    },
    Lagged {
        cursor: String,
        missed: u32,
    },
}

impl Told {
    /// To go on behind it.
    pub(super) fn cursor(&self) -> &str {
        match self {
            Self::Delivered { cursor, .. }
            | Self::Withdrawn { cursor, .. }
            | Self::Lagged { cursor, .. } => cursor,
        }
    }
}

/// The message id that makes telling of a delivery harmless to repeat; [`Line::delivery`] reads it.
pub(super) fn told_once(event_name: &str, delivery: Id<nudge_delivery::Entity>) -> String {
    format!("{event_name}/{delivery}")
}

/// What the stream reads of an event.
#[derive(Clone, Debug, FromQueryResult)]
struct Line {
    tenant_id: TenantId,
    xid: i64,
    seq: i64,
    contact_id: Option<ContactId>,
    name: String,
    source: String,
    message_id: Option<String>,
}

const LINE: [event::Column; 7] = [
    event::Column::TenantId,
    event::Column::Xid,
    event::Column::Seq,
    event::Column::ContactId,
    event::Column::Name,
    event::Column::Source,
    event::Column::MessageId,
];

impl Line {
    const fn place(&self) -> LogPlace {
        LogPlace {
            xid: self.xid,
            seq: self.seq,
        }
    }
    /// The delivery that this room told of. Whoever may track can name an event so, but not this source.
    fn delivery(&self) -> Option<Id<nudge_delivery::Entity>> {
        let own = self.message_id.as_deref()?.strip_prefix(OWN_MESSAGE)?;
        let (name, delivery) = own.split_once('/')?;
        if self.source == SOURCE && name == self.name {
            Id::parse(delivery)
        } else {
            None
        }
    }
}

impl Frame {
    fn is_for(&self, surface: Option<&str>) -> bool {
        surface.is_none_or(|surface| *self.surface == *surface)
    }
    /// As the subscriber is told it; `None` for an offer that is not open any more.
    fn told(&self, cx: &Cx) -> Option<Told> {
        let cursor = cursor::give(cx, self.place);
        match &self.item {
            Item::Offered(offer) => {
                rules::is_open(&offer.delivery, cx.now()).then(|| Told::Delivered {
                    cursor,
                    offer: Arc::clone(offer),
                })
            }
            Item::Withdrawn { delivery, reason } => Some(Told::Withdrawn {
                cursor,
                delivery: *delivery,
                reason: Arc::clone(reason),
            }),
        }
    }
}

/// Opens the stream of `contact`. With `after`, a cursor of this tenant, it goes on behind it; without, it
/// begins with the open offers of the last 30 days, oldest first. Withdrawn and finished offers that were
/// missed are not delivered; a withdrawn one is told of as such.
pub(super) fn open(
    cx: Cx,
    streams: Arc<Streams>,
    contact: ContactId,
    after: Option<&str>,
    surface: Option<String>,
) -> Result<impl Stream<Item = Result<Told>> + use<>> {
    let after = after.map(|cursor| cursor::read(&cx, cursor)).transpose()?;
    Ok(try_stream! {
        // What happens once lies on the heap meanwhile: this stream waits for its next frame nearly all of its life, and
        // would carry their size.
        let joined = Box::pin(join(&cx, &streams, contact, surface.as_deref())).await?;
        let Some(Joined { mut seat, family, end }) = joined else { return };
        let mut last = after.unwrap_or_default();
        let since = if after.is_none() { Some(cx.now() - FRESH_DAYS) } else { None };
        loop {
            let (frames, read_to) = Box::pin(missed(&cx, &family, last, end, since)).await?;
            for frame in frames.into_iter().filter(|frame| frame.is_for(surface.as_deref())) {
                last = frame.place;
                // A client without a cursor has nothing that could be taken back.
                if after.is_none() && matches!(frame.item, Item::Withdrawn { .. }) { continue }
                if let Some(told) = frame.told(&cx) { yield told }
            }
            last = last.max(read_to);
            if last >= end { break }
        }
        while let Some(frame) = seat.next().await {
            // Another process, whose tail was ahead, told of it before the cursor that we were given.
            if frame.place <= last { continue }
            last = frame.place;
            if let Some(told) = frame.told(&cx) { yield told }
        }
        if let Some(missed) = seat.missed() {
            yield Told::Lagged { cursor: cursor::give(&cx, last), missed };
        }
    })
}

/// A seat in the hub.
struct Joined {
    seat: hub::Seat,
    /// Whose events are read from the log up to `end`; behind it the hub knows.
    family: Vec<ContactId>,
    end: LogPlace,
}

/// Joins the hub as every id of the contact's family. The family is read again once the seat has its place:
/// a merge before the place is seen by this read, one behind it by the tail. `None`: the process stops.
async fn join(
    cx: &Cx,
    streams: &Arc<Streams>,
    contact: ContactId,
    surface: Option<&str>,
) -> Result<Option<Joined>> {
    let mut family = queries::family(&cx.db(), contact).await?;
    loop {
        let mut seat = Streams::join(streams, cx.tenant(), family.clone(), surface);
        let Some(end) = seat.begin().await else {
            return Ok(None);
        };
        let now = queries::family(&cx.db(), contact).await?;
        if now == family {
            return Ok(Some(Joined { seat, family, end }));
        }
        family = now;
    }
}

/// One page of what the log holds for a family after `after` and up to `end`, and how far it was read.
async fn missed(
    cx: &Cx,
    family: &[ContactId],
    after: LogPlace,
    end: LogPlace,
    since: Option<DateTime<Utc>>,
) -> Result<(Vec<Frame>, LogPlace)> {
    use event::Column;
    let db = cx.db();
    let mut rows = db
        .log_after(after)
        .filter(Column::ContactId.is_in(family.iter().copied()))
        .filter(Column::Name.is_in([OFFERED, WITHDRAWN]))
        .filter(Column::Source.eq(SOURCE))
        .limit(PAGE_ROWS)
        .select_only()
        .columns(LINE);
    if let Some(since) = since {
        rows = rows.filter(Column::OccurredAt.gte(since));
    }
    let mut rows: Vec<Line> = rows.project().await?;
    let full = rows.len() as u64 == PAGE_ROWS;
    rows.retain(|row| row.place() <= end);
    let read_to = match rows.last() {
        Some(last) if full => last.place(),
        _ => end,
    };
    let ids: Vec<_> = rows.iter().filter_map(Line::delivery).collect();
    let deliveries: Vec<nudge_delivery::Model> = db.get_many(&ids).await?;
    let versions: Vec<_> = deliveries.iter().map(|row| row.nudge_version_id).collect();
    let nudges: Vec<_> = deliveries.iter().map(|row| row.nudge_id).collect();
    let shelf = Shelf {
        versions: shared(
            db.get_many(&versions).await?,
            |row: &nudge_version::Model| row.id,
        ),
        nudges: shared(db.get_many(&nudges).await?, |row: &nudge::Model| row.id),
        deliveries: deliveries.into_iter().map(|row| (row.id, row)).collect(),
    };
    Ok((
        rows.iter().filter_map(|row| shelf.frame(row)).collect(),
        read_to,
    ))
}

fn shared<T, K: std::hash::Hash + Eq>(rows: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, Arc<T>> {
    rows.into_iter()
        .map(|row| (key(&row), Arc::new(row)))
        .collect()
}

/// The rows that some events speak of.
#[derive(Default)]
struct Shelf {
    deliveries: HashMap<Id<nudge_delivery::Entity>, nudge_delivery::Model>,
    versions: HashMap<Id<nudge_version::Entity>, Arc<nudge_version::Model>>,
    nudges: HashMap<Id<nudge::Entity>, Arc<nudge::Model>>,
}

impl Shelf {
    /// What an event of the log tells; `None` where its delivery is gone.
    fn frame(&self, line: &Line) -> Option<Frame> {
        let delivery = self.deliveries.get(&line.delivery()?)?;
        let item = if line.name == OFFERED {
            Item::Offered(Arc::new(Offer {
                delivery: delivery.clone(),
                version: Arc::clone(self.versions.get(&delivery.nudge_version_id)?),
                nudge: Arc::clone(self.nudges.get(&delivery.nudge_id)?),
            }))
        } else {
            Item::Withdrawn {
                delivery: delivery.id,
                reason: delivery
                    .withdrawn_reason
                    .as_deref()
                    .unwrap_or_default()
                    .into(),
            }
        };
        Some(Frame {
            place: line.place(),
            surface: delivery.surface.as_str().into(),
            item,
        })
    }
}
