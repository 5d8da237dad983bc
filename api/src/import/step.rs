//! The job that reads a file: first to check it, or at once to do it.

use std::collections::{HashMap, HashSet};

use entity::{
    ContactId,
    contact_identifier::{self, Kind},
    import_reject,
    job_chunk::Side,
};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect, Set, sea_query::OnConflict};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    read::{Heading, Parsed, RECORD_BYTES_MAX, Reading, Record, header},
    rules::{Fault, ImportContent, ImportFormat, Plan},
};
use crate::{
    base::{Error, Result, Tx, cut, storable},
    contact::{
        Definitions, INGEST_MAX, Incoming, admit, conform, definitions, ingest, is_distinct_id_kind,
    },
    job::{self, Next, Place, Run},
    suppression::suppress,
};

/// Batches that one step takes, each with a checkpoint of its own: what is read from the database serves them all.
const BATCHES_AT_ONCE: usize = 20;

const REASON_CHARS_MAX: usize = 500;

/// Why imported addresses are not written to.
const SUPPRESSED_FOR: &str = "import";

/// Where the job stands.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// Bytes that were read.
    bytes: i64,
    /// The line behind them, from 1; 0 before the first is read.
    line: u64,
    /// The columns' names, of CSV.
    header: Vec<String>,
    pub(super) counts: Counts,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) lines: i64,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) merged: i64,
    pub(super) suppressed: i64,
    pub(super) refused: i64,
}

/// What is read and not taken yet.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    /// How many of them are taken.
    taken: usize,
    is_end: bool,
}

impl Window {
    fn left(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }
    /// Reads on until a whole record must be in it.
    async fn fill(&mut self, run: &Run, position: i64) -> Result<()> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        while self.bytes.len() <= RECORD_BYTES_MAX && !self.is_end {
            let behind = position + i64::try_from(self.bytes.len()).unwrap_or_default();
            match job::read(&run.cx.db(), run.job.id, Side::Input, behind).await? {
                Some(bytes) => self.bytes.extend(bytes),
                None => self.is_end = true,
            }
        }
        Ok(())
    }
}

pub(super) async fn step(run: &Run) -> Result<Next> {
    let plan: Plan = serde_json::from_value(run.job.input.clone())?;
    let mut cursor: Cursor = serde_json::from_value(run.job.cursor.clone())?;
    let mut window = Window::default();
    if cursor.line == 0 {
        window.fill(run, 0).await?;
        begin(&plan, &mut cursor, &mut window)?;
    }
    for _ in 0..BATCHES_AT_ONCE {
        let mut parsed = next(&plan, &cursor, &window);
        if parsed.bytes == 0 {
            window.fill(run, cursor.bytes).await?;
            parsed = next(&plan, &cursor, &window);
        }
        if parsed.bytes == 0 {
            if !window.is_end {
                return Err(Error::invalid(
                    "file",
                    format!(
                        "the record at line {} is longer than {RECORD_BYTES_MAX} bytes: is a quote not closed?",
                        cursor.line
                    ),
                ));
            }
            return finish(run, &plan, &cursor).await;
        }
        window.taken += parsed.bytes;
        cursor = batch(run, &plan, cursor, parsed).await?;
    }
    Ok(Next::Step)
}

/// Reads the heading.
fn begin(plan: &Plan, cursor: &mut Cursor, window: &mut Window) -> Result<()> {
    cursor.line = 1;
    if plan.format == ImportFormat::Jsonl {
        return Ok(());
    }
    let Some(found) = header(window.left(), plan.delimiter, window.is_end) else {
        return Err(Error::invalid("file", "the file has no heading"));
    };
    let Heading { names, bytes, line } =
        found.map_err(|fault| Error::invalid("file", fault.reason))?;
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    if there.len() < names.len() {
        return Err(Error::invalid("file", "the heading names a column twice"));
    }
    for column in &plan.columns {
        if !there.contains(column.name.as_str()) {
            return Err(Error::invalid(
                "file",
                format!("the heading has no column {:?}", column.name),
            ));
        }
    }
    cursor.header = names;
    cursor.bytes = i64::try_from(bytes).unwrap_or_default();
    cursor.line = line;
    window.taken = bytes;
    Ok(())
}

