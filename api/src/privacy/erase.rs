//! The job that erases a person, a few rows at a time.

use entity::{ContactId, Id, erasure};
use sea_orm::Set;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    commands::Known,
    rules::{Answer, ErasureOutcome, ErasureStore, Receipt},
};
use crate::{
    base::{Erase, Error, Held, Module, NewEvent, Result, Tx},
    job::{Next, Place, Run},
    posthog::Posthog,
};

/// Rows that one step deletes: few enough that no other write waits long.
const ROWS_AT_ONCE: u64 = 1_000;

/// Where the job stands.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// How many of the tables are done.
    tables: usize,
    /// The database has done its part.
    emptied: bool,
    /// Rows deleted, by table.
    rows: Map<String, Value>,
}

impl Cursor {
    fn count(&mut self, table: &str, rows: u64) {
        if rows > 0 {
            let before = self.rows.get(table).and_then(Value::as_u64);
            let now = before.unwrap_or_default() + rows;
            self.rows.insert(table.to_owned(), now.into());
        }
    }
    fn place(&self) -> Result<Place> {
        let done: u64 = self.rows.values().filter_map(Value::as_u64).sum();
        Ok(Place {
            cursor: serde_json::to_value(self)?,
            done: i64::try_from(done).unwrap_or(i64::MAX),
            total: None,
        })
    }
}

/// Every table that an erasure empties: what rooms higher up hold goes first, for it may point further down.
fn tables(modules: &'static [&'static Module]) -> Vec<&'static Held> {
    modules
        .iter()
        .rev()
        .flat_map(|module| module.fold.tables)
        .filter(|held| matches!(held.erase, Erase::Delete))
        .collect()
}

pub(super) async fn step(run: &Run) -> Result<Next> {
    let cursor: Cursor = serde_json::from_value(run.job.cursor.clone())?;
    let id: Id<erasure::Entity> = serde_json::from_value(run.job.input["erasureId"].clone())?;
    let row = run.cx.db().get(id).await?.ok_or(Error::NotFound)?;
    let members: Vec<ContactId> = serde_json::from_value(row.members.clone())?;
    if row.finished_at.is_some() {
        return Ok(done(&row));
    }
    if cursor.emptied {
        return at_posthog(run, &row, &members).await;
    }
    match tables(run.cx.env().modules).get(cursor.tables) {
        Some(held) => some_rows(run, cursor, held, &members).await,
        None => rest(run, cursor, &row, &members).await,
    }
}

async fn some_rows(run: &Run, cursor: Cursor, held: &Held, members: &[ContactId]) -> Result<Next> {
    run.cx
        .write(async |tx| {
            let mut cursor = cursor.clone();
            let rows = tx.delete_held(held, members, ROWS_AT_ONCE).await?;
            cursor.count(held.table, rows);
            if rows < ROWS_AT_ONCE {
                cursor.tables += 1;
            }
            run.checkpoint(tx, cursor.place()?).await
        })
        .await?;
    Ok(Next::Step)
}

/// What mentions the person and names no contact; and then the database has done its part.
async fn rest(
    run: &Run,
    cursor: Cursor,
    row: &erasure::Model,
    members: &[ContactId],
) -> Result<Next> {
    run.cx
        .write(async |tx| {
            let mut cursor = cursor.clone();
            let known = known(tx, row)?;
            for mention in tx.modules().iter().flat_map(|module| module.mentions) {
                let rows = tx.delete_mentions(mention, &known.texts).await?;
                cursor.count(mention.table, rows);
            }
            late_rows(tx, members).await?;
            cursor.emptied = true;
            let answer = Answer {
                store: ErasureStore::Database,
                outcome: ErasureOutcome::Done,
                rows: cursor.rows.clone(),
                message: None,
            };
            file(tx, row, answer).await?;
            tx.emit(erased(tx, row)).await?;
            run.checkpoint(tx, cursor.place()?).await
        })
        .await?;
    Ok(Next::Step)
}

/// What was written by a unit of work that began before the person's names were buried.
async fn late_rows(tx: &Tx, members: &[ContactId]) -> Result<()> {
    for held in tables(tx.modules()) {
        tx.delete_held(held, members, ROWS_AT_ONCE).await?;
    }
    Ok(())
}

/// Tells whom it concerns, without a contact to tell it of.
fn erased(tx: &Tx, row: &erasure::Model) -> NewEvent {
    NewEvent {
        contact_id: None,
        ..NewEvent::of_room("privacy", "contact.erased", row.contact_id, tx.now())
    }
    .with("contactId", row.contact_id.to_string())
    .with("erasureId", row.id.to_string())
    .once(&format!("erased/{}", row.id))
}

async fn at_posthog(run: &Run, row: &erasure::Model, members: &[ContactId]) -> Result<Next> {
    let posthog = run.cx.env().kept.get::<Posthog>()?;
    let answered = if posthog.is_connected(&run.cx).await? {
        let known = run.cx.write(async |tx| known(tx, row)).await?;
        let asked = posthog.delete_persons(&run.cx, &known.distinct_ids).await;
        asked.map(|()| ErasureOutcome::Accepted)
    } else {
        Ok(ErasureOutcome::NotApplicable)
    };
    let (outcome, message) = match &answered {
        Ok(outcome) => (*outcome, None),
        Err(error) => (ErasureOutcome::Waiting, Some(error.to_string())),
    };
    run.cx
        .write(async |tx| {
            let answer = Answer {
                store: ErasureStore::Posthog,
                outcome,
                rows: Map::new(),
                message: message.clone(),
            };
            file(tx, row, answer).await?;
            if outcome == ErasureOutcome::Waiting {
                return Ok(());
            }
            late_rows(tx, members).await?;
            tx.update(erasure::ActiveModel {
                id: Set(row.id),
                sealed: Set(None),
                finished_at: Set(Some(tx.now())),
                ..Default::default()
            })
            .await?;
            Ok(())
        })
        .await?;
    answered?;
    Ok(done(row))
}

fn done(row: &erasure::Model) -> Next {
    Next::Done(json!({"erasureId": row.id.to_string()}))
}

fn known(tx: &Tx, row: &erasure::Model) -> Result<Known> {
    let sealed = row.sealed.as_deref().unwrap_or_default();
    let text = tx.secrets().open(&Known::place(tx), sealed)?;
    Ok(serde_json::from_str(&text)?)
}

async fn file(tx: &Tx, row: &erasure::Model, answer: Answer) -> Result<()> {
    let receipt = Receipt::sign(tx.secrets(), row.id, tx.now(), answer)?;
    let fresh = tx.get(row.id).await?.ok_or(Error::NotFound)?;
    tx.update(erasure::ActiveModel {
        id: Set(row.id),
        receipts: Set(receipt.file(&fresh.receipts)?),
        ..Default::default()
    })
    .await?;
    Ok(())
}
