//! Writes what changed, in as many statements as there are tables, and takes along every room's rows.

use std::collections::{BTreeMap, BTreeSet};

use entity::{
    ContactId, contact, contact_alias, contact_cannot_link, contact_evidence, contact_identifier,
    identity_block,
    merge_record::{self, Kind as RecordKind, Mode},
    touchpoint,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, IntoActiveModel, Order, QueryFilter, QueryOrder as _,
    QuerySelect as _, Set,
    sea_query::{Expr, OnConflict},
};

use super::{Graph, Hand, IdentifierId};
use crate::{
    base::{Error, Regrouped, Result, Tx},
    contact::{commands::traits, queries, rules::attribute},
};

impl Graph {
    pub(in crate::contact::commands) async fn save(&mut self, tx: &Tx, hand: &Hand) -> Result<()> {
        self.save_contacts(tx).await?;
        self.save_identifiers(tx).await?;
        self.save_evidence(tx).await?;
        self.save_holds(tx, hand).await?;
        if !self.joined.is_empty() || !self.parted.is_empty() || !self.moves.is_empty() {
            self.save_aliases(tx).await?;
            self.save_records(tx, hand).await?;
            self.take_along(tx).await?;
        }
        Ok(())
    }

    async fn save_contacts(&self, tx: &Tx) -> Result<()> {
        use contact::Column as C;
        let now = tx.now();
        let ids: BTreeSet<ContactId> = &self.new_contacts | &self.changed_contacts;
        let rows = ids
            .iter()
            .filter_map(|id| self.contacts.get(id))
            .map(|row| {
                let mut row = row.clone();
                row.updated_at = now;
                row.into_active_model().reset_all()
            })
            .collect();
        let rewrite = OnConflict::column(C::Id)
            .update_columns([
                C::Status,
                C::DistinctId,
                C::FirstTouch,
                C::FirstTouchAt,
                C::LastTouch,
                C::LastTouchAt,
                C::LastSeenAt,
                C::MergedInto,
                C::UpdatedAt,
            ])
            .to_owned();
        tx.insert_all(rows, Some(rewrite))
            .await
            .map_err(Error::contended)?;
        Ok(())
    }

    async fn save_identifiers(&self, tx: &Tx) -> Result<()> {
        use contact_identifier::Column as C;
        let ids: BTreeSet<IdentifierId> = &self.new_identifiers | &self.changed_identifiers;
        let rows = ids
            .iter()
            .map(|id| {
                let mut row = self.identifiers[id].clone();
                row.origin_id.get_or_insert(row.contact_id);
                row.into_active_model().reset_all()
            })
            .collect();
        let rewrite = OnConflict::column(C::Id)
            .update_columns([
                C::ContactId,
                C::Verification,
                C::FirstSeenAt,
                C::LastSeenAt,
                C::OriginId,
                C::Blocked,
            ])
            .to_owned();
        tx.insert_all(rows, Some(rewrite))
            .await
            .map_err(Error::contended)?;
        Ok(())
    }

    async fn save_evidence(&self, tx: &Tx) -> Result<()> {
        use contact_evidence::Column as C;
        let rows = self
            .changed_evidence
            .iter()
            .map(|pair| self.evidence[pair].clone().into_active_model().reset_all())
            .collect();
        let rewrite = OnConflict::column(C::Id)
            .update_columns([C::ObservedAt, C::Standing, C::DormantReason])
            .to_owned();
        tx.insert_all(rows, Some(rewrite))
            .await
            .map_err(Error::contended)?;
        Ok(())
    }

