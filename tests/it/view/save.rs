use entity::contact_view;
use sea_orm::Set;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::kit::{SAVE, connect, double, metric, save, saved};
use crate::contact::{ask, upsert};

const LISTED: &str = "{ contactViews { totalCount edges { node { key } } } }";

async fn keys(kit: &Kit, tenant: &Tenant) -> Vec<String> {
    let data = ask(kit, &tenant.secret_key, LISTED, json!({})).await;
    let edges = data["contactViews"]["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["node"]["key"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_view_is_saved_whole_and_shown_as_it_was_given() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        upsert(&kit, &acme, json!({"externalId": "u1", "traits": {"plan": "pro"}})).await;
        let filter = json!({"or": [{"trait": {"key": "plan", "eq": "pro"}}, {"not": {"email": {"contains": "x"}}}, {"trait": {"key": "plan", "ne": null}}]});
        let input = json!({
            "key": "vips", "name": "VIPs", "description": "who pays", "filter": filter,
            "orderBy": {"trait": "plan", "direction": "ASC"},
            "columns": [{"field": {"field": "NAME"}}, {"identifier": {"kind": "EMAIL", "label": "Mail"}}, {"trait": {"key": "plan"}}, {"state": {"state": "nudge.clicked", "key": "hi"}}],
        });
        let view = saved(&kit, &acme, input.clone()).await;
        let expected = json!({
            "id": view["id"], "key": "vips", "name": "VIPs", "description": "who pays", "filter": filter, "metricFilter": null,
            "orderBy": {"field": null, "trait": "plan", "metric": null, "direction": "ASC"},
            "columns": [
                {"label": "name", "kind": "FIELD", "key": null, "field": "NAME", "identifier": null, "state": null},
                {"label": "Mail", "kind": "IDENTIFIER", "key": null, "field": null, "identifier": "EMAIL", "state": null},
                {"label": "plan", "kind": "TRAIT", "key": "plan", "field": null, "identifier": null, "state": null},
                {"label": "nudge.clicked hi", "kind": "STATE", "key": "hi", "field": null, "identifier": null, "state": "nudge.clicked"},
            ],
            "createdAt": "2026-01-01T09:00:01Z", "updatedAt": "2026-01-01T09:00:01Z",
        });
        assert_eq!(view, expected);
        let shown = "query($id: ID!) { a: contactView(id: $id) { key } b: contactView(key: \"vips\") { id } node(id: $id) { id ... on ContactView { name } } none: contactView(key: \"none\") { id } }";
        let shown = ask(&kit, &acme.secret_key, shown, json!({"id": view["id"]})).await;
        assert_eq!(
            shown,
            json!({"a": {"key": "vips"}, "b": {"id": view["id"]}, "node": {"id": view["id"], "name": "VIPs"}, "none": null})
        );

        // Saved again it is as it is given now, and what is left out is empty.
        kit.advance(chrono::TimeDelta::seconds(1));
        let again = saved(&kit, &acme, json!({"key": "vips", "columns": []})).await;
        assert_eq!(
            (&again["id"], &again["name"], &again["filter"], &again["orderBy"], &again["columns"], &again["updatedAt"]),
            (&view["id"], &json!("vips"), &Value::Null, &Value::Null, &json!([]), &json!("2026-01-01T09:00:02Z"))
        );
        saved(&kit, &acme, json!({"key": "other", "columns": []})).await;
        let renamed = saved(&kit, &acme, json!({"id": view["id"], "key": "best", "columns": []})).await;
        assert_eq!((&renamed["id"], &renamed["key"]), (&view["id"], &json!("best")));
        let taken = save(&kit, &acme, json!({"id": view["id"], "key": "other", "columns": []})).await;
        assert_eq!(
            (&taken["view"], &taken["userErrors"][0]["code"], &taken["userErrors"][0]["field"]),
            (&Value::Null, &json!("TAKEN"), &json!("key"))
        );
        assert_eq!(keys(&kit, &acme).await, ["other", "best"]);

        let delete = "mutation($id: ID!) { contactViewDelete(input: {id: $id}) { deletedId userErrors { code field } } }";
        let gone = ask(&kit, &acme.secret_key, delete, json!({"id": view["id"]})).await;
        assert_eq!(gone["contactViewDelete"], json!({"deletedId": view["id"], "userErrors": []}));
        let none = ask(&kit, &acme.secret_key, delete, json!({"id": view["id"]})).await;
        assert_eq!(none["contactViewDelete"], json!({"deletedId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}));
        assert_eq!(keys(&kit, &acme).await, ["other"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_view_names_must_be_there_and_fit_and_else_nothing_is_saved() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let double = double(&kit).await?;
        upsert(&kit, &acme, json!({"externalId": "u1", "traits": {"plan": "pro"}})).await;
        let flag = json!({"flag": {"key": "beta"}});
        let unconnected = save(&kit, &acme, json!({"key": "v", "columns": [flag]})).await;
        assert_eq!(unconnected["userErrors"][0]["field"], "columns.0.flag.key");
        connect(&kit, &acme, &double).await;
        double.set_flags(json!({"flags": [{"id": 1, "key": "beta", "active": true, "filters": {"groups": []}}]}));
        metric(&kit, &acme, "orders", "count()").await;
        let plan = json!({"trait": {"key": "plan"}});
        for (input, code, field) in [
            (json!({"columns": [plan, plan, {"trait": {"key": "plans"}}]}), "NOT_FOUND", "columns.2.trait.key"),
            (json!({"columns": [{"metric": {"key": "order"}}]}), "NOT_FOUND", "columns.0.metric.key"),
            (json!({"columns": [flag, {"flag": {"key": "alpha"}}]}), "NOT_FOUND", "columns.1.flag.key"),
            (json!({"columns": [{"segment": {"key": "none"}}]}), "NOT_FOUND", "columns.0.segment.key"),
            (json!({"columns": [{"state": {"state": "nudge.eaten", "key": "hi"}}]}), "NOT_FOUND", "columns.0.state.state"),
            (json!({"columns": vec![plan.clone(); 31]}), "LIMIT_REACHED", "columns"),
            (json!({"columns": [], "orderBy": {"trait": "plans", "direction": "ASC"}}), "NOT_FOUND", "orderBy.trait"),
            (json!({"columns": [], "orderBy": {"metric": "order", "direction": "ASC"}}), "NOT_FOUND", "orderBy.metric"),
            (json!({"columns": [], "orderBy": {"field": "CREATED_AT", "trait": "plan", "direction": "ASC"}}), "INVALID", "orderBy"),
            (json!({"columns": [], "metricFilter": {"key": "order", "gt": 1}}), "NOT_FOUND", "metricFilter.key"),
            (json!({"columns": [], "metricFilter": {"key": "orders"}}), "INVALID", "metricFilter"),
            (json!({"columns": [], "filter": {"trait": {"key": "plan", "eq": [1]}}}), "INVALID", "filter.trait"),
            (json!({"columns": [], "filter": {"not": {"not": {"not": {"not": {"not": {}}}}}}}), "INVALID", "filter"),
            (json!({"columns": [], "key": "a b"}), "INVALID", "key"),
            (json!({"columns": [], "name": "x".repeat(201)}), "INVALID", "name"),
        ] {
            let mut whole = json!({"key": "v"});
            whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
            let refused = save(&kit, &acme, whole).await;
            assert_eq!(
                (&refused["view"], &refused["userErrors"][0]["code"], &refused["userErrors"][0]["field"]),
                (&Value::Null, &json!(code), &json!(field)),
                "{input}"
            );
        }
        assert_eq!(keys(&kit, &acme).await, Vec::<String>::new());
        saved(&kit, &acme, json!({"key": "v", "columns": [plan, {"metric": {"key": "orders"}}, flag]})).await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tenant_has_at_most_five_hundred_views() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        acme.cx
            .write(async |tx| {
                let rows = (0..500).map(|n| contact_view::ActiveModel {
                    id: Set(tx.new_id()),
                    tenant_id: Set(tx.tenant()),
                    key: Set(format!("v{n}")),
                    name: Set(String::new()),
                    description: Set(None),
                    definition: Set(json!({"columns": []})),
                    created_at: Set(tx.now()),
                    updated_at: Set(tx.now()),
                });
                tx.insert_all(rows.collect(), None).await
            })
            .await?;
        let over = save(&kit, &acme, json!({"key": "more", "columns": []})).await;
        assert_eq!(
            (&over["view"], &over["userErrors"][0]["code"]),
            (&Value::Null, &json!("LIMIT_REACHED"))
        );
        saved(&kit, &acme, json!({"key": "v7", "columns": []})).await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn browsers_see_no_view_and_readers_save_none() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        saved(
            &kit,
            &acme,
            json!({"key": "all", "columns": [{"field": {"field": "ID"}}]}),
        )
        .await;
        let token = kit
            .contact_token(&acme, entity::Id::parse(&id).unwrap())
            .await?;
        let reader = kit
            .key(
                &acme,
                &["contacts:read", "segments:write", "analytics:write"],
            )
            .await?;
        let reads = ["{ contactView(key: \"all\") { id } }", LISTED];
        let writes = [
            "mutation { contactViewSave(input: {key: \"mine\", columns: []}) { view { id } } }",
            "mutation { contactViewExport(input: {key: \"all\"}) { job { id } } }",
        ];
        for credential in [&acme.publishable_key, &token] {
            for document in reads.iter().chain(&writes) {
                let answer = kit.gql(credential, document, json!({})).await;
                assert_eq!(
                    answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                    "{document}: {answer}"
                );
            }
        }
        for document in writes {
            let answer = kit.gql(&reader, document, json!({})).await;
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{answer}"
            );
        }
        let seen = ask(
            &kit,
            &reader,
            "{ contactView(key: \"all\") { rows { totalCount } } jobs { totalCount } }",
            json!({}),
        )
        .await;
        assert_eq!(
            seen,
            json!({"contactView": {"rows": {"totalCount": 1}}, "jobs": {"totalCount": 0}})
        );
        assert_eq!(keys(&kit, &acme).await, ["all"]);
        // An idempotency key gives the first answer again, and saves once.
        let keyed = SAVE.replace(
            "contactViewSave(input: $input)",
            "contactViewSave(input: $input) @idempotent(key: \"k\")",
        );
        let input = json!({"input": {"key": "once", "columns": []}});
        let first = ask(&kit, &acme.secret_key, &keyed, input.clone()).await;
        kit.advance(chrono::TimeDelta::seconds(5));
        assert_eq!(ask(&kit, &acme.secret_key, &keyed, input).await, first);
        Ok(())
    })
    .await
}
