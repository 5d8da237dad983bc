//! The four work items, as each kind of server is asked for them, and what makes their answers comparable.

use std::ops::Range;

use anyhow::{Context as _, ensure};
use chrono::DateTime;
use entity::ContactId;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    load::request,
    world::{Draw, STAGES, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Item {
    /// One contact with its identifiers and last five events.
    Q1,
    /// The 50 newest contacts of a stage, each with identifiers, a count of referrals and its last three deliveries.
    Q2,
    /// The 100 newest contacts, flat.
    Q3,
    /// One trait is set, and an event says so.
    M1,
}

pub(crate) const ITEMS: [Item; 4] = [Item::Q1, Item::Q2, Item::Q3, Item::M1];

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Growthos,
    Postgraphile,
    Limit,
}

/// What one request is about.
pub(crate) struct Ask {
    pub(crate) tenant: usize,
    contact: Uuid,
    stage: &'static str,
    plan: String,
}

/// So many requests, drawn over these contacts: a large tenant is asked for more often.
pub(crate) fn asks(world: &World, contacts: &Range<usize>, seed: u64, many: usize) -> Vec<Ask> {
    let mut draw = Draw::new(seed);
    (0..many)
        .map(|_| {
            let contact = &world.contacts[contacts.start + draw.below(contacts.len())];
            Ask {
                tenant: contact.tenant,
                contact: contact.id,
                stage: draw.one_of(&STAGES),
                plan: format!("plan-{}", draw.below(1_000)),
            }
        })
        .collect()
}

impl Item {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Q1 => "Q1 one contact",
            Self::Q2 => "Q2 nested page",
            Self::Q3 => "Q3 flat page",
            Self::M1 => "M1 write",
        }
    }

    pub(crate) fn request(self, speech: Speech, world: &World, ask: &Ask) -> Vec<u8> {
        let type_id = ContactId::from_uuid(ask.contact).to_string();
        let (path, body) = match speech {
            Speech::Limit => match self {
                Self::Q1 => ("/q1", json!({"id": type_id})),
                Self::Q2 => ("/q2", json!({"stage": ask.stage})),
                Self::Q3 => ("/q3", json!({})),
                Self::M1 => ("/m1", json!({"id": type_id, "plan": ask.plan})),
            },
            Speech::Growthos => ("/graphql", self.graphql(GROWTHOS, &type_id, ask)),
            Speech::Postgraphile => (
                "/graphql",
                self.graphql(POSTGRAPHILE, &ask.contact.to_string(), ask),
            ),
        };
        request(path, &world.tenants[ask.tenant].key, &body.to_string())
    }

    fn graphql(self, documents: [&str; 4], id: &str, ask: &Ask) -> Value {
        let variables = match self {
            Self::Q1 => json!({"id": id}),
            Self::Q2 => json!({"stage": ask.stage}),
            Self::Q3 => json!({}),
            Self::M1 => json!({"id": id, "plan": ask.plan}),
        };
        let [q1, q2, q3, m1] = documents;
        let document = match self {
            Self::Q1 => q1,
            Self::Q2 => q2,
            Self::Q3 => q3,
            Self::M1 => m1,
        };
        json!({"query": document, "variables": variables})
    }
}

const GROWTHOS: [&str; 4] = [
    "query One($id: ID!) { contact(id: $id) {
        id status createdAt updatedAt lastSeenAt
        identifiers { id kind value verification firstSeenAt lastSeenAt }
        events(first: 5) { edges { node { id name occurredAt properties } } }
    } }",
    "query Page($stage: JSON!) { contacts(first: 50, filter: {trait: {key: \"stage\", eq: $stage}}) { edges { node {
        id createdAt
        identifiers { kind value }
        referrals: events(filter: {name: {eq: \"referral.converted\"}}) { totalCount }
        nudges(first: 3) { edges { node { id surface offeredAt displayedAt } } }
    } } } }",
    "query Flat { contacts(first: 100) { edges { node {
        id status createdAt updatedAt lastSeenAt
        attribution { firstTouch { at source medium campaign } }
    } } } }",
    "mutation Change($id: ID!, $plan: String!) { contactUpdate(input: {id: $id, traits: {plan: $plan}}) {
        contact { id trait(key: \"plan\") } userErrors { message }
    } }",
];

