//! Filters of events, and of contacts by what they did.

use std::collections::HashSet;

use async_graphql::{ID, InputObject};
use entity::{ContactId, contact, contact_alias, event};
use sea_orm::{
    ColumnTrait, Condition,
    sea_query::{Expr, ExprTrait, SelectStatement, UnionType},
};
use serde::{Deserialize, Serialize};

use super::{DEPTH_MAX, count, deeper, joined};
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
#[derive(Clone, Debug, Default, PartialEq, InputObject, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ContactEventsFilter {
    /// At least one event of the contact is such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub some: Option<ContactEventMatch>,
    /// No event of the contact is such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub none: Option<ContactEventMatch>,
}

/// An event that happened, or not.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContactEventMatch {
    /// Its name.
    #[graphql(validator(max_length = 200))]
    pub name: String,
    /// Later than this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Instant>,
    /// Earlier than this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Instant>,
}

/// Which events. All that is given must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct EventFilter {
    /// All of these hold.
    pub and: Option<Vec<Self>>,
    /// At least one of these holds; none does in an empty list.
    pub or: Option<Vec<Self>>,
    /// This does not hold.
    pub not: Option<Box<Self>>,
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
        // Before the ids in it are looked up: there may be too many.
        self.bounded(&|_| None)?;
        let mut named = HashSet::new();
        self.name_contacts(&mut named);
        let named: Vec<ContactId> = named.into_iter().collect();
        // An absorbed contact's id stands for its root.
        let roots = queries::roots(scope, &named).await?;
        let distinct: HashSet<ContactId> = roots.values().map(|root| root.id).collect();
        let distinct: Vec<ContactId> = distinct.into_iter().collect();
        let families = queries::families(scope, &distinct).await?;
        let family = |id: &ID| {
            let root = roots.get(&ContactId::parse(id)?)?;
            families.get(&root.id).cloned()
        };
        self.bounded(&family)
    }

    /// The condition among one contact's events.
    pub fn within_contact(&self) -> Result<Condition> {
        if self.names_contact() {
            return Err(Error::invalid(
                "filter.contactId",
                "these are one contact's events already",
            ));
        }
        self.bounded(&|_| None)
    }

    fn parts(&self) -> impl Iterator<Item = &Self> {
        let listed = self.and.iter().chain(&self.or).flatten();
        listed.chain(self.not.as_deref())
    }

    fn names_contact(&self) -> bool {
        self.contact_id.is_some() || self.parts().any(Self::names_contact)
    }

    fn name_contacts(&self, named: &mut HashSet<ContactId>) {
        named.extend(self.contact_id.as_ref().and_then(|id| ContactId::parse(id)));
        for part in self.parts() {
            part.name_contacts(named);
        }
    }

    fn bounded(&self, family: &impl Fn(&ID) -> Option<Vec<ContactId>>) -> Result<Condition> {
        let mut operators = 0;
        self.within(family, DEPTH_MAX, &mut operators)
    }

    fn within(
        &self,
        family: &impl Fn(&ID) -> Option<Vec<ContactId>>,
        depth: usize,
        operators: &mut usize,
    ) -> Result<Condition> {
        use event::Column;
        let depth = deeper(depth)?;
        let before = *operators;
        let mut all = Condition::all();
        if let Some(id) = &self.contact_id {
            *operators += 1;
            // Of nobody it is said in full, because an event without a contact would fail a `not`.
            all = all.add(Column::ContactId.is_not_null());
            all = all.add(Column::ContactId.is_in(family(id).unwrap_or_default()));
        }
        for (column, filter) in [(Column::Name, &self.name), (Column::Source, &self.source)] {
            let Some(filter) = filter else { continue };
            *operators += filter.operators();
            all = all.add(filter.of_column(&column.into_expr()));
        }
        if let Some(filter) = &self.occurred_at {
            *operators += filter.operators();
            all = all.add(filter.of_column(&Column::OccurredAt.into_expr()));
        }
        let mut each = |filters: &[Self]| -> Result<Vec<Condition>> {
            let part = |filter: &Self| filter.within(family, depth, operators);
            filters.iter().map(part).collect()
        };
        let and = each(self.and.as_deref().unwrap_or_default())?;
        let or = self.or.as_deref().map(&mut each).transpose()?;
        let not = self.not.as_deref().map(std::slice::from_ref);
        let not = each(not.unwrap_or_default())?;
        count(operators, before)?;
        Ok(joined(all, and, or, not))
    }
}
