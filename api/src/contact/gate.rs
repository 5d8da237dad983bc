//! What is let in: not what names a person who was erased, however late it comes.

use entity::contact_identifier::Kind;
use serde_json::Value;

use super::{
    commands::{self, Incoming, Ingested},
    rules::Claim,
};
use crate::{
    base::{Result, Tx},
    suppression::{Name, tombstoned},
};

/// Takes up to [`INGEST_MAX`](super::INGEST_MAX) touches in order: finds or makes their contacts, joins those that are one
/// person, notes traits and attribution, and appends the events to the log. Idempotent by `message_id`. A touch that names a
/// person who was erased is answered as any other, and forgotten.
/// Fails with `Contended` where a concurrent write made the same contact; the unit of work runs again.
pub async fn ingest(tx: &Tx, batch: &[Incoming]) -> Result<Vec<Ingested>> {
    let erased = of_erased(tx, batch).await?;
    if !erased.contains(&true) {
        return commands::ingest(tx, batch).await;
    }
    metrics::counter!("growthos_events_dropped_total", "reason" => "erased")
        .increment(erased.iter().filter(|erased| **erased).count() as u64);
    let living: Vec<Incoming> = batch
        .iter()
        .zip(&erased)
        .filter(|(_, erased)| !**erased)
        .map(|(touch, _)| touch.clone())
        .collect();
    let mut taken = commands::ingest(tx, &living).await?.into_iter();
    let answer = |erased: &bool| match erased {
        false => taken.next(),
        // It names no event: there is none.
        true => Some(Ingested {
            contact_id: None,
            event_id: tx.new_id(),
            duplicate: false,
        }),
    };
    Ok(erased.iter().filter_map(answer).collect())
}

/// Whether each touch names a person who was erased, by a claim, by our own id or by a trait that is a claim.
async fn of_erased(tx: &Tx, batch: &[Incoming]) -> Result<Vec<bool>> {
    let said: Vec<Vec<Claim>> = batch.iter().map(said_in).collect();
    let mut names = vec![];
    let mut of = vec![];
    for (at, (touch, said)) in batch.iter().zip(&said).enumerate() {
        let claims = touch.claims.iter().chain(said);
        let before = names.len();
        names.extend(claims.map(|claim| Name::Identifier(claim.kind, &claim.value)));
        names.extend(touch.contact_id.map(Name::Contact));
        of.resize(of.len() + names.len() - before, at);
    }
    let mut erased = vec![false; batch.len()];
    for (at, gone) in of.into_iter().zip(tombstoned(tx, &names).await?) {
        erased[at] |= gone;
    }
    Ok(erased)
}

/// The claims among the traits.
fn said_in(touch: &Incoming) -> Vec<Claim> {
    let traits = &touch.traits;
    let mut said = vec![];
    for (kind, key) in [(Kind::Email, "email"), (Kind::Phone, "phone")] {
        for values in [&traits.set, &traits.set_once] {
            let text = values.get(key).and_then(Value::as_str);
            said.extend(text.and_then(|text| Claim::new(kind, text, touch.verification, key).ok()));
        }
    }
    said
}
