//! Relating contacts, and ending it.

use chrono::{DateTime, Utc};
use entity::{
    ContactId, Id,
    relationship::{self, Kind},
};
use sea_orm::{
    ActiveEnum as _, ActiveValue::Unchanged, ColumnTrait as _, QueryFilter as _, QueryOrder as _,
    Set,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    base::{Actor, Error, ErrorCode, NewEvent, Result, Tx},
    contact::{
        SOURCE, queries,
        whom::{IdentifierId, Whom, hold},
    },
};

/// One relationship, not yet checked.
#[derive(Clone, Debug)]
pub struct NewRelationship {
    pub(super) from: Whom,
    pub(super) to: Whom,
    pub(super) kind: Kind,
    /// Absent: from now on, or as it was.
    pub(super) valid_from: Option<DateTime<Utc>>,
    pub(super) source: Option<String>,
    pub(super) evidence: Option<Value>,
}

/// One of the two, and the identifier that named it.
type End = (ContactId, Option<IdentifierId>);

/// Relates two contacts. Where they are related so already, what is given of it changes.
pub async fn set(tx: &Tx, actor: &Actor, new: &NewRelationship) -> Result<relationship::Model> {
    let from = new.from.found(tx, actor).await?;
    let to = new.to.found(tx, actor).await?;
    if from.0 == to.0 {
        return Err(Error::invalid("toId", "a contact is not related to itself"));
    }
    hold(tx, &[from.0, to.0]).await?;
    let (a, b) = ordered(new.kind, from, to);
    let row = match open_between(tx, new.kind, a.0, b.0).await? {
        Some(open) => {
            let mut row = relationship::ActiveModel {
                id: Unchanged(open.id),
                kind: Set(open.kind),
                ..Default::default()
            };
            if let Some(valid_from) = new.valid_from {
                row.valid_from = Set(valid_from);
            }
            if let Some(source) = &new.source {
                row.source = Set(source.clone());
            }
            if let Some(evidence) = &new.evidence {
                row.evidence = Set(Some(evidence.clone()));
            }
            return tx.update(row).await;
        }
        None => relationship::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            contact_a_id: Set(a.0),
            identifier_a_id: Set(a.1),
            contact_b_id: Set(b.0),
            identifier_b_id: Set(b.1),
            kind: Set(new.kind),
            valid_from: Set(new.valid_from.unwrap_or_else(|| tx.now())),
            valid_to: Set(None),
            source: Set(new
                .source
                .clone()
                .unwrap_or_else(|| actor.source().to_owned())),
            evidence: Set(new.evidence.clone()),
            open: Set(Some(name_of(new.kind, a.0, b.0))),
            created_at: Set(tx.now()),
        },
    };
    let row = tx.insert(row).await.map_err(Error::contended)?;
    tell(tx, "relationship.started", &row).await?;
    Ok(row)
}

/// Ends a relationship. One that has ended stays as it is.
pub async fn end(
    tx: &Tx,
    id: Id<relationship::Entity>,
    at: Option<DateTime<Utc>>,
) -> Result<relationship::Model> {
    let row = tx
        .find::<relationship::Entity>()
        .filter(relationship::Column::Id.eq(id))
        .locked()
        .one()
        .await?;
    let row =
        row.ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such relationship"))?;
    if row.valid_to.is_some() {
        return Ok(row);
    }
    let at = at.unwrap_or_else(|| tx.now());
    if at < row.valid_from || at > tx.now() {
        return Err(Error::invalid(
            "at",
            "a relationship ends after it began, and not in the future",
        ));
    }
    let row = tx
        .update(relationship::ActiveModel {
            id: Unchanged(row.id),
            valid_to: Set(Some(at)),
            open: Set(None),
            ..Default::default()
        })
        .await?;
    tell(tx, "relationship.ended", &row).await?;
    Ok(row)
}

/// What holds both ways is written down one way.
fn ordered(kind: Kind, from: End, to: End) -> (End, End) {
    match kind {
        Kind::SameAccount | Kind::Household if from.0 > to.0 => (to, from),
        _ => (from, to),
    }
}

fn name_of(kind: Kind, a: ContactId, b: ContactId) -> Uuid {
    let name = format!("{}/{}/{}", kind.to_value(), a.uuid(), b.uuid());
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// What holds between two roots, whichever of their families' contacts it was said of.
async fn open_between(
    tx: &Tx,
    kind: Kind,
    a: ContactId,
    b: ContactId,
) -> Result<Option<relationship::Model>> {
    use relationship::Column;
    let families = queries::families(tx, &[a, b]).await?;
    let family = |root: &ContactId| families.get(root).cloned().unwrap_or_default();
    let (mut of_a, mut of_b) = (family(&a), family(&b));
    if matches!(kind, Kind::SameAccount | Kind::Household) {
        // Which of the two came first may have changed since.
        of_a.extend(of_b.iter().copied());
        of_b.clone_from(&of_a);
    }
    tx.find::<relationship::Entity>()
        .filter(Column::ContactAId.is_in(of_a))
        .filter(Column::ContactBId.is_in(of_b))
        .filter(Column::Kind.eq(kind))
        .filter(Column::ValidTo.is_null())
        .order_by_asc(Column::Id)
        .locked()
        .one()
        .await
}

async fn tell(tx: &Tx, name: &str, row: &relationship::Model) -> Result<()> {
    let event = NewEvent {
        identifier_id: row.identifier_a_id,
        ..NewEvent::of_room(SOURCE, name, row.contact_a_id, tx.now())
    }
    .with("relationshipId", row.id.to_string())
    .with("kind", row.kind.to_value())
    .with("otherContactId", row.contact_b_id.to_string());
    tx.emit(event).await?;
    Ok(())
}
