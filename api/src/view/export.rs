//! The job that writes a view's rows as CSV. Each step appends whole lines, so that nothing but the last row's place has to be known
//! to go on after a process has died.

use std::time::Duration;

use chrono::TimeDelta;
use entity::{Id, api_key, contact, issuer, job_chunk::Side};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    cells::{Cell, Reads, Sources},
    list,
    rules::{Column, Definition},
};
use crate::{
    base::{Actor, CsvCell, Cx, Error, ErrorCode, MemberRole, Place as InList, Result, csv_lines},
    contact::{Loaders, Span},
    job::{self, Next, Place, Run},
    posthog::{self, Posthog},
    segment,
};

/// Rows that one step writes: few enough that PostHog answers for them well within a step's time.
const ROWS_AT_ONCE: u64 = 200;

/// Rows of an export: what a spreadsheet opens.
const ROWS_MAX: u64 = 1_000_000;

/// How long a step waits where PostHog says to wait, and not how long.
const WAIT: Duration = Duration::from_secs(30);

/// What is exported: the view as it was when it was asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    key: String,
    definition: Definition,
    by: AskedBy,
    /// What whoever fetches the file must hold.
    scopes: Vec<String>,
}

/// Who asked for it. The export sees what they saw.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum AskedBy {
    Key {
        id: Id<api_key::Entity>,
        scopes: Vec<String>,
    },
    Member {
        issuer: Id<issuer::Entity>,
        subject: String,
        role: MemberRole,
    },
}

impl Asked {
    pub(super) fn new(actor: &Actor, key: &str, definition: Definition) -> Result<Self> {
        let by = match actor {
            Actor::SecretKey { id, scopes } => AskedBy::Key {
                id: *id,
                scopes: scopes.to_vec(),
            },
            Actor::Member {
                issuer,
                subject,
                role,
            } => AskedBy::Member {
                issuer: *issuer,
                subject: subject.to_string(),
                role: *role,
            },
            _ => return Err(Error::Forbidden),
        };
        let scopes = definition.scopes_shown_to(actor);
        Ok(Self {
            key: key.to_owned(),
            definition,
            by,
            scopes: scopes.into_iter().map(str::to_owned).collect(),
        })
    }
}

impl From<AskedBy> for Actor {
    fn from(by: AskedBy) -> Self {
        match by {
            AskedBy::Key { id, scopes } => Self::SecretKey {
                id,
                scopes: scopes.into(),
            },
            AskedBy::Member {
                issuer,
                subject,
                role,
            } => Self::Member {
                issuer,
                subject: subject.into(),
                role,
            },
        }
    }
}

/// Where the job stands.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// The last row that is written down.
    after: Option<InList>,
    /// Bytes of the file so far.
    bytes: i64,
    rows: i64,
    total: Option<i64>,
    /// All rows are written down.
    ended: bool,
}

pub(super) async fn step(run: &Run) -> Result<Next> {
    let cursor: Cursor = serde_json::from_value(run.job.cursor.clone())?;
    let asked: Asked = serde_json::from_value(run.job.input.clone())?;
    if cursor.ended {
        return Ok(Next::Done(json!({
            "file": {
                "name": format!("{}.csv", asked.key),
                "contentType": "text/csv; charset=utf-8",
                "scopes": asked.scopes,
            },
            "rows": cursor.rows,
        })));
    }
    let cx = run.cx.acting_as(asked.by.into());
    match some_rows(&cx, &asked.definition, cursor).await {
        Ok((lines, cursor)) => {
            write(run, &lines, cursor).await?;
            Ok(Next::Step)
        }
        Err(Failed::Limited(after)) => Ok(Next::Wait {
            delay: TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX),
            why: "PostHog limits how much it is asked".to_owned(),
        }),
        Err(Failed::Error(error)) => Err(error),
    }
}

