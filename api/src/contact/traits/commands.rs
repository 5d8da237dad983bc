//! Learning what traits there are, and saying what they mean.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use entity::{
    trait_definition::{self, Kind, Policy},
    trait_schema,
};
use sea_orm::{
    ActiveEnum as _, ActiveValue::Unchanged, ColumnTrait as _, QueryFilter as _, Set,
    sea_query::OnConflict,
};
use serde_json::json;

use super::{
    queries::definitions,
    rules::{Definitions, admit, cut, inferred},
};
use crate::{
    base::{Audited, Error, ErrorCode, Result, Tx},
    contact::{Incoming, Link},
};

/// Traits that are known of one tenant: more are a program that puts values into keys.
const DEFINITIONS_MAX: usize = 2_000;

/// A busy trait must not cost a row write an event.
const SEEN_GRANULARITY: TimeDelta = TimeDelta::days(1);

/// Sources that one trait tells apart.
const SOURCES_MAX: usize = 20;
const SOURCE_CHARS_MAX: usize = 100;
const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// What PostHog's clients sent: there is nobody to tell of a mistake.
const CAPTURE: &str = "capture";

/// Holds touches to a locked schema, and learns what traits there are. What a caller says wrongly is its mistake, at its place
/// below `part` where it is one of several; what PostHog's clients send wrongly is left out, and counted.
pub async fn conform(tx: &Tx, touches: &mut [Incoming], part: Option<&str>) -> Result<()> {
    if touches
        .iter()
        .all(|touch| touch.traits.set.is_empty() && touch.traits.set_once.is_empty())
    {
        return Ok(());
    }
    let definitions = definitions(tx).await?;
    for (place, touch) in touches.iter_mut().enumerate() {
        if touch.source == CAPTURE {
            for refused in cut(&definitions, &mut touch.traits) {
                metrics::counter!("growthos_contact_traits_refused_total", "reason" => refused.reason())
                    .increment(1);
            }
        } else if let Err(refused) = admit(&definitions, &touch.traits) {
            let said_in = match touch.link {
                Link::Identify => "traits",
                Link::SameEvent | Link::Alias => "properties.$set",
            };
            let error = Error::invalid(format!("{said_in}.{}", refused.key), refused.message());
            return Err(match part {
                Some(part) => error.under(&format!("{part}.{place}")),
                None => error,
            });
        }
    }
    note(tx, &definitions, touches).await
}

/// Writes down keys that were never seen before, and when the others were seen.
async fn note(tx: &Tx, definitions: &Definitions, touches: &[Incoming]) -> Result<()> {
    use trait_definition::Column;
    let mut new: BTreeMap<&str, Kind> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let said = touches
        .iter()
        .flat_map(|touch| touch.traits.set.iter().chain(&touch.traits.set_once));
    for (key, value) in said {
        let Some(kind) = inferred(value) else {
            continue;
        };
        match definitions.known.get(key) {
            Some(known) if known.last_seen_at + SEEN_GRANULARITY <= tx.now() => {
                seen.insert(key);
            }
            None if definitions.known.len() + new.len() < DEFINITIONS_MAX => {
                new.entry(key).or_insert(kind);
            }
            Some(_) | None => {}
        }
    }
    if new.is_empty() && seen.is_empty() {
        return Ok(());
    }
    let rows: Vec<trait_definition::ActiveModel> = new
        .into_iter()
        .map(|(key, kind)| trait_definition::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            key: Set(key.to_owned()),
            kind: Set(kind),
            pii: Set(false),
            description: Set(None),
            policy: Set(Policy::MostRecent),
            sources: Set(json!([])),
            last_seen_at: Set(tx.now()),
            settle_at: Set(None),
            settled_to: Set(None),
            created_at: Set(tx.now()),
        })
        .collect();
    if !rows.is_empty() {
        let once = OnConflict::columns([Column::TenantId, Column::Key])
            .do_nothing()
            .to_owned();
        tx.insert_all(rows, Some(once)).await?;
    }
    if !seen.is_empty() {
        let now = tx.now();
        tx.update_many::<trait_definition::Entity>(|update| {
            update
                .col_expr(Column::LastSeenAt, now.into())
                .filter(Column::Key.is_in(seen))
        })
        .await?;
    }
    tx.memory().forget::<Definitions>(tx.tenant());
    Ok(())
}

/// What a trait is to be, not yet checked. What is absent stays as it is.
#[derive(Clone, Debug)]
pub(super) struct NewDefinition {
    pub(super) key: String,
    pub(super) kind: Option<Kind>,
    pub(super) pii: Option<bool>,
    pub(super) description: Option<String>,
    pub(super) policy: Option<(Policy, Vec<String>)>,
}

