//! What contacts allow.

use api::base::Regrouped;
use chrono::TimeDelta;
use entity::ContactId;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::{ask, refused, upsert};

const SET: &str = "mutation($input: ConsentSetInput!) { consentSet(input: $input) { consent { topic channel state basis proof at recordedAt } userErrors { code field } } }";

async fn set(kit: &Kit, credential: &str, input: Value) -> Value {
    kit.advance(TimeDelta::seconds(1));
    let mut data = ask(kit, credential, SET, json!({"input": input})).await;
    data["consentSet"].take()
}

/// How a contact stands: `topic channel state`, each.
async fn stands(kit: &Kit, tenant: &Tenant, contact: &str) -> Vec<String> {
    let query = "query($id: ID!) { contact(id: $id) { consents { topic channel state } } }";
    let data = ask(kit, &tenant.secret_key, query, json!({"id": contact})).await;
    let rows = data["contact"]["consents"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| {
            ["topic", "channel", "state"]
                .map(|key| text(row, key))
                .join(" ")
        })
        .collect()
}

/// Tells every room that contacts became one, or were taken apart.
async fn settle(kit: &Kit, tenant: &Tenant, regrouped: &Regrouped) -> anyhow::Result<()> {
    kit.advance(TimeDelta::seconds(1));
    for module in kit.app.env.modules {
        if let Some(settle) = module.fold.settle {
            tenant
                .cx
                .write(async |tx| settle(tx, regrouped).await)
                .await?;
        }
    }
    Ok(())
}

fn id(text: &str) -> ContactId {
    ContactId::parse(text).unwrap()
}

/// What `consent.changed` told of a contact, the oldest first.
async fn told(kit: &Kit, tenant: &Tenant, contact: &str) -> Value {
    let query = "query($id: ID!) { contact(id: $id) { events(last: 100, filter: {name: {eq: \"consent.changed\"}}) { edges { node { properties } } } } }";
    let data = ask(kit, &tenant.secret_key, query, json!({"id": contact})).await;
    let edges = data["contact"]["events"]["edges"].as_array().unwrap();
    edges
        .iter()
        .rev()
        .map(|edge| edge["node"]["properties"].clone())
        .collect()
}

