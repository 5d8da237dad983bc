//! The part of the graph that a unit of work touches, held in memory while who is who is decided.
//!
//! What is said is noted as evidence; where that is news, [`Graph::settle`] reads everything that hangs together with it and has
//! the crate `partition` decide it anew, so the outcome does not depend on the order of arrival. [`Graph::save`] writes what
//! changed and takes along the rows of every room.

mod closure;
mod evidence;
mod regroup;
mod review;
mod save;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    ContactId, EventId, Id, contact,
    contact_evidence::{self, Standing},
    contact_identifier::{self, Kind, Verification},
    identity_block, merge_proposal,
    merge_record::Mode,
};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder};
use uuid::Uuid;

pub(super) use self::evidence::Pair;
use self::evidence::merit;
pub(super) use self::regroup::{Joined, Parted};
use super::{Incoming, Link};
use crate::{
    base::{Error, ErrorCode, Result, Tx},
    contact::rules::{Claim, attribute, is_distinct_id_kind, status_by, trust},
};

/// A contact's or an identifier's time of last sight is written when it moves by this much: a busy visitor
/// must not cost a row write an event.
const SEEN_GRANULARITY: TimeDelta = TimeDelta::minutes(1);

pub(super) type IdentifierId = Id<contact_identifier::Entity>;

/// How what is being written may join contacts, and who says so.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    pub(super) mode: Mode,
    /// The principal.
    pub(super) said_by: String,
    pub(super) reason: Option<String>,
}

impl Hand {
    /// Evidence as it comes in.
    pub(super) fn of_evidence(tx: &Tx) -> Self {
        Self {
            mode: Mode::Auto,
            said_by: tx.principal(),
            reason: None,
        }
    }
}

#[derive(Default)]
pub(super) struct Graph {
    contacts: BTreeMap<ContactId, contact::Model>,
    /// The root of each contact, as it was read.
    former: HashMap<ContactId, ContactId>,
    identifiers: BTreeMap<IdentifierId, contact_identifier::Model>,
    by_value: HashMap<(Kind, String), IdentifierId>,
    evidence: BTreeMap<Pair, contact_evidence::Model>,
    /// Pairs that are not one person, with the proposal that keeps them apart for now.
    apart: BTreeSet<(IdentifierId, IdentifierId)>,
    blocks: Vec<identity_block::Model>,
    new_contacts: BTreeSet<ContactId>,
    changed_contacts: BTreeSet<ContactId>,
    new_identifiers: BTreeSet<IdentifierId>,
    changed_identifiers: BTreeSet<IdentifierId>,
    changed_evidence: BTreeSet<Pair>,
    /// Identifiers of which something is new that may regroup them.
    stirred: BTreeSet<IdentifierId>,
    /// The touch that brought new evidence.
    shown_by: HashMap<Pair, usize>,
    seats: Vec<Seat>,
    /// Values that joined too much: they stand for nobody from now on.
    hot: Vec<review::Hot>,
    proposals: Vec<merge_proposal::ActiveModel>,
    held: Vec<review::Held>,
    joined: Vec<Joined>,
    /// Contacts that were known people when they were read.
    were_known: BTreeSet<ContactId>,
    parted: Vec<Parted>,
    /// What left a root for another, which goes on.
    moves: BTreeMap<(ContactId, ContactId), Vec<IdentifierId>>,
}

/// By what, when and whereby something was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub(super) source: &'a str,
    pub(super) at: DateTime<Utc>,
    pub(super) event: Option<EventId>,
}

/// Whose a touch is.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// The identifier that it came by.
    identifier: Option<IdentifierId>,
    event: EventId,
    /// Whether it names a person, and not only a browser.
    names: bool,
}

impl Graph {
    /// Reads and locks what the touches name. Contacts are locked in the order of their ids, so two
    /// batches never wait for each other.
    pub(super) async fn load(tx: &Tx, touches: &[&Incoming]) -> Result<Self> {
        let mut graph = Self::default();
        let values: HashSet<&str> = touches
            .iter()
            .flat_map(|touch| touch.claims.iter().map(|claim| claim.value.as_str()))
            .collect();
        if !values.is_empty() {
            let rows = tx
                .find::<contact_identifier::Entity>()
                .filter(contact_identifier::Column::Value.is_in(values.iter().copied()))
                .all()
                .await?;
            graph.add_identifiers(rows)?;
        }
        let owners: BTreeSet<ContactId> = graph
            .identifiers
            .values()
            .map(|row| row.contact_id)
            .collect();
        let named: BTreeSet<ContactId> = touches
            .iter()
            .filter_map(|touch| touch.contact_id)
            .collect();
        graph.load_named(tx, &owners, &named).await?;
        graph.load_evidence_between(tx, touches).await?;
        graph.load_blocks(tx, touches, &values).await?;
        Ok(graph)
    }