fn next(plan: &Plan, cursor: &Cursor, window: &Window) -> Parsed {
    let reading = Reading {
        format: plan.format,
        delimiter: plan.delimiter,
        header: &cursor.header,
    };
    reading.records(window.left(), window.is_end, cursor.line, INGEST_MAX)
}

/// What the lines of a batch say, and which of them say nothing that can be taken.
#[derive(Default)]
struct Said {
    /// Each with its place among the records.
    touches: Vec<(usize, Incoming)>,
    addresses: Vec<(entity::suppression::Channel, String)>,
    faults: Vec<(usize, Fault)>,
}

fn said(run: &Run, plan: &Plan, records: &[Record], definitions: &Definitions) -> Said {
    let mut said = Said::default();
    for (at, record) in records.iter().enumerate() {
        let cells = match &record.cells {
            Ok(cells) => cells,
            Err(fault) => {
                said.faults.push((at, fault.clone()));
                continue;
            }
        };
        let cell = |name: &str| cells.get(name);
        match plan.content {
            ImportContent::Contacts => {
                let message = format!("{}/{}", run.job.id, record.line);
                let touch = plan.touch(cell, &message, run.job.created_at);
                match touch.and_then(|touch| admitted(definitions, touch)) {
                    Ok(touch) => said.touches.push((at, touch)),
                    Err(fault) => said.faults.push((at, fault)),
                }
            }
            ImportContent::Suppressions => match plan.addresses(cell) {
                Ok(addresses) => said.addresses.extend(addresses),
                Err(fault) => said.faults.push((at, fault)),
            },
        }
    }
    said
}

/// Holds a line to a locked schema of traits.
fn admitted(definitions: &Definitions, touch: Incoming) -> Result<Incoming, Fault> {
    match admit(definitions, &touch.traits) {
        Ok(()) => Ok(touch),
        Err(refused) => Err(Fault {
            field: Some(format!("traits.{}", refused.key)),
            reason: refused.message(),
        }),
    }
}

/// Takes a batch, and notes how far that was.
async fn batch(run: &Run, plan: &Plan, cursor: Cursor, parsed: Parsed) -> Result<Cursor> {
    let known = run.cx.write(async |tx| definitions(tx).await).await?;
    let said = said(run, plan, &parsed.records, &known);
    let mut behind = cursor;
    behind.bytes += i64::try_from(parsed.bytes).unwrap_or_default();
    behind.line = parsed.line;
    behind.counts.lines += i64::try_from(parsed.records.len()).unwrap_or_default();
    match take(run, plan, &behind, &parsed.records, &said).await {
        // One of them is refused by the graph, and all were left: they are asked one by one which it is.
        Err(Error::User(_)) if !plan.dry_run && !said.touches.is_empty() => {
            let said = one_by_one(run, said).await?;
            take(run, plan, &behind, &parsed.records, &said).await
        }
        done => done,
    }
}

/// Takes those touches that the graph takes, each by itself, and turns the others into faults. A touch that was taken is known by its
/// message id.
async fn one_by_one(run: &Run, said: Said) -> Result<Said> {
    let mut sifted = Said {
        touches: vec![],
        ..said
    };
    for (at, touch) in said.touches {
        let alone = std::slice::from_ref(&touch);
        match run.cx.write(async |tx| ingest(tx, alone).await).await {
            Ok(_) => sifted.touches.push((at, touch)),
            Err(Error::User(error)) => sifted.faults.push((
                at,
                Fault {
                    field: error.field,
                    reason: error.message,
                },
            )),
            Err(error) => return Err(error),
        }
    }
    Ok(sifted)
}

