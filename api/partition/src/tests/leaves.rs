//! Identifiers that join nobody: devices of several users, and addresses that several people read.

use super::*;
use Kind::{AnonymousId, Email, ExternalId, Phone};
use Verdict::{Dormant, Live};

#[test]
fn two_user_ids_on_one_anonymous_id_stay_two_people_and_the_device_goes_with_its_strongest_edge() {
    let mut graph = Graph::default();
    let [device, ann, bob] = [(AnonymousId, "d"), (ExternalId, "ann"), (ExternalId, "bob")]
        .map(|(kind, value)| graph.node(kind, value));
    let email = graph.node(Email, "bob@x.co");
    graph.edge_of(device, ann, EdgeKind::Identify, Level::AssertedByBackend);
    assert_eq!(graph.people(), [vec![device, ann], vec![bob], vec![email]]);
    graph.edge_of(device, bob, EdgeKind::Identify, Level::AssertedByBackend);
    graph.edge(bob, email);
    graph.edge(device, email);
    // The device's strongest edge, that to the e-mail, is the one that counts.
    assert_eq!(graph.people(), [vec![device, bob, email], vec![ann]]);
    assert_eq!(
        graph.verdicts(),
        [Dormant(Reason::SharedDevice), Live, Live, Live]
    );
    // Even if a person may have two ids, a shared device does not make one of two.
    graph.policy.limits.remove(&ExternalId);
    assert_eq!(graph.people(), [vec![device, bob, email], vec![ann]]);
    // Who is known not to own the device leaves it to the next; whom that one is with may not have it either.
    graph.cannot_link.push((device, email));
    assert_eq!(graph.people(), [vec![device, ann], vec![bob, email]]);
    assert_eq!(
        graph.verdicts(),
        [
            Live,
            Dormant(Reason::CannotLink),
            Live,
            Dormant(Reason::CannotLink)
        ]
    );
}

#[test]
fn a_device_is_not_shared_by_evidence_that_does_not_count() {
    let mut graph = Graph::default();
    let [device, ann, bob] = [(AnonymousId, "d"), (ExternalId, "ann"), (ExternalId, "bob")]
        .map(|(kind, value)| graph.node(kind, value));
    let phone = graph.node(Phone, "+4930901820");
    graph.edge(device, bob);
    graph.edge(device, ann);
    graph.edge(device, phone);
    assert_eq!(graph.people(), [vec![device, bob], vec![ann], vec![phone]]);
    let whole = [vec![device, ann, phone], vec![bob]];
    graph.edges[0].standing = Standing::Retired;
    assert_eq!(graph.people(), whole);
    graph.edges[0].standing = Standing::Excluded;
    assert_eq!(graph.people(), whole);
    graph.edges[0].standing = Standing::Active;
    graph.nodes[bob].stitches = Stitches::Blocked;
    assert_eq!(graph.people(), whole);
}

#[test]
fn a_role_account_hangs_on_its_strongest_owner_and_joins_nobody() {
    let mut graph = Graph::default();
    let [role, ann, bob] = [
        (Email, "info@x.co"),
        (ExternalId, "ann"),
        (ExternalId, "bob"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    let device = graph.node(AnonymousId, "d");
    graph.nodes[role].stitches = Stitches::RoleAccount;
    graph.policy.limits.remove(&ExternalId);
    graph.policy.directional.clear();
    graph.edge_of(role, ann, EdgeKind::Identify, Level::AssertedByBackend);
    graph.edge(role, bob);
    graph.edge(role, device);
    assert_eq!(graph.people(), [vec![role, bob], vec![ann], vec![device]]);
    let apart = Dormant(Reason::RoleAccount);
    assert_eq!(graph.verdicts(), [apart, Live, apart]);
    graph.cannot_link.push((bob, role));
    assert_eq!(graph.people(), [vec![role, device], vec![ann], vec![bob]]);
    // Another way round shows that the device is Bob's too: then the account's edge to it agrees.
    graph.cannot_link.clear();
    graph.edge(device, bob);
    assert_eq!(graph.people(), [vec![role, bob, device], vec![ann]]);
    assert_eq!(graph.verdicts(), [apart, Live, Live, Live]);
}

#[test]
fn role_accounts_and_shared_devices_do_not_hang_on_each_other() {
    let mut graph = Graph::default();
    let [one, other] = ["info@x.co", "admin@x.co"].map(|value| graph.node(Email, value));
    let device = graph.node(AnonymousId, "d");
    let second = graph.node(AnonymousId, "e");
    let [ann, bob] = ["ann", "bob"].map(|value| graph.node(ExternalId, value));
    for role in [one, other] {
        graph.nodes[role].stitches = Stitches::RoleAccount;
    }
    graph.edge_of(one, other, EdgeKind::Manual, Level::Confirmed);
    graph.edge_of(one, device, EdgeKind::Manual, Level::Confirmed);
    graph.edge_of(second, device, EdgeKind::Manual, Level::Confirmed);
    for leaf in [device, second] {
        graph.edge(leaf, ann);
        graph.edge(leaf, bob);
    }
    let [role, shared] = [Reason::RoleAccount, Reason::SharedDevice].map(Dormant);
    assert_eq!(
        graph.verdicts(),
        [role, role, shared, Live, shared, Live, shared]
    );
    assert_eq!(
        graph.people(),
        [vec![one], vec![other], vec![device, second, ann], vec![bob]]
    );
}
