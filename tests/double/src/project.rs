//! The one project that the double stands for: what it was sent and what it was given.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::{Builder, Uuid};

use crate::DoubleOptions;
use crate::event::{Event, EventLog};
use crate::failure::{Endpoint, Failure, Switches};
use crate::flag::Definitions;
use crate::person::{Person, Persons, Warning};
use crate::query::{ResultCache, Snapshot};
use crate::record::RequestRecord;

#[derive(Default)]
struct State {
    log: EventLog,
    persons: Arc<Persons>,
    requests: Vec<RequestRecord>,
    in_flight: HashMap<Endpoint, usize>,
    switches: Switches,
    definitions: Arc<Definitions>,
    definitions_warm: bool,
}

/// Shared by every connection.
pub(crate) struct Project {
    options: DoubleOptions,
    state: Mutex<State>,
    pub(crate) results: ResultCache,
}

impl Project {
    pub(crate) fn new(options: DoubleOptions) -> Self {
        let state = State {
            definitions_warm: options.definitions_warm,
            ..State::default()
        };
        Self {
            options,
            state: Mutex::new(state),
            results: ResultCache::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn options(&self) -> &DoubleOptions {
        &self.options
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.options.clock)()
    }

    pub(crate) fn token(&self) -> &str {
        &self.options.project_token
    }

    /// Appends events, each made from the number it gets; persons follow in the same order.
    pub(crate) fn store(&self, events: impl Iterator<Item = impl FnOnce(u64) -> Event>) {
        let mut state = self.state();
        let State { log, persons, .. } = &mut *state;
        let persons = Arc::make_mut(persons);
        for event in events {
            let event = event(log.next_sequence());
            persons.apply(&event);
            log.push(event);
        }
    }

    /// Deletes the persons behind these ids; says how many there were.
    pub(crate) fn delete_persons(&self, ids: &[&str], with_events: bool) -> usize {
        let mut state = self.state();
        let State { log, persons, .. } = &mut *state;
        let gone = Arc::make_mut(persons).delete(ids);
        if with_events {
            let ids: HashSet<&str> = gone.iter().flatten().map(String::as_str).collect();
            log.forget(&ids);
        }
        gone.len()
    }

    /// A version 7 UUID for an event that came without one; unique by its number.
    pub(crate) fn event_uuid(&self, sequence: u64) -> Uuid {
        let mut rest = [0; 10];
        rest[2..].copy_from_slice(&sequence.to_be_bytes());
        let millis = u64::try_from(self.now().timestamp_millis()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
    }

    /// What a query sees.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            events: state.log.rows(),
            persons: state.persons.clone(),
            event_kinds: state.log.kinds(),
        }
    }

    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        self.state().log.received()
    }

    pub(crate) fn persons(&self) -> Vec<Person> {
        self.state().persons.all().cloned().collect()
    }

    pub(crate) fn person(&self, distinct_id: &str) -> Option<Person> {
        self.state().persons.of(distinct_id).cloned()
    }

    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.state().persons.warnings().to_vec()
    }

    /// Flags, group types and cohorts; from now on definitions are warm.
    pub(crate) fn set_flags(&self, body: Value) {
        let mut state = self.state();
        state.definitions = Arc::new(Definitions::new(body));
        state.definitions_warm = true;
    }

    pub(crate) fn definitions(&self) -> Arc<Definitions> {
        self.state().definitions.clone()
    }

    /// Whether PostHog's cache of definitions is filled; until then they answer 503.
    pub(crate) fn definitions_warm(&self) -> bool {
        self.state().definitions_warm
    }

    pub(crate) fn arm(&self, endpoint: Endpoint, failure: Failure) {
        self.state().switches.arm(endpoint, failure);
    }

    pub(crate) fn heal(&self) {
        self.state().switches.heal();
    }

    pub(crate) fn next_failure(&self, endpoint: Endpoint) -> Option<Failure> {
        self.state().switches.next(endpoint)
    }

    pub(crate) fn poison(&self, event: String) {
        self.state().switches.poison(event);
    }

    pub(crate) fn is_poison(&self, event: &str) -> bool {
        self.state().switches.is_poison(event)
    }

    pub(crate) fn requests(&self) -> Vec<RequestRecord> {
        self.state().requests.clone()
    }

    /// Writes the request down; it counts as in flight until the answer is dropped.
    pub(crate) fn record(self: &Arc<Self>, mut record: RequestRecord) -> Pending {
        let mut state = self.state();
        let place = state.requests.len();
        record.sequence = place as u64 + 1;
        if let Some(endpoint) = record.endpoint {
            let in_flight = state.in_flight.entry(endpoint).or_default();
            *in_flight += 1;
            record.in_flight = *in_flight;
        }
        let endpoint = record.endpoint;
        state.requests.push(record);
        Pending {
            project: self.clone(),
            place,
            endpoint,
        }
    }
}

/// A recorded request on its way to an answer.
pub(crate) struct Pending {
    project: Arc<Project>,
    place: usize,
    endpoint: Option<Endpoint>,
}

impl Pending {
    pub(crate) fn answered(&self, status: u16) {
        if let Some(record) = self.project.state().requests.get_mut(self.place) {
            record.status = Some(status);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint
            && let Some(in_flight) = self.project.state().in_flight.get_mut(&endpoint)
        {
            *in_flight -= 1;
        }
    }
}
