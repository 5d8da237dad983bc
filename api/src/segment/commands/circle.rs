//! Segments that name each other: never in a circle, and in no long chain.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{
    segment,
    segment_trigger::{self, Kind},
};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use crate::{
    base::{Error, ErrorCode, Result, Tx},
    segment::{membership::SegmentId, rules::Rule},
};

/// How long a chain of segments that name each other may be: a change runs up along it in one transaction.
const CHAIN_MAX: usize = 5;
/// Whether the segments that the rule names are there, and none of them names this one in turn.
pub(super) async fn leads_nowhere_back(
    tx: &Tx,
    key: &str,
    rule: &Rule,
    held: &[segment::Model],
) -> Result<()> {
    let keys: HashMap<SegmentId, &str> =
        held.iter().map(|row| (row.id, row.key.as_str())).collect();
    let there: BTreeSet<&str> = keys.values().copied().collect();
    let rows: Vec<(SegmentId, String)> = tx
        .find::<segment_trigger::Entity>()
        .filter(segment_trigger::Column::Kind.eq(Kind::Segment))
        .select_only()
        .column(segment_trigger::Column::SegmentId)
        .column(segment_trigger::Column::Name)
        .tuples()
        .await?;
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (segment, named) in &rows {
        if let Some(of) = keys.get(segment).filter(|of| **of != key) {
            names.entry(of).or_default().insert(named);
        }
    }
    let places = rule.walk();
    for (place, part) in &places {
        let Rule::Segment(other) = part else { continue };
        let field = if place.is_empty() {
            "rule.segment.key".to_owned()
        } else {
            format!("rule.{place}.segment.key")
        };
        if other.key == key {
            return Err(Error::invalid(field, "a segment cannot be part of itself"));
        }
        if !there.contains(other.key.as_str()) {
            return Err(Error::user(
                ErrorCode::NotFound,
                field,
                format!("there is no segment of the key {}", other.key),
            ));
        }
        names.entry(key).or_default().insert(&other.key);
        let mut edge: BTreeSet<&str> = [other.key.as_str()].into();
        while !edge.is_empty() {
            if edge.contains(key) {
                return Err(Error::invalid(
                    field,
                    format!("the rule of {} leads back to this segment", other.key),
                ));
            }
            edge = edge
                .iter()
                .filter_map(|key| names.get(key))
                .flatten()
                .copied()
                .collect();
        }
    }
    let longest = there
        .iter()
        .copied()
        .chain([key])
        .map(|key| chain(&names, key))
        .max()
        .unwrap_or_default();
    if longest > CHAIN_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "rule",
            format!("segments name each other in chains of at most {CHAIN_MAX}"),
        ));
    }
    Ok(())
}

/// How many segments stand in the longest chain that begins with this one. There is no circle.
fn chain(names: &BTreeMap<&str, BTreeSet<&str>>, key: &str) -> usize {
    let mut edge: BTreeSet<&str> = [key].into();
    let mut length = 0;
    while !edge.is_empty() {
        length += 1;
        edge = edge
            .iter()
            .filter_map(|key| names.get(key))
            .flatten()
            .copied()
            .collect();
    }
    length
}
