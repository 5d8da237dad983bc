use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::{Kind, Level, risk::COMPONENT_IDENTIFIERS_MAX};

/// How many identifiers of one kind a component may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub max: usize,
    /// With a window, `max` holds for those first seen within any window of this length, open at its end: two that were first
    /// seen exactly this far apart do not meet in one. Without, for all that there ever were.
    pub within: Option<TimeDelta>,
    /// Identifiers below this level do not count.
    pub from: Level,
}

/// How many identifiers of kind `to` one identifier of kind `from` may join to others by itself.
///
/// It is counted at the identifier, over the edges that unite, and not over its component: a tenant that allows several user ids
/// a person still wants an e-mail address to join one at most, and says so here. What a component holds in all, [`Limit`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directional {
    pub from: Kind,
    pub to: Kind,
    pub max: usize,
}

/// What a tenant allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A kind without a limit is bounded by `max_component` alone.
    pub limits: BTreeMap<Kind, Limit>,
    pub directional: Vec<Directional>,
    /// What an identifier of a kind weighs; a kind that is absent weighs 0.
    pub priority: BTreeMap<Kind, u8>,
    /// Identifiers in one component.
    pub max_component: usize,
}

impl Policy {
    pub(crate) fn priority(&self, kind: Kind) -> u8 {
        self.priority.get(&kind).copied().unwrap_or_default()
    }
}

/// One user id, three confirmed e-mail addresses, three phone numbers, fifty anonymous ids and fifty distinct ids; an e-mail
/// address leads to one user id.
impl Default for Policy {
    fn default() -> Self {
        let ever = |max, from| Limit {
            max,
            within: None,
            from,
        };
        Self {
            limits: BTreeMap::from([
                (Kind::ExternalId, ever(1, Level::Claimed)),
                // Others are cheap to claim: to count them would let who types addresses keep a person's own out.
                (Kind::Email, ever(3, Level::Confirmed)),
                (Kind::Phone, ever(3, Level::Claimed)),
                (Kind::AnonymousId, ever(50, Level::Claimed)),
                (Kind::DistinctId, ever(50, Level::Claimed)),
            ]),
            directional: vec![Directional {
                from: Kind::Email,
                to: Kind::ExternalId,
                max: 1,
            }],
            priority: BTreeMap::from([
                (Kind::ExternalId, 50),
                (Kind::Email, 40),
                (Kind::Phone, 30),
                (Kind::DistinctId, 20),
                (Kind::AnonymousId, 10),
            ]),
            max_component: COMPONENT_IDENTIFIERS_MAX,
        }
    }
}
