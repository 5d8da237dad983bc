//! What callers say of a contact, and the touches that it becomes.

mod bounds;

use async_graphql::{ID, InputObject, Json};
use chrono::{DateTime, TimeDelta, Utc};
use entity::contact_identifier::{Kind, Verification};
use serde_json::{Map, Value, json};

use self::bounds::{
    CONTEXT_BYTES_MAX, PROPERTIES_BYTES_MAX, bounded_object, changes, contact_id, message_id,
    named, said_in, trait_key, trait_properties,
};
use crate::{
    base::{Actor, Error, ErrorCode, Result, instant::Instant, storable},
    contact::{Claim, INGEST_MAX, Incoming, Link, Proofs, TraitChanges},
};

const NAME_CHARS_MAX: usize = 200;

/// A timestamp further ahead than any time zone mistake is a broken clock.
const AHEAD_MAX: TimeDelta = TimeDelta::hours(23);

/// Who, when and by what right: what every input is read with.
#[derive(Clone, Copy)]
pub struct Saying<'a> {
    pub actor: &'a Actor,
    pub now: DateTime<Utc>,
    /// What browsers have to prove.
    pub proofs: &'a Proofs,
}

impl Saying<'_> {
    fn verification(self) -> Verification {
        match self.actor {
            Actor::SecretKey { .. } | Actor::Member { .. } | Actor::System => {
                Verification::AssertedByBackend
            }
            Actor::PublishableKey { .. } | Actor::Contact { .. } | Actor::Operator => {
                Verification::Claimed
            }
        }
    }
    fn claim(self, kind: Kind, text: Option<&String>, field: &str) -> Result<Option<Claim>> {
        text.map(|text| Claim::new(kind, text, self.verification(), field))
            .transpose()
    }
    /// The claim of a user id; a browser's is worth what its proof makes it.
    fn user(self, text: Option<&String>, hash: Option<&str>) -> Result<Option<Claim>> {
        let Some(text) = text else {
            return match hash {
                Some(_) => Err(Error::invalid("userHash", "there is no user id to prove")),
                None => Ok(None),
            };
        };
        let verification = match self.actor {
            Actor::PublishableKey { .. } => self.proofs.weigh(text, hash)?,
            _ => self.verification(),
        };
        Claim::new(Kind::ExternalId, text, verification, "userId").map(Some)
    }
    fn occurred_at(self, timestamp: Option<Instant>) -> DateTime<Utc> {
        timestamp
            .map(DateTime::from)
            .filter(|at| *at <= self.now + AHEAD_MAX)
            .unwrap_or(self.now)
    }
    fn incoming(self, name: impl Into<String>, said: Said) -> Result<Incoming> {
        let mut context = bounded_object(said.context, "context", CONTEXT_BYTES_MAX)?;
        // Which ids an event names is what its claims say, and nothing else.
        context.remove("ids");
        Ok(Incoming {
            name: name.into(),
            claims: vec![],
            contact_id: None,
            link: Link::SameEvent,
            traits: TraitChanges::default(),
            touch: None,
            properties: Map::new(),
            context,
            source: "api",
            verification: self.verification(),
            message_id: said.message_id.map(message_id).transpose()?,
            occurred_at: self.occurred_at(said.timestamp),
            makes_contact: true,
        })
    }
}

/// What may come with every touch.
#[derive(Default)]
struct Said {
    context: Option<Json<Value>>,
    timestamp: Option<Instant>,
    message_id: Option<String>,
}

/// Who somebody is. Give at least one id; all that are given become one contact's.
#[derive(InputObject)]
pub struct IdentifyInput {
    /// The person's id in the tenant's own product, at most 200 characters.
    user_id: Option<String>,
    /// Where a browser speaks: the proof of `userId`, its HMAC-SHA256 with the tenant's secret in hexadecimal, made by the tenant's
    /// backend. With it the id is worth as much as if the backend had said it.
    user_hash: Option<String>,
    /// The id that the client made up before it knew the person; its earlier events come along.
    anonymous_id: Option<String>,
    /// An e-mail address; noted as the trait `email`, too.
    email: Option<String>,
    /// A phone number in international form, such as `+4930901820`; noted as the trait `phone`, too.
    phone: Option<String>,
    /// Traits to set: an object. Null unsets a trait.
    traits: Option<Json<Value>>,
    /// Circumstances such as `{"page": {"url": "…", "referrer": "…"}, "userAgent": "…"}`: an object of at most 8 KiB.
    context: Option<Json<Value>>,
    /// When it happened; now, where absent or more than 23 hours ahead.
    timestamp: Option<Instant>,
    /// The client's own id of this call, at most 200 characters: sent again, nothing happens.
    message_id: Option<String>,
}

