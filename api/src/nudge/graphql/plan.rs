//! What read plans show of the nudges that were offered to a contact.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{Id, nudge, nudge_delivery, nudge_version};
use sea_orm::sea_query::{Expr, ExprTrait as _, JoinType, SelectStatement};
use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{
        queries::Narrow,
        rules::{Action, Content, Happened, State},
    },
    delivery::{deliveries_list, lease_token, newest_first},
};
use crate::base::{
    Cells, Cursors, Cx, EachSelect, Read,
    plan::{
        Asked, Compiled, Field, Given, Hanging, HangingTable, Json, ListPlan, MORE, Run,
        hanging_page, hanging_reads,
    },
};

/// A contact's `nudges`, as a document asks for them.
#[derive(Debug)]
pub struct DeliveriesPlan {
    list: ListPlan<Vec<Field<DeliveryPart>>>,
}

#[derive(Debug)]
enum DeliveryPart {
    Typename,
    Id,
    Nudge(Vec<Field<NudgePart>>),
    Content(Vec<Field<ContentPart>>),
    Surface,
    Priority,
    OfferedAt,
    LeaseToken,
    State,
    /// An instant that may not have come, by its column.
    At(nudge_delivery::Column),
}

#[derive(Debug)]
enum NudgePart {
    Typename,
    Id,
    Key,
}

#[derive(Debug)]
enum ContentPart {
    Typename,
    Title,
    Body,
    Action(Vec<Field<ActionPart>>),
}

#[derive(Debug)]
enum ActionPart {
    Typename,
    Label,
    Url,
}

/// The cells from [`MORE`] on; those of the joined tables follow them.
const COLUMNS: [nudge_delivery::Column; 12] = {
    use nudge_delivery::Column;
    [
        Column::NudgeId,
        Column::NudgeVersionId,
        Column::Surface,
        Column::Priority,
        Column::ExpiresAt,
        Column::ReceivedAt,
        Column::DisplayedAt,
        Column::ClickedAt,
        Column::CompletedAt,
        Column::DismissedAt,
        Column::SnoozedAt,
        Column::WithdrawnAt,
    ]
};
const NUDGE_ID: usize = MORE;
const SURFACE: usize = MORE + 2;
const PRIORITY: usize = MORE + 3;
const CONTENT: usize = MORE + COLUMNS.len();
const KEY: usize = CONTENT + 1;

impl DeliveriesPlan {
    pub fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        let list = ListPlan::compile(
            asked,
            "NudgeDelivery",
            &["state", "surface", "open"],
            |node| node.fields(&["NudgeDelivery"], DeliveryPart::compile),
        )?;
        Some(Self { list })
    }

    fn narrow(&self, given: &Given<'_>) -> Run<Narrow> {
        let arguments = &self.list.arguments;
        Some(Narrow {
            state: given.argument(arguments, "state")?,
            surface: given.argument(arguments, "surface")?,
            open: given.argument_or(arguments, "open", false)?,
        })
    }

    pub fn reads(&self, cx: &Cx, given: &Given<'_>, members: &SelectStatement) -> Run<Vec<Read>> {
        use nudge_delivery::Column;
        let (_, window) = hanging_page(&self.list, given)?;
        let table = HangingTable::<nudge_delivery::Entity> {
            owner: Column::ContactId,
            id: Column::Id,
            instant: Column::OfferedAt,
            more: &COLUMNS,
        };
        let narrow = self.narrow(given)?.condition(cx.now());
        let scope = cx.db();
        let tenant = scope.tenant();
        Some(hanging_reads(
            &scope,
            members,
            &table,
            &self.list,
            window,
            narrow,
            |each| {
                let EachSelect { select, rows } = each;
                let own = |column| Expr::col((*rows, column));
                let version = |column| Expr::col((nudge_version::Entity, column));
                let nudge = |column| Expr::col((nudge::Entity, column));
                let of_version = version(nudge_version::Column::TenantId)
                    .eq(tenant)
                    .and(version(nudge_version::Column::Id).eq(own(Column::NudgeVersionId)));
                let of_nudge = nudge(nudge::Column::TenantId)
                    .eq(tenant)
                    .and(nudge(nudge::Column::Id).eq(own(Column::NudgeId)));
                select
                    .expr(version(nudge_version::Column::Content))
                    .expr(nudge(nudge::Column::Key))
                    // Each is there. A left join says so to SQLite, which else begins with the versions and reads all deliveries.
                    .join(JoinType::LeftJoin, nudge_version::Entity, of_version)
                    .join(JoinType::LeftJoin, nudge::Entity, of_nudge);
            },
        ))
    }

    pub fn gather(
        &self,
        given: &Given<'_>,
        place: &HashMap<Uuid, usize>,
        found: &mut impl Iterator<Item = Vec<Cells>>,
    ) -> Run<Hanging> {
        let (_, window) = hanging_page(&self.list, given)?;
        Hanging::gather(&self.list, window, place, found)
    }

    /// Writes the list of the contact `root`, which is at `place`.
    pub fn write(
        &self,
        json: &mut Json,
        cx: &Cx,
        given: &Given<'_>,
        hanging: &mut Hanging,
        root: Uuid,
        place: usize,
    ) -> Run<()> {
        let narrow = self.narrow(given)?;
        let cursors = Cursors::of(cx, &deliveries_list(root, &narrow), &newest_first());
        hanging.write(
            json,
            &self.list,
            given,
            place,
            &cursors,
            |json, fields, row| {
                json.object(fields, given, |json, part| {
                    let delivery = Delivery {
                        id: Id::from_uuid(row.id),
                        offered_at: row.at,
                        cells: &row.cells,
                    };
                    part.write(json, cx, given, &delivery)
                })
            },
        )
    }
}