impl NewDefinition {
    fn check(&self) -> Result<()> {
        let too_long = |text: &String| text.chars().count() > DESCRIPTION_CHARS_MAX;
        if self.description.as_ref().is_some_and(too_long) {
            return Err(Error::invalid(
                "description",
                format!("a description has at most {DESCRIPTION_CHARS_MAX} characters"),
            ));
        }
        let Some((policy, sources)) = &self.policy else {
            return Ok(());
        };
        let distinct: BTreeSet<&String> = sources.iter().collect();
        let fits = |source: &String| (1..=SOURCE_CHARS_MAX).contains(&source.chars().count());
        match policy {
            Policy::MostRecent if sources.is_empty() => Ok(()),
            Policy::MostRecent => Err(Error::invalid("sources", "MOST_RECENT has no sources")),
            Policy::SourcePriority
                if (1..=SOURCES_MAX).contains(&sources.len())
                    && distinct.len() == sources.len()
                    && sources.iter().all(fits) =>
            {
                Ok(())
            }
            Policy::SourcePriority => Err(Error::invalid(
                "sources",
                format!(
                    "SOURCE_PRIORITY has 1 to {SOURCES_MAX} different sources of 1 to {SOURCE_CHARS_MAX} characters"
                ),
            )),
        }
    }
}

/// Says what a trait means. Where that changes which values win, they are chosen anew in the background.
pub(super) async fn save(tx: &Tx, new: &NewDefinition) -> Result<trait_definition::Model> {
    new.check()?;
    let known = tx
        .find::<trait_definition::Entity>()
        .filter(trait_definition::Column::Key.eq(new.key.as_str()))
        .locked()
        .one()
        .await?;
    let saved = match known {
        Some(known) => change(tx, known, new).await?,
        None => make(tx, new).await?,
    };
    let changes = json!({
        "key": saved.key,
        "pii": saved.pii,
        "policy": saved.policy.to_value(),
        "sources": saved.sources,
    });
    tx.audit(Audited::new("traitDefinitionSave", &saved.id, changes))
        .await?;
    Ok(saved)
}

async fn make(tx: &Tx, new: &NewDefinition) -> Result<trait_definition::Model> {
    let kind = new
        .kind
        .ok_or_else(|| Error::invalid("type", "give the type of a trait that was never seen"))?;
    let definitions = definitions(tx).await?;
    if definitions.known.len() >= DEFINITIONS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "key",
            format!("a tenant has at most {DEFINITIONS_MAX} traits"),
        ));
    }
    let (policy, sources) = new.policy.clone().unwrap_or((Policy::MostRecent, vec![]));
    let row = trait_definition::ActiveModel {
        id: Set(tx.new_id()),
        tenant_id: Set(tx.tenant()),
        key: Set(new.key.clone()),
        kind: Set(kind),
        pii: Set(new.pii.unwrap_or_default()),
        description: Set(new.description.clone()),
        policy: Set(policy),
        sources: Set(json!(sources)),
        last_seen_at: Set(tx.now()),
        // Values may have come while there was no room for what was known of them.
        settle_at: Set((policy != Policy::MostRecent).then(|| tx.now())),
        settled_to: Set(None),
        created_at: Set(tx.now()),
    };
    tx.insert(row).await.map_err(Error::contended)
}

async fn change(
    tx: &Tx,
    known: trait_definition::Model,
    new: &NewDefinition,
) -> Result<trait_definition::Model> {
    let mut row = trait_definition::ActiveModel {
        id: Unchanged(known.id),
        ..Default::default()
    };
    if let Some(kind) = new.kind {
        row.kind = Set(kind);
    }
    if let Some(pii) = new.pii {
        row.pii = Set(pii);
    }
    if let Some(description) = &new.description {
        row.description = Set(Some(description.clone()));
    }
    if let Some((policy, sources)) = &new.policy {
        let sources = json!(sources);
        if (*policy, &sources) != (known.policy, &known.sources) {
            row.settle_at = Set(Some(tx.now()));
            row.settled_to = Set(None);
        }
        row.policy = Set(*policy);
        row.sources = Set(sources);
    }
    // Nothing but the key was given.
    row.key = Set(known.key);
    tx.update(row).await
}

/// Locks what is known of traits, or opens it. Saying again what is so changes nothing.
pub(super) async fn lock(tx: &Tx, locked: bool) -> Result<trait_schema::Model> {
    let known = tx.find::<trait_schema::Entity>().locked().one().await?;
    let row = match known {
        Some(known) if known.locked_at.is_some() == locked => return Ok(known),
        Some(known) => {
            tx.update(trait_schema::ActiveModel {
                id: Unchanged(known.id),
                locked_at: Set(locked.then(|| tx.now())),
                ..Default::default()
            })
            .await?
        }
        None => tx
            .insert(trait_schema::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                locked_at: Set(locked.then(|| tx.now())),
            })
            .await
            .map_err(Error::contended)?,
    };
    let changes = json!({ "locked": locked });
    tx.audit(Audited::new("traitSchemaSave", &row.tenant_id, changes))
        .await?;
    Ok(row)
}
