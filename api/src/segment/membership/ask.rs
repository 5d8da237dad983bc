//! What a rule says of some contacts, and until when.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{ContactId, Id, contact, segment};
use sea_orm::QuerySelect;
use uuid::Uuid;

use crate::{
    base::{Planning, Result, Tx},
    segment::{
        queries::states,
        rules::Rule,
        select::{Question, Reach, Who},
    },
};

/// Ids that one statement may name: SQLite takes 32,766 parameters.
const PARAMETERS_MAX: usize = 25_000;

pub(super) type Families = BTreeMap<ContactId, Vec<ContactId>>;

/// Contacts cut into as many as one statement takes: each part of the rule may name all of their families.
pub(super) fn portioned(
    families: HashMap<ContactId, Vec<ContactId>>,
    parts: usize,
) -> Vec<Families> {
    let mut portions = vec![];
    let (mut portion, mut named) = (Families::new(), 0);
    let families: Families = families.into_iter().collect();
    for (root, family) in families {
        if !portion.is_empty() && (named + family.len()) * parts > PARAMETERS_MAX {
            portions.push(std::mem::take(&mut portion));
            named = 0;
        }
        named += family.len();
        portion.insert(root, family);
    }
    portions.push(portion);
    portions
}

/// What a rule says of some contacts.
pub(super) struct Asked {
    pub(super) inside: HashSet<ContactId>,
    /// The contacts asked about and all that they absorbed, each with its root.
    pub(super) root_of: HashMap<ContactId, ContactId>,
    /// When time alone can change the answer.
    pub(super) due: BTreeMap<ContactId, DateTime<Utc>>,
}

pub(super) async fn ask(
    tx: &Tx,
    segment: &segment::Model,
    rule: Option<&Rule>,
    families: Families,
) -> Result<Asked> {
    let roots: Vec<Uuid> = families.keys().map(|id| id.uuid()).collect();
    let root_of: HashMap<ContactId, ContactId> = families
        .into_iter()
        .flat_map(|(root, family)| family.into_iter().map(move |member| (member, root)))
        .collect();
    let members: Vec<Uuid> = root_of.keys().map(|id| id.uuid()).collect();
    let states = states(tx.modules());
    let question = Question {
        scope: tx,
        now: tx.now(),
        states: &states,
        reach: Reach::These {
            roots: &roots,
            members: &members,
        },
    };
    let who = rule.map_or(Who::Listed(segment.id), Who::Rule);
    let inside: Vec<(ContactId,)> = question
        .who(who)?
        .select_only()
        .column(contact::Column::Id)
        .tuples()
        .await?;
    let mut due: BTreeMap<ContactId, DateTime<Utc>> = BTreeMap::new();
    let expiries = rule.map(|rule| question.expiries(rule)).unwrap_or_default();
    if !expiries.is_empty() {
        let reads = expiries
            .iter()
            .map(|expiry| tx.read(&expiry.select))
            .collect();
        let found = tx.read_all(reads, Planning::ByValues).await?;
        for (expiry, rows) in expiries.iter().zip(found) {
            for row in rows {
                let at = row.instant(1)? + expiry.within;
                if at > question.now {
                    let earliest = due.entry(Id::from_uuid(row.uuid(0)?)).or_insert(at);
                    *earliest = Ord::min(at, *earliest);
                }
            }
        }
    }
    Ok(Asked {
        inside: inside.into_iter().map(|(id,)| id).collect(),
        root_of,
        due,
    })
}