    /// Reads and locks the contacts that are named by our ids, with their identifiers; gives nothing of `owners` but the lock.
    async fn load_named(
        &mut self,
        tx: &Tx,
        owners: &BTreeSet<ContactId>,
        named: &BTreeSet<ContactId>,
    ) -> Result<()> {
        self.lock(tx, &(owners | named)).await?;
        let roots: BTreeSet<ContactId> = named.iter().map(|id| self.root(*id)).collect();
        self.lock(tx, &roots).await?;
        if let Some(id) = named.iter().find(|id| !self.contacts.contains_key(id)) {
            return Err(not_a_contact(*id));
        }
        if owners.iter().any(|id| self.former.get(id) != Some(id)) {
            // Joined between the look-up and the lock.
            return Err(Error::Contended);
        }
        if !roots.is_empty() {
            let rows = tx
                .find::<contact_identifier::Entity>()
                .filter(contact_identifier::Column::ContactId.is_in(roots))
                .all()
                .await?;
            self.add_identifiers(rows)?;
        }
        Ok(())
    }

    /// The graph around some contacts, for what is done to them by hand.
    pub(super) async fn around(tx: &Tx, contacts: &[ContactId]) -> Result<Self> {
        let mut graph = Self::default();
        let named = contacts.iter().copied().collect();
        graph.load_named(tx, &BTreeSet::new(), &named).await?;
        graph.stirred.extend(graph.identifiers.keys());
        graph.close(tx).await?;
        Ok(graph)
    }

    /// The identifiers of a root.
    pub(super) fn identifiers_of(&self, root: ContactId) -> BTreeSet<IdentifierId> {
        let of_root = self
            .identifiers
            .values()
            .filter(|row| row.contact_id == root);
        of_root.map(|row| row.id).collect()
    }

    /// The one of these that stands for all.
    pub(super) fn best(&self, of: &BTreeSet<IdentifierId>) -> Option<IdentifierId> {
        of.iter()
            .copied()
            .filter(|id| !self.identifiers[id].blocked)
            .min_by_key(|id| merit(&self.identifiers[id]))
    }

    /// Keeps two identifiers apart.
    pub(super) fn keep_apart(&mut self, a: IdentifierId, b: IdentifierId) {
        self.apart.insert((a.min(b), a.max(b)));
        self.stirred.extend([a, b]);
    }

    /// Lets identifiers be joined that were kept apart.
    pub(super) fn let_together(&mut self, pairs: &[(IdentifierId, IdentifierId)]) {
        for (a, b) in pairs {
            self.apart.remove(&(*a, *b));
            self.stirred.extend([*a, *b]);
        }
    }

    /// Has evidence count again, or no more.
    pub(super) fn stand(&mut self, pair: Pair, standing: Standing) {
        if let Some(row) = self.evidence.get_mut(&pair) {
            row.standing = standing;
            self.changed_evidence.insert(pair);
            self.stirred.extend([pair.a, pair.b]);
        }
    }

    /// Why a piece of evidence joins nothing.
    pub(super) fn dormant_reason(&self, pair: Pair) -> Option<&str> {
        self.evidence.get(&pair)?.dormant_reason.as_deref()
    }

