use std::collections::{HashSet, VecDeque};

use crate::{Edge, Level, Partition, Verdict};

/// The fewest edges that hold nodes `a` and `b` together, in the order in which they lead from `a` to `b`; `None` if nothing does.
///
/// Of paths of the same length, the one whose edges are stronger from `a` on. A claimed edge that only repeats what stronger ones
/// said is live, yet never part of the answer: alone it might not have united anybody.
pub fn why(partition: &Partition, edges: &[Edge], a: usize, b: usize) -> Option<Vec<usize>> {
    if partition.component_of[a] != partition.component_of[b] {
        return None;
    }
    let unions: HashSet<usize> = partition.unions.iter().copied().collect();
    let explains = |index: &usize| {
        unions.contains(index)
            || partition.verdicts[*index] == Verdict::Live && edges[*index].level > Level::Claimed
    };
    let mut edges_of = vec![Vec::new(); partition.component_of.len()];
    for index in partition.order.iter().copied().filter(explains) {
        let edge = &edges[index];
        edges_of[edge.a].push((index, edge.b));
        edges_of[edge.b].push((index, edge.a));
    }
    // The first path that a search finds is the one whose edges come first, as long as it tries them in order.
    let mut reached_by = vec![None; edges_of.len()];
    let mut queue = VecDeque::from([a]);
    while let Some(node) = queue.pop_front().filter(|&node| node != b) {
        for &(index, next) in &edges_of[node] {
            if next != a && reached_by[next].is_none() {
                reached_by[next] = Some((index, node));
                queue.push_back(next);
            }
        }
    }
    let mut path = Vec::new();
    let mut node = b;
    while let Some((index, previous)) = reached_by[node] {
        path.push(index);
        node = previous;
    }
    path.reverse();
    Some(path)
}
