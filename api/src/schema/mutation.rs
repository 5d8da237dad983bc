//! Telling what happened, and who somebody is.

use std::collections::HashSet;

use async_graphql::{ComplexObject, Context, Object, SimpleObject};
use entity::ContactId;
use serde_json::{Map, Value, json};

use super::plan::Shown;
use crate::{
    base::{
        Actor, Cx, Error, ErrorCode, Result,
        gql::{self, CxExt, UserErrors, outcome},
    },
    contact::{
        self, AliasInput, ContactUpdateInput, ContactUpsertInput, IdentifyInput, Incoming,
        Ingested, Proofs, Saying, TrackBatchInput, TrackInput,
    },
};

/// What became of what was told.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct TellPayload {
    #[graphql(skip)]
    contact_id: Option<ContactId>,
    /// Whether it is in the log, for good; also where it was already, by its `messageId`.
    accepted: bool,
    /// Names this request in logs and errors.
    request_id: String,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[ComplexObject]
impl TellPayload {
    /// Whom it is about; null for a publishable key, and for a secret key that may not read contacts.
    #[graphql(visible = "gql::contacts_read")]
    async fn contact(&self, ctx: &Context<'_>) -> Option<Shown> {
        shown(ctx, self.contact_id)
    }
}

/// What became of a batch.
#[derive(SimpleObject)]
pub(super) struct TrackBatchPayload {
    /// How many events are in the log, for good; also those that were already, by their `messageId`. All of the
    /// batch, or none.
    accepted: usize,
    /// Names this request in logs and errors.
    request_id: String,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The contact, as it is now.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct ContactPayload {
    #[graphql(skip)]
    contact_id: Option<ContactId>,
    #[graphql(flatten)]
    errors: UserErrors,
}

impl ContactPayload {
    pub(super) const fn new(contact_id: Option<ContactId>, errors: UserErrors) -> Self {
        Self { contact_id, errors }
    }
}

#[ComplexObject]
impl ContactPayload {
    /// The contact; null where the input is wrong, and for a key that may not read contacts.
    #[graphql(visible = "gql::contacts_read")]
    async fn contact(&self, ctx: &Context<'_>) -> Option<Shown> {
        shown(ctx, self.contact_id)
    }
}

fn shown(ctx: &Context<'_>, contact: Option<ContactId>) -> Option<Shown> {
    contact
        .filter(|_| gql::CONTACTS_READ.met_by(ctx.actor()))
        .map(Shown::new)
}

#[derive(Default)]
pub(super) struct TellMutation;

#[Object]
impl TellMutation {
    /// Says who somebody is: the ids given become one contact's, with their earlier events.
    #[graphql(guard = "gql::TELL", visible = "gql::tell")]
    async fn identify(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who it is.")] input: IdentifyInput,
    ) -> async_graphql::Result<TellPayload> {
        told(ctx, |by| input.incoming(by)).await
    }
    /// Says what somebody did.
    #[graphql(guard = "gql::TELL", visible = "gql::tell")]
    async fn track(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who did what.")] input: TrackInput,
    ) -> async_graphql::Result<TellPayload> {
        told(ctx, |by| input.incoming(by)).await
    }
    /// Says what several people did; nothing is written where one event is wrong.
    #[graphql(guard = "gql::TELL", visible = "gql::tell")]
    async fn track_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What happened, in order.")] input: TrackBatchInput,
    ) -> async_graphql::Result<TrackBatchPayload> {
        let cx = ctx.cx()?;
        let done = async {
            let batch = input.incoming(saying(cx, &proofs(cx).await?))?;
            all_known(cx, &batch).await?;
            write(cx, batch, Some("events")).await
        };
        let (written, errors) = outcome(done.await)?;
        Ok(TrackBatchPayload {
            accepted: written.map_or(0, |written| written.len()),
            request_id: ctx.request_id().to_owned(),
            errors,
        })
    }
    /// Says that two ids are one person's.
    #[graphql(guard = "gql::TELL", visible = "gql::tell")]
    async fn alias(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The two ids.")] input: AliasInput,
    ) -> async_graphql::Result<TellPayload> {
        told(ctx, |by| input.incoming(by)).await
    }
}

#[derive(Default)]
pub(super) struct ContactMutation;

#[Object]
impl ContactMutation {
    /// Makes a contact, or changes the one that has these ids.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_upsert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contact as the tenant's backend knows it.")]
        input: ContactUpsertInput,
    ) -> async_graphql::Result<ContactPayload> {
        changed(ctx, |by| input.incoming(by)).await
    }
    /// Changes a contact.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn contact_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contact, and what changes.")] input: ContactUpdateInput,
    ) -> async_graphql::Result<ContactPayload> {
        changed(ctx, |by| input.incoming(by)).await
    }
}

