//! What may be applied without a review.

use chrono::TimeDelta;

/// Identifiers of a component beyond which a person looks at it first.
pub const COMPONENT_IDENTIFIERS_MAX: usize = 100;

/// Merges of a tenant within an hour that are never too many.
pub const MERGES_AN_HOUR_ALLOWED: u32 = 50;

/// How many times its median hour a tenant may merge within an hour.
pub const MEDIAN_HOURS_ALLOWED: u32 = 5;

/// How many merges one value may cause within [`HOT_VALUE_WINDOW`]. One that causes more is a default that leaks, such as
/// `null@x.com` from a form, and stands for nobody.
pub const HOT_VALUE_MERGES_MAX: u32 = 10;

/// Within which the merges that one value caused are counted.
pub const HOT_VALUE_WINDOW: TimeDelta = TimeDelta::hours(1);

/// What a merge would touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blast {
    /// Identifiers that would change their contact.
    pub identifiers_joined: u32,
    /// Runs of sequences under way at the contacts that would become one.
    pub active_runs: u32,
    /// Rewards of theirs that are neither paid nor refused.
    pub open_rewards: u32,
    /// Topics and channels to which one of them said yes and another no.
    pub consents_in_conflict: u32,
    /// Kinds of which a person has one, and of which they would have several that are confirmed.
    pub confirmed_conflicts: u32,
    /// Identifiers that the component would have.
    pub component: usize,
    /// Merges of the tenant within the last hour.
    pub merges_last_hour: u32,
    /// The median of the tenant's merges an hour.
    pub median_hourly: u32,
}

/// Whether a merge waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Auto,
    Review(Concern),
}

/// What a person should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Two people proved to own identifiers of which a person has one.
    ConfirmedConflict,
    /// Too many identifiers in one component.
    LargeComponent,
    /// The tenant merges far more than is usual for it.
    MergeRate,
}

impl Concern {
    /// Its stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ConfirmedConflict => "confirmed_conflict",
            Self::LargeComponent => "large_component",
            Self::MergeRate => "merge_rate",
        }
    }
}

impl Blast {
    /// How much a wrong merge would spoil: what a list of reviews is sorted by. It decides nothing by itself.
    pub fn risk(&self) -> u64 {
        let stakes = [
            self.active_runs,
            self.open_rewards,
            self.consents_in_conflict,
        ]
        .into_iter()
        .fold(1, |sum: u64, stake| sum + u64::from(stake));
        u64::from(self.identifiers_joined).saturating_mul(stakes)
    }

    pub fn decide(&self) -> Decision {
        let usual = MEDIAN_HOURS_ALLOWED.saturating_mul(self.median_hourly);
        if self.confirmed_conflicts > 0 {
            Decision::Review(Concern::ConfirmedConflict)
        } else if self.component > COMPONENT_IDENTIFIERS_MAX {
            Decision::Review(Concern::LargeComponent)
        } else if self.merges_last_hour >= MERGES_AN_HOUR_ALLOWED.max(usual) {
            Decision::Review(Concern::MergeRate)
        } else {
            Decision::Auto
        }
    }
}

/// Whether a value that caused `merges` within [`HOT_VALUE_WINDOW`] is to be blocked.
pub const fn is_hot(merges: u32) -> bool {
    merges > HOT_VALUE_MERGES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_risk_is_what_moves_times_what_is_at_stake() {
        let blast = Blast {
            identifiers_joined: 7,
            active_runs: 2,
            open_rewards: 1,
            consents_in_conflict: 3,
            ..Blast::default()
        };
        assert_eq!(blast.risk(), 49);
        assert_eq!(
            Blast {
                identifiers_joined: 7,
                ..Blast::default()
            }
            .risk(),
            7
        );
        let all = u32::MAX;
        let most = Blast {
            identifiers_joined: all,
            active_runs: all,
            open_rewards: all,
            consents_in_conflict: all,
            ..Blast::default()
        };
        assert_eq!(most.risk(), u64::MAX);
    }

    #[test]
    fn a_merge_waits_for_a_person_from_exactly_the_bounds_on() {
        let blast = Blast {
            component: 100,
            merges_last_hour: 49,
            median_hourly: 10,
            ..Blast::default()
        };
        assert_eq!(blast.decide(), Decision::Auto);
        for (blast, concern) in [
            (
                Blast {
                    confirmed_conflicts: 1,
                    ..blast
                },
                Concern::ConfirmedConflict,
            ),
            (
                Blast {
                    component: 101,
                    ..blast
                },
                Concern::LargeComponent,
            ),
            (
                Blast {
                    merges_last_hour: 50,
                    ..blast
                },
                Concern::MergeRate,
            ),
            (
                Blast {
                    merges_last_hour: 55,
                    median_hourly: 11,
                    ..blast
                },
                Concern::MergeRate,
            ),
        ] {
            assert_eq!(blast.decide(), Decision::Review(concern), "{blast:?}");
        }
        let busy = Blast {
            merges_last_hour: 54,
            median_hourly: 11,
            ..blast
        };
        assert_eq!(busy.decide(), Decision::Auto);
    }

    #[test]
    fn a_value_that_caused_eleven_merges_within_an_hour_is_hot() {
        assert!(!is_hot(10));
        assert!(is_hot(11));
    }
}
