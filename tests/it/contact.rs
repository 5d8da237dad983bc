//! Contacts as clients tell of them and read them.

mod accounts;
mod consents;
mod filters;
mod pages;
mod relationships;
mod timeline;
mod touchpoints;
mod traits;

use chrono::TimeDelta;
use entity::ContactId;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

/// The answer's data, which has no errors beside it.
pub(crate) async fn ask(kit: &Kit, credential: &str, query: &str, variables: Value) -> Value {
    let mut answer = kit.gql(credential, query, variables).await;
    assert_eq!(answer["errors"], Value::Null, "{query}");
    answer["data"].take()
}

/// The codes of the answer's errors, with their paths.
pub(crate) async fn refused(kit: &Kit, credential: &str, query: &str, variables: Value) -> Value {
    let answer = kit.gql(credential, query, variables).await;
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    errors
        .iter()
        .map(|error| json!([error["path"], error["extensions"]["code"]]))
        .collect()
}

/// Makes a contact from `input`; gives its id.
pub(crate) async fn upsert(kit: &Kit, tenant: &Tenant, input: Value) -> String {
    kit.advance(TimeDelta::seconds(1));
    let query = "mutation($input: ContactUpsertInput!) { contactUpsert(input: $input) { contact { id } userErrors { message } } }";
    let data = ask(kit, &tenant.secret_key, query, json!({"input": input})).await;
    assert_eq!(data["contactUpsert"]["userErrors"], json!([]), "{input}");
    data["contactUpsert"]["contact"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) async fn track(kit: &Kit, credential: &str, input: Value) -> Value {
    let query = "mutation($input: TrackInput!) { track(input: $input) { contact { id } accepted requestId userErrors { code field message } } }";
    let mut data = ask(kit, credential, query, json!({"input": input})).await;
    data["track"].take()
}

const IDENTIFY: &str = "mutation($input: IdentifyInput!) { identify(input: $input) { contact { id } accepted requestId userErrors { code field message } } }";

#[tokio::test]
async fn identify_joins_a_visitor_with_a_known_person_and_both_ids_lead_to_one_contact()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let pk = &acme.publishable_key;
        let sk = &acme.secret_key;
        let known = upsert(&kit, &acme, json!({"externalId": "u1", "email": "Ann@Example.com", "name": "Ann"})).await;
        track(&kit, pk, json!({"event": "$pageview", "anonymousId": "a1", "messageId": "m1",
            "timestamp": "2025-12-31T10:00:00Z",
            "context": {"page": {"url": "https://acme.test/?utm_source=news&ref=BOB7"}}})).await;
        let visitor = ask(&kit, sk, "{ contact(by: {anonymousId: \"a1\"}) { id status } }", json!({})).await;
        let visitor_id = visitor["contact"]["id"].as_str().unwrap();
        assert_ne!(visitor_id, known);
        assert_eq!(visitor["contact"]["status"], "ANONYMOUS");

        let told = ask(&kit, sk, IDENTIFY, json!({"input": {"userId": "u1", "anonymousId": "a1", "traits": {"plan": "pro", "gone": null}}})).await;
        let root = told["identify"]["contact"]["id"].clone();
        assert_eq!(told["identify"]["accepted"], true);

        let query = "query($a: ID!, $b: ID!) {
            a: contact(id: $a) { ...All } b: contact(id: $b) { id }
            c: contact(by: {email: \"ANN@example.COM\"}) { id } d: contact(by: {distinctId: \"a1\"}) { id }
            contacts { totalCount edges { node { id } } }
        }
        fragment All on Contact {
            id status externalId email phone name anonymousIds traits plan: trait(key: \"plan\") none: trait(key: \"none\")
            identifiers { kind value verification }
            attribution { firstTouch { at source referralCode landingUrl clickIds } lastTouch { source } }
            events(filter: {name: {notIn: [\"contact.merged\", \"contact.identified\"]}}) { totalCount edges { node { name source contact { id } } } }
        }";
        let seen = ask(&kit, sk, query, json!({"a": known, "b": visitor_id})).await;
        assert_eq!(
            seen["a"],
            json!({
                "id": root, "status": "VERIFIED", "externalId": "u1", "email": "Ann@example.com", "phone": null, "name": "Ann",
                "anonymousIds": ["a1"], "traits": {"email": "Ann@example.com", "name": "Ann", "plan": "pro"}, "plan": "pro", "none": null,
                "identifiers": [
                    {"kind": "ANONYMOUS_ID", "value": "a1", "verification": "ASSERTED_BY_BACKEND"},
                    {"kind": "EXTERNAL_ID", "value": "u1", "verification": "ASSERTED_BY_BACKEND"},
                    {"kind": "EMAIL", "value": "Ann@example.com", "verification": "ASSERTED_BY_BACKEND"},
                ],
                "attribution": {
                    "firstTouch": {"at": "2025-12-31T10:00:00Z", "source": "news", "referralCode": "BOB7",
                        "landingUrl": "https://acme.test/?utm_source=news&ref=BOB7", "clickIds": {}},
                    "lastTouch": {"source": "news"},
                },
                "events": {"totalCount": 3, "edges": [
                    {"node": {"name": "$identify", "source": "api", "contact": {"id": root}}},
                    {"node": {"name": "$set", "source": "api", "contact": {"id": root}}},
                    {"node": {"name": "$pageview", "source": "api", "contact": {"id": root}}},
                ]},
            })
        );
        for other in ["b", "c", "d"] {
            assert_eq!(seen[other]["id"], root);
        }
        assert_eq!(seen["contacts"], json!({"totalCount": 1, "edges": [{"node": {"id": root}}]}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_that_is_sent_again_happens_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let input = json!({"event": "signup", "userId": "u1", "messageId": "m1", "properties": {"$set": {"plan": "pro"}, "n": 1}});
        let first = track(&kit, &acme.secret_key, input.clone()).await;
        assert_eq!(track(&kit, &acme.secret_key, input).await, first);
        assert_eq!(first["requestId"], "test");
        let query = "mutation($events: [TrackInput!]!) { trackBatch(input: {events: $events}) { accepted userErrors { message } } }";
        let events = json!([
            {"event": "signup", "userId": "u1", "messageId": "m1"},
            {"event": "paid", "userId": "u1", "messageId": "m2"},
            {"event": "paid", "userId": "u2", "messageId": "m2"},
        ]);
        let batch = ask(&kit, &acme.secret_key, query, json!({"events": events})).await;
        assert_eq!(batch["trackBatch"], json!({"accepted": 3, "userErrors": []}));
        let seen = ask(
            &kit,
            &acme.secret_key,
            "{ contacts { edges { node { externalId traits } } } events(filter: {source: {eq: \"api\"}}) { edges { node { name messageId properties } } } }",
            json!({}),
        )
        .await;
        assert_eq!(seen["contacts"]["edges"], json!([{"node": {"externalId": "u1", "traits": {"plan": "pro"}}}]));
        assert_eq!(
            seen["events"]["edges"],
            json!([
                {"node": {"name": "paid", "messageId": "m2", "properties": {}}},
                {"node": {"name": "signup", "messageId": "m1", "properties": {"$set": {"plan": "pro"}, "n": 1}}},
            ])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn alias_makes_two_ids_one_person() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        track(&kit, &acme.publishable_key, json!({"event": "seen", "anonymousId": "a1"})).await;
        track(&kit, &acme.secret_key, json!({"event": "seen", "userId": "u1"})).await;
        let query = "mutation { alias(input: {userId: \"u1\", alias: \"a1\"}) { contact { id } accepted userErrors { message } } }";
        let told = ask(&kit, &acme.secret_key, query, json!({})).await;
        assert_eq!(told["alias"]["accepted"], true);
        let seen = ask(&kit, &acme.secret_key, "{ a: contact(by: {externalId: \"u1\"}) { id } b: contact(by: {anonymousId: \"a1\"}) { id } }", json!({})).await;
        assert_eq!(seen["a"], told["alias"]["contact"]);
        assert_eq!(seen["b"], seen["a"]);
        for input in ["{alias: \"x\"}", "{alias: \"x\", userId: \"a\", distinctId: \"b\"}", "{alias: \"null\", userId: \"a\"}"] {
            let query = format!("mutation {{ alias(input: {input}) {{ accepted userErrors {{ code }} }} }}");
            let told = ask(&kit, &acme.secret_key, &query, json!({})).await;
            assert_eq!(told["alias"], json!({"accepted": false, "userErrors": [{"code": "INVALID"}]}), "{input}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = upsert(&kit, &acme, json!({"externalId": "u1", "traits": {"plan": "free", "city": "Rome", "n": 1}})).await;
        kit.advance(TimeDelta::seconds(5));
        let query = "mutation($input: ContactUpdateInput!) { contactUpdate(input: $input) { contact { id name email phone traits updatedAt } userErrors { code field message } } }";
        let input = json!({"id": id, "name": "Ann Lee", "phone": "+49 30 901820", "traits": {"plan": "pro", "n": null}, "unsetTraits": ["city"]});
        let data = ask(&kit, &acme.secret_key, query, json!({"input": input})).await;
        assert_eq!(
            data["contactUpdate"]["contact"]["traits"],
            json!({"name": "Ann Lee", "phone": "+4930901820", "plan": "pro"})
        );
        assert_eq!(data["contactUpdate"]["contact"]["name"], "Ann Lee");
        assert_eq!(data["contactUpdate"]["contact"]["phone"], "+4930901820");
        for (input, error) in [
            (json!({"id": "contact_nobody", "name": "x"}), json!({"code": "NOT_FOUND", "field": "id", "message": "there is no contact \"contact_nobody\""})),
            (json!({"id": "contact_01h455vb4pex5vsknk084sn02q", "name": "x"}), json!({"code": "NOT_FOUND", "field": "id", "message": "there is no contact contact_01h455vb4pex5vsknk084sn02q"})),
            (json!({"id": id}), json!({"code": "INVALID", "field": "traits", "message": "give something to change"})),
            (json!({"id": id, "email": "nobody"}), json!({"code": "INVALID", "field": "email", "message": "\"nobody\" is not an e-mail address"})),
            (json!({"id": id, "traits": [1]}), json!({"code": "INVALID", "field": "traits", "message": "traits is an object"})),
        ] {
            let data = ask(&kit, &acme.secret_key, query, json!({"input": input})).await;
            assert_eq!(data["contactUpdate"], json!({"contact": null, "userErrors": [error]}));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_the_callers_to_mend_and_nothing_is_written()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
        for (input, field) in [
            (json!({"event": "", "userId": "u1"}), "event"),
            (json!({"event": "x".repeat(201), "userId": "u1"}), "event"),
            (json!({"event": "$identify", "userId": "u1"}), "event"),
            (json!({"event": "x"}), "userId"),
            (json!({"event": "x", "userId": "undefined"}), "userId"),
            (json!({"event": "x", "anonymousId": "x".repeat(201)}), "anonymousId"),
            (json!({"event": "x", "contactId": "contact_01h455vb4pex5vsknk084sn02q"}), "contactId"),
            (json!({"event": "x", "userId": "u1", "properties": "x"}), "properties"),
            (json!({"event": "x", "userId": "u1", "properties": deep}), "properties"),
            (json!({"event": "x", "userId": "u1", "properties": {"a": "x".repeat(1_000_001)}}), "properties"),
            (json!({"event": "x", "userId": "u1", "properties": {"$set": 1}}), "properties.$set"),
            (json!({"event": "x", "userId": "u1", "context": {"a": "x".repeat(9_000)}}), "context"),
            (json!({"event": "x", "userId": "u1", "messageId": ""}), "messageId"),
        ] {
            let told = track(&kit, &acme.secret_key, input.clone()).await;
            assert_eq!(told["accepted"], false, "{field}");
            assert_eq!(told["userErrors"][0]["field"], field);
            let query = "mutation($events: [TrackInput!]!) { trackBatch(input: {events: $events}) { accepted userErrors { field } } }";
            let events = json!([{"event": "fine", "userId": "u1"}, input]);
            let batch = ask(&kit, &acme.secret_key, query, json!({"events": events})).await;
            assert_eq!(batch["trackBatch"], json!({"accepted": 0, "userErrors": [{"field": format!("events.1.{field}")}]}));
        }
        let seen = ask(&kit, &acme.secret_key, "{ events { totalCount } contacts { totalCount } }", json!({})).await;
        assert_eq!(seen, json!({"events": {"totalCount": 0}, "contacts": {"totalCount": 0}}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_time_far_ahead_is_now_and_a_null_character_is_replaced() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for (name, at) in [("early", "2025-12-31T23:59:59.1234567Z"), ("ahead", "2026-01-02T07:59:00Z"), ("broken", "2026-01-02T08:01:00Z")] {
            track(&kit, &acme.secret_key, json!({"event": name, "userId": "u1", "timestamp": at, "properties": {"a\0": ["b\0"]}})).await;
        }
        let seen = ask(&kit, &acme.secret_key, "{ events(filter: {source: {eq: \"api\"}}) { edges { node { name occurredAt receivedAt properties } } } }", json!({})).await;
        let now = "2026-01-01T09:00:00Z";
        let properties = json!({"a\u{fffd}": ["b\u{fffd}"]});
        assert_eq!(
            seen["events"]["edges"],
            json!([
                {"node": {"name": "ahead", "occurredAt": "2026-01-02T07:59:00Z", "receivedAt": now, "properties": properties}},
                {"node": {"name": "broken", "occurredAt": now, "receivedAt": now, "properties": properties}},
                {"node": {"name": "early", "occurredAt": "2025-12-31T23:59:59.123456Z", "receivedAt": now, "properties": properties}},
            ])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_publishable_key_tells_and_reads_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let pk = &acme.publishable_key;
        let id = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let told = track(&kit, pk, json!({"event": "seen", "userId": "u1"})).await;
        assert_eq!(
            told,
            json!({"contact": null, "accepted": true, "requestId": "test", "userErrors": []})
        );
        let told = track(&kit, pk, json!({"event": "seen", "contactId": id})).await;
        assert_eq!(told["userErrors"][0]["field"], "contactId");
        for query in [
            "{ contacts { totalCount } }",
            "{ contact(by: {externalId: \"u1\"}) { id } }",
            "{ events { totalCount } }",
            "{ me { id } }",
            "{ node(id: \"x\") { id } }",
        ] {
            let codes = refused(&kit, pk, query, json!({})).await;
            assert_eq!(codes[0][1], "FORBIDDEN", "{query}");
        }
        // A key that may tell but not read is shown no contact, either.
        let teller = kit.key(&acme, &["events:write"]).await?;
        let told = track(&kit, &teller, json!({"event": "seen", "userId": "u1"})).await;
        assert_eq!(told["contact"], Value::Null);
        assert_eq!(told["accepted"], true);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_contact_reads_itself_and_nobody_else() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "u1", "email": "ann@example.com"})).await;
        let bob = upsert(&kit, &acme, json!({"externalId": "u2"})).await;
        let token = kit.contact_token(&acme, ContactId::parse(&ann).unwrap()).await?;
        let seen = ask(&kit, &token, "{ me { id email events(first: 1) { edges { node { id name contact { id } } } } } }", json!({})).await;
        assert_eq!(seen["me"]["id"], ann);
        assert_eq!(seen["me"]["email"], "ann@example.com");
        let own_event = &seen["me"]["events"]["edges"][0]["node"];
        assert_eq!(own_event["contact"]["id"], ann);
        let events = ask(&kit, &acme.secret_key, "{ contact(by: {externalId: \"u2\"}) { events(first: 1) { edges { node { id } } } } }", json!({})).await;
        let other_event = &events["contact"]["events"]["edges"][0]["node"]["id"];
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
        let seen = ask(&kit, &token, query, json!({"ids": [ann, bob, own_event["id"], other_event, "nudge_x"]})).await;
        assert_eq!(seen["nodes"], json!([{"id": ann}, null, {"id": own_event["id"]}, null, null]));
        assert_eq!(refused(&kit, &token, "{ contacts { totalCount } }", json!({})).await, json!([[["contacts"], "FORBIDDEN"]]));
        // Joined with another, the contact reads on by the same token.
        let query = "mutation($input: ContactUpdateInput!) { contactUpdate(input: $input) { contact { id } userErrors { message } } }";
        ask(&kit, &acme.secret_key, IDENTIFY, json!({"input": {"anonymousId": "a1"}})).await;
        ask(&kit, &acme.secret_key, IDENTIFY, json!({"input": {"anonymousId": "a1", "userId": "u1"}})).await;
        ask(&kit, &acme.secret_key, query, json!({"input": {"id": ann, "name": "Ann"}})).await;
        let seen = ask(&kit, &token, "{ me { name anonymousIds } }", json!({})).await;
        assert_eq!(seen["me"], json!({"name": "Ann", "anonymousIds": ["a1"]}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn fields_of_other_scopes_are_refused_at_their_place_and_the_contact_stays()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let reader = kit.key(&acme, &["events:read"]).await?;
        let query = "{ events(first: 1, filter: {name: {eq: \"$set\"}}) { edges { node { name contact { id } } } } }";
        let answer = kit.gql(&reader, query, json!({})).await;
        assert_eq!(answer["data"]["events"]["edges"], json!([{"node": {"name": "$set", "contact": null}}]));
        assert_eq!(answer["errors"][0]["path"], json!(["events", "edges", 0, "node", "contact"]));
        let answer = kit.gql(&reader, "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }", json!({"id": id})).await;
        assert_eq!(answer["data"], json!({"node": null, "nodes": [null]}));
        assert_eq!(
            answer["errors"].as_array().unwrap().iter().map(|e| json!([e["path"], e["extensions"]["code"]])).collect::<Value>(),
            json!([[["node"], "FORBIDDEN"], [["nodes", 0], "FORBIDDEN"]])
        );
        // What PostHog tells is of a scope of its own: without it the contact and its page stand.
        let analytics = "analytics { activity(window: \"P7D\") { eventCount } metric(key: \"m\") { value } featureFlag(key: \"f\") { key } featureFlags { key } personUrl }";
        let nothing = json!({"activity": null, "metric": null, "featureFlag": null, "featureFlags": null, "personUrl": null});
        let fields = ["activity", "metric", "featureFlag", "featureFlags", "personUrl"];
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        let token = kit.contact_token(&acme, ContactId::parse(&id).unwrap()).await?;
        for (credential, query, place, data) in [
            (
                &reader,
                format!("query($id: ID!) {{ contact(id: $id) {{ id {analytics} }} }}"),
                json!(["contact"]),
                json!({"contact": {"id": id, "analytics": nothing}}),
            ),
            (
                &reader,
                format!("{{ contacts {{ edges {{ node {{ id {analytics} }} }} }} }}"),
                json!(["contacts", "edges", 0, "node"]),
                json!({"contacts": {"edges": [{"node": {"id": id, "analytics": nothing}}]}}),
            ),
            (
                &token,
                format!("{{ me {{ id {analytics} }} }}"),
                json!(["me"]),
                json!({"me": {"id": id, "analytics": nothing}}),
            ),
        ] {
            let answer = kit.gql(credential, &query, json!({"id": id})).await;
            assert_eq!(answer["data"], data, "{query}");
            let refused = answer["errors"].as_array().unwrap().iter().map(|e| json!([e["path"], e["extensions"]["code"]]));
            let expected = fields.map(|field| {
                let mut path = place.as_array().unwrap().clone();
                path.extend([json!("analytics"), json!(field)]);
                json!([path, "FORBIDDEN"])
            });
            assert_eq!(refused.collect::<Vec<_>>(), expected, "{query}");
        }
        let query = "{ __type(name: \"Contact\") { fields { name } } analytics: __type(name: \"ContactAnalytics\") { name } }";
        for (credential, shown) in [(&reader, false), (&token, false), (&acme.secret_key, true)] {
            let seen = ask(&kit, credential, query, json!({})).await;
            let fields = seen["__type"]["fields"].as_array().unwrap();
            assert_eq!(fields.contains(&json!({"name": "analytics"})), shown);
            assert_eq!(seen["analytics"].is_object(), shown);
        }
        Ok(())
    })
    .await
}