#[tokio::test]
async fn a_consent_is_said_by_topic_and_channel_with_its_proof_and_nothing_is_overwritten()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "email": "ann@example.com"})).await;
        let granted = set(&kit, sk, json!({
            "by": {"email": "ANN@example.com"}, "topic": "newsletter", "channel": "EMAIL", "state": "GRANTED",
            "proof": {"source": "signup form", "ip": "203.0.113.9", "textVersion": "v3"}, "at": "2025-12-31T10:00:00Z",
        })).await;
        assert_eq!(
            granted,
            json!({"consent": {
                "topic": "newsletter", "channel": "EMAIL", "state": "GRANTED", "basis": "CONSENT",
                "proof": {"source": "signup form", "ip": "203.0.113.9", "textVersion": "v3"},
                "at": "2025-12-31T10:00:00Z", "recordedAt": "2026-01-01T09:00:02Z",
            }, "userErrors": []})
        );
        set(&kit, sk, json!({"contactId": ann, "topic": "newsletter", "channel": "SMS", "state": "DENIED"})).await;
        set(&kit, sk, json!({"contactId": ann, "topic": "newsletter", "channel": "EMAIL", "state": "WITHDRAWN"})).await;
        // History that came late changes nothing of how she stands.
        set(&kit, sk, json!({"contactId": ann, "topic": "newsletter", "channel": "EMAIL", "state": "GRANTED", "at": "2025-12-30T10:00:00Z"})).await;
        assert_eq!(
            stands(&kit, &acme, &ann).await,
            ["newsletter EMAIL WITHDRAWN", "newsletter SMS DENIED"]
        );
        let query = "query($id: ID!) { contact(id: $id) { consentHistory(first: 2) { totalCount edges { node { channel state at } cursor } }
            email: consentHistory(filter: {channel: EMAIL, topic: \"newsletter\"}) { totalCount } none: consentHistory(filter: {topic: \"x\"}) { totalCount } } }";
        let data = ask(&kit, sk, query, json!({"id": ann})).await;
        let history = &data["contact"]["consentHistory"];
        assert_eq!(
            [&history["totalCount"], &data["contact"]["email"]["totalCount"], &data["contact"]["none"]["totalCount"]],
            [&json!(4), &json!(3), &json!(0)]
        );
        assert_eq!(
            [&history["edges"][0]["node"], &history["edges"][1]["node"]],
            [
                &json!({"channel": "EMAIL", "state": "WITHDRAWN", "at": "2026-01-01T09:00:04Z"}),
                &json!({"channel": "SMS", "state": "DENIED", "at": "2026-01-01T09:00:03Z"}),
            ]
        );
        let after = &history["edges"][1]["cursor"];
        let query = "query($id: ID!, $after: String) { contact(id: $id) { consentHistory(after: $after) { edges { node { at } } } } }";
        let data = ask(&kit, sk, query, json!({"id": ann, "after": after})).await;
        assert_eq!(
            data["contact"]["consentHistory"]["edges"],
            json!([{"node": {"at": "2025-12-31T10:00:00Z"}}, {"node": {"at": "2025-12-30T10:00:00Z"}}])
        );
        assert_eq!(
            told(&kit, &acme, &ann).await,
            json!([
                {"topic": "newsletter", "channel": "email", "state": "granted", "before": null},
                {"topic": "newsletter", "channel": "sms", "state": "denied", "before": null},
                {"topic": "newsletter", "channel": "email", "state": "withdrawn", "before": "granted"},
            ])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_with_a_consent_is_told_and_nothing_is_written() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let bolt = kit.tenant("bolt").await?;
        let stranger = upsert(&kit, &bolt, json!({"externalId": "bob"})).await;
        for (change, error) in [
            (
                json!({"contactId": stranger}),
                json!({"code": "NOT_FOUND", "field": "contactId"}),
            ),
            (
                json!({"contactId": "contact_x"}),
                json!({"code": "NOT_FOUND", "field": "contactId"}),
            ),
            (
                json!({"contactId": null}),
                json!({"code": "INVALID", "field": "contactId"}),
            ),
            (
                json!({"by": {"externalId": "ann"}}),
                json!({"code": "INVALID", "field": "contactId"}),
            ),
            (
                json!({"contactId": null, "by": {"externalId": "bob"}}),
                json!({"code": "NOT_FOUND", "field": "by"}),
            ),
            (
                json!({"topic": "News letter"}),
                json!({"code": "INVALID", "field": "topic"}),
            ),
            (
                json!({"topic": ""}),
                json!({"code": "INVALID", "field": "topic"}),
            ),
            (
                json!({"basis": "MERGE"}),
                json!({"code": "INVALID", "field": "basis"}),
            ),
            (
                json!({"proof": {"ip": "here"}}),
                json!({"code": "INVALID", "field": "proof.ip"}),
            ),
            (
                json!({"at": "2026-01-01T10:00:00Z"}),
                json!({"code": "INVALID", "field": "at"}),
            ),
        ] {
            let mut input =
                json!({"contactId": ann, "topic": "news", "channel": "EMAIL", "state": "GRANTED"});
            for (key, value) in change.as_object().unwrap() {
                input[key] = value.clone();
            }
            let answer = set(&kit, &acme.secret_key, input).await;
            assert_eq!(
                answer,
                json!({"consent": null, "userErrors": [error]}),
                "{change}"
            );
        }
        assert_eq!(stands(&kit, &acme, &ann).await, Vec::<String>::new());
        assert_eq!(told(&kit, &acme, &ann).await, json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_contact_speaks_for_itself_alone_and_a_browser_for_nobody() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let bob = upsert(&kit, &acme, json!({"externalId": "bob"})).await;
        let token = kit.contact_token(&acme, id(&ann)).await?;
        let input = json!({"topic": "news", "channel": "PUSH", "state": "GRANTED", "proof": {"source": "settings", "ip": "203.0.113.9"}});
        let said = set(&kit, &token, input.clone()).await;
        assert_eq!(said["userErrors"], json!([]));
        // The address is the request's to tell, not the browser's.
        assert_eq!(said["consent"]["proof"], json!({"source": "settings"}));
        for named in [json!({"contactId": bob}), json!({"by": {"externalId": "bob"}})] {
            let mut input = input.clone();
            for (key, value) in named.as_object().unwrap() {
                input[key] = value.clone();
            }
            let said = set(&kit, &token, input).await;
            assert_eq!(said["userErrors"][0]["code"], "NOT_FOUND", "{named}");
        }
        assert_eq!(stands(&kit, &acme, &ann).await, ["news PUSH GRANTED"]);
        assert_eq!(stands(&kit, &acme, &bob).await, Vec::<String>::new());
        let me = ask(&kit, &token, "{ me { consents { topic state } } }", json!({})).await;
        assert_eq!(me["me"]["consents"], json!([{"topic": "news", "state": "GRANTED"}]));
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        for credential in [&acme.publishable_key, &reader] {
            assert_eq!(
                refused(&kit, credential, SET, json!({"input": input})).await,
                json!([[["consentSet"], "FORBIDDEN"]])
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_most_restrictive_wins_where_contacts_become_one_until_it_is_said_anew()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let visitor = upsert(&kit, &acme, json!({"anonymousId": "a1"})).await;
        for (contact, topic, state) in [
            (&ann, "both", "GRANTED"),
            (&ann, "news", "DENIED"),
            (&ann, "only-ann", "PENDING"),
            (&visitor, "both", "GRANTED"),
            // Later, and yet the less restrictive.
            (&visitor, "news", "GRANTED"),
            (&visitor, "offers", "WITHDRAWN"),
            (&ann, "offers", "GRANTED"),
            (&visitor, "only-visitor", "GRANTED"),
        ] {
            let input = json!({"contactId": contact, "topic": topic, "channel": "EMAIL", "state": state});
            assert_eq!(set(&kit, sk, input).await["userErrors"], json!([]));
        }
        let joined = Regrouped {
            joined: vec![(id(&visitor), id(&ann))],
            parted: vec![],
        };
        settle(&kit, &acme, &joined).await?;
        assert_eq!(
            stands(&kit, &acme, &ann).await,
            [
                "both EMAIL GRANTED",
                "news EMAIL DENIED",
                "offers EMAIL WITHDRAWN",
                "only-ann EMAIL PENDING",
                "only-visitor EMAIL GRANTED",
            ]
        );
        let told = told(&kit, &acme, &ann).await;
        let told: Vec<&Value> = told.as_array().unwrap().iter().skip(4).collect();
        assert_eq!(
            told,
            [
                &json!({"topic": "offers", "channel": "email", "state": "withdrawn", "before": "granted"}),
                &json!({"topic": "only-visitor", "channel": "email", "state": "granted", "before": null}),
            ]
        );
        // Said anew, it is as it was said; the rest goes on.
        set(&kit, sk, json!({"contactId": ann, "topic": "news", "channel": "EMAIL", "state": "GRANTED"})).await;
        let parted = Regrouped {
            joined: vec![],
            parted: vec![(id(&ann), id(&visitor))],
        };
        settle(&kit, &acme, &parted).await?;
        let after = [
            "both EMAIL GRANTED",
            "news EMAIL GRANTED",
            "offers EMAIL WITHDRAWN",
            "only-ann EMAIL PENDING",
            "only-visitor EMAIL GRANTED",
        ];
        assert_eq!(stands(&kit, &acme, &ann).await, after);
        assert_eq!(stands(&kit, &acme, &visitor).await, after);
        set(&kit, sk, json!({"contactId": visitor, "topic": "offers", "channel": "EMAIL", "state": "GRANTED"})).await;
        assert_eq!(stands(&kit, &acme, &ann).await, after);
        assert_eq!(stands(&kit, &acme, &visitor).await[2], "offers EMAIL GRANTED");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merge_and_its_undoing_settle_what_contacts_allow_and_both_show_in_their_timelines()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let visitor = upsert(&kit, &acme, json!({"anonymousId": "a1"})).await;
        for (contact, state) in [(&ann, "DENIED"), (&visitor, "GRANTED")] {
            let input = json!({"contactId": contact, "topic": "news", "channel": "EMAIL", "state": state});
            set(&kit, sk, input).await;
        }
        kit.advance(TimeDelta::minutes(1));
        let merge = "mutation($ids: [ID!]!) { contactMerge(input: {contactIds: $ids}) { contact { id } userErrors { code } } }";
        let merged = ask(&kit, sk, merge, json!({"ids": [visitor, ann]})).await;
        assert_eq!(merged["contactMerge"]["contact"]["id"], ann);
        assert_eq!(stands(&kit, &acme, &visitor).await, ["news EMAIL DENIED"]);
        let said = json!({"by": {"anonymousId": "a1"}, "topic": "offers", "channel": "EMAIL", "state": "PENDING"});
        set(&kit, sk, said).await;
        let kinds = async |contact: &str| {
            let query = "query($id: ID!) { contact(id: $id) { timeline(kinds: [\"MERGE\"]) { totalCount edges { node { title } } } } }";
            ask(&kit, sk, query, json!({"id": contact})).await["contact"]["timeline"].take()
        };
        assert_eq!(kinds(&visitor).await, json!({"totalCount": 1, "edges": [{"node": {"title": "Merged"}}]}));
        kit.advance(TimeDelta::minutes(1));
        let unmerge = "mutation($id: ID) { contactUnmerge(input: {contactId: $id}) { contact { id } userErrors { code } } }";
        let parted = ask(&kit, sk, unmerge, json!({"id": visitor})).await;
        assert_eq!(parted["contactUnmerge"], json!({"contact": {"id": visitor}, "userErrors": []}));
        for contact in [&ann, &visitor] {
            assert_eq!(
                stands(&kit, &acme, contact).await,
                ["news EMAIL DENIED", "offers EMAIL PENDING"]
            );
            assert_eq!(
                kinds(contact).await,
                json!({"totalCount": 2, "edges": [{"node": {"title": "Split"}}, {"node": {"title": "Merged"}}]})
            );
        }
        // What was said by the visitor's own identifier went along with it.
        let history = "query($id: ID!) { contact(id: $id) { consentHistory(filter: {topic: \"offers\"}) { edges { node { state basis } } } } }";
        let of = async |contact: &str| {
            ask(&kit, sk, history, json!({"id": contact})).await["contact"]["consentHistory"]["edges"].take()
        };
        assert_eq!(of(&visitor).await, json!([{"node": {"state": "PENDING", "basis": "CONSENT"}}]));
        assert_eq!(of(&ann).await, json!([{"node": {"state": "PENDING", "basis": "MERGE"}}]));
        Ok(())
    })
    .await
}
