//! Every root field, tried with another tenant's ids and keys, and as every principal. A field that is not in
//! [`TRIES`](tries::TRIES) fails the first test: add it there, with what an intruder would send.

mod tries;
pub(crate) mod victim;

use std::{collections::BTreeSet, time::Duration};

use api::{base::gql::SCOPES, schema};
use async_graphql::{Request, Variables};
use entity::ContactId;
use futures_util::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tests::{Kit, OPERATOR, on_each_database};

use self::{
    tries::{
        Answer::{Code, Data, Silence},
        By::{Contact, Stream},
        TRIES,
    },
    victim::{SECRETS, Victim},
};
use crate::contact::{ask, upsert};

/// How long a subscription is listened to that must stay silent.
const LISTENED: Duration = Duration::from_millis(200);

#[tokio::test]
async fn whoever_may_read_an_object_finds_it_by_its_id() -> anyhow::Result<()> {
    /// What stands for an object of each type, and whether the contact that it is about may read it.
    const TYPES: [(&str, &str, bool); 32] = [
        ("ACCOUNT", "Account", false),
        ("RELATION", "Relationship", false),
        ("BLOCK", "IdentityBlock", false),
        ("STATEMENT", "Consent", true),
        ("CONTACT", "Contact", true),
        ("DEFINITION", "TraitDefinition", false),
        ("DELIVERY", "NudgeDelivery", true),
        ("ENTRY", "AuditEntry", false),
        ("ERASURE", "Erasure", false),
        ("EVENT", "Event", true),
        ("IDENTIFIER", "Identifier", true),
        ("IMPORT", "Import", false),
        ("ISSUER", "Issuer", false),
        ("ITEM", "TimelineItem", true),
        ("JOB", "Job", false),
        ("KEY", "ApiKey", false),
        ("LETTER", "DeadLetter", false),
        ("METRIC", "Metric", false),
        ("NUDGE", "Nudge", false),
        ("OBSERVATION", "TraitObservation", true),
        ("OPERATION", "Operation", false),
        ("POSTHOG", "PosthogIntegration", false),
        ("PROPOSAL", "MergeProposal", false),
        ("RECORD", "MergeRecord", false),
        ("REJECT", "ImportReject", false),
        ("SEGMENT", "Segment", false),
        ("SIZE", "SegmentSize", false),
        ("TENANT", "Tenant", false),
        ("TOUCH", "Touchpoint", true),
        ("VERSION", "NudgeVersion", false),
        ("LINE", "ContactViewRow", false),
        ("VIEW", "ContactView", false),
    ];
    let nodes = "{ __type(name: \"Node\") { possibleTypes { name } } }";
    let nodes = schema::build().finish().execute(nodes).await;
    let nodes = serde_json::to_value(nodes)?["data"]["__type"]["possibleTypes"].take();
    let nodes = nodes.as_array().unwrap().iter();
    let nodes: BTreeSet<&str> = nodes.map(|ty| ty["name"].as_str().unwrap()).collect();
    assert_eq!(nodes, TYPES.iter().map(|(_, name, _)| *name).collect());
    on_each_database(async |kit| {
        let victim = Victim::new(&kit).await?;
        let sk = &victim.tenant.secret_key;
        let contact = ContactId::parse(&victim.named_in("CONTACT")).unwrap();
        let own = kit.contact_token(&victim.tenant, contact).await?;
        let input = json!({"externalId": "stranger"});
        let stranger = ContactId::parse(&upsert(&kit, &victim.tenant, input).await).unwrap();
        let stranger = kit.contact_token(&victim.tenant, stranger).await?;
        for (capitals, name, is_own) in TYPES {
            let id = victim.named_in(capitals);
            let query = "query($id: ID!) { node(id: $id) { __typename id } }";
            let found = json!({"node": {"__typename": name, "id": id}});
            assert_eq!(ask(&kit, sk, query, json!({"id": id})).await, found);
            for (token, data) in [(&own, &found), (&stranger, &json!({"node": null}))] {
                let answer = kit.gql(token, query, json!({"id": id})).await;
                if is_own {
                    assert_eq!((&answer["data"], &answer["errors"]), (data, &Value::Null));
                } else {
                    assert_eq!(answer["data"]["node"], Value::Null);
                    assert_eq!(
                        answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                        "{name}"
                    );
                }
            }
        }
        Ok(())
    })
    .await
}

/// The names of the root fields of `query`, `mutation` and `subscription`, as introspection tells them.
fn root_fields(introspected: &Value) -> BTreeSet<(String, String)> {
    let mut names = BTreeSet::new();
    for kind in ["queryType", "mutationType", "subscriptionType"] {
        let fields = introspected["__schema"][kind]["fields"].as_array();
        for field in fields.into_iter().flatten() {
            names.insert((kind.to_owned(), field["name"].as_str().unwrap().to_owned()));
        }
    }
    names
}

const ROOTS: &str = "{ __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { fields { name } } } }";

fn kind_of(document: &str) -> &'static str {
    if document.starts_with("mutation") {
        "mutationType"
    } else if document.starts_with("subscription") {
        "subscriptionType"
    } else {
        "queryType"
    }
}

