//! Writes: views are saved and deleted, exports begun.

use std::collections::{BTreeSet, HashSet};

use entity::{contact_view, job, segment};
use sea_orm::{ActiveValue::Unchanged, ColumnTrait, QueryFilter, QuerySelect, Set};
use serde_json::json;

use super::{
    EXPORT, ViewId, cells,
    export::Asked,
    queries,
    rules::{Column, Definition, Origin},
};
use crate::{
    base::{Actor, Audited, Cx, Error, ErrorCode, Result, State, Tx, gql, storable, storable_json},
    contact as contact_room,
    job::{NewJob, enqueue},
    posthog::{self, Posthog},
    segment::{KEY_CHARS_MAX, key_is_fit},
};

/// Views of a tenant: what people keep for themselves, in a product that many people use.
const VIEWS_MAX: u64 = 500;
const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// A view as it is to be, whole.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The view to change; without it the view of the key is changed, or made.
    pub id: Option<ViewId>,
    pub key: String,
    /// The key where absent.
    pub name: Option<String>,
    pub description: Option<String>,
    pub definition: Definition,
}

/// Saves a view.
pub async fn save(cx: &Cx, new: &Saved) -> Result<contact_view::Model> {
    if !key_is_fit(&new.key) {
        return Err(Error::invalid(
            "key",
            format!("a key has 1 to {KEY_CHARS_MAX} letters, digits and characters of _-."),
        ));
    }
    check_chars("name", new.name.as_deref(), NAME_CHARS_MAX)?;
    check_chars(
        "description",
        new.description.as_deref(),
        DESCRIPTION_CHARS_MAX,
    )?;
    let states: Vec<&State> = cx.env().modules.iter().flat_map(|m| m.states).collect();
    new.definition.check(&states)?;
    flags_are_there(cx, &new.definition).await?;
    cx.write(async |tx| store(tx, cx.actor(), new).await).await
}

fn check_chars(field: &str, text: Option<&str>, max: usize) -> Result<()> {
    if text.is_some_and(|text| text.chars().count() > max) {
        return Err(Error::invalid(
            field,
            format!("a {field} has at most {max} characters"),
        ));
    }
    Ok(())
}

async fn store(tx: &Tx, actor: &Actor, new: &Saved) -> Result<contact_view::Model> {
    let filter = new.definition.filter.clone().unwrap_or_default();
    filter.condition(tx, actor)?;
    names_are_there(tx, &new.definition).await?;
    let known = match new.id {
        Some(id) => Some(tx.get(id).await?.ok_or_else(not_there)?),
        None => queries::by_key(tx, &new.key).one().await?,
    };
    let name = new.name.as_deref().map(str::trim);
    let name = name.filter(|name| !name.is_empty()).unwrap_or(&new.key);
    let definition = storable_json(serde_json::to_value(&new.definition)?);
    let row = contact_view::ActiveModel {
        key: Set(new.key.clone()),
        name: Set(storable(name.to_owned())),
        description: Set(new.description.clone().map(storable)),
        definition: Set(definition.clone()),
        updated_at: Set(tx.now()),
        ..Default::default()
    };
    let saved = match known {
        Some(known) => {
            let row = contact_view::ActiveModel {
                id: Unchanged(known.id),
                ..row
            };
            let taken = format!("another view has the key {}", new.key);
            tx.update(row)
                .await
                .map_err(|error| error.taken("key", &taken))?
        }
        None if tx.find::<contact_view::Entity>().count().await? >= VIEWS_MAX => {
            return Err(Error::user(
                ErrorCode::LimitReached,
                "key",
                format!("a tenant has at most {VIEWS_MAX} views"),
            ));
        }
        None => {
            let row = contact_view::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                created_at: Set(tx.now()),
                ..row
            };
            // Another call makes the same just now: this one runs again and finds it.
            tx.insert(row).await.map_err(Error::contended)?
        }
    };
    let changes = json!({"key": saved.key, "name": saved.name, "definition": definition});
    tx.audit(Audited::new("contactViewSave", &saved.id, changes))
        .await?;
    Ok(saved)
}

