//! Issuers: what may be registered, how their keys are read, and what their tokens open.

use api::{
    base::{Actor, Error, MemberRole, Outbound},
    tenant::{self, Principals},
};
use axum::http::StatusCode;
use chrono::TimeDelta;
use entity::{ContactId, issuer};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sea_orm::{IntoActiveModel as _, Set};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use super::{
    code,
    provider::{
        EC, EC_PUBLIC, ED, ED_PUBLIC, ISS, Provider, RSA_A, RSA_A_PUBLIC, RSA_B, assert_refused,
        claims, header, is_accepted, published, rsa, save, signed, with,
    },
};
use crate::rows;

const SECRET: &str = "a shared secret of more than 32 bytes";

async fn errors(kit: &Kit, credential: &str, input: &Value) -> Value {
    save(kit, credential, input).await["userErrors"].clone()
}

#[tokio::test]
async fn an_issuer_is_shown_as_it_was_saved_and_its_secret_never() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let own = acme.id.to_string();
        let secret = json!({
            "kind": "MEMBER", "issuer": ISS, "algorithms": ["HS512", "HS256", "HS256"], "sharedSecret": SECRET,
            "roleClaim": "/app/role", "roles": [{"value": "admin", "role": "ADMIN"}], "lifetimeMax": "PT1H",
        });
        let keys = json!({
            "kind": "CONTACT", "issuer": "backend", "audience": "contacts", "algorithms": ["ES256", "EDDSA"],
            "publicKeys": [EC_PUBLIC, published(RSA_A, "a").to_string()], "subjectClaim": "user", "subjectIs": "CONTACT_ID",
        });
        for input in [&secret, &keys] {
            assert_eq!(errors(&kit, &acme.secret_key, input).await, json!([]));
        }
        let query = "{ tenant { issuers { kind issuer audience algorithms jwksUrl hasSharedSecret publicKeys subjectClaim subjectIs roleClaim roles { value role } lifetimeMax createdAt } } }";
        let seen = kit.gql(&acme.secret_key, query, json!({})).await;
        let seen = &seen["data"]["tenant"]["issuers"];
        assert_eq!(
            seen[0],
            json!({
                "kind": "MEMBER", "issuer": ISS, "audience": own, "algorithms": ["HS256", "HS512"], "jwksUrl": null,
                "hasSharedSecret": true, "publicKeys": [], "subjectClaim": "sub", "subjectIs": null, "roleClaim": "/app/role",
                "roles": [{"value": "admin", "role": "ADMIN"}], "lifetimeMax": "PT3600S", "createdAt": "2026-01-01T09:00:00Z",
            })
        );
        assert_eq!(
            (&seen[1]["subjectIs"], &seen[1]["subjectClaim"], &seen[1]["lifetimeMax"], &seen[1]["roles"]),
            (&json!("CONTACT_ID"), &json!("user"), &json!("P1D"), &json!([]))
        );
        assert_eq!(seen[1]["publicKeys"][0]["crv"], "P-256");
        assert_eq!(seen[1]["publicKeys"][1]["kid"], "a");
        let rows = acme.cx.db().find::<issuer::Entity>().all().await?;
        assert!(!format!("{rows:?}").contains(SECRET));
        let log = acme.cx.db().find::<entity::audit_entry::Entity>().all().await?;
        assert!(!format!("{log:?}").contains(SECRET));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_input_that_breaks_a_rule_is_told_by_its_field_and_saves_nothing() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let good = json!({
            "kind": "MEMBER", "issuer": ISS, "algorithms": ["RS256"], "publicKeys": [RSA_A_PUBLIC],
            "roleClaim": "role", "roles": [{"value": "admin", "role": "ADMIN"}],
        });
        let contact = json!({"kind": "CONTACT", "issuer": "backend", "algorithms": ["RS256"], "publicKeys": [RSA_A_PUBLIC]});
        let changed = |base: &Value, changes: Value| {
            let changes = changes.as_object().unwrap().clone();
            changes.into_iter().fold(base.clone(), |input, (name, value)| with(&input, &name, value))
        };
        let long = "x".repeat(256);
        for (base, changes, field) in [
            (&good, json!({"issuer": ""}), "issuer"),
            (&good, json!({"issuer": long}), "issuer"),
            (&good, json!({"issuer": " x"}), "issuer"),
            (&good, json!({"issuer": "growthos"}), "issuer"),
            (&good, json!({"audience": ""}), "audience"),
            (&good, json!({"algorithms": []}), "algorithms"),
            (&good, json!({"algorithms": ["RS256", "HS256"]}), "algorithms"),
            (&good, json!({"publicKeys": null, "sharedSecret": SECRET}), "algorithms"),
            (&good, json!({"publicKeys": null}), "jwksUrl"),
            (&good, json!({"jwksUrl": "https://id.example/jwks"}), "jwksUrl"),
            (&good, json!({"publicKeys": null, "jwksUrl": "ftp://id.example/jwks"}), "jwksUrl"),
            (&good, json!({"publicKeys": null, "jwksUrl": "https://u:p@id.example/jwks"}), "jwksUrl"),
            (&good, json!({"publicKeys": []}), "publicKeys"),
            (&good, json!({"publicKeys": [RSA_A_PUBLIC, "x"]}), "publicKeys.1"),
            (&good, json!({"publicKeys": [RSA_A]}), "publicKeys.0"),
            (&good, json!({"publicKeys": ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]}), "publicKeys.0"),
            (&good, json!({"publicKeys": ["{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}"]}), "publicKeys.0"),
            (&good, json!({"publicKeys": null, "sharedSecret": "short", "algorithms": ["HS256"]}), "sharedSecret"),
            (&good, json!({"roleClaim": null}), "roleClaim"),
            (&good, json!({"roles": []}), "roles"),
            (&good, json!({"roles": [{"value": "a", "role": "ADMIN"}, {"value": "a", "role": "VIEWER"}]}), "roles.1.value"),
            (&good, json!({"subjectIs": "CONTACT_ID"}), "subjectIs"),
            (&good, json!({"subjectClaim": ""}), "subjectClaim"),
            (&good, json!({"lifetimeMax": "PT0S"}), "lifetimeMax"),
            (&good, json!({"lifetimeMax": "P31D"}), "lifetimeMax"),
            (&contact, json!({"lifetimeMax": "PT24H1S"}), "lifetimeMax"),
            (&contact, json!({"roleClaim": "role"}), "roles"),
        ] {
            assert_eq!(
                errors(&kit, &acme.secret_key, &changed(base, changes.clone())).await,
                json!([{"code": "INVALID", "field": field}]),
                "{changes}"
            );
        }
        assert_eq!(acme.cx.db().find::<issuer::Entity>().count().await?, 0);
        assert_eq!(errors(&kit, &acme.secret_key, &good).await, json!([]));
        assert_eq!(errors(&kit, &acme.secret_key, &good).await, json!([{"code": "TAKEN", "field": "audience"}]));
        for n in 1..20 {
            let more = with(&good, "audience", json!(format!("audience {n}")));
            assert_eq!(errors(&kit, &acme.secret_key, &more).await, json!([]));
        }
        let over = with(&good, "audience", json!("one more"));
        assert_eq!(errors(&kit, &acme.secret_key, &over).await, json!([{"code": "LIMIT_REACHED", "field": "issuer"}]));
        for id in ["issuer_01h455vb4pex5vsknk084sn02q", "x"] {
            let missing = with(&good, "id", json!(id));
            assert_eq!(errors(&kit, &acme.secret_key, &missing).await, json!([{"code": "NOT_FOUND", "field": "id"}]));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_registers_an_issuer_that_lets_in_more_than_they_are() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        let contacts = json!({"kind": "CONTACT", "issuer": "backend", "algorithms": ["RS256"], "publicKeys": [RSA_A_PUBLIC]});
        let members = |role: &str| with(&provider.input(), "roles", json!([{"value": "x", "role": role}]));
        let beyond = json!([{"code": "INVALID", "field": "roles.0.role"}]);
        let clerk = kit.key(&acme, &["tenant:write"]).await?;
        for role in ["OWNER", "ADMIN", "EDITOR", "VIEWER"] {
            assert_eq!(errors(&kit, &clerk, &members(role)).await, beyond, "{role}");
        }
        assert_eq!(errors(&kit, &clerk, &contacts).await, json!([{"code": "INVALID", "field": "kind"}]));
        // A member who administers: everything but what an owner is.
        provider.registered_at(&kit, &acme).await?;
        let admin = signed(&claims(&kit, &acme));
        let at = |input: Value, audience: &str| with(&input, "audience", json!(audience));
        assert_eq!(errors(&kit, &admin, &at(members("OWNER"), "1")).await, beyond);
        assert_eq!(errors(&kit, &admin, &at(members("ADMIN"), "2")).await, json!([]));
        assert_eq!(errors(&kit, &admin, &contacts).await, json!([]));
        let create = "mutation($scopes: [String!]!) { apiKeyCreate(input: {kind: SECRET, name: \"x\", scopes: $scopes}) { userErrors { code field } } }";
        let made = kit.gql(&admin, create, json!({"scopes": ["*"]})).await;
        assert_eq!(made["data"]["apiKeyCreate"]["userErrors"], json!([{"code": "INVALID", "field": "scopes"}]));
        let made = kit.gql(&admin, create, json!({"scopes": ["tenant:write", "contacts:write"]})).await;
        assert_eq!(made["data"]["apiKeyCreate"]["userErrors"], json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_member_does_what_its_role_says_and_no_more() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        let id = provider.registered_at(&kit, &acme).await?;
        let said = claims(&kit, &acme);
        let caller = kit.app.principals.by_token(&signed(&said)).await?;
        assert_eq!(
            caller.actor,
            Actor::Member { issuer: entity::Id::parse(&id).unwrap(), subject: "auth0|ann".into(), role: MemberRole::Admin }
        );
        assert_eq!(
            (caller.tenant, caller.expires_at),
            (Some(acme.id), Some(kit.now() + TimeDelta::hours(1)))
        );
        let read = "{ contacts { totalCount } tenant { name issuers { id } } }";
        let write = "mutation { contactUpsert(input: {externalId: \"u1\"}) { contact { externalId } userErrors { code } } }";
        let manage = "mutation { apiKeyCreate(input: {kind: PUBLISHABLE, name: \"x\"}) { userErrors { code } } }";
        let tenants = "{ tenants { totalCount } }";
        for (roles, may) in [
            (json!("boss"), [true, true, true]),
            (json!("admin"), [true, true, true]),
            (json!("writer"), [true, true, false]),
            (json!("guest"), [true, false, false]),
            // Of several the one that may most.
            (json!(["guest", "unknown", "writer"]), [true, true, false]),
        ] {
            let token = signed(&with(&said, "role", roles.clone()));
            for (document, allowed) in [read, write, manage].into_iter().zip(may) {
                let answer = kit.gql(&token, document, json!({})).await;
                let expected = if allowed { "none" } else { "FORBIDDEN" };
                assert_eq!(code(&answer), expected, "{roles} {document}");
            }
            assert_eq!(code(&kit.gql(&token, tenants, json!({})).await), "FORBIDDEN");
            assert_eq!(code(&kit.gql(&token, "{ me { id } }", json!({})).await), "FORBIDDEN");
        }
        for roles in [json!("owner"), json!("ADMIN"), json!("admin "), json!([]), json!([["admin"]]), json!({"admin": true}), json!(1), Value::Null] {
            assert_refused(&kit, &signed(&with(&said, "role", roles.clone())), &roles.to_string()).await;
        }
        for sub in [json!(""), json!(" "), json!(1), json!("a\u{0}"), json!("x".repeat(256)), Value::Null] {
            assert_refused(&kit, &signed(&with(&said, "sub", sub.clone())), &sub.to_string()).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn claims_within_claims_are_found_by_a_pointer() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        let input = with(&provider.input(), "roleClaim", json!("/realm/roles"));
        let input = with(&input, "subjectClaim", json!("/user/id"));
        assert_eq!(errors(&kit, &acme.secret_key, &input).await, json!([]));
        let said = with(&claims(&kit, &acme), "realm", json!({"roles": ["guest"]}));
        assert_refused(&kit, &signed(&said), "no subject").await;
        let said = with(&said, "user", json!({"id": "ann"}));
        let caller = kit.app.principals.by_token(&signed(&said)).await?;
        assert!(
            matches!(&caller.actor, Actor::Member { subject, role: MemberRole::Viewer, .. } if &**subject == "ann"),
            "{caller:?}"
        );
        Ok(())
    })
    .await
}

