//! What read plans show of a contact by itself: its row, its identifiers and its traits.

use std::{borrow::Cow, collections::HashMap};

use chrono::{DateTime, Utc};
use entity::{
    ContactId, Id, contact, contact_alias,
    contact_identifier::{self, Kind},
    contact_trait,
};
use sea_orm::{
    ActiveEnum as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    sea_query::{Expr, ExprTrait as _, Query, SelectStatement, UnionType},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    base::{
        Actor, Cells, Read, Scope,
        plan::{Arguments, Asked, Compiled, Field, Given, Json, Run},
    },
    contact::{
        rules::name_in,
        touch::{Touch, TouchKind},
        traits::readable,
    },
};

/// A field of `Contact` that is the contact's own.
#[derive(Debug)]
pub enum ContactPart {
    Id,
    Status,
    CreatedAt,
    UpdatedAt,
    LastSeenAt,
    ExternalId,
    Email,
    Phone,
    Name,
    AnonymousIds,
    Traits,
    Trait(Arguments),
    Identifiers(Vec<Field<IdentifierPart>>),
    Attribution(Vec<Field<AttributionPart>>),
}

#[derive(Debug)]
pub enum IdentifierPart {
    Typename,
    Id,
    Kind,
    Value,
    Verification,
    FirstSeenAt,
    LastSeenAt,
}

#[derive(Debug)]
pub enum AttributionPart {
    Typename,
    FirstTouch(Vec<Field<TouchPart>>),
    LastTouch(Vec<Field<TouchPart>>),
}

#[derive(Debug)]
pub enum TouchPart {
    Typename,
    At,
    Kind,
    Text(fn(&Touch) -> Option<&str>),
    ClickIds,
}

impl ContactPart {
    pub fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        Some(match asked.name() {
            "id" => Self::Id,
            "status" => Self::Status,
            "createdAt" => Self::CreatedAt,
            "updatedAt" => Self::UpdatedAt,
            "lastSeenAt" => Self::LastSeenAt,
            "externalId" => Self::ExternalId,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "name" => Self::Name,
            "anonymousIds" => Self::AnonymousIds,
            "traits" => Self::Traits,
            "trait" => Self::Trait(asked.arguments(&["key"])?),
            "identifiers" => {
                Self::Identifiers(asked.fields(&["Identifier"], IdentifierPart::compile)?)
            }
            "attribution" => Self::Attribution(asked.fields(&["Attribution"], |field| {
                Some(match field.name() {
                    "__typename" => AttributionPart::Typename,
                    "firstTouch" => {
                        AttributionPart::FirstTouch(field.fields(&["Touch"], TouchPart::compile)?)
                    }
                    "lastTouch" => {
                        AttributionPart::LastTouch(field.fields(&["Touch"], TouchPart::compile)?)
                    }
                    _ => return None,
                })
            })?),
            _ => return None,
        })
    }

    const fn needs(&self) -> ContactNeeds {
        let identifiers = matches!(
            self,
            Self::ExternalId
                | Self::Email
                | Self::Phone
                | Self::AnonymousIds
                | Self::Identifiers(_)
        );
        let traits = matches!(
            self,
            Self::Email | Self::Phone | Self::Name | Self::Traits | Self::Trait(_)
        );
        let attribution = matches!(self, Self::Attribution(_));
        ContactNeeds {
            identifiers,
            traits,
            attribution,
        }
    }
}

impl IdentifierPart {
    fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        Some(match asked.name() {
            "__typename" => Self::Typename,
            "id" => Self::Id,
            "kind" => Self::Kind,
            "value" => Self::Value,
            "verification" => Self::Verification,
            "firstSeenAt" => Self::FirstSeenAt,
            "lastSeenAt" => Self::LastSeenAt,
            _ => return None,
        })
    }
}

impl TouchPart {
    fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        Some(match asked.name() {
            "__typename" => Self::Typename,
            "at" => Self::At,
            "kind" => Self::Kind,
            "source" => Self::Text(|touch| touch.source.as_deref()),
            "medium" => Self::Text(|touch| touch.medium.as_deref()),
            "campaign" => Self::Text(|touch| touch.campaign.as_deref()),
            "term" => Self::Text(|touch| touch.term.as_deref()),
            "content" => Self::Text(|touch| touch.content.as_deref()),
            "referrer" => Self::Text(|touch| touch.referrer.as_deref()),
            "referrerDomain" => Self::Text(|touch| touch.referring_domain.as_deref()),
            "landingUrl" => Self::Text(|touch| touch.landing_url.as_deref()),
            "referralCode" => Self::Text(|touch| touch.referral_code.as_deref()),
            "qrCode" => Self::Text(|touch| touch.qr.as_deref()),
            "clickIds" => Self::ClickIds,
            _ => return None,
        })
    }
}

/// Which rows the parts of a contact are made of, besides its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContactNeeds {
    identifiers: bool,
    traits: bool,
    attribution: bool,
}