const POSTGRAPHILE: [&str; 4] = [
    "query One($id: UUID!) { contactById(id: $id) {
        id: rowId status createdAt updatedAt lastSeenAt
        identifiers: known { nodes { id: rowId kind value: shown verification firstSeenAt lastSeenAt } }
        events: history(first: 5) { nodes { id: rowId name occurredAt properties } }
    } }",
    "query Page($stage: String!) { contactsByStage(stage: $stage, first: 50) { nodes {
        id: rowId createdAt
        identifiers: known { nodes { kind value: shown } }
        referrals
        nudges: offers(first: 3) { nodes { id: rowId surface offeredAt displayedAt } }
    } } }",
    "query Flat { listedContacts(first: 100) { nodes {
        id: rowId status createdAt updatedAt lastSeenAt
        attribution_firstTouch_at: firstTouchAt
        attribution_firstTouch_source: firstSource
        attribution_firstTouch_medium: firstMedium
        attribution_firstTouch_campaign: firstCampaign
    } } }",
    "mutation Change($id: UUID!, $plan: String!) { setPlan(input: {contact: $id, plan: $plan}) {
        result { id: contactId trait: value }
    } }",
];

/// The values of an answer, without what differs from server to server: envelopes, the forms of ids and of instants, the
/// letters of enums, nulls.
pub(crate) fn values(speech: Speech, answer: &[u8]) -> anyhow::Result<Value> {
    let answer: Value = serde_json::from_slice(answer)?;
    if speech == Speech::Limit {
        return Ok(plain("", answer));
    }
    ensure!(answer["errors"].is_null(), "an answer has errors: {answer}");
    let root = answer["data"]
        .as_object()
        .context("an answer has no data")?;
    let value = root.values().next().context("an answer is empty")?;
    Ok(plain("", value.clone()))
}

/// What only holds something, and is nothing itself.
const ENVELOPES: [&str; 6] = ["edges", "nodes", "node", "totalCount", "contact", "result"];

fn plain(key: &str, value: Value) -> Value {
    match value {
        Value::Array(all) => all.into_iter().map(|each| plain("", each)).collect(),
        Value::Object(mut fields) => {
            fields.retain(|key, value| key != "userErrors" || *value != json!([]));
            if fields.len() == 1
                && let Some(held) = ENVELOPES.iter().find_map(|name| fields.remove(*name))
            {
                return plain("", held);
            }
            let mut flat = Map::new();
            for (key, value) in fields {
                match plain(&key, value) {
                    Value::Null => {}
                    Value::Object(inner) => flat.extend(
                        inner
                            .into_iter()
                            .map(|(field, value)| (format!("{key}_{field}"), value)),
                    ),
                    value => {
                        flat.insert(key, value);
                    }
                }
            }
            Value::Object(flat)
        }
        Value::String(text) => match key {
            "kind" | "status" | "verification" => json!(text.to_lowercase()),
            "properties" | "value" | "trait" => json!(text),
            _ => json!(same(&text)),
        },
        other => other,
    }
}

/// One form of an id or an instant.
fn same(text: &str) -> String {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return format!("{} us", at.timestamp_micros());
    }
    // Whatever its prefix, the digits are read as a contact's.
    let digits = text.rsplit_once('_').map(|(_, digits)| digits);
    let id = digits.and_then(|digits| ContactId::parse(&format!("contact_{digits}")));
    id.map_or_else(|| text.to_owned(), |id| id.uuid().to_string())
}
