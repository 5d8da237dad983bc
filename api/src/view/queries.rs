//! Reads of views.

use entity::contact_view;
use sea_orm::{ColumnTrait, QueryFilter};

use super::rules::Definition;
use crate::base::{Result, Rows, Scope, SortBy};

pub fn by_key<'a>(scope: &'a Scope, key: &str) -> Rows<'a, contact_view::Entity> {
    scope
        .find::<contact_view::Entity>()
        .filter(contact_view::Column::Key.eq(key))
}

pub const fn newest_first() -> SortBy<contact_view::Entity> {
    SortBy {
        column: contact_view::Column::CreatedAt,
        descending: true,
    }
}

/// What a view shows, as it was saved.
pub fn definition(view: &contact_view::Model) -> Result<Definition> {
    Ok(serde_json::from_value(view.definition.clone())?)
}
