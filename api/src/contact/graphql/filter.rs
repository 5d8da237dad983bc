//! Filters of contacts, and the conditions they become. Every subquery carries the tenant.

mod events;

use async_graphql::{InputObject, Json, MaybeUndefined};
use entity::{
    contact,
    contact_identifier::{self, Kind},
    contact_trait,
};
use sea_orm::{
    ColumnTrait, Condition,
    sea_query::{Expr, ExprTrait, Func, SelectStatement},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::types::ContactStatus;
use crate::{
    base::{
        Actor, Error, Result, Scope,
        filter::{Among, DateTimeFilter, StringFilter, like},
        storable, storable_json,
    },
    contact::{
        rules::{filterable, normalize},
        traits::readable,
    },
};
use events::ContactEventsFilter;
pub use events::EventFilter;

/// How deep `and`, `or` and `not` may nest: what people write by hand, and what a planner takes well.
const DEPTH_MAX: usize = 5;

/// How many operators one filter may hold: each may cost a subquery.
const OPERATORS_MAX: usize = 50;

/// Which contacts. All that is given must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ContactFilter {
    /// All of these hold.
    pub and: Option<Vec<Self>>,
    /// At least one of these holds; none does in an empty list.
    pub or: Option<Vec<Self>>,
    /// This does not hold.
    pub not: Option<Box<Self>>,
    /// How well the contact is known.
    pub status: Option<ContactStatusFilter>,
    /// The person's ids in the tenant's own product.
    pub external_id: Option<StringFilter>,
    /// E-mail addresses; case does not matter.
    pub email: Option<StringFilter>,
    /// Phone numbers, in E.164 where compared as a whole.
    pub phone: Option<StringFilter>,
    /// Ids that clients made up for the visitor.
    pub anonymous_id: Option<StringFilter>,
    /// When the contact was first heard of.
    pub created_at: Option<DateTimeFilter>,
    /// When the contact last changed.
    pub updated_at: Option<DateTimeFilter>,
    /// When the contact was last seen, to the minute.
    pub last_seen_at: Option<DateTimeFilter>,
    /// The value of one trait; several traits go into `and`.
    pub r#trait: Option<TraitFilter>,
    /// What the contact did.
    pub events: Option<ContactEventsFilter>,
}

/// How well a contact must be known.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ContactStatusFilter {
    /// Is this one.
    pub eq: Option<ContactStatus>,
    /// Is one of these.
    #[graphql(validator(max_items = 100))]
    pub r#in: Option<Vec<ContactStatus>>,
}

/// What a trait must be. All operators given must hold. Texts, numbers and booleans can be compared; of a text the
/// first 256 characters are searched.
#[derive(Clone, Debug, PartialEq, InputObject, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraitFilter {
    /// The trait's name.
    #[graphql(validator(max_length = 200))]
    pub key: String,
    /// Is this text, number or boolean; null: is not set.
    #[serde(default, skip_serializing_if = "MaybeUndefined::is_undefined")]
    pub eq: MaybeUndefined<Json<Value>>,
    /// Is not this text, number or boolean, or is not set; null: is set.
    #[serde(default, skip_serializing_if = "MaybeUndefined::is_undefined")]
    pub ne: MaybeUndefined<Json<Value>>,
    /// Is one of these; at most 100.
    #[graphql(validator(max_items = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#in: Option<Vec<Json<Value>>>,
    /// Is none of these, or is not set; at most 100.
    #[graphql(validator(max_items = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_in: Option<Vec<Json<Value>>>,
    /// Holds this text; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Starts with this text; upper and lower case are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<String>,
    /// Is set, or is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// Is a number greater than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<f64>,
    /// Is a number of at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gte: Option<f64>,
    /// Is a number less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<f64>,
    /// Is a number of at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lte: Option<f64>,
}

impl ContactFilter {
    /// The condition on the table `contact`, as `actor` may ask it.
    pub fn condition(self, scope: &Scope, actor: &Actor) -> Result<Condition> {
        let mut operators = 0;
        self.within((scope, actor), DEPTH_MAX, &mut operators)
    }

