//! One rule each.

use super::*;
use Kind::{AnonymousId, DistinctId, Email, ExternalId, Phone};
use Verdict::{Dormant, Live};

#[test]
fn what_is_seen_together_is_one_person_in_whatever_order_it_was_said() {
    let mut graph = Graph::default();
    let [a, b, c] = [(AnonymousId, "a"), (Email, "b@x.co"), (ExternalId, "c")]
        .map(|(kind, value)| graph.node(kind, value));
    let lone = graph.node(Phone, "+4930901820");
    graph.edge(b, c);
    assert_eq!(graph.people(), [vec![a], vec![b, c], vec![lone]]);
    graph.edge(a, b);
    let people = graph.people();
    assert_eq!(people, [vec![a, b, c], vec![lone]]);
    assert_eq!(graph.verdicts(), [Live, Live]);
    graph.edges.reverse();
    assert_eq!(graph.people(), people);
}

#[test]
fn an_address_given_to_somebody_else_follows_once_the_old_evidence_is_retired() {
    let mut graph = Graph::default();
    let [email, old, new] = [
        (Email, "sales@x.co"),
        (ExternalId, "old"),
        (ExternalId, "new"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.edge(email, old);
    graph.edge(new, email);
    assert_eq!(graph.people(), [vec![email, old], vec![new]]);
    assert_eq!(
        graph.verdicts(),
        [Live, Dormant(Reason::Directional(Email, ExternalId))]
    );
    graph.edges[0].standing = Standing::Retired;
    assert_eq!(graph.people(), [vec![email, new], vec![old]]);
    assert_eq!(graph.verdicts(), [Dormant(Reason::Retired), Live]);
}

#[test]
fn who_types_an_address_is_not_joined_to_its_owner() {
    let mut graph = Graph::default();
    let [browser, email, owner] = [(AnonymousId, "b"), (Email, "a@x.co"), (ExternalId, "ann")]
        .map(|(kind, value)| graph.node(kind, value));
    graph.nodes[email].level = Level::Claimed;
    graph.claim(browser, email);
    assert_eq!(graph.people(), [vec![browser, email], vec![owner]]);
    // Later, and from a proof: the address leaves who had only typed it.
    graph.nodes[email].level = Level::Confirmed;
    graph.edge(owner, email);
    assert_eq!(graph.people(), [vec![browser], vec![email, owner]]);
    assert_eq!(graph.verdicts(), [Dormant(Reason::Unverified), Live]);
    // The claim of a backend is worth more than one of a browser.
    graph.edges[0].level = Level::AssertedByBackend;
    assert_eq!(graph.people(), [vec![browser, email, owner]]);
}

#[test]
fn of_two_who_type_an_address_that_nobody_owns_the_first_has_it() {
    let mut graph = Graph::default();
    let [one, other] = ["one", "other"].map(|value| graph.node(AnonymousId, value));
    let phone = graph.node(Phone, "+4930901820");
    graph.claim(one, phone);
    graph.claim(phone, other);
    assert_eq!(graph.people(), [vec![one, phone], vec![other]]);
    graph.edges[0].observed_at = at(2);
    assert_eq!(graph.people(), [vec![one], vec![other, phone]]);
}

#[test]
fn two_claimed_addresses_of_one_event_meet_only_while_both_are_alone() {
    let mut graph = Graph::default();
    let [email, phone, owner] = [(Email, "a@x.co"), (Phone, "+4930901820"), (ExternalId, "o")]
        .map(|(kind, value)| graph.node(kind, value));
    graph.claim(email, phone);
    assert_eq!(graph.people(), [vec![email, phone], vec![owner]]);
    for end in [email, phone] {
        let edge = graph.edge(end, owner);
        assert_eq!(graph.verdicts()[0], Dormant(Reason::Unverified));
        graph.edges.remove(edge);
    }
}

#[test]
fn a_blocked_value_and_an_excluded_edge_join_nothing() {
    let mut graph = Graph::default();
    let [ann, null, bob] = [
        (ExternalId, "ann"),
        (Email, "null@x.co"),
        (Phone, "+4930901820"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.edge(ann, null);
    graph.edge_of(null, bob, EdgeKind::Manual, Level::Confirmed);
    assert_eq!(graph.people(), [vec![ann, null, bob]]);
    graph.nodes[null].stitches = Stitches::Blocked;
    assert_eq!(graph.people(), [vec![ann], vec![null], vec![bob]]);
    assert_eq!(graph.verdicts(), [Dormant(Reason::Blocked); 2]);
    graph.nodes[null].stitches = Stitches::Yes;
    graph.edges[0].standing = Standing::Excluded;
    assert_eq!(graph.people(), [vec![ann], vec![null, bob]]);
    assert_eq!(graph.verdicts(), [Dormant(Reason::Blocked), Live]);
}

#[test]
fn what_somebody_said_is_not_one_person_is_kept_apart_however_many_join_between() {
    let mut graph = Graph::default();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|value| graph.node(AnonymousId, value));
    graph.edge(a, b);
    graph.edge(c, d);
    graph.edge_of(b, c, EdgeKind::Login, Level::AssertedByBackend);
    assert_eq!(graph.people(), [vec![a, b, c, d]]);
    graph.cannot_link.push((d, a));
    assert_eq!(graph.people(), [vec![a, b], vec![c, d]]);
    assert_eq!(graph.verdicts(), [Live, Live, Dormant(Reason::CannotLink)]);
    // Nor does a person's word help: it comes first, but then what follows has to give way.
    graph.edge_of(d, b, EdgeKind::Manual, Level::Confirmed);
    assert_eq!(graph.people(), [vec![a], vec![b, c, d]]);
    // An identifier is never apart from itself.
    graph.cannot_link = vec![(a, a)];
    assert_eq!(graph.people(), [vec![a, b, c, d]]);
}

#[test]
fn the_fourth_confirmed_address_stays_outside_while_claimed_ones_do_not_count() {
    let mut graph = Graph::default();
    let ann = graph.node(ExternalId, "ann");
    for value in ["a@x.co", "b@x.co", "c@x.co", "d@x.co"] {
        let email = graph.node(Email, value);
        graph.edge(ann, email);
    }
    let fourth = Dormant(Reason::Limit(Email));
    assert_eq!(graph.verdicts(), [Live, Live, Live, fourth]);
    assert_eq!(graph.people(), [vec![0, 1, 2, 3], vec![4]]);
    graph.nodes[1].level = Level::AssertedByBackend;
    assert_eq!(graph.verdicts(), [Live; 4]);
}

#[test]
fn a_window_slides() {
    let mut graph = Graph::default();
    let ann = graph.node(ExternalId, "ann");
    let within = Some(TimeDelta::seconds(10));
    let limit = Limit {
        max: 2,
        within,
        from: Level::Claimed,
    };
    graph.policy.limits.insert(DistinctId, limit);
    for (value, second) in [("p", 0), ("q", 7), ("r", 10), ("s", 16), ("t", 17)] {
        let id = graph.node(DistinctId, value);
        graph.nodes[id].first_seen_at = at(second);
        graph.edge(ann, id);
    }
    // p, q; q and r with p ten seconds away; s meets q and r; t meets r alone, seen ten seconds after q.
    let third = Dormant(Reason::Limit(DistinctId));
    assert_eq!(graph.verdicts(), [Live, Live, Live, third, Live]);
    // However late it is found, one that was seen in between is too many.
    graph.nodes[5].first_seen_at = at(5);
    assert_eq!(graph.verdicts(), [Live, Live, Live, third, third]);
}

#[test]
fn a_limit_of_none_keeps_a_kind_alone() {
    for within in [None, Some(TimeDelta::days(1))] {
        let mut graph = Graph::default();
        let [ann, phone] = [(ExternalId, "ann"), (Phone, "+4930901820")]
            .map(|(kind, value)| graph.node(kind, value));
        let limit = Limit {
            max: 0,
            within,
            from: Level::Claimed,
        };
        graph.policy.limits.insert(Phone, limit);
        graph.edge(ann, phone);
        assert_eq!(graph.verdicts(), [Dormant(Reason::Limit(Phone))]);
    }
}

#[test]
fn an_address_joins_one_user_id_even_where_a_person_may_have_several() {
    let mut graph = Graph::default();
    let [email, ann, bob] = [
        (Email, "home@x.co"),
        (ExternalId, "ann"),
        (ExternalId, "bob"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.policy.limits.remove(&ExternalId);
    graph.edge(email, ann);
    graph.edge(bob, email);
    let second = Dormant(Reason::Directional(Email, ExternalId));
    assert_eq!(graph.verdicts(), [Live, second]);
    // What joins them otherwise is no business of the address, which then agrees.
    graph.edge_of(ann, bob, EdgeKind::Manual, Level::Confirmed);
    assert_eq!(graph.people(), [vec![email, ann, bob]]);
    assert_eq!(graph.verdicts(), [Live; 3]);
}

#[test]
fn a_person_may_join_two_users_and_what_they_become_takes_in_no_third() {
    let mut graph = Graph::default();
    let [ann, bob, eve, browser] = [
        (ExternalId, "ann"),
        (ExternalId, "bob"),
        (ExternalId, "eve"),
        (AnonymousId, "browser"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.edge_of(ann, bob, EdgeKind::Manual, Level::Confirmed);
    graph.edge(bob, eve);
    graph.edge(bob, browser);
    assert_eq!(graph.people(), [vec![ann, bob, browser], vec![eve]]);
    let third = Dormant(Reason::Limit(ExternalId));
    assert_eq!(graph.verdicts(), [Live, third, Live]);
}

#[test]
fn a_component_holds_so_many_identifiers_and_no_more() {
    let mut graph = Graph::default();
    graph.policy.max_component = 3;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|value| graph.node(AnonymousId, value));
    graph.edge(a, b);
    graph.edge(c, d);
    graph.edge(b, c);
    assert_eq!(graph.verdicts(), [Live, Live, Dormant(Reason::TooLarge)]);
    graph.policy.max_component = 4;
    assert_eq!(graph.verdicts(), [Live; 3]);
}

#[test]
fn a_refused_edge_stays_dormant_though_weaker_ones_unite_its_ends() {
    let mut graph = Graph::default();
    let [email, ann, device, bob] = [
        (Email, "a@x.co"),
        (ExternalId, "ann"),
        (DistinctId, "d"),
        (ExternalId, "bob"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.policy.limits.remove(&ExternalId);
    graph.edge(email, ann);
    let typed = graph.claim(email, bob);
    graph.claim(ann, device);
    graph.claim(bob, device);
    assert_eq!(graph.people(), [vec![email, ann, device, bob]]);
    assert_eq!(graph.verdicts()[typed], Dormant(Reason::Unverified));
}

#[test]
fn the_strongest_edge_is_asked_first() {
    let mut graph = Graph::default();
    let [ann, bob] = ["ann", "bob"].map(|value| graph.node(ExternalId, value));
    let [email, phone] =
        [(Email, "a@x.co"), (Phone, "+4930901820")].map(|(kind, value)| graph.node(kind, value));
    let [device, last] = ["d", "e"].map(|value| graph.node(AnonymousId, value));
    let asserted = Level::AssertedByBackend;
    // From the weakest to the strongest, each stronger than the one before by one part of the order.
    let kinds = graph.edge_of(device, last, EdgeKind::SameEvent, Level::Claimed);
    let kind = graph.edge_of(last, device, EdgeKind::Identify, Level::Claimed);
    let higher_max = graph.edge_of(phone, last, EdgeKind::SameEvent, Level::Claimed);
    let highest_max = graph.edge_of(last, ann, EdgeKind::SameEvent, Level::Claimed);
    let higher_min = graph.edge_of(phone, email, EdgeKind::SameEvent, Level::Claimed);
    let level = graph.edge_of(device, last, EdgeKind::SameEvent, asserted);
    let confirmed = graph.edge_of(bob, email, EdgeKind::Login, Level::Confirmed);
    let smaller_value = graph.edge_of(email, ann, EdgeKind::Login, Level::Confirmed);
    let earlier = graph.edge_of(bob, email, EdgeKind::SameEvent, Level::Confirmed);
    let manual = graph.edge_of(device, last, EdgeKind::Manual, Level::Claimed);
    for edge in &mut graph.edges {
        edge.observed_at = at(100);
    }
    graph.edges[earlier].observed_at = at(99);
    let mut rising = [
        kinds,
        kind,
        higher_max,
        highest_max,
        higher_min,
        level,
        confirmed,
        smaller_value,
        earlier,
        manual,
    ];
    rising.reverse();
    assert_eq!(graph.resolve().order, rising);
}

#[test]
fn strong_evidence_that_comes_late_takes_from_a_weak_link() {
    let mut graph = Graph::default();
    let [device, ann, email, bob] = [
        (DistinctId, "d"),
        (ExternalId, "ann"),
        (Email, "b@x.co"),
        (ExternalId, "bob"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    graph.edge_of(ann, device, EdgeKind::SameEvent, Level::Claimed);
    assert_eq!(graph.people(), [vec![device, ann], vec![email], vec![bob]]);
    graph.edge(device, email);
    graph.edge(email, bob);
    assert_eq!(graph.people(), [vec![device, email, bob], vec![ann]]);
    assert_eq!(
        graph.verdicts(),
        [Dormant(Reason::Limit(ExternalId)), Live, Live]
    );
}

#[test]
fn a_placeholder_in_every_line_of_an_import_joins_no_two_lines() {
    let mut graph = Graph::default();
    let phone = graph.node(Phone, "+4930901820");
    for line in 0..1_000 {
        let user = graph.node(ExternalId, &format!("user {line}"));
        graph.edge_of(user, phone, EdgeKind::Import, Level::AssertedByBackend);
    }
    let verdicts = graph.verdicts();
    assert_eq!(verdicts[0], Live);
    assert_eq!(verdicts[1..], [Dormant(Reason::Limit(ExternalId)); 999]);
}

#[test]
fn an_edge_from_an_identifier_to_itself_changes_nothing() {
    let mut graph = Graph::default();
    let a = graph.node(Email, "a@x.co");
    graph.claim(a, a);
    assert_eq!(graph.people(), [vec![a]]);
    assert_eq!(graph.resolve().unions, [] as [usize; 0]);
}

#[test]
fn nothing_resolves_to_nobody() {
    let partition = Graph::default().resolve();
    assert!(partition.components.is_empty() && partition.verdicts.is_empty());
}

#[test]
fn each_reason_has_a_name_of_its_own() {
    let all = [
        Reason::Retired,
        Reason::Blocked,
        Reason::CannotLink,
        Reason::RoleAccount,
        Reason::SharedDevice,
        Reason::Unverified,
        Reason::Directional(Email, ExternalId),
        Reason::TooLarge,
        Reason::Limit(Email),
    ];
    assert_eq!(
        all.map(Reason::code),
        [
            "retired",
            "blocked",
            "cannot_link",
            "role_account",
            "shared_device",
            "unverified",
            "directional",
            "too_large",
            "limit"
        ]
    );
}
