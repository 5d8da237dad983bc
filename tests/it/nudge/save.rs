//! Drafts, publishing and archiving.

use serde_json::{Value, json};
use tests::on_each_database;

use super::kit::{
    Ear, answer, archive, deliveries, draft, events, publish, published, rows, save, track,
};

#[tokio::test]
async fn a_draft_changes_until_it_is_published_and_then_a_new_one_begins() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let titled = |title: &str| json!({"content": {"title": title, "body": "b"}});

        let first = save(&kit, &acme, draft("tour", titled("one"))).await;
        assert_eq!(first["userErrors"], json!([]));
        assert_eq!(first["nudge"]["name"], "tour");
        assert_eq!(first["nudge"]["draftVersion"], json!({"number": 1, "content": {"title": "one"}}));
        assert_eq!(first["nudge"]["liveVersion"], Value::Null);
        let id = first["nudge"]["id"].as_str().unwrap();

        let mut again = draft("tour", titled("two"));
        again["name"] = json!(" The tour ");
        let second = save(&kit, &acme, again).await;
        assert_eq!(second["nudge"]["id"], id);
        assert_eq!(second["nudge"]["name"], "The tour");
        assert_eq!(second["nudge"]["draftVersion"], json!({"number": 1, "content": {"title": "two"}}));

        let live = publish(&kit, &acme, id).await;
        assert_eq!(live["nudge"]["liveVersion"], json!({"number": 1, "publishedAt": "2026-01-01T09:00:00Z"}));
        assert_eq!(live["nudge"]["draftVersion"], Value::Null);
        let twice = publish(&kit, &acme, id).await;
        assert_eq!(twice["nudge"], Value::Null);
        assert_eq!(twice["userErrors"][0]["code"], "CONFLICT");

        // by id, and without a key
        let mut third = draft("tour", titled("three"));
        third.as_object_mut().unwrap().remove("key");
        third["id"] = json!(id);
        let third = save(&kit, &acme, third).await;
        assert_eq!(third["nudge"]["name"], "The tour");
        assert_eq!(third["nudge"]["draftVersion"], json!({"number": 2, "content": {"title": "three"}}));
        assert_eq!(third["nudge"]["liveVersion"], json!({"number": 1, "content": {"title": "two"}}));

        let live = publish(&kit, &acme, id).await;
        assert_eq!(live["nudge"]["liveVersion"]["number"], 2);
        let query = "query ($id: ID!) { nudge(id: $id) { versions { number content { title } publishedAt } } }";
        let seen = kit.gql(&acme.secret_key, query, json!({"id": id})).await;
        let at = "2026-01-01T09:00:00Z";
        assert_eq!(
            seen["data"]["nudge"]["versions"],
            json!([
                {"number": 2, "content": {"title": "three"}, "publishedAt": at},
                {"number": 1, "content": {"title": "two"}, "publishedAt": at},
            ])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_version_is_shown_as_it_was_given() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let input = draft(
            "plans",
            json!({
                "surface": "billing.banner",
                "trigger": {"event": "$pageview", "conditions": [
                    {"property": "plan", "operator": "IN", "value": ["free", "trial"]},
                    {"property": "seats", "operator": "GTE", "value": 5},
                    {"property": "coupon", "operator": "NOT_EXISTS"},
                ]},
                "priority": -7,
                "expiresAfter": "P7D",
                "capPerContact": 3,
            }),
        );
        save(&kit, &acme, input).await;
        let query = "{ nudge(key: \"plans\") { key archivedAt draftVersion { number content { title body action { label url } } surface
            trigger { event conditions { property operator value } } priority expiresAfter capPerContact publishedAt } } }";
        let seen = kit.gql(&acme.secret_key, query, json!({})).await;
        assert_eq!(
            seen,
            json!({"data": {"nudge": {"key": "plans", "archivedAt": null, "draftVersion": {
                "number": 1,
                "content": {"title": "Welcome", "body": "Take the tour.", "action": {"label": "Start", "url": "/tour"}},
                "surface": "billing.banner",
                "trigger": {"event": "$pageview", "conditions": [
                    {"property": "plan", "operator": "IN", "value": ["free", "trial"]},
                    {"property": "seats", "operator": "GTE", "value": 5},
                    {"property": "coupon", "operator": "NOT_EXISTS", "value": null},
                ]},
                "priority": -7,
                "expiresAfter": "P7D",
                "capPerContact": 3,
                "publishedAt": null,
            }}}})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_its_field_and_nothing_is_saved() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let condition = |operator: &str, value: Value| {
            json!({"trigger": {"event": "signup", "conditions": [
                {"property": "ok", "operator": "EXISTS"},
                {"property": "p", "operator": operator, "value": value},
            ]}})
        };
        let many = vec![json!({"property": "p", "operator": "EXISTS"}); 21];
        for (more, code, field) in [
            (json!({"key": "a b"}), "INVALID", "key"),
            (json!({"name": " "}), "INVALID", "name"),
            (json!({"id": "nudge_00000000000000000000000000"}), "INVALID", "id"),
            (json!({"key": null}), "INVALID", "id"),
            (json!({"key": null, "id": "nudge_00000000000000000000000000"}), "NOT_FOUND", "id"),
            (json!({"key": null, "id": "contact_00000000000000000000000000"}), "NOT_FOUND", "id"),
            (json!({"content": {"title": "", "body": "b"}}), "INVALID", "content.title"),
            (json!({"content": {"title": "t", "body": "<script>"}}), "INVALID", "content.body"),
            (
                json!({"content": {"title": "t", "body": "b", "action": {"label": "l", "url": "javascript:alert(1)"}}}),
                "INVALID",
                "content.action.url",
            ),
            (json!({"surface": "a/b"}), "INVALID", "surface"),
            (json!({"trigger": {"event": ""}}), "INVALID", "trigger.event"),
            (json!({"trigger": {"event": "nudge.displayed"}}), "INVALID", "trigger.event"),
            (json!({"trigger": {"event": "signup", "conditions": many}}), "LIMIT_REACHED", "trigger.conditions"),
            (condition("GT", json!("ten")), "INVALID", "trigger.conditions.1.value"),
            (condition("IN", json!("ten")), "INVALID", "trigger.conditions.1.value"),
            (condition("EQ", Value::Null), "INVALID", "trigger.conditions.1.value"),
            (json!({"priority": 1001}), "INVALID", "priority"),
            (json!({"expiresAfter": "PT9S"}), "INVALID", "expiresAfter"),
            (json!({"expiresAfter": "P367D"}), "INVALID", "expiresAfter"),
            (json!({"capPerContact": 0}), "INVALID", "capPerContact"),
        ] {
            let refused = save(&kit, &acme, draft("tour", more.clone())).await;
            assert_eq!(refused["nudge"], Value::Null, "{more}: {refused}");
            assert_eq!(refused["userErrors"][0]["code"], code, "{more}: {refused}");
            assert_eq!(refused["userErrors"][0]["field"], field, "{more}: {refused}");
        }
        assert!(rows::<entity::nudge::Entity>(&acme).await?.is_empty());
        assert!(rows::<entity::nudge_version::Entity>(&acme).await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_tenants_nudge_is_not_anothers() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let id = published(&kit, &acme, "tour", json!({})).await?;
        let not_there = json!([{"code": "NOT_FOUND", "field": "id", "message": "there is no nudge of this id"}]);
        let mut foreign = draft("tour", json!({"id": id}));
        foreign.as_object_mut().unwrap().remove("key");
        assert_eq!(save(&kit, &bolt, foreign).await["userErrors"], not_there);
        assert_eq!(publish(&kit, &bolt, &id).await["userErrors"], not_there);
        assert_eq!(archive(&kit, &bolt, &id).await["userErrors"], not_there);
        let query = "query ($id: ID!) { nudge(id: $id) { id } node(id: $id) { id } nudges { totalCount edges { node { id } } } byKey: nudge(key: \"tour\") { id } }";
        let seen = kit.gql(&bolt.secret_key, query, json!({"id": id})).await;
        assert_eq!(
            seen["data"],
            json!({"nudge": null, "node": null, "nudges": {"totalCount": 0, "edges": []}, "byKey": null})
        );
        let seen = kit.gql(&acme.secret_key, query, json!({"id": id})).await;
        assert_eq!(
            seen["data"],
            json!({"nudge": {"id": id}, "node": {"id": id}, "nudges": {"totalCount": 1, "edges": [{"node": {"id": id}}]}, "byKey": {"id": id}})
        );

        // the same key is another nudge there, and its trigger hears no foreign event
        let own = published(&kit, &bolt, "tour", json!({})).await?;
        assert_ne!(own, id);
        track(&kit, &bolt, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        Ear::of(&kit, &bolt).listen().await?;
        assert_eq!(deliveries(&acme).await?.len(), 0);
        assert_eq!(deliveries(&bolt).await?.len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_archived_nudge_withdraws_its_open_offers_and_offers_no_more() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({})).await?;
        let other = published(&kit, &acme, "other", json!({"trigger": {"event": "login"}})).await?;
        let mut ear = Ear::of(&kit, &acme);
        for user in ["u1", "u2", "u3"] {
            track(&kit, &acme, user, "signup", json!({})).await?;
        }
        track(&kit, &acme, "u1", "login", json!({})).await?;
        ear.listen().await?;
        // one is closed already, so nothing is taken back of it
        let closed = deliveries(&acme).await?[0].id;
        acme.cx
            .write(async |tx| {
                tx.update(entity::nudge_delivery::ActiveModel {
                    id: sea_orm::ActiveValue::Unchanged(closed),
                    dismissed_at: sea_orm::Set(Some(tx.now())),
                    ..Default::default()
                })
                .await
            })
            .await?;

        let archived = archive(&kit, &acme, &id).await;
        assert_eq!(archived["nudge"]["archivedAt"], "2026-01-01T09:00:00Z");
        assert_eq!(archive(&kit, &acme, &id).await, archived);
        track(&kit, &acme, "u4", "signup", json!({})).await?;
        ear.listen().await?;
        ear.listen_again().await?;

        let told = events(&acme, "nudge.withdrawn").await?;
        assert_eq!(told.len(), 2);
        for delivery in deliveries(&acme).await? {
            let is_other = delivery.nudge_id.to_string() == other;
            let withdrawn = !is_other && delivery.id != closed;
            assert_eq!(delivery.withdrawn_at.is_some(), withdrawn);
            assert_eq!(delivery.withdrawn_reason.as_deref(), withdrawn.then_some("archived"));
            let told = told.iter().filter(|event| event.properties["deliveryId"] == delivery.id.to_string());
            let told: Vec<_> = told.map(|event| event.properties.clone()).collect();
            let expected = json!({"deliveryId": delivery.id.to_string(), "nudgeId": id, "nudgeKey": "tour", "surface": "app", "reason": "archived"});
            assert_eq!(told, if withdrawn { vec![expected] } else { vec![] });
        }
        assert_eq!(events(&acme, "nudge.archived").await?.len(), 1);
        assert_eq!(deliveries(&acme).await?.len(), 4, "u4 came too late");

        for refused in [publish(&kit, &acme, &id).await, save(&kit, &acme, draft("tour", json!({}))).await] {
            assert_eq!(refused["userErrors"][0]["code"], "CONFLICT", "{refused}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_those_who_may_write_nudges_save_them() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let reader = kit.key(&acme, &["nudges:read"]).await?;
        let contact = track(&kit, &acme, "u1", "login", json!({})).await?;
        let token = kit.contact_token(&acme, contact).await?;
        let query =
            "mutation ($input: NudgeSaveInput!) { nudgeSave(input: $input) { nudge { id } } }";
        for credential in [reader.as_str(), &acme.publishable_key, &token] {
            let refused = kit
                .gql(
                    credential,
                    query,
                    json!({"input": draft("tour", json!({}))}),
                )
                .await;
            assert_eq!(
                refused["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{refused}"
            );
        }
        assert!(rows::<entity::nudge::Entity>(&acme).await?.is_empty());
        let listed = kit
            .gql(&reader, "{ nudges { totalCount } }", json!({}))
            .await;
        assert_eq!(answer(listed, "nudges"), json!({"totalCount": 0}));
        Ok(())
    })
    .await
}
