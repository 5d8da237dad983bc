//! Who lives in the benchmark's database: told by a number alone, so that each run asks for the same.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use uuid::Uuid;

/// How large it is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) tenants: usize,
    pub(crate) contacts: usize,
}

/// Of each tenant's contacts, every so-many-th was absorbed by the one before it.
const ABSORBED_EVERY: usize = 50;

/// The contacts came over so many days.
const DAYS: i64 = 90;

pub(crate) const STAGES: [&str; 5] = ["visitor", "lead", "trial", "customer", "champion"];

pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    /// Holds every scope.
    pub(crate) key: String,
    /// Which of the world's contacts are its own.
    pub(crate) contacts: Range<usize>,
}

pub(crate) struct Contact {
    pub(crate) id: Uuid,
    pub(crate) tenant: usize,
    pub(crate) created_at: DateTime<Utc>,
    /// What absorbed it.
    pub(crate) merged_into: Option<usize>,
}

pub(crate) struct World {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) contacts: Vec<Contact>,
}

/// Numbers that look drawn and are the same in each run: splitmix64.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub(crate) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or_default() % end.max(1)
    }
    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
    /// A version-7 UUID of that instant.
    pub(crate) fn uuid(&mut self, at: DateTime<Utc>) -> Uuid {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
        let (a, b) = (self.number(), self.number());
        let high = (millis << 16) | 0x7000 | (a & 0x0fff);
        let low = (b >> 2) | 0x8000_0000_0000_0000;
        Uuid::from_u64_pair(high, low)
    }
}

/// When the world ends.
pub(crate) fn end() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 9, 0, 0)
        .single()
        .unwrap_or_default()
}

impl World {
    /// Tenants of which the first is six times as large as the last.
    pub(crate) fn new(size: Size) -> Self {
        let weight = |tenant: usize| 60 * size.tenants / (size.tenants + 5 * tenant);
        let weights: usize = (0..size.tenants).map(weight).sum();
        let shares = (0..size.tenants).map(|tenant| size.contacts * weight(tenant) / weights);
        let mut shares: Vec<usize> = shares.collect();
        // What was lost to rounding.
        let left = size.contacts - shares.iter().sum::<usize>();
        if let Some(first) = shares.first_mut() {
            *first += left;
        }
        Self::of(&shares)
    }

    /// A tenant for each of `shares`, which are numbers of contacts.
    pub(crate) fn of(shares: &[usize]) -> Self {
        let mut draw = Draw::new(1);
        let start = end() - TimeDelta::days(DAYS);
        let mut tenants = vec![];
        let mut contacts = vec![];
        for (tenant, share) in shares.iter().enumerate() {
            let first = contacts.len();
            for number in 0..*share {
                let micros = TimeDelta::days(DAYS).num_microseconds().unwrap_or_default()
                    / i64::try_from(*share).unwrap_or(1)
                    * i64::try_from(number).unwrap_or_default();
                let created_at = start + TimeDelta::microseconds(micros);
                contacts.push(Contact {
                    id: draw.uuid(created_at),
                    tenant,
                    created_at,
                    merged_into: (number % ABSORBED_EVERY == ABSORBED_EVERY - 1)
                        .then(|| first + number - 1),
                });
            }
            tenants.push(Tenant {
                id: draw.uuid(start),
                key: format!(
                    "gos_sk_{:016x}{:016x}{:016x}{:016x}",
                    draw.number(),
                    draw.number(),
                    draw.number(),
                    draw.number()
                ),
                contacts: first..contacts.len(),
            });
        }
        Self { tenants, contacts }
    }

    /// All contacts.
    pub(crate) const fn everybody(&self) -> Range<usize> {
        0..self.contacts.len()
    }

    /// Whose rows `contact`'s are today.
    pub(crate) fn root(&self, contact: usize) -> usize {
        self.contacts[contact].merged_into.unwrap_or(contact)
    }
}
