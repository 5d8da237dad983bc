//! A contact's events in plans.

use std::collections::HashMap;

use entity::{EventId, Id, event};
use sea_orm::sea_query::SelectStatement;
use uuid::Uuid;

use crate::{
    base::{
        Cells, Cursors, Cx, Read,
        plan::{
            Asked, Compiled, Field, Given, Hanging, HangingRow, HangingTable, Json, ListPlan, MORE,
            Run, hanging_page, hanging_reads,
        },
    },
    contact::EventFilter,
    schema::event::{contact_events_list, newest_first},
};

/// A contact's `events`, as a document asks for them.
#[derive(Debug)]
pub(super) struct EventsPlan {
    list: ListPlan<Vec<Field<EventPart>>>,
    columns: Vec<event::Column>,
}

#[derive(Debug)]
enum EventPart {
    Typename,
    Id,
    OccurredAt,
    /// A column beside those that every row has.
    More(event::Column),
}

impl EventsPlan {
    pub(super) fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        let list = ListPlan::compile(asked, "Event", &["filter"], |node| {
            node.fields(&["Event", "Node"], EventPart::compile)
        })?;
        let mut columns = Vec::new();
        for field in list.nodes().flatten() {
            if let EventPart::More(column) = field.what
                && place(&columns, column).is_none()
            {
                columns.push(column);
            }
        }
        Some(Self { list, columns })
    }

    fn filter(&self, given: &Given<'_>) -> Run<EventFilter> {
        let filter: Option<EventFilter> = given.argument(&self.list.arguments, "filter")?;
        Some(filter.unwrap_or_default())
    }

    pub(super) fn reads(
        &self,
        cx: &Cx,
        given: &Given<'_>,
        members: &SelectStatement,
    ) -> Run<Vec<Read>> {
        use event::Column;
        let (_, window) = hanging_page(&self.list, given)?;
        let table = HangingTable::<event::Entity> {
            owner: Column::ContactId,
            id: Column::Id,
            instant: Column::OccurredAt,
            more: &self.columns,
        };
        let narrow = self.filter(given)?.within_contact().ok()?;
        Some(hanging_reads(
            &cx.db(),
            members,
            &table,
            &self.list,
            window,
            narrow,
            |_| {},
        ))
    }

    pub(super) fn gather(
        &self,
        given: &Given<'_>,
        place: &HashMap<Uuid, usize>,
        found: &mut impl Iterator<Item = Vec<Cells>>,
    ) -> Run<Hanging> {
        let (_, window) = hanging_page(&self.list, given)?;
        Hanging::gather(&self.list, window, place, found)
    }

    /// Writes the list of the contact `root`, which is at `place`.
    pub(super) fn write(
        &self,
        json: &mut Json,
        cx: &Cx,
        given: &Given<'_>,
        hanging: &mut Hanging,
        root: Uuid,
        place: usize,
    ) -> Run<()> {
        let cursors = Cursors::of(
            cx,
            &contact_events_list(Id::from_uuid(root)),
            &newest_first(),
        );
        hanging.write(
            json,
            &self.list,
            given,
            place,
            &cursors,
            |json, fields, row| {
                json.object(fields, given, |json, part| self.write_part(json, part, row))
            },
        )
    }

    fn write_part(&self, json: &mut Json, part: &EventPart, row: &HangingRow) -> Run<()> {
        use event::Column;
        let column = match part {
            EventPart::Typename => return json.plain("Event"),
            EventPart::Id => {
                let id: EventId = Id::from_uuid(row.id);
                return json.id(id);
            }
            EventPart::OccurredAt => return json.instant(row.at),
            EventPart::More(column) => *column,
        };
        let cells = &row.cells;
        let at = MORE + place(&self.columns, column)?;
        match column {
            Column::Properties | Column::Context => json.json(&cells.json(at).ok()?),
            Column::ReceivedAt => json.instant(cells.instant(at).ok()?),
            _ => json.value(&cells.text_if_any(at).ok()?),
        }
    }
}

impl EventPart {
    fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        use event::Column;
        Some(match asked.name() {
            "__typename" => Self::Typename,
            "id" => Self::Id,
            "occurredAt" => Self::OccurredAt,
            "name" => Self::More(Column::Name),
            "properties" => Self::More(Column::Properties),
            "context" => Self::More(Column::Context),
            "source" => Self::More(Column::Source),
            "messageId" => Self::More(Column::MessageId),
            "receivedAt" => Self::More(Column::ReceivedAt),
            _ => return None,
        })
    }
}

fn place(columns: &[event::Column], column: event::Column) -> Option<usize> {
    let same =
        |known: &event::Column| std::mem::discriminant(known) == std::mem::discriminant(&column);
    columns.iter().position(same)
}
