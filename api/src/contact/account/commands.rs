//! Making accounts, and saying what they are.

use std::collections::BTreeSet;

use entity::account;
use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait as _, QueryFilter as _, QueryOrder as _, Set,
    sea_query::OnConflict,
};
use serde_json::{Map, Value, json};

use super::rules::{Name, merged};
use crate::{
    base::{Error, NewEvent, Result, Tx},
    contact::SOURCE,
};

/// Bytes of all traits of an account as JSON.
const TRAITS_BYTES_MAX: usize = 64 * 1024;

/// What an account is to be.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub(super) name: Name,
    /// What it is called, and its other traits; null unsets.
    pub(super) set: Map<String, Value>,
}

/// Makes an account or changes the one of this type and key, and tells PostHog.
pub async fn upsert(tx: &Tx, new: &NewAccount) -> Result<account::Model> {
    let rows = ensured(tx, &BTreeSet::from([new.name.clone()])).await?;
    let row = rows.into_iter().next().ok_or(Error::Contended)?;
    let row = set(tx, row, new.set.clone())
        .await?
        .map_err(|message| Error::invalid("traits", message))?;
    let (kind, key) = &new.name;
    // As PostHog's own clients call whoever speaks of a group and is nobody.
    let nobody = format!("${kind}_{key}");
    tx.emit(NewEvent {
        id: None,
        name: GROUP_IDENTIFY.to_owned(),
        contact_id: None,
        identifier_id: None,
        properties: Map::from_iter([
            ("$group_type".to_owned(), kind.as_str().into()),
            ("$group_key".to_owned(), key.as_str().into()),
            ("$group_set".to_owned(), Value::Object(new.set.clone())),
        ]),
        context: Map::from_iter([("ids".to_owned(), json!([nobody]))]),
        source: SOURCE,
        message_id: None,
        cause: None,
        occurred_at: tx.now(),
    })
    .await?;
    Ok(row)
}

/// What PostHog's clients call it when they say what a group is.
pub(super) const GROUP_IDENTIFY: &str = "$groupidentify";

/// The accounts of these names, locked; made where they are missing.
pub(super) async fn ensured(tx: &Tx, names: &BTreeSet<Name>) -> Result<Vec<account::Model>> {
    use account::Column;
    let rows = names.iter().map(|(kind, key)| account::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        kind: Set(kind.clone()),
        key: Set(key.clone()),
        name: Set(None),
        traits: Set(json!({})),
        created_at: Set(tx.now()),
        updated_at: Set(tx.now()),
    });
    let once = OnConflict::columns([Column::TenantId, Column::Kind, Column::Key])
        .do_nothing()
        .to_owned();
    tx.insert_all(rows.collect(), Some(once)).await?;
    let kinds: BTreeSet<&str> = names.iter().map(|(kind, _)| kind.as_str()).collect();
    let keys: BTreeSet<&str> = names.iter().map(|(_, key)| key.as_str()).collect();
    let rows = tx
        .find::<account::Entity>()
        .filter(Column::Kind.is_in(kinds))
        .filter(Column::Key.is_in(keys))
        .order_by_asc(Column::Id)
        .locked()
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .filter(|row| names.contains(&(row.kind.clone(), row.key.clone())))
        .collect())
}

/// Sets traits of an account; gives what is wrong with them where they are too many.
pub(super) async fn set(
    tx: &Tx,
    row: account::Model,
    set: Map<String, Value>,
) -> Result<Result<account::Model, String>> {
    let Value::Object(known) = row.traits.clone() else {
        return Err(anyhow::anyhow!("an account's traits are an object").into());
    };
    let (traits, name) = merged(known, set);
    let traits = Value::Object(traits);
    if traits == row.traits {
        return Ok(Ok(row));
    }
    if serde_json::to_vec(&traits)?.len() > TRAITS_BYTES_MAX {
        return Ok(Err(format!(
            "an account's traits are larger than {TRAITS_BYTES_MAX} bytes"
        )));
    }
    let row = tx
        .update(account::ActiveModel {
            id: Unchanged(row.id),
            traits: Set(traits),
            name: Set(name),
            updated_at: Set(tx.now()),
            ..Default::default()
        })
        .await?;
    Ok(Ok(row))
}
