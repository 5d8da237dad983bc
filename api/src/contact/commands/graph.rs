//! The part of the graph that a batch touches, held in memory while who is who is decided.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    ContactId, EventId, Id,
    contact::{self, Status},
    contact_alias, contact_evidence,
    contact_identifier::{self, Kind, Verification},
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder, Set,
    sea_query::{Expr, OnConflict},
};

use super::{Incoming, Link, Placed, traits};
use crate::{
    base::{Error, Result, Tx},
    contact::rules::{Claim, is_distinct_id_kind},
};

/// A contact's or an identifier's time of last sight is written when it moves by this much: a busy visitor
/// must not cost a row write an event.
const SEEN_GRANULARITY: TimeDelta = TimeDelta::minutes(1);

/// A contact has one external id: two of them are two people who share a browser.
const EXTERNAL_IDS_MAX: usize = 1;

type IdentifierId = Id<contact_identifier::Entity>;

#[derive(Default)]
pub(super) struct Graph {
    contacts: BTreeMap<ContactId, contact::Model>,
    identifiers: HashMap<(Kind, String), contact_identifier::Model>,
    /// External ids of each root; known only where a decision may need them.
    external_ids: HashMap<ContactId, BTreeSet<String>>,
    absorbed: HashMap<ContactId, ContactId>,
    new_contacts: HashSet<ContactId>,
    changed_contacts: BTreeSet<ContactId>,
    new_identifiers: HashSet<IdentifierId>,
    changed_identifiers: HashSet<IdentifierId>,
    evidence: Vec<contact_evidence::ActiveModel>,
    joins: Vec<Join>,
    became_known: Vec<(usize, ContactId)>,
    touches: usize,
}

