//! A PostHog event as the contact graph takes it.

use entity::contact_identifier::{Kind, Verification};
use serde_json::{Map, Value, json};

use super::wire::{Identity, Merge, WireEvent};
use crate::contact::{Claim, Incoming, Link, Proofs, TraitChanges, touch};

/// Where the event came from, for the log: `capture`.
pub(super) const SOURCE: &str = "capture";

/// Who sent the request, as far as HTTP tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    pub(super) ip: Option<String>,
    pub(super) user_agent: Option<String>,
}

/// What the sender's word is worth.
pub(super) struct Word {
    pub(super) verification: Verification,
    /// What a browser has to prove; none for a backend.
    pub(super) proofs: Option<Proofs>,
}

/// The property by which a browser proves the user that it names.
const USER_HASH: &str = "$growthos_user_hash";

impl Word {
    /// What it is worth for an id of a kind; nothing, where a proof is missing or wrong.
    fn weigh(&self, kind: Kind, id: &str, event: &WireEvent) -> Option<Verification> {
        let Some(proofs) = self.proofs.as_ref().filter(|_| kind != Kind::AnonymousId) else {
            return Some(self.verification);
        };
        let hash = event.properties.get(USER_HASH).and_then(Value::as_str);
        let weighed = proofs.weigh(id, hash).ok();
        if weighed.is_none() {
            metrics::counter!("growthos_contact_claims_refused_total", "reason" => "proof")
                .increment(1);
        }
        weighed
    }
}

pub(super) fn incoming(event: WireEvent, word: &Word, sender: &Sender) -> Incoming {
    let verification = word.verification;
    let (claims, link) = claims(&event, word);
    let mut context = Map::new();
    // Without a claim the graph notes no ids; the forwarder still needs the one to send it under.
    if claims.is_empty() {
        context.insert("ids".to_owned(), json!([event.distinct_id]));
    }
    for (key, value) in [("ip", &sender.ip), ("userAgent", &sender.user_agent)] {
        if let Some(value) = value {
            context.insert(key.to_owned(), Value::String(value.clone()));
        }
    }
    let makes_contact = event.event != "$groupidentify";
    Incoming {
        name: event.event,
        claims,
        contact_id: None,
        link,
        traits: TraitChanges {
            set: event.set,
            set_once: event.set_once,
            unset: event.unset,
            personless: event.personless,
        },
        touch: touch(&event.properties).map(|touch| json!(touch)),
        properties: event.properties,
        context,
        source: SOURCE,
        verification,
        message_id: event.uuid.map(|uuid| uuid.to_string()),
        occurred_at: event.timestamp,
        makes_contact,
    }
}

/// The ids that the event names; none where its distinct id can stand for no single person.
fn claims(event: &WireEvent, word: &Word) -> (Vec<Claim>, Link) {
    let kind = match event.identity {
        Identity::Anonymous => Kind::AnonymousId,
        Identity::Identified => Kind::ExternalId,
        Identity::Unknown => Kind::DistinctId,
    };
    let claim = |kind, id: &str| {
        let verification = word.weigh(kind, id, event)?;
        Claim::new(kind, id, verification, "distinct_id").ok()
    };
    let own = claim(kind, &event.distinct_id);
    let (other, link) = match &event.merge {
        Some(Merge::Identify { anonymous }) => {
            (claim(Kind::AnonymousId, anonymous), Link::Identify)
        }
        Some(Merge::Alias { alias }) => (claim(Kind::DistinctId, alias), Link::Alias),
        None => (None, Link::SameEvent),
    };
    (own.into_iter().chain(other).collect(), link)
}
