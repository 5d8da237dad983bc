//! What is not done at once: merges that a person should look at, and values that joined too much to be anybody's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use entity::{
    contact_evidence, contact_identifier, identity_block, merge_proposal,
    merge_record::{self, Kind as RecordKind, Mode},
};
use partition::{
    Partition,
    risk::{Blast, Decision, HOT_VALUE_WINDOW, is_hot},
};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::json;

use super::{
    Graph, Hand, IdentifierId, Joined,
    evidence::{Pair, Part},
};
use crate::base::{Result, Tx};

/// Identifiers of one contact, whatever its merges: beyond the hundred from which on a merge is reviewed, so that there is
/// something to review.
pub(super) const COMPONENT_MAX: usize = 500;

/// To how many others one identifier may be tied. One that names more is a default or a kiosk, and stands for nobody; a user's
/// whom the backend vouches for just gathers no more.
const DEGREE_MAX: usize = 500;

/// How long a proposal waits for an answer.
const PROPOSAL_LIFE: TimeDelta = TimeDelta::days(30);

/// Over how many hours the usual rate of merges is taken.
const USUAL_HOURS: usize = 24 * 7;

/// Merges that are read for it.
const USUAL_READ_MAX: u64 = 20_000;

/// A value that stands for nobody from now on.
#[derive(Clone, Debug)]
pub(in crate::contact::commands) struct Hot {
    pub(in crate::contact::commands) identifier: IdentifierId,
    pub(in crate::contact::commands) reason: String,
}

/// Two identifiers that stay apart until a person decides.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) pair: Pair,
    pub(super) proposal: entity::Id<merge_proposal::Entity>,
}

impl Graph {
    pub(in crate::contact::commands) fn block(&mut self, id: IdentifierId, reason: String) {
        let row = self.identifiers.get_mut(&id).expect("it was read");
        row.blocked = true;
        self.changed_identifiers.insert(id);
        self.stirred.insert(id);
        self.hot.push(Hot {
            identifier: id,
            reason,
        });
    }

    /// Blocks what is tied to too many; says whether anything was.
    pub(super) fn block_hubs(&mut self, members: &BTreeSet<IdentifierId>) -> bool {
        let mut degrees: BTreeMap<IdentifierId, BTreeSet<IdentifierId>> = BTreeMap::new();
        for pair in self.evidence.keys() {
            degrees.entry(pair.a).or_default().insert(pair.b);
            degrees.entry(pair.b).or_default().insert(pair.a);
        }
        let hubs: Vec<IdentifierId> = degrees
            .iter()
            .filter(|(id, ends)| ends.len() > DEGREE_MAX && members.contains(id))
            .map(|(id, _)| *id)
            .filter(|id| !self.identifiers[id].blocked)
            .collect();
        let mut blocked = false;
        for id in hubs {
            if self.is_vouched_for(id) {
                self.forget_new_evidence_of(id);
            } else {
                self.block(id, format!("it names more than {DEGREE_MAX} others"));
                blocked = true;
            }
        }
        blocked
    }

    fn forget_new_evidence_of(&mut self, id: IdentifierId) {
        let fresh: Vec<Pair> = self
            .shown_by
            .keys()
            .copied()
            .filter(|pair| pair.a == id || pair.b == id)
            .collect();
        for pair in fresh {
            self.evidence.remove(&pair);
            self.changed_evidence.remove(&pair);
            metrics::counter!("growthos_contact_evidence_dropped_total", "reason" => "degree")
                .increment(1);
        }
    }

