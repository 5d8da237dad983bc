//! A view's rows: whom it lists, in its order, a page or a stretch at a time.

use std::{collections::HashMap, sync::Arc};

use entity::{ContactId, Id, contact};
use sea_orm::{Condition, QueryFilter};
use uuid::Uuid;

use super::{
    ViewId, ranked,
    rules::{Definition, Origin},
};
use crate::{
    base::{Counter, Cx, Page, PageArgs, Place, Result, Scope, Window, page_placed, places},
    contact::{self as contact_room, Asked, Span},
};

/// A page of a view. A row is absent whose contact went, or ceased to meet the filter, since PostHog ranked it.
pub async fn page_of(
    cx: &Cx,
    view: ViewId,
    definition: &Arc<Definition>,
    args: PageArgs,
) -> Result<Page<Option<contact::Model>>> {
    let list = format!("contactViews/{}/{}", view.uuid(), definition.list()?);
    let window = Window::of(&args)?;
    let [after, before] = places(cx, &list, &args)?;
    let span = Span {
        after,
        before,
        backward: window.is_backward(),
        rows: window.rows(),
    };
    let found = stretch(cx, definition, &span).await?;
    let (asker, counted) = (cx.clone(), Arc::clone(definition));
    let counter: Counter = Arc::new(move || {
        let (cx, definition) = (asker.clone(), Arc::clone(&counted));
        Box::pin(async move { Ok(count(&cx, &definition).await?) })
    });
    page_placed(cx, &list, found, &args, counter)
}

/// A stretch of a view's list, in the order in which it is read.
pub(super) async fn stretch(
    cx: &Cx,
    definition: &Definition,
    span: &Span,
) -> Result<Vec<(Place, Option<contact::Model>)>> {
    let scope = cx.db();
    let narrow = narrow(cx, &scope, definition)?;
    let found = match definition.origin()? {
        Origin::Contacts(ordering) => {
            let asked = Asked {
                scope: &scope,
                actor: cx.actor(),
                narrow: narrow.clone(),
            };
            contact_room::ordered(&asked, &ordering, span).await?
        }
        Origin::Ranking(wanted, ordering) => {
            let list = ranked::list(cx, definition, &wanted, ordering.as_ref()).await?;
            list.stretch(span)
        }
    };
    let ids: Vec<Uuid> = found.iter().map(|place| place.id).collect();
    let these = scope.is_one_of::<contact::Entity>(contact::Column::Id, &ids);
    let rows = contact_room::listed(&scope).filter(these).filter(narrow);
    let rows = rows.all().await?.into_iter().map(|row| (row.id, row));
    let mut rows: HashMap<ContactId, contact::Model> = rows.collect();
    Ok(found
        .into_iter()
        .map(|place| {
            let row = rows.remove(&Id::from_uuid(place.id));
            (place, row)
        })
        .collect())
}

/// How many contacts a view lists.
pub(super) async fn count(cx: &Cx, definition: &Definition) -> Result<u64> {
    match definition.origin()? {
        Origin::Contacts(_) => {
            let scope = cx.db();
            let narrow = narrow(cx, &scope, definition)?;
            contact_room::listed(&scope).filter(narrow).count().await
        }
        Origin::Ranking(wanted, ordering) => {
            let list = ranked::list(cx, definition, &wanted, ordering.as_ref()).await?;
            Ok(list.len() as u64)
        }
    }
}

/// What contacts must meet, as the caller may ask it.
pub(super) fn narrow(cx: &Cx, scope: &Scope, definition: &Definition) -> Result<Condition> {
    let filter = definition.filter.clone().unwrap_or_default();
    filter.condition(scope, cx.actor())
}
