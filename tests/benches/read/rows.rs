//! The world's rows, table by table.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::world::{Draw, STAGES, World, end};

/// One value of one row.
pub(crate) enum Cell {
    Null,
    Id(Uuid),
    Text(String),
    Integer(i64),
    Float(f64),
    Time(DateTime<Utc>),
}

pub(crate) struct Table<'a> {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Box<dyn Iterator<Item = Vec<Cell>> + 'a>,
}

/// How many rows a contact has on average.
#[derive(Clone, Copy)]
pub(crate) struct Density {
    /// 0 to twice as many.
    pub(crate) events: usize,
    /// So many less one, to as many.
    pub(crate) deliveries: usize,
}

const NUDGES: usize = 4;

/// Of a kind of rows, those of one contact are drawn from here.
const fn draw(kind: u64, contact: usize) -> Draw {
    Draw::new((kind << 40) | contact as u64)
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn some_time(at: Option<DateTime<Utc>>) -> Cell {
    at.map_or(Cell::Null, Cell::Time)
}

fn json_text(value: &Value) -> Cell {
    Cell::Text(value.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into memory does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Between a contact's first day and the end.
fn instant(draw: &mut Draw, from: DateTime<Utc>) -> DateTime<Utc> {
    let micros = (end() - from).num_microseconds().unwrap_or_default();
    let share = i64::try_from(draw.below(1_000_000)).unwrap_or_default();
    from + TimeDelta::microseconds(micros / 1_000_000 * share)
}

pub(crate) fn tables(world: &World, density: Density) -> Vec<Table<'_>> {
    vec![
        tenants(world),
        keys(world),
        contacts(world),
        identifiers(world),
        aliases(world),
        traits(world),
        events(world, density),
        nudges(world),
        versions(world),
        deliveries(world, density),
        decisions(world, density),
    ]
}

fn tenants(world: &World) -> Table<'_> {
    Table {
        name: "tenant",
        columns: &["id", "name", "token_key", "created_at"],
        rows: Box::new(world.tenants.iter().enumerate().map(|(number, tenant)| {
            vec![
                Cell::Id(tenant.id),
                text(format!("Tenant {number}")),
                text("no token is minted here"),
                Cell::Time(end() - TimeDelta::days(365)),
            ]
        })),
    }
}

fn keys(world: &World) -> Table<'_> {
    Table {
        name: "api_key",
        columns: &[
            "id",
            "tenant_id",
            "kind",
            "name",
            "prefix",
            "hash",
            "scopes",
            "created_at",
        ],
        rows: Box::new(world.tenants.iter().enumerate().map(|(number, tenant)| {
            vec![
                Cell::Id(draw(1, number).uuid(end())),
                Cell::Id(tenant.id),
                text("secret"),
                text("bench"),
                text(&tenant.key[..13]),
                text(hex(&Sha256::digest(&tenant.key))),
                text("[\"*\"]"),
                Cell::Time(end()),
            ]
        })),
    }
}

fn contacts(world: &World) -> Table<'_> {
    Table {
        name: "contact",
        columns: &[
            "id",
            "tenant_id",
            "status",
            "distinct_id",
            "first_touch",
            "first_touch_at",
            "last_touch",
            "last_touch_at",
            "last_seen_at",
            "merged_into",
            "created_at",
            "updated_at",
        ],
        rows: Box::new(world.contacts.iter().enumerate().map(|(number, contact)| {
            let mut draw = draw(2, number);
            let status = match (contact.merged_into, draw.below(10)) {
                (Some(_), _) => "merged",
                (None, 0..5) => "anonymous",
                (None, 5..8) => "known",
                (None, _) => "verified",
            };
            let touched = draw.below(2) == 0;
            let touch = |draw: &mut Draw| {
                if !touched {
                    return Cell::Null;
                }
                json_text(&json!({
                    "source": draw.one_of(&["google", "newsletter", "linkedin", "a friend"]),
                    "medium": draw.one_of(&["cpc", "email", "social"]),
                    "campaign": format!("spring \"{}\"", draw.below(40)),
                    "landingUrl": "https://shop.example/pricing?ref=x",
                }))
            };
            let seen_at = instant(&mut draw, contact.created_at);
            vec![
                Cell::Id(contact.id),
                Cell::Id(world.tenants[contact.tenant].id),
                text(status),
                text(format!("visitor-{number}")),
                touch(&mut draw),
                some_time(touched.then_some(contact.created_at)),
                touch(&mut draw),
                some_time(touched.then_some(seen_at)),
                Cell::Time(seen_at),
                contact
                    .merged_into
                    .map_or(Cell::Null, |root| Cell::Id(world.contacts[root].id)),
                Cell::Time(contact.created_at),
                Cell::Time(seen_at),
            ]
        })),
    }
}

