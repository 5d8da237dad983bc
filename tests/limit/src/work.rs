//! The four requests: one or two round trips each, their statements sent without waiting for each other's answers.

use std::borrow::Cow;

use anyhow::Context as _;
use futures_util::try_join;
use serde::Deserialize;
use tokio_postgres::{
    Row, Statement,
    types::{FromSql, ToSql, Type},
};
use uuid::Uuid;

use crate::{json::Out, pool::Connection};

/// The root that `$2` names today: itself, or what absorbed it.
macro_rules! root {
    () => {
        "SELECT coalesce(merged_into, id) AS id FROM contact WHERE tenant_id = $1 AND id = $2"
    };
}

/// A page's contacts and their places, each with its family: rows keep the id that they were written with.
macro_rules! families {
    () => {
        "unnest($2::uuid[]) WITH ORDINALITY AS page (id, place) CROSS JOIN LATERAL (
             SELECT page.id UNION ALL
             SELECT absorbed_id FROM contact_alias WHERE tenant_id = $1 AND contact_id = page.id
         ) AS member (id)"
    };
}

const CONTACT: &str = concat!(
    "SELECT id, status, created_at, updated_at, last_seen_at
     FROM contact WHERE tenant_id = $1 AND id = (",
    root!(),
    ")"
);
const IDENTIFIERS: &str = concat!(
    "SELECT id, kind, shown, verification, first_seen_at, last_seen_at
     FROM contact_identifier WHERE tenant_id = $1 AND contact_id = (",
    root!(),
    ") ORDER BY first_seen_at, id"
);
const EVENTS: &str = concat!(
    "WITH root AS (",
    root!(),
    "), family AS (
         SELECT id FROM root UNION ALL
         SELECT absorbed_id FROM contact_alias, root WHERE tenant_id = $1 AND contact_id = root.id
     )
     SELECT e.id, e.name, e.occurred_at, e.properties FROM family CROSS JOIN LATERAL (
         SELECT * FROM event WHERE tenant_id = $1 AND contact_id = family.id
         ORDER BY occurred_at DESC, id DESC LIMIT 5
     ) e ORDER BY e.occurred_at DESC, e.id DESC LIMIT 5"
);
const PAGE: &str = "SELECT id, created_at FROM contact
     WHERE tenant_id = $1 AND merged_into IS NULL AND id IN (
         SELECT contact_id FROM contact_trait
         WHERE tenant_id = $1 AND key = 'stage' AND text = $2 AND value = to_jsonb($2::text)
     ) ORDER BY created_at DESC, id DESC LIMIT 50";
const PAGE_IDENTIFIERS: &str = "SELECT place, kind, shown
     FROM unnest($2::uuid[]) WITH ORDINALITY AS page (id, place)
     JOIN contact_identifier i ON i.tenant_id = $1 AND i.contact_id = page.id
     ORDER BY place, first_seen_at, i.id";
const PAGE_REFERRALS: &str = concat!(
    "SELECT place, count(*) FROM ",
    families!(),
    " JOIN event e ON e.tenant_id = $1 AND e.contact_id = member.id AND e.name = 'referral.converted'
     GROUP BY place ORDER BY place"
);
const PAGE_DELIVERIES: &str = concat!(
    "SELECT place, d.id, surface, offered_at, displayed_at FROM ",
    families!(),
    " CROSS JOIN LATERAL (
         SELECT * FROM nudge_delivery WHERE tenant_id = $1 AND contact_id = member.id
         ORDER BY offered_at DESC, id DESC LIMIT 3
     ) d ORDER BY place, offered_at DESC, d.id DESC"
);
/// Of each contact so many; a family gives more.
const DELIVERIES: usize = 3;
const FLAT: &str =
    "SELECT id, status, created_at, updated_at, last_seen_at, first_touch, first_touch_at
     FROM contact WHERE tenant_id = $1 AND merged_into IS NULL
     ORDER BY created_at DESC, id DESC LIMIT 100";

