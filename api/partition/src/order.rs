use std::cmp::Reverse;

use crate::{Edge, EdgeKind, Node, Policy};

/// Where edges stand among `edges`, the strongest first.
///
/// Manual ones, then by level, by the weaker end's priority, by the stronger end's, and by age, the oldest first; what is still
/// equal, by what the ends and the edge are. No row ids and no places in the input, and not how often an edge was observed either:
/// a count changes with each repetition that arrives, so that one more delivery of an old event would move people.
pub(crate) fn strongest_first(nodes: &[Node], edges: &[Edge], policy: &Policy) -> Vec<usize> {
    let mut order: Vec<_> = edges
        .iter()
        .enumerate()
        .map(|(index, edge)| (weight(nodes, edge, policy), index))
        .collect();
    // Stable: only edges that are equal in everything keep the order in which they were given.
    order.sort_by(|(one, _), (other, _)| one.cmp(other));
    order.into_iter().map(|(_, index)| index).collect()
}

fn weight<'a>(nodes: &'a [Node], edge: &Edge, policy: &Policy) -> impl Ord + use<'a> {
    let ends = [&nodes[edge.a], &nodes[edge.b]];
    let [p, q] = ends.map(|node| policy.priority(node.kind));
    let [x, y] = ends.map(|node| (node.kind, node.value.as_str()));
    (
        edge.kind != EdgeKind::Manual,
        Reverse((edge.level, p.min(q), p.max(q))),
        edge.observed_at,
        (x.min(y), x.max(y)),
        edge.kind,
    )
}
