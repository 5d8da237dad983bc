//! Everything that hangs together with what is news.

use std::collections::BTreeSet;

use entity::{ContactId, contact_alias, contact_cannot_link, contact_evidence, contact_identifier};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QuerySelect};

use super::{Graph, IdentifierId};
use crate::{
    base::{Error, Result, Tx},
    contact::rules::is_distinct_id_kind,
};

/// Identifiers that are decided together. Degrees are bounded, see [`super::review`]; this is the last fence.
const CLOSURE_MAX: usize = 20_000;

impl Graph {
    /// Reads the part of the graph that the stirred identifiers are in, and locks its contacts; gives its identifiers.
    pub(super) async fn close(&mut self, tx: &Tx) -> Result<BTreeSet<IdentifierId>> {
        let mut members = self.reach(tx).await?;
        let contacts = self.contacts_of(tx, &members).await?;
        if !contacts.iter().all(|id| self.contacts.contains_key(id)) {
            // What was read before the locks may have changed since: read once more, and no further.
            self.lock(tx, &contacts).await?;
            members = self.reach(tx).await?;
            let again = self.contacts_of(tx, &members).await?;
            if !again.iter().all(|id| self.contacts.contains_key(id)) {
                return Err(Error::Contended);
            }
        }
        self.load_apart(tx, &members).await?;
        members.extend(&self.new_identifiers);
        Ok(members)
    }

    /// The stirred identifiers that are stored, and all that evidence leads to, but what lies behind blocked ones.
    async fn reach(&mut self, tx: &Tx) -> Result<BTreeSet<IdentifierId>> {
        use contact_evidence::Column;
        let mut frontier: BTreeSet<IdentifierId> = &self.stirred - &self.new_identifiers;
        // New evidence leads on as stored evidence does.
        for pair in &self.changed_evidence {
            if self.stirred.contains(&pair.a) || self.stirred.contains(&pair.b) {
                frontier.extend(
                    [pair.a, pair.b]
                        .into_iter()
                        .filter(|id| !self.new_identifiers.contains(id)),
                );
            }
        }
        let mut members = frontier.clone();
        while !frontier.is_empty() {
            if members.len() > CLOSURE_MAX {
                return Err(anyhow::anyhow!(
                    "more than {CLOSURE_MAX} identifiers hang together: block the value that ties them"
                )
                .into());
            }
            let at = || frontier.iter().copied();
            let evidence = tx
                .find::<contact_evidence::Entity>()
                .filter(
                    Condition::any()
                        .add(Column::AId.is_in(at()))
                        .add(Column::BId.is_in(at())),
                )
                .all()
                .await?;
            let mut ids: BTreeSet<IdentifierId> = frontier.clone();
            ids.extend(evidence.iter().flat_map(|row| [row.a_id, row.b_id]));
            self.add_evidence(evidence);
            let rows = tx
                .find::<contact_identifier::Entity>()
                .filter(contact_identifier::Column::Id.is_in(ids.iter().copied()))
                .all()
                .await?;
            self.add_identifiers(rows)?;
            ids.extend(self.read_siblings(tx, &ids).await?);
            frontier = ids
                .into_iter()
                .filter(|id| members.insert(*id))
                .filter(|id| !self.identifiers[id].blocked)
                .collect();
        }
        Ok(members)
    }

    /// The other kinds of the same values, which are one by themselves.
    async fn read_siblings(
        &mut self,
        tx: &Tx,
        of: &BTreeSet<IdentifierId>,
    ) -> Result<Vec<IdentifierId>> {
        let values: BTreeSet<&str> = of
            .iter()
            .map(|id| &self.identifiers[id])
            .filter(|row| is_distinct_id_kind(row.kind))
            .map(|row| row.value.as_str())
            .collect();
        if values.is_empty() {
            return Ok(vec![]);
        }
        let rows = tx
            .find::<contact_identifier::Entity>()
            .filter(contact_identifier::Column::Value.is_in(values))
            .all()
            .await?;
        let found = rows
            .iter()
            .filter(|row| is_distinct_id_kind(row.kind))
            .map(|row| row.id)
            .collect();
        self.add_identifiers(rows)?;
        Ok(found)
    }

    /// The contacts that the identifiers belong to or came from, with all that those absorbed.
    async fn contacts_of(
        &self,
        tx: &Tx,
        members: &BTreeSet<IdentifierId>,
    ) -> Result<BTreeSet<ContactId>> {
        let stored = members
            .iter()
            .filter(|id| !self.new_identifiers.contains(id));
        let mut contacts: BTreeSet<ContactId> = stored
            .map(|id| &self.identifiers[id])
            .flat_map(|row| [Some(row.contact_id), row.origin_id])
            .flatten()
            .collect();
        if contacts.is_empty() {
            return Ok(contacts);
        }
        let absorbed: Vec<(ContactId,)> = tx
            .find::<contact_alias::Entity>()
            .filter(contact_alias::Column::ContactId.is_in(contacts.iter().copied()))
            .select_only()
            .column(contact_alias::Column::AbsorbedId)
            .tuples()
            .await?;
        contacts.extend(absorbed.into_iter().map(|(id,)| id));
        Ok(contacts)
    }

    async fn load_apart(&mut self, tx: &Tx, members: &BTreeSet<IdentifierId>) -> Result<()> {
        use contact_cannot_link::Column;
        if members.len() < 2 {
            return Ok(());
        }
        let pairs: Vec<(IdentifierId, IdentifierId)> = tx
            .find::<contact_cannot_link::Entity>()
            .filter(Column::AId.is_in(members.iter().copied()))
            .filter(Column::BId.is_in(members.iter().copied()))
            .select_only()
            .column(Column::AId)
            .column(Column::BId)
            .tuples()
            .await?;
        self.apart.extend(pairs);
        Ok(())
    }
}
