use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::kit::{ROWS, ids, page, saved, values, walked};
use crate::contact::{ask, track, upsert};

/// A nudge that is offered to whoever signs up.
async fn offered(kit: &Kit, tenant: &Tenant, id: &str) -> anyhow::Result<()> {
    let sk = &tenant.secret_key;
    let save = "mutation { nudgeSave(input: {key: \"hi\", surface: \"app\", content: {title: \"t\", body: \"b\"}, trigger: {event: \"signup\"}}) { nudge { id } userErrors { message } } }";
    let nudge = ask(kit, sk, save, json!({})).await;
    let publish =
        "mutation($id: ID!) { nudgePublish(input: {id: $id}) { userErrors { message } } }";
    let nudge = json!({"id": nudge["nudgeSave"]["nudge"]["id"]});
    ask(kit, sk, publish, nudge).await;
    track(kit, sk, json!({"event": "signup", "userId": id})).await;
    kit.app.worker.drain().await?;
    Ok(())
}

const COLUMNS: &str = r#"[{"field": {"field": "ID"}}, {"field": {"field": "NAME"}}, {"field": {"field": "STATUS"}}, {"field": {"field": "CREATED_AT"}},
    {"identifier": {"kind": "EMAIL"}}, {"trait": {"key": "plan"}}, {"trait": {"key": "tags"}}, {"segment": {"key": "vips"}},
    {"state": {"state": "nudge.offered", "key": "hi"}}, {"state": {"state": "nudge.clicked", "key": "hi"}}]"#;

