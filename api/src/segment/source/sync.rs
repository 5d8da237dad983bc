//! Fetches what PostHog knows, and tells segments of what changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    ContactId, contact,
    segment::{self, State},
    segment_source::{self, Model},
    segment_source_member,
};
use sea_orm::{
    ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, ExprTrait, OnConflict},
};

use super::{SourceId, segments_of};
use crate::{
    base::{Actor, Cx, Env, Error, Result, Tx},
    contact as contact_room,
    posthog::{Audience, IDS_AT_ONCE, Posthog},
    segment::{
        commands::begin_walk,
        membership::{self, ASKED_AT_ONCE, Doubts, Reason},
        queries::rule_of,
        rules::Rule,
    },
};

/// Sources that a process fetches side by side, of all tenants: each may hold a page of ids in memory.
const SOURCES_AT_ONCE: u64 = 4;
/// How long a process has for one: it fetches hundreds of pages in it.
const LEASE: TimeDelta = TimeDelta::minutes(15);
/// How old what PostHog told may be. A tenant with many sources has each asked for less often, a query a minute in all.
const SYNC_EVERY: TimeDelta = TimeDelta::minutes(15);
const EACH_COSTS: TimeDelta = TimeDelta::minutes(1);
/// The wait after a first failure; each further one doubles it, up to what there is between two successes.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(15);
/// Ids that are looked up together.
const IDS_LOOKED_UP: usize = 5_000;
/// Contacts of a source: what a process can hold of several at a time.
const CONTACTS_MAX: usize = 2_000_000;
const FAILURE_CHARS_MAX: usize = 300;

/// Fetches some of what is due; gives how many sources.
pub(in crate::segment) async fn due(env: &Arc<Env>) -> Result<usize> {
    use segment_source::Column;
    let now = env.clock.now();
    let system = env.db.system();
    let waiting = system
        .find::<segment_source::Entity>()
        .filter(Column::DueAt.lte(now))
        .order_by_asc(Column::DueAt)
        .limit(SOURCES_AT_ONCE)
        .all()
        .await?;
    let mut taken = vec![];
    for row in waiting {
        let rows = system
            .update_many::<segment_source::Entity>(|update| {
                update
                    .col_expr(Column::DueAt, Expr::value(now + LEASE))
                    .col_expr(Column::Round, Expr::col(Column::Round).add(1))
                    .filter(Column::Id.eq(row.id))
                    .filter(Column::DueAt.lte(now))
            })
            .await?;
        taken.extend(rows);
    }
    // Side by side: one tenant's PostHog may be slow.
    let served = taken.iter().map(async |source| {
        let cx = Cx::new(Arc::clone(env), source.tenant_id, Actor::System);
        if let Err(error) = serve(&cx, source).await {
            tracing::error!(source = %source.id.uuid(), %error, "a segment's source was not served; it is when the lease runs out");
        }
    });
    futures_util::future::join_all(served).await;
    Ok(taken.len())
}

async fn serve(cx: &Cx, source: &Model) -> Result<()> {
    if cx.write(async |tx| forgotten(tx, source.id).await).await? {
        return Ok(());
    }
    let outcome = match sync(cx, source).await {
        Ok(size) => {
            let done = cx.write(async |tx| synced(tx, source, size).await).await;
            done.map(|()| "synced")
        }
        Err(error) => {
            let failure = error.to_string();
            tracing::warn!(source = %source.id.uuid(), %failure, "PostHog did not tell who is in a segment's source");
            let failed = cx
                .write(async |tx| failed(tx, source, &failure).await)
                .await;
            failed.map(|()| "failed")
        }
    }?;
    metrics::counter!("growthos_segment_source_syncs_total", "outcome" => outcome).increment(1);
    cx.write(async |tx| start_waiting(tx, source.id).await)
        .await
}

/// Deletes a source that no rule names any more.
async fn forgotten(tx: &Tx, id: SourceId) -> Result<bool> {
    let held = tx
        .find::<segment_source::Entity>()
        .filter(segment_source::Column::Id.eq(id))
        .guarded()
        .all()
        .await?;
    if held.is_empty() {
        return Ok(true);
    }
    // Asked once the row is held: a rule that is just saved holds it, too.
    let is_named = !segments_of(tx, id).await?.is_empty();
    if !is_named {
        tx.delete(id).await?;
    }
    Ok(!is_named)
}

