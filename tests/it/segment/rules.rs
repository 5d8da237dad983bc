//! Whom each kind of rule holds of, and why.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::kit::{members, person, save, saved};
use crate::{contact::ask, nudge::kit::track};

/// ann (pro, 3 orders, the last today), bob (free, 1 order 10 days ago), cid (no trait, no event but a visit).
async fn people(kit: &Kit) -> anyhow::Result<Tenant> {
    let acme = kit.tenant("acme").await?;
    track(
        kit,
        &acme,
        "bob",
        "order",
        json!({"total": 5, "express": false, "shop": "Oslo"}),
    )
    .await?;
    kit.advance(TimeDelta::days(10));
    person(
        kit,
        &acme,
        "ann",
        json!({"plan": "pro", "age": 40, "email": "ann@example.com"}),
    )
    .await;
    person(kit, &acme, "bob", json!({"plan": "free", "age": 17})).await;
    for total in [10, 20, 30] {
        track(
            kit,
            &acme,
            "ann",
            "order",
            json!({"total": total, "express": true, "$shop": "Bergen"}),
        )
        .await?;
    }
    track(kit, &acme, "cid", "$pageview", json!({})).await?;
    Ok(acme)
}

async fn estimate(kit: &Kit, tenant: &Tenant, rule: &Value) -> Vec<String> {
    let document = "query($rule: SegmentRuleInput!) { segmentEstimate(rule: $rule) { count sample { externalId } } }";
    let data = ask(kit, &tenant.secret_key, document, json!({ "rule": rule })).await;
    let estimate = &data["segmentEstimate"];
    let mut ids: Vec<String> = estimate["sample"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|contact| {
            contact["externalId"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    ids.sort();
    assert_eq!(estimate["count"], json!(ids.len()));
    ids
}

#[tokio::test]
async fn each_kind_of_rule_holds_of_whom_it_says() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = people(&kit).await?;
        saved(&kit, &acme, "buyers", json!({"event": {"name": "order"}})).await?;
        let order = |more: Value| {
            let mut event = json!({"name": "order"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "event": event })
        };
        let with = |property: Value| order(json!({"where": [property]}));
        let last = |more: Value| {
            let mut event = json!({"name": "order"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        let ago = "2026-01-05T00:00:00Z";
        for (rule, expected) in [
            (json!({"trait": {"key": "plan", "eq": "pro"}}), "ann"),
            (json!({"trait": {"key": "plan", "ne": "pro"}}), "bob cid"),
            (json!({"trait": {"key": "plan", "in": ["pro", "free"]}}), "ann bob"),
            (json!({"trait": {"key": "plan", "exists": false}}), "cid"),
            (json!({"trait": {"key": "age", "gte": 18}}), "ann"),
            (json!({"identifier": {"kind": "EMAIL"}}), "ann"),
            (json!({"identifier": {"kind": "EMAIL", "value": {"contains": "@EXAMPLE"}}}), "ann"),
            (json!({"identifier": {"kind": "EMAIL", "verification": "CONFIRMED"}}), ""),
            (json!({"identifier": {"kind": "EMAIL", "verification": "ASSERTED_BY_BACKEND"}}), "ann"),
            (json!({"identifier": {"kind": "EXTERNAL_ID", "value": {"in": ["bob", "cid"]}}}), "bob cid"),
            (order(json!({})), "ann bob"),
            (order(json!({"atLeast": 3})), "ann"),
            (order(json!({"atLeast": 4})), ""),
            (order(json!({"atMost": 1})), "bob cid"),
            (order(json!({"atMost": 0})), "cid"),
            (order(json!({"atLeast": 1, "atMost": 2})), "bob"),
            (order(json!({"within": "P7D"})), "ann"),
            (order(json!({"within": "P7D", "atMost": 0})), "bob cid"),
            (order(json!({"within": "P10D"})), "ann"),
            (order(json!({"within": "P11D"})), "ann bob"),
            (order(json!({"before": ago})), "bob"),
            (order(json!({"after": ago, "atLeast": 3})), "ann"),
            (with(json!({"key": "total", "eq": 10})), "ann"),
            (with(json!({"key": "total", "gt": 4, "lt": 6})), "bob"),
            (with(json!({"key": "total", "lte": 10, "gte": 10})), "ann"),
            (with(json!({"key": "total", "eq": "10"})), ""),
            (with(json!({"key": "total", "ne": 5})), "ann"),
            (with(json!({"key": "express", "eq": true})), "ann"),
            (with(json!({"key": "express", "eq": false})), "bob"),
            (with(json!({"key": "express", "eq": "true"})), ""),
            (with(json!({"key": "$shop", "eq": "Bergen"})), "ann"),
            (with(json!({"key": "$shop", "in": ["Bergen", 4]})), "ann"),
            (with(json!({"key": "$shop", "notIn": ["Bergen"]})), "bob"),
            (with(json!({"key": "$shop", "startsWith": "berg"})), "ann"),
            (with(json!({"key": "shop", "contains": "SL"})), "bob"),
            (with(json!({"key": "shop", "exists": true})), "bob"),
            (with(json!({"key": "shop", "exists": false})), "ann"),
            (json!({"firstEvent": last(json!({"before": ago}))}), "bob"),
            (json!({"firstEvent": last(json!({"after": ago}))}), "ann"),
            (json!({"firstEvent": last(json!({"within": "P7D"}))}), "ann"),
            (json!({"lastEvent": last(json!({"before": ago}))}), "bob"),
            (json!({"lastEvent": last(json!({"within": "P30D", "after": ago}))}), "ann"),
            (json!({"not": {"lastEvent": last(json!({"within": "P7D"}))}}), "bob cid"),
            (json!({"segment": {"key": "buyers"}}), "ann bob"),
            (json!({"not": {"segment": {"key": "buyers"}}}), "cid"),
            (json!({"not": {"not": order(json!({"atLeast": 3}))}}), "ann"),
            (json!({"not": {"or": [order(json!({"atLeast": 3})), {"trait": {"key": "plan", "exists": false}}]}}), "bob"),
            (json!({"and": [order(json!({})), {"not": {"trait": {"key": "plan", "eq": "pro"}}}]}), "bob"),
            (json!({"or": [{"trait": {"key": "plan", "eq": "pro"}}, order(json!({"atMost": 0}))]}), "ann cid"),
        ] {
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(estimate(&kit, &acme, &rule).await, expected, "{rule}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_nudge_did_with_a_contact_can_be_asked_for() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        crate::nudge::kit::published(&kit, &acme, "tour", json!({})).await?;
        let state = |state: &str, more: Value| {
            let mut rule = json!({"state": state, "key": "tour"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "state": rule })
        };
        saved(&kit, &acme, "offered", state("nudge.offered", json!({}))).await?;
        saved(&kit, &acme, "seen", state("nudge.displayed", json!({"within": "P1D"}))).await?;
        let unseen = state("nudge.displayed", json!({"atMost": 0}));
        saved(&kit, &acme, "unseen", unseen).await?;
        let ann = track(&kit, &acme, "ann", "signup", json!({})).await?;
        track(&kit, &acme, "bob", "login", json!({})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "offered").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "unseen").await, ["ann", "bob"]);

        let token = kit.contact_token(&acme, ann).await?;
        let open = kit.gql(&token, "{ me { nudges { edges { node { id } } } } }", json!({})).await;
        let delivery = &open["data"]["me"]["nudges"]["edges"][0]["node"]["id"];
        let record = "mutation($d: ID!) { nudgeInteractionsRecord(input: {interactions: [{deliveryId: $d, kind: DISPLAYED, clientId: \"1\", at: \"2026-01-01T09:00:00Z\"}]}) { userErrors { message } } }";
        let recorded = kit.gql(&token, record, json!({"d": delivery})).await;
        assert_eq!(recorded["data"]["nudgeInteractionsRecord"]["userErrors"], json!([]), "{recorded}");
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "seen").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "unseen").await, ["bob"]);
        kit.advance(TimeDelta::days(1));
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "seen").await, [""; 0]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_explanation_tells_each_part_with_what_it_saw() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = people(&kit).await?;
        saved(&kit, &acme, "buyers", json!({"event": {"name": "order"}})).await?;
        let rule = json!({"and": [
            {"event": {"name": "order", "within": "P7D", "atLeast": 2}},
            {"or": [{"trait": {"key": "plan", "eq": "free"}}, {"not": {"segment": {"key": "buyers"}}}]},
            {"identifier": {"kind": "EMAIL"}},
        ]});
        let id = saved(&kit, &acme, "odd", rule).await?;
        let ann = person(&kit, &acme, "ann", json!({})).await;
        let document = "query($id: ID!, $contact: ID!) { segmentExplain(id: $id, contactId: $contact) {
            segment { key } contact { externalId } member enteredAt nodes { path kind holds seen } } }";
        let data = ask(&kit, &acme.secret_key, document, json!({"id": id, "contact": ann})).await;
        let now = "2026-01-11T09:00:00Z";
        let node = |path: &str, kind: &str, holds: bool, seen: Value| json!({"path": path, "kind": kind, "holds": holds, "seen": seen});
        assert_eq!(
            data["segmentExplain"],
            json!({
                "segment": {"key": "odd"}, "contact": {"externalId": "ann"}, "member": false, "enteredAt": null,
                "nodes": [
                    node("", "and", false, Value::Null),
                    node("and.0", "event", true, json!({"times": 3, "first": now, "last": now})),
                    node("and.1", "or", false, Value::Null),
                    node("and.1.or.0", "trait", false, json!({"value": "pro"})),
                    node("and.1.or.1", "not", false, Value::Null),
                    node("and.1.or.1.not", "segment", true, json!({"since": now})),
                    node("and.2", "identifier", true, json!({"values": [{"value": "ann@example.com", "verification": "ASSERTED_BY_BACKEND"}]})),
                ],
            })
        );
        let buyers = "query($contact: ID!) { segmentExplain(key: \"buyers\", contactId: $contact) { member enteredAt nodes { holds rule } } }";
        let data = ask(&kit, &acme.secret_key, buyers, json!({"contact": ann})).await;
        assert_eq!(
            data["segmentExplain"],
            json!({"member": true, "enteredAt": now, "nodes": [{"holds": true, "rule": {"event": {"name": "order"}}}]})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rule_that_is_not_fit_is_refused_by_its_place_and_nothing_is_saved() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let event = |more: Value| {
            let mut event = json!({"name": "x"});
            event
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({ "event": event })
        };
        let nested =
            |depth: usize| (1..depth).fold(event(json!({})), |rule, _| json!({"not": rule}));
        for (rule, code, field) in [
            (json!({"and": []}), "INVALID", "rule.and"),
            (
                json!({"or": [event(json!({})), {"event": {"name": ""}}]}),
                "INVALID",
                "rule.or.1.event.name",
            ),
            (
                json!({"trait": {"key": "plan"}}),
                "INVALID",
                "rule.trait.key",
            ),
            (
                json!({"not": {"trait": {"key": "plan", "eq": [1]}}}),
                "INVALID",
                "rule.not.trait",
            ),
            (
                json!({"identifier": {"kind": "EMAIL", "value": {}}}),
                "INVALID",
                "rule.identifier.value",
            ),
            (
                event(json!({"atLeast": 0})),
                "INVALID",
                "rule.event.atLeast",
            ),
            (
                event(json!({"atMost": 1001})),
                "INVALID",
                "rule.event.atMost",
            ),
            (
                event(json!({"atLeast": 3, "atMost": 2})),
                "INVALID",
                "rule.event.atLeast",
            ),
            (
                event(json!({"within": "PT0S"})),
                "INVALID",
                "rule.event.within",
            ),
            (
                event(json!({"where": [{"key": "a\"b", "eq": 1}]})),
                "INVALID",
                "rule.event.where.0.key",
            ),
            (
                event(json!({"where": [{"key": "a", "eq": 1}, {"key": "b"}]})),
                "INVALID",
                "rule.event.where.1.key",
            ),
            (
                event(json!({"where": [{"key": "a", "eq": {"b": 1}}]})),
                "INVALID",
                "rule.event.where.0.eq",
            ),
            (
                event(json!({"where": vec![json!({"key": "a", "eq": 1}); 11]})),
                "LIMIT_REACHED",
                "rule.event.where",
            ),
            (
                json!({"firstEvent": {"name": "x"}}),
                "INVALID",
                "rule.firstEvent.name",
            ),
            (
                json!({"state": {"state": "nudge.forgotten", "key": "tour"}}),
                "INVALID",
                "rule.state.state",
            ),
            (
                json!({"segment": {"key": "none"}}),
                "NOT_FOUND",
                "rule.segment.key",
            ),
            (
                json!({"and": [{"segment": {"key": "itself"}}]}),
                "INVALID",
                "rule.and.0.segment.key",
            ),
            (
                nested(7),
                "LIMIT_REACHED",
                "rule.not.not.not.not.not.not.event",
            ),
            (
                json!({"or": vec![event(json!({})); 50]}),
                "LIMIT_REACHED",
                "rule.or.49.event",
            ),
        ] {
            let refused = save(&kit, &acme, json!({"key": "itself", "rule": rule})).await;
            assert_eq!(refused["segment"], Value::Null, "{rule}");
            let error = &refused["userErrors"][0];
            assert_eq!(
                (&error["code"], &error["field"]),
                (&json!(code), &json!(field)),
                "{rule}: {refused}"
            );
        }
        for (rule, message) in [
            (nested(7), "rules nest at most 6 deep"),
            (
                json!({"trait": {"key": "plan", "eq": [1]}}),
                "a trait is compared with a text, a number or a boolean",
            ),
        ] {
            let document =
                "query($rule: SegmentRuleInput!) { segmentEstimate(rule: $rule) { count } }";
            let refused = kit
                .gql(&acme.secret_key, document, json!({ "rule": rule }))
                .await;
            assert_eq!(refused["errors"][0]["message"], message, "{refused}");
            assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        }
        assert!(
            acme.cx
                .db()
                .find::<entity::segment::Entity>()
                .all()
                .await?
                .is_empty()
        );
        assert!(
            acme.cx
                .db()
                .find::<entity::segment_trigger::Entity>()
                .all()
                .await?
                .is_empty()
        );
        let fit = save(&kit, &acme, json!({"key": "itself", "rule": nested(6)})).await;
        assert_eq!(fit["userErrors"], json!([]));
        let fit = save(
            &kit,
            &acme,
            json!({"key": "wide", "rule": {"or": vec![event(json!({})); 49]}}),
        )
        .await;
        assert_eq!(fit["userErrors"], json!([]));
        Ok(())
    })
    .await
}
