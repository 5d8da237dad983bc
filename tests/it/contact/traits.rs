//! What traits mean, which value wins and who sees it.

use chrono::TimeDelta;
use entity::{ContactId, Id, contact_trait, trait_observation};
use sea_orm::{ColumnTrait as _, QueryFilter as _, Set, sea_query::OnConflict};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database, start};
use uuid::Uuid;

use super::{ask, upsert};

const SAVE: &str = "mutation($input: TraitDefinitionSaveInput!) { traitDefinitionSave(input: $input) { traitDefinition { key type pii policy sources settling description } userErrors { code field } } }";

async fn save(kit: &Kit, tenant: &Tenant, input: Value) -> Value {
    let mut data = ask(kit, &tenant.secret_key, SAVE, json!({"input": input})).await;
    data["traitDefinitionSave"].take()
}

async fn lock(kit: &Kit, tenant: &Tenant, locked: bool) {
    let lock = "mutation($locked: Boolean!) { traitSchemaSave(input: {locked: $locked}) { traitSchema { lockedAt } userErrors { code } } }";
    let data = ask(kit, &tenant.secret_key, lock, json!({"locked": locked})).await;
    let saved = &data["traitSchemaSave"];
    assert_eq!(saved["userErrors"], json!([]));
    assert_eq!(saved["traitSchema"]["lockedAt"].is_string(), locked);
}

/// Each known trait with its type.
async fn known(kit: &Kit, tenant: &Tenant) -> Vec<(String, String)> {
    let query = "{ traitDefinitions(first: 100) { totalCount edges { node { key type } } } }";
    let data = ask(kit, &tenant.secret_key, query, json!({})).await;
    let edges = data["traitDefinitions"]["edges"].as_array().unwrap();
    assert_eq!(data["traitDefinitions"]["totalCount"], edges.len());
    let text = |node: &Value, key: &str| node[key].as_str().unwrap().to_owned();
    let mut known: Vec<_> = edges
        .iter()
        .map(|edge| (text(&edge["node"], "key"), text(&edge["node"], "type")))
        .collect();
    known.sort_unstable();
    known
}

async fn traits(kit: &Kit, credential: &str, id: &str) -> Value {
    let query = "query($id: ID!) { contact(id: $id) { traits } }";
    let mut data = ask(kit, credential, query, json!({"id": id})).await;
    data["contact"]["traits"].take()
}