/// The contact is locked and noted as changed, the trait takes the newer value, the log says so: one statement.
/// `$4`, the event's id, is the caller's word that tells two calls of one instant apart, too.
const SET_TRAIT: &str = concat!(
    "WITH root AS (SELECT id FROM contact WHERE tenant_id = $1 AND id = (",
    root!(),
    ") FOR UPDATE),
     seen AS (UPDATE contact SET updated_at = now(), last_seen_at = CASE
             WHEN last_seen_at > now() - interval '1 minute' THEN last_seen_at ELSE now() END
         FROM root WHERE tenant_id = $1 AND contact.id = root.id),
     said AS (INSERT INTO contact_trait
             (id, tenant_id, contact_id, key, value, text, rank, source, observed_at, said_by)
         SELECT $5, $1, id, 'plan', to_jsonb($3::text), $3, 1, 'api', now(), $4 FROM root
         ON CONFLICT (tenant_id, contact_id, key) DO UPDATE SET
             value = excluded.value, text = excluded.text, number = excluded.number, rank = excluded.rank,
             source = excluded.source, observed_at = excluded.observed_at, said_by = excluded.said_by
         WHERE excluded.rank > contact_trait.rank
             OR (excluded.observed_at, excluded.said_by) >= (contact_trait.observed_at, contact_trait.said_by))
     INSERT INTO event (id, tenant_id, partition, contact_id, name, properties, context, source,
             causation_depth, occurred_at, received_at)
         SELECT $4, $1, get_byte(uuid_send(id), 15) & 15, id, '$set',
             jsonb_build_object('$set', jsonb_build_object('plan', $3::text)), '{}', 'api', 0, now(), now()
         FROM root
     RETURNING contact_id"
);
const SHOWN: &str = concat!(
    "SELECT value FROM contact_trait WHERE tenant_id = $1 AND key = 'plan' AND contact_id = (",
    root!(),
    ")"
);

/// Prepared once a connection.
pub(crate) struct Statements {
    contact: Statement,
    identifiers: Statement,
    events: Statement,
    page: Statement,
    page_identifiers: Statement,
    page_referrals: Statement,
    page_deliveries: Statement,
    flat: Statement,
    set_trait: Statement,
    shown: Statement,
}

impl Statements {
    pub(crate) async fn prepare(client: &tokio_postgres::Client) -> anyhow::Result<Self> {
        Ok(Self {
            contact: client.prepare(CONTACT).await?,
            identifiers: client.prepare(IDENTIFIERS).await?,
            events: client.prepare(EVENTS).await?,
            page: client.prepare(PAGE).await?,
            page_identifiers: client.prepare(PAGE_IDENTIFIERS).await?,
            page_referrals: client.prepare(PAGE_REFERRALS).await?,
            page_deliveries: client.prepare(PAGE_DELIVERIES).await?,
            flat: client.prepare(FLAT).await?,
            set_trait: client.prepare(SET_TRAIT).await?,
            shown: client.prepare(SHOWN).await?,
        })
    }
}

type Rows = Result<Vec<Row>, tokio_postgres::Error>;