    /// Blocks values that caused too many merges within the hour, those about to be made included; says whether anything was.
    pub(super) async fn block_hot(&mut self, tx: &Tx, joined: &[Joined]) -> Result<bool> {
        use merge_record::Column;
        let mut causes: BTreeMap<IdentifierId, u32> = BTreeMap::new();
        for join in joined.iter().filter(|join| join.mode == Mode::Auto) {
            for id in join.pair.iter().flat_map(|pair| [pair.a, pair.b]) {
                if !self.is_vouched_for(id) && !self.identifiers[&id].blocked {
                    *causes.entry(id).or_default() += 1;
                }
            }
        }
        if causes.is_empty() {
            return Ok(false);
        }
        let ids = || causes.keys().copied();
        let rows: Vec<(Option<IdentifierId>, Option<IdentifierId>)> = tx
            .find::<merge_record::Entity>()
            .filter(Column::CreatedAt.gt(tx.now() - HOT_VALUE_WINDOW))
            .filter(Column::Kind.eq(RecordKind::Merge))
            .filter(Column::Mode.eq(Mode::Auto))
            .filter(
                Condition::any()
                    .add(Column::AId.is_in(ids()))
                    .add(Column::BId.is_in(ids())),
            )
            .select_only()
            .column(Column::AId)
            .column(Column::BId)
            .tuples()
            .await?;
        for id in rows.into_iter().flat_map(|(a, b)| [a, b]).flatten() {
            if let Some(count) = causes.get_mut(&id) {
                *count += 1;
            }
        }
        let mut blocked = false;
        for (id, merges) in causes {
            if is_hot(merges) {
                self.block(id, format!("it caused {merges} merges within an hour"));
                blocked = true;
            }
        }
        Ok(blocked)
    }

    /// Keeps apart what a person should look at first, and proposes it; says whether there was anything.
    pub(super) async fn hold_back(
        &mut self,
        tx: &Tx,
        part: &Part,
        partition: &Partition,
        joined: &[Joined],
    ) -> Result<bool> {
        let risky: Vec<&Joined> = joined
            .iter()
            .filter(|join| join.mode == Mode::Auto && join.pair.is_some())
            .filter(|join| self.are_known(join.absorbed, join.survivor))
            .collect();
        if risky.is_empty() {
            return Ok(false);
        }
        let (last_hour, median) = rate(tx).await?;
        let mut held = false;
        for (at, join) in (0..).zip(risky) {
            let Some(pair) = join.pair else { continue };
            let node = part.ids.iter().position(|id| *id == pair.a);
            let component = node.map_or(0, |node| {
                let component = partition.component_of[node];
                partition.components[component].members.len()
            });
            let moved = self
                .identifiers
                .values()
                .filter(|row| row.contact_id == join.absorbed)
                .count();
            let blast = Blast {
                identifiers_joined: u32::try_from(moved).unwrap_or(u32::MAX),
                component,
                merges_last_hour: last_hour + at,
                median_hourly: median,
                ..Blast::default()
            };
            let Decision::Review(concern) = blast.decide() else {
                continue;
            };
            let id = tx.new_id();
            self.apart.insert((pair.a, pair.b));
            self.held.push(Held { pair, proposal: id });
            self.proposals.push(merge_proposal::ActiveModel {
                id: Set(id),
                tenant_id: Set(tx.tenant()),
                contact_a_id: Set(join.survivor),
                contact_b_id: Set(join.absorbed),
                a_id: Set(pair.a),
                b_id: Set(pair.b),
                concern: Set(concern.code().to_owned()),
                blast: Set(json!({
                    "identifiersJoined": blast.identifiers_joined,
                    "identifiers": component,
                    "mergesLastHour": blast.merges_last_hour,
                    "medianHourly": median,
                })),
                risk: Set(i64::try_from(blast.risk()).unwrap_or(i64::MAX)),
                state: Set(merge_proposal::State::NeedsReview),
                event_id: Set(self.evidence[&pair].event_id),
                created_at: Set(tx.now()),
                expires_at: Set(tx.now() + PROPOSAL_LIFE),
                decided_at: Set(None),
                decided_by: Set(None),
            });
            metrics::counter!("growthos_contact_merges_held_total", "concern" => concern.code())
                .increment(1);
            held = true;
        }
        Ok(held)
    }

