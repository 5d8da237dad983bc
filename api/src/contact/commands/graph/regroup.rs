//! From a partition to contacts: who is whose root now, who joined whom, and who came apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{
    ContactId, Id,
    contact::{self, Status},
    contact_identifier::{Kind, Verification},
    merge_record::Mode,
};
use partition::{Partition, Verdict, resolve};
use serde_json::{Value, json};

use super::{
    Graph, Hand, IdentifierId,
    evidence::{Pair, Part, policy},
};
use crate::{
    base::{Result, Tx},
    contact::{
        commands::merge::Resolution,
        rules::{attribute, is_distinct_id_kind, status_by, trust},
    },
};

/// Two contacts that turned out to be one.
#[derive(Clone, Debug)]
pub(in crate::contact::commands) struct Joined {
    pub(in crate::contact::commands) absorbed: ContactId,
    pub(in crate::contact::commands) survivor: ContactId,
    /// The touch that showed it, of those noted.
    pub(in crate::contact::commands) touch: Option<usize>,
    /// The evidence that united them.
    pub(super) pair: Option<Pair>,
    pub(super) mode: Mode,
    /// The two as they were.
    pub(super) before: Value,
}

/// A contact that was taken out of another.
#[derive(Clone, Debug)]
pub(in crate::contact::commands) struct Parted {
    pub(in crate::contact::commands) from: ContactId,
    pub(in crate::contact::commands) contact: ContactId,
    pub(in crate::contact::commands) touch: Option<usize>,
    pub(super) before: Value,
}

/// Whom each identifier and each contact belongs to, by a partition.
pub(super) struct Regrouping {
    pub(super) of_identifier: BTreeMap<IdentifierId, ContactId>,
    /// Where each contact leads; roots to themselves.
    pub(super) of_contact: BTreeMap<ContactId, ContactId>,
    /// Roots that are new, with the best of their identifiers.
    pub(super) created: BTreeMap<ContactId, IdentifierId>,
    /// Identifiers that stand for another contact from now on.
    pub(super) adopted: Vec<(IdentifierId, ContactId)>,
    /// Roots of blocked identifiers.
    pub(super) quarantined: BTreeSet<ContactId>,
}

impl Graph {
    /// Decides anew who is one person, wherever something is news.
    pub(in crate::contact::commands) async fn settle(
        &mut self,
        tx: &Tx,
        hand: &Hand,
    ) -> Result<()> {
        if self.stirred.is_empty() {
            return Ok(());
        }
        let mut members = self.close(tx).await?;
        let row = if members.len() > 1 {
            tx.find::<entity::identity_policy::Entity>().one().await?
        } else {
            None
        };
        let policy = policy(row.as_ref())?;
        if self.block_hubs(&members) {
            members = self.close(tx).await?;
        }
        loop {
            let part = self.part(&members);
            let partition = resolve(&part.nodes, &part.edges, &part.apart, &policy);
            let grouping = self.regroup(tx, &part, &partition);
            let joined = self.joins(&part, &partition, &grouping, hand.mode);
            if self.block_hot(tx, &joined).await?
                || self.hold_back(tx, &part, &partition, &joined).await?
            {
                continue;
            }
            self.note_verdicts(&part, &partition);
            self.apply(tx, &grouping, joined);
            return Ok(());
        }
    }

    /// What holds an identifier and the one that its contact goes by together.
    pub(in crate::contact::commands) async fn why(
        mut self,
        tx: &Tx,
        contact: ContactId,
        kind: Kind,
        value: &str,
    ) -> Result<Option<Resolution>> {
        let found = [kind, Kind::ExternalId, Kind::DistinctId, Kind::AnonymousId]
            .into_iter()
            .filter(|other| *other == kind || is_distinct_id_kind(kind))
            .find_map(|kind| self.by_value.get(&(kind, value.to_owned())).copied());
        let (Some(id), Some(anchor)) = (found, self.anchor(contact)) else {
            return Ok(None);
        };
        let members = self.close(tx).await?;
        let row = tx.find::<entity::identity_policy::Entity>().one().await?;
        let part = self.part(&members);
        let partition = resolve(
            &part.nodes,
            &part.edges,
            &part.apart,
            &policy(row.as_ref())?,
        );
        let place = |id| part.ids.iter().position(|member| *member == id);
        let path = match (place(anchor), place(id)) {
            (Some(a), Some(b)) => partition::why(&partition, &part.edges, a, b),
            _ => None,
        };
        let evidence = |edge: usize| Some(self.evidence[&part.pairs[edge]?].clone());
        let touches = |pair: &Pair| pair.a == id || pair.b == id;
        let dormant = part.pairs.iter().zip(&partition.verdicts);
        Ok(Some(Resolution {
            contact,
            identifier: self.identifiers[&id].clone(),
            path: path.into_iter().flatten().filter_map(evidence).collect(),
            dormant: dormant
                .filter_map(|(pair, verdict)| Some((pair.filter(touches)?, verdict)))
                .filter(|(_, verdict)| **verdict != Verdict::Live)
                .map(|(pair, _)| self.evidence[&pair].clone())
                .collect(),
        }))
    }

