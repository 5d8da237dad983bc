use crate::{
    Component, Edge, Kind, Level, Node, Policy, Standing, Stitches, component::components,
    forest::Forest, order::strongest_first,
};

/// Who is one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where each node's component stands among `components`.
    pub component_of: Vec<usize>,
    /// In the order of their founders.
    pub components: Vec<Component>,
    /// What became of each edge.
    pub verdicts: Vec<Verdict>,
    /// The edges, the strongest first: the order in which they were asked.
    pub order: Vec<usize>,
    /// The edges that united two parts, the strongest first: a spanning forest, and so the evidence that a merge rests on.
    pub unions: Vec<usize>,
}

/// What became of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It united its ends, or stronger edges had united them before its turn came.
    Live,
    /// It joins nothing, yet is kept: what keeps it down may end.
    Dormant(Reason),
}

/// Why an edge joins nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It held once.
    Retired,
    /// One of its ends, or the edge itself, is on an exclusion list.
    Blocked,
    /// Somebody said that the two are not one person.
    CannotLink,
    /// An address that several people read belongs to another owner, or the other end may not own one.
    RoleAccount,
    /// The device of several users is with another of them, or the other end may not own one.
    SharedDevice,
    /// Nobody proved to own an address that already belongs to somebody.
    Unverified,
    /// The first, an identifier of one kind, already joins as many of the other kind as it may.
    Directional(Kind, Kind),
    /// Together there would be more identifiers than a component may hold.
    TooLarge,
    /// Together there would be more of this kind than the policy allows.
    Limit(Kind),
}

impl Reason {
    /// Its stable name, without the kinds.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::Blocked => "blocked",
            Self::CannotLink => "cannot_link",
            Self::RoleAccount => "role_account",
            Self::SharedDevice => "shared_device",
            Self::Unverified => "unverified",
            Self::Directional(..) => "directional",
            Self::TooLarge => "too_large",
            Self::Limit(_) => "limit",
        }
    }
}

/// The partition of `nodes` that `edges` ask for and `cannot_link` and `policy` allow.
///
/// Constrained Kruskal: each edge is asked once, in a total order that knows nothing of arrival, and unites its ends unless a rule
/// is against it. The rules, in the order in which they speak; the first that is against it is the edge's [`Reason`]:
///
/// 1. The edge is retired or excluded, or one of its ends is blocked.
/// 2. If its ends are united already, it is live and nothing else is asked.
/// 3. A pair of `cannot_link` would meet.
/// 4. **Leaves.** A role account, and an anonymous id that evidence ties to two user ids or more (a shared device), may unite only
///    while it is alone, and not with another leaf: it hangs on the strongest owner that the other rules let it have, and joins
///    nobody. If evidence proves that owner wrong, it moves.
/// 5. **Unproven addresses.** A claimed edge may unite only while those of its ends that are addresses are alone: who types an
///    address is not joined to its owner. The first to type one that nobody owns has it, until somebody proves better.
/// 6. What the policy forbids: [`Directional`](crate::Directional), then size, so that what follows has few to look at, then
///    [`Limit`](crate::Limit) by kind.
///
/// Rules 4 and 5 ask whether a node is alone *at the edge's turn*, so they depend on the order; since that is fixed by what was
/// observed, so is the answer. A refused edge stays dormant even where weaker edges unite its ends later: it did not do it, and
/// must not seem to explain it. Manual edges come first; of the policy
/// only the size binds them, for a person may know better than a limit that two accounts are one customer's.
///
/// O(e log e) for e edges; where a limit has a window, an edge that would unite costs besides as much as a component may hold.
///
/// # Panics
/// If an edge or a pair of `cannot_link` names a node that is not there.
pub fn resolve(
    nodes: &[Node],
    edges: &[Edge],
    cannot_link: &[(usize, usize)],
    policy: &Policy,
) -> Partition {
    resolve_in(
        &mut Forest::new(nodes, cannot_link, policy),
        nodes,
        edges,
        policy,
    )
}

pub(crate) fn resolve_in(
    forest: &mut Forest,
    nodes: &[Node],
    edges: &[Edge],
    policy: &Policy,
) -> Partition {
    let leaves = leaves(nodes, edges);
    let order = strongest_first(nodes, edges, policy);
    let mut verdicts = vec![Verdict::Live; edges.len()];
    let mut unions = Vec::new();
    for &index in &order {
        match admit(forest, nodes, &leaves, &edges[index]) {
            Ok(Admitted::Unites) => unions.push(index),
            Ok(Admitted::Agrees) => {}
            Err(reason) => verdicts[index] = Verdict::Dormant(reason),
        }
    }
    let (component_of, components) = components(nodes, forest);
    Partition {
        component_of,
        components,
        verdicts,
        order,
        unions,
    }
}

enum Admitted {
    Unites,
    /// With stronger edges.
    Agrees,
}

fn admit(
    forest: &mut Forest,
    nodes: &[Node],
    leaves: &[Option<Reason>],
    edge: &Edge,
) -> Result<Admitted, Reason> {
    counts(nodes, edge)?;
    let (a, b) = (edge.a, edge.b);
    if forest.find(a) == forest.find(b) {
        return Ok(Admitted::Agrees);
    }
    if forest.must_stay_apart(a, b) {
        return Err(Reason::CannotLink);
    }
    match (leaves[a], leaves[b]) {
        (Some(one), Some(other)) => return Err(one.min(other)),
        (Some(leaf), None) if !forest.is_alone(a) => return Err(leaf),
        (None, Some(leaf)) if !forest.is_alone(b) => return Err(leaf),
        _ => {}
    }
    let mut taken = |end: usize| nodes[end].kind.is_address() && !forest.is_alone(end);
    if edge.level == Level::Claimed && (taken(a) || taken(b)) {
        return Err(Reason::Unverified);
    }
    forest.allows(a, b, edge.kind)?;
    forest.unite(a, b, edge.kind);
    Ok(Admitted::Unites)
}

/// Whether `edge` is evidence at all, whatever the others say.
fn counts(nodes: &[Node], edge: &Edge) -> Result<(), Reason> {
    let blocked = |end: usize| nodes[end].stitches == Stitches::Blocked;
    match edge.standing {
        Standing::Retired => Err(Reason::Retired),
        Standing::Excluded => Err(Reason::Blocked),
        Standing::Active if blocked(edge.a) || blocked(edge.b) => Err(Reason::Blocked),
        Standing::Active => Ok(()),
    }
}

/// For each node, why it joins nobody, if so.
fn leaves(nodes: &[Node], edges: &[Edge]) -> Vec<Option<Reason>> {
    let mut leaves: Vec<_> = nodes
        .iter()
        .map(|node| (node.stitches == Stitches::RoleAccount).then_some(Reason::RoleAccount))
        .collect();
    let mut user_of = vec![None; nodes.len()];
    for edge in edges.iter().filter(|edge| counts(nodes, edge).is_ok()) {
        for (device, user) in [(edge.a, edge.b), (edge.b, edge.a)] {
            if (nodes[device].kind, nodes[user].kind) == (Kind::AnonymousId, Kind::ExternalId)
                && *user_of[device].get_or_insert(user) != user
            {
                leaves[device].get_or_insert(Reason::SharedDevice);
            }
        }
    }
    leaves
}
