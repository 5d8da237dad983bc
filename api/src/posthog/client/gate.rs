//! What one connection may ask of one endpoint: how much at once, how much a minute, and whether at all.

use std::{
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Endpoint, Failure,
    breaker::{Breaker, Turn},
};
use crate::base::Clock;

/// PostHog runs 3 queries of an organization at once.
const QUERIES_IN_FLIGHT: usize = 3;
const FLAGS_IN_FLIGHT: usize = 16;
/// How long a call waits for its turn.
pub(super) const TURN_WAIT: Duration = Duration::from_secs(5);

/// PostHog allows 240 queries in any minute and 2,400 in any hour. A bucket lets its burst *and* its refill
/// pass in one window, so both together are the limit.
const QUERIES_A_MINUTE: Rate = Rate {
    burst: 60,
    refill: 180,
    every: Duration::from_mins(1),
};
const QUERIES_AN_HOUR: Rate = Rate {
    burst: 600,
    refill: 1_800,
    every: Duration::from_hours(1),
};

struct Rate {
    burst: u32,
    refill: u32,
    every: Duration,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Wall, NoOpMiddleware<Nanos>>;

/// The process's clock as the buckets read it, so that a test can hold it still.
#[derive(Clone, Debug)]
struct Wall(Clock);

impl governor::clock::Clock for Wall {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let nanos = self.0.now().timestamp_nanos_opt().unwrap_or_default();
        Nanos::from(u64::try_from(nanos).unwrap_or_default())
    }
}

pub(super) struct Gate {
    endpoint: Endpoint,
    clock: Clock,
    breaker: Mutex<Breaker>,
    in_flight: Semaphore,
    buckets: Vec<Bucket>,
}

impl Gate {
    pub(super) fn new(endpoint: Endpoint, clock: &Clock) -> Self {
        let (in_flight, rates) = match endpoint {
            Endpoint::Query => (QUERIES_IN_FLIGHT, &[QUERIES_A_MINUTE, QUERIES_AN_HOUR][..]),
            Endpoint::Flags => (FLAGS_IN_FLIGHT, &[][..]),
            Endpoint::Definitions | Endpoint::Persons => (1, &[][..]),
        };
        Self {
            endpoint,
            clock: clock.clone(),
            breaker: Mutex::default(),
            in_flight: Semaphore::new(in_flight),
            buckets: rates
                .iter()
                .filter_map(|rate| bucket(rate, clock))
                .collect(),
        }
    }
    /// Waits for a turn. Fails when none comes in time, the budget is spent, or the peer is not to be asked now.
    pub(super) async fn enter(&self) -> Result<Pass<'_>, Failure> {
        // Before the wait, so that nobody waits for what is shut; and after it, since it may have shut meanwhile.
        self.check_open()?;
        let permit = tokio::time::timeout(TURN_WAIT, self.in_flight.acquire()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Failure::Limited { retry_after: None });
        };
        let turn = self
            .breaker()
            .admit(self.clock.now())
            .map_err(|open| self.shut(open))?;
        let pass = Pass {
            gate: self,
            turn: Some(turn),
            _permit: permit,
        };
        for bucket in &self.buckets {
            if let Err(until) = bucket.check() {
                let wait = until.wait_time_from(bucket.clock().now());
                return Err(Failure::Limited {
                    retry_after: Some(wait),
                });
            }
        }
        Ok(pass)
    }
    fn check_open(&self) -> Result<(), Failure> {
        let mut breaker = self.breaker();
        let turn = breaker
            .admit(self.clock.now())
            .map_err(|open| self.shut(open))?;
        breaker.abandon(turn);
        Ok(())
    }
    fn shut(&self, open: super::breaker::Open) -> Failure {
        let left = (open.until - self.clock.now()).to_std().ok();
        if open.limited {
            Failure::Limited { retry_after: left }
        } else {
            Failure::Down {
                cause: super::Cause::Shut,
                retry_after: left,
            }
        }
    }
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn settle(&self, turn: Turn, failure: Option<&Failure>, now: DateTime<Utc>) {
        let mut breaker = self.breaker();
        match failure {
            Some(Failure::Down { .. }) => {
                if breaker.fail(turn, now) {
                    let endpoint = self.endpoint.name();
                    metrics::counter!("growthos_posthog_breaker_opened_total", "endpoint" => endpoint)
                        .increment(1);
                    tracing::warn!(
                        endpoint,
                        "PostHog failed repeatedly: it is left alone for a while"
                    );
                }
            }
            Some(Failure::Limited { retry_after }) => breaker.limit(*retry_after, now),
            // It answered, be it that the request was wrong.
            None | Some(Failure::Refused { .. } | Failure::Denied { .. }) => breaker.succeed(turn),
        }
    }
}

fn bucket(rate: &Rate, clock: &Clock) -> Option<Bucket> {
    let quota =
        Quota::with_period(rate.every / rate.refill)?.allow_burst(NonZeroU32::new(rate.burst)?);
    Some(RateLimiter::direct_with_clock(quota, Wall(clock.clone())))
}

/// One call's turn; given back when dropped.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    turn: Option<Turn>,
    _permit: SemaphorePermit<'a>,
}

impl Pass<'_> {
    /// Tells what came of the call.
    pub(super) fn settle(mut self, failure: Option<&Failure>) {
        if let Some(turn) = self.turn.take() {
            self.gate.settle(turn, failure, self.gate.clock.now());
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn {
            self.gate.breaker().abandon(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn clock() -> Clock {
        Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    async fn passes(gate: &Gate) -> usize {
        let mut passed = 0;
        while let Ok(pass) = gate.enter().await {
            pass.settle(None);
            passed += 1;
        }
        passed
    }

    #[tokio::test]
    async fn no_minute_has_more_than_240_queries_and_no_hour_more_than_2400() {
        let clock = clock();
        let gate = Gate::new(Endpoint::Query, &clock);
        let mut by_second = Vec::new();
        for _ in 0..7_200 {
            by_second.push(passes(&gate).await);
            clock.advance(TimeDelta::seconds(1));
        }
        let most = |window: usize| {
            by_second
                .windows(window)
                .map(|seconds| seconds.iter().sum::<usize>())
                .max()
        };
        assert_eq!(by_second[0], 60);
        assert!(most(60) <= Some(240), "{:?}", most(60));
        assert!(most(3_600) <= Some(2_400), "{:?}", most(3_600));
        assert!(by_second.iter().sum::<usize>() >= 4_000);
    }

    #[tokio::test]
    async fn three_queries_are_in_flight_and_the_fourth_waits_for_one_of_them() {
        let clock = clock();
        let gate = Gate::new(Endpoint::Query, &clock);
        let first = gate.enter().await.ok().unwrap();
        let _second = gate.enter().await.ok().unwrap();
        let _third = gate.enter().await.ok().unwrap();
        let brief = Duration::from_millis(50);
        assert!(tokio::time::timeout(brief, gate.enter()).await.is_err());
        let (fourth, ()) = tokio::join!(gate.enter(), async { drop(first) });
        assert!(fourth.is_ok());
    }
}
