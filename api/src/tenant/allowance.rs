//! What each tenant, key and contact has used of its allowance in this process: a leaky bucket of points, and open subscriptions.
//!
//! A point is a value in an answer. What an operation may cost is taken before it runs, and what it did not use is given back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use entity::TenantId;

use super::{Caller, Limits};
use crate::base::{Actor, Error, Result};

/// Buckets that are remembered: those that have run empty are forgotten first.
const BUCKETS_MAX: usize = 100_000;

/// A tenant as a whole, or one of its principals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holder(TenantId, Option<Box<str>>);

/// Points used that have not leaked yet.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: DateTime<Utc>,
    per_minute: f64,
}

impl Bucket {
    fn leak(&mut self, now: DateTime<Utc>, per_minute: u32) {
        let passed = (now - self.at).max(chrono::TimeDelta::zero());
        self.per_minute = f64::from(per_minute);
        self.level = (self.level - passed.as_seconds_f64() * self.per_minute / 60.0).max(0.0);
        self.at = now;
    }

    /// In how many seconds there is room for `points`; none: now. An empty bucket takes anything.
    fn wait_s(&self, points: f64) -> Option<f64> {
        let over = self.level + points - self.per_minute;
        (over > 0.0 && self.level > 0.0).then(|| over.min(self.level) * 60.0 / self.per_minute)
    }

    fn standing(&self) -> Standing {
        Standing {
            quota: whole(self.per_minute),
            remaining: whole((self.per_minute - self.level).max(0.0)),
            full_in_s: whole((self.level * 60.0 / self.per_minute).ceil()),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and far below what a u64 holds"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// How a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Points a minute, and at once.
    pub quota: u64,
    pub remaining: u64,
    /// When all of the quota is there again.
    pub full_in_s: u64,
}

/// How a caller's two buckets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standings {
    pub tenant: Standing,
    pub key: Standing,
}

impl Standings {
    pub fn remaining(&self) -> u64 {
        self.tenant.remaining.min(self.key.remaining)
    }
}

/// What was used in this process. Clones share it.
#[derive(Clone, Default)]
pub struct Allowances {
    buckets: Arc<Mutex<HashMap<Holder, Bucket>>>,
    open: Arc<Mutex<HashMap<Holder, u32>>>,
}

/// An open subscription; dropping it closes it.
pub struct Seat {
    open: Arc<Mutex<HashMap<Holder, u32>>>,
    held: Vec<Holder>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = locked(&self.open);
        for holder in self.held.drain(..) {
            if let Some(count) = open.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&holder);
                }
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn holders(tenant: TenantId, actor: &Actor) -> [Holder; 2] {
    [
        Holder(tenant, None),
        Holder(tenant, Some(actor.principal().into())),
    ]
}

impl Allowances {
    /// Takes what an operation may cost from the caller's buckets, or from neither. The operator has none.
    pub fn take(
        &self,
        caller: &Caller,
        limits: &Limits,
        points: usize,
        now: DateTime<Utc>,
    ) -> Result<Option<Standings>> {
        let Some(tenant) = caller.tenant else {
            return Ok(None);
        };
        let points = f64::from(u32::try_from(points).unwrap_or(u32::MAX));
        let rates = [limits.points_per_minute, limits.key_points_per_minute];
        let holders = holders(tenant, &caller.actor);
        let mut buckets = locked(&self.buckets);
        if buckets.len() + 2 > BUCKETS_MAX {
            forget(&mut buckets, now);
        }
        let mut wait_s: Option<f64> = None;
        for (holder, rate) in holders.iter().zip(rates) {
            let bucket = buckets.entry(holder.clone()).or_insert(Bucket {
                level: 0.0,
                at: now,
                per_minute: 0.0,
            });
            bucket.leak(now, rate);
            if let Some(wait) = bucket.wait_s(points) {
                wait_s = Some(wait_s.map_or(wait, |longest| longest.max(wait)));
            }
        }
        if let Some(wait_s) = wait_s {
            metrics::counter!("growthos_graphql_rate_limited_total", "limit" => "points")
                .increment(1);
            return Err(Error::RateLimited {
                message: "too much was asked in too short a time".to_owned(),
                retry_after: Some(Duration::from_secs(whole(wait_s.ceil()).max(1))),
            });
        }
        for holder in &holders {
            if let Some(bucket) = buckets.get_mut(holder) {
                bucket.level += points;
            }
        }
        Ok(standings(&buckets, &holders))
    }

    /// Gives points back that an operation did not use, and tells how the buckets stand now, also of one that was refused.
    pub fn give_back(&self, caller: &Caller, points: usize) -> Option<Standings> {
        let holders = holders(caller.tenant?, &caller.actor);
        let points = f64::from(u32::try_from(points).unwrap_or(u32::MAX));
        let mut buckets = locked(&self.buckets);
        for holder in &holders {
            if let Some(bucket) = buckets.get_mut(holder) {
                bucket.level = (bucket.level - points).max(0.0);
            }
        }
        standings(&buckets, &holders)
    }