/// Two a contact; an absorbed one's are its root's.
fn identifiers(world: &World) -> Table<'_> {
    let rows = world
        .contacts
        .iter()
        .enumerate()
        .flat_map(|(number, contact)| {
            let mut draw = draw(3, number);
            let root = &world.contacts[world.root(number)];
            let named = match draw.below(3) {
                0 => ("email", format!("Ann.{number}@Example.com")),
                1 => ("phone", format!("+49301{number:07}")),
                _ => ("external_id", format!("user \u{fc}\"{number}\"")),
            };
            let anonymous = ("anonymous_id", format!("visitor-{number}"));
            [anonymous, named].map(|(kind, shown)| {
                let seen_at = instant(&mut draw, contact.created_at);
                vec![
                    Cell::Id(draw.uuid(contact.created_at)),
                    Cell::Id(world.tenants[contact.tenant].id),
                    Cell::Id(root.id),
                    text(kind),
                    text(shown.to_lowercase()),
                    text(shown),
                    text(draw.one_of(&["claimed", "asserted_by_backend", "confirmed"])),
                    text("api"),
                    Cell::Time(contact.created_at),
                    Cell::Time(seen_at),
                ]
            })
        });
    Table {
        name: "contact_identifier",
        columns: &[
            "id",
            "tenant_id",
            "contact_id",
            "kind",
            "value",
            "shown",
            "verification",
            "source",
            "first_seen_at",
            "last_seen_at",
        ],
        rows: Box::new(rows),
    }
}

fn aliases(world: &World) -> Table<'_> {
    Table {
        name: "contact_alias",
        columns: &[
            "id",
            "tenant_id",
            "absorbed_id",
            "contact_id",
            "reason",
            "created_at",
        ],
        rows: Box::new(world.contacts.iter().filter_map(|contact| {
            let root = &world.contacts[contact.merged_into?];
            Some(vec![
                Cell::Id(contact.id),
                Cell::Id(world.tenants[contact.tenant].id),
                Cell::Id(contact.id),
                Cell::Id(root.id),
                text("alias"),
                Cell::Time(contact.created_at),
            ])
        })),
    }
}

/// Three a contact.
fn traits(world: &World) -> Table<'_> {
    let rows = world
        .contacts
        .iter()
        .enumerate()
        .flat_map(|(number, contact)| {
            let mut draw = draw(4, number);
            let stage = draw.one_of(&STAGES);
            let plan = draw.one_of(&["free", "team", "business"]);
            let score = u32::try_from(draw.below(100)).unwrap_or_default();
            [
                ("stage", json!(stage), stage.to_owned(), None),
                ("plan", json!(plan), plan.to_owned(), None),
                (
                    "score",
                    json!(score),
                    score.to_string(),
                    Some(f64::from(score)),
                ),
            ]
            .map(|(key, value, said, number)| {
                vec![
                    Cell::Id(draw.uuid(contact.created_at)),
                    Cell::Id(world.tenants[contact.tenant].id),
                    Cell::Id(contact.id),
                    text(key),
                    json_text(&value),
                    text(said),
                    number.map_or(Cell::Null, Cell::Float),
                    Cell::Integer(1),
                    text("api"),
                    Cell::Time(contact.created_at),
                    Cell::Id(draw.uuid(contact.created_at)),
                ]
            })
        });
    Table {
        name: "contact_trait",
        columns: &[
            "id",
            "tenant_id",
            "contact_id",
            "key",
            "value",
            "text",
            "number",
            "rank",
            "source",
            "observed_at",
            "said_by",
        ],
        rows: Box::new(rows),
    }
}

/// A tenth of them are referrals.
fn events(world: &World, density: Density) -> Table<'_> {
    let rows = world
        .contacts
        .iter()
        .enumerate()
        .flat_map(move |(number, contact)| {
            let mut draw = draw(5, number);
            let tenant = world.tenants[contact.tenant].id;
            (0..draw.below(2 * density.events + 1)).map(move |_| {
                let at = instant(&mut draw, contact.created_at);
                let name = if draw.below(10) == 0 {
                    "referral.converted"
                } else {
                    draw.one_of(&["$pageview", "signup", "checkout", "invite.sent"])
                };
                let properties = json!({
                    "$current_url": format!("https://shop.example/pages/{}", draw.below(500)),
                    "plan": draw.one_of(&["free", "team", "business"]),
                    "note": "said \"so\", and more of the same to make it as long as they are",
                    "step": draw.below(9),
                    "cart": {"items": draw.below(5), "open": draw.below(2) == 0},
                });
                vec![
                    Cell::Id(draw.uuid(at)),
                    Cell::Id(tenant),
                    Cell::Integer(i64::from(contact.id.as_bytes()[15] & 15)),
                    Cell::Id(contact.id),
                    text(name),
                    json_text(&properties),
                    text("{}"),
                    text("api"),
                    Cell::Integer(0),
                    Cell::Time(at),
                    Cell::Time(at),
                ]
            })
        });
    Table {
        name: "event",
        columns: &[
            "id",
            "tenant_id",
            "partition",
            "contact_id",
            "name",
            "properties",
            "context",
            "source",
            "causation_depth",
            "occurred_at",
            "received_at",
        ],
        rows: Box::new(rows),
    }
}