    /// The blocks to write down for what became hot.
    pub(super) fn hot_blocks(&self, tx: &Tx, hand: &Hand) -> Vec<identity_block::ActiveModel> {
        let hot = self.hot.iter();
        hot.map(|hot| {
            let row: &contact_identifier::Model = &self.identifiers[&hot.identifier];
            identity_block::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                kind: Set(row.kind),
                value: Set(row.value.clone()),
                other_kind: Set(None),
                other_value: Set(None),
                reason: Set(Some(hot.reason.clone())),
                said_by: Set(match hand.mode {
                    Mode::Auto => "system".to_owned(),
                    Mode::Review | Mode::Manual => hand.said_by.clone(),
                }),
                created_at: Set(tx.now()),
            }
        })
        .collect()
    }

    /// Has an identifier stand for nobody, or for its contact again, as a person says.
    pub(in crate::contact::commands) fn set_blocked(&mut self, id: IdentifierId, blocked: bool) {
        if let Some(row) = self.identifiers.get_mut(&id) {
            row.blocked = blocked;
            self.changed_identifiers.insert(id);
            self.stirred.insert(id);
        }
    }

    /// Has what ties two identifiers count for nothing, or count again.
    pub(in crate::contact::commands) fn exclude_between(
        &mut self,
        one: IdentifierId,
        other: IdentifierId,
        excluded: bool,
    ) {
        let between: Vec<Pair> = self
            .evidence
            .iter()
            .filter(|(pair, _)| (pair.a, pair.b) == (one.min(other), one.max(other)))
            .filter(|(_, row)| row.standing != contact_evidence::Standing::Retired)
            .map(|(pair, _)| *pair)
            .collect();
        let standing = if excluded {
            contact_evidence::Standing::Excluded
        } else {
            contact_evidence::Standing::Active
        };
        for pair in between {
            self.stand(pair, standing);
        }
    }

    /// Has evidence count no more between two sides; gives the pairs.
    pub(in crate::contact::commands) fn retire_between(
        &mut self,
        one: &BTreeSet<IdentifierId>,
        other: &BTreeSet<IdentifierId>,
    ) -> BTreeSet<(IdentifierId, IdentifierId)> {
        let crosses = |pair: &Pair| {
            one.contains(&pair.a) && other.contains(&pair.b)
                || one.contains(&pair.b) && other.contains(&pair.a)
        };
        let crossing: Vec<Pair> = self.evidence.keys().copied().filter(crosses).collect();
        for pair in &crossing {
            self.stand(*pair, contact_evidence::Standing::Retired);
        }
        crossing.into_iter().map(|pair| (pair.a, pair.b)).collect()
    }
}

/// The tenant's merges of the last hour, and the median of its hours.
async fn rate(tx: &Tx) -> Result<(u32, u32)> {
    use merge_record::Column;
    let since = tx.now() - TimeDelta::hours(i64::try_from(USUAL_HOURS).unwrap_or(i64::MAX));
    let times: Vec<(chrono::DateTime<chrono::Utc>,)> = tx
        .find::<merge_record::Entity>()
        .filter(Column::CreatedAt.gt(since))
        .filter(Column::Kind.eq(RecordKind::Merge))
        .filter(Column::Mode.eq(Mode::Auto))
        .filter(Column::Known.eq(true))
        .order_by_desc(Column::CreatedAt)
        .limit(USUAL_READ_MAX)
        .select_only()
        .column(Column::CreatedAt)
        .tuples()
        .await?;
    let mut hours = vec![0_u32; USUAL_HOURS];
    for (at,) in times {
        let ago = usize::try_from((tx.now() - at).num_hours()).unwrap_or(0);
        if let Some(hour) = hours.get_mut(ago) {
            *hour += 1;
        }
    }
    let last = hours[0];
    hours.sort_unstable();
    Ok((last, hours[USUAL_HOURS / 2]))
}
