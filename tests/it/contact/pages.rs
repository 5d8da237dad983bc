//! Pages of contacts, both ways, and what they cost.

use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::{ask, refused, track, upsert};

async fn crowd(kit: &Kit, count: usize) -> anyhow::Result<Tenant> {
    let acme = kit.tenant("acme").await?;
    for n in 0..count {
        upsert(kit, &acme, json!({"externalId": format!("u{n}"), "email": format!("u{n}@example.com"), "traits": {"n": n}})).await;
        track(
            kit,
            &acme.secret_key,
            json!({"event": "seen", "userId": format!("u{n}"), "messageId": format!("s{n}")}),
        )
        .await;
    }
    Ok(acme)
}

fn ids(connection: &Value) -> Vec<&str> {
    let edges = connection["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["node"]["externalId"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn paging_forth_and_back_sees_every_contact_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = crowd(&kit, 7).await?;
        let query = "query($first: Int, $after: String, $last: Int, $before: String, $orderBy: ContactOrder) {
            contacts(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy) {
                totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { externalId } }
            }
        }";
        let page = async |mut arguments: Value, order: &Value| {
            arguments["orderBy"] = order.clone();
            let mut data = ask(&kit, &acme.secret_key, query, arguments).await;
            data["contacts"].take()
        };
        let newest = Value::Null;
        let first = page(json!({"first": 3}), &newest).await;
        assert_eq!(ids(&first), ["u6", "u5", "u4"]);
        assert_eq!(first["totalCount"], 7);
        assert_eq!(first["pageInfo"]["hasNextPage"], true);
        assert_eq!(first["pageInfo"]["hasPreviousPage"], false);
        let second = page(json!({"first": 3, "after": first["pageInfo"]["endCursor"]}), &newest).await;
        assert_eq!(ids(&second), ["u3", "u2", "u1"]);
        let third = page(json!({"first": 3, "after": second["pageInfo"]["endCursor"]}), &newest).await;
        assert_eq!(ids(&third), ["u0"]);
        assert_eq!(third["pageInfo"]["hasNextPage"], false);
        let back = page(json!({"last": 2, "before": third["pageInfo"]["startCursor"]}), &newest).await;
        assert_eq!(ids(&back), ["u2", "u1"]);
        assert_eq!(back["pageInfo"]["hasPreviousPage"], true);
        let end = page(json!({"last": 2}), &newest).await;
        assert_eq!(ids(&end), ["u1", "u0"]);
        let oldest = json!({"field": "CREATED_AT", "direction": "ASC"});
        assert_eq!(ids(&page(json!({"first": 2}), &oldest).await), ["u0", "u1"]);
        assert_eq!(page(json!({"first": 0}), &oldest).await["edges"], json!([]));

        let cursor = &first["pageInfo"]["endCursor"];
        let altered = format!("A{}", &cursor.as_str().unwrap()[1..]);
        for (arguments, code) in [
            (json!({"after": cursor, "orderBy": oldest}), "BAD_CURSOR"),
            (json!({"after": altered}), "BAD_CURSOR"),
            (json!({"before": "nonsense"}), "BAD_CURSOR"),
            (json!({"first": 101}), "BAD_USER_INPUT"),
            (json!({"first": -1}), "BAD_USER_INPUT"),
            (json!({"first": 1, "last": 1}), "BAD_USER_INPUT"),
        ] {
            assert_eq!(refused(&kit, &acme.secret_key, query, arguments).await[0][1], code);
        }
        let other = kit.tenant("other").await?;
        let codes = refused(&kit, &other.secret_key, query, json!({"after": cursor})).await;
        assert_eq!(codes[0][1], "BAD_CURSOR");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn each_contact_of_a_page_shows_its_own_last_events() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = crowd(&kit, 3).await?;
        for n in 0..5 {
            kit.advance(chrono::TimeDelta::seconds(1));
            track(&kit, &acme.secret_key, json!({"event": format!("e{n}"), "userId": "u0"})).await;
        }
        let query = "{ contacts(orderBy: {field: CREATED_AT, direction: ASC}) { edges { node {
            new: events(first: 2, filter: {name: {startsWith: \"e\"}}) { totalCount pageInfo { hasNextPage endCursor } edges { node { name } } }
            old: events(last: 2) { pageInfo { hasPreviousPage } edges { node { name } } }
        } } } }";
        let data = ask(&kit, &acme.secret_key, query, json!({})).await;
        let nodes: Vec<&Value> = data["contacts"]["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]).collect();
        let names = |connection: &Value| -> Vec<String> {
            let edges = connection["edges"].as_array().unwrap();
            edges.iter().map(|edge| edge["node"]["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&nodes[0]["new"]), ["e4", "e3"]);
        assert_eq!(nodes[0]["new"]["totalCount"], 5);
        assert_eq!(nodes[0]["new"]["pageInfo"]["hasNextPage"], true);
        assert_eq!(names(&nodes[0]["old"]).len(), 2);
        assert_eq!(nodes[0]["old"]["pageInfo"]["hasPreviousPage"], true);
        assert_eq!(nodes[1]["new"], json!({"totalCount": 0, "pageInfo": {"hasNextPage": false, "endCursor": null}, "edges": []}));
        assert!(names(&nodes[1]["old"]).iter().all(|name| !name.starts_with('e')));

        // The cursor of one contact's list leads on in that list, and in no other.
        let query = "query($id: String!, $after: String!) { contact(by: {externalId: $id}) { events(first: 10, after: $after, filter: {name: {startsWith: \"e\"}}) { pageInfo { hasPreviousPage } edges { node { name } } } } }";
        let after = &nodes[0]["new"]["pageInfo"]["endCursor"];
        let data = ask(&kit, &acme.secret_key, query, json!({"id": "u0", "after": after})).await;
        assert_eq!(names(&data["contact"]["events"]), ["e2", "e1", "e0"]);
        assert_eq!(data["contact"]["events"]["pageInfo"]["hasPreviousPage"], true);
        let codes = refused(&kit, &acme.secret_key, query, json!({"id": "u1", "after": after})).await;
        assert_eq!(codes, json!([[["contact", "events"], "BAD_CURSOR"]]));
        let query = "{ contacts { edges { node { events(filter: {contactId: \"x\"}) { totalCount } } } } }";
        assert_eq!(refused(&kit, &acme.secret_key, query, json!({})).await[0][1], "BAD_USER_INPUT");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_costs_the_same_statements_however_many_contacts_it_shows() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let events: Value = (0..50)
            .map(|n| json!({"event": "seen", "userId": format!("u{n}"), "properties": {"$set": {"n": n, "email": format!("u{n}@example.com")}}}))
            .collect();
        let batch = "mutation($events: [TrackInput!]!) { trackBatch(input: {events: $events}) { accepted } }";
        ask(&kit, &acme.secret_key, batch, json!({"events": events})).await;
        let query = "query($first: Int) { contacts(first: $first) { totalCount edges { node {
            id status externalId email phone name anonymousIds traits trait(key: \"n\")
            identifiers { kind value } attribution { firstTouch { source } }
            events(first: 3) { totalCount edges { node { name contact { id name } causedBy { name } } } }
            seen: events(last: 1, filter: {name: {eq: \"seen\"}}) { edges { node { name } } }
        } } } }";
        let few = kit.statements_of(&acme.secret_key, query, json!({"first": 2})).await;
        let many = kit.statements_of(&acme.secret_key, query, json!({"first": 50})).await;
        assert_eq!(few, many);
        // PostgreSQL's transactions each tell their tenant, in a statement of its own.
        assert!(many <= 28, "{many} statements");

        let ids: Value = ask(&kit, &acme.secret_key, "{ contacts(first: 50) { edges { node { id } } } }", json!({})).await["contacts"]["edges"]
            .as_array().unwrap().iter().map(|edge| edge["node"]["id"].clone()).collect();
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Contact { email } } }";
        let one = kit.statements_of(&acme.secret_key, query, json!({"ids": [ids[0]]})).await;
        assert_eq!(kit.statements_of(&acme.secret_key, query, json!({"ids": ids})).await, one);
        Ok(())
    })
    .await
}
