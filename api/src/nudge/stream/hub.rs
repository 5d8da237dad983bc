//! Who listens in this process, and the way of a frame to them. No database here.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use entity::{ContactId, TenantId};
use futures_channel::mpsc;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, oneshot};

use super::Frame;
use crate::base::LogPlace;

/// Frames that wait for a subscriber: more than a person is ever shown at once. Who reads slower than that
/// is told so and comes back with a cursor.
pub(super) const QUEUE_FRAMES: usize = 64;

/// The hub of a process: every subscription of a contact's nudges sits here, and one tail feeds them all.
pub struct Streams {
    room: Mutex<Room>,
    /// Wakes a tail that rests because nobody listens.
    pub(super) joined: Notify,
}

/// Where the tail stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nowhere: nobody listened, so it read nothing.
    #[default]
    Resting,
    /// Everything up to here was told, or was there before.
    At(LogPlace),
    /// The process stops.
    Stopped,
}

type Listener = (TenantId, ContactId);

#[derive(Default)]
struct Room {
    seated: HashMap<u64, Seated>,
    by_contact: HashMap<Listener, Vec<u64>>,
    by_tenant: HashMap<TenantId, usize>,
    last_number: u64,
    standing: Standing,
}

struct Seated {
    tenant: TenantId,
    contacts: Vec<ContactId>,
    surface: Option<Box<str>>,
    /// Absent once used.
    begin: Option<oneshot::Sender<LogPlace>>,
    /// Absent once it overflowed.
    queue: Option<mpsc::Sender<Arc<Frame>>>,
    missed: Arc<AtomicU32>,
}

/// A subscriber's place in the hub; leaving is dropping it.
pub(super) struct Seat {
    hub: Arc<Streams>,
    number: u64,
    begin: Option<oneshot::Receiver<LogPlace>>,
    frames: mpsc::Receiver<Arc<Frame>>,
    missed: Arc<AtomicU32>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            room: Mutex::default(),
            joined: Notify::new(),
        }
    }
}

