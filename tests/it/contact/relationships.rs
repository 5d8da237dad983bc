//! How contacts are related.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, on_each_database};

use super::{ask, refused, upsert};

const SET: &str = "mutation($input: RelationshipSetInput!) { relationshipSet(input: $input) { relationship { id kind from { externalId } to { externalId } validFrom validTo source evidence } userErrors { code field } } }";
const END: &str = "mutation($input: RelationshipEndInput!) { relationshipEnd(input: $input) { relationship { id validTo } userErrors { code field } } }";

async fn set(kit: &Kit, credential: &str, from: &str, kind: &str, to: &str) -> Value {
    kit.advance(TimeDelta::seconds(1));
    let input = json!({"from": {"externalId": from}, "to": {"externalId": to}, "kind": kind});
    let mut data = ask(kit, credential, SET, json!({"input": input})).await;
    assert_eq!(data["relationshipSet"]["userErrors"], json!([]), "{input}");
    data["relationshipSet"]["relationship"].take()
}

/// Whom a contact is related to: `name distance`, each.
async fn related(kit: &Kit, credential: &str, of: &str, arguments: &str) -> Vec<String> {
    let query = format!(
        "{{ contact(by: {{externalId: \"{of}\"}}) {{ related{arguments} {{ distance contact {{ externalId }} }} }} }}"
    );
    let data = ask(kit, credential, &query, json!({})).await;
    let rows = data["contact"]["related"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let name = row["contact"]["externalId"].as_str().unwrap();
            format!("{name} {}", row["distance"])
        })
        .collect()
}

