//! The job that writes down all that is known of a contact: a line a row, compressed.
//!
//! Each step appends a whole gzip member, and members in a row are one gzip file: so nothing but the place has to be known to go
//! on after a process has died.

use std::io::Write as _;

use chrono::SecondsFormat;
use entity::{ContactId, job_chunk::Side};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    base::{Error, Export, Held, Module, Result, Tx},
    contact,
    job::{self, Next, Place, Run},
};

/// Rows that one step writes down. An event may be 900 KiB long.
const ROWS_AT_ONCE: u64 = 100;

/// Where the job stands.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// How many of the tables are done.
    tables: usize,
    /// The last row of the table that is written down.
    after: Option<Uuid>,
    /// Bytes of the archive so far.
    bytes: i64,
    rows: i64,
}

/// Every table that an archive shows: the contact first, and then what hangs on it.
fn tables(modules: &'static [&'static Module]) -> Vec<&'static Held> {
    modules
        .iter()
        .flat_map(|module| module.fold.tables.iter().rev())
        .filter(|held| matches!(held.export, Export::All))
        .collect()
}

pub(super) async fn step(run: &Run) -> Result<Next> {
    let cursor: Cursor = serde_json::from_value(run.job.cursor.clone())?;
    let asked = run.job.contact_id.ok_or(Error::NotFound)?;
    let tables = tables(run.cx.env().modules);
    if cursor.tables == tables.len() {
        return Ok(Next::Done(json!({
            "file": {
                "name": format!("{asked}.jsonl.gz"),
                "contentType": "application/gzip",
                // Whoever may have an archive made may be given it.
                "scopes": ["privacy:write"],
            },
            "rows": cursor.rows,
        })));
    }
    run.cx
        .write(async |tx| {
            let mut cursor = cursor.clone();
            let lines = lines(run, tx, asked, tables[cursor.tables], &mut cursor).await?;
            if !lines.is_empty() {
                let member = compressed(&lines)?;
                cursor.bytes =
                    job::append(tx, run.job.id, Side::Output, cursor.bytes, &member).await?;
            }
            let place = Place {
                done: cursor.rows,
                cursor: serde_json::to_value(cursor)?,
                total: None,
            };
            run.checkpoint(tx, place).await
        })
        .await?;
    Ok(Next::Step)
}

/// The next lines, and where they lead.
async fn lines(
    run: &Run,
    tx: &Tx,
    asked: ContactId,
    held: &Held,
    cursor: &mut Cursor,
) -> Result<String> {
    let root = contact::root(tx, asked).await?.ok_or(Error::NotFound)?;
    let members = contact::family(tx, root.id).await?;
    let mut lines = String::new();
    if cursor.bytes == 0 {
        add(&mut lines, &heading(run, asked, &members))?;
    }
    let rows = tx.held(held, &members, cursor.after, ROWS_AT_ONCE).await?;
    let is_last = (rows.len() as u64) < ROWS_AT_ONCE;
    cursor.rows += i64::try_from(rows.len()).unwrap_or_default();
    cursor.after = rows.last().map(|(id, _)| *id);
    for (_, row) in rows {
        add(&mut lines, &json!({"table": held.table, "row": row}))?;
    }
    if is_last {
        cursor.tables += 1;
        cursor.after = None;
    }
    Ok(lines)
}

/// The first line: what this is.
fn heading(run: &Run, asked: ContactId, members: &[ContactId]) -> Value {
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    json!({
        "format": "growthos.contact",
        "version": 1,
        "contactId": asked.to_string(),
        "members": members,
        "exportedAt": run.cx.now().to_rfc3339_opts(SecondsFormat::Micros, true),
    })
}

fn add(lines: &mut String, line: &Value) -> Result<()> {
    lines.push_str(&serde_json::to_string(line)?);
    lines.push('\n');
    Ok(())
}

fn compressed(lines: &str) -> Result<Vec<u8>> {
    let mut member = GzEncoder::new(vec![], Compression::default());
    member
        .write_all(lines.as_bytes())
        .and_then(|()| member.finish())
        .map_err(|error| anyhow::Error::from(error).into())
}
