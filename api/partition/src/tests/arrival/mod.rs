//! The same touches, in whatever order they arrive and resolved part by part as they do, end in the same partition.

use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::*;
use store::Store;
use stream::{Touch, random_stream};

mod store;
mod stream;

const STREAMS: u64 = 300;
const SHUFFLES: usize = 20;

/// Up to this many touches, every order is tried: 720 of them.
const TOUCHES_IN_EVERY_ORDER: usize = 6;

fn play(touches: &[Touch], policy: &Policy) -> Store {
    let mut store = Store::default();
    store.graph.policy = policy.clone();
    for touch in touches {
        store.arrive(touch);
    }
    store
}

/// Calls `visit` with every order of `items`: Heap's algorithm.
fn each_order<T>(items: &mut [T], length: usize, visit: &mut impl FnMut(&[T])) {
    if length <= 1 {
        return visit(items);
    }
    for n in 0..length {
        each_order(items, length - 1, visit);
        let other = if length.is_multiple_of(2) { n } else { 0 };
        items.swap(other, length - 1);
    }
}

/// That no component breaks a rule of the policy, and that no person is made of two who are not one.
fn check_rules(store: &Store) {
    let Graph {
        nodes,
        edges,
        cannot_link,
        policy,
    } = &store.graph;
    for (founder, members) in &store.components() {
        assert!(members.contains(founder));
        assert!(members.len() <= policy.max_component, "{members:?}");
        // What a person united may hold more than the policy allows.
        let by_hand = edges.iter().enumerate().any(|(place, edge)| {
            edge.kind == EdgeKind::Manual && store.verdicts[&place].1 && members.contains(&edge.a)
        });
        for (&kind, limit) in policy.limits.iter().filter(|_| !by_hand) {
            let counted = || {
                let nodes = members.iter().map(|&node| &nodes[node]);
                nodes.filter(|node| node.kind == kind && node.level >= limit.from)
            };
            let worst = match limit.within {
                None => counted().count(),
                Some(within) => counted()
                    .map(|first| {
                        let window = first.first_seen_at..first.first_seen_at + within;
                        counted()
                            .filter(|node| window.contains(&node.first_seen_at))
                            .count()
                    })
                    .max()
                    .unwrap_or_default(),
            };
            assert!(
                worst <= limit.max || members.len() == 1,
                "{kind:?} of {members:?}"
            );
        }
        let meet =
            |(one, other): &&(usize, usize)| members.contains(one) && members.contains(other);
        assert_eq!(cannot_link.iter().find(meet), None);
        for &node in members {
            let joined: Vec<usize> = edges
                .iter()
                .enumerate()
                .filter(|(place, _)| store.verdicts[place].1)
                .filter_map(|(_, edge)| match (edge.a == node, edge.b == node) {
                    (true, _) => Some(edge.b),
                    (_, true) => Some(edge.a),
                    _ => None,
                })
                .collect();
            for rule in policy
                .directional
                .iter()
                .filter(|rule| !by_hand && rule.from == nodes[node].kind)
            {
                let partners = joined.iter().filter(|&&other| nodes[other].kind == rule.to);
                assert!(partners.count() <= rule.max);
            }
            match nodes[node].stitches {
                Stitches::Blocked => assert_eq!(members.len(), 1),
                Stitches::RoleAccount => assert!(joined.len() <= 1),
                Stitches::Yes => {}
            }
        }
    }
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let mut codes = BTreeSet::new();
    let (mut orders, mut conflicts) = (0, 0);
    for seed in 0..STREAMS {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut touches, policy) = random_stream(&mut rng);
        let store = play(&touches, &policy);
        check_rules(&store);
        let expected = store.outcome();
        assert_eq!(store.outcome_at_once(), expected, "stream {seed} at once");

        let reasons = |verdict: &(Verdict, bool)| match verdict.0 {
            Verdict::Live => None,
            Verdict::Dormant(reason) => Some(reason.code()),
        };
        codes.extend(expected.verdicts.values().filter_map(reasons));
        conflicts += usize::from(expected.verdicts.values().any(|v| reasons(v).is_some()));

        let mut check = |touches: &[Touch]| {
            orders += 1;
            let store = play(touches, &policy);
            assert_eq!(store.outcome(), expected, "stream {seed}: {touches:#?}");
            assert_eq!(store.outcome_at_once(), expected, "stream {seed} at once");
        };
        let count = touches.len();
        if count <= TOUCHES_IN_EVERY_ORDER {
            each_order(&mut touches, count, &mut check);
        } else {
            for _ in 0..SHUFFLES {
                touches.shuffle(&mut rng);
                check(&touches);
            }
        }
    }
    // The streams do meet every rule, and are dense with conflicts.
    assert_eq!(
        codes.into_iter().collect::<Vec<_>>(),
        [
            "blocked",
            "cannot_link",
            "directional",
            "limit",
            "retired",
            "role_account",
            "shared_device",
            "too_large",
            "unverified"
        ]
    );
    assert!(conflicts > 250, "{conflicts} of {STREAMS} streams");
    assert!(orders > 20 * 300, "{orders}");
}
