//! What rules ask of PostHog: sets of contacts that are fetched on a schedule and kept, so that a rule asks the database alone.
//!
//! A source is one such part of a rule; segments whose rules say the same share it. It is fetched whole, and what changed since the
//! last time is asked again of the segments that name it. A segment waits until each of its sources was fetched once.

mod sync;

use std::collections::BTreeSet;

use entity::{
    Id, TenantId, segment, segment_source,
    segment_trigger::{self, Kind},
};
use sea_orm::{
    ColumnTrait, QueryFilter, QuerySelect, Set,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{
    membership::SegmentId,
    rules::{Rule, Trigger},
};
use crate::base::{Actor, Error, ErrorCode, Result, Scope, Tx};

pub(super) use sync::due;

pub(super) type SourceId = Id<segment_source::Entity>;

/// Sources of a tenant: each costs its PostHog a query every quarter of an hour.
const SOURCES_MAX: usize = 100;

/// The scope that asks PostHog.
const ANALYTICS: &str = "analytics:read";

/// The id of what a part of a rule asks of PostHog.
pub(super) fn id(tenant: TenantId, rule: &Rule) -> Result<SourceId> {
    let rule = serde_json::to_vec(rule)?;
    Ok(Id::from_uuid(Uuid::new_v5(&tenant.uuid(), &rule)))
}

/// The parts of a rule that only PostHog can answer, by their sources' ids.
fn parts(tenant: TenantId, rule: &Rule) -> Result<Vec<(SourceId, &Rule)>> {
    let parts = rule.walk().into_iter().map(|(_, part)| part);
    parts
        .filter(|part| part.is_posthogs())
        .map(|part| Ok((id(tenant, part)?, part)))
        .collect()
}

/// What leads from a rule's sources to its segment.
pub(super) fn triggers(tenant: TenantId, rule: &Rule) -> Result<Vec<Trigger>> {
    let parts = parts(tenant, rule)?.into_iter();
    let triggers = parts.map(|(id, _)| Trigger::new(Kind::Source, &id.uuid().to_string()));
    Ok(triggers.collect())
}

/// Has what a rule asks of PostHog fetched; says whether all of it was before. Fails for who may not ask PostHog.
pub(super) async fn ensure(tx: &Tx, rule: &Rule) -> Result<bool> {
    use segment_source::Column;
    let parts = parts(tx.tenant(), rule)?;
    if parts.is_empty() {
        return Ok(true);
    }
    may_ask(tx.actor())?;
    let rows = parts.iter().map(|(id, part)| {
        Ok(segment_source::ActiveModel {
            id: Set(*id),
            tenant_id: Set(tx.tenant()),
            rule: Set(serde_json::to_value(part)?),
            round: Set(0),
            size: Set(0),
            synced_at: Set(None),
            due_at: Set(tx.now()),
            attempt: Set(0),
            failure: Set(None),
            created_at: Set(tx.now()),
        })
    });
    // A source that nobody names any more may be deleted just now: its row is held, so it is made again. One that could not be
    // fetched is tried at once.
    let due = Expr::cust(
        r#"CASE WHEN "segment_source"."synced_at" IS NULL THEN "excluded"."due_at" ELSE "segment_source"."due_at" END"#,
    );
    let again = OnConflict::column(Column::Id)
        .value(Column::DueAt, due)
        .to_owned();
    tx.insert_all(rows.collect::<Result<_>>()?, Some(again))
        .await?;
    let known = tx.find::<segment_source::Entity>().all().await?;
    if known.len() > SOURCES_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "rule",
            format!("all rules together ask at most {SOURCES_MAX} things of PostHog"),
        ));
    }
    let ids: BTreeSet<SourceId> = parts.iter().map(|(id, _)| *id).collect();
    let synced = known
        .iter()
        .filter(|row| ids.contains(&row.id) && row.synced_at.is_some());
    Ok(synced.count() == ids.len())
}

/// Fails for a rule that asks PostHog for what was never fetched, and for who may not ask PostHog.
pub(super) async fn can_answer(scope: &Scope, actor: &Actor, rule: &Rule) -> Result<()> {
    let parts = parts(scope.tenant(), rule)?;
    if parts.is_empty() {
        return Ok(());
    }
    may_ask(actor)?;
    let ids: BTreeSet<SourceId> = parts.iter().map(|(id, _)| *id).collect();
    let known = scope
        .find::<segment_source::Entity>()
        .filter(segment_source::Column::Id.is_in(ids.iter().copied()))
        .filter(segment_source::Column::SyncedAt.is_not_null())
        .count()
        .await?;
    if known < ids.len() as u64 {
        return Err(Error::invalid(
            "rule",
            "PostHog is asked for it when a segment with this rule is saved; until then nothing can be estimated",
        ));
    }
    Ok(())
}

fn may_ask(actor: &Actor) -> Result<()> {
    if actor.holds(ANALYTICS) || matches!(actor, Actor::System) {
        return Ok(());
    }
    Err(Error::invalid(
        "rule",
        format!("what PostHog knows takes the scope {ANALYTICS}"),
    ))
}

/// The ids of the sources that a segment's rule names, in the rule's order.
pub fn source_ids(segment: &segment::Model) -> Result<Vec<SourceId>> {
    let Some(rule) = super::queries::rule_of(segment)? else {
        return Ok(vec![]);
    };
    let parts = parts(segment.tenant_id, &rule)?;
    Ok(parts.into_iter().map(|(id, _)| id).collect())
}

/// The segments whose rules name a source.
async fn segments_of(scope: &Scope, id: SourceId) -> Result<BTreeSet<SegmentId>> {
    use segment_trigger::Column;
    let ids: Vec<(SegmentId,)> = scope
        .find::<segment_trigger::Entity>()
        .filter(Column::Kind.eq(Kind::Source))
        .filter(Column::Name.eq(id.uuid().to_string()))
        .select_only()
        .column(Column::SegmentId)
        .tuples()
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
