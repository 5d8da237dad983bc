//! Reading nudges, and the batches that keep a page from costing a query a row.

mod batch;
mod states;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{ContactId, Id, nudge, nudge_delivery, nudge_interaction::Kind, nudge_version};
use sea_orm::{
    ColumnTrait, Condition, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait, IntoCondition},
};

use super::rules::State;
use crate::{
    base::{Error, Result, Rows, Scope},
    contact,
};

pub use batch::Reads;
pub(super) use batch::{Counts, Ends, Totals, VERSIONS_LISTED};
pub(super) use states::STATES;

pub(super) fn by_key<'a>(db: &'a Scope, key: &str) -> Rows<'a, nudge::Entity> {
    db.find::<nudge::Entity>()
        .filter(nudge::Column::Key.eq(key))
}

pub(super) async fn latest_version(
    db: &Scope,
    nudge: Id<nudge::Entity>,
) -> Result<Option<nudge_version::Model>> {
    db.find::<nudge_version::Entity>()
        .filter(nudge_version::Column::NudgeId.eq(nudge))
        .order_by_desc(nudge_version::Column::Number)
        .one()
        .await
}

/// The versions that run and wait for an event of one of these names.
pub(super) async fn live_versions(
    db: &Scope,
    event_names: &[&str],
) -> Result<Vec<nudge_version::Model>> {
    let mut live = db.subquery::<nudge::Entity>();
    live.column(nudge::Column::LiveVersionId)
        .and_where(Expr::col(nudge::Column::ArchivedAt).is_null());
    db.find::<nudge_version::Entity>()
        .filter(nudge_version::Column::TriggerEvent.is_in(event_names.iter().copied()))
        .filter(nudge_version::Column::Id.in_subquery(live))
        .order_by_asc(nudge_version::Column::Id)
        .all()
        .await
}

/// The root that `contact` is or was absorbed by, and every id whose rows are its own, the root's first.
pub(super) async fn family(db: &Scope, contact: ContactId) -> Result<Vec<ContactId>> {
    let root = contact::root(db, contact).await?.ok_or(Error::NotFound)?;
    contact::family(db, root.id).await
}

/// Whose rows are which root's.
pub(super) async fn members(
    db: &Scope,
    roots: &[ContactId],
) -> Result<HashMap<ContactId, ContactId>> {
    let families = contact::families(db, roots).await?;
    Ok(families
        .into_iter()
        .flat_map(|(root, family)| family.into_iter().map(move |member| (member, root)))
        .collect())
}

/// [`rules::is_open`](super::rules::is_open), as the database asks it.
pub(super) fn is_open(now: DateTime<Utc>) -> Condition {
    use nudge_delivery::Column;
    Condition::all()
        .add(Column::WithdrawnAt.is_null())
        .add(Column::CompletedAt.is_null())
        .add(Column::DismissedAt.is_null())
        .add(not_past(now))
}

fn not_past(now: DateTime<Utc>) -> Condition {
    use nudge_delivery::Column::ExpiresAt;
    Condition::any()
        .add(ExpiresAt.is_null())
        .add(ExpiresAt.gt(now))
}

/// [`State::of`], as the database asks it.
pub(super) fn in_state(state: State, now: DateTime<Utc>) -> Condition {
    use nudge_delivery::Column;
    let is = |state, column: Column| {
        (
            state,
            column.is_not_null().into_condition(),
            column.is_null().into_condition(),
        )
    };
    let happened = [
        is(State::Withdrawn, Column::WithdrawnAt),
        is(State::Completed, Column::CompletedAt),
        is(State::Dismissed, Column::DismissedAt),
        is(State::Clicked, Column::ClickedAt),
        is(State::Snoozed, Column::SnoozedAt),
        is(State::Displayed, Column::DisplayedAt),
        (
            State::Expired,
            Column::ExpiresAt.lte(now).into_condition(),
            not_past(now),
        ),
        is(State::Received, Column::ReceivedAt),
    ];
    let mut all = Condition::all();
    for (each, did, did_not) in happened {
        if each == state {
            return all.add(did);
        }
        all = all.add(did_not);
    }
    all
}

/// The interaction's name as events carry it.
pub(super) const fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Received => "received",
        Kind::Displayed => "displayed",
        Kind::Clicked => "clicked",
        Kind::Dismissed => "dismissed",
        Kind::Completed => "completed",
        Kind::Snoozed => "snoozed",
    }
}

/// What of a contact's deliveries is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Narrow {
    pub(super) state: Option<State>,
    /// Only those that a client should show.
    pub(super) open: bool,
    pub(super) surface: Option<String>,
}

impl Narrow {
    pub(super) fn condition(&self, now: DateTime<Utc>) -> Condition {
        let surface = self
            .surface
            .as_ref()
            .map(|surface| nudge_delivery::Column::Surface.eq(surface.as_str()));
        Condition::all()
            .add_option(self.state.map(|state| in_state(state, now)))
            .add_option(self.open.then(|| is_open(now)))
            .add_option(surface)
    }
}
