//! Contacts in the order of a column of their own, or of a trait: first those of whom it is set, then the others.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{ContactId, Id, contact, contact_trait};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait, SelectStatement},
};
use uuid::Uuid;

use super::listed;
use crate::{
    base::{Actor, Error, Place, Result, Rows, Scope, SortKey},
    contact::{ContactOrderField, traits::readable},
};

/// By what contacts are sorted; equal ones by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    pub by: OrderedBy,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderedBy {
    Field(ContactOrderField),
    /// A trait's numbers, before its texts. Last, in either direction, those of whom it is not set, or cannot be compared.
    Trait(String),
}

/// Which contacts, as who asks may see them.
pub struct Asked<'a> {
    pub scope: &'a Scope,
    pub actor: &'a Actor,
    /// What they must meet.
    pub narrow: Condition,
}

/// A piece of a list.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Behind this place.
    pub after: Option<Place>,
    /// Ahead of this one.
    pub before: Option<Place>,
    /// Read from the list's end, rather than its start.
    pub backward: bool,
    pub rows: u64,
}

/// A part of a list that one index gives in order.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Field(contact::Column),
    Numbers(&'a str),
    Texts(&'a str),
    Unset(&'a str),
}

impl Ordering {
    /// The list's parts, in its order.
    fn parts(&self) -> Vec<Part<'_>> {
        match &self.by {
            OrderedBy::Field(field) => vec![Part::Field(field.column())],
            OrderedBy::Trait(key) if self.descending => {
                vec![Part::Texts(key), Part::Numbers(key), Part::Unset(key)]
            }
            OrderedBy::Trait(key) => vec![Part::Numbers(key), Part::Texts(key), Part::Unset(key)],
        }
    }
}

impl Part<'_> {
    const fn holds(self, key: &SortKey) -> bool {
        matches!(
            (self, key),
            (Self::Field(_), SortKey::MicrosUtc(_))
                | (Self::Numbers(_), SortKey::NumberBits(_))
                | (Self::Texts(_), SortKey::Text(_))
                | (Self::Unset(_), SortKey::Absent)
        )
    }
}

/// The places of a piece of the list, in the order in which it is read.
pub async fn ordered(asked: &Asked<'_>, ordering: &Ordering, span: &Span) -> Result<Vec<Place>> {
    let parts = ordering.parts();
    let part_of = |place: &Option<Place>, open: usize| match place {
        None => Ok(open),
        Some(place) => parts
            .iter()
            .position(|part| part.holds(&place.key))
            .ok_or(Error::BadCursor),
    };
    let first = part_of(&span.after, 0)?;
    let last = part_of(&span.before, parts.len() - 1)?;
    let mut numbers: Vec<usize> = (first..=last).collect();
    if span.backward {
        numbers.reverse();
    }
    let mut found = vec![];
    for number in numbers {
        let left = span.rows - found.len() as u64;
        if left == 0 {
            break;
        }
        let within = Span {
            after: span.after.clone().filter(|_| number == first),
            before: span.before.clone().filter(|_| number == last),
            backward: span.backward,
            rows: left,
        };
        found.extend(
            asked
                .places(parts[number], ordering.descending, within)
                .await?,
        );
    }
    Ok(found)
}

/// By what each of these contacts is sorted; those that do not meet what is asked are left out.
pub async fn sort_keys(
    asked: &Asked<'_>,
    by: &OrderedBy,
    contacts: &[ContactId],
) -> Result<HashMap<ContactId, SortKey>> {
    let ids: Vec<Uuid> = contacts.iter().map(|id| id.uuid()).collect();
    let these = asked
        .scope
        .is_one_of::<contact::Entity>(contact::Column::Id, &ids);
    let rows = asked.roots().filter(these).select_only();
    let OrderedBy::Trait(key) = by else {
        let OrderedBy::Field(field) = by else {
            return Ok(HashMap::new());
        };
        let found: Vec<(ContactId, DateTime<Utc>)> = rows
            .column(contact::Column::Id)
            .column(field.column())
            .tuples()
            .await?;
        let keyed = found
            .into_iter()
            .map(|(id, at)| (id, SortKey::MicrosUtc(at.timestamp_micros())));
        return Ok(keyed.collect());
    };
    let found: Vec<(ContactId,)> = rows.column(contact::Column::Id).tuples().await?;
    let mut keys: HashMap<ContactId, SortKey> = found
        .into_iter()
        .map(|(id,)| (id, SortKey::Absent))
        .collect();
    let these = asked
        .scope
        .is_one_of::<contact_trait::Entity>(contact_trait::Column::ContactId, &ids);
    let said: Vec<(ContactId, Option<f64>, Option<String>)> = asked
        .traits(key)
        .filter(these)
        .select_only()
        .columns([
            contact_trait::Column::ContactId,
            contact_trait::Column::Number,
            contact_trait::Column::Text,
        ])
        .tuples()
        .await?;
    for (id, number, text) in said {
        if let Some(key) = keys.get_mut(&id) {
            *key = match (number, text) {
                (Some(number), _) => SortKey::NumberBits(number.to_bits()),
                (None, Some(text)) => SortKey::Text(text),
                (None, None) => SortKey::Absent,
            };
        }
    }
    Ok(keys)
}

