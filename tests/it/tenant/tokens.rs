//! Contact tokens: what is accepted, and everything that is not.

use api::base::Actor;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta};
use entity::ContactId;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sea_orm::{IntoActiveModel as _, Set};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::code;
use crate::rows;

const CREATE: &str = "mutation($input: ContactTokenCreateInput!) { contactTokenCreate(input: $input) { token contactId expiresAt userErrors { code field } } }";

async fn contact(tenant: &Tenant, distinct_id: &str) -> anyhow::Result<ContactId> {
    Ok(tenant
        .cx
        .write(async |tx| rows::contact(tx, distinct_id).await)
        .await?
        .id)
}

async fn is_accepted(kit: &Kit, token: &str) -> bool {
    kit.app.principals.by_token(token).await.is_ok()
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn a_token_speaks_for_its_contact_until_it_expires() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let anna = contact(&acme, "anna").await?;
        let made = kit
            .gql(
                &acme.secret_key,
                CREATE,
                json!({"input": {"contactId": anna.to_string()}}),
            )
            .await;
        let made = &made["data"]["contactTokenCreate"];
        assert_eq!(made["contactId"], anna.to_string());
        assert_eq!(made["expiresAt"], "2026-01-01T10:00:00Z");
        let token = made["token"].as_str().unwrap();
        let said = claims(token);
        assert_eq!(
            (
                &said["iss"],
                &said["aud"],
                &said["sub"],
                &said["tid"],
                &said["iat"],
                &said["exp"]
            ),
            (
                &json!("growthos"),
                &json!("growthos"),
                &json!(anna.to_string()),
                &json!(acme.id.to_string()),
                &json!(1_767_258_000),
                &json!(1_767_261_600)
            )
        );
        let caller = kit.app.principals.by_token(token).await?;
        let expires_at = "2026-01-01T10:00:00Z".parse::<DateTime<chrono::Utc>>()?;
        assert_eq!(
            caller.actor,
            Actor::Contact {
                id: anna,
                expires_at
            }
        );
        assert_eq!(
            (caller.tenant, caller.expires_at),
            (Some(acme.id), Some(expires_at))
        );
        assert_eq!(
            code(&kit.gql(token, "{ tenant { id } }", json!({})).await),
            "FORBIDDEN"
        );

        // 60 s are allowed for clocks that differ.
        kit.advance(TimeDelta::minutes(60) + TimeDelta::seconds(59));
        assert!(is_accepted(&kit, token).await);
        kit.advance(TimeDelta::seconds(1));
        assert!(!is_accepted(&kit, token).await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn forged_tokens_are_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let (anna, bert) = (contact(&acme, "anna").await?, contact(&bolt, "bert").await?);
        let token = kit.contact_token(&acme, anna).await?;
        assert!(is_accepted(&kit, &token).await);
        let said = claims(&token);
        let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            anyhow::bail!("a token has three parts")
        };
        let with = |field: &str, value: Value| {
            let mut said = said.clone();
            said[field] = value;
            said
        };
        let signed = |said: &Value, algorithm, secret: &[u8]| {
            jsonwebtoken::encode(
                &Header::new(algorithm),
                said,
                &EncodingKey::from_secret(secret),
            )
        };

        let altered = format!(
            "{head}.{}.{signature}",
            part(&with("sub", json!(bert.to_string())))
        );
        let later = format!(
            "{head}.{}.{signature}",
            part(&with("exp", json!(4_000_000_000_i64)))
        );
        let moved = format!(
            "{head}.{}.{signature}",
            part(&with("tid", json!(bolt.id.to_string())))
        );
        let unsigned = format!("{}.{body}.", part(&json!({"alg": "none", "typ": "JWT"})));
        let unsigned_with_signature = format!(
            "{}.{body}.{signature}",
            part(&json!({"alg": "none", "typ": "JWT"}))
        );
        let asymmetric = format!(
            "{}.{body}.{signature}",
            part(&json!({"alg": "RS256", "typ": "JWT"}))
        );
        let guessed = signed(&said, Algorithm::HS256, b"")?;
        let other_algorithm = signed(&said, Algorithm::HS512, b"secret")?;
        let stranger = signed(
            &with("iss", json!("https://elsewhere.example")),
            Algorithm::HS256,
            b"secret",
        )?;
        let empty = format!("{head}..{signature}");
        for (what, forged) in [
            ("another contact", &altered),
            ("a later end", &later),
            ("another tenant", &moved),
            ("alg none", &unsigned),
            ("alg none with a signature", &unsigned_with_signature),
            ("an asymmetric algorithm", &asymmetric),
            ("an empty secret", &guessed),
            ("another HMAC", &other_algorithm),
            ("another issuer", &stranger),
            ("no claims", &empty),
        ] {
            let refused = kit.gql(forged, "{ __typename }", json!({})).await;
            assert_eq!(code(&refused), "UNAUTHENTICATED", "{what}");
        }
        Ok(())
    })
    .await
}