    fn regroup(&self, tx: &Tx, part: &Part, partition: &Partition) -> Regrouping {
        let mut grouping = Regrouping {
            of_identifier: BTreeMap::new(),
            of_contact: BTreeMap::new(),
            created: BTreeMap::new(),
            adopted: vec![],
            quarantined: BTreeSet::new(),
        };
        let mut roots: BTreeSet<ContactId> = partition
            .components
            .iter()
            .filter_map(|component| component.root)
            .map(Id::from_uuid)
            .collect();
        for component in &partition.components {
            let founder = part.ids[component.founder];
            let blocked = self.identifiers[&founder].blocked;
            let own = component
                .root
                .or_else(|| part.nodes[component.founder].origin.filter(|_| blocked))
                .map(ContactId::from_uuid)
                .filter(|id| component.root.is_some() || roots.insert(*id));
            let root = own.unwrap_or_else(|| {
                let id = tx.new_id();
                grouping.created.insert(id, founder);
                id
            });
            if blocked {
                grouping.quarantined.insert(root);
            }
            for node in &component.members {
                grouping.of_identifier.insert(part.ids[*node], root);
            }
            let adopted = component.adopted.iter();
            grouping
                .adopted
                .extend(adopted.map(|node| (part.ids[*node], root)));
            if blocked && own.is_none() {
                grouping.adopted.push((founder, root));
            }
            grouping.of_contact.insert(root, root);
        }
        self.lead_contacts(part, partition, &mut grouping);
        grouping
    }

    /// Leads each contact that is no root to where the best identifier that stood for it is now, else where its root went.
    fn lead_contacts(&self, part: &Part, partition: &Partition, grouping: &mut Regrouping) {
        let mut by_origin: HashMap<ContactId, ContactId> = HashMap::new();
        for component in &partition.components {
            for node in &component.members {
                let id = part.ids[*node];
                if let Some(origin) = self.identifiers[&id].origin_id {
                    by_origin
                        .entry(origin)
                        .or_insert(grouping.of_identifier[&id]);
                }
            }
        }
        let (roots, absorbed): (Vec<ContactId>, Vec<ContactId>) = self
            .contacts
            .keys()
            .copied()
            .partition(|id| self.former.get(id) == Some(id));
        for id in roots.into_iter().chain(absorbed) {
            if !grouping.of_contact.contains_key(&id) {
                let former = self.former.get(&id).copied().unwrap_or(id);
                let leads = by_origin.get(&id).copied();
                let root = leads
                    .or_else(|| grouping.of_contact.get(&former).copied())
                    .unwrap_or(former);
                grouping.of_contact.insert(id, root);
            }
        }
    }

    /// The root that an identifier had, if it is stored.
    fn former_root(&self, id: IdentifierId) -> Option<ContactId> {
        if self.new_identifiers.contains(&id) {
            return None;
        }
        let contact = self.identifiers[&id].contact_id;
        Some(self.former.get(&contact).copied().unwrap_or(contact))
    }

    /// Roots that are no more, with what united them with their new one: the strongest edge that left them.
    fn joins(
        &self,
        part: &Part,
        partition: &Partition,
        grouping: &Regrouping,
        mode: Mode,
    ) -> Vec<Joined> {
        let mut joined = vec![];
        for (&absorbed, &survivor) in &grouping.of_contact {
            if absorbed == survivor || self.former.get(&absorbed) != Some(&absorbed) {
                continue;
            }
            let leaves = |pair: &Pair| {
                let [a, b] = [pair.a, pair.b].map(|id| self.former_root(id));
                (a == Some(absorbed)) != (b == Some(absorbed))
                    && grouping.of_identifier.get(&pair.a) == Some(&survivor)
            };
            let pair = partition
                .unions
                .iter()
                .filter_map(|edge| part.pairs[*edge])
                .find(leaves);
            joined.push(Joined {
                absorbed,
                survivor,
                touch: pair
                    .and_then(|pair| self.shown_by.get(&pair).copied())
                    .or_else(|| self.last_touch_of(grouping, survivor)),
                pair,
                mode,
                before: json!({
                    "survivor": self.snapshot(survivor),
                    "other": self.snapshot(absorbed),
                }),
            });
        }
        joined
    }