/// A tenant's nudges, and their one version each, have these ids.
fn nudge(tenant: usize, number: usize) -> Uuid {
    draw(6, tenant * NUDGES + number).uuid(end())
}
fn version(tenant: usize, number: usize) -> Uuid {
    draw(7, tenant * NUDGES + number).uuid(end())
}

fn each_nudge(world: &World) -> impl Iterator<Item = (usize, usize, Uuid)> {
    world
        .tenants
        .iter()
        .enumerate()
        .flat_map(|(tenant, row)| (0..NUDGES).map(move |number| (tenant, number, row.id)))
}

fn nudges(world: &World) -> Table<'_> {
    Table {
        name: "nudge",
        columns: &[
            "id",
            "tenant_id",
            "key",
            "name",
            "live_version_id",
            "created_at",
            "updated_at",
        ],
        rows: Box::new(each_nudge(world).map(|(tenant, number, tenant_id)| {
            vec![
                Cell::Id(nudge(tenant, number)),
                Cell::Id(tenant_id),
                text(format!("nudge-{number}")),
                text(format!("Nudge {number}")),
                Cell::Id(version(tenant, number)),
                Cell::Time(end()),
                Cell::Time(end()),
            ]
        })),
    }
}

fn versions(world: &World) -> Table<'_> {
    Table {
        name: "nudge_version",
        columns: &[
            "id",
            "tenant_id",
            "nudge_id",
            "number",
            "content",
            "surface",
            "trigger_event",
            "conditions",
            "priority",
            "published_at",
            "created_at",
        ],
        rows: Box::new(each_nudge(world).map(|(tenant, number, tenant_id)| {
            vec![
                Cell::Id(version(tenant, number)),
                Cell::Id(tenant_id),
                Cell::Id(nudge(tenant, number)),
                Cell::Integer(1),
                text("{\"title\": \"Hello\", \"body\": \"There\"}"),
                text("app"),
                text("nothing that happens"),
                text("[]"),
                Cell::Integer(0),
                Cell::Time(end()),
                Cell::Time(end()),
            ]
        })),
    }
}

/// One offer: its id, nudge, event and instant are the same for the delivery and the decision.
struct Offer {
    contact: usize,
    number: usize,
    id: Uuid,
    event: Uuid,
    at: DateTime<Utc>,
    displayed_at: Option<DateTime<Utc>>,
}

fn offers(world: &World, density: Density) -> impl Iterator<Item = Offer> {
    (0..world.contacts.len()).flat_map(move |contact| {
        let mut draw = draw(8, contact);
        let from = world.contacts[contact].created_at;
        (0..density.deliveries - contact % 2).map(move |_| {
            let at = instant(&mut draw, from);
            Offer {
                contact,
                number: draw.below(NUDGES),
                id: draw.uuid(at),
                event: draw.uuid(at),
                at,
                displayed_at: (draw.below(2) == 0).then_some(at + TimeDelta::seconds(5)),
            }
        })
    })
}

fn deliveries(world: &World, density: Density) -> Table<'_> {
    Table {
        name: "nudge_delivery",
        columns: &[
            "id",
            "tenant_id",
            "nudge_id",
            "nudge_version_id",
            "contact_id",
            "event_id",
            "surface",
            "priority",
            "offered_at",
            "displayed_at",
        ],
        rows: Box::new(offers(world, density).map(|offer| {
            let contact = &world.contacts[offer.contact];
            vec![
                Cell::Id(offer.id),
                Cell::Id(world.tenants[contact.tenant].id),
                Cell::Id(nudge(contact.tenant, offer.number)),
                Cell::Id(version(contact.tenant, offer.number)),
                Cell::Id(contact.id),
                Cell::Id(offer.event),
                text("app"),
                Cell::Integer(0),
                Cell::Time(offer.at),
                some_time(offer.displayed_at),
            ]
        })),
    }
}

fn decisions(world: &World, density: Density) -> Table<'_> {
    Table {
        name: "nudge_decision",
        columns: &[
            "id",
            "tenant_id",
            "nudge_id",
            "nudge_version_id",
            "contact_id",
            "event_id",
            "verdict",
            "created_at",
        ],
        rows: Box::new(offers(world, density).map(|offer| {
            let contact = &world.contacts[offer.contact];
            vec![
                Cell::Id(Uuid::new_v5(&offer.id, b"decision")),
                Cell::Id(world.tenants[contact.tenant].id),
                Cell::Id(nudge(contact.tenant, offer.number)),
                Cell::Id(version(contact.tenant, offer.number)),
                Cell::Id(contact.id),
                Cell::Id(offer.event),
                text("offered"),
                Cell::Time(offer.at),
            ]
        })),
    }
}
