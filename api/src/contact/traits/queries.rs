//! What is known of traits, read.

use std::{collections::HashMap, sync::Arc};

use async_graphql::dataloader::Loader;
use entity::{Id, trait_definition, trait_observation, trait_schema};
use sea_orm::{ColumnTrait, Condition, QueryFilter as _, QueryOrder as _};

use super::rules::{Definition, Definitions};
use crate::base::{Actor, Cx, Error, Result, Scope, Tx};

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

/// The scope that shows personal traits.
pub const PERSONAL: &str = "contacts:pii";

/// Which traits `actor` may see, by the column that holds their keys: all but the personal ones, unless it holds `contacts:pii`. A
/// contact gets to itself alone, and sees all of itself.
pub(in crate::contact) fn readable<C: ColumnTrait>(
    scope: &Scope,
    actor: &Actor,
    key: C,
) -> Condition {
    if actor.holds(PERSONAL) || matches!(actor, Actor::Contact { .. }) {
        return Condition::all();
    }
    let mut personal = scope.subquery::<trait_definition::Entity>();
    personal
        .column(trait_definition::Column::Key.as_column_ref())
        .and_where(trait_definition::Column::Pii.eq(true));
    Condition::all().add(key.not_in_subquery(personal))
}

/// Loads observations by their ids, without those that the caller may not see.
pub struct Observations(pub Cx);

impl Loader<Id<trait_observation::Entity>> for Observations {
    type Value = trait_observation::Model;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[Id<trait_observation::Entity>],
    ) -> Result<HashMap<Id<trait_observation::Entity>, Self::Value>, Self::Error> {
        use trait_observation::Column;
        let scope = self.0.db();
        let rows = scope
            .find::<trait_observation::Entity>()
            .filter(Column::Id.is_in(ids.iter().copied()))
            .filter(readable(&scope, self.0.actor(), Column::Key))
            .all()
            .await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

/// The first of these traits that `actor` may not see, if there is one.
pub async fn hidden_from(scope: &Scope, actor: &Actor, keys: &[&str]) -> Result<Option<String>> {
    use trait_definition::Column;
    if keys.is_empty() || actor.holds(PERSONAL) {
        return Ok(None);
    }
    let personal = scope
        .find::<trait_definition::Entity>()
        .filter(Column::Pii.eq(true))
        .filter(Column::Key.is_in(keys.iter().copied()))
        .order_by_asc(Column::Key)
        .one()
        .await?;
    Ok(personal.map(|row| row.key))
}