async fn take(
    run: &Run,
    plan: &Plan,
    behind: &Cursor,
    records: &[Record],
    said: &Said,
) -> Result<Cursor> {
    let touches: Vec<Incoming> = said
        .touches
        .iter()
        .map(|(_, touch)| touch.clone())
        .collect();
    run.cx
        .write(async |tx| {
            let mut behind = behind.clone();
            let mut faults = said.faults.clone();
            let known = known(tx, &touches).await?;
            let taken = if plan.dry_run {
                vec![true; touches.len()]
            } else {
                let mut touches = touches.clone();
                conform(tx, &mut touches, None).await?;
                let done = ingest(tx, &touches).await?;
                done.iter().map(|done| done.contact_id.is_some()).collect()
            };
            for (((at, _), contacts), taken) in said.touches.iter().zip(known).zip(taken) {
                let counts = &mut behind.counts;
                match (taken, contacts) {
                    (false, _) => faults.push((*at, Fault::of_line("the person was erased"))),
                    (true, 0) => counts.created += 1,
                    (true, 1) => counts.updated += 1,
                    (true, _) => counts.merged += 1,
                }
            }
            let addresses: Vec<_> = said
                .addresses
                .iter()
                .map(|(channel, address)| (*channel, address.as_str()))
                .collect();
            let suppressed = if plan.dry_run {
                addresses.len() as u64
            } else {
                suppress(tx, &addresses, SUPPRESSED_FOR).await?
            };
            behind.counts.suppressed += i64::try_from(suppressed).unwrap_or_default();
            behind.counts.refused += i64::try_from(faults.len()).unwrap_or_default();
            reject(run, tx, records, faults).await?;
            let place = Place {
                cursor: serde_json::to_value(&behind)?,
                done: behind.bytes,
                total: run.job.total,
            };
            run.checkpoint(tx, place).await?;
            Ok(behind)
        })
        .await
}

/// How many contacts each touch names, as the graph is before it. One that the same batch has named before counts as known.
async fn known(tx: &Tx, touches: &[Incoming]) -> Result<Vec<usize>> {
    let values: HashSet<&str> = touches
        .iter()
        .flat_map(|touch| &touch.claims)
        .map(|claim| claim.value.as_str())
        .collect();
    if values.is_empty() {
        return Ok(vec![0; touches.len()]);
    }
    let rows: Vec<(Kind, String, ContactId)> = tx
        .find::<contact_identifier::Entity>()
        .filter(contact_identifier::Column::Value.is_in(values))
        .select_only()
        .columns([
            contact_identifier::Column::Kind,
            contact_identifier::Column::Value,
            contact_identifier::Column::ContactId,
        ])
        .tuples()
        .await?;
    let mut owners: HashMap<(Option<Kind>, String), Owner> = rows
        .into_iter()
        .map(|(kind, value, contact)| ((namespace(kind), value), Owner::Contact(contact)))
        .collect();
    Ok(touches
        .iter()
        .enumerate()
        .map(|(at, touch)| {
            let keys = touch
                .claims
                .iter()
                .map(|claim| (namespace(claim.kind), claim.value.clone()));
            let found: HashSet<Owner> = keys
                .clone()
                .filter_map(|key| owners.get(&key).copied())
                .collect();
            let owner = found.iter().next().copied().unwrap_or(Owner::Line(at));
            for key in keys {
                owners.entry(key).or_insert(owner);
            }
            found.len()
        })
        .collect())
}

/// Whose an identifier is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Contact(ContactId),
    /// Of whom the batch makes there.
    Line(usize),
}

/// The kinds of PostHog's distinct id are one.
fn namespace(kind: Kind) -> Option<Kind> {
    (!is_distinct_id_kind(kind)).then_some(kind)
}

async fn reject(run: &Run, tx: &Tx, records: &[Record], faults: Vec<(usize, Fault)>) -> Result<()> {
    let rows = faults
        .into_iter()
        .map(|(at, fault)| import_reject::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            job_id: Set(run.job.id),
            line: Set(i64::try_from(records[at].line).unwrap_or_default()),
            field: Set(fault.field.map(storable)),
            reason: Set(cut(storable(fault.reason), REASON_CHARS_MAX)),
            raw: Set(records[at].raw.clone()),
        })
        .collect();
    // A line that the check has refused is refused again.
    let once = OnConflict::columns([
        import_reject::Column::TenantId,
        import_reject::Column::JobId,
        import_reject::Column::Line,
    ])
    .do_nothing()
    .to_owned();
    tx.insert_all(rows, Some(once)).await?;
    Ok(())
}

/// What was checked is kept, so that it can be applied; what was applied is not needed any more.
async fn finish(run: &Run, plan: &Plan, cursor: &Cursor) -> Result<Next> {
    run.cx
        .write(async |tx| {
            if !plan.dry_run {
                job::forget_input(tx, run.job.id).await?;
            }
            // Lines without anything in them may follow the last record.
            let place = Place {
                cursor: serde_json::to_value(cursor)?,
                done: run.job.total.unwrap_or(cursor.bytes),
                total: run.job.total,
            };
            run.checkpoint(tx, place).await
        })
        .await?;
    Ok(Next::Done(json!({"counts": cursor.counts})))
}
