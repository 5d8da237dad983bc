//! Reads of the room's tables.

use std::collections::{BTreeSet, HashMap, HashSet};

use entity::{event, metric, posthog_connection};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use crate::base::{LogPlace, Result, Scope};

/// How far the forwarder's backlog is counted: beyond it the exact figure helps nobody, and costs a scan.
pub(super) const BEHIND_MAX: u64 = 1_000;

/// The tenant's metrics with these keys, by key.
pub(super) async fn metrics_by_key(
    scope: &Scope,
    keys: BTreeSet<&str>,
) -> Result<HashMap<String, metric::Model>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = scope
        .find::<metric::Entity>()
        .filter(metric::Column::Key.is_in(keys))
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
}

/// Which of these keys are those of metrics of the tenant.
pub async fn known_metrics(scope: &Scope, keys: BTreeSet<&str>) -> Result<HashSet<String>> {
    Ok(metrics_by_key(scope, keys).await?.into_keys().collect())
}

/// Events that the forwarder has not sent yet, counted up to [`BEHIND_MAX`].
pub(super) async fn behind(scope: &Scope, row: &posthog_connection::Model) -> Result<usize> {
    let place = LogPlace {
        xid: row.forwarded_xid,
        seq: row.forwarded_seq,
    };
    let left: Vec<(i64,)> = scope
        .log_after(place)
        .select_only()
        .column(event::Column::Seq)
        .limit(BEHIND_MAX)
        .tuples()
        .await?;
    Ok(left.len())
}