impl Connection {
    async fn begin(&self, tenant: Uuid) -> Result<(), tokio_postgres::Error> {
        let tenant = tenant.to_string();
        let parameters: &[&(dyn ToSql + Sync)] = &[&tenant];
        try_join!(
            self.client.batch_execute("BEGIN"),
            self.client.query(&self.fence, parameters),
        )?;
        Ok(())
    }
    async fn commit(&self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("COMMIT").await
    }
    async fn rows(&self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Rows {
        self.client.query(statement, parameters).await
    }

    /// One contact with its identifiers and last five events.
    pub(crate) async fn contact(&self, tenant: Uuid, id: Uuid) -> anyhow::Result<Vec<u8>> {
        let of = &self.statements;
        let parameters: &[&(dyn ToSql + Sync)] = &[&tenant, &id];
        let ((), contact, identifiers, events, ()) = try_join!(
            self.begin(tenant),
            self.rows(&of.contact, parameters),
            self.rows(&of.identifiers, parameters),
            self.rows(&of.events, parameters),
            self.commit(),
        )?;
        let contact = contact.first().context("there is no such contact")?;
        let mut out = Out::with_capacity(2048);
        out.raw("{\"id\":").type_id("contact", contact.get(0));
        out.raw(",\"status\":").capitals(contact.get(1));
        out.raw(",\"createdAt\":").time(contact.get(2));
        out.raw(",\"updatedAt\":").time(contact.get(3));
        out.raw(",\"lastSeenAt\":").time_or_null(contact.get(4));
        out.raw(",\"identifiers\":").list(&identifiers, |out, row| {
            out.raw("{\"id\":").type_id("identifier", row.get(0));
            out.raw(",\"kind\":").capitals(row.get(1));
            out.raw(",\"value\":").text(row.get(2));
            out.raw(",\"verification\":").capitals(row.get(3));
            out.raw(",\"firstSeenAt\":").time(row.get(4));
            out.raw(",\"lastSeenAt\":").time(row.get(5)).raw("}");
        });
        out.raw(",\"events\":").list(&events, |out, row| {
            out.raw("{\"id\":").type_id("event", row.get(0));
            out.raw(",\"name\":").text(row.get(1));
            out.raw(",\"occurredAt\":").time(row.get(2));
            out.raw(",\"properties\":")
                .raw(row.get::<_, Jsonb>(3).0)
                .raw("}");
        });
        out.raw("}");
        Ok(out.0)
    }

    /// The 50 newest contacts of a stage, each with its identifiers, its referrals and its last deliveries.
    pub(crate) async fn page(&self, tenant: Uuid, stage: &str) -> anyhow::Result<Vec<u8>> {
        let of = &self.statements;
        let asked: &[&(dyn ToSql + Sync)] = &[&tenant, &stage];
        let ((), contacts) = try_join!(self.begin(tenant), self.rows(&of.page, asked))?;
        let ids: Vec<Uuid> = contacts.iter().map(|row| row.get(0)).collect();
        let parameters: &[&(dyn ToSql + Sync)] = &[&tenant, &ids];
        let (identifiers, referrals, deliveries, ()) = try_join!(
            self.rows(&of.page_identifiers, parameters),
            self.rows(&of.page_referrals, parameters),
            self.rows(&of.page_deliveries, parameters),
            self.commit(),
        )?;
        let mut identifiers = Places::new(&identifiers);
        let mut referrals = Places::new(&referrals);
        let mut deliveries = Places::new(&deliveries);
        let mut out = Out::with_capacity(32_768);
        out.list(contacts.iter().zip(1..), |out, (contact, place)| {
            out.raw("{\"id\":").type_id("contact", contact.get(0));
            out.raw(",\"createdAt\":").time(contact.get(1));
            out.raw(",\"identifiers\":")
                .list(identifiers.of(place), |out, row| {
                    out.raw("{\"kind\":").capitals(row.get(1));
                    out.raw(",\"value\":").text(row.get(2)).raw("}");
                });
            let referrals = referrals.of(place).first().map_or(0, |row| row.get(1));
            out.raw(",\"referrals\":").number(referrals);
            let deliveries = deliveries.of(place).iter().take(DELIVERIES);
            out.raw(",\"nudges\":").list(deliveries, |out, row| {
                out.raw("{\"id\":").type_id("delivery", row.get(1));
                out.raw(",\"surface\":").text(row.get(2));
                out.raw(",\"offeredAt\":").time(row.get(3));
                out.raw(",\"displayedAt\":")
                    .time_or_null(row.get(4))
                    .raw("}");
            });
            out.raw("}");
        });
        Ok(out.0)
    }

    /// The 100 newest contacts, with what their own rows hold.
    pub(crate) async fn flat(&self, tenant: Uuid) -> anyhow::Result<Vec<u8>> {
        let parameters: &[&(dyn ToSql + Sync)] = &[&tenant];
        let ((), contacts, ()) = try_join!(
            self.begin(tenant),
            self.rows(&self.statements.flat, parameters),
            self.commit(),
        )?;
        let mut out = Out::with_capacity(32_768);
        out.list(&contacts, |out, row| {
            out.raw("{\"id\":").type_id("contact", row.get(0));
            out.raw(",\"status\":").capitals(row.get(1));
            out.raw(",\"createdAt\":").time(row.get(2));
            out.raw(",\"updatedAt\":").time(row.get(3));
            out.raw(",\"lastSeenAt\":").time_or_null(row.get(4));
            out.raw(",\"attribution\":{\"firstTouch\":");
            let touch = row.get::<_, Option<Jsonb>>(5);
            let touch: Option<Touch> = touch.and_then(|touch| serde_json::from_str(touch.0).ok());
            match (touch, row.get(6)) {
                (Some(touch), Some(at)) => {
                    out.raw("{\"at\":").time(at);
                    out.raw(",\"source\":")
                        .text_or_null(touch.source.as_deref());
                    out.raw(",\"medium\":")
                        .text_or_null(touch.medium.as_deref());
                    out.raw(",\"campaign\":")
                        .text_or_null(touch.campaign.as_deref());
                    out.raw("}}}")
                }
                _ => out.raw("null}}"),
            };
        });
        Ok(out.0)
    }

    /// Sets one trait, and says so in the log.
    pub(crate) async fn set_trait(
        &self,
        tenant: Uuid,
        id: Uuid,
        plan: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let of = &self.statements;
        #[expect(clippy::disallowed_methods, reason = "a benchmark's ids are drawn")]
        let (event, of_trait) = (Uuid::now_v7(), Uuid::now_v7());
        let parameters: &[&(dyn ToSql + Sync)] = &[&tenant, &id, &plan, &event, &of_trait];
        let ((), written, shown, ()) = try_join!(
            self.begin(tenant),
            self.rows(&of.set_trait, parameters),
            self.rows(&of.shown, &parameters[..2]),
            self.commit(),
        )?;
        let contact = written.first().context("there is no such contact")?;
        let shown = shown.first().context("there is no such trait")?;
        let mut out = Out::with_capacity(256);
        out.raw("{\"id\":").type_id("contact", contact.get(0));
        out.raw(",\"trait\":")
            .raw(shown.get::<_, Jsonb>(0).0)
            .raw("}");
        Ok(out.0)
    }
}

/// Rows that lie in the order of their places, handed out place by place.
struct Places<'a> {
    left: &'a [Row],
}

impl<'a> Places<'a> {
    const fn new(rows: &'a [Row]) -> Self {
        Self { left: rows }
    }
    fn of(&mut self, place: i64) -> &'a [Row] {
        let end = self
            .left
            .iter()
            .position(|row| row.get::<_, i64>(0) != place)
            .unwrap_or(self.left.len());
        let (mine, left) = self.left.split_at(end);
        self.left = left;
        mine
    }
}

/// Of a touch, what is shown.
#[derive(Deserialize)]
struct Touch<'a> {
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    medium: Option<Cow<'a, str>>,
    #[serde(borrow)]
    campaign: Option<Cow<'a, str>>,
}

/// JSON as PostgreSQL sends it: a version, and text.
struct Jsonb<'a>(&'a str);

impl<'a> FromSql<'a> for Jsonb<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let text = raw.strip_prefix(b"\x01").ok_or("no jsonb of version 1")?;
        Ok(Self(std::str::from_utf8(text)?))
    }
    fn accepts(of: &Type) -> bool {
        *of == Type::JSONB
    }
}
