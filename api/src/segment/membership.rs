//! Who is in a segment, kept as the rule says. All changes of it are made here, each segment's one after the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use entity::{
    ContactId, Id, segment, segment_due, segment_member, segment_size,
    segment_trigger::{self, Kind},
};
use sea_orm::{
    ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use uuid::Uuid;

use super::{
    ENTERED, LEFT, SOURCE,
    queries::{rule_of, states},
    rules::Rule,
    select::{Question, Reach, Who},
};
use crate::{
    base::{NewEvent, Planning, Regrouped, Result, Tx},
    contact as contact_room,
};

pub(super) type SegmentId = Id<segment::Entity>;

/// Contacts that one statement asks about: their ids, and those of all they absorbed, are its parameters.
pub(super) const ASKED_AT_ONCE: usize = 1_000;

/// How long a size is remembered.
const SIZES_KEPT: TimeDelta = TimeDelta::days(400);

/// Why a membership changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Something happened to the contact.
    Event,
    /// A window ended.
    Time,
    /// The rule is new.
    Computed,
    /// Somebody put the contact in, or took it out.
    Listed,
}

impl Reason {
    const fn text(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Time => "time",
            Self::Computed => "computed",
            Self::Listed => "listed",
        }
    }
}

/// Roots to ask about, by segment, each with the event that gave cause, if one did.
pub(super) type Doubts<'a> =
    BTreeMap<SegmentId, BTreeMap<ContactId, Option<&'a entity::event::Model>>>;

/// Asks about each doubt and writes down what changed: first of a segment, then of those whose rules name it.
pub(super) async fn settle(tx: &Tx, mut doubts: Doubts<'_>, reason: Reason) -> Result<()> {
    doubts.retain(|_, contacts| !contacts.is_empty());
    if doubts.is_empty() {
        return Ok(());
    }
    let above = Above::of(tx, doubts.keys().copied().collect()).await?;
    let locked = lock(tx, &above.all).await?;
    for id in above.order() {
        let (Some(contacts), Some(segment)) = (doubts.remove(&id), locked.get(&id)) else {
            continue;
        };
        let changed = settle_one(tx, segment, &contacts, reason).await?;
        for over in above.over.get(&id).into_iter().flatten() {
            let doubts = doubts.entry(*over).or_default();
            doubts.extend(changed.iter().map(|contact| (*contact, contacts[contact])));
        }
    }
    Ok(())
}

/// Segments, and those whose rules name them, and so on up.
struct Above {
    all: BTreeSet<SegmentId>,
    /// Who names a segment.
    over: BTreeMap<SegmentId, BTreeSet<SegmentId>>,
}

impl Above {
    async fn of(tx: &Tx, from: BTreeSet<SegmentId>) -> Result<Self> {
        let mut above = Self {
            all: from.clone(),
            over: BTreeMap::new(),
        };
        let mut edge: Vec<SegmentId> = from.into_iter().collect();
        // Ends: no rule leads back to its segment.
        while !edge.is_empty() {
            let named = tx
                .subquery::<segment::Entity>()
                .column(segment::Column::Key)
                .and_where(segment::Column::Id.is_in(edge.iter().copied()))
                .to_owned();
            let rows: Vec<(SegmentId, String)> = tx
                .find::<segment_trigger::Entity>()
                .filter(segment_trigger::Column::Kind.eq(Kind::Segment))
                .filter(segment_trigger::Column::Name.in_subquery(named))
                .select_only()
                .column(segment_trigger::Column::SegmentId)
                .column(segment_trigger::Column::Name)
                .tuples()
                .await?;
            if rows.is_empty() {
                break;
            }
            let keys: HashMap<String, SegmentId> = tx
                .get_many(&edge)
                .await?
                .into_iter()
                .map(|row: segment::Model| (row.key, row.id))
                .collect();
            edge.clear();
            for (over, key) in rows {
                let Some(under) = keys.get(&key) else {
                    continue;
                };
                above.over.entry(*under).or_default().insert(over);
                if above.all.insert(over) {
                    edge.push(over);
                }
            }
        }
        Ok(above)
    }

