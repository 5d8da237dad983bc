//! Values that do not fit their types: refused before anything is executed, in documents that are new and in those that are known.

use async_graphql::Request;
use serde_json::{Value, json};
use tests::on_each_database;

const INT: &str = "an Int has at most 32 bits";

#[tokio::test]
async fn a_number_that_is_no_int_refuses_the_request_even_where_nothing_reads_it()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let save = "mutation ($key: String, $priority: Int) { nudgeSave(input: {key: $key, name: \"x\", surface: \"web\", content: {title: \"x\", body: \"x\"}, trigger: {event: \"x\"}, priority: $priority}) { nudge { id } userErrors { message } } }";
        for (document, variables, message) in [
            ("{ contacts(first: 2147483648) { totalCount } }", json!({}), INT),
            ("{ tenant { name } contacts(first: 2147483648) @skip(if: true) { totalCount } }", json!({}), INT),
            ("query ($n: Int = 2147483648) { contacts(first: $n) { totalCount } }", json!({}), INT),
            ("query ($n: Int) { contacts(first: $n) @include(if: false) { totalCount } }", json!({"n": 2_147_483_648_i64}), "expected type \"Int\""),
            ("query ($n: Int) { contacts(first: $n) { totalCount } }", json!({"n": -2_147_483_649_i64}), "expected type \"Int\""),
            (save, json!({"priority": 4_000_000_000_i64}), "expected type \"Int\""),
            ("mutation ($key: String) { nudgeSave(input: {key: $key, priority: 4000000000, name: \"x\", surface: \"web\", content: {title: \"x\", body: \"x\"}, trigger: {event: \"x\"}}) { userErrors { message } } }", json!({}), INT),
            ("mutation ($input: NudgeSaveInput!) { nudgeSave(input: $input) { userErrors { message } } }", json!({"input": {"key": "k", "priority": 4_000_000_000_i64, "surface": "web", "content": {"title": "x", "body": "x"}, "trigger": {"event": "x"}}}), "Invalid value for a variable at priority, expected type"),
        ] {
            // the second time the document is known
            for _ in 0..2 {
                let answer = kit.gql(&acme.secret_key, document, variables.clone()).await;
                let error = &answer["errors"][0];
                assert!(error["message"].as_str().unwrap_or_default().contains(message), "{document}: {answer}");
                assert_eq!((&answer["data"], &error["path"]), (&Value::Null, &Value::Null), "{document}");
                assert_eq!(error["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
                assert!(error["locations"][0]["line"].is_i64(), "{answer}");
            }
        }
        let fine = kit.gql(&acme.secret_key, "{ events(first: 100) { totalCount } node(id: 5) { id } }", json!({})).await;
        assert_eq!(fine["errors"], Value::Null);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_known_document_is_parsed_once_and_its_variables_are_looked_at_each_time()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let text = "query Page($n: Int!, $by: ContactKey) { contacts(first: $n) { totalCount } contact(by: $by) { id } }";
        for variables in [json!({"n": 5, "by": {"externalId": "u1"}}), json!({"n": 6, "by": {"email": "a@example.com"}})] {
            let answer = kit.gql(&acme.secret_key, text, variables).await;
            assert_eq!(answer["errors"], Value::Null);
        }
        let known = kit.app.documents.read(text).await?;
        assert!(known.is_accepted());
        assert!(std::sync::Arc::ptr_eq(&known, &kit.app.documents.read(text).await?));
        for (variables, message) in [
            (json!({}), "a value of type \"Int!\" is required but not provided"),
            (json!({"n": null}), "expected type \"Int!\""),
            (json!({"n": "5"}), "expected type \"Int!\""),
            (json!({"n": 5.5}), "expected type \"Int!\""),
            (json!({"n": 5, "by": {}}), "\"ContactKey\" takes exactly one field"),
            (json!({"n": 5, "by": {"email": "a", "phone": "b"}}), "\"ContactKey\" takes exactly one field"),
            (json!({"n": 5, "by": {"secret": "a"}}), "unknown field of type \"ContactKey\""),
            (json!({"n": 5, "by": "a"}), "expected type \"ContactKey\""),
        ] {
            let answer = kit.gql(&acme.secret_key, text, variables.clone()).await;
            let said = answer["errors"][0]["message"].as_str().unwrap_or_default();
            assert!(said.ends_with(message), "{variables}: {answer}");
            assert_eq!(answer["data"], Value::Null);
        }
        // a trusted document takes the same way, by its hash
        let request = Request::new("").data(known);
        let caller = kit.app.principals.by_token(&acme.secret_key).await?;
        let answer = kit.app.execute(&caller, request, "test").await;
        assert!(answer.errors[0].message.ends_with("is required but not provided"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_default_decides_what_is_skipped_in_both_lanes() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let anna = acme.cx.write(async |tx| crate::rows::contact(tx, "anna").await).await?;
        let id = anna.id.to_string();
        for (root, selected) in [
            ("tenant", "{ id @skip(if: $yes) name @include(if: $yes) }"),
            // by a plan
            ("contact(id: $id)", "{ id @skip(if: $yes) status @include(if: $yes) }"),
            // by the engine
            ("node(id: $id)", "{ id @skip(if: $yes) ... on Contact { status @include(if: $yes) } }"),
        ] {
            for kind in ["Boolean", "Boolean!"] {
                let document = format!("query ($yes: {kind} = true, $id: ID = \"{id}\") {{ one: {root} {selected} other: tenant {{ id @skip(if: $yes) name }} contact(id: $id) {{ id }} }}");
                let answer = kit.gql(&acme.secret_key, &document, json!({})).await;
                assert_eq!(answer["errors"], Value::Null, "{document}: {answer}");
                let one = answer["data"]["one"].as_object().unwrap();
                assert!(!one.contains_key("id") && one.len() == 1, "{document}: {answer}");
                assert_eq!(answer["data"]["other"], json!({"name": "acme"}), "{document}");
                let told = kit.gql(&acme.secret_key, &document, json!({"yes": false})).await;
                assert!(told["data"]["one"].get("id").is_some(), "{document}: {told}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_mutation_that_asks_twice_under_one_key_is_refused_and_does_nothing() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let make = |more: &str| format!("apiKeyCreate(input: {{name: \"twice\", kind: SECRET, scopes: [\"*\"]}}) {{ {more} }}");
        let (one, other) = (make("key"), make("apiKey { id }"));
        for document in [
            format!("mutation {{ {one} {other} }}"),
            format!("mutation {{ ...A ...B }} fragment A on Mutation {{ {one} }} fragment B on Mutation {{ {other} }}"),
            format!("mutation {{ {one} ... on Mutation {{ {other} }} }}"),
        ] {
            let answer = kit.gql(&acme.secret_key, &document, json!({})).await;
            assert_eq!(answer["data"], Value::Null, "{document}: {answer}");
            assert_eq!(answer["errors"][0]["message"], "a mutation asks once for each field; give the second an alias");
        }
        let keys = kit.gql(&acme.secret_key, "{ tenant { apiKeys { name } } }", json!({})).await;
        assert!(!keys.to_string().contains("twice"), "{keys}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_filter_of_thousands_of_parts_is_refused_though_they_ask_for_nothing()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let anna = acme
            .cx
            .write(async |tx| crate::rows::contact(tx, "anna").await)
            .await?;
        let contact = kit.contact_token(&acme, anna.id).await?;
        let many: Vec<Value> = vec![json!({}); 5_000];
        for (credential, document) in [
            (
                &contact,
                "query ($f: EventFilter) { me { events(filter: $f, first: 1) { totalCount } } }",
            ),
            (
                &acme.secret_key,
                "query ($f: EventFilter) { events(filter: $f) { totalCount } }",
            ),
            (
                &acme.secret_key,
                "query ($f: ContactFilter) { contacts(filter: $f) { totalCount } }",
            ),
        ] {
            for part in ["or", "and"] {
                let variables = json!({"f": {part: many}});
                let answer = kit.gql(credential, document, variables).await;
                let error = &answer["errors"][0];
                assert_eq!(
                    error["extensions"]["code"], "BAD_USER_INPUT",
                    "{document}: {answer}"
                );
                assert!(
                    error["message"]
                        .as_str()
                        .unwrap()
                        .starts_with("a filter holds at most"),
                    "{answer}"
                );
            }
        }
        Ok(())
    })
    .await
}