#[tokio::test]
async fn cells_show_what_their_columns_name_with_absorbed_contacts_in_them() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        track(&kit, &acme.publishable_key, json!({"event": "seen", "anonymousId": "browser-1"})).await;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "email": "Ann@Example.com", "name": "Ann", "traits": {"plan": "pro", "tags": ["a", 1]}})).await;
        upsert(&kit, &acme, json!({"externalId": "bob", "traits": {"plan": 7}})).await;
        let segment = ask(&kit, sk, "mutation { segmentSave(input: {key: \"vips\"}) { segment { id } } }", json!({})).await;
        let add = "mutation($input: SegmentMembersInput!) { segmentMembersAdd(input: $input) { userErrors { message } } }";
        let input = json!({"input": {"id": segment["segmentSave"]["segment"]["id"], "contactIds": [ann]}});
        ask(&kit, sk, add, input).await;
        // It is offered to the browser, which then turns out to be Ann's.
        let anonymous = "mutation { track(input: {event: \"signup\", anonymousId: \"browser-1\"}) { accepted } }";
        offered(&kit, &acme, "nobody-else").await?;
        ask(&kit, sk, anonymous, json!({})).await;
        kit.app.worker.drain().await?;
        let offered_at = kit.now();
        ask(&kit, sk, "mutation { identify(input: {userId: \"ann\", anonymousId: \"browser-1\"}) { accepted } }", json!({})).await;
        kit.app.worker.drain().await?;
        let columns: Value = serde_json::from_str(COLUMNS)?;
        let filter = json!({"externalId": {"in": ["ann", "bob"]}});
        saved(&kit, &acme, json!({"key": "people", "filter": filter, "columns": columns, "orderBy": {"field": "CREATED_AT", "direction": "ASC"}})).await;
        let rows = page(&kit, sk, "people", json!({})).await;
        assert_eq!(ids(&rows), ["ann", "bob"]);
        assert_eq!(rows["totalCount"], 2);
        let ann_cells = &rows["edges"][0]["node"]["cells"];
        let shown: Vec<&Value> = ann_cells.as_array().unwrap().iter().map(|cell| &cell["value"]).collect();
        let root = ask(&kit, sk, "{ contact(by: {externalId: \"ann\"}) { id createdAt } }", json!({})).await;
        let root = &root["contact"];
        assert_eq!(
            json!(shown),
            json!([root["id"], "Ann", "VERIFIED", root["createdAt"], "Ann@Example.com".replace("Example", "example"), "pro", ["a", 1], true, api::base::instant::text(offered_at), null])
        );
        assert_eq!(
            (&ann_cells[6]["text"], &ann_cells[7]["text"], &ann_cells[9]["text"], &ann_cells[0]["asOf"], &ann_cells[0]["error"]),
            (&json!("[\"a\",1]"), &json!("true"), &Value::Null, &Value::Null, &Value::Null)
        );
        let bob = &rows["edges"][1]["node"]["cells"];
        let shown: Vec<&Value> = bob.as_array().unwrap().iter().skip(4).map(|cell| &cell["value"]).collect();
        assert_eq!(json!(shown), json!([null, 7, null, false, null, null]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_costs_the_same_number_of_statements_however_long_it_is() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        ask(
            &kit,
            sk,
            "mutation { segmentSave(input: {key: \"vips\"}) { segment { id } } }",
            json!({}),
        )
        .await;
        for n in 0..12 {
            upsert(
                &kit,
                &acme,
                json!({"externalId": format!("u{n}"), "traits": {"plan": n, "tags": []}}),
            )
            .await;
        }
        let columns: Value = serde_json::from_str(COLUMNS)?;
        for (key, order) in [
            (
                "newest",
                json!({"field": "CREATED_AT", "direction": "DESC"}),
            ),
            ("plans", json!({"trait": "plan", "direction": "ASC"})),
        ] {
            saved(
                &kit,
                &acme,
                json!({"key": key, "columns": columns, "orderBy": order}),
            )
            .await;
            let cost = async |first: u32| {
                kit.statements_of(sk, ROWS, json!({"key": key, "first": first}))
                    .await
            };
            assert_eq!(cost(2).await, cost(11).await, "{key}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rows_by_a_trait_lie_in_one_order_from_either_end() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for (id, score) in [
            ("ten", json!(10)), ("unset", Value::Null), ("two", json!(2.5)), ("abc", json!("abc")), ("list", json!([1])),
            ("ten-too", json!(10)), ("minus", json!(-1)), ("zed", json!("zed")), ("yes", json!(true)), ("other", json!(3)),
        ] {
            upsert(&kit, &acme, json!({"externalId": id, "traits": {"score": score, "team": if id == "other" { "b" } else { "a" }}})).await;
        }
        let filter = json!({"trait": {"key": "team", "eq": "a"}});
        let ascending = ["minus", "two", "ten", "ten-too", "abc", "yes", "zed", "unset", "list"];
        // Numbers and texts turn, ties with them; those without a value that compares stay last.
        let descending = ["zed", "yes", "abc", "ten-too", "ten", "two", "minus", "unset", "list"];
        for (direction, expected) in [("ASC", ascending), ("DESC", descending)] {
            let order = json!({"trait": "score", "direction": direction});
            saved(&kit, &acme, json!({"key": "scores", "filter": filter, "orderBy": order, "columns": [{"trait": {"key": "score"}}]})).await;
            let sk = &acme.secret_key;
            assert_eq!(walked(&kit, sk, "scores", false).await, expected, "{direction}");
            assert_eq!(walked(&kit, sk, "scores", true).await, expected, "{direction}, from the end");
            let all = page(&kit, sk, "scores", json!({"first": 100})).await;
            assert_eq!((ids(&all), &all["totalCount"]), (expected.to_vec(), &json!(9)));
        }
        // A cursor of another order, or another list, is none of this one's.
        let of_descending = page(&kit, &acme.secret_key, "scores", json!({"first": 1})).await["pageInfo"]["endCursor"].take();
        saved(&kit, &acme, json!({"key": "scores", "filter": filter, "orderBy": {"trait": "score", "direction": "ASC"}, "columns": []})).await;
        let answer = kit.gql(&acme.secret_key, ROWS, json!({"key": "scores", "after": of_descending})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_CURSOR", "{answer}");
        assert_eq!(answer["data"], json!({"contactView": {"rows": null}}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_personal_trait_neither_shows_nor_sorts_nor_filters_for_who_may_not_see_it()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for (id, salary) in [("low", 1), ("high", 9), ("mid", 5)] {
            upsert(&kit, &acme, json!({"externalId": id, "name": id.to_uppercase(), "traits": {"salary": salary}})).await;
        }
        for key in ["salary", "name"] {
            let mark = "mutation($input: TraitDefinitionSaveInput!) { traitDefinitionSave(input: $input) { userErrors { code } } }";
            let done = ask(&kit, &acme.secret_key, mark, json!({"input": {"key": key, "pii": true}})).await;
            assert_eq!(done["traitDefinitionSave"]["userErrors"], json!([]));
        }
        let columns = json!([{"trait": {"key": "salary"}}, {"field": {"field": "NAME"}}]);
        saved(&kit, &acme, json!({"key": "rich", "columns": columns, "orderBy": {"trait": "salary", "direction": "DESC"}})).await;
        let filter = json!({"trait": {"key": "salary", "gt": 4}});
        saved(&kit, &acme, json!({"key": "richest", "columns": columns, "filter": filter})).await;
        let outsider = kit.key(&acme, &["contacts:read"]).await?;
        let insider = kit.key(&acme, &["contacts:read", "contacts:pii"]).await?;
        let seen = page(&kit, &insider, "rich", json!({})).await;
        assert_eq!((ids(&seen), values(&seen, 0), values(&seen, 1)), (vec!["high", "mid", "low"], vec![json!(9), json!(5), json!(1)], vec![json!("HIGH"), json!("MID"), json!("LOW")]));
        assert_eq!(ids(&page(&kit, &insider, "richest", json!({})).await), ["mid", "high"]);
        let hidden = page(&kit, &outsider, "rich", json!({})).await;
        assert_eq!((ids(&hidden), values(&hidden, 0), values(&hidden, 1)), (vec!["low", "high", "mid"], vec![Value::Null; 3], vec![Value::Null; 3]));
        assert_eq!(page(&kit, &outsider, "richest", json!({})).await["totalCount"], 0);
        Ok(())
    })
    .await
}
