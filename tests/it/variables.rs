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