#[tokio::test]
async fn a_relationship_is_set_once_changed_and_ended_and_stays_as_history() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        for name in ["ann", "bob"] {
            upsert(&kit, &acme, json!({"externalId": name})).await;
        }
        let first = set(&kit, sk, "ann", "REFERRED", "bob").await;
        assert_eq!(
            (&first["kind"], &first["from"]["externalId"], &first["to"]["externalId"], &first["validFrom"], &first["source"]),
            (&json!("REFERRED"), &json!("ann"), &json!("bob"), &json!("2026-01-01T09:00:03Z"), &json!("secret_key"))
        );
        let input = json!({"from": {"externalId": "ann"}, "to": {"externalId": "bob"}, "kind": "REFERRED", "source": "crm", "evidence": {"code": "A7"}});
        let again = ask(&kit, sk, SET, json!({"input": input})).await;
        let again = &again["relationshipSet"]["relationship"];
        assert_eq!(
            (&again["id"], &again["source"], &again["evidence"], &again["validFrom"]),
            (&first["id"], &json!("crm"), &json!({"code": "A7"}), &json!("2026-01-01T09:00:03Z"))
        );
        // The other way round is another one; what holds both ways is one, whoever is named first.
        assert_ne!(set(&kit, sk, "bob", "REFERRED", "ann").await["id"], first["id"]);
        let home = set(&kit, sk, "ann", "HOUSEHOLD", "bob").await;
        assert_eq!(set(&kit, sk, "bob", "HOUSEHOLD", "ann").await["id"], home["id"]);

        kit.advance(TimeDelta::seconds(10));
        let ended = ask(&kit, sk, END, json!({"input": {"id": first["id"]}})).await;
        let valid_to = ended["relationshipEnd"]["relationship"]["validTo"].clone();
        assert_eq!(valid_to, "2026-01-01T09:00:16Z");
        kit.advance(TimeDelta::seconds(10));
        let ended = ask(&kit, sk, END, json!({"input": {"id": first["id"]}})).await;
        assert_eq!(ended["relationshipEnd"]["relationship"]["validTo"], valid_to);
        let anew = set(&kit, sk, "ann", "REFERRED", "bob").await;
        assert_ne!(anew["id"], first["id"]);

        let query = "{ contact(by: {externalId: \"bob\"}) {
            all: relationships { totalCount edges { node { id } } }
            active: relationships(filter: {kind: REFERRED, active: true}) { totalCount }
            ended: relationships(filter: {active: false}) { edges { node { id } } }
            last: relationships(last: 1) { edges { node { id } } } } }";
        let data = ask(&kit, sk, query, json!({})).await;
        assert_eq!(data["contact"]["all"]["totalCount"], 4);
        assert_eq!(data["contact"]["all"]["edges"][0]["node"]["id"], anew["id"]);
        assert_eq!(data["contact"]["active"]["totalCount"], 2);
        assert_eq!(data["contact"]["ended"]["edges"], json!([{"node": {"id": first["id"]}}]));
        assert_eq!(data["contact"]["last"]["edges"], json!([{"node": {"id": first["id"]}}]));
        let told = "{ events(filter: {name: {startsWith: \"relationship.\"}}) { edges { node { name contact { externalId } properties } } } }";
        let told = ask(&kit, sk, told, json!({})).await;
        let names: Vec<&Value> = told["events"]["edges"].as_array().unwrap().iter().rev().map(|edge| &edge["node"]["name"]).collect();
        assert_eq!(names, ["relationship.started", "relationship.started", "relationship.started", "relationship.ended", "relationship.started"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_with_a_relationship_is_told_and_nothing_is_written() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let sk = &acme.secret_key;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "email": "ann@example.com"})).await;
        let stranger = upsert(&kit, &bolt, json!({"externalId": "eve"})).await;
        for (change, error) in [
            (json!({"toId": ann}), json!({"code": "INVALID", "field": "toId"})),
            (json!({"to": {"email": "ann@example.com"}}), json!({"code": "INVALID", "field": "toId"})),
            (json!({"toId": stranger}), json!({"code": "NOT_FOUND", "field": "toId"})),
            (json!({"to": {"externalId": "eve"}}), json!({"code": "NOT_FOUND", "field": "to"})),
            (json!({}), json!({"code": "INVALID", "field": "toId"})),
            (json!({"toId": stranger, "evidence": [1]}), json!({"code": "INVALID", "field": "evidence"})),
        ] {
            let mut input = json!({"fromId": ann, "kind": "REPORTS_TO"});
            for (key, value) in change.as_object().unwrap() {
                input[key] = value.clone();
            }
            let data = ask(&kit, sk, SET, json!({"input": input})).await;
            assert_eq!(data["relationshipSet"], json!({"relationship": null, "userErrors": [error]}), "{input}");
        }
        let data = ask(&kit, sk, "query($id: ID!) { contact(id: $id) { relationships { totalCount } related { distance } } }", json!({"id": ann})).await;
        assert_eq!(data["contact"], json!({"relationships": {"totalCount": 0}, "related": []}));
        // Another person is not a contact's own to see.
        let token = kit.contact_token(&acme, entity::ContactId::parse(&ann).unwrap()).await?;
        for field in ["relationships { totalCount }", "related { distance }", "accounts { totalCount }"] {
            let query = format!("{{ me {{ {field} }} }}");
            let name = field.split_whitespace().next().unwrap();
            assert_eq!(refused(&kit, &token, &query, json!({})).await, json!([[["me", name], "FORBIDDEN"]]));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn relationships_are_walked_the_nearest_first_and_a_circle_ends() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        for name in ["a", "b", "c", "d", "e", "boss"] {
            upsert(&kit, &acme, json!({"externalId": name})).await;
        }
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")] {
            set(&kit, sk, from, "REFERRED", to).await;
        }
        set(&kit, sk, "a", "REPORTS_TO", "boss").await;
        for (arguments, expected) in [
            ("(kind: REFERRED, direction: OUT, depth: 5)", vec!["b 1", "c 2", "d 3", "e 4"]),
            ("(kind: REFERRED, direction: IN, depth: 5)", vec!["c 1", "b 2"]),
            ("(kind: REFERRED, depth: 2)", vec!["b 1", "c 1", "d 2"]),
            ("(direction: OUT, depth: 5, first: 3)", vec!["b 1", "boss 1", "c 2"]),
            ("", vec!["b 1", "c 1", "boss 1"]),
            ("(first: 0)", vec![]),
        ] {
            assert_eq!(related(&kit, sk, "a", arguments).await, expected, "{arguments}");
        }
        for arguments in ["(depth: 6)", "(depth: 0)", "(first: 101)"] {
            let query = format!("{{ contact(by: {{externalId: \"a\"}}) {{ related{arguments} {{ distance }} }} }}");
            let answer = kit.gql(sk, &query, json!({})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{arguments}");
        }
        // What an absorbed contact was related to is its root's.
        upsert(&kit, &acme, json!({"anonymousId": "visitor"})).await;
        let input = json!({"from": {"anonymousId": "visitor"}, "to": {"externalId": "e"}, "kind": "HOUSEHOLD"});
        ask(&kit, sk, SET, json!({"input": input})).await;
        let join = "mutation { identify(input: {userId: \"boss\", anonymousId: \"visitor\"}) { accepted } }";
        ask(&kit, sk, join, json!({})).await;
        assert_eq!(related(&kit, sk, "boss", "(kind: HOUSEHOLD)").await, ["e 1"]);
        assert_eq!(related(&kit, sk, "e", "(kind: HOUSEHOLD)").await, ["boss 1"]);
        // A page of contacts takes no more steps than one.
        let page = |size: usize| format!("{{ contacts(first: {size}) {{ edges {{ node {{ related(depth: 3) {{ distance contact {{ externalId }} }} relationships(first: 2) {{ totalCount }} }} }} }} }}");
        let two = kit.statements_of(sk, &page(2), json!({})).await;
        let six = kit.statements_of(sk, &page(6), json!({})).await;
        assert!(six <= two + 1, "{two} {six}");
        Ok(())
    })
    .await
}