    /// The last touch of those noted that is at home with a root.
    fn last_touch_of(&self, grouping: &Regrouping, root: ContactId) -> Option<usize> {
        self.seats.iter().rposition(|seat| {
            seat.identifier
                .and_then(|id| grouping.of_identifier.get(&id))
                == Some(&root)
        })
    }

    /// A contact as it was read: what a merge record keeps of it.
    fn snapshot(&self, contact: ContactId) -> Value {
        let row = self.contacts.get(&contact);
        let identifiers: Vec<String> = self
            .identifiers
            .keys()
            .filter(|id| self.former_root(**id) == Some(contact))
            .map(ToString::to_string)
            .collect();
        json!({
            "id": contact.to_string(),
            "distinctId": row.map(|row| row.distinct_id.as_str()),
            "createdAt": row.map(|row| row.created_at),
            "identifiers": identifiers,
        })
    }

    /// Writes down which evidence joins nothing, and why.
    fn note_verdicts(&mut self, part: &Part, partition: &Partition) {
        for (pair, verdict) in part.pairs.iter().zip(&partition.verdicts) {
            let Some(pair) = pair else { continue };
            let reason = match verdict {
                Verdict::Live => None,
                Verdict::Dormant(reason) => Some(reason.code()),
            };
            let row = self.evidence.get_mut(pair).expect("it was resolved");
            if row.dormant_reason.as_deref() != reason {
                row.dormant_reason = reason.map(ToOwned::to_owned);
                self.changed_evidence.insert(*pair);
            }
        }
    }

    fn apply(&mut self, tx: &Tx, grouping: &Regrouping, joined: Vec<Joined>) {
        self.part_contacts(tx, grouping);
        for (&id, &root) in &grouping.of_identifier {
            let former = self.former_root(id);
            if let Some(former) = former.filter(|former| *former != root)
                && grouping.of_contact.get(&former) != Some(&root)
            {
                self.moves.entry((former, root)).or_default().push(id);
            }
            let row = self.identifiers.get_mut(&id).expect("it was resolved");
            if row.contact_id != root {
                row.contact_id = root;
                self.changed_identifiers.insert(id);
            }
        }
        for (id, origin) in &grouping.adopted {
            let row = self.identifiers.get_mut(id).expect("it was resolved");
            if row.origin_id != Some(*origin) {
                row.origin_id = Some(*origin);
                self.changed_identifiers.insert(*id);
            }
        }
        for (&id, &root) in &grouping.of_contact {
            let into = (id != root).then_some(root);
            let Some(row) = self.contacts.get_mut(&id) else {
                continue;
            };
            if row.merged_into != into {
                row.merged_into = into;
                self.changed_contacts.insert(id);
            }
        }
        for join in &joined {
            let folded = self.contacts[&join.absorbed].clone();
            if let Some(row) = self.contacts.get_mut(&join.survivor) {
                fold(row, &folded);
                self.changed_contacts.insert(join.survivor);
            }
        }
        self.joined = joined;
        self.restate(grouping);
    }

