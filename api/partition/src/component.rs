use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{Hold, Kind, Node, Stitches, forest::Forest};

/// One person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// In the order in which they may found it.
    pub members: Vec<usize>,
    /// The best of them: one that stitches rather than a role account, then a user id, then the one that was seen first, then by
    /// kind and value. Neither arrival nor level has a say: a living contact must not change its public id because an address
    /// of its was confirmed.
    pub founder: usize,
    /// The contact that the component is. `None` if it needs a new one, or if its founder is blocked.
    ///
    /// The origin of the best of those members that hold one most firmly. Of components that would be the same contact, after a
    /// split, the one with the better founder is it; the others, in the order of their founders, are the contact of their next best member that no
    /// component is.
    pub root: Option<Uuid>,
    /// The members whose origin is to become the root: those that had none, and those whose origin now stands for another
    /// component, first of all that of which it is the root. Of a component whose founder is blocked: to become `None`.
    ///
    /// So no two components share an origin, which they could both come to be once evidence no longer ties them.
    pub adopted: Vec<usize>,
}

/// Each node's component, and the components, in the order of their founders.
pub(crate) fn components(nodes: &[Node], forest: &mut Forest) -> (Vec<usize>, Vec<Component>) {
    let mut by_merit: Vec<usize> = (0..nodes.len()).collect();
    by_merit.sort_by(|&one, &other| merit(&nodes[one]).cmp(&merit(&nodes[other])));
    let mut components: Vec<Component> = Vec::new();
    let mut at_root = vec![None; nodes.len()];
    let mut component_of = vec![0; nodes.len()];
    for node in by_merit {
        let place = *at_root[forest.find(node)].get_or_insert_with(|| {
            components.push(Component {
                members: Vec::new(),
                founder: node,
                root: None,
                adopted: Vec::new(),
            });
            components.len() - 1
        });
        components[place].members.push(node);
        component_of[node] = place;
    }
    assign_roots(nodes, &mut components);
    adopt(nodes, &mut components);
    (component_of, components)
}

/// The smaller, the better.
fn merit(node: &Node) -> impl Ord + use<'_> {
    (
        node.stitches,
        node.kind != Kind::ExternalId,
        node.first_seen_at,
        node.kind,
        node.value.as_str(),
    )
}

/// First choices go before second ones: a component that keeps its contact never loses it to one that has to look for another.
fn assign_roots(nodes: &[Node], components: &mut [Component]) {
    let mut taken = HashSet::new();
    let stands_for_somebody =
        |component: &&mut Component| nodes[component.founder].stitches != Stitches::Blocked;
    for hold in [Hold::User, Hold::Namesake, Hold::Loose] {
        for component in components.iter_mut().filter(stands_for_somebody) {
            if component.root.is_none() {
                let mut origins = component
                    .members
                    .iter()
                    .filter(|&&node| nodes[node].hold == hold)
                    .filter_map(|&node| nodes[node].origin);
                component.root = origins.next().filter(|origin| taken.insert(*origin));
            }
        }
    }
    for component in components.iter_mut().filter(stands_for_somebody) {
        if component.root.is_none() {
            let mut origins = component
                .members
                .iter()
                .filter_map(|&node| nodes[node].origin);
            component.root = origins.find(|origin| taken.insert(*origin));
        }
    }
}

fn adopt(nodes: &[Node], components: &mut [Component]) {
    let roots = components.iter().enumerate();
    let mut owner_of: HashMap<Uuid, usize> = roots
        .filter_map(|(place, component)| Some((component.root?, place)))
        .collect();
    for (place, component) in components.iter_mut().enumerate() {
        let blocked = nodes[component.founder].stitches == Stitches::Blocked;
        let mut is_new = |node: &usize| match nodes[*node].origin {
            Some(origin) => *owner_of.entry(origin).or_insert(place) != place,
            None => !blocked,
        };
        component.adopted = component
            .members
            .iter()
            .copied()
            .filter(|node| is_new(node))
            .collect();
    }
}