async fn write(run: &Run, lines: &[u8], cursor: Cursor) -> Result<()> {
    metrics::counter!("growthos_view_export_bytes_total").increment(lines.len() as u64);
    run.cx
        .write(async |tx| {
            let mut cursor = cursor.clone();
            cursor.bytes = job::append(tx, run.job.id, Side::Output, cursor.bytes, lines).await?;
            let place = Place {
                done: cursor.rows,
                total: cursor.total,
                cursor: serde_json::to_value(cursor)?,
            };
            run.checkpoint(tx, place).await
        })
        .await
}

/// Why a step did not write rows.
enum Failed {
    /// PostHog is to be asked later.
    Limited(Duration),
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) if why.code == "POSTHOG_RATE_LIMITED" => {
                Self::Limited(why.retry_after.unwrap_or(WAIT))
            }
            error => Self::Error(error),
        }
    }
}

/// The next lines, and where they lead.
async fn some_rows(
    cx: &Cx,
    definition: &Definition,
    mut cursor: Cursor,
) -> Result<(Vec<u8>, Cursor), Failed> {
    let mut records = vec![];
    if cursor.total.is_none() {
        let total = list::count(cx, definition).await?;
        if total > ROWS_MAX {
            let message = format!("an export has at most {ROWS_MAX} rows, not {total}");
            return Err(Error::user(ErrorCode::LimitReached, "filter", message).into());
        }
        cursor.total = Some(i64::try_from(total).unwrap_or(i64::MAX));
        let labels = definition.columns.iter().map(Column::label);
        let heading = ["contactId".to_owned()].into_iter().chain(labels);
        records.push(heading.map(CsvCell::text).collect());
    }
    let span = Span {
        after: cursor.after.clone(),
        rows: ROWS_AT_ONCE,
        ..Span::default()
    };
    let found = list::stretch(cx, definition, &span).await?;
    cursor.ended = (found.len() as u64) < ROWS_AT_ONCE;
    if let Some((place, _)) = found.last() {
        cursor.after = Some(place.clone());
    }
    let contacts: Vec<contact::Model> = found.into_iter().filter_map(|(_, row)| row).collect();
    cursor.rows += i64::try_from(contacts.len()).unwrap_or_default();
    for (contact, cells) in contacts.iter().zip(cells(cx, definition, &contacts).await?) {
        let id = CsvCell::text(contact.id.to_string());
        records.push(
            [id].into_iter()
                .chain(cells.into_iter().map(written))
                .collect(),
        );
    }
    Ok((csv_lines(&records)?, cursor))
}

/// The cells of each contact. A file does not show that PostHog was away for a while, so it is waited for.
async fn cells(
    cx: &Cx,
    definition: &Definition,
    contacts: &[contact::Model],
) -> Result<Vec<Vec<Cell>>, Failed> {
    let posthog = cx.env().kept.get::<Posthog>()?;
    let (loaders, segments) = (Loaders::new(cx), segment::Reads::new(cx));
    let (joined, own) = (posthog::loaders(cx, &posthog), Reads::new(cx));
    let sources = Sources {
        cx,
        contacts: &loaders,
        posthog: &joined,
        segments: &segments,
        own: &own,
    };
    let rows = contacts.iter().map(|contact| {
        let columns = definition.columns.iter();
        try_join_all(columns.map(move |column| cell(sources, contact, column)))
    });
    try_join_all(rows).await
}

/// What can never be shown is empty.
async fn cell(
    sources: Sources<'_>,
    contact: &contact::Model,
    column: &Column,
) -> Result<Cell, Failed> {
    let error = match sources.value(contact, column).await {
        Ok(cell) => return Ok(cell),
        Err(error) => error,
    };
    match &*error {
        Error::Unavailable(why) if why.code != "POSTHOG_NOT_CONNECTED" => {
            Err(Error::Unavailable(why.clone()).into())
        }
        Error::Internal(cause) => Err(Error::Internal(anyhow::anyhow!("{cause:#}")).into()),
        _ => Ok(Cell::default()),
    }
}

/// As the file holds it.
fn written(cell: Cell) -> CsvCell<'static> {
    match cell.value {
        Value::Number(number) => CsvCell::Number(number.to_string()),
        _ => CsvCell::text(cell.text().unwrap_or_default()),
    }
}