/// Only browsers have anything to prove.
async fn proofs(cx: &Cx) -> Result<Proofs> {
    match cx.actor() {
        Actor::PublishableKey { .. } => Proofs::of(&cx.db(), &cx.env().secrets).await,
        _ => Ok(Proofs::default()),
    }
}

fn saying<'a>(cx: &'a Cx, proofs: &'a Proofs) -> Saying<'a> {
    Saying {
        actor: cx.actor(),
        now: cx.now(),
        proofs,
    }
}

async fn told(
    ctx: &Context<'_>,
    read: impl FnOnce(Saying<'_>) -> Result<Incoming>,
) -> async_graphql::Result<TellPayload> {
    let (ingested, errors) = outcome(write_one(ctx.cx()?, read).await)?;
    Ok(TellPayload {
        contact_id: ingested.and_then(|ingested| ingested.contact_id),
        accepted: ingested.is_some(),
        request_id: ctx.request_id().to_owned(),
        errors,
    })
}

async fn changed(
    ctx: &Context<'_>,
    read: impl FnOnce(Saying<'_>) -> Result<Incoming>,
) -> async_graphql::Result<ContactPayload> {
    let done = write_one(ctx.cx()?, read)
        .await
        .map_err(|error| match error {
            // The touch's field is the input's `id`.
            Error::User(e) if e.field.as_deref() == Some("contactId") => {
                Error::user(e.code, "id", e.message)
            }
            other => other,
        });
    let (ingested, errors) = outcome(done)?;
    Ok(ContactPayload {
        contact_id: ingested.and_then(|ingested| ingested.contact_id),
        errors,
    })
}

async fn write_one(cx: &Cx, read: impl FnOnce(Saying<'_>) -> Result<Incoming>) -> Result<Ingested> {
    let proofs = proofs(cx).await?;
    let written = write(cx, vec![read(saying(cx, &proofs))?], None).await?;
    Ok(written[0])
}

/// Fails for the first event about a contact that is not there: a batch too large for one unit of work must not
/// stop half-way.
async fn all_known(cx: &Cx, batch: &[Incoming]) -> Result<()> {
    let ids: HashSet<ContactId> = batch
        .iter()
        .filter_map(|incoming| incoming.contact_id)
        .collect();
    let ids: Vec<ContactId> = ids.into_iter().collect();
    let known = contact::roots(&cx.db(), &ids).await?;
    let unknown = |incoming: &Incoming| incoming.contact_id.filter(|id| !known.contains_key(id));
    match batch
        .iter()
        .enumerate()
        .find_map(|(place, incoming)| Some((place, unknown(incoming)?)))
    {
        None => Ok(()),
        Some((place, id)) => Err(Error::user(
            ErrorCode::NotFound,
            format!("events.{place}.contactId"),
            format!("there is no contact {id}"),
        )),
    }
}

/// Writes touches in order: all of them, or none. Several are the items of the input's `part`.
async fn write(cx: &Cx, batch: Vec<Incoming>, part: Option<&str>) -> Result<Vec<Ingested>> {
    let batch: Vec<Incoming> = batch.into_iter().map(attributed).collect();
    cx.write(async |tx| {
        let mut batch = batch.clone();
        contact::conform(tx, &mut batch, part).await?;
        contact::ingest(tx, &batch).await
    })
    .await
}

/// Notes where the contact came from, as the properties and the page in the context tell it.
fn attributed(incoming: Incoming) -> Incoming {
    let mut said = Map::new();
    let context = Value::Object(incoming.context.clone());
    for (key, pointer) in [
        ("$current_url", "/page/url"),
        ("$referrer", "/page/referrer"),
        ("utm_source", "/campaign/source"),
        ("utm_medium", "/campaign/medium"),
        ("utm_campaign", "/campaign/name"),
        ("utm_term", "/campaign/term"),
        ("utm_content", "/campaign/content"),
    ] {
        if let Some(text @ Value::String(_)) = context.pointer(pointer) {
            said.insert(key.to_owned(), text.clone());
        }
    }
    let touch = if said.is_empty() {
        contact::touch(&incoming.properties)
    } else {
        said.extend(incoming.properties.clone());
        contact::touch(&said)
    };
    Incoming {
        touch: touch.map(|touch| json!(touch)),
        ..incoming
    }
}
