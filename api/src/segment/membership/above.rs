//! Which segments follow when others change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{
    segment,
    segment_trigger::{self, Kind},
};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use super::SegmentId;
use crate::base::{Result, Tx};

/// Segments, and those whose rules name them, and so on up.
pub(super) struct Above {
    pub(super) all: BTreeSet<SegmentId>,
    /// Who names a segment.
    pub(super) over: BTreeMap<SegmentId, BTreeSet<SegmentId>>,
}

impl Above {
    pub(super) async fn of(tx: &Tx, from: BTreeSet<SegmentId>) -> Result<Self> {
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
    pub(super) fn order(&self) -> Vec<SegmentId> {
        let mut under: BTreeMap<SegmentId, usize> = self.all.iter().map(|id| (*id, 0)).collect();
        for id in self.over.values().flatten() {
            *under.entry(*id).or_default() += 1;
        }
        let mut order: Vec<SegmentId> = vec![];
        let mut free: BTreeSet<SegmentId> = under
            .iter()
            .filter_map(|(id, count)| (*count == 0).then_some(*id))
            .collect();
        while let Some(id) = free.pop_first() {
            order.push(id);
            for over in self.over.get(&id).into_iter().flatten() {
                if let Some(count) = under.get_mut(over) {
                    *count -= 1;
                    if *count == 0 {
                        free.insert(*over);
                    }
                }
            }
        }
        order
    }
}