impl ContactNeeds {
    pub fn of<'p>(parts: impl Iterator<Item = &'p ContactPart>) -> Self {
        parts
            .map(ContactPart::needs)
            .fold(Self::default(), |all, one| Self {
                identifiers: all.identifiers || one.identifiers,
                traits: all.traits || one.traits,
                attribution: all.attribution || one.attribution,
            })
    }

    /// The columns of `contact` that are read, in the order in which [`ContactRow`] has them.
    pub fn columns(self) -> impl Iterator<Item = contact::Column> {
        use contact::Column;
        let own = [
            Column::Id,
            Column::MergedInto,
            Column::Status,
            Column::CreatedAt,
            Column::UpdatedAt,
            Column::LastSeenAt,
        ];
        let touches = [
            Column::FirstTouch,
            Column::FirstTouchAt,
            Column::LastTouch,
            Column::LastTouchAt,
        ];
        own.into_iter()
            .chain(touches.into_iter().filter(move |_| self.attribution))
    }

    /// The statements that read what hangs on `roots`; [`ContactRows::gather`] takes their rows.
    pub fn reads(self, scope: &Scope, actor: &Actor, roots: &[Uuid]) -> Vec<Read> {
        let mut reads = Vec::with_capacity(2);
        if self.identifiers {
            use contact_identifier::{Column, Entity};
            let rows = scope
                .find::<Entity>()
                .filter(scope.is_one_of::<Entity>(Column::ContactId, roots))
                .order_by_asc(Column::FirstSeenAt)
                .order_by_asc(Column::Id)
                .select_only()
                .columns([
                    Column::ContactId,
                    Column::Id,
                    Column::Kind,
                    Column::Shown,
                    Column::Verification,
                    Column::FirstSeenAt,
                    Column::LastSeenAt,
                ]);
            reads.push(scope.read(rows.as_query()));
        }
        if self.traits {
            use contact_trait::{Column, Entity};
            let rows = scope
                .find::<Entity>()
                .filter(scope.is_one_of::<Entity>(Column::ContactId, roots))
                .filter(readable(scope, actor, Column::Key))
                .select_only()
                .columns([Column::ContactId, Column::Key, Column::Value]);
            reads.push(scope.read(rows.as_query()));
        }
        reads
    }
}

/// One contact's own row.
pub struct ContactRow {
    pub id: ContactId,
    cells: Cells,
}

impl ContactRow {
    pub fn of(cells: Cells) -> Run<Self> {
        Some(Self {
            id: Id::from_uuid(cells.uuid(0).ok()?),
            cells,
        })
    }
    /// The root that absorbed it.
    pub fn merged_into(&self) -> Run<Option<Uuid>> {
        self.cells.uuid_if_any(1).ok()
    }
    pub fn created_at(&self) -> Run<DateTime<Utc>> {
        self.cells.instant(3).ok()
    }
    pub fn updated_at(&self) -> Run<DateTime<Utc>> {
        self.cells.instant(4).ok()
    }
}

/// What hangs on the contacts of a page, by their places in it.
pub struct ContactRows {
    identifiers: Vec<Vec<Cells>>,
    traits: Vec<Map<String, Value>>,
}

impl ContactRows {
    pub fn gather(
        needs: ContactNeeds,
        place: &HashMap<Uuid, usize>,
        found: &mut impl Iterator<Item = Vec<Cells>>,
    ) -> Run<Self> {
        let mut rows = Self {
            identifiers: Vec::new(),
            traits: Vec::new(),
        };
        rows.identifiers.resize_with(place.len(), Vec::new);
        rows.traits.resize_with(place.len(), Map::new);
        if needs.identifiers {
            for cells in found.next()? {
                let place = *place.get(&cells.uuid(0).ok()?)?;
                rows.identifiers.get_mut(place)?.push(cells);
            }
        }
        if needs.traits {
            for cells in found.next()? {
                let value = cells.json(2).ok()?;
                // One that was unset keeps its row, as null.
                if value != Value::Null {
                    let place = *place.get(&cells.uuid(0).ok()?)?;
                    let key = cells.text(1).ok()?.into_owned();
                    rows.traits.get_mut(place)?.insert(key, value);
                }
            }
        }
        Some(rows)
    }

