//! What is known of traits, read.

use std::sync::Arc;

use entity::{trait_definition, trait_schema};
use sea_orm::{ColumnTrait, Condition};

use super::rules::{Definition, Definitions};
use crate::base::{Actor, Result, Scope, Tx};

/// What is known of the tenant's traits, at most a second old.
pub async fn definitions(tx: &Tx) -> Result<Arc<Definitions>> {
    let (tenant, now) = (tx.tenant(), tx.now());
    if let Some(known) = tx.memory().recall(tenant, now) {
        return Ok(known);
    }
    let schema = tx.find::<trait_schema::Entity>().one().await?;
    let rows = tx.find::<trait_definition::Entity>().all().await?;
    let known = rows.into_iter().map(|row| {
        let definition = definition(&row)?;
        Ok((row.key, definition))
    });
    let definitions = Arc::new(Definitions {
        locked: schema.is_some_and(|schema| schema.locked_at.is_some()),
        known: known.collect::<Result<_>>()?,
    });
    tx.memory().remember(tenant, now, Arc::clone(&definitions));
    Ok(definitions)
}

pub(super) fn definition(row: &trait_definition::Model) -> Result<Definition> {
    Ok(Definition {
        kind: row.kind,
        policy: row.policy,
        sources: serde_json::from_value(row.sources.clone())?,
        last_seen_at: row.last_seen_at,
    })
}

/// Which traits `actor` may see, by the column that holds their keys: all but the personal ones, unless it holds `contacts:pii`. A
/// contact gets to itself alone, and sees all of itself.
pub(in crate::contact) fn readable<C: ColumnTrait>(
    scope: &Scope,
    actor: &Actor,
    key: C,
) -> Condition {
    if actor.holds("contacts:pii") || matches!(actor, Actor::Contact { .. }) {
        return Condition::all();
    }
    let mut personal = scope.subquery::<trait_definition::Entity>();
    personal
        .column(trait_definition::Column::Key.as_column_ref())
        .and_where(trait_definition::Column::Pii.eq(true));
    Condition::all().add(key.not_in_subquery(personal))
}