    async fn load_evidence_between(&mut self, tx: &Tx, touches: &[&Incoming]) -> Result<()> {
        let mut known = BTreeSet::new();
        for touch in touches {
            let claimed = touch.claims.iter().filter_map(|claim| self.exact(claim));
            let named = touch.contact_id.and_then(|id| self.anchor(id));
            let ids: BTreeSet<IdentifierId> = claimed.chain(named).collect();
            if ids.len() > 1 {
                known.extend(ids);
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        let rows = tx
            .find::<contact_evidence::Entity>()
            .filter(contact_evidence::Column::AId.is_in(known.iter().copied()))
            .filter(contact_evidence::Column::BId.is_in(known))
            .all()
            .await?;
        self.add_evidence(rows);
        Ok(())
    }

    /// Reads what of the claimed values is blocked, where something of them is new.
    async fn load_blocks(
        &mut self,
        tx: &Tx,
        touches: &[&Incoming],
        values: &HashSet<&str>,
    ) -> Result<()> {
        use identity_block::Column;
        let mut claims = touches.iter().flat_map(|touch| &touch.claims);
        let links = touches
            .iter()
            .any(|touch| touch.claims.len() + usize::from(touch.contact_id.is_some()) > 1);
        if links || claims.any(|claim| self.exact(claim).is_none()) {
            let values = || values.iter().copied();
            self.blocks = tx
                .find::<identity_block::Entity>()
                .filter(
                    Condition::any()
                        .add(Column::Value.is_in(values()))
                        .add(Column::OtherValue.is_in(values())),
                )
                .all()
                .await?;
        }
        Ok(())
    }

    /// Locks and reads contacts that are not locked yet.
    async fn lock(&mut self, tx: &Tx, ids: &BTreeSet<ContactId>) -> Result<()> {
        let missing: Vec<ContactId> = ids
            .iter()
            .copied()
            .filter(|id| !self.contacts.contains_key(id))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rows = tx
            .find::<contact::Entity>()
            .filter(contact::Column::Id.is_in(missing))
            .order_by_asc(contact::Column::Id)
            .locked()
            .all()
            .await?;
        for row in rows {
            self.former
                .insert(row.id, row.merged_into.unwrap_or(row.id));
            if trust(row.status) > 0 {
                self.were_known.insert(row.id);
            }
            self.contacts.insert(row.id, row);
        }
        Ok(())
    }

    /// Takes in rows that are not known yet. Those that are must be what they were: else somebody wrote in between.
    fn add_identifiers(&mut self, rows: Vec<contact_identifier::Model>) -> Result<()> {
        for row in rows {
            match self.identifiers.get(&row.id) {
                Some(known) if known.contact_id != row.contact_id => return Err(Error::Contended),
                Some(_) => {}
                None => {
                    self.by_value.insert((row.kind, row.value.clone()), row.id);
                    self.identifiers.insert(row.id, row);
                }
            }
        }
        Ok(())
    }

    fn add_evidence(&mut self, rows: Vec<contact_evidence::Model>) {
        for row in rows {
            self.evidence.entry(Pair::of(&row)).or_insert(row);
        }
    }

    fn exact(&self, claim: &Claim) -> Option<IdentifierId> {
        self.by_value
            .get(&(claim.kind, claim.value.clone()))
            .copied()
    }

    /// Whether the claim names an identifier that is known. PostHog's ids share one namespace.
    fn is_known(&self, claim: &Claim) -> bool {
        self.exact(claim).is_some() || !self.siblings(claim.kind, &claim.value).is_empty()
    }

    /// The identifiers of the same value that PostHog cannot tell from one of `kind`.
    fn siblings(&self, kind: Kind, value: &str) -> Vec<IdentifierId> {
        if !is_distinct_id_kind(kind) {
            return vec![];
        }
        [Kind::ExternalId, Kind::DistinctId, Kind::AnonymousId]
            .into_iter()
            .filter(|other| *other != kind)
            .filter_map(|other| self.by_value.get(&(other, value.to_owned())))
            .copied()
            .collect()
    }

    /// Whether the tenant, or the product, blocks the value.
    fn is_blocked(&self, claim: &Claim) -> bool {
        if let Some(id) = self.exact(claim) {
            return self.identifiers[&id].blocked;
        }
        self.blocks.iter().any(|block| {
            block.other_value.is_none() && block.kind == claim.kind && block.value == claim.value
        })
    }

    /// The root of a contact, now.
    pub(super) fn root(&self, id: ContactId) -> ContactId {
        self.contacts
            .get(&id)
            .and_then(|row| row.merged_into)
            .unwrap_or(id)
    }

    pub(super) fn contact(&self, id: ContactId) -> Option<&contact::Model> {
        self.contacts.get(&id)
    }

    pub(super) fn identifier(&self, id: IdentifierId) -> Option<&contact_identifier::Model> {
        self.identifiers.get(&id)
    }

    /// The identifier that stands for a contact: the best of its own, or of its root's.
    pub(super) fn anchor(&self, contact: ContactId) -> Option<IdentifierId> {
        let root = self.root(contact);
        let of_root = self
            .identifiers
            .values()
            .filter(|row| row.contact_id == root && !row.blocked);
        of_root
            .min_by_key(|row| (row.origin_id != Some(contact), merit(row)))
            .map(|row| row.id)
    }

    /// Where the touch at this place of those noted is at home, and the identifier that it came by.
    pub(super) fn seat(&self, touch: usize) -> (Option<ContactId>, Option<IdentifierId>) {
        let identifier = self.seats[touch].identifier;
        let contact = identifier.map(|id| self.identifiers[&id].contact_id);
        (contact, identifier)
    }

    /// Notes whom the touch names, and what it says belongs together.
    pub(super) fn note(&mut self, tx: &Tx, touch: &Incoming, event: EventId) {
        let at = self.seats.len();
        let claims: Vec<&Claim> = touch
            .claims
            .iter()
            .filter(|claim| !self.is_blocked(claim))
            .collect();
        let heard = Heard {
            source: touch.source,
            at: touch.occurred_at,
            event: Some(event),
        };
        let named = touch
            .contact_id
            .map(|id| self.own(tx, id, touch.verification, heard));
        let speaks = touch.makes_contact
            || named.is_some()
            || claims.iter().any(|claim| self.is_known(claim));
        let mut held = vec![];
        if speaks {
            for claim in claims {
                held.push((self.identify(tx, claim, heard), claim.verification));
            }
        }
        let anchor = named
            .map(|id| (id, touch.verification))
            .or_else(|| held.first().copied());
        self.seats.push(Seat {
            identifier: anchor.map(|(id, _)| id),
            event,
            names: held
                .iter()
                .any(|(id, level)| status_by(self.identifiers[id].kind, *level).is_some()),
        });
        let Some((anchor, word)) = anchor else { return };
        let kind = match touch.link {
            Link::SameEvent => contact_evidence::Kind::SameEvent,
            Link::Identify => contact_evidence::Kind::Identify,
            Link::Alias => contact_evidence::Kind::Alias,
        };
        for (other, level) in held {
            if other != anchor {
                let pair = Pair::new(anchor, other, kind, word.min(level));
                if self.link(tx, pair, heard) {
                    self.shown_by.insert(pair, at);
                }
            }
        }
    }

    /// The identifier that stands for a contact that is named by our id. One that has none left gets its distinct id for one.
    pub(super) fn own(
        &mut self,
        tx: &Tx,
        contact: ContactId,
        word: Verification,
        heard: Heard<'_>,
    ) -> IdentifierId {
        if let Some(anchor) = self.anchor(contact) {
            return anchor;
        }
        let root = self.root(contact);
        let value = self.contacts[&root].distinct_id.clone();
        let claim = Claim {
            kind: Kind::DistinctId,
            shown: value.clone(),
            value,
            verification: word,
        };
        let id = self.identify(tx, &claim, heard);
        if let Some(row) = self.identifiers.get_mut(&id) {
            row.origin_id.get_or_insert(root);
        }
        id
    }

    /// The identifier that a claim names, made if it is new; notes that it was seen, and what the speaker's word adds to it.
    fn identify(&mut self, tx: &Tx, claim: &Claim, heard: Heard<'_>) -> IdentifierId {
        let seen_at = heard.at;
        let Some(id) = self.exact(claim) else {
            let id = tx.new_id();
            self.identifiers.insert(
                id,
                contact_identifier::Model {
                    id,
                    tenant_id: tx.tenant(),
                    // until it is settled
                    contact_id: ContactId::from_uuid(Uuid::nil()),
                    kind: claim.kind,
                    value: claim.value.clone(),
                    shown: claim.shown.clone(),
                    verification: claim.verification,
                    source: heard.source.to_owned(),
                    first_seen_at: seen_at,
                    last_seen_at: seen_at,
                    origin_id: None,
                    blocked: false,
                },
            );
            self.by_value.insert((claim.kind, claim.value.clone()), id);
            self.new_identifiers.insert(id);
            let siblings = self.siblings(claim.kind, &claim.value);
            self.stirred.extend(siblings);
            self.stirred.insert(id);
            return id;
        };
        let row = self.identifiers.get_mut(&id).expect("it was found");
        if claim.verification > row.verification {
            row.verification = claim.verification;
            self.stirred.insert(id);
            self.changed_identifiers.insert(id);
        }
        if seen_at < row.first_seen_at {
            row.first_seen_at = seen_at;
            self.stirred.insert(id);
            self.changed_identifiers.insert(id);
        }
        if seen_at - row.last_seen_at >= SEEN_GRANULARITY {
            row.last_seen_at = seen_at;
            self.changed_identifiers.insert(id);
        }
        id
    }

    /// Notes evidence; says whether it is news.
    pub(super) fn link(&mut self, tx: &Tx, pair: Pair, heard: Heard<'_>) -> bool {
        if let Some(row) = self.evidence.get_mut(&pair) {
            if heard.at >= row.observed_at {
                return false;
            }
            row.observed_at = heard.at;
        } else {
            let standing = if self.is_excluded(pair) {
                Standing::Excluded
            } else {
                Standing::Active
            };
            self.evidence.insert(
                pair,
                contact_evidence::Model {
                    id: tx.new_id(),
                    tenant_id: tx.tenant(),
                    kind: pair.kind,
                    level: pair.level,
                    standing,
                    a_id: pair.a,
                    b_id: pair.b,
                    dormant_reason: None,
                    event_id: heard.event,
                    source: heard.source.to_owned(),
                    observed_at: heard.at,
                    created_at: tx.now(),
                },
            );
        }
        self.changed_evidence.insert(pair);
        self.stirred.extend([pair.a, pair.b]);
        true
    }

    /// Whether the tenant blocks the link between two values.
    fn is_excluded(&self, pair: Pair) -> bool {
        let ends = [pair.a, pair.b].map(|id| &self.identifiers[&id]);
        let is = |row: &contact_identifier::Model, kind, value: &str| {
            row.kind == kind && row.value == value
        };
        self.blocks.iter().any(|block| {
            let Some((kind, value)) = block.other_kind.zip(block.other_value.as_deref()) else {
                return false;
            };
            [(ends[0], ends[1]), (ends[1], ends[0])]
                .iter()
                .any(|(x, y)| is(x, block.kind, &block.value) && is(y, kind, value))
        })
    }

    /// What a touch says of its contact itself: that it lives, and where it came from. To be called once all is settled.
    pub(super) fn learn(&mut self, at: usize, touch: &Incoming) {
        let Some(id) = self.seat(at).0 else { return };
        let status = touch
            .claims
            .iter()
            .filter_map(|claim| self.exact(claim))
            .map(|id| &self.identifiers[&id])
            .filter(|row| row.contact_id == id)
            .filter_map(|row| status_by(row.kind, row.verification))
            .max_by_key(|status| trust(*status));
        let Some(row) = self.contacts.get_mut(&id) else {
            return;
        };
        let mut changed = false;
        if let Some(status) = status.filter(|status| trust(*status) > trust(row.status)) {
            row.status = status;
            changed = true;
        }
        if row
            .last_seen_at
            .is_none_or(|seen| touch.occurred_at - seen >= SEEN_GRANULARITY)
        {
            row.last_seen_at = Some(touch.occurred_at);
            changed = true;
        }
        if let Some(said) = &touch.touch {
            changed |= attribute(row, said, touch.occurred_at);
        }
        changed |= touch.traits.changes_anything();
        if changed {
            self.changed_contacts.insert(id);
        }
    }

    pub(super) fn joined(&self) -> &[Joined] {
        &self.joined
    }

    pub(super) fn parted(&self) -> &[Parted] {
        &self.parted
    }

    pub(super) fn hot(&self) -> &[review::Hot] {
        &self.hot
    }

    /// Contacts that got their first name, and the touch that gave it.
    pub(super) fn became_known(&self) -> Vec<(usize, ContactId)> {
        let mut was_known: BTreeSet<ContactId> =
            self.were_known.iter().map(|id| self.root(*id)).collect();
        // Nor is one news that was taken out of another.
        was_known.extend(self.parted.iter().map(|part| part.contact));
        let mut told = BTreeSet::new();
        let named = self.seats.iter().enumerate().filter(|(_, seat)| seat.names);
        let touches = named.filter_map(|(touch, _)| Some((touch, self.seat(touch).0?)));
        touches
            .filter(|(_, id)| !was_known.contains(id))
            .filter(|(_, id)| {
                self.contacts
                    .get(id)
                    .is_some_and(|row| trust(row.status) > 0)
            })
            .filter(|(_, id)| told.insert(*id))
            .collect()
    }
}

fn not_a_contact(id: ContactId) -> Error {
    Error::user(
        ErrorCode::NotFound,
        "contactId",
        format!("there is no contact {id}"),
    )
}