    /// Each behind all that its rule names.
    fn order(&self) -> Vec<SegmentId> {
        let mut under: BTreeMap<SegmentId, usize> = self.all.iter().map(|id| (*id, 0)).collect();
        for id in self.over.values().flatten() {
            *under.entry(*id).or_default() += 1;
        }
        let mut order: Vec<SegmentId> = vec![];
        let mut free: Vec<SegmentId> = under
            .iter()
            .filter_map(|(id, count)| (*count == 0).then_some(*id))
            .collect();
        while let Some(id) = free.pop() {
            order.push(id);
            for over in self.over.get(&id).into_iter().flatten() {
                if let Some(count) = under.get_mut(over) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(*over);
                    }
                }
            }
        }
        order
    }
}

/// Holds segments until the transaction ends: what is decided about one meanwhile waits, and then sees what this one wrote.
pub(super) async fn lock(
    tx: &Tx,
    ids: &BTreeSet<SegmentId>,
) -> Result<HashMap<SegmentId, segment::Model>> {
    let rows = tx
        .find::<segment::Entity>()
        .filter(segment::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(segment::Column::Id)
        .locked()
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

async fn settle_one(
    tx: &Tx,
    segment: &segment::Model,
    doubts: &BTreeMap<ContactId, Option<&entity::event::Model>>,
    reason: Reason,
) -> Result<Vec<ContactId>> {
    let rule = rule_of(segment)?;
    let all: Vec<ContactId> = doubts.keys().copied().collect();
    let mut changed = vec![];
    let mut grown = 0;
    for contacts in all.chunks(ASKED_AT_ONCE) {
        let asked = ask(tx, segment, rule.as_ref(), contacts).await?;
        let Change { entered, left } = write(tx, segment, contacts, asked).await?;
        let told = |name: &str, contact: &ContactId| {
            let event = NewEvent::of_room(SOURCE, name, *contact, tx.now())
                .with("segmentId", segment.id.to_string())
                .with("segmentKey", segment.key.clone())
                .with("reason", reason.text());
            match doubts[contact] {
                Some(cause) => event.caused_by(cause),
                None => event,
            }
        };
        let events = entered
            .iter()
            .map(|contact| told(ENTERED, contact))
            .chain(left.iter().map(|contact| told(LEFT, contact)))
            .collect();
        tx.emit_all(events).await?;
        for (name, count) in [(ENTERED, entered.len()), (LEFT, left.len())] {
            metrics::counter!("growthos_segment_changes_total", "change" => name, "reason" => reason.text())
                .increment(count as u64);
        }
        grown += i64::try_from(entered.len()).unwrap_or_default()
            - i64::try_from(left.len()).unwrap_or_default();
        changed.extend(entered);
        changed.extend(left);
    }
    if !changed.is_empty() {
        grow(tx, segment.id, grown).await?;
    }
    Ok(changed)
}

/// What a rule says of some contacts.
struct Asked {
    inside: HashSet<ContactId>,
    /// When time alone can change the answer.
    due: BTreeMap<ContactId, DateTime<Utc>>,
}

async fn ask(
    tx: &Tx,
    segment: &segment::Model,
    rule: Option<&Rule>,
    contacts: &[ContactId],
) -> Result<Asked> {
    let families = contact_room::families(tx, contacts).await?;
    let roots: Vec<Uuid> = contacts.iter().map(|id| id.uuid()).collect();
    let members: Vec<Uuid> = families.values().flatten().map(|id| id.uuid()).collect();
    let states = states(tx.modules());
    let question = Question {
        scope: tx,
        now: tx.now(),
        states: &states,
        reach: Reach::These {
            roots: &roots,
            members: &members,
        },
    };
    let who = rule.map_or(Who::Listed(segment.id), Who::Rule);
    let inside: Vec<(ContactId,)> = question
        .who(who)?
        .select_only()
        .column(entity::contact::Column::Id)
        .tuples()
        .await?;
    let mut due: BTreeMap<ContactId, DateTime<Utc>> = BTreeMap::new();
    let expiries = rule.map(|rule| question.expiries(rule)).unwrap_or_default();
    if !expiries.is_empty() {
        let reads = expiries
            .iter()
            .map(|expiry| tx.read(&expiry.select))
            .collect();
        let found = tx.read_all(reads, Planning::ByValues).await?;
        for (expiry, rows) in expiries.iter().zip(found) {
            for row in rows {
                let at = row.instant(1)? + expiry.within;
                if at > question.now {
                    let earliest = due.entry(Id::from_uuid(row.uuid(0)?)).or_insert(at);
                    *earliest = Ord::min(at, *earliest);
                }
            }
        }
    }
    Ok(Asked {
        inside: inside.into_iter().map(|(id,)| id).collect(),
        due,
    })
}

struct Change {
    entered: Vec<ContactId>,
    left: Vec<ContactId>,
}

async fn write(
    tx: &Tx,
    segment: &segment::Model,
    contacts: &[ContactId],
    asked: Asked,
) -> Result<Change> {
    let before: Vec<(ContactId,)> = tx
        .find::<segment_member::Entity>()
        .filter(segment_member::Column::SegmentId.eq(segment.id))
        .filter(is_one_of::<segment_member::Entity>(
            tx,
            segment_member::Column::ContactId,
            contacts,
        ))
        .select_only()
        .column(segment_member::Column::ContactId)
        .tuples()
        .await?;
    let before: HashSet<ContactId> = before.into_iter().map(|(id,)| id).collect();
    let differ = |mine: &HashSet<ContactId>, other: &HashSet<ContactId>| -> Vec<ContactId> {
        let mut found: Vec<ContactId> = mine.difference(other).copied().collect();
        found.sort_unstable();
        found
    };
    let entered = differ(&asked.inside, &before);
    let left = differ(&before, &asked.inside);
    if !entered.is_empty() {
        let rows = entered.iter().map(|contact| segment_member::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            segment_id: Set(segment.id),
            contact_id: Set(*contact),
            entered_at: Set(tx.now()),
        });
        tx.insert_all(rows.collect(), None).await?;
    }
    if !left.is_empty() {
        let gone =
            is_one_of::<segment_member::Entity>(tx, segment_member::Column::ContactId, &left);
        tx.delete_where::<segment_member::Entity>(|delete| {
            delete
                .filter(segment_member::Column::SegmentId.eq(segment.id))
                .filter(gone)
        })
        .await?;
    }
    let answered = is_one_of::<segment_due::Entity>(tx, segment_due::Column::ContactId, contacts);
    tx.delete_where::<segment_due::Entity>(|delete| {
        delete
            .filter(segment_due::Column::SegmentId.eq(segment.id))
            .filter(answered)
    })
    .await?;
    let due = asked
        .due
        .into_iter()
        .map(|(contact, at)| (segment.id, contact, at));
    make_due(tx, due.collect()).await?;
    Ok(Change { entered, left })
}

fn is_one_of<E: entity::TenantOwned>(
    tx: &Tx,
    column: E::Column,
    contacts: &[ContactId],
) -> sea_orm::Condition {
    let ids: Vec<Uuid> = contacts.iter().map(|id| id.uuid()).collect();
    tx.is_one_of::<E>(column, &ids)
}

/// Has contacts asked about at an instant, or earlier where that is written down already.
async fn make_due(tx: &Tx, due: Vec<(SegmentId, ContactId, DateTime<Utc>)>) -> Result<()> {
    use segment_due::Column;
    if due.is_empty() {
        return Ok(());
    }
    let rows = due
        .into_iter()
        .map(|(segment, contact, at)| segment_due::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            segment_id: Set(segment),
            contact_id: Set(contact),
            due_at: Set(at),
        });
    let earlier = OnConflict::columns([Column::TenantId, Column::SegmentId, Column::ContactId])
        .update_column(Column::DueAt)
        .action_and_where(Expr::cust(
            r#""excluded"."due_at" < "segment_due"."due_at""#,
        ))
        .to_owned();
    tx.insert_all(rows.collect(), Some(earlier)).await?;
    Ok(())
}

