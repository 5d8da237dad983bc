//! `Relationship`: what one contact is to another.

use async_graphql::{Context, ID, Json, Object, SimpleObject};
use entity::{ContactId, relationship};
use serde_json::Value;

use super::contact::Contact;
use crate::{
    base::{
        Error,
        gql::{self, CxExt as _, UserErrors, outcome},
        instant::Instant,
    },
    contact::{self, Loaders, RelationshipEndInput, RelationshipKind, RelationshipSetInput},
};

/// What one contact is to another, and since when.
pub struct Relationship(relationship::Model);

impl From<relationship::Model> for Relationship {
    fn from(row: relationship::Model) -> Self {
        Self(row)
    }
}

/// What one contact is to another, and since when.
#[Object]
impl Relationship {
    /// The relationship's id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What the first is to the second.
    async fn kind(&self) -> RelationshipKind {
        self.0.kind.into()
    }
    /// The first contact: the one of today, where it was absorbed since.
    #[graphql(name = "from")]
    async fn one(&self, ctx: &Context<'_>) -> async_graphql::Result<Contact> {
        today(ctx, self.0.contact_a_id).await
    }
    /// The second contact: the one of today, where it was absorbed since.
    #[graphql(name = "to")]
    async fn other(&self, ctx: &Context<'_>) -> async_graphql::Result<Contact> {
        today(ctx, self.0.contact_b_id).await
    }
    /// Since when it holds.
    async fn valid_from(&self) -> Instant {
        self.0.valid_from.into()
    }
    /// When it ended; null while it holds.
    async fn valid_to(&self) -> Option<Instant> {
        self.0.valid_to.map(Instant)
    }
    /// Who says so.
    async fn source(&self) -> &str {
        &self.0.source
    }
    /// What shows it: an object.
    async fn evidence(&self) -> Option<Json<&Value>> {
        self.0.evidence.as_ref().map(Json)
    }
}

/// The contact that an id stands for today.
async fn today(ctx: &Context<'_>, id: ContactId) -> async_graphql::Result<Contact> {
    let row = Loaders::of(ctx)?.roots.ask(id).await?;
    Ok(row.ok_or(Error::NotFound)?.into())
}

/// A contact that another is related to, perhaps over others.
#[derive(SimpleObject)]
pub(super) struct RelatedContact {
    /// The contact.
    contact: Contact,
    /// Over how many relationships: 1 for the nearest.
    distance: u32,
}

/// Contacts as a walk met them. Those of a page are read together.
pub(super) async fn met(
    ctx: &Context<'_>,
    met: Vec<(ContactId, u32)>,
) -> async_graphql::Result<Vec<RelatedContact>> {
    let contacts = met.iter().map(|(id, _)| today(ctx, *id));
    let contacts = futures_util::future::try_join_all(contacts).await?;
    let shown = contacts.into_iter().zip(met);
    Ok(shown
        .map(|(contact, (_, distance))| RelatedContact { contact, distance })
        .collect())
}

/// What became of a relationship.
#[derive(SimpleObject)]
struct RelationshipSetPayload {
    /// The relationship, as it is now; null where the input is wrong.
    relationship: Option<Relationship>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// What became of a relationship's end.
#[derive(SimpleObject)]
struct RelationshipEndPayload {
    /// The relationship, as it is now; null where the input is wrong.
    relationship: Option<Relationship>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub(super) struct RelationshipMutation;

#[Object]
impl RelationshipMutation {
    /// Says what one contact is to another. Where that holds already, what is given of it changes.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn relationship_set(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is what to whom.")] input: RelationshipSetInput,
    ) -> async_graphql::Result<RelationshipSetPayload> {
        let cx = ctx.cx()?;
        let done = async {
            let new = input.new_relationship(cx.actor())?;
            let new = &new;
            cx.write(async |tx| contact::relationship_set(tx, cx.actor(), new).await)
                .await
        };
        let (row, errors) = outcome(done.await)?;
        Ok(RelationshipSetPayload {
            relationship: row.map(Relationship::from),
            errors,
        })
    }
    /// Ends a relationship; it stays as history. One that has ended stays as it is.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn relationship_end(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The relationship, and when it ended.")] input: RelationshipEndInput,
    ) -> async_graphql::Result<RelationshipEndPayload> {
        let cx = ctx.cx()?;
        let done = async {
            let id = input.relationship()?;
            let at = input.at.map(Into::into);
            cx.write(async |tx| contact::relationship_end(tx, id, at).await)
                .await
        };
        let (row, errors) = outcome(done.await)?;
        Ok(RelationshipEndPayload {
            relationship: row.map(Relationship::from),
            errors,
        })
    }
}
