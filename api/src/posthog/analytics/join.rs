//! What PostHog knows of a page of contacts: one query for what is not known yet, shared by whoever asks for
//! the same page at the same time.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::ContactId;
use moka::future::Cache;

use super::statement::{Cell, Spec, read, statement};
use crate::posthog::{
    Posthog,
    client::Failure,
    connection::{Connection, ConnectionKey},
};

/// How old a cell may be.
const FRESH: TimeDelta = TimeDelta::seconds(60);
/// Cells are small; a metric's may be a list.
const CELLS_MAX: u64 = 200_000;
const FLIGHTS_MAX: u64 = 1_000;
const REJECTIONS_MAX: u64 = 10_000;
/// What one query may name. The ids stand in PostHog's SQL twice, which `ClickHouse` reads up to 1 MiB of.
const IDS_MAX: usize = 10_000;
const IDS_BYTES_MAX: usize = 400_000;
/// Columns one query may have, in specs.
const SPECS_MAX: usize = 40;

/// One contact as PostHog may know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Person {
    pub(super) contact: ContactId,
    /// Every distinct id, the most likely first.
    pub(super) ids: Vec<String>,
}

/// A cell, and when PostHog computed it.
#[derive(Clone, Debug)]
pub(in crate::posthog) struct Joined {
    pub(super) cell: Cell,
    pub(super) as_of: DateTime<Utc>,
}

/// What was learned of every tenant's contacts in the last minute.
pub(in crate::posthog) struct Join {
    cells: Cache<CellKey, (DateTime<Utc>, Joined)>,
    flights: Cache<Flight, Arc<Landed>>,
    rejections: Cache<(ConnectionKey, Arc<Spec>), (DateTime<Utc>, Failure)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct CellKey {
    connection: ConnectionKey,
    contact: ContactId,
    /// A hash of the distinct ids: a contact that was merged since is asked about again.
    ids: u64,
    spec: Arc<Spec>,
}

/// One query under way.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Flight {
    connection: ConnectionKey,
    people: Vec<Person>,
    specs: Vec<Arc<Spec>>,
}

/// A person's cells, in the order of the specs.
type Landed = Result<(DateTime<Utc>, Vec<Vec<Cell>>), Failure>;

pub(super) type Cells = HashMap<(ContactId, Arc<Spec>), Result<Joined, Failure>>;

impl Default for Join {
    fn default() -> Self {
        Self {
            cells: Cache::new(CELLS_MAX),
            flights: Cache::new(FLIGHTS_MAX),
            rejections: Cache::new(REJECTIONS_MAX),
        }
    }
}

impl Person {
    fn key(&self, connection: &Connection, spec: &Arc<Spec>) -> CellKey {
        let mut ids = DefaultHasher::new();
        self.ids.hash(&mut ids);
        CellKey {
            connection: connection.cache_key(),
            contact: self.contact,
            ids: ids.finish(),
            spec: spec.clone(),
        }
    }
}

