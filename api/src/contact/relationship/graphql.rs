//! What is said and asked of relationships. The object itself stands at the roof: it shows contacts.

use async_graphql::{Context, Enum, ID, InputObject, Json};
use entity::{
    ContactId, Id,
    relationship::{self, Kind},
};
use sea_orm::{ColumnTrait as _, Condition, sea_query::ExprTrait as _};
use serde_json::Value;

use super::{commands::NewRelationship, walk::Walk};
use crate::{
    base::{
        Actor, Error, ErrorCode, Page, PageArgs, Result, cut, gql::CxExt as _, instant::Instant,
        storable, storable_json,
    },
    contact::{
        graphql::{ContactKey, Loaders},
        lists::{Lists, Narrow, OfContact, page_of},
        whom::Whom,
    },
};

/// How far relationships are walked: beyond, everybody knows everybody.
const STEPS_MAX: u32 = 5;

/// Contacts that one walk gives: a page.
const RELATED_MAX: usize = 100;

const SOURCE_CHARS_MAX: usize = 100;
const EVIDENCE_BYTES_MAX: usize = 8 * 1024;

/// What one contact is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
#[graphql(remote = "Kind")]
pub enum RelationshipKind {
    /// The first brought the second.
    Referred,
    /// The first invited the second.
    Invited,
    /// Both use one account; the same both ways.
    SameAccount,
    /// Both share a home; the same both ways.
    Household,
    /// The second is the first one's manager.
    ReportsTo,
}

/// Which way relationships are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
pub enum RelationshipDirection {
    /// From the first to the second.
    Out,
    /// From the second to the first.
    In,
    /// Both ways.
    Any,
}

/// Which relationships. All that is given must hold.
#[derive(Debug, Default, InputObject)]
pub struct RelationshipFilter {
    /// Of this kind.
    kind: Option<RelationshipKind>,
    /// Whether it holds, or has ended.
    active: Option<bool>,
}

/// Two contacts, and what the first is to the second. Each is named by its id or by an identifier.
#[derive(InputObject)]
pub struct RelationshipSetInput {
    /// The first contact's id.
    from_id: Option<ID>,
    /// The first contact, by one of its identifiers.
    from: Option<ContactKey>,
    /// The second contact's id.
    to_id: Option<ID>,
    /// The second contact, by one of its identifiers.
    to: Option<ContactKey>,
    /// What the first is to the second.
    kind: RelationshipKind,
    /// Since when; now, where absent and new.
    valid_from: Option<Instant>,
    /// Who says so, such as `crm`; at most 100 characters.
    source: Option<String>,
    /// What shows it: an object of at most 8 KiB.
    evidence: Option<Json<Value>>,
}

impl RelationshipSetInput {
    pub fn new_relationship(self, actor: &Actor) -> Result<NewRelationship> {
        let evidence = match self.evidence.map(|Json(value)| storable_json(value)) {
            None | Some(Value::Null) => None,
            Some(value @ Value::Object(_)) => Some(value),
            Some(_) => return Err(Error::invalid("evidence", "evidence is an object")),
        };
        if let Some(evidence) = &evidence
            && serde_json::to_vec(evidence)?.len() > EVIDENCE_BYTES_MAX
        {
            return Err(Error::invalid(
                "evidence",
                format!("evidence is larger than {EVIDENCE_BYTES_MAX} bytes"),
            ));
        }
        Ok(NewRelationship {
            from: Whom::read(actor, (self.from_id, "fromId"), (self.from, "from"))?,
            to: Whom::read(actor, (self.to_id, "toId"), (self.to, "to"))?,
            kind: self.kind.into(),
            valid_from: self.valid_from.map(Into::into),
            source: self
                .source
                .map(|source| cut(storable(source), SOURCE_CHARS_MAX)),
            evidence,
        })
    }
}

/// A relationship that ends.
#[derive(InputObject)]
pub struct RelationshipEndInput {
    /// The relationship's id.
    id: ID,
    /// When; now, where absent.
    pub at: Option<Instant>,
}

impl RelationshipEndInput {
    pub fn relationship(&self) -> Result<Id<relationship::Entity>> {
        Id::parse(&self.id)
            .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such relationship"))
    }
}

impl OfContact for relationship::Entity {
    const ID: Self::Column = relationship::Column::Id;
    const CONTACTS: &'static [Self::Column] = &[
        relationship::Column::ContactAId,
        relationship::Column::ContactBId,
    ];
    const AT: Self::Column = relationship::Column::ValidFrom;
    const NEWEST_FIRST: bool = true;
    fn lists(loaders: &Loaders) -> &Lists<Self> {
        &loaders.relationships
    }
}

/// A root's relationships, the newest first.
pub async fn of_contact(
    ctx: &Context<'_>,
    root: ContactId,
    filter: RelationshipFilter,
    args: PageArgs,
) -> async_graphql::Result<Page<relationship::Model>> {
    use relationship::Column;
    let now = ctx.cx()?.now();
    let active = filter.active.map(|active| {
        if active {
            Column::ValidTo.is_null().or(Column::ValidTo.gt(now))
        } else {
            Column::ValidTo.lte(now)
        }
    });
    let narrow = Condition::all()
        .add_option(filter.kind.map(|kind| Column::Kind.eq(Kind::from(kind))))
        .add_option(active);
    let narrow = Narrow::new(&filter, narrow);
    page_of::<relationship::Entity>(ctx, root, "relationships", narrow, args).await
}

/// How relationships are walked.
#[derive(Clone, Copy, Debug)]
pub struct RelatedArgs {
    pub kind: Option<RelationshipKind>,
    pub direction: RelationshipDirection,
    pub depth: u32,
    pub first: u32,
}

/// Whom a root is related to, the nearest first, and how many steps away.
pub async fn related(
    ctx: &Context<'_>,
    root: ContactId,
    args: RelatedArgs,
) -> async_graphql::Result<Vec<(ContactId, u32)>> {
    if !(1..=STEPS_MAX).contains(&args.depth) {
        let message = format!("depth is between 1 and {STEPS_MAX}, not {}", args.depth);
        return Err(Error::invalid("depth", message).into());
    }
    let first = usize::try_from(args.first).unwrap_or(usize::MAX);
    if first > RELATED_MAX {
        let message = format!("first is between 0 and {RELATED_MAX}, not {first}");
        return Err(Error::invalid("first", message).into());
    }
    let walk = Walk {
        root,
        kind: args.kind.map(Kind::from),
        direction: args.direction,
        steps: args.depth,
        first,
    };
    let met = Loaders::of(ctx)?.walks.ask(walk).await?;
    Ok(met.unwrap_or_default())
}
