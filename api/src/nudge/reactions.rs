//! What this room does on what contacts do: decides about each nudge that waits for it, and offers.

use std::collections::{HashMap, HashSet};

use entity::{ContactId, EventId, Id, event, nudge, nudge_decision, nudge_delivery, nudge_version};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Set};

use super::{
    ARCHIVED, OFFERED, SOURCE, commands, queries,
    rules::{self, Condition as Ask, Verdict},
    stream::told_once,
};
use crate::{
    base::{Cx, Error, NewEvent, Result, Tx},
    contact as contact_room,
};

/// Decides about a batch in one transaction; where that fails, about one event after the other, up to the
/// first that fails again. The worker brings back what comes behind it.
pub(super) async fn hear(cx: &Cx, events: &[event::Model]) -> Vec<Result<()>> {
    let together = offer(cx, events).await.is_ok();
    let mut answers: Vec<Result<()>> = Vec::with_capacity(events.len());
    for event in events {
        answers.push(if answers.last().is_some_and(Result::is_err) {
            Err(anyhow::anyhow!("an event before this one failed").into())
        } else if together {
            on_archived(cx, event).await
        } else {
            on_event(cx, event).await
        });
    }
    answers
}

async fn on_event(cx: &Cx, event: &event::Model) -> Result<()> {
    offer(cx, std::slice::from_ref(event)).await?;
    on_archived(cx, event).await
}

/// An archived nudge's open deliveries are taken back, some at a time.
async fn on_archived(cx: &Cx, event: &event::Model) -> Result<()> {
    if event.name != ARCHIVED || event.source != SOURCE {
        return Ok(());
    }
    let id = event
        .properties
        .get("nudgeId")
        .and_then(serde_json::Value::as_str);
    let Some(id) = id.and_then(Id::<nudge::Entity>::parse) else {
        return Ok(());
    };
    let Some(nudge) = cx.db().get(id).await? else {
        return Ok(());
    };
    while cx
        .write(async |tx| commands::withdraw_some(tx, &nudge, "archived", event).await)
        .await?
    {}
    Ok(())
}

/// A live version that waits for an event, and the conditions it asks of it.
struct Waiting {
    version: nudge_version::Model,
    conditions: Vec<Ask>,
}

/// An event that meets a live version.
struct Candidate<'a> {
    event: &'a event::Model,
    waiting: &'a Waiting,
    contact: ContactId,
}