    /// Makes the contacts that there were not, and gives those that come back an id of their own at PostHog, which cannot take
    /// back a merge.
    fn part_contacts(&mut self, tx: &Tx, grouping: &Regrouping) {
        for (&contact, &founder) in &grouping.created {
            let members = || {
                let of = grouping.of_identifier.iter();
                of.filter(|(_, root)| **root == contact).map(|(id, _)| *id)
            };
            let from = members().find_map(|id| self.former_root(id));
            let named = members()
                .map(|id| &self.identifiers[&id])
                .filter(|row| is_distinct_id_kind(row.kind))
                .min_by_key(|row| (distinct_priority(row.kind), row.first_seen_at));
            let distinct_id = match (from, named) {
                (None, Some(row)) => row.value.clone(),
                _ => contact.to_string(),
            };
            let now = tx.now();
            let last_seen_at = members().map(|id| self.identifiers[&id].last_seen_at).max();
            debug_assert!(grouping.of_identifier.contains_key(&founder));
            self.contacts.insert(
                contact,
                contact::Model {
                    id: contact,
                    tenant_id: tx.tenant(),
                    status: Status::Anonymous,
                    distinct_id,
                    first_touch: None,
                    first_touch_at: None,
                    last_touch: None,
                    last_touch_at: None,
                    last_seen_at,
                    merged_into: None,
                    created_at: now,
                    updated_at: now,
                },
            );
            self.new_contacts.insert(contact);
            if let Some(from) = from {
                self.note_parted(grouping, from, contact);
            }
        }
        let back: Vec<(ContactId, ContactId)> = self
            .former
            .iter()
            .filter(|(id, former)| id != former && grouping.of_contact.get(id) == Some(*id))
            .map(|(id, former)| (*id, *former))
            .collect();
        for (contact, from) in back {
            let fresh: ContactId = tx.new_id();
            if let Some(row) = self.contacts.get_mut(&contact) {
                row.distinct_id = fresh.to_string();
                row.last_seen_at = grouping
                    .of_identifier
                    .iter()
                    .filter(|(_, root)| **root == contact)
                    .map(|(id, _)| self.identifiers[id].last_seen_at)
                    .max();
            }
            self.changed_contacts.insert(contact);
            self.note_parted(grouping, from, contact);
        }
    }

    fn note_parted(&mut self, grouping: &Regrouping, from: ContactId, contact: ContactId) {
        let identifiers: Vec<String> = grouping
            .of_identifier
            .iter()
            .filter(|(_, root)| **root == contact)
            .map(|(id, _)| id.to_string())
            .collect();
        self.parted.push(Parted {
            from,
            contact,
            touch: self.last_touch_of(grouping, contact),
            before: json!({
                "survivor": self.snapshot(from),
                "other": {"id": contact.to_string(), "identifiers": identifiers},
            }),
        });
    }

    /// Makes each root's status what its identifiers make of it. Where nothing left a root, it does not fall.
    fn restate(&mut self, grouping: &Regrouping) {
        let left: BTreeSet<ContactId> = self.moves.keys().map(|(from, _)| *from).collect();
        let mut best: BTreeMap<ContactId, Status> = BTreeMap::new();
        for (id, root) in &grouping.of_identifier {
            let row = &self.identifiers[id];
            let status = status_by(row.kind, row.verification).unwrap_or(Status::Anonymous);
            let kept = best.entry(*root).or_insert(Status::Anonymous);
            if trust(status) > trust(*kept) {
                *kept = status;
            }
        }
        for (&id, &root) in &grouping.of_contact {
            let computed = best.get(&id).copied();
            let Some(row) = self.contacts.get_mut(&id) else {
                continue;
            };
            let status = match computed {
                _ if id != root => Status::Merged,
                _ if grouping.quarantined.contains(&id) => Status::Quarantined,
                Some(status) if left.contains(&id) || trust(status) >= trust(row.status) => status,
                None if left.contains(&id) => Status::Anonymous,
                _ => row.status,
            };
            if row.status != status {
                row.status = status;
                self.changed_contacts.insert(id);
            }
        }
    }

    /// Whether a merge of the two would be one of people, and not of a visitor with the person it turned out to be.
    pub(super) fn are_known(&self, one: ContactId, other: ContactId) -> bool {
        [one, other].iter().all(|id| self.were_known.contains(id))
    }

    /// Whether the tenant's backend vouches for the identifier as a user's: it is never blocked by a count.
    pub(super) fn is_vouched_for(&self, id: IdentifierId) -> bool {
        let row = &self.identifiers[&id];
        row.kind == Kind::ExternalId && row.verification > Verification::Claimed
    }
}

/// Which of a new contact's ids PostHog is to know it by.
const fn distinct_priority(kind: Kind) -> u8 {
    match kind {
        Kind::ExternalId => 0,
        Kind::DistinctId => 1,
        Kind::AnonymousId | Kind::Email | Kind::Phone => 2,
    }
}

/// Gives the survivor what the absorbed contact knew.
fn fold(survivor: &mut contact::Model, absorbed: &contact::Model) {
    survivor.last_seen_at = survivor.last_seen_at.max(absorbed.last_seen_at);
    for (said, at) in [
        (&absorbed.first_touch, absorbed.first_touch_at),
        (&absorbed.last_touch, absorbed.last_touch_at),
    ] {
        if let (Some(said), Some(at)) = (said, at) {
            attribute(survivor, said, at);
        }
    }
}
