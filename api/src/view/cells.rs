//! What a view shows of a contact. Each cell asks the loaders that the fields of contacts ask, so that those of a page, and whatever
//! else is selected of its contacts, are loaded together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_graphql::{Context, dataloader::Loader};
use chrono::{DateTime, Utc};
use entity::{ContactId, Id, contact, contact_identifier::Kind};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};
use serde_json::Value;

use super::rules::{Column, ContactViewField};
use crate::{
    base::{
        AT, Batch, CONTACT, Cx, Error, ErrorCode, Planning, Result, Scope, State, gql, instant,
    },
    contact::{self as contact_room, ContactStatus, Loaders},
    posthog, segment,
};

/// What stands in one place of a view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub value: Value,
    /// When PostHog computed it.
    pub as_of: Option<DateTime<Utc>>,
    /// Why there is no value: a code, and what is wrong.
    pub failure: Option<(&'static str, String)>,
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

impl Cell {
    /// The value as text; none where it is null.
    pub fn text(&self) -> Option<String> {
        match &self.value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            value => Some(value.to_string()),
        }
    }
}

/// What cells are read from, for one caller and as long as a page is made.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub cx: &'a Cx,
    pub contacts: &'a Loaders,
    pub posthog: &'a posthog::Loaders,
    pub segments: &'a segment::Reads,
    pub own: &'a Reads,
}

impl<'a> Sources<'a> {
    /// The request's own.
    pub fn of(ctx: &Context<'a>) -> Result<Self> {
        Ok(Self {
            cx: gql::CxExt::cx(ctx)?,
            contacts: Loaders::of(ctx)?,
            posthog: posthog::Loaders::of(ctx)?,
            segments: segment::Reads::of(ctx)?,
            own: ctx.data_opt::<Reads>().ok_or(Error::Forbidden)?,
        })
    }

    /// What `column` shows of `contact`. What is wrong with a value stands in its cell; a fault of ours is an error.
    pub async fn cell(self, contact: &contact::Model, column: &Column) -> Result<Cell, Arc<Error>> {
        match Box::pin(self.value(contact, column)).await {
            Err(error) if matches!(*error, Error::Internal(_)) => Err(error),
            Err(error) => Ok(Cell {
                failure: Some((gql::code(&error), error.to_string())),
                ..Cell::default()
            }),
            Ok(cell) => Ok(cell),
        }
    }

    /// The same; whatever is wrong is an error.
    pub(super) async fn value(
        self,
        contact: &contact::Model,
        column: &Column,
    ) -> Result<Cell, Arc<Error>> {
        if column
            .needs()
            .is_some_and(|need| !need.met_by(self.cx.actor()))
        {
            return Err(Error::Forbidden.into());
        }
        let id = contact.id;
        Ok(match column {
            Column::Field(of) => self.field(contact, of.field).await?.into(),
            Column::Identifier(of) => {
                let kind = Kind::from(of.kind);
                let known = self.contacts.identifiers.ask(id).await?.unwrap_or_default();
                let last = known
                    .into_iter()
                    .filter(|row| row.kind == kind)
                    .max_by_key(|row| (row.last_seen_at, row.id));
                Value::from(last.map(|row| row.shown)).into()
            }
            Column::Trait(of) => {
                let traits = self.contacts.traits.ask(id).await?.unwrap_or_default();
                traits.get(&of.key).cloned().unwrap_or_default().into()
            }
            Column::Metric(of) => {
                let (value, as_of) = self.posthog.metric(id, &of.key).await?;
                Cell {
                    value,
                    as_of: Some(as_of),
                    failure: None,
                }
            }
            Column::Flag(of) => {
                let flag = self.posthog.flag(id, &of.key).await?;
                let flag = flag.ok_or_else(|| no_flag(&of.key))?;
                Cell {
                    value: flag.variant.map_or(flag.enabled.into(), Value::from),
                    as_of: Some(flag.as_of.0),
                    failure: None,
                }
            }
            Column::Segment(of) => {
                let segments = self.segments.of_contacts.ask(id).await?;
                let is_in = |segments: Vec<_>| {
                    segments
                        .iter()
                        .any(|segment: &Arc<entity::segment::Model>| segment.key == of.key)
                };
                Value::from(segments.is_some_and(is_in)).into()
            }
            Column::State(of) => {
                let asked = (of.state.clone(), of.key.clone());
                let last = self.own.states.ask((id, asked)).await?;
                Value::from(last.map(instant::text)).into()
            }
        })
    }

