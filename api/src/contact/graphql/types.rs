//! What is shown of a contact, and how one is named and sorted.

use std::collections::BTreeMap;

use async_graphql::{Enum, ID, InputObject, Json, OneofObject, SimpleObject};
use chrono::{DateTime, Utc};
use entity::{
    contact,
    contact_identifier::{self, Kind, Verification},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    base::{SortBy, filter::OrderDirection, instant::Instant},
    contact::touch,
};

/// How well a contact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "contact::Status")]
pub enum ContactStatus {
    /// Only ids that clients made up are known.
    Anonymous,
    /// Somebody claimed an id, an e-mail address or a phone number.
    Known,
    /// The tenant's backend, or the person, confirmed one.
    Verified,
    /// It holds what came by an identifier that turned out to be nobody's.
    Quarantined,
    /// Absorbed by another contact, which its id leads to.
    Merged,
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[graphql(remote = "Kind")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IdentifierKind {
    /// The person's id in the tenant's own product.
    ExternalId,
    /// An e-mail address.
    Email,
    /// A phone number in E.164.
    Phone,
    /// An id that a client made up for a visitor.
    AnonymousId,
    /// An id that a PostHog client uses, not known to be either of the others.
    DistinctId,
}

/// Who says that an identifier is the contact's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[graphql(remote = "Verification")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IdentifierVerification {
    /// A browser, which may say anything.
    Claimed,
    /// The tenant's backend, with a secret key.
    AssertedByBackend,
    /// The person, who proved it.
    Confirmed,
}

/// One id of a contact; no other contact of the tenant has it.
#[derive(SimpleObject)]
pub struct Identifier {
    /// The identifier's own id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// What it is.
    kind: IdentifierKind,
    /// The id, the address or the number, as it came.
    value: String,
    /// Who says so.
    verification: IdentifierVerification,
    /// When it was first seen.
    first_seen_at: Instant,
    /// When it was last seen, to the minute.
    last_seen_at: Instant,
}

impl From<contact_identifier::Model> for Identifier {
    fn from(row: contact_identifier::Model) -> Self {
        Self {
            id: row.id.to_string().into(),
            kind: row.kind.into(),
            value: row.shown,
            verification: row.verification.into(),
            first_seen_at: row.first_seen_at.into(),
            last_seen_at: row.last_seen_at.into(),
        }
    }
}

/// Where a contact came from. A direct visit is no touch.
#[derive(SimpleObject)]
pub struct Attribution {
    /// The earliest touch.
    first_touch: Option<Touch>,
    /// The latest touch.
    last_touch: Option<Touch>,
}

impl Attribution {
    pub fn of(row: &contact::Model) -> Self {
        Self {
            first_touch: Touch::read(row.first_touch.as_ref(), row.first_touch_at),
            last_touch: Touch::read(row.last_touch.as_ref(), row.last_touch_at),
        }
    }
}

/// What brought a visitor, the most telling of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "touch::TouchKind")]
pub enum TouchKind {
    /// A printed code that was scanned.
    Qr,
    /// Somebody's referral.
    Referral,
    /// A campaign, or an ad by its click id.
    Campaign,
    /// A link on another site.
    Referrer,
}

/// The campaign, the referrer and the referral behind one visit.
#[derive(SimpleObject)]
pub struct Touch {
    /// When it happened.
    at: Instant,
    /// What brought the visitor, the most telling of it.
    kind: TouchKind,
    /// `utm_source`.
    source: Option<String>,
    /// `utm_medium`.
    medium: Option<String>,
    /// `utm_campaign`.
    campaign: Option<String>,
    /// `utm_term`.
    term: Option<String>,
    /// `utm_content`.
    content: Option<String>,
    /// URL of the page that the visitor came from; never one of the same host.
    referrer: Option<String>,
    /// Host of `referrer`.
    referrer_domain: Option<String>,
    /// URL of the page that the visitor came to.
    landing_url: Option<String>,
    /// Code of the referral that brought the visitor.
    referral_code: Option<String>,
    /// `qr` of the page's URL: the printed code that was scanned.
    qr_code: Option<String>,
    /// The ad networks' click ids, by the name of their parameter: `{"gclid": "…"}`.
    click_ids: Json<BTreeMap<String, String>>,
}

impl Touch {
    fn read(stored: Option<&Value>, at: Option<DateTime<Utc>>) -> Option<Self> {
        Some(Self::of(stored?, at?))
    }
    pub(in crate::contact) fn of(stored: &Value, at: DateTime<Utc>) -> Self {
        let stored = touch::Touch::deserialize(stored).unwrap_or_default();
        Self {
            at: at.into(),
            kind: stored.kind().into(),
            source: stored.source,
            medium: stored.medium,
            campaign: stored.campaign,
            term: stored.term,
            content: stored.content,
            referrer: stored.referrer,
            referrer_domain: stored.referring_domain,
            landing_url: stored.landing_url,
            referral_code: stored.referral_code,
            qr_code: stored.qr,
            click_ids: Json(stored.click_ids),
        }
    }
}

/// Names a contact by one of its identifiers. `externalId`, `anonymousId` and `distinctId` are one namespace:
/// each finds an id of the other two kinds.
#[derive(OneofObject)]
pub enum ContactKey {
    /// The person's id in the tenant's own product.
    ExternalId(String),
    /// An e-mail address; case does not matter.
    Email(String),
    /// A phone number in international form.
    Phone(String),
    /// An id that a client made up for a visitor.
    AnonymousId(String),
    /// Any id that PostHog knows the person by.
    DistinctId(String),
}

impl ContactKey {
    pub fn parts(&self) -> (Kind, &str) {
        match self {
            Self::ExternalId(value) => (Kind::ExternalId, value),
            Self::Email(value) => (Kind::Email, value),
            Self::Phone(value) => (Kind::Phone, value),
            Self::AnonymousId(value) => (Kind::AnonymousId, value),
            Self::DistinctId(value) => (Kind::DistinctId, value),
        }
    }
}

/// How contacts are sorted; equal ones by id.
#[derive(InputObject)]
pub struct ContactOrder {
    /// By what.
    field: ContactOrderField,
    /// Which way.
    direction: OrderDirection,
}

/// What contacts can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ContactOrderField {
    /// When the contact was first heard of.
    CreatedAt,
    /// When the contact last changed.
    UpdatedAt,
}

impl ContactOrder {
    /// The newest contact first where no order is asked for.
    pub fn parts(order: Option<&Self>) -> (ContactOrderField, bool) {
        order.map_or((ContactOrderField::CreatedAt, true), |order| {
            (order.field, order.direction == OrderDirection::Desc)
        })
    }
    pub fn sort(order: Option<&Self>) -> SortBy<contact::Entity> {
        let (field, descending) = Self::parts(order);
        Self::sorted(field, descending)
    }
    pub const fn sorted(field: ContactOrderField, descending: bool) -> SortBy<contact::Entity> {
        SortBy {
            column: match field {
                ContactOrderField::CreatedAt => contact::Column::CreatedAt,
                ContactOrderField::UpdatedAt => contact::Column::UpdatedAt,
            },
            descending,
        }
    }
}
