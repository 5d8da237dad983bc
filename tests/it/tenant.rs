//! Tenants and their credentials, as clients meet them.

use serde_json::json;
use tests::{OPERATOR, on_each_database};

#[tokio::test]
async fn the_operator_makes_a_tenant_whose_first_keys_work() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let made = kit
            .gql(
                OPERATOR,
                "mutation { tenantCreate(input: {name: \" acme \"}) { tenant { id name createdAt suspendedAt } secretKey publishableKey userErrors { code } } }",
                json!({}),
            )
            .await;
        let made = &made["data"]["tenantCreate"];
        assert_eq!(made["tenant"]["name"], "acme");
        assert_eq!(made["tenant"]["createdAt"], "2026-01-01T09:00:00+00:00");
        assert_eq!(made["userErrors"], json!([]));
        let secret = made["secretKey"].as_str().unwrap();
        let seen = kit.gql(secret, "{ tenant { id name apiKeys { kind name scopes prefix } } }", json!({})).await;
        assert_eq!(
            seen,
            json!({"data": {"tenant": {"id": made["tenant"]["id"], "name": "acme", "apiKeys": [
                {"kind": "SECRET", "name": "first", "scopes": ["*"], "prefix": secret[..13]},
                {"kind": "PUBLISHABLE", "name": "first", "scopes": [], "prefix": &made["publishableKey"].as_str().unwrap()[..13]},
            ]}}})
        );
        Ok(())
    })
    .await
}