    async fn field(
        self,
        contact: &contact::Model,
        field: ContactViewField,
    ) -> Result<Value, Arc<Error>> {
        let at = |at: DateTime<Utc>| instant::text(at).into();
        Ok(match field {
            ContactViewField::Id => contact.id.to_string().into(),
            ContactViewField::Name => {
                let traits = self.contacts.traits.ask(contact.id).await?;
                Value::from(contact_room::name_in(&traits.unwrap_or_default()))
            }
            ContactViewField::Status => {
                serde_json::to_value(ContactStatus::from(contact.status)).map_err(Error::from)?
            }
            ContactViewField::CreatedAt => at(contact.created_at),
            ContactViewField::UpdatedAt => at(contact.updated_at),
            ContactViewField::LastSeenAt => contact.last_seen_at.map_or(Value::Null, at),
        })
    }
}

pub(super) fn no_flag(key: &str) -> Error {
    Error::user(
        ErrorCode::NotFound,
        "key",
        format!("there is no feature flag {key:?}"),
    )
}

/// One request's batches of this room.
pub struct Reads {
    states: Batch<States, (ContactId, Of)>,
}

impl Reads {
    pub fn new(cx: &Cx) -> Self {
        Self {
            states: Batch::new(States(cx.clone())),
        }
    }
}

/// A state, and the key of the module's thing.
type Of = (String, String);

/// When contacts last came into states: a statement a column, sent together.
struct States(Cx);

impl Loader<(ContactId, Of)> for States {
    type Value = DateTime<Utc>;
    type Error = Arc<Error>;

    async fn load(
        &self,
        asked: &[(ContactId, Of)],
    ) -> Result<HashMap<(ContactId, Of), DateTime<Utc>>, Arc<Error>> {
        Ok(self.last(asked).await?)
    }
}

impl States {
    async fn last(
        &self,
        asked: &[(ContactId, Of)],
    ) -> Result<HashMap<(ContactId, Of), DateTime<Utc>>> {
        let scope = self.0.db();
        let mut of: BTreeMap<&Of, Vec<ContactId>> = BTreeMap::new();
        for (contact, state) in asked {
            of.entry(state).or_default().push(*contact);
        }
        let mut roots: Vec<ContactId> = of.values().flatten().copied().collect();
        roots.sort_unstable();
        roots.dedup();
        let families = contact_room::families(&scope, &roots).await?;
        let root_of: HashMap<ContactId, ContactId> = families
            .iter()
            .flat_map(|(root, family)| family.iter().map(|member| (*member, *root)))
            .collect();
        let members: Vec<ContactId> = root_of.keys().copied().collect();
        let modules = self.0.env().modules.iter();
        let known: Vec<&State> = modules.flat_map(|module| module.states).collect();
        let mut states = vec![];
        let mut reads = vec![];
        for (name, key) in of.into_keys() {
            if let Some(state) = known.iter().find(|state| state.name == name) {
                states.push((name, key));
                reads.push(scope.read(&last_of(&scope, state, key, &members)));
            }
        }
        let found = scope.read_all(reads, Planning::ByValues).await?;
        let mut last: HashMap<(ContactId, Of), DateTime<Utc>> = HashMap::new();
        for ((name, key), rows) in states.into_iter().zip(found) {
            for row in rows {
                let Some(root) = root_of.get(&Id::from_uuid(row.uuid(0)?)) else {
                    continue;
                };
                let at = row.instant(1)?;
                let known = last
                    .entry((*root, (name.clone(), key.clone())))
                    .or_insert(at);
                *known = Ord::max(at, *known);
            }
        }
        Ok(last)
    }
}

/// When each of `members` last came into a state because of the thing of this key.
fn last_of(scope: &Scope, state: &State, key: &str, members: &[ContactId]) -> SelectStatement {
    let told = Alias::new("told");
    let contact = || Expr::col((told.clone(), CONTACT));
    Query::select()
        .expr(contact())
        .expr(Expr::col((told.clone(), AT)).max())
        .from_subquery((state.occurrences)(scope, key), told.clone())
        .and_where(contact().is_in(members.iter().copied()))
        .add_group_by([contact()])
        .to_owned()
}