impl IdentifyInput {
    pub fn incoming(self, by: Saying<'_>) -> Result<Incoming> {
        let claims: Vec<Claim> = [
            by.user(self.user_id.as_ref(), self.user_hash.as_deref())?,
            by.claim(Kind::AnonymousId, self.anonymous_id.as_ref(), "anonymousId")?,
            by.claim(Kind::Email, self.email.as_ref(), "email")?,
            by.claim(Kind::Phone, self.phone.as_ref(), "phone")?,
        ]
        .into_iter()
        .flatten()
        .collect();
        if claims.is_empty() {
            return Err(Error::invalid(
                "userId",
                "give userId, anonymousId, email or phone",
            ));
        }
        let traits = changes(self.traits)?;
        let mut properties = trait_properties(&traits);
        // PostHog joins the two by the same word.
        if let (Some(_), Some(anonymous)) = (&self.user_id, &self.anonymous_id) {
            properties.insert("$anon_distinct_id".to_owned(), json!(anonymous.trim()));
        }
        let said = Said {
            context: self.context,
            timestamp: self.timestamp,
            message_id: self.message_id,
        };
        Ok(Incoming {
            claims,
            link: Link::Identify,
            traits,
            properties,
            ..by.incoming("$identify", said)?
        })
    }
}

/// What somebody did. Give one of `userId`, `anonymousId` and `contactId`.
#[derive(InputObject)]
pub struct TrackInput {
    /// The event's name, 1 to 200 characters, such as `signup`.
    event: String,
    /// The person's id in the tenant's own product.
    user_id: Option<String>,
    /// Where a browser speaks: the proof of `userId`, its HMAC-SHA256 with the tenant's secret in hexadecimal, made by the tenant's
    /// backend. With it the id is worth as much as if the backend had said it.
    user_hash: Option<String>,
    /// The id that the client made up for a visitor.
    anonymous_id: Option<String>,
    /// The contact's id; for secret keys only.
    contact_id: Option<ID>,
    /// What there is to say of it: an object of at most 900 KiB and 32 levels. As in PostHog, `$set`, `$set_once` and
    /// `$unset` in it change the contact's traits.
    properties: Option<Json<Value>>,
    /// Circumstances such as `{"page": {"url": "…", "referrer": "…"}, "userAgent": "…"}`: an object of at most 8 KiB.
    context: Option<Json<Value>>,
    /// When it happened; now, where absent or more than 23 hours ahead.
    timestamp: Option<Instant>,
    /// The client's own id of this event, at most 200 characters: sent again, nothing happens.
    message_id: Option<String>,
}

/// Names that mean something to PostHog which only the mutations of their own do here as well.
const RESERVED: [(&str, &str); 3] = [
    ("$identify", "identify"),
    ("$create_alias", "alias"),
    ("$merge_dangerously", "alias"),
];

impl TrackInput {
    pub fn incoming(self, by: Saying<'_>) -> Result<Incoming> {
        let name = storable(self.event);
        let chars = name.chars().count();
        if name.trim().is_empty() || chars > NAME_CHARS_MAX {
            return Err(Error::invalid(
                "event",
                format!("an event's name has 1 to {NAME_CHARS_MAX} characters, not {chars}"),
            ));
        }
        if let Some((_, mutation)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
            return Err(Error::invalid(
                "event",
                format!("{name} is said with the mutation {mutation}"),
            ));
        }
        let contact_id = match self.contact_id {
            // Who holds a publishable key may be anybody, and an answer would tell which ids there are.
            Some(_) if matches!(by.actor, Actor::PublishableKey { .. }) => {
                return Err(Error::invalid("contactId", "contactId needs a secret key"));
            }
            Some(id) => Some(contact_id(&id, "contactId")?),
            None => None,
        };
        let claims: Vec<Claim> = [
            by.user(self.user_id.as_ref(), self.user_hash.as_deref())?,
            by.claim(Kind::AnonymousId, self.anonymous_id.as_ref(), "anonymousId")?,
        ]
        .into_iter()
        .flatten()
        .collect();
        if claims.is_empty() && contact_id.is_none() {
            return Err(Error::invalid(
                "userId",
                "give userId, anonymousId or contactId",
            ));
        }
        let properties = bounded_object(self.properties, "properties", PROPERTIES_BYTES_MAX)?;
        let said = Said {
            context: self.context,
            timestamp: self.timestamp,
            message_id: self.message_id,
        };
        Ok(Incoming {
            claims,
            contact_id,
            traits: said_in(&properties)?,
            properties,
            ..by.incoming(name, said)?
        })
    }
}

/// What several people did, in order.
#[derive(InputObject)]
pub struct TrackBatchInput {
    /// 1 to 500 events.
    events: Vec<TrackInput>,
}

impl TrackBatchInput {
    /// All of them, or the first that is wrong.
    pub fn incoming(self, by: Saying<'_>) -> Result<Vec<Incoming>> {
        let count = self.events.len();
        if !(1..=INGEST_MAX).contains(&count) {
            return Err(Error::user(
                ErrorCode::LimitReached,
                "events",
                format!("a batch holds 1 to {INGEST_MAX} events, not {count}"),
            ));
        }
        self.events
            .into_iter()
            .enumerate()
            .map(|(place, event)| {
                event
                    .incoming(by)
                    .map_err(|e| e.under(&format!("events.{place}")))
            })
            .collect()
    }
}