/// Decides about `events`, in their order, in one transaction. A batch that nothing waits for costs one query.
async fn offer(cx: &Cx, events: &[event::Model]) -> Result<()> {
    let names: HashSet<_> = events
        .iter()
        .filter(|event| event.contact_id.is_some())
        .map(|event| event.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = names.into_iter().collect();
    let waiting = queries::live_versions(&cx.db(), &names)
        .await?
        .into_iter()
        .map(|version| {
            let conditions = serde_json::from_value(version.conditions.clone())?;
            Ok(Waiting {
                version,
                conditions,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let candidates: Vec<_> = events
        .iter()
        .flat_map(|event| {
            waiting
                .iter()
                .filter_map(move |waiting| candidate(event, waiting))
        })
        .collect();
    if candidates.is_empty() {
        return Ok(());
    }
    cx.write(async |tx| decide(tx, &candidates).await).await
}

/// An event that does not meet the conditions is no candidate, and nothing is recorded of it: the nudge
/// never was about it.
fn candidate<'a>(event: &'a event::Model, waiting: &'a Waiting) -> Option<Candidate<'a>> {
    let contact = event.contact_id?;
    let meets = waiting.version.trigger_event == event.name
        && waiting
            .conditions
            .iter()
            .all(|condition| condition.holds(&event.properties));
    meets.then_some(Candidate {
        event,
        waiting,
        contact,
    })
}

async fn decide(tx: &Tx, candidates: &[Candidate<'_>]) -> Result<()> {
    let running = running(tx, candidates).await?;
    let decided = decided(tx, candidates).await?;
    let contacts: Vec<_> = unique(candidates.iter().map(|candidate| candidate.contact));
    let roots = contact_room::roots(tx, &contacts).await?;
    let mut open: Vec<(&Candidate<'_>, ContactId, &nudge::Model)> = vec![];
    for candidate in candidates {
        let version = &candidate.waiting.version;
        if decided.contains(&(version.nudge_id, candidate.event.id)) {
            continue;
        }
        // Archived, or another version published, since the versions were read.
        let Some(nudge) = running.get(&version.id) else {
            continue;
        };
        let Some(root) = roots.get(&candidate.contact) else {
            // No decision can be recorded of who is not there.
            metrics::counter!("growthos_nudge_skips_total", "reason" => "contact_unknown")
                .increment(1);
            continue;
        };
        open.push((candidate, root.id, nudge));
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut used = used(tx, &open).await?;
    let mut decisions = vec![];
    let mut deliveries = vec![];
    let mut told = vec![];
    for (candidate, root, nudge) in open {
        let Candidate { event, waiting, .. } = candidate;
        let version = &waiting.version;
        let used = used.entry((nudge.id, root)).or_default();
        let verdict = rules::decide(version, event, *used, tx.now());
        decisions.push(nudge_decision::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            nudge_id: Set(nudge.id),
            nudge_version_id: Set(version.id),
            contact_id: Set(root),
            identifier_id: Set(event.identifier_id),
            event_id: Set(event.id),
            verdict: Set(verdict.text().to_owned()),
            created_at: Set(tx.now()),
        });
        if verdict == Verdict::Offered {
            *used += 1;
            let delivery = delivery(tx, event, version, root);
            told.push(offered(tx, event, nudge, &delivery));
            deliveries.push(delivery.into());
        }
    }
    // Another process may decide the same just now: the unit of work runs again and finds its decisions.
    tx.insert_all(decisions, None)
        .await
        .map_err(Error::contended)?;
    if !deliveries.is_empty() {
        tx.insert_all::<nudge_delivery::ActiveModel>(deliveries, None)
            .await?;
        tx.emit_all(told).await?;
    }
    Ok(())
}

/// The candidates' nudges that still run, by live version: held as they are until the transaction ends, so
/// that no offer slips in behind an archiving.
async fn running(
    tx: &Tx,
    candidates: &[Candidate<'_>],
) -> Result<HashMap<Id<nudge_version::Entity>, nudge::Model>> {
    let nudges = unique(
        candidates
            .iter()
            .map(|candidate| candidate.waiting.version.nudge_id),
    );
    let rows = tx
        .find::<nudge::Entity>()
        .filter(nudge::Column::Id.is_in(nudges))
        .filter(nudge::Column::ArchivedAt.is_null())
        .order_by_asc(nudge::Column::Id)
        .shared()
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((row.live_version_id?, row)))
        .collect())
}

/// What was decided already: events are told at least once.
async fn decided(
    tx: &Tx,
    candidates: &[Candidate<'_>],
) -> Result<HashSet<(Id<nudge::Entity>, EventId)>> {
    use nudge_decision::{Column, Entity};
    let nudges = unique(
        candidates
            .iter()
            .map(|candidate| candidate.waiting.version.nudge_id),
    );
    let events = unique(candidates.iter().map(|candidate| candidate.event.id));
    let rows = tx
        .find::<Entity>()
        .filter(Column::EventId.is_in(events))
        .filter(Column::NudgeId.is_in(nudges))
        .select_only()
        .column(Column::NudgeId)
        .column(Column::EventId)
        .tuples()
        .await?;
    Ok(rows.into_iter().collect())
}

/// How often each contact has used up, or reserved, one of a nudge's showings: what was displayed counts, and
/// so does an open offer, because it may be displayed at any moment.
async fn used(
    tx: &Tx,
    open: &[(&Candidate<'_>, ContactId, &nudge::Model)],
) -> Result<HashMap<(Id<nudge::Entity>, ContactId), i64>> {
    use nudge_delivery::{Column, Entity};
    let capped = || {
        open.iter()
            .filter(|(candidate, ..)| candidate.waiting.version.cap_per_contact.is_some())
    };
    let roots = unique(capped().map(|(_, root, _)| *root));
    if roots.is_empty() {
        return Ok(HashMap::new());
    }
    // An absorbed contact's events come in another lane than its root's, and two lanes that count at once would pass a cap.
    contact_room::hold(tx, &roots).await?;
    let nudges = unique(capped().map(|(.., nudge)| nudge.id));
    let members = queries::members(tx, &roots).await?;
    let counts = Condition::any()
        .add(Column::DisplayedAt.is_not_null())
        .add(queries::is_open(tx.now()));
    let rows: Vec<(Id<nudge::Entity>, ContactId, i64)> = tx
        .find::<Entity>()
        .filter(Column::NudgeId.is_in(nudges))
        .filter(Column::ContactId.is_in(members.keys().copied()))
        .filter(counts)
        .select_only()
        .column(Column::NudgeId)
        .column(Column::ContactId)
        .column_as(Column::Id.count(), "used")
        .group_by(Column::NudgeId)
        .group_by(Column::ContactId)
        .tuples()
        .await?;
    let mut used = HashMap::new();
    for (nudge, contact, count) in rows {
        let root = members.get(&contact).copied().unwrap_or(contact);
        *used.entry((nudge, root)).or_default() += count;
    }
    Ok(used)
}

fn delivery(
    tx: &Tx,
    event: &event::Model,
    version: &nudge_version::Model,
    contact: ContactId,
) -> nudge_delivery::Model {
    nudge_delivery::Model {
        id: rules::delivery_id(version.id, event.id),
        tenant_id: tx.tenant(),
        nudge_id: version.nudge_id,
        nudge_version_id: version.id,
        contact_id: contact,
        identifier_id: event.identifier_id,
        event_id: event.id,
        surface: version.surface.clone(),
        priority: version.priority,
        offered_at: tx.now(),
        received_at: None,
        displayed_at: None,
        clicked_at: None,
        completed_at: None,
        dismissed_at: None,
        snoozed_at: None,
        withdrawn_at: None,
        withdrawn_reason: None,
        expires_at: rules::expiry(version, tx.now()),
    }
}

fn offered(
    tx: &Tx,
    event: &event::Model,
    nudge: &nudge::Model,
    delivery: &nudge_delivery::Model,
) -> NewEvent {
    NewEvent::of_room(SOURCE, OFFERED, delivery.contact_id, tx.now())
        .with("deliveryId", delivery.id.to_string())
        .with("nudgeId", nudge.id.to_string())
        .with("nudgeKey", nudge.key.clone())
        .with("surface", delivery.surface.clone())
        .once(&told_once(OFFERED, delivery.id))
        .caused_by(event)
}

fn unique<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<_> = items.collect();
    items.sort();
    items.dedup();
    items
}
