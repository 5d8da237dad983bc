//! Consents in the schema.

use std::net::IpAddr;

use async_graphql::{Context, Enum, ID, InputObject, Json, Object, SimpleObject};
use entity::{
    ContactId, consent,
    consent::{Basis, Channel, State},
};
use sea_orm::{ColumnTrait as _, Condition};
use serde_json::{Map, Value};

use super::commands::{self, NewConsent};
use crate::{
    base::{
        Actor, Cx, Error, Listing, PageArgs, Result, cut,
        gql::{self, CxExt as _, UserErrors, outcome},
        instant::Instant,
        storable,
    },
    contact::{
        graphql::{ContactKey, Loaders},
        lists::{Lists, Narrow, OfContact, page_of},
        whom::Whom,
    },
};

const TOPIC_CHARS_MAX: usize = 64;

/// Characters of one part of a proof: an address of a page, a version's name.
const PROOF_CHARS_MAX: usize = 500;

/// By which way somebody may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Channel")]
pub enum ConsentChannel {
    /// E-mail.
    Email,
    /// Text messages.
    Sms,
    /// Notifications of an app or a browser.
    Push,
    /// Whatsapp messages.
    Whatsapp,
    /// Telephone calls.
    Phone,
    /// Letters.
    Post,
    /// Inside the tenant's own product.
    InApp,
}

/// Whether it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "State")]
pub enum ConsentState {
    /// It is.
    Granted,
    /// It was asked for and is not yet confirmed: it is not.
    Pending,
    /// It is not.
    Denied,
    /// It was, and is no more: it is not.
    Withdrawn,
}

/// By what right it is allowed, or on what ground it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Basis")]
pub enum ConsentBasis {
    /// The person said so.
    Consent,
    /// A contract with the person asks for it.
    Contract,
    /// A law asks for it.
    LegalObligation,
    /// The tenant's legitimate interest.
    LegitimateInterest,
    /// Contacts became one, and this is the most restrictive of what they said; or were taken apart, and each kept it. Nobody can
    /// say this.
    Merge,
}

/// One statement of what a contact allows.
#[derive(SimpleObject)]
pub struct Consent {
    /// What it is about, in the tenant's words.
    topic: String,
    /// By which way.
    channel: ConsentChannel,
    /// Whether it is allowed.
    state: ConsentState,
    /// By what right.
    basis: ConsentBasis,
    /// How it came: `source`, `ip`, `url` and `textVersion`, as far as they were told.
    proof: Json<Value>,
    /// Since when it holds.
    at: Instant,
    /// When it was written down.
    recorded_at: Instant,
}

impl From<consent::Model> for Consent {
    fn from(row: consent::Model) -> Self {
        Self {
            topic: row.topic,
            channel: row.channel.into(),
            state: row.state.into(),
            basis: row.basis.into(),
            proof: Json(row.proof),
            at: row.at.into(),
            recorded_at: row.created_at.into(),
        }
    }
}

/// Which statements.
#[derive(Debug, Default, InputObject)]
pub struct ConsentFilter {
    /// Only those about this.
    topic: Option<String>,
    /// Only those about this way.
    channel: Option<ConsentChannel>,
}

impl OfContact for consent::Entity {
    const ID: Self::Column = consent::Column::Id;
    const CONTACTS: &'static [Self::Column] = &[consent::Column::ContactId];
    const AT: Self::Column = consent::Column::At;
    const NEWEST_FIRST: bool = true;
    fn lists(loaders: &Loaders) -> &Lists<Self> {
        &loaders.consent_history
    }
}

/// How a root stands.
pub async fn of_contact(ctx: &Context<'_>, root: ContactId) -> async_graphql::Result<Vec<Consent>> {
    let rows = Loaders::of(ctx)?.consents.ask(root).await?;
    Ok(rows
        .unwrap_or_default()
        .into_iter()
        .map(Consent::from)
        .collect())
}

/// Everything that was said of a root, the newest first.
pub async fn history(
    ctx: &Context<'_>,
    root: ContactId,
    filter: ConsentFilter,
    args: PageArgs,
) -> async_graphql::Result<Listing<Consent>> {
    use consent::Column;
    let topic = filter.topic.clone().map(storable);
    let narrow = Condition::all()
        .add_option(topic.map(|topic| Column::Topic.eq(topic)))
        .add_option(
            filter
                .channel
                .map(|channel| Column::Channel.eq(Channel::from(channel))),
        );
    let narrow = Narrow::new(&filter, narrow);
    let page = page_of::<consent::Entity>(ctx, root, "consents", narrow, args).await?;
    Ok(page.listing(Consent::from))
}

