//! Whom a call is about, as its caller names them.

use async_graphql::ID;
use entity::{
    ContactId, Id, contact,
    contact_identifier::{self, Kind},
};
use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryOrder as _};

use super::{graphql::ContactKey, normalize, queries};
use crate::base::{Actor, Error, ErrorCode, Result, Tx};

/// A contact, as an input names it.
#[derive(Clone, Debug)]
pub(super) enum Whom {
    /// The caller itself.
    Own,
    /// By its id, which stood in this field.
    Id(ContactId, &'static str),
    /// By an identifier, which stood in this field.
    Identifier(Kind, String, &'static str),
}

pub(super) type IdentifierId = Id<contact_identifier::Entity>;

impl Whom {
    /// What an input says in the fields `id_field` and `key_field`: one of the two; neither, where the caller is a contact.
    pub(super) fn read(
        actor: &Actor,
        (id, id_field): (Option<ID>, &'static str),
        (key, key_field): (Option<ContactKey>, &'static str),
    ) -> Result<Self> {
        match (id, key) {
            (None, None) if matches!(actor, Actor::Contact { .. }) => Ok(Self::Own),
            (Some(id), None) => match ContactId::parse(&id) {
                Some(id) => Ok(Self::Id(id, id_field)),
                None => Err(nobody(id_field)),
            },
            (None, Some(key)) => {
                let (kind, text) = key.parts();
                let (value, _) =
                    normalize(kind, text).map_err(|why| Error::invalid(key_field, why))?;
                Ok(Self::Identifier(kind, value, key_field))
            }
            _ => Err(Error::invalid(
                id_field,
                format!("give exactly one of {id_field} and {key_field}"),
            )),
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::Own => "contactId",
            Self::Id(_, field) | Self::Identifier(_, _, field) => field,
        }
    }

    /// As [`Whom::found`]; the root stays one until the transaction ends.
    pub(super) async fn held(
        &self,
        tx: &Tx,
        actor: &Actor,
    ) -> Result<(ContactId, Option<IdentifierId>)> {
        let (root, identifier) = self.found(tx, actor).await?;
        hold(tx, &[root]).await?;
        Ok((root, identifier))
    }

    /// The root, and the identifier by which it was named. A contact gets to itself alone.
    pub(super) async fn found(
        &self,
        tx: &Tx,
        actor: &Actor,
    ) -> Result<(ContactId, Option<IdentifierId>)> {
        let own = match actor {
            Actor::Contact { id, .. } => {
                Some(queries::root(tx, *id).await?.ok_or(Error::NotFound)?.id)
            }
            _ => None,
        };
        let named = match self {
            Self::Own => own.map(|own| (own, None)),
            Self::Id(id, _) => queries::root(tx, *id).await?.map(|root| (root.id, None)),
            Self::Identifier(kind, value, _) => {
                match queries::identifier(tx, *kind, value).await? {
                    Some(row) => queries::root(tx, row.contact_id)
                        .await?
                        .map(|root| (root.id, Some(row.id))),
                    None => None,
                }
            }
        };
        named
            .filter(|(root, _)| own.is_none_or(|own| own == *root))
            .ok_or_else(|| nobody(self.field()))
    }
}

fn nobody(field: &str) -> Error {
    Error::user(ErrorCode::NotFound, field, "there is no such contact")
}

/// Keeps roots from being joined or taken apart until the transaction ends; who else holds them waits, in the order of their ids.
pub async fn hold(tx: &Tx, roots: &[ContactId]) -> Result<()> {
    let held = tx
        .find::<contact::Entity>()
        .filter(contact::Column::Id.is_in(roots.iter().copied()))
        .order_by_asc(contact::Column::Id)
        .locked()
        .all()
        .await?;
    // Absorbed between the look-up and the lock.
    if held.iter().any(|row| row.merged_into.is_some()) {
        return Err(Error::Contended);
    }
    Ok(())
}
