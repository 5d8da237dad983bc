//! A store that keeps what arrives, and resolves again what it touches.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::*,
    stream::{ROLE_ACCOUNT, Touch, VALUES, Value},
};

/// What a tenant's tables hold, and what they say of each part since it was resolved last.
#[derive(Default)]
pub(super) struct Store {
    pub(super) graph: Graph,
    place_of: BTreeMap<Value, usize>,
    edge_of: BTreeMap<(Value, Value, EdgeKind, Level), usize>,
    retired: BTreeSet<(Value, Value)>,
    excluded: BTreeSet<(Value, Value)>,
    blocked: BTreeSet<Value>,
    apart: BTreeSet<(Value, Value)>,
    /// Each node's founder, and the root of their component.
    component_of: BTreeMap<usize, (usize, Option<Uuid>)>,
    pub(super) verdicts: BTreeMap<usize, (Verdict, bool)>,
    contacts: usize,
}

fn pair(one: Value, other: Value) -> (Value, Value) {
    (one.min(other), one.max(other))
}

impl Store {
    fn value(&self, node: usize) -> Value {
        let node = &self.graph.nodes[node];
        let same = |value: &&Value| value.0 == node.kind && value.1 == node.value;
        *VALUES.iter().find(same).unwrap()
    }

    /// Keeps what arrives, and resolves again what it touches.
    pub(super) fn arrive(&mut self, touch: &Touch) {
        match touch {
            Touch::Seen {
                values,
                kind,
                level,
                at,
            } => {
                let mut seen = BTreeSet::new();
                for &value in values {
                    seen.insert(self.see(value, *level, *at));
                }
                for (n, &one) in values.iter().enumerate() {
                    for &other in &values[n + 1..] {
                        self.observe(one, other, *kind, *level, *at);
                    }
                }
                self.apply_lists();
                self.resolve_part(self.part_around(seen));
            }
            Touch::NotOnePerson(one, other) => {
                self.apart.insert(pair(*one, *other));
                self.change(&[*one, *other]);
            }
            Touch::Retire(one, other) => {
                self.retired.insert(pair(*one, *other));
                self.change(&[*one, *other]);
            }
            Touch::Exclude(one, other) => {
                self.excluded.insert(pair(*one, *other));
                self.change(&[*one, *other]);
            }
            Touch::Block(value) => {
                // What it held together is touched: the part as it was before.
                let part = self.part_around(self.places(&[*value]));
                self.blocked.insert(*value);
                self.apply_lists();
                self.resolve_part(part);
            }
        }
    }

    fn change(&mut self, values: &[Value]) {
        self.apply_lists();
        self.resolve_part(self.part_around(self.places(values)));
    }

    fn places(&self, values: &[Value]) -> BTreeSet<usize> {
        let place = |value| self.place_of.get(value).copied();
        values.iter().filter_map(place).collect()
    }

    fn see(&mut self, value: Value, level: Level, at: DateTime<Utc>) -> usize {
        let graph = &mut self.graph;
        let place = *self.place_of.entry(value).or_insert_with(|| {
            let place = graph.node(value.0, value.1);
            graph.nodes[place].level = level;
            graph.nodes[place].first_seen_at = at;
            graph.nodes[place].origin = None;
            place
        });
        let node = &mut graph.nodes[place];
        node.level = node.level.max(level);
        node.first_seen_at = node.first_seen_at.min(at);
        place
    }

    fn observe(
        &mut self,
        one: Value,
        other: Value,
        kind: EdgeKind,
        level: Level,
        at: DateTime<Utc>,
    ) {
        let (a, b) = (self.place_of[&one], self.place_of[&other]);
        let (low, high) = pair(one, other);
        let graph = &mut self.graph;
        let place = *self
            .edge_of
            .entry((low, high, kind, level))
            .or_insert_with(|| {
                let place = graph.edge_of(a, b, kind, level);
                graph.edges[place].observed_at = at;
                place
            });
        let edge = &mut graph.edges[place];
        edge.observed_at = edge.observed_at.min(at);
    }