/// How a consent came.
#[derive(Debug, Default, InputObject)]
struct ConsentProofInput {
    /// Where it was said, such as `signup form`; at most 500 characters.
    source: Option<String>,
    /// The address of who said it. Of a contact's own token it is the request's, whatever is given.
    ip: Option<String>,
    /// The page on which it was said; at most 500 characters.
    url: Option<String>,
    /// Which version of the text was agreed to; at most 500 characters.
    text_version: Option<String>,
}

/// What somebody allows. A secret key or a member names the contact by `contactId` or `by`; a contact's own token need not.
#[derive(InputObject)]
struct ConsentSetInput {
    /// The contact's id; an absorbed contact's stands for its root.
    contact_id: Option<ID>,
    /// One of the contact's identifiers, which is noted as the one that it was said by.
    by: Option<ContactKey>,
    /// What it is about, such as `newsletter`: 1 to 64 small letters, digits, `-`, `_` and `.`.
    topic: String,
    /// By which way.
    channel: ConsentChannel,
    /// Whether it is allowed.
    state: ConsentState,
    /// By what right; `CONSENT` where nothing is said.
    basis: Option<ConsentBasis>,
    /// How it came.
    proof: Option<ConsentProofInput>,
    /// Since when it holds, not in the future; now, where absent. One that is older than how the contact stands is history alone.
    at: Option<Instant>,
}

impl ConsentSetInput {
    fn new_consent(self, cx: &Cx, ip: Option<IpAddr>) -> Result<NewConsent> {
        let fits = |letter: u8| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_.".contains(&letter)
        };
        if !(1..=TOPIC_CHARS_MAX).contains(&self.topic.len()) || !self.topic.bytes().all(fits) {
            return Err(Error::invalid(
                "topic",
                format!("a topic has 1 to {TOPIC_CHARS_MAX} small letters, digits, -, _ and ."),
            ));
        }
        let basis = self.basis.map_or(Basis::Consent, Basis::from);
        if basis == Basis::Merge {
            return Err(Error::invalid("basis", "MERGE is the product's own to say"));
        }
        Ok(NewConsent {
            whom: Whom::read(cx.actor(), (self.contact_id, "contactId"), (self.by, "by"))?,
            topic: self.topic,
            channel: self.channel.into(),
            state: self.state.into(),
            basis,
            proof: proof(cx.actor(), self.proof.unwrap_or_default(), ip)?,
            at: self.at.map(Into::into),
        })
    }
}

fn proof(actor: &Actor, given: ConsentProofInput, ip: Option<IpAddr>) -> Result<Value> {
    let told = match given.ip {
        Some(text) => {
            let read: Result<IpAddr, _> = text.parse();
            Some(read.map_err(|_| Error::invalid("proof.ip", "an IP address is expected"))?)
        }
        None => None,
    };
    // A browser may say anything.
    let ip = if matches!(actor, Actor::Contact { .. }) {
        ip
    } else {
        told
    };
    let parts = [
        ("source", given.source),
        ("ip", ip.map(|ip| ip.to_string())),
        ("url", given.url),
        ("textVersion", given.text_version),
    ];
    let mut proof = Map::new();
    for (key, text) in parts {
        if let Some(text) = text {
            let text = cut(storable(text), PROOF_CHARS_MAX);
            proof.insert(key.to_owned(), text.into());
        }
    }
    Ok(Value::Object(proof))
}

/// What became of a statement.
#[derive(SimpleObject)]
struct ConsentSetPayload {
    /// The statement, as it was written down; null where the input is wrong.
    consent: Option<Consent>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct ConsentMutation;

#[Object]
impl ConsentMutation {
    /// Says what a contact allows about a topic and a channel. Nothing is overwritten: what was said before stays as history. A
    /// contact's own token speaks for itself alone.
    #[graphql(
        guard = "gql::CONTACTS_WRITE_OR_OWN",
        visible = "gql::contacts_write_or_own"
    )]
    async fn consent_set(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who allows what.")] input: ConsentSetInput,
    ) -> async_graphql::Result<ConsentSetPayload> {
        let cx = ctx.cx()?;
        let done = async {
            let new = input.new_consent(cx, ctx.origin().ip)?;
            let new = &new;
            cx.write(async |tx| commands::set(tx, cx.actor(), new).await)
                .await
        };
        let (row, errors) = outcome(done.await)?;
        Ok(ConsentSetPayload {
            consent: row.map(Consent::from),
            errors,
        })
    }
}