/// Signs with a key in PEM that has no id.
fn by(pem: &str, algorithm: Algorithm, claims: &Value) -> String {
    let pem = pem.as_bytes();
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    };
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key.unwrap()).unwrap()
}

async fn contact(tenant: &Tenant, external_id: &str) -> anyhow::Result<ContactId> {
    Ok(tenant
        .cx
        .write(async |tx| {
            let row = rows::contact(tx, external_id).await?;
            rows::identifier(tx, row.id, external_id).await?;
            Ok(row.id)
        })
        .await?)
}

fn contact_claims(kit: &Kit, tenant: &Tenant, subject: &str) -> Value {
    json!({"iss": "backend", "aud": tenant.id.to_string(), "sub": subject, "exp": kit.now().timestamp() + 600})
}

#[tokio::test]
async fn a_contacts_token_is_signed_by_the_tenants_backend_with_a_registered_key()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let (anna, bert) = (contact(&acme, "anna").await?, contact(&bolt, "bert").await?);
        let input = json!({
            "kind": "CONTACT", "issuer": "backend", "algorithms": ["RS256", "ES256", "EDDSA"],
            "publicKeys": [RSA_A_PUBLIC, EC_PUBLIC, ED_PUBLIC],
        });
        assert_eq!(errors(&kit, &acme.secret_key, &input).await, json!([]));
        let said = contact_claims(&kit, &acme, "anna");
        let expires_at = kit.now() + TimeDelta::minutes(10);
        for token in [
            by(RSA_A, Algorithm::RS256, &said),
            by(EC, Algorithm::ES256, &said),
            by(ED, Algorithm::EdDSA, &said),
        ] {
            let caller = kit.app.principals.by_token(&token).await?;
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
            let me = kit.gql(&token, "{ me { id } }", json!({})).await;
            assert_eq!(me, json!({"data": {"me": {"id": anna.to_string()}}}));
            assert_eq!(
                code(
                    &kit.gql(&token, "{ contacts { totalCount } }", json!({}))
                        .await
                ),
                "FORBIDDEN"
            );
        }
        assert_refused(
            &kit,
            &by(RSA_B, Algorithm::RS256, &said),
            "a key that is not registered",
        )
        .await;
        let day = kit.now().timestamp() + 86_400;
        for (what, claims) in [
            ("nobody's id", with(&said, "sub", json!("nobody"))),
            (
                "another tenant's contact",
                with(&said, "sub", json!("bert")),
            ),
            (
                "a contact's id where an external id is meant",
                with(&said, "sub", json!(anna.to_string())),
            ),
            (
                "a life of more than a day",
                with(&said, "exp", json!(day + 1)),
            ),
            (
                "another tenant",
                with(&said, "aud", json!(bolt.id.to_string())),
            ),
        ] {
            assert_refused(&kit, &by(EC, Algorithm::ES256, &claims), what).await;
        }
        assert!(
            is_accepted(
                &kit,
                &by(EC, Algorithm::ES256, &with(&said, "exp", json!(day)))
            )
            .await
        );

        // By the contact's id, and after a merge.
        let input = with(&input, "issuer", json!("ids"));
        let input = with(&input, "subjectIs", json!("CONTACT_ID"));
        assert_eq!(errors(&kit, &acme.secret_key, &input).await, json!([]));
        let of = |subject: &str| {
            by(
                ED,
                Algorithm::EdDSA,
                &with(&contact_claims(&kit, &acme, subject), "iss", json!("ids")),
            )
        };
        for refused in [
            "anna",
            "contact_x",
            "contact_01h455vb4pex5vsknk084sn02q",
            &bert.to_string(),
        ] {
            assert_refused(&kit, &of(refused), refused).await;
        }
        let root = contact(&acme, "root").await?;
        acme.cx
            .write(async |tx| {
                let mut row = tx
                    .get::<entity::contact::Entity>(anna)
                    .await?
                    .unwrap()
                    .into_active_model();
                row.merged_into = Set(Some(root));
                tx.update(row).await
            })
            .await?;
        for token in [of(&anna.to_string()), by(EC, Algorithm::ES256, &said)] {
            let actor = kit.app.principals.by_token(&token).await?.actor;
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
async fn a_shared_secret_signs_and_nothing_else_does() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let input = json!({
            "kind": "MEMBER", "issuer": ISS, "algorithms": ["HS256"], "sharedSecret": SECRET,
            "roleClaim": "role", "roles": [{"value": "admin", "role": "ADMIN"}],
        });
        let saved = save(&kit, &acme.secret_key, &input).await;
        let said = claims(&kit, &acme);
        let by = |algorithm, secret: &str| {
            jsonwebtoken::encode(
                &Header::new(algorithm),
                &said,
                &EncodingKey::from_secret(secret.as_bytes()),
            )
            .unwrap()
        };
        assert!(is_accepted(&kit, &by(Algorithm::HS256, SECRET)).await);
        assert_refused(&kit, &by(Algorithm::HS512, SECRET), "another HMAC").await;
        assert_refused(
            &kit,
            &by(Algorithm::HS256, "another secret of more than 32 bytes"),
            "another secret",
        )
        .await;
        assert_refused(&kit, &signed(&said), "RS256").await;

        // The secret stays when it is not given anew, and is replaced when it is.
        let id = &saved["issuer"]["id"];
        let kept = with(&with(&input, "id", id.clone()), "sharedSecret", Value::Null);
        assert_eq!(errors(&kit, &acme.secret_key, &kept).await, json!([]));
        assert!(is_accepted(&kit, &by(Algorithm::HS256, SECRET)).await);
        let new = "a new secret, again of more than 32 bytes";
        let renewed = with(&kept, "sharedSecret", json!(new));
        assert_eq!(errors(&kit, &acme.secret_key, &renewed).await, json!([]));
        assert_refused(&kit, &by(Algorithm::HS256, SECRET), "the old secret").await;
        assert!(is_accepted(&kit, &by(Algorithm::HS256, new)).await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_issuers_tokens_end_with_it_and_with_its_tenant() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let id = provider.registered_at(&kit, &acme).await?;
        let token = signed(&claims(&kit, &acme));
        assert!(is_accepted(&kit, &token).await);
        acme.cx.write(async |tx| tenant::suspend_tenant(tx).await).await?;
        assert_refused(&kit, &token, "suspended").await;
        acme.cx.write(async |tx| tenant::resume_tenant(tx).await).await?;
        assert!(is_accepted(&kit, &token).await);

        let delete = format!("mutation {{ issuerDelete(input: {{id: \"{id}\"}}) {{ deletedId userErrors {{ code field }} }} }}");
        let missing = json!({"deletedId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]});
        assert_eq!(kit.gql(&bolt.secret_key, &delete, json!({})).await["data"]["issuerDelete"], missing);
        assert!(is_accepted(&kit, &token).await);
        let deleted = kit.gql(&acme.secret_key, &delete, json!({})).await;
        assert_eq!(deleted["data"]["issuerDelete"], json!({"deletedId": id, "userErrors": []}));
        assert_refused(&kit, &token, "deleted").await;
        assert_eq!(kit.gql(&acme.secret_key, &delete, json!({})).await["data"]["issuerDelete"], missing);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn keys_are_asked_for_once_however_many_wait_and_seldom_however_many_are_unknown()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        provider.registered_at(&kit, &acme).await?;
        let said = claims(&kit, &acme);
        let token = signed(&said);
        let accepted = join_all((0..20).map(|_| is_accepted(&kit, &token))).await;
        assert_eq!(accepted, [true; 20]);
        assert_eq!(provider.asked(), 1);

        let unknown = |n: usize| {
            jsonwebtoken::encode(
                &header(Algorithm::RS256, &format!("k{n}")),
                &said,
                &rsa(RSA_B),
            )
            .unwrap()
        };
        kit.advance(TimeDelta::seconds(59));
        for n in 0..20 {
            assert!(!is_accepted(&kit, &unknown(n)).await);
        }
        assert_eq!(provider.asked(), 1, "not within a minute");
        kit.advance(TimeDelta::seconds(1));
        let refused = join_all((0..20).map(|n| {
            let token = unknown(n);
            let kit = &kit;
            async move { is_accepted(kit, &token).await }
        }))
        .await;
        assert_eq!(refused, [false; 20]);
        assert_eq!(provider.asked(), 2, "once a minute");
        // A new key is found so.
        provider.publishes(&[published(RSA_A, "a"), published(RSA_B, "b")]);
        kit.advance(TimeDelta::minutes(1));
        let new = jsonwebtoken::encode(&header(Algorithm::RS256, "b"), &said, &rsa(RSA_B))?;
        assert!(is_accepted(&kit, &new).await && is_accepted(&kit, &token).await);
        assert_eq!(provider.asked(), 3);
        // A changed issuer is asked anew.
        kit.advance(TimeDelta::seconds(1));
        let id = kit
            .gql(&acme.secret_key, "{ tenant { issuers { id } } }", json!({}))
            .await;
        let again = with(
            &provider.input(),
            "id",
            id["data"]["tenant"]["issuers"][0]["id"].clone(),
        );
        assert_eq!(errors(&kit, &acme.secret_key, &again).await, json!([]));
        assert!(is_accepted(&kit, &token).await);
        assert_eq!(provider.asked(), 4);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn known_keys_work_for_an_hour_while_the_provider_is_down() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        provider.registered_at(&kit, &acme).await?;
        provider.answers(StatusCode::SERVICE_UNAVAILABLE, "");
        let said = with(
            &claims(&kit, &acme),
            "exp",
            json!(kit.now().timestamp() + 80_000),
        );
        let token = signed(&said);
        let unavailable = async || {
            matches!(
                kit.app.principals.by_token(&token).await,
                Err(Error::Unavailable(_))
            )
        };
        assert!(unavailable().await, "nothing is known yet");
        let server = kit.serve().await?;
        let sent = reqwest::Client::new()
            .post(server.url("/graphql"))
            .bearer_auth(&token)
            .json(&json!({"query": "{ __typename }"}))
            .send()
            .await?;
        assert_eq!(sent.status(), 503);

        provider.publishes(&[published(RSA_A, "a")]);
        assert!(unavailable().await, "asked less than a minute ago");
        kit.advance(TimeDelta::minutes(1));
        assert!(is_accepted(&kit, &token).await);
        provider.answers(StatusCode::INTERNAL_SERVER_ERROR, "");
        kit.advance(TimeDelta::minutes(59));
        assert!(is_accepted(&kit, &token).await);
        let stranger = jsonwebtoken::encode(&header(Algorithm::RS256, "a"), &said, &rsa(RSA_B))?;
        assert_refused(&kit, &stranger, "another key meanwhile").await;
        kit.advance(TimeDelta::minutes(1));
        assert!(unavailable().await, "too old");
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn what_is_no_set_or_too_large_or_elsewhere_gives_no_keys() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        provider.registered_at(&kit, &acme).await?;
        let token = signed(&claims(&kit, &acme));
        let set =
            json!({"keys": [published(RSA_A, "a")], "padding": "x".repeat(300_000)}).to_string();
        for text in ["", "<html>", "[]", r#"{"keys": null}"#, &set] {
            provider.answers(StatusCode::OK, text);
            assert!(
                !is_accepted(&kit, &token).await,
                "{}",
                &text[..text.len().min(20)]
            );
            kit.advance(TimeDelta::minutes(1));
        }
        provider.redirects();
        assert!(!is_accepted(&kit, &token).await, "a redirect");
        assert_eq!(provider.asked_elsewhere(), 0);
        assert_eq!(provider.asked(), 6);
        // Keys that are of no use keep no good one out.
        kit.advance(TimeDelta::minutes(1));
        provider.publishes(&[
            json!({"kty": "oct", "k": "AA", "kid": "a"}),
            json!(7),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"}),
            published(RSA_A, "a"),
        ]);
        assert!(is_accepted(&kit, &token).await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_providers_address_inside_our_network_is_neither_saved_nor_asked() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        let guarded = Outbound::new(false)?;
        for url in [
            "http://id.example/jwks",
            "https://127.0.0.1/jwks",
            "https://localhost/jwks",
            "https://10.0.0.1/jwks",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/jwks",
            "https://[::ffff:127.0.0.1]/jwks",
            "https://2130706433/jwks",
            "https://metadata.internal/jwks",
            &provider.url(),
        ] {
            let new = tenant::NewIssuer {
                id: None,
                kind: issuer::Kind::Member,
                iss: ISS.to_owned(),
                audience: None,
                algorithms: vec![("RS256", Algorithm::RS256)],
                source: Some(tenant::Source::JwksUrl(url.to_owned())),
                subject_claim: "sub".to_owned(),
                subject_is: None,
                role_claim: Some("role".to_owned()),
                roles: vec![("admin".to_owned(), MemberRole::Admin)],
                lifetime_max: TimeDelta::hours(1),
            };
            match tenant::save_issuer(&acme.cx, &guarded, new).await {
                Err(Error::User(error)) => {
                    assert_eq!(error.field.as_deref(), Some("jwksUrl"), "{url}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
        // Saved while it was allowed, and asked when it no longer is.
        provider.registered_at(&kit, &acme).await?;
        let token = signed(&claims(&kit, &acme));
        let principals = Principals::new(kit.app.env.clone(), None, guarded, kit.app.tasks.clone());
        assert!(matches!(
            principals.by_token(&token).await,
            Err(Error::Unavailable(_))
        ));
        assert_eq!(provider.asked(), 0);
        assert!(is_accepted(&kit, &token).await);
        Ok(())
    })
    .await
}