struct Delivery<'r> {
    id: Id<nudge_delivery::Entity>,
    offered_at: DateTime<Utc>,
    cells: &'r Cells,
}

/// Where a column of [`COLUMNS`] lies.
fn cell(column: nudge_delivery::Column) -> Run<usize> {
    let place = COLUMNS
        .iter()
        .position(|known| std::mem::discriminant(known) == std::mem::discriminant(&column))?;
    Some(MORE + place)
}

impl DeliveryPart {
    fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        use nudge_delivery::Column;
        Some(match asked.name() {
            "__typename" => Self::Typename,
            "id" => Self::Id,
            "nudge" => Self::Nudge(asked.fields(&["Nudge", "Node"], |field| {
                Some(match field.name() {
                    "__typename" => NudgePart::Typename,
                    "id" => NudgePart::Id,
                    "key" => NudgePart::Key,
                    _ => return None,
                })
            })?),
            "content" => Self::Content(asked.fields(&["NudgeContent"], ContentPart::compile)?),
            "surface" => Self::Surface,
            "priority" => Self::Priority,
            "offeredAt" => Self::OfferedAt,
            "leaseToken" => Self::LeaseToken,
            "state" => Self::State,
            "expiresAt" => Self::At(Column::ExpiresAt),
            "displayedAt" => Self::At(Column::DisplayedAt),
            "clickedAt" => Self::At(Column::ClickedAt),
            "completedAt" => Self::At(Column::CompletedAt),
            "dismissedAt" => Self::At(Column::DismissedAt),
            "withdrawnAt" => Self::At(Column::WithdrawnAt),
            _ => return None,
        })
    }

    fn write(&self, json: &mut Json, cx: &Cx, given: &Given<'_>, row: &Delivery<'_>) -> Run<()> {
        use nudge_delivery::Column;
        let at = |column| row.cells.instant_if_any(cell(column)?).ok();
        match self {
            Self::Typename => json.plain("NudgeDelivery"),
            Self::Id => json.id(row.id),
            Self::Nudge(fields) => json.object(fields, given, |json, part| match part {
                NudgePart::Typename => json.plain("Nudge"),
                NudgePart::Id => {
                    let id: Id<nudge::Entity> = Id::from_uuid(row.cells.uuid(NUDGE_ID).ok()?);
                    json.id(id)
                }
                NudgePart::Key => json.value(&row.cells.text(KEY).ok()?),
            }),
            Self::Content(fields) => {
                let stored: Value = row.cells.json(CONTENT).ok()?;
                let content: Content = serde_json::from_value(stored).ok()?;
                json.object(fields, given, |json, part| {
                    part.write(json, given, &content)
                })
            }
            Self::Surface => json.value(&row.cells.text(SURFACE).ok()?),
            Self::Priority => json.value(&row.cells.int(PRIORITY).ok()?),
            Self::OfferedAt => json.instant(row.offered_at),
            Self::LeaseToken => json.plain(&lease_token(cx, row.id)),
            Self::State => {
                let happened = Happened {
                    received_at: at(Column::ReceivedAt)?,
                    displayed_at: at(Column::DisplayedAt)?,
                    clicked_at: at(Column::ClickedAt)?,
                    completed_at: at(Column::CompletedAt)?,
                    dismissed_at: at(Column::DismissedAt)?,
                    snoozed_at: at(Column::SnoozedAt)?,
                    withdrawn_at: at(Column::WithdrawnAt)?,
                    expires_at: at(Column::ExpiresAt)?,
                };
                json.word_of(State::of(happened, cx.now()))
            }
            Self::At(column) => json.or_null(at(*column)?, Json::instant),
        }
    }
}

impl ContentPart {
    fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        Some(match asked.name() {
            "__typename" => Self::Typename,
            "title" => Self::Title,
            "body" => Self::Body,
            "action" => Self::Action(asked.fields(&["NudgeAction"], |field| {
                Some(match field.name() {
                    "__typename" => ActionPart::Typename,
                    "label" => ActionPart::Label,
                    "url" => ActionPart::Url,
                    _ => return None,
                })
            })?),
            _ => return None,
        })
    }

    fn write(&self, json: &mut Json, given: &Given<'_>, content: &Content) -> Run<()> {
        match self {
            Self::Typename => json.plain("NudgeContent"),
            Self::Title => json.value(&content.title),
            Self::Body => json.value(&content.body),
            Self::Action(fields) => json.or_null(content.action.as_ref(), |json, action| {
                let Action { label, url } = action;
                json.object(fields, given, |json, part| match part {
                    ActionPart::Typename => json.plain("NudgeAction"),
                    ActionPart::Label => json.value(label),
                    ActionPart::Url => json.value(url),
                })
            }),
        }
    }
}