/// Fetches all of a source and writes down who is in it; gives how many they are.
async fn sync(cx: &Cx, source: &Model) -> Result<usize> {
    let rule: Rule = serde_json::from_value(source.rule.clone())?;
    let posthog = cx.env().kept.get::<Posthog>()?;
    let mut seen: HashSet<ContactId> = HashSet::new();
    if let Rule::Flag(flag) = &rule {
        let mut after = None;
        loop {
            let contacts = some_contacts(cx, after).await?;
            let Some(last) = contacts.last().copied() else {
                break;
            };
            let values = posthog.decided(cx, &flag.key, &contacts).await?;
            let is_on = |contact: &ContactId| {
                values.get(contact).map(|value| {
                    value.enabled && (flag.variant.is_none() || flag.variant == value.variant)
                })
            };
            let undecided: Vec<ContactId> = contacts
                .iter()
                .copied()
                .filter(|contact| is_on(contact).is_none())
                .collect();
            let mut inside: Vec<ContactId> = contacts
                .into_iter()
                .filter(|contact| is_on(contact) == Some(true))
                .collect();
            inside.extend(members_among(cx, source.id, &undecided).await?);
            seen.extend(&inside);
            take_in(cx, source, &inside).await?;
            after = Some(last);
        }
    } else {
        let mut after = String::new();
        loop {
            let ids = posthog.audience(cx, &audience(&rule)?, &after).await?;
            for ids in ids.chunks(IDS_LOOKED_UP) {
                let named = contact_room::of_distinct_ids(&cx.db(), ids).await?;
                let roots: HashSet<ContactId> = named.into_values().collect();
                let fresh: Vec<ContactId> = roots.difference(&seen).copied().collect();
                if seen.len() + fresh.len() > CONTACTS_MAX {
                    return Err(Error::invalid(
                        "rule",
                        format!("more than {CONTACTS_MAX} contacts"),
                    ));
                }
                for contacts in fresh.chunks(ASKED_AT_ONCE) {
                    take_in(cx, source, contacts).await?;
                }
                seen.extend(fresh);
            }
            match ids.last() {
                Some(last) if ids.len() == IDS_AT_ONCE => after.clone_from(last),
                _ => break,
            }
        }
    }
    while drop_some(cx, source).await? {}
    Ok(seen.len())
}

fn audience(rule: &Rule) -> Result<Audience<'_>> {
    match rule {
        Rule::Cohort(cohort) => Ok(Audience::Cohort(cohort.id)),
        Rule::Experiment(experiment) => Ok(Audience::Exposed {
            flag: &experiment.flag_key,
            variant: &experiment.variant,
        }),
        Rule::Hogql(hogql) => Ok(Audience::Query(&hogql.query)),
        other => Err(anyhow::anyhow!("{} asks nothing of PostHog", other.kind()).into()),
    }
}

