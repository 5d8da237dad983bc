//! Companies and teams, and who acts for them.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, on_each_database};

use super::{ask, track, upsert};

const UPSERT: &str = "mutation($input: AccountUpsertInput!) { accountUpsert(input: $input) { account { id type key name traits } userErrors { code field } } }";

async fn account_upsert(kit: &Kit, credential: &str, input: Value) -> Value {
    let mut data = ask(kit, credential, UPSERT, json!({"input": input})).await;
    data["accountUpsert"].take()
}

/// The accounts: type, key, name and the members' ids.
async fn accounts(kit: &Kit, credential: &str) -> Value {
    let query = "{ accounts(last: 100) { totalCount edges { node { type key name traits contacts { totalCount edges { node { externalId } } } } } } }";
    let mut data = ask(kit, credential, query, json!({})).await;
    data["accounts"].take()
}

#[tokio::test]
async fn an_event_with_groups_makes_its_contact_a_member_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let sk = &acme.secret_key;
        for name in ["ann", "bob", "cid"] {
            upsert(&kit, &acme, json!({"externalId": name})).await;
        }
        for (who, groups) in [
            ("ann", json!({"company": "acme inc", "team": 7})),
            ("ann", json!({"company": "acme inc"})),
            ("bob", json!({"company": "acme inc"})),
            ("bob", json!({"company": "", "team": null})),
            ("cid", json!("company")),
        ] {
            kit.advance(TimeDelta::seconds(1));
            let told = track(&kit, sk, json!({"event": "used", "userId": who, "properties": {"$groups": groups}})).await;
            assert_eq!(told["userErrors"], json!([]));
        }
        // A second way by which she came, before she was known by it.
        track(&kit, sk, json!({"event": "used", "anonymousId": "ann's phone", "properties": {"$groups": {"company": "acme inc"}}})).await;
        ask(&kit, sk, "mutation { identify(input: {userId: \"ann\", anonymousId: \"ann's phone\"}) { accepted } }", json!({})).await;
        let said = json!({"event": "$groupidentify", "userId": "bob", "properties": {"$group_type": "company", "$group_key": "acme inc", "$group_set": {"name": "Acme", "seats": 5}}});
        track(&kit, sk, said).await;
        kit.app.worker.drain().await?;
        assert_eq!(
            accounts(&kit, sk).await,
            json!({"totalCount": 2, "edges": [
                {"node": {"type": "team", "key": "7", "name": null, "traits": {}, "contacts": {"totalCount": 1, "edges": [{"node": {"externalId": "ann"}}]}}},
                {"node": {"type": "company", "key": "acme inc", "name": "Acme", "traits": {"name": "Acme", "seats": 5},
                    "contacts": {"totalCount": 2, "edges": [{"node": {"externalId": "bob"}}, {"node": {"externalId": "ann"}}]}}},
            ]})
        );
        let query = "{ ann: contact(by: {externalId: \"ann\"}) { accounts { totalCount edges { cursor node { key } } } last: accounts(last: 1) { edges { node { key } } } }
            cid: contact(by: {externalId: \"cid\"}) { accounts { totalCount } } account(by: {type: \"company\", key: \"acme inc\"}) { name }
            teams: accounts(filter: {type: \"team\"}) { totalCount } }";
        let data = ask(&kit, sk, query, json!({})).await;
        let keys: Vec<&Value> = data["ann"]["accounts"]["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]["key"]).collect();
        assert_eq!(keys, ["acme inc", "7"]);
        assert_eq!(data["ann"]["accounts"]["totalCount"], 2);
        assert_eq!(data["ann"]["last"]["edges"][0]["node"]["key"], "7");
        assert_eq!(data["cid"]["accounts"]["totalCount"], 0);
        assert_eq!(data["account"]["name"], "Acme");
        assert_eq!(data["teams"]["totalCount"], 1);
        let rest = "query($after: String) { contact(by: {externalId: \"ann\"}) { accounts(after: $after) { edges { node { key } } } } }";
        let rest = ask(&kit, sk, rest, json!({"after": data["ann"]["accounts"]["edges"][0]["cursor"]})).await;
        assert_eq!(rest["contact"]["accounts"]["edges"], json!([{"node": {"key": "7"}}]));
        let members = "query($after: String) { account(by: {type: \"company\", key: \"acme inc\"}) { contacts(first: 1, after: $after) { edges { node { externalId } } pageInfo { endCursor hasNextPage } } } }";
        let first = ask(&kit, sk, members, json!({})).await;
        assert_eq!(first["account"]["contacts"]["pageInfo"]["hasNextPage"], true);
        let after = &first["account"]["contacts"]["pageInfo"]["endCursor"];
        let second = ask(&kit, sk, members, json!({"after": after})).await;
        assert_eq!(second["account"]["contacts"]["edges"], json!([{"node": {"externalId": "ann"}}]));
        assert_eq!(second["account"]["contacts"]["pageInfo"]["hasNextPage"], false);
        assert_eq!(accounts(&kit, &bolt.secret_key).await["totalCount"], 0);
        let page = |size: usize| format!("{{ accounts(first: {size}) {{ edges {{ node {{ contacts(first: 2) {{ totalCount edges {{ node {{ accounts {{ totalCount }} }} }} }} }} }} }} }}");
        let one = kit.statements_of(sk, &page(1), json!({})).await;
        let two = kit.statements_of(sk, &page(2), json!({})).await;
        assert_eq!(one, two);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_backend_says_of_an_account_goes_to_posthog_as_groupidentify() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let made = account_upsert(&kit, sk, json!({"type": "company", "key": "acme", "name": "Acme", "traits": {"seats": 5, "plan": "pro"}})).await;
        let account = &made["account"];
        assert_eq!(
            (&account["type"], &account["key"], &account["name"], &account["traits"], &made["userErrors"]),
            (&json!("company"), &json!("acme"), &json!("Acme"), &json!({"name": "Acme", "seats": 5, "plan": "pro"}), &json!([]))
        );
        let changed = account_upsert(&kit, sk, json!({"type": "company", "key": "acme", "traits": {"seats": 6, "plan": null}})).await;
        assert_eq!(
            (&changed["account"]["id"], &changed["account"]["traits"]),
            (&account["id"], &json!({"name": "Acme", "seats": 6}))
        );
        kit.app.worker.drain().await?;
        let query = "{ events(filter: {name: {eq: \"$groupidentify\"}}) { edges { node { contact { id } properties context } } } accounts { totalCount edges { node { traits } } } contacts { totalCount } }";
        let data = ask(&kit, sk, query, json!({})).await;
        assert_eq!(
            data["events"]["edges"],
            json!([
                {"node": {"contact": null, "context": {"ids": ["$company_acme"]},
                    "properties": {"$group_type": "company", "$group_key": "acme", "$group_set": {"seats": 6, "plan": null}}}},
                {"node": {"contact": null, "context": {"ids": ["$company_acme"]},
                    "properties": {"$group_type": "company", "$group_key": "acme", "$group_set": {"name": "Acme", "seats": 5, "plan": "pro"}}}},
            ])
        );
        assert_eq!(data["accounts"], json!({"totalCount": 1, "edges": [{"node": {"traits": {"name": "Acme", "seats": 6}}}]}));
        assert_eq!(data["contacts"]["totalCount"], 0);
        for (input, field) in [
            (json!({"type": "", "key": "x"}), "type"),
            (json!({"type": "company", "key": "x".repeat(201)}), "key"),
            (json!({"type": "company", "key": "x", "name": " "}), "name"),
            (json!({"type": "company", "key": "x", "traits": [1]}), "traits"),
            (json!({"type": "company", "key": "x", "traits": {"big": "x".repeat(70_000)}}), "traits"),
        ] {
            let refused = account_upsert(&kit, sk, input).await;
            assert_eq!(refused, json!({"account": null, "userErrors": [{"code": "INVALID", "field": field}]}));
        }
        assert_eq!(accounts(&kit, sk).await["totalCount"], 1);
        Ok(())
    })
    .await
}