/// Counts a segment's change, and remembers its size in this hour. The caller holds the segment.
async fn grow(tx: &Tx, id: SegmentId, by: i64) -> Result<()> {
    tx.update_many::<segment::Entity>(|update| {
        update
            .col_expr(
                segment::Column::Size,
                Expr::col(segment::Column::Size).add(by),
            )
            .filter(segment::Column::Id.eq(id))
    })
    .await?;
    let size = tx
        .get(id)
        .await?
        .map_or(0, |segment: segment::Model| segment.size);
    remember_size(tx, id, size).await
}

pub(super) async fn remember_size(tx: &Tx, id: SegmentId, size: i64) -> Result<()> {
    use segment_size::Column;
    let now = tx.now();
    let hour = now
        .with_minute(0)
        .and_then(|at| at.with_second(0))
        .and_then(|at| at.with_nanosecond(0))
        .unwrap_or(now);
    let latest = OnConflict::columns([Column::TenantId, Column::SegmentId, Column::Hour])
        .update_column(Column::Size)
        .to_owned();
    let row = segment_size::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        segment_id: Set(id),
        hour: Set(hour),
        size: Set(size),
    };
    tx.insert_all(vec![row], Some(latest)).await?;
    tx.delete_where::<segment_size::Entity>(|delete| {
        delete
            .filter(Column::SegmentId.eq(id))
            .filter(Column::Hour.lt(now - SIZES_KEPT))
    })
    .await?;
    Ok(())
}

