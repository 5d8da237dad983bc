//! Random touches, dense with conflicts.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom, seq::SliceRandom};

use super::{super::*, TOUCHES_IN_EVERY_ORDER};

pub(super) type Value = (Kind, &'static str);

/// Few values, so that they meet: three users, four addresses, two phones, five devices.
pub(super) const VALUES: [Value; 13] = [
    (Kind::ExternalId, "ann"),
    (Kind::ExternalId, "bob"),
    (Kind::ExternalId, "cyd"),
    (Kind::Email, "ann@x.co"),
    (Kind::Email, "bob@x.co"),
    (Kind::Email, "old@x.co"),
    (Kind::Email, ROLE_ACCOUNT),
    (Kind::Phone, "+4930901820"),
    (Kind::Phone, "+4930901821"),
    (Kind::AnonymousId, "home"),
    (Kind::AnonymousId, "work"),
    (Kind::AnonymousId, "café"),
    (Kind::DistinctId, "app"),
];
pub(super) const ROLE_ACCOUNT: &str = "info@x.co";
const LEVELS: [Level; 3] = [Level::Claimed, Level::AssertedByBackend, Level::Confirmed];
const EDGE_KINDS: [EdgeKind; 6] = [
    EdgeKind::Manual,
    EdgeKind::VerifyLink,
    EdgeKind::Login,
    EdgeKind::Identify,
    EdgeKind::SameEvent,
    EdgeKind::Import,
];

/// One thing that arrives.
#[derive(Clone, Debug)]
pub(super) enum Touch {
    /// A call names identifiers, each as well known as `level`, which are then of one person.
    Seen {
        values: Vec<Value>,
        kind: EdgeKind,
        level: Level,
        at: DateTime<Utc>,
    },
    NotOnePerson(Value, Value),
    Retire(Value, Value),
    Exclude(Value, Value),
    Block(Value),
}

pub(super) fn random_stream(rng: &mut StdRng) -> (Vec<Touch>, Policy) {
    // Mostly too many for every order.
    let count = if rng.random_bool(0.1) {
        rng.random_range(3..=TOUCHES_IN_EVERY_ORDER)
    } else {
        rng.random_range(TOUCHES_IN_EVERY_ORDER + 1..=16)
    };
    let touches = (0..count).map(|_| random_touch(rng)).collect();
    let mut limits = std::collections::BTreeMap::new();
    for kind in [
        Kind::ExternalId,
        Kind::Email,
        Kind::Phone,
        Kind::AnonymousId,
    ] {
        if rng.random_bool(0.8) {
            let within = rng
                .random_bool(0.3)
                .then(|| TimeDelta::seconds(rng.random_range(1..4)));
            limits.insert(
                kind,
                Limit {
                    max: rng.random_range(1..=2),
                    within,
                    from: *LEVELS.choose(rng).unwrap(),
                },
            );
        }
    }
    let mut policy = Policy {
        limits,
        max_component: rng.random_range(4..=8),
        ..Policy::default()
    };
    if rng.random_bool(0.3) {
        policy.priority.clear(); // ties, for the rest of the order to break
    }
    if rng.random_bool(0.3) {
        policy.directional.push(Directional {
            from: Kind::ExternalId,
            to: Kind::AnonymousId,
            max: 1,
        });
    }
    (touches, policy)
}

fn random_touch(rng: &mut StdRng) -> Touch {
    let count = rng.random_range(2..=3);
    let mut values: Vec<Value> = VALUES.sample(rng, count).copied().collect();
    match rng.random_range(0..20) {
        0 | 1 => Touch::NotOnePerson(values[0], values[1]),
        2 => Touch::Retire(values[0], values[1]),
        3 => Touch::Exclude(values[0], values[1]),
        4 if rng.random_bool(0.5) => Touch::Block(values[0]),
        _ => {
            values.shuffle(rng);
            Touch::Seen {
                values,
                kind: *EDGE_KINDS.choose(rng).unwrap(),
                level: *LEVELS.choose(rng).unwrap(),
                at: at(rng.random_range(0..6)),
            }
        }
    }
}
