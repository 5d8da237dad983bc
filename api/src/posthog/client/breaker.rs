//! Whether a peer that failed is asked again. Pure: time comes in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long it stays open at first; doubles with each failed trial.
const WAIT_MIN: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_mins(2);
/// The longest that a peer's `Retry-After` is obeyed: a wrong figure must not shut a tenant out for days.
const HOLD_MAX: Duration = Duration::from_hours(1);

/// Closed: everything passes. Open: nothing passes until a moment. Then one trial passes, and its outcome
/// closes the breaker or opens it for longer.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    wait: Duration,
    open: Option<Open>,
    /// A trial is under way.
    trial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) until: DateTime<Utc>,
    /// The peer asked for less, rather than failed.
    pub(super) limited: bool,
}

/// What is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Usual,
    /// The one call that tells whether the peer is back.
    Trial,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 0,
            wait: WAIT_MIN,
            open: None,
            trial: false,
        }
    }
}

impl Breaker {
    pub(super) fn admit(&mut self, now: DateTime<Utc>) -> Result<Turn, Open> {
        match self.open {
            None => Ok(Turn::Usual),
            Some(open) if now < open.until || self.trial => Err(open),
            Some(_) => {
                self.trial = true;
                Ok(Turn::Trial)
            }
        }
    }
    pub(super) fn succeed(&mut self, turn: Turn) {
        // What was let through before the breaker opened says nothing of now.
        if turn == Turn::Trial || self.open.is_none() {
            *self = Self::default();
        }
    }
    /// Says whether this opened the breaker.
    pub(super) fn fail(&mut self, turn: Turn, now: DateTime<Utc>) -> bool {
        if self.open.is_some() && turn == Turn::Usual {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if turn == Turn::Usual && self.failures < FAILURES_MAX {
            return false;
        }
        if turn == Turn::Trial {
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
        self.open_for(self.wait, false, now);
        true
    }
    /// The peer asked to wait; without a figure, as long as after failures.
    pub(super) fn limit(&mut self, retry_after: Option<Duration>, now: DateTime<Utc>) {
        let hold = retry_after.unwrap_or(self.wait).min(HOLD_MAX);
        self.open_for(hold, true, now);
    }
    /// The call was given up before it had an outcome.
    pub(super) const fn abandon(&mut self, turn: Turn) {
        if matches!(turn, Turn::Trial) {
            self.trial = false;
        }
    }
    fn open_for(&mut self, hold: Duration, limited: bool, now: DateTime<Utc>) {
        let hold = TimeDelta::from_std(hold).unwrap_or(TimeDelta::zero());
        self.trial = false;
        self.open = Some(Open {
            until: now + hold,
            limited,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }
    fn failed(times: u32) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..times {
            assert_eq!(breaker.admit(at(0)), Ok(Turn::Usual));
            breaker.fail(Turn::Usual, at(0));
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_ten_seconds() {
        assert_eq!(failed(4).admit(at(0)), Ok(Turn::Usual));
        let mut breaker = failed(5);
        let open = Open {
            until: at(10),
            limited: false,
        };
        assert_eq!(breaker.admit(at(9)), Err(open));
        assert_eq!(breaker.admit(at(10)), Ok(Turn::Trial));
        assert_eq!(breaker.admit(at(10)), Err(open), "one trial at a time");
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let mut breaker = failed(4);
        breaker.succeed(Turn::Usual);
        breaker.fail(Turn::Usual, at(0));
        assert_eq!(breaker.admit(at(0)), Ok(Turn::Usual));
    }

    #[test]
    fn failed_trials_double_the_wait_up_to_two_minutes_and_a_good_one_closes_it() {
        let mut breaker = failed(5);
        let mut now = 10;
        for wait in [20, 40, 80, 120, 120] {
            assert_eq!(breaker.admit(at(now)), Ok(Turn::Trial));
            assert!(breaker.fail(Turn::Trial, at(now)));
            assert_eq!(
                breaker.admit(at(now + wait - 1)).unwrap_err().until,
                at(now + wait)
            );
            now += wait;
        }
        assert_eq!(breaker.admit(at(now)), Ok(Turn::Trial));
        breaker.succeed(Turn::Trial);
        assert_eq!(breaker.admit(at(now)), Ok(Turn::Usual));
        assert!(!breaker.fail(Turn::Usual, at(now)));
    }

    #[test]
    fn a_peers_own_wait_is_kept_within_an_hour() {
        let mut breaker = Breaker::default();
        breaker.limit(Some(Duration::from_secs(59)), at(0));
        assert_eq!(
            breaker.admit(at(58)),
            Err(Open {
                until: at(59),
                limited: true
            })
        );
        assert_eq!(breaker.admit(at(59)), Ok(Turn::Trial));
        breaker.limit(Some(Duration::from_secs(1_000_000)), at(59));
        assert_eq!(breaker.admit(at(60)).unwrap_err().until, at(59 + 3_600));
    }

    #[test]
    fn late_outcomes_of_calls_from_before_change_nothing_and_a_lost_trial_is_tried_again() {
        let mut breaker = failed(5);
        breaker.succeed(Turn::Usual);
        assert!(!breaker.fail(Turn::Usual, at(5)));
        assert_eq!(breaker.admit(at(9)).unwrap_err().until, at(10));
        assert_eq!(breaker.admit(at(10)), Ok(Turn::Trial));
        breaker.abandon(Turn::Trial);
        assert_eq!(breaker.admit(at(11)), Ok(Turn::Trial));
    }
}
