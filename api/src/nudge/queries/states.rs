//! What segments can ask of contacts in this room's terms: how far a nudge came with them.

use entity::{nudge, nudge_delivery};
use sea_orm::{ColumnTrait, IntoSimpleExpr, sea_query::SelectStatement};

use crate::base::{AT, CONTACT, Scope, State};

use nudge_delivery::Column;

/// Each is reached once a delivery, of the nudge of a key.
pub(in crate::nudge) const STATES: &[State] = &[
    State {
        name: "nudge.offered",
        events: &["nudge.offered"],
        occurrences: |scope, key| reached(scope, key, Column::OfferedAt),
    },
    State {
        name: "nudge.displayed",
        events: &["nudge.displayed"],
        occurrences: |scope, key| reached(scope, key, Column::DisplayedAt),
    },
    State {
        name: "nudge.clicked",
        events: &["nudge.clicked"],
        occurrences: |scope, key| reached(scope, key, Column::ClickedAt),
    },
    State {
        name: "nudge.dismissed",
        events: &["nudge.dismissed"],
        occurrences: |scope, key| reached(scope, key, Column::DismissedAt),
    },
    State {
        name: "nudge.completed",
        events: &["nudge.completed"],
        occurrences: |scope, key| reached(scope, key, Column::CompletedAt),
    },
];

fn reached(scope: &Scope, key: &str, at: Column) -> SelectStatement {
    let mut named = scope.subquery::<nudge::Entity>();
    named
        .column(nudge::Column::Id.as_column_ref())
        .and_where(nudge::Column::Key.eq(key));
    let mut rows = scope.subquery::<nudge_delivery::Entity>();
    rows.expr_as(Column::ContactId.into_simple_expr(), CONTACT)
        .expr_as(at.into_simple_expr(), AT)
        .and_where(Column::NudgeId.in_subquery(named))
        .and_where(at.is_not_null());
    rows
}