/// Two contacts that turned out to be one.
pub(super) struct Join {
    pub(super) absorbed: ContactId,
    pub(super) survivor: ContactId,
    /// The touch that showed it.
    pub(super) touch: usize,
    event: EventId,
    reason: Link,
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
            graph.add_identifiers(
                tx.find::<contact_identifier::Entity>()
                    .filter(contact_identifier::Column::Value.is_in(values))
                    .all()
                    .await?,
            );
        }
        let mut wanted: BTreeSet<ContactId> = graph
            .identifiers
            .values()
            .map(|row| row.contact_id)
            .collect();
        let named: BTreeSet<ContactId> = touches
            .iter()
            .filter_map(|touch| touch.contact_id)
            .collect();
        wanted.extend(&named);
        if wanted.is_empty() {
            return Ok(graph);
        }
        let mut rows = locked(tx, &wanted).await?;
        // An id that was absorbed leads to its root; it is not written to itself.
        let roots: BTreeSet<ContactId> = rows
            .values()
            .filter(|row| named.contains(&row.id))
            .filter_map(|row| row.merged_into)
            .collect();
        let missing = &roots - &rows.keys().copied().collect();
        if !missing.is_empty() {
            rows.extend(locked(tx, &missing).await?);
        }
        for id in named {
            let row = rows.get(&id).ok_or_else(|| not_a_contact(id))?;
            if let Some(root) = row.merged_into {
                graph.absorbed.insert(id, root);
                rows.remove(&id);
            }
        }
        if rows.values().any(|row| row.merged_into.is_some()) {
            // Joined between the look-up and the lock.
            return Err(Error::Contended);
        }
        let wanted: Vec<ContactId> = rows.keys().copied().collect();
        graph.contacts = rows;
        if graph.may_join(touches) {
            let all = tx
                .find::<contact_identifier::Entity>()
                .filter(contact_identifier::Column::ContactId.is_in(wanted))
                .all()
                .await?;
            graph.add_identifiers(all);
        }
        for row in graph
            .identifiers
            .values()
            .filter(|row| row.kind == Kind::ExternalId)
        {
            graph
                .external_ids
                .entry(row.contact_id)
                .or_default()
                .insert(row.value.clone());
        }
        Ok(graph)
    }

    fn add_identifiers(&mut self, rows: Vec<contact_identifier::Model>) {
        for row in rows {
            self.identifiers
                .entry((row.kind, row.value.clone()))
                .or_insert(row);
        }
    }

    /// Whether some touch names an id that its contact does not have yet, or ids of two contacts: only
    /// then the contacts' other ids matter.
    fn may_join(&self, touches: &[&Incoming]) -> bool {
        touches.iter().any(|touch| {
            let owners: HashSet<Option<ContactId>> = touch
                .claims
                .iter()
                .map(|claim| self.find(claim).map(|row| row.contact_id))
                .chain(touch.contact_id.map(|id| Some(self.root(id))))
                .collect();
            owners.len() > 1
        })
    }

    /// The identifier that a claim names. PostHog's ids share one namespace.
    fn find(&self, claim: &Claim) -> Option<&contact_identifier::Model> {
        let exact = self.identifiers.get(&(claim.kind, claim.value.clone()));
        if exact.is_some() || !is_distinct_id_kind(claim.kind) {
            return exact;
        }
        [Kind::ExternalId, Kind::DistinctId, Kind::AnonymousId]
            .iter()
            .find_map(|kind| self.identifiers.get(&(*kind, claim.value.clone())))
    }

    pub(super) fn root(&self, id: ContactId) -> ContactId {
        let mut root = id;
        while let Some(next) = self.absorbed.get(&root) {
            root = *next;
        }
        root
    }

    pub(super) fn distinct_id(&self, id: ContactId) -> &str {
        self.contacts
            .get(&id)
            .map_or("", |contact| contact.distinct_id.as_str())
    }

    pub(super) fn joins(&self) -> &[Join] {
        &self.joins
    }

    /// Contacts that got their first name, and the touch that gave it.
    pub(super) fn became_known(&self) -> impl Iterator<Item = (usize, ContactId)> {
        let mut told = HashSet::new();
        self.became_known
            .iter()
            .map(|(touch, id)| (*touch, self.root(*id)))
            .filter(move |(_, id)| told.insert(*id))
    }

    /// Decides whose touch this is: joins, makes and extends contacts as it must.
    pub(super) fn place(&mut self, tx: &Tx, touch: &Incoming, event: EventId) -> Placed {
        let at = self.touches;
        self.touches += 1;
        let mut target = touch.contact_id.map(|id| self.root(id));
        let mut pending = vec![];
        let mut moving = vec![];
        let mut dormant = vec![];
        for claim in &touch.claims {
            let owner = self
                .find(claim)
                .map(|row| (row.id, self.root(row.contact_id), row.verification));
            let Some((identifier, owner, verified)) = owner else {
                pending.push(claim);
                continue;
            };
            let proves_little = !is_distinct_id_kind(claim.kind);
            let named_otherwise = target.is_some() || !pending.is_empty();
            match target {
                Some(target_id) if target_id == owner => {}
                _ if proves_little
                    && named_otherwise
                    && claim.verification == Verification::Claimed =>
                {
                    // An unproven e-mail or phone never joins anybody to its owner.
                    dormant.push((identifier, "unverified"));
                    continue;
                }
                _ if proves_little
                    && named_otherwise
                    && verified == Verification::Claimed
                    && self.is_named_besides(owner, identifier) =>
                {
                    // The backend knows better than the browser that claimed it: the id moves. A contact that has no
                    // other id comes along whole, as it would have if the backend had spoken first.
                    moving.push(claim);
                    continue;
                }
                None if self.fits(owner, &pending) => target = Some(owner),
                None => {
                    dormant.push((identifier, "external_id_limit"));
                    continue;
                }
                Some(target_id) => match self.join((at, event, touch.link), target_id, owner) {
                    Some(survivor) => target = Some(survivor),
                    None => {
                        dormant.push((identifier, "external_id_limit"));
                        continue;
                    }
                },
            }
            // A second kind of the same value, so that the graph does not depend on which came first.
            if is_distinct_id_kind(claim.kind)
                && !self
                    .identifiers
                    .contains_key(&(claim.kind, claim.value.clone()))
                && self.fits(owner, &[claim])
            {
                pending.push(claim);
            }
        }
        let target = match target {
            Some(target) => target,
            None if touch.makes_contact && !pending.is_empty() => self.create(tx, touch, &pending),
            None => {
                return Placed {
                    contact: None,
                    identifier: None,
                };
            }
        };
        for claim in pending {
            self.attach(tx, target, claim, touch);
        }
        for claim in moving {
            self.move_identifier(claim, target);
        }
        for claim in &touch.claims {
            self.confirm(claim, target, touch.occurred_at);
        }
        self.learn(at, target, touch);
        let identifier = self.note(tx, target, touch, event, &dormant);
        Placed {
            contact: Some(target),
            identifier,
        }
    }

    /// Whether the contact has another id than this one.
    fn is_named_besides(&self, contact: ContactId, identifier: IdentifierId) -> bool {
        self.identifiers
            .values()
            .any(|row| row.id != identifier && self.root(row.contact_id) == contact)
    }

    /// Whether `owner` could take in the ids that are waiting for a contact.
    fn fits(&self, owner: ContactId, pending: &[&Claim]) -> bool {
        let held = self.external_ids.get(&owner);
        pending
            .iter()
            .filter(|claim| claim.kind == Kind::ExternalId)
            .all(|claim| {
                held.is_none_or(|held| held.contains(&claim.value) || held.len() < EXTERNAL_IDS_MAX)
            })
    }

    /// Joins two roots unless that would make two people one; gives the survivor. The survivor has an
    /// external id, else it is the older one: so it does not depend on which call came first.
    fn join(
        &mut self,
        (touch, event, reason): (usize, EventId, Link),
        a: ContactId,
        b: ContactId,
    ) -> Option<ContactId> {
        let external = |id: ContactId| self.external_ids.get(&id).cloned().unwrap_or_default();
        let (of_a, of_b) = (external(a), external(b));
        let union: BTreeSet<String> = of_a.union(&of_b).cloned().collect();
        if union.len() > EXTERNAL_IDS_MAX {
            return None;
        }
        let rank = |id: ContactId, external: &BTreeSet<String>| {
            (
                external.is_empty(),
                self.contacts.get(&id).map(|row| row.created_at),
                id,
            )
        };
        let (survivor, absorbed) = if rank(a, &of_a) <= rank(b, &of_b) {
            (a, b)
        } else {
            (b, a)
        };
        self.external_ids.insert(survivor, union);
        self.absorbed.insert(absorbed, survivor);
        let folded = self.contacts.get_mut(&absorbed).map(|row| {
            row.status = Status::Merged;
            row.merged_into = Some(survivor);
            row.clone()
        });
        if let (Some(folded), Some(row)) = (folded, self.contacts.get_mut(&survivor)) {
            fold(row, &folded);
        }
        self.changed_contacts.extend([survivor, absorbed]);
        self.joins.push(Join {
            absorbed,
            survivor,
            touch,
            event,
            reason,
        });
        Some(survivor)
    }

    fn create(&mut self, tx: &Tx, touch: &Incoming, pending: &[&Claim]) -> ContactId {
        let id: ContactId = tx.new_id();
        let first = pending.iter().find(|claim| is_distinct_id_kind(claim.kind));
        let now = tx.now();
        self.contacts.insert(
            id,
            contact::Model {
                id,
                tenant_id: tx.tenant(),
                status: Status::Anonymous,
                distinct_id: first.map_or_else(|| id.to_string(), |claim| claim.value.clone()),
                first_touch: None,
                first_touch_at: None,
                last_touch: None,
                last_touch_at: None,
                last_seen_at: Some(touch.occurred_at),
                merged_into: None,
                created_at: now,
                updated_at: now,
            },
        );
        self.new_contacts.insert(id);
        id
    }

    fn attach(&mut self, tx: &Tx, contact: ContactId, claim: &Claim, touch: &Incoming) {
        let id = tx.new_id();
        if claim.kind == Kind::ExternalId {
            self.external_ids
                .entry(contact)
                .or_default()
                .insert(claim.value.clone());
        }
        self.identifiers
            .entry((claim.kind, claim.value.clone()))
            .or_insert_with(|| contact_identifier::Model {
                id,
                tenant_id: tx.tenant(),
                contact_id: contact,
                kind: claim.kind,
                value: claim.value.clone(),
                shown: claim.shown.clone(),
                verification: claim.verification,
                source: touch.source.to_owned(),
                first_seen_at: touch.occurred_at,
                last_seen_at: touch.occurred_at,
                origin_id: Some(contact),
                blocked: false,
            });
        self.new_identifiers.insert(id);
    }

    /// Gives an identifier to another contact; the one that had it is known by what is left to it.
    fn move_identifier(&mut self, claim: &Claim, to: ContactId) {
        let Some(row) = self.identifiers.get_mut(&(claim.kind, claim.value.clone())) else {
            return;
        };
        let from = row.contact_id;
        row.contact_id = to;
        self.changed_identifiers.insert(row.id);
        let from = self.root(from);
        let left = self
            .identifiers
            .values()
            .filter(|row| self.root(row.contact_id) == from)
            .filter_map(|row| status_by(row.kind, row.verification))
            .max_by_key(|status| trust(*status))
            .unwrap_or(Status::Anonymous);
        if let Some(row) = self.contacts.get_mut(&from) {
            row.status = left;
            self.changed_contacts.insert(from);
        }
    }

    /// Notes that an identifier was seen, and what the speaker's word adds to it.
    fn confirm(&mut self, claim: &Claim, target: ContactId, seen_at: DateTime<Utc>) {
        let key = (claim.kind, claim.value.clone());
        let Some(owner) = self
            .identifiers
            .get(&key)
            .map(|row| self.root(row.contact_id))
        else {
            return;
        };
        let Some(row) = self.identifiers.get_mut(&key) else {
            return;
        };
        let mut changed = false;
        if owner == target && claim.verification > row.verification {
            row.verification = claim.verification;
            changed = true;
        }
        if seen_at < row.first_seen_at {
            row.first_seen_at = seen_at;
            changed = true;
        }
        if seen_at - row.last_seen_at >= SEEN_GRANULARITY {
            row.last_seen_at = seen_at;
            changed = true;
        }
        if changed {
            self.changed_identifiers.insert(row.id);
        }
    }

    /// What the touch says of the contact itself: that it lives, what it is called, where it came from.
    fn learn(&mut self, at: usize, id: ContactId, touch: &Incoming) {
        let status = touch
            .claims
            .iter()
            .filter(|claim| {
                self.identifiers
                    .get(&(claim.kind, claim.value.clone()))
                    .is_some_and(|row| self.root(row.contact_id) == id)
            })
            .filter_map(|claim| status_by(claim.kind, claim.verification))
            .max_by_key(|status| trust(*status));
        let Some(row) = self.contacts.get_mut(&id) else {
            return;
        };
        let mut changed = false;
        if let Some(status) = status.filter(|status| trust(*status) > trust(row.status)) {
            if row.status == Status::Anonymous {
                self.became_known.push((at, id));
            }
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

    /// Writes down which ids the touch held together, and which it could not; gives the id it came by.
    fn note(
        &mut self,
        tx: &Tx,
        target: ContactId,
        touch: &Incoming,
        event: EventId,
        dormant: &[(IdentifierId, &str)],
    ) -> Option<IdentifierId> {
        let mut held = touch
            .claims
            .iter()
            .filter_map(|claim| self.identifiers.get(&(claim.kind, claim.value.clone())))
            .filter(|row| self.root(row.contact_id) == target)
            .map(|row| row.id);
        let first = held.next()?;
        let pairs: Vec<(IdentifierId, Option<&str>)> = held
            .map(|id| (id, None))
            .chain(dormant.iter().map(|(id, why)| (*id, Some(*why))))
            .collect();
        let kind = match touch.link {
            Link::SameEvent => contact_evidence::Kind::SameEvent,
            Link::Identify => contact_evidence::Kind::Identify,
            Link::Alias => contact_evidence::Kind::Alias,
        };
        for (other, dormant_reason) in pairs {
            self.evidence.push(contact_evidence::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                kind: Set(kind),
                level: Set(touch.verification),
                standing: Set(contact_evidence::Standing::Active),
                a_id: Set(first.min(other)),
                b_id: Set(first.max(other)),
                dormant_reason: Set(dormant_reason.map(ToOwned::to_owned)),
                event_id: Set(Some(event)),
                source: Set(touch.source.to_owned()),
                observed_at: Set(touch.occurred_at),
                created_at: Set(tx.now()),
            });
        }
        Some(first)
    }

    /// Writes what changed, in as many statements as there are tables.
    pub(super) async fn save(&mut self, tx: &Tx) -> Result<()> {
        let now = tx.now();
        let mut contacts = vec![];
        for id in self.new_contacts.iter().chain(
            self.changed_contacts
                .iter()
                .filter(|id| !self.new_contacts.contains(id)),
        ) {
            if let Some(row) = self.contacts.get(id) {
                let mut row = row.clone();
                row.merged_into = row.merged_into.map(|into| self.root(into));
                row.updated_at = now;
                contacts.push(row.into_active_model().reset_all());
            }
        }
        contacts.sort_by(|a, b| a.id.as_ref().cmp(b.id.as_ref()));
        let rewrite = OnConflict::column(contact::Column::Id)
            .update_columns([
                contact::Column::Status,
                contact::Column::FirstTouch,
                contact::Column::FirstTouchAt,
                contact::Column::LastTouch,
                contact::Column::LastTouchAt,
                contact::Column::LastSeenAt,
                contact::Column::MergedInto,
                contact::Column::UpdatedAt,
            ])
            .to_owned();
        tx.insert_all(contacts, Some(rewrite))
            .await
            .map_err(Error::contended)?;

        for join in &self.joins {
            self.redirect(tx, join).await?;
        }
        let mut identifiers = vec![];
        for row in self.identifiers.values() {
            if self.new_identifiers.contains(&row.id) || self.changed_identifiers.contains(&row.id)
            {
                let mut row = row.clone();
                row.contact_id = self.root(row.contact_id);
                identifiers.push(row.into_active_model().reset_all());
            }
        }
        identifiers.sort_by(|a, b| a.id.as_ref().cmp(b.id.as_ref()));
        let rewrite = OnConflict::column(contact_identifier::Column::Id)
            .update_columns([
                contact_identifier::Column::ContactId,
                contact_identifier::Column::Verification,
                contact_identifier::Column::FirstSeenAt,
                contact_identifier::Column::LastSeenAt,
            ])
            .to_owned();
        tx.insert_all(identifiers, Some(rewrite))
            .await
            .map_err(Error::contended)?;
        let once = OnConflict::columns([
            contact_evidence::Column::TenantId,
            contact_evidence::Column::AId,
            contact_evidence::Column::BId,
            contact_evidence::Column::Kind,
            contact_evidence::Column::Level,
        ])
        .do_nothing()
        .to_owned();
        tx.insert_all(std::mem::take(&mut self.evidence), Some(once))
            .await?;
        Ok(())
    }

    /// Makes every path to an absorbed contact lead to its root, in one step.
    async fn redirect(&self, tx: &Tx, join: &Join) -> Result<()> {
        use contact_alias::Column as Alias;
        use contact_identifier::Column as Identifier;
        let (absorbed, root) = (join.absorbed, self.root(join.absorbed));
        let to = || Expr::value(root);
        tx.update_many::<contact_identifier::Entity>(|update| {
            update
                .col_expr(Identifier::ContactId, to())
                .filter(Identifier::ContactId.eq(absorbed))
        })
        .await?;
        tx.update_many::<contact::Entity>(|update| {
            update
                .col_expr(contact::Column::MergedInto, to())
                .filter(contact::Column::MergedInto.eq(absorbed))
        })
        .await?;
        tx.update_many::<contact_alias::Entity>(|update| {
            update
                .col_expr(Alias::ContactId, to())
                .filter(Alias::ContactId.eq(absorbed))
        })
        .await?;
        tx.insert(contact_alias::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            absorbed_id: Set(absorbed),
            contact_id: Set(root),
            reason: Set(match join.reason {
                Link::SameEvent => "same_event",
                Link::Identify => "identify",
                Link::Alias => "alias",
            }
            .to_owned()),
            event_id: Set(Some(join.event)),
            created_at: Set(tx.now()),
        })
        .await?;
        traits::copy(tx, absorbed, root).await
    }
}

