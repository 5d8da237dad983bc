//! What a resolution costs, in steps of the union-find.

use std::fmt::Write;

use super::*;
use crate::{forest::Forest, resolve::resolve_in};

const EDGES: usize = 10_000;

fn steps(graph: &Graph) -> (usize, Partition) {
    let mut forest = Forest::new(&graph.nodes, &graph.cannot_link, &graph.policy);
    let partition = resolve_in(&mut forest, &graph.nodes, &graph.edges, &graph.policy);
    (forest.steps, partition)
}

fn unlimited() -> Graph {
    let mut graph = Graph::default();
    graph.policy.limits.clear();
    graph.policy.max_component = usize::MAX;
    graph
}

fn devices(graph: &mut Graph, count: usize) -> Vec<usize> {
    let mut name = String::new();
    (0..count)
        .map(|n| {
            name.clear();
            let _ = write!(name, "device {n}");
            graph.node(Kind::AnonymousId, &name)
        })
        .collect()
}

#[test]
fn a_chain_of_ten_thousand_edges_costs_a_few_steps_each() {
    let mut graph = unlimited();
    let chain = devices(&mut graph, EDGES + 1);
    for pair in chain.windows(2) {
        graph.edge(pair[0], pair[1]);
    }
    let (steps, partition) = steps(&graph);
    assert_eq!(partition.components.len(), 1);
    assert!(steps < 10 * EDGES, "{steps}");
}

#[test]
fn parts_that_double_cost_a_few_steps_an_edge() {
    let mut graph = unlimited();
    let nodes = devices(&mut graph, EDGES + 1);
    let mut width = 1;
    while width < nodes.len() {
        for start in (0..nodes.len() - width).step_by(2 * width) {
            graph.edge(nodes[start], nodes[start + width]);
        }
        width *= 2;
    }
    assert_eq!(graph.edges.len(), EDGES);
    let (steps, partition) = steps(&graph);
    assert_eq!(partition.components.len(), 1);
    assert!(steps < 10 * EDGES, "{steps}");
}

#[test]
fn ten_thousand_refused_edges_between_two_large_parts_cost_a_few_steps_each() {
    let mut graph = unlimited();
    let [one, other] = [EDGES / 2, EDGES / 2].map(|count| devices(&mut graph, count));
    for part in [&one, &other] {
        for &node in &part[1..] {
            graph.edge(part[0], node);
        }
    }
    for (&a, &b) in one.iter().zip(&other) {
        graph.edge_of(a, b, EdgeKind::Login, Level::AssertedByBackend);
        graph.cannot_link.push((a, b));
    }
    let (steps, partition) = steps(&graph);
    assert_eq!(partition.components.len(), 2);
    assert!(steps < 10 * graph.edges.len(), "{steps}");
}

#[test]
fn those_who_must_stay_apart_from_one_are_not_listed_anew_at_each_merge() {
    let mut graph = unlimited();
    let hub = devices(&mut graph, 1)[0];
    let chain = devices(&mut graph, EDGES);
    for &node in &chain {
        graph.cannot_link.push((hub, node));
    }
    for pair in chain.windows(2) {
        graph.edge(pair[0], pair[1]);
    }
    let (steps, partition) = steps(&graph);
    assert_eq!(partition.components.len(), 2);
    assert!(steps < 10 * EDGES, "{steps}");
}
