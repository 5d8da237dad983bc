//! What callers give and see of views. The objects stand at the roof, because they show contacts.

use async_graphql::{Enum, ID, InputObject, Json, SimpleObject};
use entity::{Id, contact_view};
use sea_orm::{ColumnTrait as _, Condition, sea_query::Expr};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ViewId,
    cells::Cell,
    commands::{Saved, not_there},
    rules::{Column, ContactViewField, Definition},
};
use crate::{
    base::{
        Result,
        filter::{OrderDirection, StringFilter},
        instant::Instant,
    },
    contact::{ContactFilter, ContactOrderField, IdentifierKind},
    posthog::MetricFilter,
};

/// By what a view's rows are sorted: exactly one of `field`, `trait` and `metric`; equal ones by id.
#[derive(Clone, Debug, PartialEq, InputObject, SimpleObject, Serialize, Deserialize)]
#[graphql(input_name = "ContactViewOrderInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContactViewOrder {
    /// Something that every contact has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<ContactOrderField>,
    /// A trait's key: numbers before texts, and those of whom it is not set last, in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#trait: Option<String>,
    /// A metric's key. The list then holds those of whom PostHog has events in the metric's window, at most 50,000 of them, as they
    /// stood up to 5 minutes ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Which way.
    pub direction: OrderDirection,
}

/// What a column of a view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ContactViewColumnKind {
    /// Something that every contact has: `field`.
    Field,
    /// The identifier of the kind `identifier` that was seen last.
    Identifier,
    /// The trait of the key.
    Trait,
    /// The metric of the key.
    Metric,
    /// The feature flag of the key.
    Flag,
    /// Whether the contact is in the segment of the key.
    Segment,
    /// When the module's thing of the key last brought the contact into `state`.
    State,
}

/// A column of a view.
#[derive(Clone, SimpleObject)]
pub struct ContactViewColumn {
    /// What stands over it.
    label: String,
    /// What it shows.
    kind: ContactViewColumnKind,
    /// The key of what it shows, where that has one.
    key: Option<String>,
    /// What every contact has, in a column of that kind; null else.
    field: Option<ContactViewField>,
    /// The identifier's kind, in a column of that kind; null else.
    identifier: Option<IdentifierKind>,
    /// The state, in a column of that kind; null else.
    state: Option<String>,
}

impl From<&Column> for ContactViewColumn {
    fn from(column: &Column) -> Self {
        let mut shown = Self {
            label: column.label(),
            kind: ContactViewColumnKind::Field,
            key: column.key().map(str::to_owned),
            field: None,
            identifier: None,
            state: None,
        };
        shown.kind = match column {
            Column::Field(of) => {
                shown.field = Some(of.field);
                ContactViewColumnKind::Field
            }
            Column::Identifier(of) => {
                shown.identifier = Some(of.kind);
                ContactViewColumnKind::Identifier
            }
            Column::Trait(_) => ContactViewColumnKind::Trait,
            Column::Metric(_) => ContactViewColumnKind::Metric,
            Column::Flag(_) => ContactViewColumnKind::Flag,
            Column::Segment(_) => ContactViewColumnKind::Segment,
            Column::State(of) => {
                shown.state = Some(of.state.clone());
                ContactViewColumnKind::State
            }
        };
        shown
    }
}

/// What a view shows of one contact in one column.
#[derive(SimpleObject)]
pub struct ContactViewCell {
    /// The column.
    column: ContactViewColumn,
    /// The value: a text, a number, a boolean, a list, an object or null.
    value: Json<Value>,
    /// The value as text, as an export writes it; null where there is none.
    text: Option<String>,
    /// How current it is, where PostHog computed or decided it; null else: then it is as of now.
    as_of: Option<Instant>,
    /// Why there is no value; null where nothing is wrong.
    error: Option<ContactViewCellError>,
}

/// Why a cell has no value.
#[derive(SimpleObject)]
struct ContactViewCellError {
    /// As in `extensions.code` of errors, such as `POSTHOG_UNAVAILABLE`, `FORBIDDEN` or `NOT_FOUND`.
    code: &'static str,
    /// What is wrong.
    message: String,
}

impl ContactViewCell {
    pub fn new(column: &Column, cell: Cell) -> Self {
        Self {
            column: column.into(),
            text: cell.text(),
            value: Json(cell.value),
            as_of: cell.as_of.map(Instant),
            error: cell
                .failure
                .map(|(code, message)| ContactViewCellError { code, message }),
        }
    }
}

/// Which views. All that is given must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ContactViewFilter {
    /// The key.
    key: Option<StringFilter>,
    /// The name.
    name: Option<StringFilter>,
}

impl ContactViewFilter {
    pub fn condition(self) -> Condition {
        use contact_view::Column;
        let text = |column: Column, filter: Option<StringFilter>| {
            filter.map(|filter| filter.of_column(&Expr::col(column.as_column_ref())))
        };
        Condition::all()
            .add_option(text(Column::Key, self.key))
            .add_option(text(Column::Name, self.name))
    }
}

/// A view as it is to be, whole: what is left out is empty.
#[derive(Clone, InputObject)]
pub struct ContactViewSaveInput {
    /// The view to change, which may be given another key. Without it the view of the key is changed, or made.
    id: Option<ID>,
    /// The key: 1 to 64 letters, digits and characters of `_-.`
    key: String,
    /// What the tenant's people call it, at most 200 characters; the key where absent.
    name: Option<String>,
    /// What it is for, at most 2,000 characters.
    description: Option<String>,
    /// Which contacts; all where absent. What it says of personal traits holds for whoever may see them.
    filter: Option<ContactFilter>,
    /// What a metric must be of them. The list then holds those of whom PostHog has events in the metric's window, at most 50,000 of
    /// them, as they stood up to 5 minutes ago.
    metric_filter: Option<MetricFilter>,
    /// How they are sorted; the newest first where absent.
    order_by: Option<ContactViewOrder>,
    /// What is shown of each; at most 30.
    columns: Vec<Column>,
}

impl ContactViewSaveInput {
    pub fn saved(self) -> Result<Saved> {
        Ok(Saved {
            id: self.id.as_ref().map(view_id).transpose()?,
            key: self.key,
            name: self.name,
            description: self.description,
            definition: Definition {
                filter: self.filter,
                metric_filter: self.metric_filter,
                order_by: self.order_by,
                columns: self.columns,
            },
        })
    }
}

/// The view to delete.
#[derive(InputObject)]
pub struct ContactViewDeleteInput {
    /// Its id.
    pub id: ID,
}

/// The view to export: by its id or its key, exactly one of them.
#[derive(InputObject)]
pub struct ContactViewExportInput {
    /// Its id.
    pub id: Option<ID>,
    /// Its key.
    pub key: Option<String>,
}

/// A text that is no view's id names none.
pub fn view_id(id: &ID) -> Result<ViewId> {
    Id::parse(id).ok_or_else(not_there)
}