    /// Writes one part of the contact at `place`.
    pub fn write(
        &self,
        json: &mut Json,
        given: &Given<'_>,
        part: &ContactPart,
        row: &ContactRow,
        place: usize,
    ) -> Run<()> {
        let cells = &row.cells;
        let identifiers = self.identifiers.get(place)?;
        let traits = self.traits.get(place)?;
        match part {
            ContactPart::Id => json.id(row.id),
            ContactPart::Status => json.plain(&shouted(&cells.text(2).ok()?)),
            ContactPart::CreatedAt => json.instant(row.created_at()?),
            ContactPart::UpdatedAt => json.instant(row.updated_at()?),
            ContactPart::LastSeenAt => json.or_null(cells.instant_if_any(5).ok()?, Json::instant),
            ContactPart::ExternalId => {
                let first = identifiers.iter().find(|row| is(row, Kind::ExternalId));
                json.or_null(first, |json, row| json.value(&row.text(3).ok()?))
            }
            ContactPart::Email => told(json, traits, "email", identifiers, Kind::Email),
            ContactPart::Phone => told(json, traits, "phone", identifiers, Kind::Phone),
            ContactPart::Name => json.value(&name_in(traits)),
            ContactPart::AnonymousIds => {
                let anonymous = identifiers.iter().filter(|row| is(row, Kind::AnonymousId));
                json.list(anonymous, |json, row| json.value(&row.text(3).ok()?))
            }
            ContactPart::Traits => json.json(&Value::Object(traits.clone())),
            ContactPart::Trait(arguments) => {
                let key: String = given.argument(arguments, "key")?;
                json.or_null(traits.get(&key), Json::json)
            }
            ContactPart::Identifiers(fields) => json.list(identifiers, |json, row| {
                json.object(fields, given, |json, part| {
                    write_identifier(json, part, row)
                })
            }),
            ContactPart::Attribution(fields) => {
                json.object(fields, given, |json, part| match part {
                    AttributionPart::Typename => json.plain("Attribution"),
                    AttributionPart::FirstTouch(fields) => {
                        write_touch(json, given, fields, cells, 6)
                    }
                    AttributionPart::LastTouch(fields) => {
                        write_touch(json, given, fields, cells, 8)
                    }
                })
            }
        }
    }
}

/// The tables' words are the schema's in small letters.
fn shouted(word: &str) -> String {
    word.to_ascii_uppercase()
}

fn is(row: &Cells, kind: Kind) -> bool {
    row.text(2).is_ok_and(|text| text == kind.to_value())
}

/// The trait, else the newest identifier of its kind.
fn told(
    json: &mut Json,
    traits: &Map<String, Value>,
    key: &str,
    identifiers: &[Cells],
    kind: Kind,
) -> Run<()> {
    let newest = || -> Run<Option<Cow<'_, str>>> {
        let mut newest = None;
        for row in identifiers.iter().filter(|row| is(row, kind)) {
            let seen = (row.instant(6).ok()?, row.uuid(1).ok()?);
            if newest.as_ref().is_none_or(|(than, _)| seen >= *than) {
                newest = Some((seen, row));
            }
        }
        newest
            .map(|(_, row)| row.text(3).ok())
            .map_or(Some(None), |text| Some(Some(text?)))
    };
    match traits.get(key).and_then(Value::as_str) {
        Some(said) => json.value(said),
        None => json.value(&newest()?),
    }
}

fn write_identifier(json: &mut Json, part: &IdentifierPart, row: &Cells) -> Run<()> {
    match part {
        IdentifierPart::Typename => json.plain("Identifier"),
        IdentifierPart::Id => {
            let id: Id<contact_identifier::Entity> = Id::from_uuid(row.uuid(1).ok()?);
            json.id(id)
        }
        IdentifierPart::Kind => json.plain(&shouted(&row.text(2).ok()?)),
        IdentifierPart::Value => json.value(&row.text(3).ok()?),
        IdentifierPart::Verification => json.plain(&shouted(&row.text(4).ok()?)),
        IdentifierPart::FirstSeenAt => json.instant(row.instant(5).ok()?),
        IdentifierPart::LastSeenAt => json.instant(row.instant(6).ok()?),
    }
}

/// Writes the touch whose JSON and instant lie at `column` and after it.
fn write_touch(
    json: &mut Json,
    given: &Given<'_>,
    fields: &[Field<TouchPart>],
    cells: &Cells,
    column: usize,
) -> Run<()> {
    let touch: Option<Touch> = cells.parsed(column).ok()?;
    let at = cells.instant_if_any(column + 1).ok()?;
    let (Some(touch), Some(at)) = (touch, at) else {
        return json.null();
    };
    json.object(fields, given, |json, part| match part {
        TouchPart::Typename => json.plain("Touch"),
        TouchPart::At => json.instant(at),
        TouchPart::Kind => json.plain(touch_kind(touch.kind())),
        TouchPart::Text(text) => json.value(&text(&touch)),
        TouchPart::ClickIds => json.json(&serde_json::to_value(&touch.click_ids).ok()?),
    })
}

/// As the schema's enum has it.
const fn touch_kind(kind: TouchKind) -> &'static str {
    match kind {
        TouchKind::Qr => "QR",
        TouchKind::Referral => "REFERRAL",
        TouchKind::Campaign => "CAMPAIGN",
        TouchKind::Referrer => "REFERRER",
    }
}

/// Whose rows are which root's: itself, and those it absorbed.
pub fn members(scope: &Scope, roots: &[Uuid]) -> SelectStatement {
    use contact_alias::{Column, Entity};
    let absorbed = Query::select()
        .expr(Expr::col((Entity, Column::ContactId)))
        .expr(Expr::col((Entity, Column::AbsorbedId)))
        .from(Entity)
        .and_where(Expr::col((Entity, Column::TenantId)).eq(scope.tenant()))
        .cond_where(scope.is_one_of::<Entity>(Column::ContactId, roots))
        .to_owned();
    scope
        .members(roots)
        .union(UnionType::All, absorbed)
        .to_owned()
}
