//! Who is one person, why, and what people decide about it.

mod mutation;
mod objects;
mod query;

use async_graphql::ID;
use entity::{ContactId, Id, contact_identifier};

use crate::{
    base::{Error, ErrorCode, Result},
    contact::{self, ContactKey, MERGE_MAX},
};

pub(super) use mutation::IdentityMutation;
pub use objects::{IdentityBlock, MergeProposal, MergeRecord};
pub(super) use query::IdentityQuery;

fn contact_ids_of(ids: &[ID]) -> Result<Vec<ContactId>> {
    if !(2..=MERGE_MAX).contains(&ids.len()) {
        return Err(Error::invalid(
            "contactIds",
            format!("give 2 to {MERGE_MAX} ids, not {}", ids.len()),
        ));
    }
    ids.iter().map(|id| contact_id(id, "contactIds")).collect()
}

fn contact_id(id: &ID, field: &str) -> Result<ContactId> {
    ContactId::parse(id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            field,
            format!("there is no contact {}", id.as_str()),
        )
    })
}

fn parsed<T: entity::Named>(id: &ID, field: &str, what: &str) -> Result<Id<T>> {
    Id::parse(id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            field,
            format!("there is no {what} {}", id.as_str()),
        )
    })
}

fn normalized(key: &ContactKey, field: &str) -> Result<(contact_identifier::Kind, String)> {
    let (kind, text) = key.parts();
    let (value, _) = contact::normalize(kind, text).map_err(|why| Error::invalid(field, why))?;
    Ok((kind, value))
}
