//! What the principals of browsers see of the schema. In production they cannot tell what they may not use from what does not exist.

use std::{collections::HashSet, sync::OnceLock};

use async_graphql::{Pos, Request, parser::types::ExecutableDocument};
use futures_util::FutureExt as _;
use serde_json::Value;

use super::shape::{Met, SHAPE};
use crate::base::Actor;

/// What one kind of principal sees of the schema.
struct Sight {
    types: HashSet<String>,
    /// `Type.field`
    fields: HashSet<String>,
}

/// The query whose answer makes a [`Sight`].
const SEEN: &str = "{ __schema { types { name fields(includeDeprecated: true) { name } } } }";

impl Sight {
    /// What all see that are of `actor`'s kind.
    fn new(actor: &Actor) -> Self {
        let schema = super::build().finish();
        let request = Request::new(SEEN).data(actor.clone());
        // introspection waits for nothing; were it to, nothing would be seen
        let answer = Box::pin(schema.execute(request)).now_or_never();
        let answer = answer.and_then(|answer| answer.data.into_json().ok());
        Self::of(&answer.unwrap_or_default())
    }

    /// From the answer to [`SEEN`].
    fn of(answer: &Value) -> Self {
        let (mut types, mut fields) = (HashSet::new(), HashSet::new());
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for ty in list(&answer["__schema"]["types"]) {
            let Some(name) = ty["name"].as_str() else {
                continue;
            };
            for field in list(&ty["fields"]) {
                if let Some(field) = field["name"].as_str() {
                    fields.insert(format!("{name}.{field}"));
                }
            }
            types.insert(name.to_owned());
        }
        Self { types, fields }
    }

    /// The first place at which the document names a type, a field, an argument or a directive that is not seen. Whether there is
    /// one of that name is all the same.
    fn beyond(&self, document: &ExecutableDocument) -> Option<Pos> {
        let mut first: Option<Pos> = None;
        let mut meet = |met: Met<'_>, pos: Pos| {
            let is_seen = match met {
                Met::Type(name) => self.types.contains(name.as_str()),
                Met::Field { parent, field } => {
                    let name = field.name.node.as_str();
                    ["__typename", "__schema", "__type"].contains(&name)
                        || parent
                            .is_some_and(|parent| self.fields.contains(&format!("{parent}.{name}")))
                }
                Met::Directive(name) => {
                    ["include", "skip"].contains(&name.as_str())
                        || SHAPE.directives.contains_key(name)
                }
                Met::Value { expected, .. } => expected.is_some(),
                Met::Condition(_) => true,
            };
            if !is_seen
                && first.is_none_or(|first| (pos.line, pos.column) < (first.line, first.column))
            {
                first = Some(pos);
            }
        };
        SHAPE.walk(document, &mut meet);
        first
    }
}

/// The places at which a document is beyond each kind of principal's sight.
#[derive(Default)]
pub(super) struct Beyond([OnceLock<Option<Pos>>; 2]);

static SIGHTS: [OnceLock<Sight>; 2] = [const { OnceLock::new() }; 2];

impl Beyond {
    /// Where the document is beyond the sight of a browser's `actor`, if it is. `None` for everybody else.
    pub(super) fn of(&self, document: &ExecutableDocument, actor: &Actor) -> Option<Pos> {
        // all of a kind see the same
        let kind = match actor {
            Actor::PublishableKey { .. } => 0,
            Actor::Contact { .. } => 1,
            Actor::SecretKey { .. } | Actor::Member { .. } | Actor::Operator | Actor::System => {
                return None;
            }
        };
        let sight = SIGHTS[kind].get_or_init(|| Sight::new(actor));
        *self.0[kind].get_or_init(|| sight.beyond(document))
    }
}