#[tokio::test]
async fn a_trait_is_known_from_its_first_value_and_keeps_that_type() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let first = json!({"plan": "pro", "seats": 5, "active": true, "since": "2026-01-31", "tags": ["a"], "address": {"city": "Bonn"}, "gone": null});
        upsert(&kit, &acme, json!({"externalId": "ann", "traits": first})).await;
        upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"plan": 7}})).await;
        let expected = [
            ("active", "BOOLEAN"), ("address", "OBJECT"), ("plan", "STRING"), ("seats", "NUMBER"), ("since", "DATE"), ("tags", "LIST"),
        ];
        let expected: Vec<_> = expected.iter().map(|(key, kind)| ((*key).to_owned(), (*kind).to_owned())).collect();
        assert_eq!(known(&kit, &acme).await, expected);
        assert_eq!(known(&kit, &bolt).await, []);
        kit.advance(TimeDelta::days(1));
        upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"plan": "free"}})).await;
        let query = "{ traitDefinitions(first: 100) { edges { node { key createdAt lastSeenAt } } } }";
        let data = ask(&kit, &acme.secret_key, query, json!({})).await;
        let edges = data["traitDefinitions"]["edges"].as_array().unwrap();
        let plan = edges.iter().find(|edge| edge["node"]["key"] == "plan").unwrap();
        assert_eq!(
            plan["node"],
            json!({"key": "plan", "createdAt": "2026-01-01T09:00:01Z", "lastSeenAt": "2026-01-02T09:00:03Z"})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_locked_schema_refuses_what_it_does_not_know_by_every_way_in() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let (sk, pk) = (&acme.secret_key, &acme.publishable_key);
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "name": "Ann", "traits": {"plan": "pro", "seats": 5}})).await;
        lock(&kit, &acme, true).await;
        let before = traits(&kit, sk, &ann).await;
        for (document, field) in [
            ("mutation($t: JSON!) { r: contactUpsert(input: {externalId: \"ann\", traits: $t}) { userErrors { code field message } } }", "traits"),
            ("mutation($t: JSON!) { r: identify(input: {userId: \"ann\", traits: $t}) { userErrors { code field message } } }", "traits"),
            ("mutation($t: JSON!) { r: track(input: {event: \"x\", userId: \"ann\", properties: $t}) { userErrors { code field message } } }", "properties.$set"),
            ("mutation($t: JSON!) { r: trackBatch(input: {events: [{event: \"x\", userId: \"ann\"}, {event: \"x\", userId: \"ann\", properties: $t}]}) { userErrors { code field message } } }", "events.1.properties.$set"),
        ] {
            for (key, value, message) in [
                ("color", json!("red"), "there is no trait \"color\", and the schema is locked"),
                ("plan", json!(5), "the trait \"plan\" is a text"),
                ("seats", json!("many"), "the trait \"seats\" is a number"),
            ] {
                let said = json!({key: value});
                let said = if field.ends_with("$set") { json!({"$set": said}) } else { said };
                let data = ask(&kit, sk, document, json!({"t": said})).await;
                assert_eq!(
                    data["r"]["userErrors"],
                    json!([{"code": "INVALID", "field": format!("{field}.{key}"), "message": message}])
                );
            }
        }
        assert_eq!(traits(&kit, sk, &ann).await, before);
        // What it knows it takes, and what inputs have fields for; another tenant is not locked.
        upsert(&kit, &acme, json!({"externalId": "ann", "email": "ann@example.com", "traits": {"plan": "free", "seats": null}})).await;
        assert_eq!(traits(&kit, sk, &ann).await, json!({"email": "ann@example.com", "name": "Ann", "plan": "free"}));
        upsert(&kit, &bolt, json!({"externalId": "bob", "traits": {"color": "red"}})).await;

        let server = kit.serve().await?;
        let sent = reqwest::Client::new()
            .post(server.url("/capture/"))
            .json(&json!({"api_key": pk, "event": "$identify", "distinct_id": "ann",
                "properties": {"$set": {"plan": "max", "color": "red"}, "$set_once": {"seats": "many"}}}))
            .send()
            .await?;
        assert_eq!(sent.status(), 200);
        assert_eq!(traits(&kit, sk, &ann).await["plan"], "max");
        assert_eq!(traits(&kit, sk, &ann).await["color"], Value::Null);
        assert_eq!(traits(&kit, sk, &ann).await["seats"], Value::Null);

        lock(&kit, &acme, false).await;
        upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"color": "red"}})).await;
        assert_eq!(traits(&kit, sk, &ann).await["color"], "red");
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_personal_trait_is_seen_and_searched_by_few() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"salary": 5000, "plan": "pro"}})).await;
        let seen = save(&kit, &acme, json!({"key": "salary", "pii": true, "description": "gross"})).await;
        assert_eq!(
            seen,
            json!({"traitDefinition": {"key": "salary", "type": "NUMBER", "pii": true, "policy": "MOST_RECENT", "sources": [], "settling": false, "description": "gross"}, "userErrors": []})
        );
        let query = "query($id: ID!) { contact(id: $id) { traits salary: trait(key: \"salary\") traitHistory(key: \"salary\") { totalCount } }
            found: contacts(filter: {trait: {key: \"salary\", gt: 4000}}) { totalCount } }";
        // A field that no plan knows has the engine answer.
        let lanes = [query.to_owned(), query.replace(" traitHistory(key: \"salary\") { totalCount }", "")];
        let own = kit.contact_token(&acme, ContactId::parse(&ann).unwrap()).await?;
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        let writer = kit.key(&acme, &["contacts:write"]).await?;
        let both = kit.key(&acme, &["contacts:read", "contacts:pii"]).await?;
        for (credential, sees) in [(&acme.secret_key, true), (&both, true), (&reader, false), (&writer, false)] {
            for document in &lanes {
                let data = ask(&kit, credential, document, json!({"id": ann})).await;
                let contact = &data["contact"];
                let (all, one, total) = if sees {
                    (json!({"plan": "pro", "salary": 5000}), json!(5000), 1)
                } else {
                    (json!({"plan": "pro"}), Value::Null, 0)
                };
                assert_eq!((&contact["traits"], &contact["salary"]), (&all, &one), "{document}");
                assert_eq!(data["found"]["totalCount"], total, "{document}");
                if document.contains("traitHistory") {
                    assert_eq!(contact["traitHistory"]["totalCount"], total);
                }
            }
        }
        let me = ask(&kit, &own, "{ me { traits } }", json!({})).await;
        assert_eq!(me["me"]["traits"], json!({"plan": "pro", "salary": 5000}));
        Ok(())
    })
    .await
}

