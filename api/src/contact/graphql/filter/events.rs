//! Filters of events, and of contacts by what they did.

use async_graphql::{ID, InputObject};
use entity::{ContactId, contact, contact_alias, event};
use sea_orm::{
    ColumnTrait, Condition,
    sea_query::{Expr, ExprTrait, SelectStatement, UnionType},
};

use crate::{
    base::{
        Error, Result, Scope,
        filter::{DateTimeFilter, StringFilter},
        instant::Instant,
        storable,
    },
    contact::queries,
};

/// What a contact must have done, or must not.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ContactEventsFilter {
    /// At least one event of the contact is such.
    pub some: Option<ContactEventMatch>,
    /// No event of the contact is such.
    pub none: Option<ContactEventMatch>,
}

/// An event that happened, or not.
#[derive(Clone, Debug, InputObject)]
pub struct ContactEventMatch {
    /// Its name.
    #[graphql(validator(max_length = 200))]
    pub name: String,
    /// Later than this instant.
    pub after: Option<Instant>,
    /// Earlier than this instant.
    pub before: Option<Instant>,
}

/// Which events. All that is given must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct EventFilter {
    /// Its name, such as `$pageview` or `signup`.
    pub name: Option<StringFilter>,
    /// Whose it is; an absorbed contact's id stands for its root.
    pub contact_id: Option<ID>,
    /// When it happened.
    pub occurred_at: Option<DateTimeFilter>,
    /// Who wrote it down, such as `api`, `capture` or a module's name.
    pub source: Option<StringFilter>,
}

impl ContactEventsFilter {
    pub(super) fn operators(&self) -> usize {
        usize::from(self.some.is_some()) + usize::from(self.none.is_some())
    }

    pub(super) fn condition(self, scope: &Scope) -> Condition {
        Condition::all()
            .add_option(self.some.map(|wanted| wanted.happened(scope)))
            .add_option(self.none.map(|unwanted| unwanted.never_happened(scope)))
    }
}

impl ContactEventMatch {
    fn events(&self, scope: &Scope) -> SelectStatement {
        use event::Column;
        let mut events = scope.subquery::<event::Entity>();
        events
            .and_where(Column::Name.eq(storable(self.name.clone())))
            .and_where_option(self.after.map(|at| Column::OccurredAt.gt(at.0)))
            .and_where_option(self.before.map(|at| Column::OccurredAt.lt(at.0)));
        events
    }

    /// An event keeps the contact it was written with: a root's own, or that of one it absorbed.
    fn happened(&self, scope: &Scope) -> Condition {
        let mut doers = self.events(scope);
        doers
            .column(event::Column::ContactId.as_column_ref())
            .and_where(event::Column::ContactId.is_not_null());
        let mut absorbed = scope.subquery::<contact_alias::Entity>();
        absorbed
            .column(contact_alias::Column::ContactId.as_column_ref())
            .and_where(contact_alias::Column::AbsorbedId.in_subquery(doers.clone()));
        doers.union(UnionType::All, absorbed);
        contact::Column::Id.in_subquery(doers).into()
    }

    fn never_happened(&self, scope: &Scope) -> Condition {
        let mut own = self.events(scope);
        own.expr(Expr::value(1)).and_where(
            event::Column::ContactId
                .into_expr()
                .eq(contact::Column::Id.into_expr()),
        );
        let mut doers = self.events(scope);
        doers.expr(Expr::value(1)).and_where(
            event::Column::ContactId
                .into_expr()
                .eq(contact_alias::Column::AbsorbedId.into_expr()),
        );
        let mut absorbed = scope.subquery::<contact_alias::Entity>();
        absorbed
            .expr(Expr::value(1))
            .and_where(
                contact_alias::Column::ContactId
                    .into_expr()
                    .eq(contact::Column::Id.into_expr()),
            )
            .and_where(Expr::exists(doers));
        Condition::all()
            .add(Expr::exists(own).not())
            .add(Expr::exists(absorbed).not())
    }
}

impl EventFilter {
    /// The condition on the table `event`.
    pub async fn condition(self, scope: &Scope) -> Result<Condition> {
        use event::Column;
        let mut all = Condition::all();
        if let Some(id) = &self.contact_id {
            let family = match ContactId::parse(id) {
                Some(id) => match queries::root(scope, id).await? {
                    Some(root) => queries::family(scope, root.id).await?,
                    None => vec![],
                },
                None => vec![],
            };
            all = all.add(Column::ContactId.is_in(family));
        }
        Ok(all.add(self.narrow()))
    }

    /// The condition among one contact's events.
    pub fn within_contact(&self) -> Result<Condition> {
        if self.contact_id.is_some() {
            return Err(Error::invalid(
                "filter.contactId",
                "these are one contact's events already",
            ));
        }
        Ok(self.narrow())
    }

    fn narrow(&self) -> Condition {
        use event::Column;
        Condition::all()
            .add_option(
                self.name
                    .as_ref()
                    .map(|name| name.of_column(&Column::Name.into_expr())),
            )
            .add_option(
                self.source
                    .as_ref()
                    .map(|source| source.of_column(&Column::Source.into_expr())),
            )
            .add_option(
                self.occurred_at
                    .as_ref()
                    .map(|at| at.of_column(&Column::OccurredAt.into_expr())),
            )
    }
}