    fn apply_lists(&mut self) {
        for (value, &place) in &self.place_of {
            self.graph.nodes[place].stitches = if self.blocked.contains(value) {
                Stitches::Blocked
            } else if value.1 == ROLE_ACCOUNT {
                Stitches::RoleAccount
            } else {
                Stitches::Yes
            };
        }
        for (&(low, high, ..), &place) in &self.edge_of {
            self.graph.edges[place].standing = if self.retired.contains(&(low, high)) {
                Standing::Retired
            } else if self.excluded.contains(&(low, high)) {
                Standing::Excluded
            } else {
                Standing::Active
            };
        }
        let place = |value| self.place_of.get(value).copied();
        self.graph.cannot_link = self
            .apart
            .iter()
            .filter_map(|(one, other)| place(one).zip(place(other)))
            .collect();
    }

    /// All that evidence of any standing ties to `part`, though not what lies behind blocked values.
    fn part_around(&self, mut part: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut open: Vec<usize> = part.iter().copied().collect();
        while let Some(node) = open.pop() {
            if self.graph.nodes[node].stitches == Stitches::Blocked {
                continue;
            }
            for edge in &self.graph.edges {
                for (here, there) in [(edge.a, edge.b), (edge.b, edge.a)] {
                    if here == node && part.insert(there) {
                        open.push(there);
                    }
                }
            }
        }
        part
    }

    fn resolve_part(&mut self, part: BTreeSet<usize>) {
        let part: Vec<usize> = part.into_iter().collect();
        let within = |node: usize| part.binary_search(&node).ok();
        let nodes: Vec<Node> = part.iter().map(|&n| self.graph.nodes[n].clone()).collect();
        let mut edges = Vec::new();
        let mut edge_at = Vec::new();
        for (place, edge) in self.graph.edges.iter().enumerate() {
            if let Some((a, b)) = within(edge.a).zip(within(edge.b)) {
                edges.push(Edge { a, b, ..*edge });
                edge_at.push(place);
            }
        }
        let ends = |&(one, other): &(usize, usize)| within(one).zip(within(other));
        let cannot_link: Vec<_> = self.graph.cannot_link.iter().filter_map(ends).collect();
        let partition = resolve(&nodes, &edges, &cannot_link, &self.graph.policy);

        for (&place, &verdict) in edge_at.iter().zip(&partition.verdicts) {
            self.verdicts.insert(place, (verdict, false));
        }
        for &edge in &partition.unions {
            self.verdicts.insert(edge_at[edge], (Verdict::Live, true));
        }
        for component in &partition.components {
            let mut root = component.root;
            if root.is_none() && nodes[component.founder].stitches != Stitches::Blocked {
                self.contacts += 1;
                root = Some(origin(self.contacts));
            }
            for &member in &component.adopted {
                self.graph.nodes[part[member]].origin = root;
            }
            for &member in &component.members {
                let founder = part[component.founder];
                self.component_of.insert(part[member], (founder, root));
            }
        }
        self.check_roots();
    }

    fn check_roots(&self) {
        let mut founder_of = BTreeMap::new();
        for (founder, root) in self.component_of.values() {
            if let Some(root) = root {
                let same = *founder_of.entry(root).or_insert(founder);
                assert_eq!(same, founder, "two components are one contact");
            }
        }
    }

    pub(super) fn components(&self) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut components = BTreeMap::<_, BTreeSet<_>>::new();
        for (&node, &(founder, _)) in &self.component_of {
            components.entry(founder).or_default().insert(node);
        }
        components
    }

    pub(super) fn outcome(&self) -> Outcome {
        let values =
            |members: BTreeSet<usize>| members.iter().map(|&node| self.value(node)).collect();
        let people = self.components().into_iter();
        let verdicts = self.edge_of.iter();
        Outcome {
            people: people
                .map(|(founder, members)| (self.value(founder), values(members)))
                .collect(),
            verdicts: verdicts
                .map(|(edge, place)| (*edge, self.verdicts[place]))
                .collect(),
        }
    }

    /// The outcome of everything resolved at once; its contacts must be those that the parts came to.
    pub(super) fn outcome_at_once(mut self) -> Outcome {
        let parts = self.component_of.clone();
        self.resolve_part((0..self.graph.nodes.len()).collect());
        assert_eq!(self.component_of, parts);
        self.outcome()
    }
}

/// What must not depend on arrival.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whom each founder is with.
    people: BTreeMap<Value, BTreeSet<Value>>,
    /// What became of each edge, and whether it united its ends.
    pub(super) verdicts: BTreeMap<(Value, Value, EdgeKind, Level), (Verdict, bool)>,
}
