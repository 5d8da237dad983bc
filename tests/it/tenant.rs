//! Tenants and their credentials, as clients meet them.

mod attacks;
mod audit;
mod ended;
mod issuers;
mod keys;
mod provider;
mod remembered;
mod tokens;

use serde_json::{Value, json};
use tests::{OPERATOR, on_each_database};

const NO_SUCH_TENANT: &str = "tenant_01h455vb4pex5vsknk084sn02q";

/// The code of a response's first error.
fn code(response: &Value) -> &str {
    response["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or("none")
}

#[tokio::test]
async fn the_operator_makes_a_tenant_whose_first_keys_work() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let made = kit
            .gql(
                OPERATOR,
                r#"mutation { tenantCreate(input: {name: " acme "}) { tenant { id name createdAt suspendedAt } secretKey publishableKey userErrors { code } } }"#,
                json!({}),
            )
            .await;
        let made = &made["data"]["tenantCreate"];
        assert_eq!(made["tenant"]["name"], "acme");
        assert_eq!(made["tenant"]["createdAt"], "2026-01-01T09:00:00Z");
        assert_eq!(made["userErrors"], json!([]));
        let secret = made["secretKey"].as_str().unwrap();
        let publishable = made["publishableKey"].as_str().unwrap();
        let seen = kit.gql(secret, "{ tenant { id name apiKeys { kind name scopes prefix } } }", json!({})).await;
        assert_eq!(
            seen,
            json!({"data": {"tenant": {"id": made["tenant"]["id"], "name": "acme", "apiKeys": [
                {"kind": "SECRET", "name": "first", "scopes": ["*"], "prefix": secret[..13]},
                {"kind": "PUBLISHABLE", "name": "first", "scopes": [], "prefix": publishable[..13]},
            ]}}})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_name_that_breaks_a_rule_is_told_and_makes_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let refused = kit
            .gql(
                OPERATOR,
                r#"mutation { tenantCreate(input: {name: "  "}) { tenant { id } secretKey userErrors { code field message } } }"#,
                json!({}),
            )
            .await;
        assert_eq!(
            refused["data"]["tenantCreate"],
            json!({"tenant": null, "secretKey": null, "userErrors": [{"code": "INVALID", "field": "name", "message": "the name is empty"}]})
        );
        let all = kit.gql(OPERATOR, "{ tenants { totalCount } }", json!({})).await;
        assert_eq!(all, json!({"data": {"tenants": {"totalCount": 0}}}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_operator_pages_through_the_tenants_and_sees_nothing_inside() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        for name in ["a", "b", "c"] {
            kit.tenant(name).await?;
            kit.advance(chrono::TimeDelta::seconds(1));
        }
        let query = "query($after: String) { tenants(first: 2, after: $after) { totalCount edges { node { name } } pageInfo { hasNextPage endCursor } } }";
        let first = kit.gql(OPERATOR, query, json!({})).await;
        let first = &first["data"]["tenants"];
        assert_eq!(first["edges"], json!([{"node": {"name": "c"}}, {"node": {"name": "b"}}]));
        assert_eq!((&first["totalCount"], &first["pageInfo"]["hasNextPage"]), (&json!(3), &json!(true)));
        let rest = kit.gql(OPERATOR, query, json!({"after": first["pageInfo"]["endCursor"]})).await;
        assert_eq!(rest["data"]["tenants"]["edges"], json!([{"node": {"name": "a"}}]));
        let bad = kit.gql(OPERATOR, query, json!({"after": "bm9uc2Vuc2U"})).await;
        assert_eq!(code(&bad), "BAD_CURSOR");

        let inside = kit.gql(OPERATOR, "{ tenants { edges { node { apiKeys { id } } } } }", json!({})).await;
        assert_eq!((code(&inside), &inside["data"]), ("FORBIDDEN", &Value::Null));
        assert_eq!(code(&kit.gql(OPERATOR, "{ tenant { id } }", json!({})).await), "FORBIDDEN");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_but_the_operator_makes_lists_suspends_or_deletes_tenants() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        for credential in [&acme.secret_key, &acme.publishable_key] {
            for document in [
                "{ tenants { totalCount } }".to_owned(),
                r#"mutation { tenantCreate(input: {name: "c"}) { tenant { id } } }"#.to_owned(),
                format!(r#"mutation {{ tenantSuspend(input: {{id: "{}"}}) {{ tenant {{ id }} }} }}"#, bolt.id),
                format!(r#"mutation {{ tenantResume(input: {{id: "{}"}}) {{ tenant {{ id }} }} }}"#, bolt.id),
                format!(r#"mutation {{ tenantDelete(input: {{id: "{}", name: "bolt"}}) {{ tenantId }} }}"#, bolt.id),
            ] {
                assert_eq!(code(&kit.gql(credential, &document, json!({})).await), "FORBIDDEN", "{document}");
            }
        }
        let left = kit.gql(OPERATOR, "{ tenants { edges { node { name suspendedAt } } } }", json!({})).await;
        let mut names: Vec<_> = left["data"]["tenants"]["edges"].as_array().unwrap().iter().map(|edge| edge["node"].to_string()).collect();
        names.sort();
        assert_eq!(names, [r#"{"name":"acme","suspendedAt":null}"#, r#"{"name":"bolt","suspendedAt":null}"#]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_suspended_tenants_credentials_are_refused_until_it_is_resumed() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let suspend = format!(r#"mutation {{ tenantSuspend(input: {{id: "{}"}}) {{ tenant {{ suspendedAt }} userErrors {{ code }} }} }}"#, acme.id);
        let suspended = kit.gql(OPERATOR, &suspend, json!({})).await;
        assert_eq!(
            suspended["data"]["tenantSuspend"],
            json!({"tenant": {"suspendedAt": "2026-01-01T09:00:00Z"}, "userErrors": []})
        );
        for credential in [&acme.secret_key, &acme.publishable_key] {
            assert_eq!(code(&kit.gql(credential, "{ __typename }", json!({})).await), "UNAUTHENTICATED");
        }
        assert_eq!(kit.gql(&bolt.secret_key, "{ tenant { name } }", json!({})).await["data"]["tenant"]["name"], "bolt");

        // The first time stands.
        kit.advance(chrono::TimeDelta::hours(1));
        let again = kit.gql(OPERATOR, &suspend, json!({})).await;
        assert_eq!(again["data"]["tenantSuspend"]["tenant"]["suspendedAt"], "2026-01-01T09:00:00Z");

        let resume = format!(r#"mutation {{ tenantResume(input: {{id: "{}"}}) {{ tenant {{ suspendedAt }} }} }}"#, acme.id);
        assert_eq!(kit.gql(OPERATOR, &resume, json!({})).await["data"]["tenantResume"], json!({"tenant": {"suspendedAt": null}}));
        assert_eq!(kit.gql(&acme.secret_key, "{ tenant { name } }", json!({})).await["data"]["tenant"]["name"], "acme");

        for id in [NO_SUCH_TENANT, "tenant_x", ""] {
            let missing = format!(r#"mutation {{ tenantSuspend(input: {{id: "{id}"}}) {{ tenant {{ id }} userErrors {{ code field }} }} }}"#);
            assert_eq!(
                kit.gql(OPERATOR, &missing, json!({})).await["data"]["tenantSuspend"],
                json!({"tenant": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]})
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tenant_is_deleted_by_its_name_with_everything_that_is_its_own() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let delete = |id: &str, name: &str| format!(r#"mutation {{ tenantDelete(input: {{id: "{id}", name: "{name}"}}) {{ tenantId userErrors {{ code field }} }} }}"#);
        let id = acme.id.to_string();
        let wrong = kit.gql(OPERATOR, &delete(&id, "bolt"), json!({})).await;
        assert_eq!(
            wrong["data"]["tenantDelete"],
            json!({"tenantId": null, "userErrors": [{"code": "INVALID", "field": "name"}]})
        );
        assert_eq!(kit.gql(&acme.secret_key, "{ tenant { name } }", json!({})).await["data"]["tenant"]["name"], "acme");

        acme.cx.write(async |tx| crate::rows::contact(tx, "anna").await).await?;
        bolt.cx.write(async |tx| crate::rows::contact(tx, "anna").await).await?;
        let gone = kit.gql(OPERATOR, &delete(&id, "acme"), json!({})).await;
        assert_eq!(gone["data"]["tenantDelete"], json!({"tenantId": id, "userErrors": []}));
        assert_eq!(code(&kit.gql(&acme.secret_key, "{ tenant { name } }", json!({})).await), "UNAUTHENTICATED");
        assert_eq!(acme.cx.db().find::<entity::contact::Entity>().count().await?, 0);
        assert_eq!(bolt.cx.db().find::<entity::contact::Entity>().count().await?, 1);
        let missing = kit.gql(OPERATOR, &delete(&id, "acme"), json!({})).await;
        assert_eq!(
            missing["data"]["tenantDelete"],
            json!({"tenantId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]})
        );
        Ok(())
    })
    .await
}
