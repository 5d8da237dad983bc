use entity::{Id, import_reject, job};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::base::{CsvCell, HangsOn, Listed, Result, Scope, csv_lines};

pub const KIND: &str = "import";

/// Rejects that are written down at once.
const ROWS_AT_ONCE: u64 = 1_000;

/// What an import's id names: it is its job's, under a prefix of its own.
pub struct Named;

impl entity::Named for Named {
    const PREFIX: &'static str = "import";
}

/// An import of the tenant, as its job.
pub async fn find(scope: &Scope, id: Id<job::Entity>) -> Result<Option<job::Model>> {
    let row = scope.get(id).await?;
    Ok(row.filter(|row| row.kind == KIND))
}

/// One request's lists of the lines of imports that were not taken.
pub type Rejects = Listed<import_reject::Entity>;

impl HangsOn for import_reject::Entity {
    type Parent = job::Entity;
    type At = i64;
    const PARENT: Self::Column = import_reject::Column::JobId;
    const AT: Self::Column = import_reject::Column::Line;
    const NEWEST_FIRST: bool = false;
    const LIST: &'static str = "importRejects";
    fn place(row: &Self::Model) -> (Id<job::Entity>, i64, Id<Self>) {
        (row.job_id, row.line, row.id)
    }
}

/// The next lines of an import that were not taken, as CSV, behind the line `after`, with the heading before the first; and the last line that is in it. Nothing
/// where there are no more.
pub async fn rejects_csv(
    scope: &Scope,
    id: Id<job::Entity>,
    after: Option<i64>,
) -> Result<Option<(Vec<u8>, i64)>> {
    let mut rows = scope
        .find::<import_reject::Entity>()
        .filter(import_reject::Column::JobId.eq(id))
        .order_by_asc(import_reject::Column::Line)
        .limit(ROWS_AT_ONCE);
    if let Some(after) = after {
        rows = rows.filter(import_reject::Column::Line.gt(after));
    }
    let rows = rows.all().await?;
    let Some(last) = rows.last().map(|row| row.line) else {
        return Ok(None);
    };
    let mut records = vec![];
    if after.is_none() {
        records.push(
            ["line", "field", "reason", "raw"]
                .map(CsvCell::text)
                .to_vec(),
        );
    }
    for row in &rows {
        records.push(vec![
            CsvCell::Number(row.line.to_string()),
            CsvCell::text(row.field.as_deref().unwrap_or_default()),
            CsvCell::text(&row.reason),
            CsvCell::text(&row.raw),
        ]);
    }
    let bytes = csv_lines(&records)?;
    Ok(Some((bytes, last)))
}

/// The id under which an import is shown.
pub(super) fn shown(row: &job::Model) -> String {
    Id::<Named>::from_uuid(row.id.uuid()).to_string()
}
