//! Secret and publishable keys.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::code;

const CREATE: &str = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { key apiKey { id name scopes } userErrors { code field } } }";
const ROTATE: &str = "mutation($input: ApiKeyRotateInput!) { apiKeyRotate(input: $input) { key apiKey { id name scopes expiresAt } userErrors { code field } } }";
const REVOKE: &str = "mutation($input: ApiKeyRevokeInput!) { apiKeyRevoke(input: $input) { apiKey { revokedAt } userErrors { code field } } }";

async fn created(kit: &Kit, credential: &str, input: Value) -> Value {
    kit.gql(credential, CREATE, json!({ "input": input })).await["data"]["apiKeyCreate"].clone()
}

async fn names(kit: &Kit, tenant: &Tenant) -> Vec<String> {
    let seen = kit
        .gql(
            &tenant.secret_key,
            "{ tenant { apiKeys { name } } }",
            json!({}),
        )
        .await;
    let keys = seen["data"]["tenant"]["apiKeys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_no_more() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let made = created(
            &kit,
            &acme.secret_key,
            json!({"kind": "SECRET", "name": "reader", "scopes": ["tenant:read"]}),
        )
        .await;
        assert_eq!(
            (&made["apiKey"]["scopes"], &made["userErrors"]),
            (&json!(["tenant:read"]), &json!([]))
        );
        let reader = made["key"].as_str().unwrap();
        assert_eq!(
            kit.gql(reader, "{ tenant { name } }", json!({})).await["data"]["tenant"]["name"],
            "acme"
        );
        let refused = kit
            .gql(
                reader,
                CREATE,
                json!({"input": {"kind": "PUBLISHABLE", "name": "x"}}),
            )
            .await;
        assert_eq!(code(&refused), "FORBIDDEN");
        for publishable in [
            &acme.publishable_key,
            created(
                &kit,
                &acme.secret_key,
                json!({"kind": "PUBLISHABLE", "name": "page"}),
            )
            .await["key"]
                .as_str()
                .unwrap(),
        ] {
            assert_eq!(
                code(&kit.gql(publishable, "{ tenant { name } }", json!({})).await),
                "FORBIDDEN"
            );
        }
        assert_eq!(
            names(&kit, &acme).await,
            ["first", "first", "reader", "page"]
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_cannot_give_on_what_it_does_not_hold() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let clerk = kit.key(&acme, &["tenant:write", "contacts:read"]).await?;
        for (scopes, field) in [(json!(["*"]), "scopes"), (json!(["contacts:write"]), "scopes"), (json!(["nonsense"]), "scopes"), (json!([]), "scopes")] {
            let refused = created(&kit, &clerk, json!({"kind": "SECRET", "name": "more", "scopes": scopes})).await;
            assert_eq!(
                refused,
                json!({"key": null, "apiKey": null, "userErrors": [{"code": "INVALID", "field": field}]}),
                "{scopes}"
            );
        }
        let seen = kit.gql(&acme.secret_key, "{ tenant { apiKeys { id name } } }", json!({})).await;
        let first = &seen["data"]["tenant"]["apiKeys"][0]["id"];
        let rotated = kit.gql(&clerk, ROTATE, json!({"input": {"id": first}})).await;
        assert_eq!(
            rotated["data"]["apiKeyRotate"],
            json!({"key": null, "apiKey": null, "userErrors": [{"code": "INVALID", "field": "scopes"}]})
        );
        assert_eq!(names(&kit, &acme).await, ["first", "first", "tenant:write contacts:read"]);
        let given = created(&kit, &clerk, json!({"kind": "SECRET", "name": "less", "scopes": ["contacts:read", "tenant:read"]})).await;
        assert_eq!(given["userErrors"], json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rotated_key_works_through_its_grace_period_and_not_after() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let made = created(
            &kit,
            &acme.secret_key,
            json!({"kind": "SECRET", "name": "backend", "scopes": ["tenant:read"]}),
        )
        .await;
        let (old, id) = (made["key"].as_str().unwrap(), &made["apiKey"]["id"]);
        for grace in ["P31D", "P300D"] {
            let refused = kit
                .gql(
                    &acme.secret_key,
                    ROTATE,
                    json!({"input": {"id": id, "graceFor": grace}}),
                )
                .await;
            assert_eq!(
                refused["data"]["apiKeyRotate"]["userErrors"],
                json!([{"code": "INVALID", "field": "graceFor"}])
            );
        }
        let rotated = kit
            .gql(
                &acme.secret_key,
                ROTATE,
                json!({"input": {"id": id, "graceFor": "PT1H"}}),
            )
            .await;
        let rotated = &rotated["data"]["apiKeyRotate"];
        assert_eq!(
            (&rotated["apiKey"]["name"], &rotated["apiKey"]["scopes"]),
            (&json!("backend"), &json!(["tenant:read"]))
        );
        assert_eq!(rotated["apiKey"]["expiresAt"], Value::Null);
        let new = rotated["key"].as_str().unwrap();
        assert_ne!(new, old);

        let ask = "{ tenant { name } }";
        kit.advance(TimeDelta::minutes(59));
        assert_eq!(
            kit.gql(old, ask, json!({})).await["data"]["tenant"]["name"],
            "acme"
        );
        kit.advance(TimeDelta::minutes(1));
        assert_eq!(code(&kit.gql(old, ask, json!({})).await), "UNAUTHENTICATED");
        assert_eq!(
            kit.gql(new, ask, json!({})).await["data"]["tenant"]["name"],
            "acme"
        );

        let dead = kit
            .gql(&acme.secret_key, ROTATE, json!({"input": {"id": id}}))
            .await;
        assert_eq!(
            dead["data"]["apiKeyRotate"]["userErrors"],
            json!([{"code": "CONFLICT", "field": "id"}])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_rotation_never_lengthens_a_key() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let made = created(
            &kit,
            &acme.secret_key,
            json!({"kind": "SECRET", "name": "backend", "scopes": ["tenant:read"]}),
        )
        .await;
        let (old, id) = (made["key"].as_str().unwrap(), &made["apiKey"]["id"]);
        kit.gql(
            &acme.secret_key,
            ROTATE,
            json!({"input": {"id": id, "graceFor": "PT1H"}}),
        )
        .await;
        let again = kit
            .gql(
                &acme.secret_key,
                ROTATE,
                json!({"input": {"id": id, "graceFor": "P30D"}}),
            )
            .await;
        assert_eq!(again["data"]["apiKeyRotate"]["userErrors"], json!([]));
        kit.advance(TimeDelta::hours(1));
        assert_eq!(
            code(&kit.gql(old, "{ tenant { name } }", json!({})).await),
            "UNAUTHENTICATED"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_revoked_key_stops_at_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let made = created(
            &kit,
            &acme.secret_key,
            json!({"kind": "SECRET", "name": "leaked", "scopes": ["tenant:read"]}),
        )
        .await;
        let (key, id) = (made["key"].as_str().unwrap(), &made["apiKey"]["id"]);
        let revoked = kit
            .gql(&acme.secret_key, REVOKE, json!({"input": {"id": id}}))
            .await;
        let when = json!({"apiKey": {"revokedAt": "2026-01-01T09:00:00Z"}, "userErrors": []});
        assert_eq!(revoked["data"]["apiKeyRevoke"], when);
        assert_eq!(
            code(&kit.gql(key, "{ tenant { name } }", json!({})).await),
            "UNAUTHENTICATED"
        );
        kit.advance(TimeDelta::hours(1));
        let again = kit
            .gql(&acme.secret_key, REVOKE, json!({"input": {"id": id}}))
            .await;
        assert_eq!(again["data"]["apiKeyRevoke"], when);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn another_tenants_key_is_not_there() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let seen = kit
            .gql(&acme.secret_key, "{ tenant { apiKeys { id } } }", json!({}))
            .await;
        let id = &seen["data"]["tenant"]["apiKeys"][0]["id"];
        let not_found = json!([{"code": "NOT_FOUND", "field": "id"}]);
        let rotated = kit
            .gql(&bolt.secret_key, ROTATE, json!({"input": {"id": id}}))
            .await;
        assert_eq!(rotated["data"]["apiKeyRotate"]["userErrors"], not_found);
        let revoked = kit
            .gql(&bolt.secret_key, REVOKE, json!({"input": {"id": id}}))
            .await;
        assert_eq!(revoked["data"]["apiKeyRevoke"]["userErrors"], not_found);
        let keys = kit
            .gql(
                &acme.secret_key,
                "{ tenant { apiKeys { expiresAt revokedAt } } }",
                json!({}),
            )
            .await;
        assert_eq!(
            keys["data"]["tenant"]["apiKeys"],
            json!([{"expiresAt": null, "revokedAt": null}, {"expiresAt": null, "revokedAt": null}])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_no_credential_is_refused_without_a_hint() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let altered = format!("{}0", &acme.secret_key[..acme.secret_key.len() - 1]);
        let long = format!("gos_sk_{}", "a".repeat(10_000));
        let refused = json!([{"message": "the credential is missing, unknown or expired", "extensions": {"code": "UNAUTHENTICATED"}}]);
        for credential in ["", "x", "gos_sk_", "gos_pk_00", "a.b.c", &altered, &long, &format!("{} ", tests::OPERATOR)] {
            let answer = kit.gql(credential, "{ __typename }", json!({})).await;
            assert_eq!(answer["errors"], refused, "{credential}");
        }
        let app = &kit.app.principals;
        for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic YTpi"), Some(acme.secret_key.as_str())] {
            assert!(app.authenticate(header, None).await.is_err(), "{header:?}");
        }
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let caller = app.authenticate(Some(&format!("{scheme} {}", acme.secret_key)), None).await?;
            assert_eq!(caller.tenant, Some(acme.id));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_keys_last_use_is_written_once_a_minute_beside_the_request() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let reader = kit.key(&acme, &["tenant:read"]).await?;
        let last = async |want: Value| {
            // The note is taken beside the request, so it may come a moment later.
            for _ in 0..200 {
                let seen = kit
                    .gql(
                        &acme.secret_key,
                        "{ tenant { apiKeys { name prefix lastUsedAt } } }",
                        json!({}),
                    )
                    .await;
                let keys = seen["data"]["tenant"]["apiKeys"]
                    .as_array()
                    .unwrap()
                    .clone();
                let last = &keys
                    .iter()
                    .find(|key| key["name"] == "tenant:read")
                    .unwrap()["lastUsedAt"];
                // The use of the key that asks here is noted too, and that note is not to be counted below.
                let asking = keys
                    .iter()
                    .find(|key| acme.secret_key.starts_with(key["prefix"].as_str().unwrap()))
                    .unwrap();
                if *last == want && !asking["lastUsedAt"].is_null() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::bail!("lastUsedAt never became {want}")
        };
        last(Value::Null).await?;
        kit.gql(&reader, "{ __typename }", json!({})).await;
        last(json!("2026-01-01T09:00:00Z")).await?;
        kit.advance(TimeDelta::seconds(59));
        kit.gql(&reader, "{ __typename }", json!({})).await;
        let before = kit.app.env.db.statements();
        kit.gql(&reader, "{ __typename }", json!({})).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(
            kit.app.env.db.statements() - before,
            1,
            "the look-up of the key and nothing else"
        );
        last(json!("2026-01-01T09:00:00Z")).await?;
        kit.advance(TimeDelta::seconds(1));
        kit.gql(&reader, "{ __typename }", json!({})).await;
        last(json!("2026-01-01T09:01:00Z")).await
    })
    .await
}

#[tokio::test]
async fn introspection_shows_each_principal_its_own_fields() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let reader = kit.key(&acme, &["tenant:read"]).await?;
        let fields = async |credential: &str| {
            let seen = kit.gql(credential, "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }", json!({})).await;
            let names = |kind: &str| -> Vec<String> {
                seen["data"]["__schema"][kind]["fields"].as_array().map_or(vec![], |fields| fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect())
            };
            [names("queryType"), names("mutationType")].concat()
        };
        let operator = fields(tests::OPERATOR).await;
        for (name, shown) in [("tenants", true), ("tenantCreate", true), ("tenant", false), ("apiKeyCreate", false), ("contactTokenCreate", false)] {
            assert_eq!(operator.contains(&name.to_owned()), shown, "operator: {name}");
        }
        let whole = fields(&acme.secret_key).await;
        for (name, shown) in [("tenants", false), ("tenantCreate", false), ("tenant", true), ("apiKeyCreate", true), ("contactTokenCreate", true)] {
            assert_eq!(whole.contains(&name.to_owned()), shown, "secret key: {name}");
        }
        let part = fields(&reader).await;
        for (name, shown) in [("tenants", false), ("tenant", true), ("apiKeyCreate", false), ("contactTokenCreate", false)] {
            assert_eq!(part.contains(&name.to_owned()), shown, "reader: {name}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tenant_has_at_most_100_working_keys() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for _ in 2..100 {
            kit.key(&acme, &["tenant:read"]).await?;
        }
        let over = created(
            &kit,
            &acme.secret_key,
            json!({"kind": "PUBLISHABLE", "name": "one more"}),
        )
        .await;
        assert_eq!(
            over["userErrors"],
            json!([{"code": "LIMIT_REACHED", "field": "name"}])
        );
        let seen = kit
            .gql(&acme.secret_key, "{ tenant { apiKeys { id } } }", json!({}))
            .await;
        let last = &seen["data"]["tenant"]["apiKeys"][99]["id"];
        kit.gql(&acme.secret_key, REVOKE, json!({"input": {"id": last}}))
            .await;
        let now = created(
            &kit,
            &acme.secret_key,
            json!({"kind": "PUBLISHABLE", "name": "one more"}),
        )
        .await;
        assert_eq!(now["userErrors"], json!([]));
        Ok(())
    })
    .await
}