    /// What waits for a person, and what became too common to be anybody's.
    async fn save_holds(&mut self, tx: &Tx, hand: &Hand) -> Result<()> {
        tx.insert_all(std::mem::take(&mut self.proposals), None)
            .await?;
        let held = self
            .held
            .iter()
            .map(|held| contact_cannot_link::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                a_id: Set(held.pair.a),
                b_id: Set(held.pair.b),
                said_by: Set(hand.said_by.clone()),
                reason: Set(Some("needs_review".to_owned())),
                proposal_id: Set(Some(held.proposal)),
                created_at: Set(tx.now()),
            });
        tx.insert_all(held.collect(), None).await?;
        let blocks: Vec<identity_block::ActiveModel> = self.hot_blocks(tx, hand);
        tx.insert_all(blocks, None).await?;
        Ok(())
    }

    /// Makes every path to an absorbed contact lead to its root, in one step.
    async fn save_aliases(&self, tx: &Tx) -> Result<()> {
        use contact_alias::Column as C;
        let (mut absorbed, mut restored) = (vec![], vec![]);
        for (id, row) in &self.contacts {
            let was = self.former.get(id).copied().unwrap_or(*id);
            match row.merged_into {
                Some(root) if root != was => absorbed.push((*id, root)),
                None if was != *id => restored.push(*id),
                _ => {}
            }
        }
        if !restored.is_empty() {
            tx.delete_where::<contact_alias::Entity>(|delete| {
                delete.filter(C::AbsorbedId.is_in(restored))
            })
            .await?;
        }
        let rows = absorbed
            .iter()
            .map(|(id, root)| {
                let join = self.joined.iter().find(|join| join.absorbed == *id);
                let pair = join.and_then(|join| join.pair);
                contact_alias::ActiveModel {
                    id: Set(tx.new_id()),
                    tenant_id: Set(tx.tenant()),
                    absorbed_id: Set(*id),
                    contact_id: Set(*root),
                    reason: Set(pair
                        .map_or("regrouped", |pair| reason(pair.kind))
                        .to_owned()),
                    event_id: Set(join.and_then(|join| self.event_of(join.touch))),
                    created_at: Set(tx.now()),
                }
            })
            .collect();
        let rewrite = OnConflict::columns([C::TenantId, C::AbsorbedId])
            .update_column(C::ContactId)
            .to_owned();
        tx.insert_all(rows, Some(rewrite)).await?;
        // Identifiers that nothing ties to the others go with the contact that they were at home with.
        for (id, root) in absorbed {
            tx.update_many::<contact_identifier::Entity>(|update| {
                update
                    .col_expr(contact_identifier::Column::ContactId, Expr::value(root))
                    .filter(contact_identifier::Column::ContactId.eq(id))
            })
            .await?;
        }
        Ok(())
    }

    fn event_of(&self, touch: Option<usize>) -> Option<entity::EventId> {
        touch
            .and_then(|at| self.seats.get(at))
            .map(|seat| seat.event)
    }

    async fn save_records(&self, tx: &Tx, hand: &Hand) -> Result<()> {
        let merges = self.joined.iter().map(|join| merge_record::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            kind: Set(RecordKind::Merge),
            survivor_id: Set(join.survivor),
            other_id: Set(join.absorbed),
            mode: Set(join.mode),
            known: Set(self.were_known.contains(&join.absorbed)
                && self.were_known.contains(&join.survivor)),
            a_id: Set(join.pair.map(|pair| pair.a)),
            b_id: Set(join.pair.map(|pair| pair.b)),
            before: Set(join.before.clone()),
            event_id: Set(self.event_of(join.touch)),
            said_by: Set(hand.said_by.clone()),
            reason: Set(hand.reason.clone()),
            created_at: Set(tx.now()),
            reversed_at: Set(None),
        });
        let splits = self.parted.iter().map(|part| merge_record::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            kind: Set(RecordKind::Split),
            survivor_id: Set(part.from),
            other_id: Set(part.contact),
            mode: Set(hand.mode),
            known: Set(false),
            a_id: Set(None),
            b_id: Set(None),
            before: Set(part.before.clone()),
            event_id: Set(self.event_of(part.touch)),
            said_by: Set(hand.said_by.clone()),
            reason: Set(hand.reason.clone()),
            created_at: Set(tx.now()),
            reversed_at: Set(None),
        });
        self.reverse_records(tx).await?;
        tx.insert_all(merges.chain(splits).collect(), None).await?;
        if !self.joined.is_empty() {
            let mode = match hand.mode {
                Mode::Auto => "auto",
                Mode::Review => "review",
                Mode::Manual => "manual",
            };
            metrics::counter!("growthos_contact_merges_total", "mode" => mode)
                .increment(self.joined.len() as u64);
        }
        if !self.parted.is_empty() {
            metrics::counter!("growthos_contact_splits_total").increment(self.parted.len() as u64);
        }
        Ok(())
    }

    /// Earlier merges that hold no more, and earlier splits.
    async fn reverse_records(&self, tx: &Tx) -> Result<()> {
        use merge_record::Column as C;
        for (kind, others) in [
            (
                RecordKind::Merge,
                self.parted.iter().map(|part| part.contact).collect(),
            ),
            (
                RecordKind::Split,
                self.joined
                    .iter()
                    .map(|join| join.absorbed)
                    .collect::<Vec<ContactId>>(),
            ),
        ] {
            if others.is_empty() {
                continue;
            }
            tx.update_many::<merge_record::Entity>(|update| {
                update
                    .col_expr(C::ReversedAt, Expr::value(tx.now()))
                    .filter(C::Kind.eq(kind))
                    .filter(C::OtherId.is_in(others))
                    .filter(C::ReversedAt.is_null())
            })
            .await?;
        }
        Ok(())
    }

    /// Moves what the identifiers that left a root had caused, lets traits compete anew, and has each room mend the rest.
    async fn take_along(&self, tx: &Tx) -> Result<()> {
        let mut families: BTreeMap<ContactId, Vec<ContactId>> = BTreeMap::new();
        for (id, former) in &self.former {
            families.entry(*former).or_default().push(*id);
        }
        for ((from, to), identifiers) in &self.moves {
            let from = families.get(from).map_or(&[][..], Vec::as_slice);
            for held in tx.modules().iter().flat_map(|module| module.fold.tables) {
                tx.reassign(held, from, *to, identifiers).await?;
            }
        }
        let mut disturbed: BTreeSet<ContactId> = self
            .moves
            .keys()
            .flat_map(|(from, to)| [*from, *to])
            .map(|id| self.root(id))
            .collect();
        disturbed.extend(
            self.parted
                .iter()
                .flat_map(|part| [self.root(part.from), part.contact]),
        );
        for root in &disturbed {
            traits::recompute(tx, *root).await?;
            self.attribute_anew(tx, *root).await?;
        }
        for join in &self.joined {
            if !disturbed.contains(&join.survivor) {
                traits::copy(tx, join.absorbed, join.survivor).await?;
            }
        }
        let regrouped = Regrouped {
            joined: self
                .joined
                .iter()
                .map(|join| (join.absorbed, join.survivor))
                .collect(),
            parted: self
                .parted
                .iter()
                .map(|part| (part.from, part.contact))
                .collect(),
        };
        for settle in tx.modules().iter().filter_map(|module| module.fold.settle) {
            settle(tx, &regrouped).await?;
        }
        Ok(())
    }
}