/// Writes down what was said of a contact's trait: value, source and rank, a minute apart; the last is the winner.
async fn observed(
    tenant: &Tenant,
    contact: &str,
    key: &str,
    said: &[(Value, &str, i32)],
) -> anyhow::Result<()> {
    use contact_trait::Column;
    let contact = ContactId::parse(contact).unwrap();
    tenant
        .cx
        .write(async |tx| {
            for (minute, (value, source, rank)) in said.iter().enumerate() {
                let at = start() + TimeDelta::minutes(i64::try_from(minute).unwrap_or_default());
                let id: Id<trait_observation::Entity> = tx.new_id();
                tx.insert(trait_observation::ActiveModel {
                    id: Set(id),
                    tenant_id: Set(tx.tenant()),
                    contact_id: Set(contact),
                    identifier_id: Set(None),
                    key: Set(key.to_owned()),
                    value: Set(value.clone()),
                    rank: Set(*rank),
                    source: Set((*source).to_owned()),
                    first_observed_at: Set(at),
                    observed_at: Set(at),
                    said_by: Set(id.uuid()),
                    same: Set(id.uuid()),
                    created_at: Set(at),
                })
                .await?;
                let winner = contact_trait::ActiveModel {
                    id: Set(tx.new_id()),
                    tenant_id: Set(tx.tenant()),
                    contact_id: Set(contact),
                    key: Set(key.to_owned()),
                    value: Set(value.clone()),
                    text: Set(None),
                    number: Set(None),
                    rank: Set(*rank),
                    source: Set((*source).to_owned()),
                    observed_at: Set(at),
                    said_by: Set(Uuid::nil()),
                };
                let anew = OnConflict::columns([Column::TenantId, Column::ContactId, Column::Key])
                    .update_columns([
                        Column::Value,
                        Column::Rank,
                        Column::Source,
                        Column::ObservedAt,
                    ])
                    .to_owned();
                tx.insert_all(vec![winner], Some(anew)).await?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}

/// Does what falls due of the room, until nothing does.
async fn settled(kit: &Kit) -> anyhow::Result<()> {
    let contact = kit
        .app
        .env
        .modules
        .iter()
        .find(|module| module.name == "contact")
        .unwrap();
    let due = contact.due.unwrap();
    for _ in 0..100 {
        if due(&kit.app.env).await? == 0 {
            return Ok(());
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn a_policy_that_changes_has_the_winners_chosen_anew() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let mut contacts = vec![];
        for name in ["ann", "bob", "cid"] {
            contacts.push(upsert(&kit, &acme, json!({"externalId": name})).await);
        }
        observed(&acme, &contacts[0], "plan", &[(json!("crm's"), "crm", 1), (json!("browser's"), "capture", 1)]).await?;
        observed(&acme, &contacts[1], "plan", &[(json!("first"), "import", 0), (json!("second"), "crm", 0)]).await?;
        observed(&acme, &contacts[2], "plan", &[(json!("old"), "crm", 1), (json!("new"), "crm", 1), (json!(null), "capture", 1)]).await?;
        observed(&acme, &contacts[2], "color", &[(json!("red"), "capture", 1)]).await?;
        let input = json!({"key": "plan", "type": "STRING", "policy": "SOURCE_PRIORITY", "sources": ["crm", "api"]});
        let saved = save(&kit, &acme, input).await;
        assert_eq!(saved["traitDefinition"]["settling"], true);
        settled(&kit).await?;
        assert_eq!(traits(&kit, sk, &contacts[0]).await, json!({"plan": "crm's"}));
        assert_eq!(traits(&kit, sk, &contacts[1]).await, json!({"plan": "first"}));
        assert_eq!(traits(&kit, sk, &contacts[2]).await, json!({"plan": "new", "color": "red"}));
        let found = "{ contacts(filter: {trait: {key: \"plan\", eq: \"crm's\"}}) { totalCount } traitDefinitions { edges { node { settling } } } }";
        let data = ask(&kit, sk, found, json!({})).await;
        assert_eq!(data, json!({"contacts": {"totalCount": 1}, "traitDefinitions": {"edges": [{"node": {"settling": false}}]}}));
        let ranks = acme
            .cx
            .db()
            .find::<trait_observation::Entity>()
            .filter(trait_observation::Column::ContactId.eq(ContactId::parse(&contacts[0]).unwrap()))
            .all()
            .await?;
        let mut ranks: Vec<_> = ranks.into_iter().map(|row| (row.source, row.rank)).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, [("capture".to_owned(), 1), ("crm".to_owned(), 3)]);

        save(&kit, &acme, json!({"key": "plan", "policy": "MOST_RECENT"})).await;
        settled(&kit).await?;
        assert_eq!(traits(&kit, sk, &contacts[0]).await, json!({"plan": "browser's"}));
        assert_eq!(traits(&kit, sk, &contacts[2]).await, json!({"color": "red"}));
        let history = "query($id: ID!) { contact(id: $id) { traitHistory(key: \"plan\") { totalCount edges { node { value source once observedAt } } } } }";
        let data = ask(&kit, sk, history, json!({"id": contacts[0]})).await;
        assert_eq!(
            data["contact"]["traitHistory"],
            json!({"totalCount": 2, "edges": [
                {"node": {"value": "browser's", "source": "capture", "once": false, "observedAt": "2026-01-01T09:01:00Z"}},
                {"node": {"value": "crm's", "source": "crm", "once": false, "observedAt": "2026-01-01T09:00:00Z"}},
            ]})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_told_and_nothing_is_saved() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let many: Vec<String> = (0..21).map(|n| format!("s{n}")).collect();
        for (input, field) in [
            (json!({"key": ""}), "key"),
            (json!({"key": "plan"}), "type"),
            (json!({"key": "plan", "type": "STRING", "sources": ["crm"]}), "policy"),
            (json!({"key": "plan", "type": "STRING", "policy": "SOURCE_PRIORITY"}), "sources"),
            (json!({"key": "plan", "type": "STRING", "policy": "SOURCE_PRIORITY", "sources": many}), "sources"),
            (json!({"key": "plan", "type": "STRING", "policy": "SOURCE_PRIORITY", "sources": ["crm", "crm"]}), "sources"),
            (json!({"key": "plan", "type": "STRING", "policy": "MOST_RECENT", "sources": ["crm"]}), "sources"),
            (json!({"key": "plan", "type": "STRING", "description": "x".repeat(1_001)}), "description"),
        ] {
            let saved = save(&kit, &acme, input.clone()).await;
            assert_eq!(
                saved,
                json!({"traitDefinition": null, "userErrors": [{"code": "INVALID", "field": field}]}),
                "{input}"
            );
        }
        assert_eq!(known(&kit, &acme).await, []);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_trusted_source_keeps_its_word_whoever_speaks_later() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let (sk, pk) = (&acme.secret_key, &acme.publishable_key);
        let input = json!({"key": "plan", "type": "STRING", "policy": "SOURCE_PRIORITY", "sources": ["api"]});
        save(&kit, &acme, input).await;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"plan": "pro", "color": "red"}})).await;
        let server = kit.serve().await?;
        kit.advance(TimeDelta::minutes(1));
        let sent = reqwest::Client::new()
            .post(server.url("/capture/"))
            .json(&json!({"api_key": pk, "event": "$identify", "distinct_id": "ann", "properties": {"$set": {"plan": "free", "color": "blue"}}}))
            .send()
            .await?;
        assert_eq!(sent.status(), 200);
        assert_eq!(traits(&kit, sk, &ann).await, json!({"plan": "pro", "color": "blue"}));
        let history = "query($id: ID!) { contact(id: $id) { traitHistory(key: \"plan\") { edges { node { value source } } } } }";
        let data = ask(&kit, sk, history, json!({"id": ann})).await;
        assert_eq!(
            data["contact"]["traitHistory"]["edges"],
            json!([{"node": {"value": "free", "source": "capture"}}, {"node": {"value": "pro", "source": "api"}}])
        );
        upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"plan": "max"}})).await;
        assert_eq!(traits(&kit, sk, &ann).await["plan"], "max");
        server.stop().await
    })
    .await
}