impl<'a> Asked<'a> {
    fn roots(&self) -> Rows<'a, contact::Entity> {
        listed(self.scope).filter(self.narrow.clone())
    }

    /// The contacts' rows of one trait, if who asks may see it.
    fn traits(&self, key: &str) -> Rows<'a, contact_trait::Entity> {
        use contact_trait::Column;
        self.scope
            .find::<contact_trait::Entity>()
            .filter(Column::Key.eq(key))
            .filter(readable(self.scope, self.actor, Column::Key))
    }

    /// The same, of contacts that meet what is asked.
    fn traits_of_roots(&self, key: &str) -> Rows<'a, contact_trait::Entity> {
        let mut roots = self.roots().select_only().column(contact::Column::Id);
        let roots: SelectStatement = QueryTrait::query(&mut roots).clone();
        self.traits(key)
            .filter(contact_trait::Column::ContactId.in_subquery(roots))
    }

    async fn places(&self, part: Part<'_>, descending: bool, within: Span) -> Result<Vec<Place>> {
        use contact_trait::Column;
        let place = |key: SortKey, id: ContactId| Place { key, id: id.uuid() };
        match part {
            Part::Field(column) => {
                let rows = self.roots();
                let rows = cut(rows, Some(column), contact::Column::Id, descending, within);
                let found: Vec<(DateTime<Utc>, ContactId)> = rows.tuples().await?;
                let placed = found
                    .into_iter()
                    .map(|(at, id)| place(SortKey::MicrosUtc(at.timestamp_micros()), id));
                Ok(placed.collect())
            }
            Part::Numbers(key) => {
                let rows = self
                    .traits_of_roots(key)
                    .filter(Column::Number.is_not_null());
                let by = Some(Column::Number);
                let rows = cut(rows, by, Column::ContactId, descending, within);
                let found: Vec<(f64, ContactId)> = rows.tuples().await?;
                let placed = found
                    .into_iter()
                    .map(|(number, id)| place(SortKey::NumberBits(number.to_bits()), id));
                Ok(placed.collect())
            }
            Part::Texts(key) => {
                let rows = self
                    .traits_of_roots(key)
                    .filter(Column::Number.is_null())
                    .filter(Column::Text.is_not_null());
                let by = Some(Column::Text);
                let rows = cut(rows, by, Column::ContactId, descending, within);
                let found: Vec<(String, ContactId)> = rows.tuples().await?;
                let placed = found
                    .into_iter()
                    .map(|(text, id)| place(SortKey::Text(text), id));
                Ok(placed.collect())
            }
            Part::Unset(key) => {
                let mut said = self
                    .traits(key)
                    .filter(Column::Text.is_not_null())
                    .select_only();
                let said = QueryTrait::query(&mut said)
                    .expr(Expr::value(1))
                    .and_where(
                        Column::ContactId
                            .into_expr()
                            .eq(contact::Column::Id.into_expr()),
                    )
                    .clone();
                let rows = self.roots().filter(Expr::exists(said).not());
                let rows = cut(rows, None, contact::Column::Id, false, within);
                let found: Vec<(ContactId,)> = rows.tuples().await?;
                let placed = found.into_iter().map(|(id,)| place(SortKey::Absent, id));
                Ok(placed.collect())
            }
        }
    }
}

/// The rows of a piece of a part, as what they are sorted by and their contact's id.
fn cut<E: EntityTrait>(
    mut rows: Rows<'_, E>,
    by: Option<E::Column>,
    id: E::Column,
    descending: bool,
    within: Span,
) -> Rows<'_, E> {
    for (place, later) in [(within.after, true), (within.before, false)] {
        let Some(place) = place else { continue };
        let at_id = Id::<contact::Entity>::from_uuid(place.id);
        let beyond = |column: E::Column, value: sea_orm::Value| {
            if later == descending {
                column.lt(value)
            } else {
                column.gt(value)
            }
        };
        let past_id = beyond(id, at_id.into());
        rows = match by.zip(place.key.value()) {
            None => rows.filter(past_id),
            Some((column, value)) => {
                let tie = Condition::all().add(column.eq(value.clone())).add(past_id);
                rows.filter(Condition::any().add(beyond(column, value)).add(tie))
            }
        };
    }
    let order = if descending == within.backward {
        Order::Asc
    } else {
        Order::Desc
    };
    rows = rows.select_only();
    if let Some(column) = by {
        rows = rows.column(column).order_by(column, order.clone());
    }
    rows.column(id).order_by(id, order).limit(within.rows)
}
