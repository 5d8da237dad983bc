//! What happens to contacts, led to the segments whose answer it can change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use entity::{
    ContactId, Id, account, contact, event,
    segment_trigger::{self, Kind},
};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QuerySelect, sea_query::ExprTrait};
use serde_json::Value;

use super::{
    membership::{self, ASKED_AT_ONCE, Doubts, Reason, SegmentId},
    rules::Trigger,
};
use crate::{
    base::{Cx, Result, Tx},
    contact::{self as contact_room, ACCOUNT_CHANGED},
};

/// An event that comes this soon after its contact was made may be its first: both are written in one transaction, whose clock
/// is read more than once. Too long costs a few questions, too short would leave a contact out.
const NEW_FOR: TimeDelta = TimeDelta::minutes(1);

const MERGED: &str = "contact.merged";

/// Settles a batch in one transaction; where that fails, one event after the other, up to the first that fails again. The worker
/// brings back what comes behind it.
pub(super) async fn hear(cx: &Cx, events: &[event::Model]) -> Vec<Result<()>> {
    if on_events(cx, events).await.is_ok() {
        return events.iter().map(|_| Ok(())).collect();
    }
    let mut answers: Vec<Result<()>> = Vec::with_capacity(events.len());
    for event in events {
        answers.push(if answers.last().is_some_and(Result::is_err) {
            Err(anyhow::anyhow!("an event before this one failed").into())
        } else {
            on_events(cx, std::slice::from_ref(event)).await
        });
    }
    answers
}

async fn on_events(cx: &Cx, events: &[event::Model]) -> Result<()> {
    on_accounts(cx, events).await?;
    let told: Vec<Told<'_>> = events.iter().filter_map(Told::of).collect();
    if told.is_empty() {
        return Ok(());
    }
    let triggers: BTreeSet<&Trigger> = told.iter().flat_map(|told| &told.triggers).collect();
    let concerned = concerned(cx, &triggers).await?;
    if concerned.is_empty() && !told.iter().any(|told| told.is_merge) {
        return Ok(());
    }
    cx.write(async |tx| settle(tx, &told, &concerned).await)
        .await
}

/// Has the members of accounts whose traits changed asked again, soon: they may be many.
async fn on_accounts(cx: &Cx, events: &[event::Model]) -> Result<()> {
    let changed = events
        .iter()
        .filter(|event| event.name == ACCOUNT_CHANGED && event.source == contact_room::MODULE.name);
    let accounts: BTreeSet<Id<account::Entity>> = changed
        .filter_map(|event| Id::parse(event.properties.get("accountId")?.as_str()?))
        .collect();
    if accounts.is_empty() {
        return Ok(());
    }
    let trigger = Trigger::new(Kind::Account, "");
    let concerned = concerned(cx, &BTreeSet::from([&trigger])).await?;
    let Some(segments) = concerned.get(&trigger) else {
        return Ok(());
    };
    let accounts: Vec<_> = accounts.into_iter().collect();
    let members = contact_room::account_members_of(&cx.db(), &accounts).await?;
    let members: Vec<ContactId> = members.into_iter().collect();
    for some in members.chunks(ASKED_AT_ONCE) {
        let some = some.iter().copied().collect();
        cx.write(async |tx| membership::make_due_now(tx, segments, &some).await)
            .await?;
    }
    Ok(())
}

/// An event of somebody, and what it can change.
struct Told<'a> {
    event: &'a event::Model,
    contact: ContactId,
    triggers: Vec<Trigger>,
    /// It tells that the contact absorbed another.
    is_merge: bool,
}

impl<'a> Told<'a> {
    fn of(event: &'a event::Model) -> Option<Self> {
        let contact = event.contact_id?;
        let mut triggers = vec![
            Trigger::new(Kind::Event, &event.name),
            Trigger::new(Kind::Anybody, ""),
        ];
        if event.caused_by.is_none() {
            triggers.push(Trigger::new(Kind::Identifier, ""));
        }
        let properties = &event.properties;
        for part in ["$set", "$set_once"] {
            let keys = properties.get(part).and_then(Value::as_object);
            let keys = keys.into_iter().flatten();
            triggers.extend(keys.map(|(key, _)| Trigger::new(Kind::Trait, key)));
        }
        let unset = properties.get("$unset").and_then(Value::as_array);
        let unset = unset.into_iter().flatten().filter_map(Value::as_str);
        triggers.extend(unset.map(|key| Trigger::new(Kind::Trait, key)));
        let is_merge = event.name == MERGED && event.source == contact_room::MODULE.name;
        Some(Self {
            event,
            contact,
            triggers,
            is_merge,
        })
    }
    /// Whether the contact may not have been there before the event.
    fn may_be_first(&self, root: &contact::Model) -> bool {
        root.created_at + NEW_FOR > self.event.received_at
    }
}

/// The segments whose rules each of the triggers can change.
async fn concerned(
    cx: &Cx,
    triggers: &BTreeSet<&Trigger>,
) -> Result<HashMap<Trigger, Vec<SegmentId>>> {
    use segment_trigger::Column;
    let mut names: BTreeMap<Kind, Vec<&str>> = BTreeMap::new();
    for trigger in triggers {
        names.entry(trigger.kind).or_default().push(&trigger.name);
    }
    let any = names
        .into_iter()
        .fold(Condition::any(), |any, (kind, names)| {
            any.add(Column::Kind.eq(kind).and(Column::Name.is_in(names)))
        });
    let rows: Vec<(Kind, String, SegmentId)> = cx
        .db()
        .find::<segment_trigger::Entity>()
        .filter(any)
        .select_only()
        .columns([Column::Kind, Column::Name, Column::SegmentId])
        .tuples()
        .await?;
    let mut concerned: HashMap<Trigger, Vec<SegmentId>> = HashMap::new();
    for (kind, name, segment) in rows {
        concerned
            .entry(Trigger { kind, name })
            .or_default()
            .push(segment);
    }
    Ok(concerned)
}

async fn settle(
    tx: &Tx,
    told: &[Told<'_>],
    concerned: &HashMap<Trigger, Vec<SegmentId>>,
) -> Result<()> {
    let named: BTreeSet<ContactId> = told.iter().map(|told| told.contact).collect();
    let named: Vec<ContactId> = named.into_iter().collect();
    let roots = contact_room::roots(tx, &named).await?;
    // Of a merged contact anything may be another now.
    let merges = told.iter().any(|told| told.is_merge);
    let all = if merges {
        membership::all_segments(tx).await?
    } else {
        vec![]
    };
    let mut doubts = Doubts::new();
    for told in told {
        // Whoever is not there any more is in no segment.
        let Some(root) = roots.get(&told.contact) else {
            continue;
        };
        let mut doubt = |segments: &[SegmentId]| {
            for segment in segments {
                doubts
                    .entry(*segment)
                    .or_default()
                    .insert(root.id, Some(told.event));
            }
        };
        if told.is_merge {
            doubt(&all);
            continue;
        }
        for trigger in &told.triggers {
            if trigger.kind == Kind::Anybody && !told.may_be_first(root) {
                continue;
            }
            doubt(concerned.get(trigger).map_or(&[], Vec::as_slice));
        }
    }
    membership::settle(tx, doubts, Reason::Event).await
}