/// Signs whatever it is given with the tenant's own key: what a bug in signing could let out.
async fn signed_by_tenant(kit: &Kit, tenant: &Tenant, said: &Value) -> anyhow::Result<String> {
    let row = tenant
        .cx
        .db()
        .get::<entity::tenant::Entity>(tenant.id)
        .await?
        .unwrap();
    let key = kit.app.env.secrets.open(
        &format!("tenant.token_key/{}", tenant.id.uuid()),
        &row.token_key,
    )?;
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        said,
        &EncodingKey::from_secret(key.as_bytes()),
    )?)
}

#[tokio::test]
async fn a_genuine_signature_does_not_make_up_for_a_claim() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let (anna, bert) = (contact(&acme, "anna").await?, contact(&bolt, "bert").await?);
        let said = claims(&kit.contact_token(&acme, anna).await?);
        assert!(is_accepted(&kit, &signed_by_tenant(&kit, &acme, &said).await?).await);
        for (field, value) in [
            ("exp", Value::Null),
            ("exp", json!("soon")),
            ("aud", json!("somewhere")),
            ("aud", Value::Null),
            ("iss", Value::Null),
            ("sub", json!("contact_x")),
            ("sub", json!(bert.to_string())),
            ("sub", json!("contact_01h455vb4pex5vsknk084sn02q")),
            ("tid", json!(bolt.id.to_string())),
            ("iat", json!(1_767_258_061)),
        ] {
            let mut wrong = said.clone();
            wrong[field] = value.clone();
            if value.is_null() {
                wrong.as_object_mut().unwrap().remove(field);
            }
            let token = signed_by_tenant(&kit, &acme, &wrong).await?;
            assert!(!is_accepted(&kit, &token).await, "{field} = {value}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_absorbed_contacts_token_speaks_for_the_contact_it_became() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let (root, absorbed) = (
            contact(&acme, "root").await?,
            contact(&acme, "absorbed").await?,
        );
        let before = kit.contact_token(&acme, absorbed).await?;
        acme.cx
            .write(async |tx| {
                let mut row = tx
                    .get::<entity::contact::Entity>(absorbed)
                    .await?
                    .unwrap()
                    .into_active_model();
                row.merged_into = Set(Some(root));
                tx.update(row).await
            })
            .await?;
        let made = kit
            .gql(
                &acme.secret_key,
                CREATE,
                json!({"input": {"contactId": absorbed.to_string()}}),
            )
            .await;
        let made = &made["data"]["contactTokenCreate"];
        assert_eq!(made["contactId"], root.to_string());
        for token in [before.as_str(), made["token"].as_str().unwrap()] {
            let actor = kit.app.principals.by_token(token).await?.actor;
            assert!(
                matches!(actor, Actor::Contact { id, .. } if id == root),
                "{actor:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_token_is_made_for_a_contact_of_ones_own_and_a_day_at_most() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let anna = contact(&acme, "anna").await?.to_string();
        let ask = async |credential: &str, input: Value| kit.gql(credential, CREATE, json!({ "input": input })).await;
        for id in [anna.as_str(), "contact_x", "contact_01h455vb4pex5vsknk084sn02q"] {
            let refused = ask(&bolt.secret_key, json!({"contactId": id})).await;
            assert_eq!(
                refused["data"]["contactTokenCreate"],
                json!({"token": null, "contactId": null, "expiresAt": null, "userErrors": [{"code": "NOT_FOUND", "field": "contactId"}]})
            );
        }
        for lifetime in ["PT24H1S", "PT0S", "P2D"] {
            let refused = ask(&acme.secret_key, json!({"contactId": anna, "expiresIn": lifetime})).await;
            assert_eq!(
                refused["data"]["contactTokenCreate"]["userErrors"],
                json!([{"code": "INVALID", "field": "expiresIn"}]),
                "{lifetime}"
            );
        }
        let day = ask(&acme.secret_key, json!({"contactId": anna, "expiresIn": "P1D"})).await;
        assert_eq!(day["data"]["contactTokenCreate"]["expiresAt"], "2026-01-02T09:00:00Z");
        let reader = kit.key(&acme, &["contacts:write", "tenant:write"]).await?;
        for credential in [&reader, &acme.publishable_key, &tests::OPERATOR.to_owned()] {
            assert_eq!(code(&ask(credential, json!({"contactId": anna})).await), "FORBIDDEN");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tokens_end_with_their_contact_and_their_tenant() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let (anna, bert) = (contact(&acme, "anna").await?, contact(&acme, "bert").await?);
        let (annas, berts) = (
            kit.contact_token(&acme, anna).await?,
            kit.contact_token(&acme, bert).await?,
        );
        acme.cx
            .write(async |tx| tx.delete::<entity::contact::Entity>(anna).await)
            .await?;
        assert!(!is_accepted(&kit, &annas).await);
        assert!(is_accepted(&kit, &berts).await);
        acme.cx
            .write(async |tx| api::tenant::suspend_tenant(tx).await)
            .await?;
        assert!(!is_accepted(&kit, &berts).await);
        Ok(())
    })
    .await
}