async fn some_contacts(cx: &Cx, after: Option<ContactId>) -> Result<Vec<ContactId>> {
    let scope = cx.db();
    let mut rows = contact_room::listed(&scope);
    if let Some(after) = after {
        rows = rows.filter(contact::Column::Id.gt(after));
    }
    let ids: Vec<(ContactId,)> = rows
        .order_by_asc(contact::Column::Id)
        .limit(ASKED_AT_ONCE as u64)
        .select_only()
        .column(contact::Column::Id)
        .tuples()
        .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Which of these contacts the source has.
async fn members_among(cx: &Cx, id: SourceId, contacts: &[ContactId]) -> Result<Vec<ContactId>> {
    use segment_source_member::Column;
    let scope = cx.db();
    let uuids: Vec<_> = contacts.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(ContactId,)> = scope
        .find::<segment_source_member::Entity>()
        .filter(Column::SourceId.eq(id))
        .filter(scope.is_one_of::<segment_source_member::Entity>(Column::ContactId, &uuids))
        .select_only()
        .column(Column::ContactId)
        .tuples()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Writes down that contacts are in it, and asks about those that were not.
async fn take_in(cx: &Cx, source: &Model, contacts: &[ContactId]) -> Result<()> {
    use segment_source_member::{Column, Entity};
    if contacts.is_empty() {
        return Ok(());
    }
    cx.write(async |tx| {
        let uuids: Vec<_> = contacts.iter().map(|id| id.uuid()).collect();
        let known: Vec<(ContactId,)> = tx
            .find::<Entity>()
            .filter(Column::SourceId.eq(source.id))
            .filter(tx.is_one_of::<Entity>(Column::ContactId, &uuids))
            .select_only()
            .column(Column::ContactId)
            .tuples()
            .await?;
        let known: HashSet<ContactId> = known.into_iter().map(|(id,)| id).collect();
        let rows = contacts
            .iter()
            .map(|contact| segment_source_member::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                source_id: Set(source.id),
                contact_id: Set(*contact),
                round: Set(source.round),
                created_at: Set(tx.now()),
            });
        // Another process may be a round ahead, where this one's lease ran out.
        let again = OnConflict::columns([Column::TenantId, Column::ContactId, Column::SourceId])
            .update_column(Column::Round)
            .action_and_where(Expr::col((Entity, Column::Round)).lt(source.round))
            .to_owned();
        tx.insert_all(rows.collect(), Some(again)).await?;
        let fresh = contacts.iter().filter(|contact| !known.contains(contact));
        ask_about(tx, source.id, fresh.copied().collect()).await
    })
    .await
}

/// Takes out some of those that PostHog did not tell of this time; says whether there may be others.
async fn drop_some(cx: &Cx, source: &Model) -> Result<bool> {
    use segment_source_member::{Column, Entity};
    cx.write(async |tx| {
        let rows = tx
            .find::<Entity>()
            .filter(Column::SourceId.eq(source.id))
            .filter(Column::Round.lt(source.round))
            .limit(ASKED_AT_ONCE as u64)
            .all()
            .await?;
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        tx.delete_many(&ids).await?;
        let contacts: Vec<ContactId> = rows.iter().map(|row| row.contact_id).collect();
        let roots = contact_room::roots(tx, &contacts).await?;
        let gone = roots.values().map(|root| root.id).collect();
        ask_about(tx, source.id, gone).await?;
        Ok(rows.len() == ASKED_AT_ONCE)
    })
    .await
}

/// Asks the segments that name the source about contacts.
async fn ask_about(tx: &Tx, id: SourceId, contacts: BTreeSet<ContactId>) -> Result<()> {
    let doubts: Doubts<'_> = segments_of(tx, id)
        .await?
        .into_iter()
        .map(|segment| {
            let contacts = contacts.iter().map(|contact| (*contact, None));
            (segment, contacts.collect())
        })
        .collect();
    membership::settle(tx, doubts, Reason::Synced).await
}

async fn synced(tx: &Tx, source: &Model, size: usize) -> Result<()> {
    let next = tx.now() + interval(tx).await?;
    change(
        tx,
        source,
        segment_source::ActiveModel {
            size: Set(i64::try_from(size).unwrap_or(i64::MAX)),
            synced_at: Set(Some(tx.now())),
            due_at: Set(next),
            attempt: Set(0),
            failure: Set(None),
            ..Default::default()
        },
    )
    .await
}

async fn failed(tx: &Tx, source: &Model, failure: &str) -> Result<()> {
    let attempt = source.attempt + 1;
    let longest = interval(tx).await?;
    let wait = RETRY_AFTER * 2_i32.pow(attempt.clamp(1, 10).cast_unsigned() - 1);
    change(
        tx,
        source,
        segment_source::ActiveModel {
            attempt: Set(attempt),
            failure: Set(Some(failure.chars().take(FAILURE_CHARS_MAX).collect())),
            due_at: Set(tx.now() + Ord::min(wait, longest)),
            ..Default::default()
        },
    )
    .await
}

/// What this round came to, unless another process began a later one.
async fn change(tx: &Tx, source: &Model, row: segment_source::ActiveModel) -> Result<()> {
    tx.update_many::<segment_source::Entity>(|update| {
        update
            .set(row)
            .filter(segment_source::Column::Id.eq(source.id))
            .filter(segment_source::Column::Round.eq(source.round))
    })
    .await?;
    Ok(())
}

async fn interval(tx: &Tx) -> Result<TimeDelta> {
    let sources = tx.find::<segment_source::Entity>().count().await?;
    let sources = i32::try_from(sources).unwrap_or(i32::MAX);
    Ok(Ord::max(SYNC_EVERY, EACH_COSTS * sources))
}

/// Has contacts asked for the segments whose sources were all fetched by now.
async fn start_waiting(tx: &Tx, id: SourceId) -> Result<()> {
    let segments = segments_of(tx, id).await?;
    let held = membership::lock(tx, &segments).await?;
    let waiting: Vec<segment::Model> = held
        .into_values()
        .filter(|segment| segment.state == State::Waiting)
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let known = tx.find::<segment_source::Entity>().all().await?;
    let synced: HashMap<SourceId, Option<DateTime<Utc>>> = known
        .into_iter()
        .map(|row| (row.id, row.synced_at))
        .collect();
    for segment in waiting {
        let Some(rule) = rule_of(&segment)? else {
            continue;
        };
        let all = super::parts(tx.tenant(), &rule)?;
        let ready = all
            .iter()
            .all(|(id, _)| synced.get(id).is_some_and(Option::is_some));
        if ready {
            let mut row = segment::ActiveModel {
                id: sea_orm::ActiveValue::Unchanged(segment.id),
                ..Default::default()
            };
            begin_walk(tx, &mut row);
            tx.update(row).await?;
        }
    }
    Ok(())
}