/// Refuses what a view names that the tenant does not have, by its place.
async fn names_are_there(tx: &Tx, definition: &Definition) -> Result<()> {
    let mut traits: Vec<(String, &str)> = vec![];
    let mut metrics: Vec<(String, &str)> = vec![];
    let mut segments: Vec<(String, &str)> = vec![];
    for (place, column, key) in definition.keyed() {
        match column {
            Column::Trait(_) => traits.push((place, key)),
            Column::Metric(_) => metrics.push((place, key)),
            Column::Segment(_) => segments.push((place, key)),
            // What a module's thing is called, the module alone knows.
            Column::Field(_) | Column::Identifier(_) | Column::Flag(_) | Column::State(_) => {}
        }
    }
    if let Some(filter) = &definition.metric_filter {
        metrics.push(("metricFilter.key".to_owned(), &filter.key));
    }
    if let Some(order) = &definition.order_by {
        let by_trait = order.r#trait.as_deref();
        traits.extend(by_trait.map(|key| ("orderBy.trait".to_owned(), key)));
        let by_metric = order.metric.as_deref();
        metrics.extend(by_metric.map(|key| ("orderBy.metric".to_owned(), key)));
    }
    let known = contact_room::definitions(tx).await?;
    each_is_there("trait", &traits, |key| known.known.contains_key(key))?;
    let asked: BTreeSet<&str> = metrics.iter().map(|(_, key)| *key).collect();
    let known = posthog::known_metrics(tx, asked).await?;
    each_is_there("metric", &metrics, |key| known.contains(key))?;
    let asked: BTreeSet<&str> = segments.iter().map(|(_, key)| *key).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let known: Vec<(String,)> = tx
        .find::<segment::Entity>()
        .filter(segment::Column::Key.is_in(asked))
        .select_only()
        .column(segment::Column::Key)
        .tuples()
        .await?;
    let known: HashSet<String> = known.into_iter().map(|(key,)| key).collect();
    each_is_there("segment", &segments, |key| known.contains(key))
}

fn each_is_there(
    what: &str,
    named: &[(String, &str)],
    is_there: impl Fn(&str) -> bool,
) -> Result<()> {
    match named.iter().find(|(_, key)| !is_there(key)) {
        None => Ok(()),
        Some((place, key)) => Err(Error::user(
            ErrorCode::NotFound,
            place,
            format!("there is no {what} {key:?}"),
        )),
    }
}

/// Refuses flags that the connected project does not have. While PostHog does not answer, they may be there.
async fn flags_are_there(cx: &Cx, definition: &Definition) -> Result<()> {
    let named: Vec<(String, &str)> = definition
        .keyed()
        .filter(|(_, column, _)| matches!(column, Column::Flag(_)))
        .map(|(place, _, key)| (place, key))
        .collect();
    let Some((first, _)) = named.first() else {
        return Ok(());
    };
    let posthog = cx.env().kept.get::<Posthog>()?;
    let known = match posthog.feature_flags(cx).await {
        Ok(known) => known,
        Err(Error::Unavailable(why)) if why.code == "POSTHOG_NOT_CONNECTED" => {
            return Err(Error::user(ErrorCode::NotFound, first, why.message));
        }
        Err(Error::Unavailable(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let known: HashSet<&str> = known.iter().map(|flag| flag.key.as_str()).collect();
    for (place, key) in named {
        if !known.contains(key) {
            return Err(cells::no_flag(key).at(&place));
        }
    }
    Ok(())
}

/// Deletes a view. Exports that were begun go on.
pub async fn delete(tx: &Tx, id: ViewId) -> Result<()> {
    let view = tx.get(id).await?.ok_or_else(not_there)?;
    tx.delete(id).await?;
    let changes = json!({ "key": view.key });
    tx.audit(Audited::new("contactViewDelete", &id, changes))
        .await
}

/// Begins to write down all rows of a view, as it is now and as `actor` may see it.
pub async fn export(tx: &Tx, actor: &Actor, view: &contact_view::Model) -> Result<job::Model> {
    let definition = queries::definition(view)?;
    let forbidden = definition
        .columns
        .iter()
        .enumerate()
        .find(|(_, column)| column.needs().is_some_and(|need| !need.met_by(actor)));
    if let Some((at, column)) = forbidden {
        return Err(Error::invalid(
            format!("columns.{at}"),
            format!(
                "this credential may not see the column {:?}",
                column.label()
            ),
        ));
    }
    if matches!(definition.origin()?, Origin::Ranking(..)) && !gql::ANALYTICS_READ.met_by(actor) {
        return Err(Error::invalid(
            "orderBy.metric",
            "this credential may not see metrics",
        ));
    }
    let asked = Asked::new(actor, &view.key, definition)?;
    let new = NewJob {
        kind: EXPORT,
        contact_id: None,
        input: serde_json::to_value(asked)?,
        total: None,
    };
    let row = enqueue(tx, actor, new).await?;
    let changes = json!({"key": view.key, "viewId": view.id.to_string()});
    tx.audit(Audited::new("contactViewExport", &row.id, changes))
        .await?;
    Ok(row)
}

pub(super) fn not_there() -> Error {
    Error::user(ErrorCode::NotFound, "id", "there is no view of this id")
}