impl Streams {
    /// Seats a subscriber who hears what is told to any of `contacts` on `surface`, or on every one.
    pub(super) fn join(
        hub: &Arc<Self>,
        tenant: TenantId,
        contacts: Vec<ContactId>,
        surface: Option<&str>,
    ) -> Seat {
        // The one sender has a place besides. Tokio's channel would set room aside for 32 frames and keep its ends cache lines apart.
        let (queue, frames) = mpsc::channel(QUEUE_FRAMES - 1);
        let (begins, begin) = oneshot::channel();
        let missed = Arc::new(AtomicU32::new(0));
        let number = hub.room().seat(Seated {
            tenant,
            contacts,
            surface: surface.map(Into::into),
            begin: Some(begins),
            queue: Some(queue),
            missed: Arc::clone(&missed),
        });
        hub.joined.notify_one();
        Seat {
            hub: Arc::clone(hub),
            number,
            begin: Some(begin),
            frames,
            missed,
        }
    }
    /// How many subscribers sit here.
    pub fn len(&self) -> usize {
        self.room().seated.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub(super) fn hears(&self, tenant: TenantId) -> bool {
        self.room().by_tenant.contains_key(&tenant)
    }
    pub(super) fn listens(&self, tenant: TenantId, contact: ContactId) -> bool {
        self.room().by_contact.contains_key(&(tenant, contact))
    }
    /// Lets the tail rest when nobody listens; says whether it may.
    pub(super) fn rest(&self) -> bool {
        let mut room = self.room();
        let empty = room.seated.is_empty();
        if empty {
            room.standing = Standing::Resting;
        }
        empty
    }
    /// The tail begins here.
    pub(super) fn stand(&self, at: LogPlace) {
        let mut room = self.room();
        room.standing = Standing::At(at);
        for seated in room.seated.values_mut() {
            seated.begin(at);
        }
    }
    /// Tells frames, in their order, each to whoever listens to its contact; the tail stands at `to` then.
    pub(super) fn tell(&self, frames: impl Iterator<Item = (Listener, Frame)>, to: LogPlace) {
        let mut room = self.room();
        for (listener, frame) in frames {
            room.tell(listener, &Arc::new(frame));
        }
        room.standing = Standing::At(to);
    }
    /// These contacts are one from now on: who listens to one hears all.
    pub(super) fn join_families(&self, tenant: TenantId, contacts: &[ContactId]) {
        self.room().join_families(tenant, contacts);
    }
    /// Ends every stream.
    pub(super) fn stop(&self) {
        let mut room = self.room();
        for seated in room.seated.values_mut() {
            seated.begin = None;
            seated.queue = None;
        }
        room.standing = Standing::Stopped;
    }
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seated {
    fn begin(&mut self, at: LogPlace) {
        if let Some(begin) = self.begin.take() {
            // Who left meanwhile does not mind.
            let _ = begin.send(at);
        }
    }
}

impl Room {
    fn seat(&mut self, mut seated: Seated) -> u64 {
        self.last_number += 1;
        match self.standing {
            Standing::Resting => {}
            Standing::At(place) => seated.begin(place),
            Standing::Stopped => {
                seated.begin = None;
                seated.queue = None;
            }
        }
        for contact in &seated.contacts {
            self.by_contact
                .entry((seated.tenant, *contact))
                .or_default()
                .push(self.last_number);
        }
        *self.by_tenant.entry(seated.tenant).or_default() += 1;
        self.seated.insert(self.last_number, seated);
        self.last_number
    }
    fn leave(&mut self, number: u64) {
        let Some(seated) = self.seated.remove(&number) else {
            return;
        };
        for contact in seated.contacts {
            let listener = (seated.tenant, contact);
            if let Some(numbers) = self.by_contact.get_mut(&listener) {
                numbers.retain(|each| *each != number);
                if numbers.is_empty() {
                    self.by_contact.remove(&listener);
                }
            }
        }
        if let Some(count) = self.by_tenant.get_mut(&seated.tenant) {
            *count -= 1;
            if *count == 0 {
                self.by_tenant.remove(&seated.tenant);
            }
        }
    }
    fn tell(&mut self, listener: Listener, frame: &Arc<Frame>) {
        for number in self.by_contact.get(&listener).into_iter().flatten() {
            let Some(seated) = self.seated.get_mut(number) else {
                continue;
            };
            if !frame.is_for(seated.surface.as_deref()) {
                continue;
            }
            let told = seated
                .queue
                .as_mut()
                .map(|queue| queue.try_send(Arc::clone(frame)));
            if !matches!(told, Some(Ok(()))) {
                seated.queue = None;
                seated.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    fn join_families(&mut self, tenant: TenantId, contacts: &[ContactId]) {
        let mut numbers: Vec<_> = contacts
            .iter()
            .filter_map(|contact| self.by_contact.get(&(tenant, *contact)))
            .flatten()
            .copied()
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let Some(seated) = self.seated.get_mut(&number) else {
                continue;
            };
            for contact in contacts {
                if !seated.contacts.contains(contact) {
                    seated.contacts.push(*contact);
                    self.by_contact
                        .entry((tenant, *contact))
                        .or_default()
                        .push(number);
                }
            }
        }
    }
}

impl Seat {
    /// Gives the place where the tail stood when this seat was taken, or where it began because of it: all
    /// that is behind the place will be heard here, and nothing before. `None`: the process stops.
    pub(super) async fn begin(&mut self) -> Option<LogPlace> {
        self.begin.take()?.await.ok()
    }
    /// The next frame; `None` when it lagged behind, or the process stops.
    pub(super) async fn next(&mut self) -> Option<Arc<Frame>> {
        self.frames.next().await
    }
    /// How many frames it missed, if it lagged behind.
    pub(super) fn missed(&self) -> Option<u32> {
        match self.missed.load(Ordering::Relaxed) {
            0 => None,
            missed => Some(missed),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.room().leave(self.number);
    }
}