impl Graph {
    /// Finds a root's first and last touch again among those of its family.
    async fn attribute_anew(&self, tx: &Tx, root: ContactId) -> Result<()> {
        use touchpoint::Column as C;
        let Some(row) = self.contacts.get(&root) else {
            return Ok(());
        };
        let family = queries::family(tx, root).await?;
        let mut anew = contact::Model {
            first_touch: None,
            first_touch_at: None,
            last_touch: None,
            last_touch_at: None,
            ..row.clone()
        };
        for order in [Order::Asc, Order::Desc] {
            let touches = tx
                .find::<touchpoint::Entity>()
                .filter(C::ContactId.is_in(family.iter().copied()))
                .order_by(C::OccurredAt, order)
                .limit(SAME_INSTANT_MAX)
                .all()
                .await?;
            for touch in touches {
                attribute(&mut anew, &touch.touch, touch.occurred_at);
            }
        }
        if (&anew.first_touch, &anew.last_touch) != (&row.first_touch, &row.last_touch) {
            let mut row = anew.into_active_model();
            for column in [
                contact::Column::FirstTouch,
                contact::Column::FirstTouchAt,
                contact::Column::LastTouch,
                contact::Column::LastTouchAt,
            ] {
                row.reset(column);
            }
            tx.update(row).await?;
        }
        Ok(())
    }
}

/// Touches of one instant among which the first and the last are told apart by text.
const SAME_INSTANT_MAX: u64 = 50;

const fn reason(kind: contact_evidence::Kind) -> &'static str {
    match kind {
        contact_evidence::Kind::SameEvent => "same_event",
        contact_evidence::Kind::Identify => "identify",
        contact_evidence::Kind::Alias => "alias",
        contact_evidence::Kind::Manual => "manual",
    }
}
