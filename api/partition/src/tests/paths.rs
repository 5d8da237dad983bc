//! What holds two identifiers together.

use super::*;
use Kind::{AnonymousId, Email, ExternalId, Phone};

#[test]
fn the_shortest_path_of_live_edges_says_why_and_the_stronger_of_equals() {
    let mut graph = Graph::default();
    let [ann, email, phone] = [
        (ExternalId, "ann"),
        (Email, "a@x.co"),
        (Phone, "+4930901820"),
    ]
    .map(|(kind, value)| graph.node(kind, value));
    let [near, far] = ["near", "far"].map(|value| graph.node(AnonymousId, value));
    let lone = graph.node(AnonymousId, "lone");
    let long = graph.edge(ann, near);
    let to_email = graph.edge(ann, email);
    let to_phone = graph.edge(ann, phone);
    let from_phone = graph.edge(phone, far);
    let from_email = graph.edge(email, far);
    graph.edge(near, far);
    let partition = graph.resolve();
    let why = |a, b| why(&partition, &graph.edges, a, b);
    assert_eq!(why(ann, near), Some(vec![long]));
    assert_eq!(why(ann, far), Some(vec![to_email, from_email]));
    // From the other end too: its edge to the e-mail is stronger than that to the phone, though it is younger.
    assert_eq!(why(far, ann), Some(vec![from_email, to_email]));
    assert_eq!(why(phone, far), Some(vec![from_phone]));
    assert_eq!(why(phone, email), Some(vec![to_phone, to_email]));
    assert_eq!(why(far, far), Some(vec![]));
    assert_eq!(why(ann, lone), None);
}

#[test]
fn a_claim_that_repeats_what_is_proven_explains_nothing() {
    let mut graph = Graph::default();
    let [device, email, ann] = [(AnonymousId, "d"), (Email, "a@x.co"), (ExternalId, "ann")]
        .map(|(kind, value)| graph.node(kind, value));
    let typed = graph.claim(device, email);
    let proven = graph.edge(email, ann);
    let identified = graph.edge(ann, device);
    let partition = graph.resolve();
    assert_eq!(partition.verdicts[typed], Verdict::Live);
    assert_eq!(partition.unions, [proven, identified]);
    assert_eq!(
        why(&partition, &graph.edges, device, email),
        Some(vec![identified, proven])
    );
    // While it alone holds them together, it is why.
    graph.edges[proven].standing = Standing::Retired;
    graph.edges[identified].standing = Standing::Retired;
    let partition = graph.resolve();
    assert_eq!(
        why(&partition, &graph.edges, device, email),
        Some(vec![typed])
    );
}

#[test]
fn dormant_evidence_is_no_reason() {
    let mut graph = Graph::default();
    let [a, b] = ["a", "b"].map(|value| graph.node(AnonymousId, value));
    graph.edge(a, b);
    graph.cannot_link.push((a, b));
    assert_eq!(why(&graph.resolve(), &graph.edges, a, b), None);
}
