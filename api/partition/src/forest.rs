//! What is united so far: a union-find whose parts know what they hold and what they must not meet.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::{EdgeKind, Kind, Limit, Node, Policy, Reason};

/// What a part holds of a kind that has a limit.
#[derive(Default)]
struct Tally {
    count: usize,
    /// When each was first seen, in order, if the limit has a window.
    seen: Vec<DateTime<Utc>>,
}

impl Tally {
    fn of(node: &Node, limit: &Limit) -> Self {
        Self {
            count: 1,
            seen: limit
                .within
                .map(|_| node.first_seen_at)
                .into_iter()
                .collect(),
        }
    }

    fn with(&self, other: &Self) -> Self {
        let mut seen = [self.seen.as_slice(), &other.seen].concat();
        seen.sort(); // merges two runs
        Self {
            count: self.count + other.count,
            seen,
        }
    }

    fn fits(&self, limit: &Limit) -> bool {
        let Some(within) = limit.within else {
            return self.count <= limit.max;
        };
        let beyond = self.seen.iter().skip(limit.max);
        (self.seen.iter().zip(beyond)).all(|(first, beyond)| *beyond - *first >= within)
    }
}

#[derive(Default)]
struct Part {
    size: usize,
    tallies: BTreeMap<Kind, Tally>,
    /// Roots of the parts that it must not meet.
    apart: HashSet<usize>,
    /// A person united something in it, so it may hold more than a limit allows.
    by_hand: bool,
}

pub(crate) struct Forest<'a> {
    nodes: &'a [Node],
    policy: &'a Policy,
    parent: Vec<usize>,
    /// Each at its root; empty elsewhere.
    parts: Vec<Part>,
    /// How many nodes of a kind each node is united with by an edge of its own.
    partners: HashMap<(usize, Kind), usize>,
    /// Hops of `find`, and entries that `unite` moved or merged.
    pub(crate) steps: usize,
}

impl<'a> Forest<'a> {
    /// Each node alone.
    pub(crate) fn new(
        nodes: &'a [Node],
        cannot_link: &[(usize, usize)],
        policy: &'a Policy,
    ) -> Self {
        let alone = |node: &Node| {
            let limit = policy.limits.get(&node.kind);
            let counted = limit.filter(|limit| node.level >= limit.from);
            Part {
                size: 1,
                tallies: counted
                    .map(|limit| (node.kind, Tally::of(node, limit)))
                    .into_iter()
                    .collect(),
                apart: HashSet::new(),
                by_hand: false,
            }
        };
        let mut parts: Vec<_> = nodes.iter().map(alone).collect();
        for &(a, b) in cannot_link.iter().filter(|(a, b)| a != b) {
            parts[a].apart.insert(b);
            parts[b].apart.insert(a);
        }
        Self {
            nodes,
            policy,
            parent: (0..nodes.len()).collect(),
            parts,
            partners: HashMap::new(),
            steps: 0,
        }
    }

    /// The root of the part that `node` is in.
    pub(crate) fn find(&mut self, mut node: usize) -> usize {
        while self.parent[node] != node {
            self.steps += 1;
            self.parent[node] = self.parent[self.parent[node]];
            node = self.parent[node];
        }
        node
    }

    pub(crate) fn is_alone(&mut self, node: usize) -> bool {
        let root = self.find(node);
        self.parts[root].size == 1
    }

    /// Whether somebody said that the parts of `a` and `b` are not one person.
    pub(crate) fn must_stay_apart(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        self.parts[a].apart.contains(&b)
    }

    /// Whether the policy lets an edge between `a` and `b` unite their parts.
    ///
    /// What it refuses once it refuses ever after, since parts and partners only grow: no edge needs to be asked twice. What a person
    /// says is held to the size alone; a part that is over a limit because of that still takes in what counts for nothing there.
    pub(crate) fn allows(&mut self, a: usize, b: usize, kind: EdgeKind) -> Result<(), Reason> {
        let by_hand = kind == EdgeKind::Manual;
        for rule in self.policy.directional.iter().filter(|_| !by_hand) {
            for (node, partner) in [(a, b), (b, a)] {
                if (self.nodes[node].kind, self.nodes[partner].kind) == (rule.from, rule.to)
                    && self.partners(node, rule.to) >= rule.max
                {
                    return Err(Reason::Directional(rule.from, rule.to));
                }
            }
        }
        let (a, b) = (self.find(a), self.find(b));
        if self.parts[a].size + self.parts[b].size > self.policy.max_component {
            return Err(Reason::TooLarge);
        }
        let none = Tally::default();
        for (&kind, limit) in self.policy.limits.iter().filter(|_| !by_hand) {
            let parts = [&self.parts[a], &self.parts[b]];
            let [x, y] = parts.map(|part| part.tallies.get(&kind).unwrap_or(&none));
            let adds_nothing = parts[0].by_hand && y.count == 0 || parts[1].by_hand && x.count == 0;
            if !adds_nothing && !x.with(y).fits(limit) {
                return Err(Reason::Limit(kind));
            }
        }
        Ok(())
    }

    /// Makes the parts of `a` and `b`, which are two, one by an edge between them.
    pub(crate) fn unite(&mut self, a: usize, b: usize, kind: EdgeKind) {
        for (node, partner) in [(a, b), (b, a)] {
            let of_its_kind = (node, self.nodes[partner].kind);
            *self.partners.entry(of_its_kind).or_default() += 1;
        }
        let (a, b) = (self.find(a), self.find(b));
        let weight = |part: &Part| part.size + part.apart.len();
        let (root, lesser) = if weight(&self.parts[a]) < weight(&self.parts[b]) {
            (b, a)
        } else {
            (a, b)
        };
        let part = std::mem::take(&mut self.parts[lesser]);
        self.parent[lesser] = root;
        self.steps += 1 + part.apart.len();
        self.parts[root].size += part.size;
        self.parts[root].by_hand |= part.by_hand || kind == EdgeKind::Manual;
        for (kind, tally) in part.tallies {
            let held = self.parts[root].tallies.entry(kind).or_default();
            *held = held.with(&tally);
        }
        for other in part.apart {
            self.parts[other].apart.remove(&lesser);
            self.parts[other].apart.insert(root);
            self.parts[root].apart.insert(other);
        }
    }

    fn partners(&self, node: usize, kind: Kind) -> usize {
        self.partners
            .get(&(node, kind))
            .copied()
            .unwrap_or_default()
    }
}