    /// Opens a subscription, unless the tenant or the contact has as many as it may.
    pub fn open(&self, caller: &Caller, limits: &Limits) -> Result<Option<Seat>> {
        let Some(tenant) = caller.tenant else {
            return Ok(None);
        };
        let of_contact = matches!(caller.actor, Actor::Contact { .. });
        let mut held = Vec::from(holders(tenant, &caller.actor));
        if !of_contact {
            held.truncate(1);
        }
        let mut open = locked(&self.open);
        let ceilings = [
            ("tenant", limits.subscriptions_max),
            ("contact", limits.contact_subscriptions_max),
        ];
        for (holder, (whose, ceiling)) in held.iter().zip(ceilings) {
            if open.get(holder).copied().unwrap_or_default() >= ceiling {
                metrics::counter!("growthos_graphql_rate_limited_total", "limit" => format!("{whose}_subscriptions"))
                    .increment(1);
                return Err(Error::RateLimited {
                    message: format!(
                        "a {whose} has at most {ceiling} subscriptions at the same time"
                    ),
                    retry_after: None,
                });
            }
        }
        for holder in &held {
            *open.entry(holder.clone()).or_default() += 1;
        }
        drop(open);
        Ok(Some(Seat {
            open: Arc::clone(&self.open),
            held,
        }))
    }
}

fn standings(buckets: &HashMap<Holder, Bucket>, holders: &[Holder; 2]) -> Option<Standings> {
    Some(Standings {
        tenant: buckets.get(&holders[0])?.standing(),
        key: buckets.get(&holders[1])?.standing(),
    })
}

/// Forgets the buckets that have run empty, and where none has, all: to forget is to allow.
fn forget(buckets: &mut HashMap<Holder, Bucket>, now: DateTime<Utc>) {
    buckets.retain(|_, bucket| {
        let passed = (now - bucket.at).as_seconds_f64();
        bucket.level > passed * bucket.per_minute / 60.0
    });
    if buckets.len() + 2 > BUCKETS_MAX {
        buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone as _};
    use entity::Id;
    use uuid::Uuid;

    use super::*;

    fn caller(key: u128) -> Caller {
        Caller {
            actor: Actor::PublishableKey {
                id: Id::from_uuid(Uuid::from_u128(key)),
            },
            tenant: Some(Id::from_uuid(Uuid::nil())),
            expires_at: None,
        }
    }

    const LIMITS: Limits = Limits {
        cost_max: 1_000,
        points_per_minute: 1_500,
        key_points_per_minute: 1_000,
        subscriptions_max: 3,
        contact_subscriptions_max: 2,
    };

    fn start() -> DateTime<Utc> {
        Utc.timestamp_opt(0, 0).unwrap()
    }

    fn retry_after(refused: &Result<Option<Standings>>) -> Option<u64> {
        match refused {
            Err(Error::RateLimited { retry_after, .. }) => Some(retry_after.as_ref()?.as_secs()),
            _ => None,
        }
    }

    #[test]
    fn a_bucket_takes_a_minutes_points_at_once_and_leaks() {
        let all = Allowances::default();
        let now = start();
        let taken = all.take(&caller(1), &LIMITS, 1_000, now).unwrap().unwrap();
        assert_eq!(
            taken.key,
            Standing {
                quota: 1_000,
                remaining: 0,
                full_in_s: 60
            }
        );
        assert_eq!(taken.remaining(), 0);
        assert_eq!(
            retry_after(&all.take(&caller(1), &LIMITS, 100, now)),
            Some(6)
        );
        let later = now + TimeDelta::seconds(6);
        assert!(all.take(&caller(1), &LIMITS, 100, later).is_ok());
        assert_eq!(
            retry_after(&all.take(&caller(1), &LIMITS, 1, later)),
            Some(1)
        );
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let all = Allowances::default();
        all.take(&caller(1), &LIMITS, 1_000, start()).unwrap();
        let left = all.give_back(&caller(1), 900).unwrap();
        assert_eq!((left.key.remaining, left.tenant.remaining), (900, 1_400));
        assert!(all.take(&caller(1), &LIMITS, 900, start()).is_ok());
    }

    #[test]
    fn keys_share_their_tenants_bucket_and_a_refusal_takes_from_neither() {
        let all = Allowances::default();
        all.take(&caller(1), &LIMITS, 1_000, start()).unwrap();
        assert_eq!(
            retry_after(&all.take(&caller(2), &LIMITS, 600, start())),
            Some(4)
        );
        let taken = all
            .take(&caller(2), &LIMITS, 500, start())
            .unwrap()
            .unwrap();
        assert_eq!((taken.tenant.remaining, taken.key.remaining), (0, 500));
    }

    #[test]
    fn subscriptions_are_counted_while_they_are_open() {
        let all = Allowances::default();
        let contact = Caller {
            actor: Actor::Contact {
                id: Id::from_uuid(Uuid::nil()),
                expires_at: start(),
            },
            ..caller(1)
        };
        let first = all.open(&contact, &LIMITS).unwrap();
        let _second = all.open(&contact, &LIMITS).unwrap();
        assert!(all.open(&contact, &LIMITS).is_err());
        let third = all.open(&caller(1), &LIMITS).unwrap();
        assert!(all.open(&caller(2), &LIMITS).is_err());
        drop(first);
        assert!(all.open(&contact, &LIMITS).is_ok());
        drop(third);
        assert_eq!(locked(&all.open).len(), 2);
    }
}
