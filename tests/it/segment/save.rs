//! Segments are saved, changed, filled by hand and deleted.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::on_each_database;

use super::kit::{members, person, save, saved, summed, told};
use crate::{
    contact::ask,
    nudge::kit::{identify, track},
};

const NOBODY: [&str; 0] = [];

#[tokio::test]
async fn a_new_rule_is_asked_of_all_contacts_in_the_background() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for user in ["ann", "bob"] {
            track(&kit, &acme, user, "order", json!({"total": 1})).await?;
        }
        track(&kit, &acme, "cid", "login", json!({})).await?;
        kit.app.worker.drain().await?;
        let rule = json!({"event": {"name": "order", "where": [{"key": "total", "eq": 1}], "within": "P7D"}});
        let made = save(&kit, &acme, json!({"key": "buyers", "description": " Who bought ", "rule": rule})).await;
        let mut segment = made["segment"].clone();
        let id = segment["id"].take();
        assert_eq!(
            segment,
            json!({
                "id": null, "key": "buyers", "name": "buyers", "description": "Who bought", "kind": "RULE", "rule": rule,
                "state": "COMPUTING", "progress": 0.0, "size": 0, "computedAt": null,
            })
        );
        assert_eq!(members(&kit, &acme, "buyers").await, NOBODY);
        kit.advance(TimeDelta::seconds(5));
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "buyers").await, ["ann", "bob"]);
        let query = "{ segment(key: \"buyers\") { state progress computedAt failure } }";
        let live = json!({"state": "LIVE", "progress": 1.0, "computedAt": "2026-01-01T09:00:05Z", "failure": null});
        assert_eq!(ask(&kit, &acme.secret_key, query, json!({})).await["segment"], live);
        assert_eq!(summed(&told(&acme).await?), ["segment.entered buyers computed"; 2]);

        // the name alone: nobody is asked again
        let renamed = save(&kit, &acme, json!({"key": "buyers", "name": "Buyers"})).await;
        assert_eq!(renamed["segment"]["id"], id);
        assert_eq!((&renamed["segment"]["name"], &renamed["segment"]["state"]), (&json!("Buyers"), &json!("LIVE")));
        let same = save(&kit, &acme, json!({"key": "buyers", "rule": rule})).await;
        assert_eq!(same["segment"]["state"], "LIVE");
        assert_eq!(same["segment"]["description"], "Who bought");

        let narrower = json!({"and": [rule, {"identifier": {"kind": "EXTERNAL_ID", "value": {"eq": "bob"}}}]});
        let changed = save(&kit, &acme, json!({"key": "buyers", "rule": narrower})).await;
        assert_eq!(changed["segment"]["state"], "COMPUTING");
        // what happens meanwhile goes by the new rule
        track(&kit, &acme, "ann", "order", json!({"total": 1})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "buyers").await, ["bob"]);
        let told = summed(&told(&acme).await?);
        assert_eq!(told.len(), 3);
        assert!(told[2].starts_with("segment.left buyers"), "{told:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_walk_goes_on_where_it_stopped_over_thousands_of_contacts() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        acme.cx
            .write(async |tx| {
                for n in 0..2_500 {
                    crate::rows::contact(tx, &format!("d{n}")).await?;
                }
                Ok(())
            })
            .await?;
        save(
            &kit,
            &acme,
            json!({"key": "all", "rule": {"event": {"name": "x", "atMost": 0}}}),
        )
        .await;
        let due = api::segment::MODULE.due.unwrap();
        assert_eq!(due(&kit.app.env).await?, 3, "a step a thousand contacts");
        let query = "{ segment(key: \"all\") { state size } }";
        let seen = ask(&kit, &acme.secret_key, query, json!({})).await;
        assert_eq!(seen["segment"], json!({"state": "LIVE", "size": 2500}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_static_segment_holds_who_was_put_into_it_through_merges() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let made = save(&kit, &acme, json!({"key": "beta", "name": "Beta"})).await;
        assert_eq!(made["segment"]["kind"], "STATIC");
        assert_eq!((&made["segment"]["state"], &made["segment"]["rule"]), (&json!("LIVE"), &Value::Null));
        let id = &made["segment"]["id"];
        let change = async |mutation: &str, contacts: &[&str]| {
            let document = format!(
                "mutation($input: SegmentMembersInput!) {{ {mutation}(input: $input) {{ segment {{ size }} userErrors {{ code field }} }} }}"
            );
            let input = json!({"id": id, "contactIds": contacts});
            ask(&kit, &acme.secret_key, &document, json!({ "input": input })).await[mutation].clone()
        };
        let ann = person(&kit, &acme, "ann", json!({})).await;
        let bob = person(&kit, &acme, "bob", json!({})).await;
        let visitor = track(&kit, &acme, "anon-1", "$pageview", json!({})).await?.to_string();
        let added = change("segmentMembersAdd", &[&bob, &visitor]).await;
        assert_eq!(added, json!({"segment": {"size": 2}, "userErrors": []}));
        assert_eq!(change("segmentMembersAdd", &[&bob, &bob]).await, added);
        assert_eq!(summed(&told(&acme).await?), ["segment.entered beta listed"; 2]);

        saved(&kit, &acme, "invited", json!({"segment": {"key": "beta"}})).await?;
        assert_eq!(members(&kit, &acme, "invited").await, ["?", "bob"]);
        identify(&kit, &acme, "ann", "anon-1").await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "beta").await, ["ann", "bob"]);
        assert_eq!(members(&kit, &acme, "invited").await, ["ann", "bob"]);

        let gone = change("segmentMembersRemove", &[&ann, &ann]).await;
        assert_eq!(gone, json!({"segment": {"size": 1}, "userErrors": []}));
        assert_eq!(members(&kit, &acme, "invited").await, ["bob"]);

        let missing = "contact_01h455vb4pex5vsknk084sn02q";
        let refused = json!({"segment": null, "userErrors": [{"code": "NOT_FOUND", "field": "contactIds.1"}]});
        assert_eq!(change("segmentMembersAdd", &[&ann, missing]).await, refused);
        assert_eq!(change("segmentMembersAdd", &[&ann, "ann"]).await, refused);
        let many = vec![ann.as_str(); 501];
        let refused = json!({"segment": null, "userErrors": [{"code": "LIMIT_REACHED", "field": "contactIds"}]});
        assert_eq!(change("segmentMembersAdd", &many).await, refused);
        assert_eq!(members(&kit, &acme, "beta").await, ["bob"]);

        let refused = save(&kit, &acme, json!({"key": "beta", "rule": {"event": {"name": "x"}}})).await;
        assert_eq!((&refused["segment"], &refused["userErrors"][0]["code"]), (&Value::Null, &json!("CONFLICT")));
        let ruled = saved(&kit, &acme, "ruled", json!({"event": {"name": "x"}})).await?;
        let document = "mutation($input: SegmentMembersInput!) { segmentMembersAdd(input: $input) { segment { id } userErrors { code field } } }";
        let input = json!({"input": {"id": ruled, "contactIds": [ann]}});
        let refused = ask(&kit, &acme.secret_key, document, input).await;
        assert_eq!(
            refused["segmentMembersAdd"],
            json!({"segment": null, "userErrors": [{"code": "CONFLICT", "field": "id"}]})
        );
        assert_eq!(members(&kit, &acme, "ruled").await, NOBODY);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn segments_make_no_circle_and_no_long_chain_and_a_named_one_is_kept() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let named = |key: &str| json!({"segment": {"key": key}});
        let first = saved(&kit, &acme, "s1", json!({"event": {"name": "x"}})).await?;
        for at in 2..=5 {
            saved(&kit, &acme, &format!("s{at}"), named(&format!("s{}", at - 1))).await?;
        }
        let circle = save(&kit, &acme, json!({"key": "s1", "rule": {"not": named("s3")}})).await;
        assert_eq!(circle["userErrors"][0]["field"], "rule.not.segment.key");
        assert_eq!(circle["userErrors"][0]["message"], "the rule of s3 leads back to this segment");
        let long = save(&kit, &acme, json!({"key": "s6", "rule": named("s5")})).await;
        assert_eq!(long["userErrors"][0]["code"], "LIMIT_REACHED");
        // a chain grows from below, too
        saved(&kit, &acme, "s0", json!({"event": {"name": "x"}})).await?;
        let long = save(&kit, &acme, json!({"key": "s1", "rule": named("s0")})).await;
        assert_eq!(long["userErrors"][0]["code"], "LIMIT_REACHED");

        let delete = "mutation($id: ID!) { segmentDelete(input: {id: $id}) { deletedId userErrors { code field message } } }";
        let kept = ask(&kit, &acme.secret_key, delete, json!({"id": first})).await;
        assert_eq!(
            kept["segmentDelete"],
            json!({"deletedId": null, "userErrors": [{"code": "CONFLICT", "field": "id", "message": "the segment s1 stands in the rule of s2"}]})
        );
        track(&kit, &acme, "ann", "x", json!({})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "s5").await, ["ann"]);
        saved(&kit, &acme, "s2", json!({"event": {"name": "y"}})).await?;
        assert_eq!(members(&kit, &acme, "s5").await, NOBODY, "a new rule below counts above");
        let gone = ask(&kit, &acme.secret_key, delete, json!({"id": first})).await;
        assert_eq!(gone["segmentDelete"], json!({"deletedId": first, "userErrors": []}));
        assert!(acme.cx.db().find::<entity::segment_member::Entity>().all().await?.iter().all(|row| row.segment_id.to_string() != first));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tenant_has_as_many_segments_as_events_can_be_asked_about() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        save(&kit, &acme, json!({"key": "s0"})).await;
        let first = acme.cx.db().find::<entity::segment::Entity>().one().await?.unwrap();
        acme.cx
            .write(async |tx| {
                let rows = (1..500).map(|at| entity::segment::ActiveModel {
                    id: sea_orm::Set(tx.new_id()),
                    key: sea_orm::Set(format!("s{at}")),
                    ..first.clone().into()
                });
                tx.insert_all(rows.collect(), None).await
            })
            .await?;
        let one_more = save(&kit, &acme, json!({"key": "s500"})).await;
        assert_eq!(
            one_more["userErrors"],
            json!([{"code": "LIMIT_REACHED", "field": "key", "message": "a tenant has at most 500 segments"}])
        );
        let again = save(&kit, &acme, json!({"key": "s499", "name": "Last"})).await;
        assert_eq!(again["segment"]["name"], "Last");
        let query = "{ segments(filter: {name: {eq: \"Last\"}, kind: STATIC}) { totalCount } all: segments(first: 2, filter: {state: LIVE}) { totalCount edges { node { key } } } }";
        let seen = ask(&kit, &acme.secret_key, query, json!({})).await;
        assert_eq!(
            seen,
            json!({"segments": {"totalCount": 1}, "all": {"totalCount": 500, "edges": [{"node": {"key": "s499"}}, {"node": {"key": "s498"}}]}})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn keys_names_and_what_is_missing_are_refused_by_field() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let long = "x".repeat(65);
        for (input, field) in [
            (json!({"key": ""}), "key"),
            (json!({"key": "a b"}), "key"),
            (json!({"key": long}), "key"),
            (json!({"key": "k", "name": " "}), "name"),
            (json!({"key": "k", "name": "x".repeat(201)}), "name"),
            (
                json!({"key": "k", "description": "x".repeat(2001)}),
                "description",
            ),
        ] {
            let refused = save(&kit, &acme, input.clone()).await;
            assert_eq!(refused["segment"], Value::Null, "{input}");
            assert_eq!(
                (
                    &refused["userErrors"][0]["code"],
                    &refused["userErrors"][0]["field"]
                ),
                (&json!("INVALID"), &json!(field)),
                "{input}"
            );
        }
        assert!(
            acme.cx
                .db()
                .find::<entity::segment::Entity>()
                .all()
                .await?
                .is_empty()
        );
        let reader = kit.key(&acme, &["segments:read"]).await?;
        let document = "mutation { segmentSave(input: {key: \"k\"}) { segment { id } } }";
        let refused = kit.gql(&reader, document, json!({})).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
        saved(&kit, &acme, "k", json!({"event": {"name": "x"}})).await?;
        let members = "{ segment(key: \"k\") { key members { totalCount } } }";
        let refused = kit.gql(&reader, members, json!({})).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
        assert_eq!(refused["data"]["segment"], Value::Null);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_of_segments_costs_as_many_statements_as_one() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        track(&kit, &acme, "ann", "x", json!({})).await?;
        saved(&kit, &acme, "s0", json!({"event": {"name": "x"}})).await?;
        let query = "{ segments { edges { node { members(first: 5) { totalCount edges { node { externalId segments { key } } } } sizeHistory(first: 5) { totalCount edges { node { size } } } } } } }";
        let one = kit.statements_of(&acme.secret_key, query, json!({})).await;
        for at in 1..6 {
            saved(&kit, &acme, &format!("s{at}"), json!({"event": {"name": "x"}})).await?;
            track(&kit, &acme, &format!("u{at}"), "x", json!({})).await?;
        }
        kit.app.worker.drain().await?;
        assert_eq!(kit.statements_of(&acme.secret_key, query, json!({})).await, one);
        Ok(())
    })
    .await
}
