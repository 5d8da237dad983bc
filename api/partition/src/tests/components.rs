//! Who founds a component, and which contact it is.

use super::*;
use Kind::{AnonymousId, Email, ExternalId, Phone};

fn founders_and_roots(graph: &Graph) -> Vec<(usize, Option<Uuid>)> {
    let components = graph.resolve().components;
    components
        .iter()
        .map(|component| (component.founder, component.root))
        .collect()
}

#[test]
fn a_user_id_founds_a_component_then_what_was_seen_first_then_kind_and_value() {
    let mut graph = Graph::default();
    let nodes = [
        (AnonymousId, "d"),
        (Email, "b@x.co"),
        (Email, "a@x.co"),
        (Phone, "+4930901820"),
        (ExternalId, "ann"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    for pair in nodes.windows(2) {
        graph.edge(pair[0], pair[1]);
    }
    for node in &mut graph.nodes[1..=3] {
        node.first_seen_at = at(-1);
    }
    let components = graph.resolve().components;
    assert_eq!(components.len(), 1);
    assert_eq!(components[0].members, [4, 2, 1, 3, 0]);
    assert_eq!(
        (components[0].founder, components[0].root),
        (4, Some(origin(4)))
    );
}

#[test]
fn a_contact_keeps_its_id_when_an_address_is_confirmed() {
    let mut graph = Graph::default();
    let [device, email] =
        [(AnonymousId, "d"), (Email, "a@x.co")].map(|(kind, value)| graph.node(kind, value));
    graph.nodes[email].level = Level::Claimed;
    graph.claim(device, email);
    let before = founders_and_roots(&graph);
    assert_eq!(before, [(device, Some(origin(device)))]);
    graph.nodes[email].level = Level::Confirmed;
    assert_eq!(founders_and_roots(&graph), before);
}

#[test]
fn a_contact_keeps_its_id_when_its_user_id_becomes_known() {
    let mut graph = Graph::default();
    let [device, user] =
        [(AnonymousId, "d"), (ExternalId, "ann")].map(|(kind, value)| graph.node(kind, value));
    graph.edge(device, user);
    graph.nodes[user].origin = None;
    assert_eq!(founders_and_roots(&graph), [(user, Some(origin(device)))]);
}

#[test]
fn after_a_split_the_better_founder_keeps_the_contact() {
    let mut graph = Graph::default();
    let [ann, bob, eve, dan] =
        ["ann", "bob", "eve", "dan"].map(|value| graph.node(ExternalId, value));
    let [device, email] =
        [(AnonymousId, "d"), (Email, "a@x.co")].map(|(kind, value)| graph.node(kind, value));
    graph.edge(bob, device);
    graph.edge(eve, email);
    for node in [bob, eve] {
        graph.nodes[node].origin = Some(origin(ann));
    }
    graph.nodes[device].origin = Some(origin(dan));
    // Bob's second choice is what Dan has by right, so that Bob is left with none.
    assert_eq!(
        founders_and_roots(&graph),
        [
            (ann, Some(origin(ann))),
            (bob, None),
            (eve, Some(origin(email))),
            (dan, Some(origin(dan))),
        ]
    );
    // Nobody goes on standing for a contact that another is now.
    let adopted = graph
        .resolve()
        .components
        .into_iter()
        .map(|component| component.adopted);
    assert_eq!(
        adopted.collect::<Vec<_>>(),
        [vec![], vec![bob, device], vec![eve], vec![]]
    );
}

#[test]
fn an_origin_that_two_components_share_stays_with_the_better_one() {
    let mut graph = Graph::default();
    let [ann, bob, one, other, null] = [
        (ExternalId, "ann"),
        (ExternalId, "bob"),
        (AnonymousId, "one"),
        (AnonymousId, "other"),
        (AnonymousId, "unknown"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.edge(ann, one);
    graph.edge(bob, other);
    graph.nodes[other].origin = Some(origin(one));
    graph.nodes[null].origin = Some(origin(one));
    graph.nodes[null].stitches = Stitches::Blocked;
    let components = graph.resolve().components;
    let adopted: Vec<_> = components
        .iter()
        .map(|component| component.adopted.clone())
        .collect();
    assert_eq!(adopted, [vec![], vec![other], vec![null]]);
    assert_eq!(components[1].root, Some(origin(bob)));
    assert_eq!(components[2].root, None);
}

#[test]
fn who_was_never_attached_needs_a_new_contact() {
    let mut graph = Graph::default();
    let ann = graph.node(ExternalId, "ann");
    graph.nodes[ann].origin = None;
    assert_eq!(founders_and_roots(&graph), [(ann, None)]);
    assert_eq!(graph.resolve().components[0].adopted, [ann]);
}

#[test]
fn a_blocked_value_takes_nobodys_contact_along() {
    let mut graph = Graph::default();
    let [null, device] =
        [(ExternalId, "n/a"), (AnonymousId, "d")].map(|(kind, value)| graph.node(kind, value));
    graph.nodes[device].origin = Some(origin(null));
    graph.edge(null, device);
    assert_eq!(founders_and_roots(&graph), [(null, Some(origin(null)))]);
    graph.nodes[null].stitches = Stitches::Blocked;
    assert_eq!(
        founders_and_roots(&graph),
        [(device, Some(origin(null))), (null, None)]
    );
}

#[test]
fn a_role_account_founds_only_what_it_is_alone_in() {
    let mut graph = Graph::default();
    let [role, device] =
        [(Email, "info@x.co"), (AnonymousId, "d")].map(|(kind, value)| graph.node(kind, value));
    graph.nodes[role].stitches = Stitches::RoleAccount;
    assert_eq!(
        founders_and_roots(&graph),
        [(device, Some(origin(device))), (role, Some(origin(role)))]
    );
    graph.edge(role, device);
    assert_eq!(founders_and_roots(&graph), [(device, Some(origin(device)))]);
}

#[test]
fn each_node_knows_the_place_of_its_component() {
    let mut graph = Graph::default();
    let [a, b, c] = ["a", "b", "c"].map(|value| graph.node(AnonymousId, value));
    let user = graph.node(ExternalId, "ann");
    graph.edge(a, c);
    graph.edge(b, user);
    assert_eq!(graph.resolve().component_of, [1, 0, 1, 0]);
}