impl Posthog {
    /// The cells of every person under every spec.
    pub(super) async fn join(
        &self,
        connection: &Connection,
        people: Vec<Person>,
        specs: BTreeSet<Arc<Spec>>,
    ) -> Cells {
        let now = self.clock.now();
        let mut found = Cells::new();
        let mut wanted = BTreeSet::new();
        let mut missing = Vec::new();
        for person in people {
            let mut complete = true;
            for spec in &specs {
                let key = person.key(connection, spec);
                let known = self
                    .join
                    .cells
                    .get(&key)
                    .await
                    .filter(|(at, _)| is_fresh(*at, now));
                if let Some((_, joined)) = known {
                    found.insert((person.contact, spec.clone()), Ok(joined));
                } else {
                    complete = false;
                    wanted.insert(spec.clone());
                }
            }
            if !complete {
                missing.push(person);
            }
        }
        let outcome = if wanted.is_empty() { "hit" } else { "miss" };
        metrics::counter!("growthos_posthog_cache_total", "cache" => "join", "outcome" => outcome)
            .increment(1);
        let mut asked = Vec::new();
        for spec in wanted {
            match self.rejected(connection, &spec, now).await {
                None => asked.push(spec),
                Some(failure) => {
                    for person in &missing {
                        found.insert((person.contact, spec.clone()), Err(failure.clone()));
                    }
                }
            }
        }
        missing.sort();
        for people in pages(missing) {
            for specs in asked.chunks(SPECS_MAX) {
                self.ask(connection, &people, specs, &mut found).await;
            }
        }
        found
    }
    /// Asks for some specs at once. When PostHog refuses the query, it is asked for the halves: one metric that
    /// PostHog cannot compute takes none of the others with it.
    async fn ask(
        &self,
        connection: &Connection,
        people: &[Person],
        specs: &[Arc<Spec>],
        found: &mut Cells,
    ) {
        let mut left = vec![specs];
        while let Some(specs) = left.pop() {
            let landed = self.fly(connection, people, specs).await;
            match landed.as_ref() {
                Ok((as_of, cells)) => {
                    for (person, cells) in people.iter().zip(cells) {
                        for (spec, cell) in specs.iter().zip(cells) {
                            let joined = Joined {
                                cell: cell.clone(),
                                as_of: *as_of,
                            };
                            found.insert((person.contact, spec.clone()), Ok(joined));
                        }
                    }
                }
                Err(Failure::Refused { status: 400, .. }) if specs.len() > 1 => {
                    let (one, other) = specs.split_at(specs.len() / 2);
                    left.extend([one, other]);
                }
                Err(failure) => {
                    for spec in specs {
                        if matches!(failure, Failure::Refused { .. }) {
                            let key = (connection.cache_key(), spec.clone());
                            self.join
                                .rejections
                                .insert(key, (self.clock.now(), failure.clone()))
                                .await;
                        }
                        for person in people {
                            found.insert((person.contact, spec.clone()), Err(failure.clone()));
                        }
                    }
                }
            }
        }
    }
    /// One query, or a share in the same one already under way.
    async fn fly(
        &self,
        connection: &Connection,
        people: &[Person],
        specs: &[Arc<Spec>],
    ) -> Arc<Landed> {
        let flight = Flight {
            connection: connection.cache_key(),
            people: people.to_vec(),
            specs: specs.to_vec(),
        };
        let landed = self
            .join
            .flights
            .get_with(flight.clone(), async {
                Arc::new(self.land(connection, people, specs).await)
            })
            .await;
        self.join.flights.invalidate(&flight).await;
        landed
    }
    async fn land(
        &self,
        connection: &Connection,
        people: &[Person],
        specs: &[Arc<Spec>],
    ) -> Landed {
        let asked: Vec<&Spec> = specs.iter().map(AsRef::as_ref).collect();
        let ids: Vec<&[String]> = people.iter().map(|person| person.ids.as_slice()).collect();
        let made = statement(&asked, &ids);
        let table = self
            .query(connection, "growthos.contacts", &made.text, &made.values)
            .await?;
        let cells = read(&asked, people.len(), &table)
            .ok_or_else(|| Failure::answer("its rows are not those of the query".into()))?;
        let now = self.clock.now();
        for (person, cells) in people.iter().zip(&cells) {
            for (spec, cell) in specs.iter().zip(cells) {
                let joined = Joined {
                    cell: cell.clone(),
                    as_of: table.as_of,
                };
                self.join
                    .cells
                    .insert(person.key(connection, spec), (now, joined))
                    .await;
            }
        }
        Ok((table.as_of, cells))
    }
    /// PostHog's refusal of a spec, a little while ago.
    async fn rejected(
        &self,
        connection: &Connection,
        spec: &Arc<Spec>,
        now: DateTime<Utc>,
    ) -> Option<Failure> {
        let (at, failure) = self
            .join
            .rejections
            .get(&(connection.cache_key(), spec.clone()))
            .await?;
        is_fresh(at, now).then_some(failure)
    }
}

fn is_fresh(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - at < FRESH
}

/// Cuts people into queries of bounded size; a person's ids stay together.
fn pages(people: Vec<Person>) -> Vec<Vec<Person>> {
    let mut pages: Vec<Vec<Person>> = Vec::new();
    let (mut ids, mut bytes) = (0, 0);
    for mut person in people {
        let (own, own_bytes) = fit(&mut person.ids);
        match pages.last_mut() {
            Some(page) if ids + own <= IDS_MAX && bytes + own_bytes <= IDS_BYTES_MAX => {
                (ids, bytes) = (ids + own, bytes + own_bytes);
                page.push(person);
            }
            _ => {
                (ids, bytes) = (own, own_bytes);
                pages.push(vec![person]);
            }
        }
    }
    pages
}

/// Leaves of one person's ids what fits one query; says how many they are, and their bytes.
fn fit(ids: &mut Vec<String>) -> (usize, usize) {
    let mut bytes = 0;
    // Quotes and a comma stand around each.
    let fits = ids.iter().take(IDS_MAX).take_while(|id| {
        bytes += id.len() + 3;
        bytes <= IDS_BYTES_MAX
    });
    let fitting = fits.count();
    ids.truncate(fitting);
    (fitting, bytes.min(IDS_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use entity::Id;
    use uuid::Uuid;

    use super::*;

    fn person(n: u128, ids: usize, bytes: usize) -> Person {
        Person {
            contact: Id::from_uuid(Uuid::from_u128(n)),
            ids: (0..ids).map(|id| format!("{id:0>bytes$}")).collect(),
        }
    }
    fn sizes(people: Vec<Person>) -> Vec<Vec<usize>> {
        let sizes = |page: Vec<Person>| page.iter().map(|person| person.ids.len()).collect();
        pages(people).into_iter().map(sizes).collect()
    }

    #[test]
    fn a_usual_page_is_one_query() {
        assert_eq!(
            sizes((0..100).map(|n| person(n, 3, 40)).collect()),
            [vec![3; 100]]
        );
        assert!(pages(vec![]).is_empty());
    }

    #[test]
    fn a_page_with_too_many_ids_or_bytes_is_cut_between_people() {
        let people = vec![person(1, 6_000, 10), person(2, 4_000, 10), person(3, 1, 10)];
        assert_eq!(sizes(people), [vec![6_000, 4_000], vec![1]]);
        let people = vec![
            person(1, 1_000, 197),
            person(2, 1_000, 197),
            person(3, 1_000, 197),
        ];
        assert_eq!(sizes(people), [vec![1_000, 1_000], vec![1_000]]);
        assert_eq!(sizes(vec![person(1, 20_000, 5)]), [vec![10_000]]);
        assert_eq!(sizes(vec![person(1, 9_000, 197)]), [vec![2_000]]);
    }
}