    fn within(
        self,
        (scope, actor): (&Scope, &Actor),
        depth: usize,
        operators: &mut usize,
    ) -> Result<Condition> {
        use contact::Column;
        let depth = deeper(depth)?;
        let before = *operators;
        let mut all = Condition::all();
        for (kind, filter) in [
            (Kind::ExternalId, self.external_id),
            (Kind::Email, self.email),
            (Kind::Phone, self.phone),
            (Kind::AnonymousId, self.anonymous_id),
        ] {
            let Some(filter) = filter else { continue };
            *operators += filter.operators();
            all = all.add(identified(scope, kind, filter));
        }
        for (column, filter) in [
            (Column::CreatedAt, self.created_at),
            (Column::UpdatedAt, self.updated_at),
            (Column::LastSeenAt, self.last_seen_at),
        ] {
            let Some(filter) = filter else { continue };
            *operators += filter.operators();
            all = all.add(filter.of_column(&Expr::col(column.as_column_ref())));
        }
        if let Some(filter) = self.status {
            *operators += 1;
            all = all.add(filter.condition());
        }
        if let Some(filter) = self.r#trait {
            *operators += filter.operators();
            all = all.add(filter.condition(scope, actor)?);
        }
        if let Some(filter) = self.events {
            *operators += filter.operators();
            all = all.add(filter.condition(scope));
        }
        let mut each = |filters: Vec<Self>| -> Result<Vec<Condition>> {
            let part = |filter: Self| filter.within((scope, actor), depth, operators);
            filters.into_iter().map(part).collect()
        };
        let and = each(self.and.unwrap_or_default())?;
        let or = self.or.map(&mut each).transpose()?;
        let not = each(self.not.into_iter().map(|filter| *filter).collect())?;
        count(operators, before)?;
        Ok(joined(all, and, or, not))
    }
}

/// How deep may still be nested within.
fn deeper(depth: usize) -> Result<usize> {
    depth.checked_sub(1).ok_or_else(|| {
        let message = format!("a filter nests at most {DEPTH_MAX} deep");
        Error::invalid("filter", message)
    })
}

/// Ends the count of one filter, whose operators came on top of `before`. One that asks for nothing counts, too: a list of
/// thousands of them nests as deep as it is long when it is written as SQL.
fn count(operators: &mut usize, before: usize) -> Result<()> {
    *operators = (*operators).max(before + 1);
    if *operators > OPERATORS_MAX {
        let message = format!("a filter holds at most {OPERATORS_MAX} operators");
        return Err(Error::invalid("filter", message));
    }
    Ok(())
}

/// What a filter says of its own, and all of `and`, one of `or`, none of `not`.
fn joined(
    all: Condition,
    and: Vec<Condition>,
    or: Option<Vec<Condition>>,
    not: Vec<Condition>,
) -> Condition {
    let mut all = and.into_iter().fold(all, Condition::add);
    if let Some(conditions) = or {
        let any = conditions
            .into_iter()
            .fold(Expr::value(false), |any, one| any.or(Expr::from(one)));
        all = all.add(any);
    }
    for condition in not {
        all = all.add(Expr::from(condition).not());
    }
    // An empty condition is left out of SQL; said as a constant it can be negated.
    if all.is_empty() {
        all.add(Expr::value(true))
    } else {
        all
    }
}

impl ContactStatusFilter {
    fn condition(self) -> Condition {
        use contact::Column::Status;
        Condition::all()
            .add_option(
                self.eq
                    .map(|status| Status.eq(contact::Status::from(status))),
            )
            .add_option(
                self.r#in
                    .map(|any| Status.is_in(any.into_iter().map(contact::Status::from))),
            )
    }
}

fn identified(scope: &Scope, kind: Kind, filter: StringFilter) -> Condition {
    use contact_identifier::Column;
    let filter = filter.normalized(|text| match normalize(kind, &text) {
        Ok((value, _)) => value,
        // It can be nobody's id.
        Err(_) => text,
    });
    let among = filter.among(&Expr::col(Column::Value.as_column_ref()));
    let mut rows = scope.subquery::<contact_identifier::Entity>();
    rows.and_where(Column::Kind.eq(kind));
    related(&rows, Column::ContactId, among)
}

