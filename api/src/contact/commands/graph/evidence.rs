//! The stored graph as the crate `partition` takes it.

use std::collections::{BTreeMap, BTreeSet};

use entity::{
    ContactId,
    contact_evidence::{self, Standing},
    contact_identifier::{self, Kind, Verification},
    identity_policy,
};
use partition::{Edge, EdgeKind, Hold, Level, Node, Policy, Stitches};

use super::{Graph, IdentifierId};
use crate::{
    base::Result,
    contact::rules::{is_distinct_id_kind, is_role_account},
};

/// What tells one piece of evidence from another: repetitions are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::contact::commands) struct Pair {
    pub(super) a: IdentifierId,
    pub(super) b: IdentifierId,
    pub(super) kind: contact_evidence::Kind,
    pub(super) level: Verification,
}

impl Pair {
    pub(in crate::contact::commands) fn new(
        one: IdentifierId,
        other: IdentifierId,
        kind: contact_evidence::Kind,
        level: Verification,
    ) -> Self {
        Self {
            a: one.min(other),
            b: one.max(other),
            kind,
            level,
        }
    }
    pub(super) fn of(row: &contact_evidence::Model) -> Self {
        Self::new(row.a_id, row.b_id, row.kind, row.level)
    }
}

/// The smaller, the better it stands for its contact: as `partition` has it.
pub(super) fn merit(row: &contact_identifier::Model) -> impl Ord + use<> {
    (
        row.kind != Kind::ExternalId,
        row.first_seen_at,
        kind_of(row.kind),
        row.value.clone(),
    )
}

/// The nodes and edges to be resolved together.
pub(super) struct Part {
    pub(super) ids: Vec<IdentifierId>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// What each edge is made of; none where two kinds of one value are one by themselves.
    pub(super) pairs: Vec<Option<Pair>>,
    pub(super) apart: Vec<(usize, usize)>,
}

impl Graph {
    pub(super) fn part(&self, members: &BTreeSet<IdentifierId>) -> Part {
        let ids: Vec<IdentifierId> = members.iter().copied().collect();
        let place: BTreeMap<IdentifierId, usize> =
            ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let namesakes = self.namesakes();
        let nodes = ids.iter().map(|id| self.node(*id, &namesakes)).collect();
        let mut edges = vec![];
        let mut pairs = vec![];
        for (pair, row) in &self.evidence {
            if let (Some(&a), Some(&b)) = (place.get(&pair.a), place.get(&pair.b)) {
                edges.push(Edge {
                    a,
                    b,
                    kind: edge_kind(row.kind),
                    level: level(row.level),
                    observed_at: row.observed_at,
                    standing: standing(row.standing),
                });
                pairs.push(Some(*pair));
            }
        }
        for (&id, &a) in &place {
            let row = &self.identifiers[&id];
            for sibling in self.siblings(row.kind, &row.value) {
                if let Some(&b) = place.get(&sibling).filter(|_| id < sibling) {
                    let first = row
                        .first_seen_at
                        .min(self.identifiers[&sibling].first_seen_at);
                    edges.push(Edge {
                        a,
                        b,
                        kind: EdgeKind::Manual,
                        level: Level::Confirmed,
                        observed_at: first,
                        standing: partition::Standing::Active,
                    });
                    pairs.push(None);
                }
            }
        }
        let apart = self
            .apart
            .iter()
            .filter_map(|(a, b)| Some((*place.get(a)?, *place.get(b)?)))
            .collect();
        Part {
            ids,
            nodes,
            edges,
            pairs,
            apart,
        }
    }

    fn node(&self, id: IdentifierId, namesakes: &BTreeSet<ContactId>) -> Node {
        let row = &self.identifiers[&id];
        let named_otherwise = row.origin_id.is_some_and(|id| namesakes.contains(&id));
        Node {
            kind: kind_of(row.kind),
            value: row.value.clone(),
            level: level(row.verification),
            first_seen_at: row.first_seen_at,
            origin: row.origin_id.map(entity::Id::uuid),
            hold: if row.kind == Kind::ExternalId {
                Hold::User
            } else if !named_otherwise || self.names_its_origin(row) {
                Hold::Namesake
            } else {
                Hold::Loose
            },
            stitches: if row.blocked {
                Stitches::Blocked
            } else if row.kind == Kind::Email && is_role_account(&row.value) {
                Stitches::RoleAccount
            } else {
                Stitches::Yes
            },
        }
    }

    /// The contacts that PostHog knows by an identifier which came from them.
    fn namesakes(&self) -> BTreeSet<ContactId> {
        let rows = self.identifiers.values();
        rows.filter(|row| self.names_its_origin(row))
            .filter_map(|row| row.origin_id)
            .collect()
    }

    fn names_its_origin(&self, row: &contact_identifier::Model) -> bool {
        let origin = row.origin_id.and_then(|origin| self.contacts.get(&origin));
        is_distinct_id_kind(row.kind)
            && origin.is_some_and(|contact| contact.distinct_id == row.value)
    }
}

pub(super) const fn kind_of(kind: Kind) -> partition::Kind {
    match kind {
        Kind::ExternalId => partition::Kind::ExternalId,
        Kind::Email => partition::Kind::Email,
        Kind::Phone => partition::Kind::Phone,
        Kind::AnonymousId => partition::Kind::AnonymousId,
        Kind::DistinctId => partition::Kind::DistinctId,
    }
}

const fn level(verification: Verification) -> Level {
    match verification {
        Verification::Claimed => Level::Claimed,
        Verification::AssertedByBackend => Level::AssertedByBackend,
        Verification::Confirmed => Level::Confirmed,
    }
}

const fn edge_kind(kind: contact_evidence::Kind) -> EdgeKind {
    match kind {
        contact_evidence::Kind::SameEvent => EdgeKind::SameEvent,
        contact_evidence::Kind::Identify => EdgeKind::Identify,
        contact_evidence::Kind::Alias => EdgeKind::Alias,
        contact_evidence::Kind::Manual => EdgeKind::Manual,
    }
}

const fn standing(standing: Standing) -> partition::Standing {
    match standing {
        Standing::Active => partition::Standing::Active,
        Standing::Retired => partition::Standing::Retired,
        Standing::Excluded => partition::Standing::Excluded,
    }
}

/// What the tenant allows; without a word of its own, the usual.
pub(super) fn policy(row: Option<&identity_policy::Model>) -> Result<Policy> {
    let mut policy = Policy {
        max_component: super::review::COMPONENT_MAX,
        ..Policy::default()
    };
    if let Some(row) = row {
        let limits: Vec<crate::contact::rules::KindLimit> =
            serde_json::from_value(row.limits.clone())?;
        for limit in limits {
            policy.limits.insert(
                kind_of(limit.kind),
                partition::Limit {
                    max: limit.max,
                    within: limit.within(),
                    from: level(limit.counts_from),
                },
            );
        }
    }
    Ok(policy)
}
