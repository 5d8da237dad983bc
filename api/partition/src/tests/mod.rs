use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::*;

mod arrival;
mod cases;
mod components;
mod cost;
mod leaves;
mod paths;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

/// Evidence in the making. Identifiers are confirmed and edges are logins of confirmed worth, unless a test says otherwise.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    cannot_link: Vec<(usize, usize)>,
    policy: Policy,
}

impl Graph {
    /// The n-th, counted from 0, was seen first in second n and has origin n.
    fn node(&mut self, kind: Kind, value: &str) -> usize {
        let n = self.nodes.len();
        self.nodes.push(Node {
            kind,
            value: value.to_owned(),
            level: Level::Confirmed,
            first_seen_at: at(i64::try_from(n).unwrap()),
            origin: Some(origin(n)),
            hold: Hold::default(),
            stitches: Stitches::Yes,
        });
        n
    }

    /// The n-th, counted from 0, was observed in second n.
    fn edge(&mut self, a: usize, b: usize) -> usize {
        self.edge_of(a, b, EdgeKind::Login, Level::Confirmed)
    }

    fn claim(&mut self, a: usize, b: usize) -> usize {
        self.edge_of(a, b, EdgeKind::SameEvent, Level::Claimed)
    }

    fn edge_of(&mut self, a: usize, b: usize, kind: EdgeKind, level: Level) -> usize {
        let n = self.edges.len();
        self.edges.push(Edge {
            a,
            b,
            kind,
            level,
            observed_at: at(i64::try_from(n).unwrap()),
            standing: Standing::Active,
        });
        n
    }

    fn resolve(&self) -> Partition {
        resolve(&self.nodes, &self.edges, &self.cannot_link, &self.policy)
    }

    /// Who is with whom, each by its place, in order.
    fn people(&self) -> Vec<Vec<usize>> {
        let mut people: Vec<Vec<usize>> = self
            .resolve()
            .components
            .into_iter()
            .map(|component| {
                let mut members = component.members;
                members.sort_unstable();
                members
            })
            .collect();
        people.sort();
        people
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.resolve().verdicts
    }
}

fn origin(n: usize) -> Uuid {
    Uuid::from_u128(n as u128)
}