/// What an identifier makes of its contact; nothing, where it names a browser.
fn status_by(kind: Kind, verification: Verification) -> Option<Status> {
    match kind {
        Kind::AnonymousId | Kind::DistinctId => None,
        _ if verification > Verification::Claimed => Some(Status::Verified),
        _ => Some(Status::Known),
    }
}

const fn trust(status: Status) -> u8 {
    match status {
        Status::Merged | Status::Anonymous => 0,
        Status::Known => 1,
        Status::Verified => 2,
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

/// The rows of contacts, kept from being changed by others. They are locked in the order of their ids.
async fn locked(tx: &Tx, ids: &BTreeSet<ContactId>) -> Result<BTreeMap<ContactId, contact::Model>> {
    let rows = tx
        .find::<contact::Entity>()
        .filter(contact::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(contact::Column::Id)
        .locked()
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Keeps the earliest and the latest touch, whatever the order of arrival; of one instant, the first and the last by text.
fn attribute(row: &mut contact::Model, said: &serde_json::Value, at: DateTime<Utc>) -> bool {
    let than = |kept_at: Option<DateTime<Utc>>, kept: &Option<serde_json::Value>| {
        kept_at.map(|kept_at| {
            at.cmp(&kept_at).then_with(|| {
                let kept = kept.as_ref().map(ToString::to_string);
                Some(said.to_string()).cmp(&kept)
            })
        })
    };
    let is_first = than(row.first_touch_at, &row.first_touch).is_none_or(Ordering::is_lt);
    let is_last = than(row.last_touch_at, &row.last_touch).is_none_or(Ordering::is_gt);
    if is_first {
        row.first_touch = Some(said.clone());
        row.first_touch_at = Some(at);
    }
    if is_last {
        row.last_touch = Some(said.clone());
        row.last_touch_at = Some(at);
    }
    is_first || is_last
}

fn not_a_contact(id: ContactId) -> Error {
    Error::user(
        crate::base::ErrorCode::NotFound,
        "contactId",
        format!("there is no contact {id}"),
    )
}
