//! The sizes of pages: every list of the schema holds to them, one that is added tomorrow too.

use std::collections::BTreeSet;

use api::schema;
use serde_json::{Value, json};
use tests::{OPERATOR, on_each_database};

use crate::contact::{ask, upsert};

/// Each field that gives a page, and a document that asks for it with the arguments `PAGE`. The operator's are the system's lists.
pub(crate) const PAGED: &[(&str, &str)] = &[
    (
        "Account.contacts",
        r#"{ account(by: {type: "company", key: "acme"}) { contacts PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.accounts",
        r#"{ contact(by: {externalId: "u1"}) { accounts PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.relationships",
        r#"{ contact(by: {externalId: "u1"}) { relationships PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.timeline",
        r#"{ contact(by: {externalId: "u1"}) { timeline PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Query.accounts",
        "{ accounts PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Contact.consentHistory",
        r#"{ contact(by: {externalId: "u1"}) { consentHistory PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.touchpoints",
        r#"{ contact(by: {externalId: "u1"}) { touchpoints PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.traitHistory",
        r#"{ contact(by: {externalId: "u1"}) { traitHistory PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Query.traitDefinitions",
        "{ traitDefinitions PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Contact.events",
        r#"{ contact(by: {externalId: "u1"}) { events PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.mergeHistory",
        r#"{ contact(by: {externalId: "u1"}) { mergeHistory PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Contact.nudges",
        r#"{ contact(by: {externalId: "u1"}) { nudges PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Segment.members",
        r#"{ segment(key: "vips") { members PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Segment.sizeHistory",
        r#"{ segment(key: "vips") { sizeHistory PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "ContactView.rows",
        r#"{ contactView(key: "all") { rows PAGE { pageInfo { hasNextPage } } } }"#,
    ),
    (
        "Query.contactViews",
        "{ contactViews PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Import.rejects",
        "{ imports(first: 1) { edges { node { rejects PAGE { pageInfo { hasNextPage } } } } } }",
    ),
    (
        "Query.auditLog",
        "{ auditLog PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.contacts",
        "{ contacts PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.deadLetters",
        "{ deadLetters PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.erasures",
        "{ erasures PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.events",
        "{ events PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.imports",
        "{ imports PAGE { pageInfo { hasNextPage } } }",
    ),
    ("Query.jobs", "{ jobs PAGE { pageInfo { hasNextPage } } }"),
    (
        "Query.identityBlocks",
        "{ identityBlocks PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.mergeProposals",
        "{ mergeProposals PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.metrics",
        "{ metrics PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.nudges",
        "{ nudges PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.operations",
        "{ operations PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.segments",
        "{ segments PAGE { pageInfo { hasNextPage } } }",
    ),
    (
        "Query.tenants",
        "{ tenants PAGE { pageInfo { hasNextPage } } }",
    ),
];

const FIELDS: &str = "{ __schema { types { name kind fields { name args { name type { name kind } } type { name ofType { name } } } } } }";

#[tokio::test]
async fn every_list_is_among_those_that_are_tried_and_takes_the_same_arguments() {
    let answer = schema::build().finish().execute(FIELDS).await;
    let answer = serde_json::to_value(answer).unwrap();
    let mut there = BTreeSet::new();
    for ty in answer["data"]["__schema"]["types"].as_array().unwrap() {
        for field in ty["fields"].as_array().into_iter().flatten() {
            let of = &field["type"];
            let name = of["name"].as_str().or(of["ofType"]["name"].as_str());
            if !name.is_some_and(|name| name.ends_with("Connection")) {
                continue;
            }
            let place = format!(
                "{}.{}",
                ty["name"].as_str().unwrap(),
                field["name"].as_str().unwrap()
            );
            let arguments = field["args"].as_array().unwrap();
            for (name, of) in [
                ("first", "Int"),
                ("after", "String"),
                ("last", "Int"),
                ("before", "String"),
            ] {
                let argument = arguments.iter().find(|argument| argument["name"] == name);
                let ty = &argument.unwrap_or_else(|| panic!("{place} has no {name}"))["type"];
                assert_eq!(
                    *ty,
                    json!({"name": of, "kind": "SCALAR"}),
                    "{place}({name})"
                );
            }
            there.insert(place);
        }
    }
    let tried: BTreeSet<String> = PAGED.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(there, tried);
}

#[tokio::test]
async fn no_list_gives_more_than_a_hundred_at_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let save = r#"mutation { segmentSave(input: {key: "vips"}) { segment { id } } }"#;
        kit.gql(&acme.secret_key, save, json!({})).await;
        let save = r#"mutation { contactViewSave(input: {key: "all", columns: []}) { userErrors { code } } }"#;
        ask(&kit, &acme.secret_key, save, json!({})).await;
        let account = r#"mutation { accountUpsert(input: {type: "company", key: "acme"}) { userErrors { code } } }"#;
        ask(&kit, &acme.secret_key, account, json!({})).await;
        let create = "mutation { importCreate(input: {format: CSV, columns: [{name: \"mail\", target: EMAIL}]}) { userErrors { code } } }";
        ask(&kit, &acme.secret_key, create, json!({})).await;
        for (place, document) in PAGED {
            let credential = if *place == "Query.tenants" {
                OPERATOR
            } else {
                &acme.secret_key
            };
            for page in ["", "(first: 100)", "(last: 100)", "(first: 0)"] {
                let answer = kit
                    .gql(credential, &document.replace("PAGE", page), json!({}))
                    .await;
                assert_eq!(answer["errors"], Value::Null, "{place}{page}");
            }
            for (arguments, message) in [
                ("first: 101", "first is between 0 and 100, not 101"),
                ("last: 101", "last is between 0 and 100, not 101"),
                (
                    "first: 2147483647",
                    "first is between 0 and 100, not 2147483647",
                ),
                ("first: -1", "first is between 0 and 100, not -1"),
                ("last: -1", "last is between 0 and 100, not -1"),
                ("first: 1, last: 1", "give first or last, not both"),
            ] {
                let asked = document.replace("PAGE", &format!("({arguments})"));
                let answer = kit.gql(credential, &asked, json!({})).await;
                let error = &answer["errors"][0];
                assert_eq!(
                    (&error["message"], &error["extensions"]["code"]),
                    (&json!(message), &json!("BAD_USER_INPUT")),
                    "{asked}"
                );
            }
            let asked = format!(
                "query ($n: Int) {}",
                document.replace("PAGE", "(first: $n)")
            );
            let answer = kit.gql(credential, &asked, json!({"n": 101})).await;
            assert_eq!(
                answer["errors"][0]["message"], "first is between 0 and 100, not 101",
                "{asked}"
            );
        }
        Ok(())
    })
    .await
}
