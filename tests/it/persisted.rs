//! Documents that are named by their hash: registered by the clients themselves, or trusted by the tenant.

use reqwest::Client;
use serde_json::{Value, json};
use tests::{Server, on_each_database};

use crate::contact::ask;

fn sha256(text: &str) -> String {
    api::base::fingerprint(text.as_bytes())
}

async fn post(server: &Server, key: &str, body: Value) -> Value {
    let request = Client::new().post(server.url("/graphql")).bearer_auth(key);
    request
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap()
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_default()
}

const QUERY: &str = "query Q { tenant { name } }";

fn named(text: &str) -> Value {
    json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256(text)}}})
}

fn registering(text: &str) -> Value {
    let mut body = named(text);
    body["query"] = json!(text);
    body
}

#[tokio::test]
async fn a_client_registers_a_document_and_names_it_from_then_on() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let other = kit.tenant("other").await?;
        let server = kit.serve().await?;
        let key = &acme.secret_key;
        let unknown = post(&server, key, named(QUERY)).await;
        assert_eq!(unknown["errors"][0]["message"], "PersistedQueryNotFound");
        assert_eq!(code(&unknown), "PERSISTED_QUERY_NOT_FOUND");
        // sent as text alone, it is known to the process and still no tenant's
        post(&server, key, json!({"query": QUERY})).await;
        assert_eq!(
            code(&post(&server, key, named(QUERY)).await),
            "PERSISTED_QUERY_NOT_FOUND"
        );
        assert_eq!(
            post(&server, key, registering(QUERY)).await["data"]["tenant"]["name"],
            "acme"
        );
        assert_eq!(
            post(&server, key, named(QUERY)).await["data"]["tenant"]["name"],
            "acme"
        );
        let by_id = json!({"documentId": format!("sha256:{}", sha256(QUERY))});
        assert_eq!(
            post(&server, key, by_id).await["data"]["tenant"]["name"],
            "acme"
        );
        let url = reqwest::Url::parse_with_params(
            &server.url("/graphql"),
            [("extensions", named(QUERY)["extensions"].to_string())],
        )?;
        let got: Value = Client::new()
            .get(url)
            .bearer_auth(key)
            .send()
            .await?
            .json()
            .await?;
        assert_eq!(got["data"]["tenant"]["name"], "acme");
        // another tenant does not learn that somebody runs it
        let probed = post(&server, &other.secret_key, named(QUERY)).await;
        assert_eq!(code(&probed), "PERSISTED_QUERY_NOT_FOUND");
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_document_that_is_wrong_or_not_what_its_hash_says_is_not_registered() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let key = &acme.secret_key;
        let mut forged = registering(QUERY);
        forged["query"] = json!("{ __typename }");
        assert_eq!(code(&post(&server, key, forged).await), "BAD_REQUEST");
        assert_eq!(
            code(&post(&server, key, named(QUERY)).await),
            "PERSISTED_QUERY_NOT_FOUND"
        );
        for (wrong, refusal) in [
            ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
            ("{ tenant { name }", "GRAPHQL_PARSE_FAILED"),
            (
                "subscription { a: nudges { __typename } b: nudges { __typename } }",
                "OPERATION_RESOLUTION_FAILURE",
            ),
        ] {
            assert_eq!(
                code(&post(&server, key, registering(wrong)).await),
                refusal,
                "{wrong}"
            );
            let after = post(&server, key, named(wrong)).await;
            assert_eq!(code(&after), "PERSISTED_QUERY_NOT_FOUND", "{wrong}");
        }
        server.stop().await
    })
    .await
}

const PUSH: &str = "mutation ($operations: [OperationInput!]!) { operationsPush(input: {operations: $operations}) {
    operations { id documentId name pushedBy } userErrors { field message } } }";

#[tokio::test]
async fn a_tenant_that_requires_trusted_documents_lets_browsers_run_no_other() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let (secret, publishable) = (&acme.secret_key, &acme.publishable_key);
        let text = "mutation T { track(input: {event: \"seen\", anonymousId: \"a\"}) { accepted } }";
        let operations = json!({"operations": [{"name": "T", "text": text, "hash": sha256(text)}, {"text": QUERY}]});
        let pushed = ask(&kit, secret, PUSH, operations.clone()).await;
        let rows = &pushed["operationsPush"]["operations"];
        assert_eq!((&rows[0]["documentId"], &rows[0]["name"]), (&json!(format!("sha256:{}", sha256(text))), &json!("T")));
        assert!(rows[0]["pushedBy"].as_str().unwrap().starts_with("key_"));
        // pushing again changes nothing
        assert_eq!(ask(&kit, secret, PUSH, operations).await, pushed);
        assert_eq!(post(&server, publishable, named(text)).await["data"]["track"]["accepted"], true);

        ask(&kit, secret, "mutation { tenantUpdate(input: {requirePersistedOperations: true}) { tenant { requirePersistedOperations } } }", json!({})).await;
        assert_eq!(post(&server, publishable, named(text)).await["data"]["track"]["accepted"], true);
        assert_eq!(post(&server, publishable, json!({"query": text})).await["data"]["track"]["accepted"], true);
        let foreign = "mutation { track(input: {event: \"other\", anonymousId: \"a\"}) { accepted } }";
        for body in [json!({"query": foreign}), registering(foreign)] {
            let refused = post(&server, publishable, body).await;
            assert_eq!(code(&refused), "PERSISTED_QUERY_REQUIRED", "{refused}");
        }
        assert_eq!(code(&post(&server, publishable, named(foreign)).await), "PERSISTED_QUERY_NOT_FOUND");
        // the tenant's own backend asks what it likes
        assert_eq!(post(&server, secret, json!({"query": "{ tenant { id } }"})).await["errors"], Value::Null);

        let delete = "mutation ($id: ID!) { operationDelete(input: {id: $id}) { operation { name } userErrors { code } } }";
        let deleted = ask(&kit, secret, delete, json!({"id": rows[0]["id"]})).await;
        assert_eq!(deleted["operationDelete"]["operation"]["name"], "T");
        assert_eq!(code(&post(&server, publishable, named(text)).await), "PERSISTED_QUERY_NOT_FOUND");
        let left = ask(&kit, secret, "{ operations { totalCount edges { node { text } } } }", json!({})).await;
        assert_eq!(left["operations"], json!({"totalCount": 1, "edges": [{"node": {"text": QUERY}}]}));
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn what_is_no_valid_document_is_not_trusted() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for (operation, field, message) in [
            (json!({"text": "{ nothing }"}), "operations.1.text", "the document is not valid at line 1, column 3: Unknown field \"nothing\" on type \"Query\"."),
            (json!({"text": "{"}), "operations.1.text", "syntax error at line 1, column 2"),
            (json!({"text": QUERY, "hash": "00"}), "operations.1.hash", "it is not the SHA-256 of the text; Relay's compiler writes those with \"algorithm\": \"SHA256\""),
            (json!({"text": "{ contacts(first: 100) { edges { node { events(first: 100) { edges { node { id name contact { id } } } } } } } }"}), "operations.1.text", "the document is not valid: the answer may have 60301 values with pages of these sizes, the limit is 50000"),
        ] {
            let operations = json!({"operations": [{"text": QUERY}, operation]});
            let refused = ask(&kit, &acme.secret_key, PUSH, operations).await;
            assert_eq!(refused["operationsPush"]["userErrors"], json!([{"field": field, "message": message}]));
        }
        let none = ask(&kit, &acme.secret_key, "{ operations { totalCount } }", json!({})).await;
        assert_eq!(none["operations"]["totalCount"], 0);
        Ok(())
    })
    .await
}