/// Where contacts became one, the absorbed one's memberships become the root's: the person is in both's segments until it is asked
/// about again, which is due at once. So are both where a contact was taken out of another.
pub(super) async fn regroup(tx: &Tx, regrouped: &Regrouped) -> Result<()> {
    if regrouped.joined.is_empty() && regrouped.parted.is_empty() {
        return Ok(());
    }
    fold(tx, &regrouped.joined).await?;
    let all = all_segments(tx).await?;
    let concerned: BTreeSet<ContactId> = regrouped
        .joined
        .iter()
        .map(|(_, root)| *root)
        .chain(
            regrouped
                .parted
                .iter()
                .flat_map(|(root, contact)| [*root, *contact]),
        )
        .collect();
    let now = tx.now();
    let due = concerned
        .iter()
        .flat_map(|contact| all.iter().map(move |segment| (*segment, *contact, now)));
    make_due(tx, due.collect()).await
}

/// Gives absorbed contacts' memberships to their roots.
pub(super) async fn fold(tx: &Tx, joined: &[(ContactId, ContactId)]) -> Result<()> {
    if joined.is_empty() {
        return Ok(());
    }
    let roots: HashMap<ContactId, ContactId> = joined.iter().copied().collect();
    let absorbed: Vec<ContactId> = roots.keys().copied().collect();
    let named: Vec<(SegmentId,)> = tx
        .find::<segment_member::Entity>()
        .filter(is_one_of::<segment_member::Entity>(
            tx,
            segment_member::Column::ContactId,
            &absorbed,
        ))
        .select_only()
        .column(segment_member::Column::SegmentId)
        .tuples()
        .await?;
    if named.is_empty() {
        return Ok(());
    }
    lock(tx, &named.into_iter().map(|(id,)| id).collect()).await?;
    // Read again: what was decided while we waited counts.
    let rows = tx
        .find::<segment_member::Entity>()
        .filter(is_one_of::<segment_member::Entity>(
            tx,
            segment_member::Column::ContactId,
            &absorbed,
        ))
        .all()
        .await?;
    let moved = rows.iter().map(|row| segment_member::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        segment_id: Set(row.segment_id),
        contact_id: Set(roots[&row.contact_id]),
        entered_at: Set(row.entered_at),
    });
    let stays = OnConflict::columns([
        segment_member::Column::TenantId,
        segment_member::Column::ContactId,
        segment_member::Column::SegmentId,
    ])
    .do_nothing()
    .to_owned();
    let mut by_segment: BTreeMap<SegmentId, (Vec<segment_member::ActiveModel>, i64)> =
        BTreeMap::new();
    for (row, moved) in rows.iter().zip(moved) {
        let (moving, grown) = by_segment.entry(row.segment_id).or_default();
        moving.push(moved);
        *grown -= 1;
    }
    let gone: Vec<_> = rows.iter().map(|row| row.id).collect();
    for (segment, (moving, grown)) in by_segment {
        let written = tx.insert_all(moving, Some(stays.clone())).await?;
        let grown = grown + i64::try_from(written).unwrap_or_default();
        if grown != 0 {
            grow(tx, segment, grown).await?;
        }
    }
    tx.delete_many(&gone).await?;
    Ok(())
}

/// Every segment of the tenant.
pub(super) async fn all_segments(tx: &Tx) -> Result<Vec<SegmentId>> {
    let ids: Vec<(SegmentId,)> = tx
        .find::<segment::Entity>()
        .order_by_asc(segment::Column::Id)
        .select_only()
        .column(segment::Column::Id)
        .tuples()
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
