//! Failures on command.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

/// A group of endpoints that fails together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/batch`, `/e`, `/i/v0/e`, `/capture`, `/i/v1/…`
    Capture,
    /// `/flags`, `/decide`
    Flags,
    /// `/flags/definitions` and its legacy twins
    Definitions,
    /// `/api/projects/{id}/query`
    Query,
    /// the rest of `/api` and `/array`
    Api,
}

impl Endpoint {
    pub const ALL: [Self; 5] = [
        Self::Capture,
        Self::Flags,
        Self::Definitions,
        Self::Query,
        Self::Api,
    ];
}

/// How an endpoint fails; `times` counts requests, without it the failure lasts until [`heal`](crate::Double::heal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case", deny_unknown_fields)]
pub enum Failure {
    /// This status, with PostHog's body for it. The request has no effect. `retry_after` is in seconds.
    Status {
        code: u16,
        #[serde(default)]
        retry_after: Option<u64>,
        #[serde(default)]
        times: Option<u32>,
    },
    /// Takes the request and never answers. The request has no effect.
    Timeout {
        #[serde(default)]
        times: Option<u32>,
    },
    /// Does the request, sends the first half of the answer and hangs with the socket open.
    HalfOpen {
        #[serde(default)]
        times: Option<u32>,
    },
    /// Takes the request and resets the connection. The request has no effect.
    Reset {
        #[serde(default)]
        times: Option<u32>,
    },
    /// Does the request after a pause of real time.
    Slow {
        delay_ms: u64,
        #[serde(default)]
        times: Option<u32>,
    },
    /// Over its quota: capture drops in silence, flags are empty with `quotaLimited`, definitions answer 402, the rest 429.
    Quota,
    /// Queries answer from the result cache however old and whatever `refresh` says; the answer's `is_cached` and
    /// `last_refresh` stay true.
    StaleCache,
}

impl Failure {
    fn times_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Status { times, .. }
            | Self::Timeout { times }
            | Self::HalfOpen { times }
            | Self::Reset { times }
            | Self::Slow { times, .. } => times.as_mut(),
            Self::Quota | Self::StaleCache => None,
        }
    }
}

/// What is to fail next.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    armed: HashMap<Endpoint, VecDeque<Failure>>,
    poison: HashSet<String>,
}

impl Switches {
    /// Failures of one endpoint are played in the order given; one without an end makes way for the next.
    pub(crate) fn arm(&mut self, endpoint: Endpoint, failure: Failure) {
        let armed = self.armed.entry(endpoint).or_default();
        if armed
            .back_mut()
            .is_some_and(|last| last.times_mut().is_none())
        {
            armed.pop_back();
        }
        armed.push_back(failure);
    }

    pub(crate) fn heal(&mut self) {
        *self = Self::default();
    }

    /// A batch that holds an event of this name is refused.
    pub(crate) fn poison(&mut self, event: String) {
        self.poison.insert(event);
    }

    pub(crate) fn is_poison(&self, event: &str) -> bool {
        self.poison.contains(event)
    }

    /// The failure of this request, if any.
    pub(crate) fn next(&mut self, endpoint: Endpoint) -> Option<Failure> {
        let armed = self.armed.get_mut(&endpoint)?;
        loop {
            let failure = armed.front_mut()?;
            match failure.times_mut() {
                None => return Some(*failure),
                Some(0) => _ = armed.pop_front(),
                Some(left) => {
                    *left -= 1;
                    return Some(*failure);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn status(code: u16, times: Option<u32>) -> Failure {
        Failure::Status {
            code,
            retry_after: None,
            times,
        }
    }

    fn codes(switches: &mut Switches, count: usize) -> Vec<Option<u16>> {
        let code = |failure| match failure {
            Failure::Status { code, .. } => code,
            other => panic!("{other:?}"),
        };
        (0..count)
            .map(|_| switches.next(Endpoint::Capture).map(code))
            .collect()
    }

    #[test]
    fn failures_play_in_order_and_each_only_as_often_as_told() {
        let mut switches = Switches::default();
        switches.arm(Endpoint::Capture, status(500, Some(2)));
        switches.arm(Endpoint::Capture, status(429, Some(1)));
        assert_eq!(switches.next(Endpoint::Query), None);
        assert_eq!(
            codes(&mut switches, 4),
            [Some(500), Some(500), Some(429), None]
        );
    }

    #[test]
    fn a_failure_without_an_end_lasts_until_another_or_heal() {
        let mut switches = Switches::default();
        switches.arm(Endpoint::Capture, status(500, None));
        assert_eq!(codes(&mut switches, 3), [Some(500); 3]);
        switches.arm(Endpoint::Capture, status(503, None));
        assert_eq!(codes(&mut switches, 1), [Some(503)]);
        switches.heal();
        assert_eq!(codes(&mut switches, 1), [None]);
    }
}