/// Another id of the same person. Give one of `userId` and `distinctId`.
#[derive(InputObject)]
pub struct AliasInput {
    /// The person's id in the tenant's own product.
    user_id: Option<String>,
    /// Where a browser speaks: the proof of `userId`, its HMAC-SHA256 with the tenant's secret in hexadecimal, made by the tenant's
    /// backend. With it the id is worth as much as if the backend had said it.
    user_hash: Option<String>,
    /// Any id that PostHog knows the person by.
    distinct_id: Option<String>,
    /// The other id.
    alias: String,
    /// When it was found out; now, where absent or more than 23 hours ahead.
    timestamp: Option<Instant>,
    /// The client's own id of this call, at most 200 characters: sent again, nothing happens.
    message_id: Option<String>,
}

impl AliasInput {
    pub fn incoming(self, by: Saying<'_>) -> Result<Incoming> {
        let known = match (&self.user_id, &self.distinct_id) {
            (Some(id), None) => by.user(Some(id), self.user_hash.as_deref())?,
            // It may be a user's id as well.
            (None, Some(id)) => by
                .user(Some(id), self.user_hash.as_deref())?
                .map(|claim| Claim {
                    kind: Kind::DistinctId,
                    ..claim
                }),
            _ => None,
        };
        let Some(known) = known else {
            return Err(Error::invalid(
                "userId",
                "give one of userId and distinctId",
            ));
        };
        let other = Claim::new(Kind::DistinctId, &self.alias, by.verification(), "alias")?;
        let mut properties = Map::new();
        properties.insert("distinct_id".to_owned(), json!(known.value));
        properties.insert("alias".to_owned(), json!(other.value));
        let said = Said {
            timestamp: self.timestamp,
            message_id: self.message_id,
            ..Said::default()
        };
        Ok(Incoming {
            claims: vec![known, other],
            link: Link::Alias,
            properties,
            ..by.incoming("$create_alias", said)?
        })
    }
}

/// A contact as the tenant's backend knows it. Give at least one id; an unknown one makes a contact.
#[derive(InputObject)]
pub struct ContactUpsertInput {
    /// The person's id in the tenant's own product, at most 200 characters.
    external_id: Option<String>,
    /// An e-mail address; noted as the trait `email`, too.
    email: Option<String>,
    /// A phone number in international form, such as `+4930901820`; noted as the trait `phone`, too.
    phone: Option<String>,
    /// The id that a client made up for a visitor.
    anonymous_id: Option<String>,
    /// What the person is called; noted as the trait `name`.
    name: Option<String>,
    /// Traits to set: an object. Null unsets a trait.
    traits: Option<Json<Value>>,
}

impl ContactUpsertInput {
    pub fn incoming(self, by: Saying<'_>) -> Result<Incoming> {
        let claims: Vec<Claim> = [
            by.claim(Kind::ExternalId, self.external_id.as_ref(), "externalId")?,
            by.claim(Kind::AnonymousId, self.anonymous_id.as_ref(), "anonymousId")?,
            by.claim(Kind::Email, self.email.as_ref(), "email")?,
            by.claim(Kind::Phone, self.phone.as_ref(), "phone")?,
        ]
        .into_iter()
        .flatten()
        .collect();
        if claims.is_empty() {
            return Err(Error::invalid(
                "externalId",
                "give externalId, email, phone or anonymousId",
            ));
        }
        let mut traits = changes(self.traits)?;
        named(&mut traits, self.name)?;
        Ok(Incoming {
            claims,
            link: Link::Identify,
            properties: trait_properties(&traits),
            traits,
            ..by.incoming("$set", Said::default())?
        })
    }
}

/// What changes of one contact.
#[derive(InputObject)]
pub struct ContactUpdateInput {
    /// The contact; an absorbed contact's id stands for its root.
    id: ID,
    /// What the person is called; noted as the trait `name`.
    name: Option<String>,
    /// Another e-mail address; noted as the trait `email`, too. An address of another contact joins the two.
    email: Option<String>,
    /// Another phone number in international form; noted as the trait `phone`, too.
    phone: Option<String>,
    /// Traits to set: an object. Null unsets a trait.
    traits: Option<Json<Value>>,
    /// Names of traits to unset; at most 200.
    #[graphql(validator(max_items = 200))]
    unset_traits: Option<Vec<String>>,
}

impl ContactUpdateInput {
    pub fn incoming(self, by: Saying<'_>) -> Result<Incoming> {
        let id = contact_id(&self.id, "id")?;
        let claims: Vec<Claim> = [
            by.claim(Kind::Email, self.email.as_ref(), "email")?,
            by.claim(Kind::Phone, self.phone.as_ref(), "phone")?,
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut traits = changes(self.traits)?;
        for key in self.unset_traits.unwrap_or_default() {
            traits.unset.push(trait_key(key, "unsetTraits")?);
        }
        named(&mut traits, self.name)?;
        if claims.is_empty() && traits.set.is_empty() && traits.unset.is_empty() {
            return Err(Error::invalid("traits", "give something to change"));
        }
        Ok(Incoming {
            claims,
            contact_id: Some(id),
            link: Link::Identify,
            properties: trait_properties(&traits),
            traits,
            ..by.incoming("$set", Said::default())?
        })
    }
}
