//! Lists of nudges and of a contact's deliveries.

use chrono::TimeDelta;
use entity::nudge_delivery;
use sea_orm::{ActiveValue::Unchanged, Set};
use serde_json::{Value, json};
use tests::on_each_database;

use super::kit::{Ear, deliveries, draft, identify, publish, published, save, track};

#[tokio::test]
async fn nudges_are_listed_by_filter_with_their_counts() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let mut ids = vec![];
        for (key, surface) in [("a", "app"), ("b", "billing"), ("c", "app")] {
            kit.advance(TimeDelta::seconds(1));
            ids.push(published(&kit, &acme, key, json!({"surface": surface})).await?);
        }
        save(&kit, &acme, draft("d", json!({}))).await;
        super::kit::archive(&kit, &acme, &ids[2]).await;
        for user in ["u1", "u2"] {
            track(&kit, &acme, user, "signup", json!({})).await?;
        }
        Ear::of(&kit, &acme).listen().await?;
        let keys = async |filter: Value| {
            let query = "query ($filter: NudgeFilter) { nudges(filter: $filter) { totalCount edges { node { key } } } }";
            let listed = kit.gql(&acme.secret_key, query, json!({ "filter": filter })).await;
            let edges = listed["data"]["nudges"]["edges"].as_array().unwrap_or_else(|| panic!("{listed}"));
            assert_eq!(listed["data"]["nudges"]["totalCount"], edges.len());
            edges.iter().map(|edge| edge["node"]["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(Value::Null).await, ["d", "c", "b", "a"]);
        assert_eq!(keys(json!({"archived": false})).await, ["d", "b", "a"]);
        assert_eq!(keys(json!({"archived": true})).await, ["c"]);
        assert_eq!(keys(json!({"surface": {"eq": "app"}})).await, ["c", "a"]);
        assert_eq!(keys(json!({"key": {"in": ["a", "b", "x"]}})).await, ["b", "a"]);
        assert_eq!(keys(json!({"or": [{"key": {"eq": "d"}}, {"surface": {"startsWith": "BILL"}}]})).await, ["d", "b"]);
        assert_eq!(keys(json!({"or": []})).await, Vec::<String>::new());
        assert_eq!(keys(json!({"not": {"surface": {"eq": "app"}}, "archived": false})).await, ["d", "b"]);
        let deep = (0..6).fold(json!({"archived": false}), |inner, _| json!({ "not": inner }));
        let refused = kit.gql(&acme.secret_key, "query ($filter: NudgeFilter) { nudges(filter: $filter) { totalCount } }", json!({"filter": deep})).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{refused}");

        let query = "{ nudges(first: 2, filter: {archived: false}) { pageInfo { hasNextPage endCursor } edges { node { key liveVersion { number } deliveries { offered displayed clicked completed dismissed withdrawn } } } } }";
        let page = kit.gql(&acme.secret_key, query, json!({})).await;
        let none = json!({"offered": 0, "displayed": 0, "clicked": 0, "completed": 0, "dismissed": 0, "withdrawn": 0});
        let two = json!({"offered": 2, "displayed": 0, "clicked": 0, "completed": 0, "dismissed": 0, "withdrawn": 0});
        assert_eq!(
            page["data"]["nudges"]["edges"],
            json!([
                {"node": {"key": "d", "liveVersion": null, "deliveries": none}},
                {"node": {"key": "b", "liveVersion": {"number": 1}, "deliveries": two}},
            ])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_of_nudges_costs_the_same_whatever_its_length() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for at in 0..12 {
            let id = published(&kit, &acme, &format!("n{at}"), json!({})).await?;
            save(&kit, &acme, draft(&format!("n{at}"), json!({}))).await;
            publish(&kit, &acme, &id).await;
            save(&kit, &acme, draft(&format!("n{at}"), json!({}))).await;
        }
        let query = "query ($first: Int) { nudges(first: $first) { edges { node { liveVersion { number } draftVersion { number } versions { number } deliveries { offered } } } } }";
        let seen = kit.gql(&acme.secret_key, query, json!({"first": 1})).await;
        assert_eq!(
            seen["data"]["nudges"]["edges"][0]["node"],
            json!({"liveVersion": {"number": 2}, "draftVersion": {"number": 3}, "versions": [{"number": 3}, {"number": 2}, {"number": 1}], "deliveries": {"offered": 0}})
        );
        let one = kit.statements_of(&acme.secret_key, query, json!({"first": 1})).await;
        let many = kit.statements_of(&acme.secret_key, query, json!({"first": 12})).await;
        assert_eq!(one, many);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_of_contacts_with_their_nudges_costs_the_same_whatever_its_length()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        published(&kit, &acme, "other", json!({"surface": "side"})).await?;
        for at in 0..10 {
            for _ in 0..2 {
                let user = if at == 1 { "anon1".to_owned() } else { format!("u{at}") };
                track(&kit, &acme, &user, "signup", json!({})).await?;
            }
        }
        identify(&kit, &acme, "u0", "anon1").await?;
        Ear::of(&kit, &acme).listen().await?;
        let query = "query ($first: Int) { contacts(first: $first) { edges { node { nudges(first: 3, state: OFFERED) { totalCount edges { node { state content { title } nudge { key } } } } } } } }";
        let seen = kit.gql(&acme.secret_key, query, json!({"first": 20})).await;
        let contacts = seen["data"]["contacts"]["edges"].as_array().unwrap_or_else(|| panic!("{seen}"));
        let mut totals: Vec<_> = contacts.iter().map(|edge| edge["node"]["nudges"]["totalCount"].as_i64().unwrap()).collect();
        totals.sort_unstable();
        assert_eq!(totals, [4, 4, 4, 4, 4, 4, 4, 4, 8]);
        for contact in contacts {
            assert_eq!(contact["node"]["nudges"]["edges"].as_array().unwrap().len(), 3);
            assert_eq!(contact["node"]["nudges"]["edges"][0]["node"]["content"]["title"], "Welcome");
        }
        let few = kit.statements_of(&acme.secret_key, query, json!({"first": 2})).await;
        let many = kit.statements_of(&acme.secret_key, query, json!({"first": 9})).await;
        assert_eq!(few, many);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_database_finds_the_states_that_the_rules_see() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        for _ in 1..100 {
            track(&kit, &acme, "u1", "signup", json!({})).await?;
        }
        Ear::of(&kit, &acme).listen().await?;
        // every mix of what can have happened, one in three of them
        let made = deliveries(&acme).await?;
        assert_eq!(made.len(), 100);
        acme.cx
            .write(async |tx| {
                for (row, bits) in made.iter().zip((0_u32..).step_by(5)) {
                    let if_bit = |bit: u32| (bits >> bit & 1 == 1).then(|| tx.now());
                    let expiry = [None, Some(tx.now()), Some(tx.now() + TimeDelta::seconds(1))];
                    tx.update(nudge_delivery::ActiveModel {
                        id: Unchanged(row.id),
                        received_at: Set(if_bit(0)),
                        displayed_at: Set(if_bit(1)),
                        snoozed_at: Set(if_bit(2)),
                        clicked_at: Set(if_bit(3)),
                        dismissed_at: Set(if_bit(4)),
                        completed_at: Set(if_bit(5)),
                        withdrawn_at: Set(if_bit(6)),
                        expires_at: Set(expiry[(bits % 3) as usize]),
                        ..Default::default()
                    })
                    .await?;
                }
                Ok(())
            })
            .await?;
        let token = kit.contact_token(&acme, contact).await?;
        let page = async |args: &str| {
            let query = format!("{{ me {{ nudges(first: 100{args}) {{ totalCount edges {{ node {{ id state expiresAt withdrawnAt dismissedAt completedAt }} }} }} }} }}");
            let seen = kit.gql(&token, &query, json!({})).await;
            let list = &seen["data"]["me"]["nudges"];
            let nodes: Vec<Value> = list["edges"].as_array().unwrap_or_else(|| panic!("{seen}")).iter().map(|edge| edge["node"].clone()).collect();
            assert_eq!(list["totalCount"], nodes.len());
            nodes
        };
        let all = page("").await;
        assert_eq!(all.len(), 100);
        let mut found = 0;
        for state in ["OFFERED", "RECEIVED", "DISPLAYED", "CLICKED", "COMPLETED", "DISMISSED", "SNOOZED", "EXPIRED", "WITHDRAWN"] {
            let expected: Vec<_> = all.iter().filter(|node| node["state"] == state).cloned().collect();
            assert_eq!(page(&format!(", state: {state}")).await, expected, "{state}");
            found += expected.len();
        }
        assert_eq!(found, 100);
        let open: Vec<_> = all
            .iter()
            .filter(|node| {
                let closed = ["withdrawnAt", "dismissedAt", "completedAt"].iter().any(|field| !node[field].is_null());
                !closed && node["expiresAt"] != "2026-01-01T09:00:00Z"
            })
            .cloned()
            .collect();
        assert!(!open.is_empty());
        assert_eq!(page(", open: true").await, open);
        assert_eq!(page(", surface: \"side\"").await, Vec::<Value>::new());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_contacts_nudges_are_paged_both_ways_over_a_merge() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let mut ear = Ear::of(&kit, &acme);
        for at in 0..7 {
            kit.advance(TimeDelta::seconds(1));
            track(&kit, &acme, if at % 2 == 0 { "known" } else { "anon-visitor" }, "signup", json!({})).await?;
            ear.listen().await?;
        }
        let root = identify(&kit, &acme, "known", "anon-visitor").await?;
        let token = kit.contact_token(&acme, root).await?;
        let mut newest_first: Vec<_> = deliveries(&acme).await?.into_iter().map(|row| row.id.to_string()).collect();
        newest_first.reverse();
        for (size, from, cursor) in [("first", "after", "endCursor"), ("last", "before", "startCursor")] {
            let query = format!(
                "query ($cursor: String) {{ me {{ nudges({size}: 3, {from}: $cursor) {{ totalCount pageInfo {{ hasNextPage hasPreviousPage {cursor} }} edges {{ node {{ id }} }} }} }} }}"
            );
            let mut at = Value::Null;
            let mut pages: Vec<Vec<String>> = vec![];
            for _ in 0..3 {
                let seen = kit.gql(&token, &query, json!({ "cursor": at })).await;
                let list = &seen["data"]["me"]["nudges"];
                assert_eq!(list["totalCount"], 7, "{seen}");
                pages.push(list["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()).collect());
                at = list["pageInfo"][cursor].clone();
            }
            if size == "last" {
                pages.reverse();
            }
            assert_eq!(pages.concat(), newest_first, "{size}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_contact_sees_of_a_nudge_only_what_names_it() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let seen = kit
            .gql(
                &token,
                "{ me { nudges(open: true) { edges { node { nudge { id key } leaseToken } } } } }",
                json!({}),
            )
            .await;
        let node = &seen["data"]["me"]["nudges"]["edges"][0]["node"];
        assert_eq!(node["nudge"], json!({"id": id, "key": "tour"}));
        assert_eq!(node["leaseToken"].as_str().unwrap().len(), 22);
        for field in [
            "name",
            "createdAt",
            "liveVersion { number }",
            "versions { number }",
            "deliveries { offered }",
        ] {
            let query =
                format!("{{ me {{ nudges {{ edges {{ node {{ nudge {{ {field} }} }} }} }} }} }}");
            let refused = kit.gql(&token, &query, json!({})).await;
            assert_eq!(
                refused["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{refused}"
            );
        }
        let refused = kit
            .gql(
                &token,
                "query ($id: ID!) { node(id: $id) { id } }",
                json!({"id": id}),
            )
            .await;
        assert_eq!(
            refused["errors"][0]["extensions"]["code"], "FORBIDDEN",
            "{refused}"
        );
        Ok(())
    })
    .await
}