impl TraitFilter {
    /// How many operators it names.
    pub fn operators(&self) -> usize {
        [
            !self.eq.is_undefined(),
            !self.ne.is_undefined(),
            self.r#in.is_some(),
            self.not_in.is_some(),
            self.contains.is_some(),
            self.starts_with.is_some(),
            self.exists.is_some(),
            self.gt.is_some(),
            self.gte.is_some(),
            self.lt.is_some(),
            self.lte.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
    }

    fn condition(self, scope: &Scope, actor: &Actor) -> Result<Condition> {
        let (mut rows, among) = self.rows(scope)?;
        // What the caller may not see is not set, to it.
        rows.cond_where(readable(scope, actor, contact_trait::Column::Key));
        Ok(related(&rows, contact_trait::Column::ContactId, among))
    }

    /// The rows of `contact_trait` that it is about, and what it asks of them.
    pub fn rows(self, scope: &Scope) -> Result<(SelectStatement, Among)> {
        use contact_trait::Column;
        let mut among = Among::default();
        let any_of = |values: Vec<Json<Value>>| -> Result<Condition> {
            values
                .into_iter()
                .try_fold(Condition::any(), |any, Json(value)| Ok(any.add(is(value)?)))
        };
        // Said as a constant, `in: []` is false rather than left out.
        let expr = |condition: Condition| -> Expr { condition.into() };
        match self.eq {
            MaybeUndefined::Value(Json(value)) => among.must(is(value)?),
            MaybeUndefined::Null => among.must_not(is_set()),
            MaybeUndefined::Undefined => {}
        }
        match self.ne {
            MaybeUndefined::Value(Json(value)) => among.must_not(is(value)?),
            MaybeUndefined::Null => among.must(is_set()),
            MaybeUndefined::Undefined => {}
        }
        if let Some(values) = self.r#in {
            among.must(expr(any_of(values)?));
        }
        if let Some(values) = self.not_in {
            among.must_not(expr(any_of(values)?));
        }
        let text = Expr::col(Column::Text.as_column_ref());
        if let Some(part) = self.contains {
            among.must(like(&text, "%", &part));
        }
        if let Some(start) = self.starts_with {
            among.must(like(&text, "", &start));
        }
        match self.exists {
            Some(true) => among.must(is_set()),
            Some(false) => among.must_not(is_set()),
            None => {}
        }
        for bound in [
            self.gt.map(|than| Column::Number.gt(than)),
            self.gte.map(|than| Column::Number.gte(than)),
            self.lt.map(|than| Column::Number.lt(than)),
            self.lte.map(|than| Column::Number.lte(than)),
        ]
        .into_iter()
        .flatten()
        {
            among.must(bound);
        }
        let mut rows = scope.subquery::<contact_trait::Entity>();
        rows.and_where(Column::Key.eq(storable(self.key)));
        Ok((rows, among))
    }
}

/// The trait is there: an unset one keeps its row, as null.
fn is_set() -> Expr {
    contact_trait::Column::Value.ne(Value::Null)
}

/// The trait has this value. The text or number is what the index holds; the value itself tells `"true"` from
/// `true`, and texts that differ only after their 256th character.
fn is(value: Value) -> Result<Condition> {
    use contact_trait::Column;
    let value = storable_json(value);
    match (&value, filterable(&value)) {
        (Value::Number(_), (_, Some(number))) => Ok(Column::Number.eq(number).into()),
        (_, (Some(text), _)) => Ok(Condition::all()
            .add(Column::Text.eq(text))
            .add(unweighed(Column::Value.eq(value)))),
        _ => Err(Error::invalid(
            "filter.trait",
            "a trait is compared with a text, a number or a boolean",
        )),
    }
}

/// What decides the last few rows only. PostgreSQL would think that it leaves one row in a hundred, as it does of any comparison
/// that it knows nothing of, and choose a plan for that few.
fn unweighed(condition: Expr) -> Expr {
    Func::coalesce([condition, Expr::value(false)]).into()
}

/// Contacts of which one of `rows` meets what `among` asks for, and none what it refuses. What is asked for is an
/// `IN`, which lets the rows' index find the contacts; what is refused is asked of each contact found.
fn related<C: ColumnTrait>(rows: &SelectStatement, contact: C, among: Among) -> Condition {
    let mut all = Condition::all();
    if let Some(some) = among.some {
        let mut found = rows.clone();
        found.column(contact.as_column_ref()).cond_where(some);
        all = all.add(contact::Column::Id.in_subquery(found));
    }
    if let Some(none) = among.none {
        let mut refused = rows.clone();
        refused
            .expr(Expr::value(1))
            .and_where(contact.into_expr().eq(contact::Column::Id.into_expr()))
            .cond_where(none);
        all = all.add(Expr::exists(refused).not());
    }
    all
}