#[tokio::test]
async fn every_root_field_is_among_those_that_are_tried() {
    let answer = schema::build().finish().execute(ROOTS).await;
    let there = root_fields(&serde_json::to_value(answer).unwrap()["data"]);
    let tried: BTreeSet<_> = TRIES
        .iter()
        .map(|attempt| {
            (
                kind_of(attempt.document).to_owned(),
                attempt.field.to_owned(),
            )
        })
        .collect();
    assert_eq!(there, tried);
}

#[tokio::test]
async fn another_tenants_ids_and_keys_open_nothing_and_change_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let victim = Victim::new(&kit).await?;
        let before = victim.rows().await?;
        let intruder = kit.tenant("intruders").await?;
        let own = upsert(&kit, &intruder, json!({"externalId": "intruder"})).await;
        let token = kit
            .contact_token(&intruder, ContactId::parse(&own).unwrap())
            .await?;
        let server = kit.serve().await?;
        let client = reqwest::Client::new();
        for attempt in TRIES {
            let document = victim.named_in(attempt.document);
            let answer: Value = match attempt.by {
                Stream => match stream(&kit, &token, &document).await? {
                    Some(item) => item,
                    None => json!({"data": null}),
                },
                by => {
                    let credential = if by == Contact {
                        &token
                    } else {
                        &intruder.secret_key
                    };
                    let sent = client
                        .post(server.url("/graphql"))
                        .bearer_auth(credential)
                        .json(&json!({"query": document}))
                        .send()
                        .await?;
                    sent.json().await?
                }
            };
            match attempt.answer {
                Data(data) => {
                    assert_eq!(answer["errors"], Value::Null, "{document}");
                    assert_eq!(
                        answer["data"],
                        serde_json::from_str::<Value>(data)?,
                        "{document}"
                    );
                }
                Code(code) => assert_eq!(
                    answer["errors"][0]["extensions"]["code"], code,
                    "{document}"
                ),
                Silence => assert_eq!(answer, json!({"data": null}), "{document}"),
            }
            let text = answer.to_string();
            for secret in SECRETS {
                assert!(!text.contains(secret), "{document} was answered {text}");
            }
        }
        assert_eq!(victim.rows().await?, before);
        server.stop().await
    })
    .await
}

/// The first item of a subscription, if one comes soon.
async fn stream(kit: &Kit, credential: &str, document: &str) -> anyhow::Result<Option<Value>> {
    let caller = kit.app.principals.by_token(credential).await?;
    let request = Request::new(document).variables(Variables::default());
    let items = kit.subscribe(caller, request);
    let mut items = std::pin::pin!(items);
    match tokio::time::timeout(LISTENED, items.next()).await {
        Ok(Some(item)) => Ok(Some(serde_json::to_value(item)?)),
        Ok(None) | Err(_) => Ok(None),
    }
}

#[tokio::test]
async fn introspection_shows_each_principal_exactly_the_fields_it_may_use() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let own = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let mut principals = vec![
            ("operator".to_owned(), OPERATOR.to_owned()),
            ("publishable key".to_owned(), acme.publishable_key.clone()),
            (
                "contact".to_owned(),
                kit.contact_token(&acme, ContactId::parse(&own).unwrap())
                    .await?,
            ),
        ];
        let secret = "a shared secret of more than 32 bytes";
        let save = format!(
            "mutation {{ issuerSave(input: {{kind: MEMBER, issuer: \"id\", algorithms: [HS256], sharedSecret: \"{secret}\", roleClaim: \"role\", roles: [{{value: \"OWNER\", role: OWNER}}, {{value: \"ADMIN\", role: ADMIN}}, {{value: \"EDITOR\", role: EDITOR}}, {{value: \"VIEWER\", role: VIEWER}}]}}) {{ userErrors {{ message }} }} }}"
        );
        ask(&kit, &acme.secret_key, &save, json!({})).await;
        for role in ["OWNER", "ADMIN", "EDITOR", "VIEWER"] {
            let claims = json!({"iss": "id", "aud": acme.id.to_string(), "sub": "ann", "role": role, "exp": kit.now().timestamp() + 60});
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = jsonwebtoken::encode(&Header::default(), &claims, &key)?;
            principals.push((role.to_owned(), token));
        }
        for scope in SCOPES {
            principals.push(((*scope).to_owned(), kit.key(&acme, &[*scope]).await?));
        }
        for (name, credential) in principals {
            let shown = root_fields(&ask(&kit, &credential, ROOTS, json!({})).await);
            let mut usable = BTreeSet::new();
            for attempt in TRIES {
                // Capitals name nothing that is there.
                let answer = if attempt.by == Stream {
                    stream(&kit, &credential, attempt.document)
                        .await?
                        .unwrap_or_default()
                } else {
                    kit.gql(&credential, attempt.document, json!({})).await
                };
                let errors = answer["errors"].as_array().cloned().unwrap_or_default();
                let invalid = errors
                    .iter()
                    .any(|error| error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED");
                assert!(!invalid, "{errors:?}");
                let refused = errors.iter().any(|error| {
                    let at_root = error["path"].as_array().is_some_and(|path| path.len() == 1);
                    at_root && error["extensions"]["code"] == "FORBIDDEN"
                });
                if !refused {
                    usable.insert((
                        kind_of(attempt.document).to_owned(),
                        attempt.field.to_owned(),
                    ));
                }
            }
            assert_eq!(shown, usable, "{name}");
        }
        Ok(())
    })
    .await
}
