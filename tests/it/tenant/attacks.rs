//! Every known attack on a JWT, each against a provider that publishes its keys, and where it matters against registered
//! keys and shared secrets as well. Each is tried beside the genuine token that it was made of, which is let in.

use api::base::Error;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use entity::TenantId;
use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::{
    code,
    provider::{
        ISS, Provider, RSA_A_PUBLIC, RSA_B, assert_refused, claims, header, is_accepted, published,
        rsa, save, signed, with,
    },
};

fn part(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A tenant with a provider, a genuine token's claims, and the token.
pub(super) struct Scene {
    provider: Provider,
    pub(super) acme: Tenant,
    said: Value,
    pub(super) token: String,
}

pub(super) async fn scene(kit: &Kit) -> anyhow::Result<Scene> {
    let provider = Provider::start().await?;
    let acme = kit.tenant("acme").await?;
    provider.registered_at(kit, &acme).await?;
    let said = claims(kit, &acme);
    let token = signed(&said);
    assert!(is_accepted(kit, &token).await, "the genuine one");
    Ok(Scene {
        provider,
        acme,
        said,
        token,
    })
}

/// Signs bytes that no library would write.
fn signed_raw(head: &str, body: &str) -> String {
    let message = format!("{}.{}", part(head), part(body));
    let signature = jsonwebtoken::crypto::sign(
        message.as_bytes(),
        &rsa(super::provider::RSA_A),
        Algorithm::RS256,
    );
    format!("{message}.{}", signature.unwrap())
}

const HEAD: &str = r#"{"alg":"RS256","typ":"JWT","kid":"a"}"#;

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_alg_none_is_spelt() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let signature = scene.token.rsplit('.').next().unwrap();
        for none in ["none", "None", "NONE", "nOnE", "none ", ""] {
            let head = part(&json!({"alg": none, "typ": "JWT", "kid": "a"}).to_string());
            let body = part(&scene.said.to_string());
            for tail in ["", signature, "AA"] {
                assert_refused(&kit, &format!("{head}.{body}.{tail}"), none).await;
            }
        }
        let body = part(&scene.said.to_string());
        assert_refused(
            &kit,
            &format!("{}.{body}.", part(HEAD)),
            "an empty signature",
        )
        .await;
        assert_refused(&kit, &format!("{}.{body}", part(HEAD)), "no signature").await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn hs256_with_the_public_key_as_its_secret_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let bolt = kit.tenant("bolt").await?;
        let input = with(&scene.provider.input(), "jwksUrl", Value::Null);
        let input = with(&input, "publicKeys", json!([RSA_A_PUBLIC]));
        assert_eq!(
            save(&kit, &bolt.secret_key, &input).await["userErrors"],
            json!([])
        );
        let jwk = published(super::provider::RSA_A, "a");
        let modulus = BASE64_URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap())?;
        let body: String = RSA_A_PUBLIC
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let der = base64::prelude::BASE64_STANDARD.decode(body)?;
        for tenant in [&scene.acme, &bolt] {
            let said = claims(&kit, tenant);
            assert!(is_accepted(&kit, &signed(&said)).await);
            for secret in [
                RSA_A_PUBLIC.as_bytes(),
                RSA_A_PUBLIC.trim().as_bytes(),
                &der,
                &modulus,
                jwk["n"].as_str().unwrap().as_bytes(),
                jwk.to_string().as_bytes(),
                b"",
            ] {
                for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                    let key = EncodingKey::from_secret(secret);
                    let forged = jsonwebtoken::encode(&header(algorithm, "a"), &said, &key)?;
                    assert_refused(&kit, &forged, "the public key as a secret").await;
                }
            }
        }
        // Nor can an issuer be registered that would take both.
        for algorithms in [json!(["RS256", "HS256"]), json!(["HS256"])] {
            let both = with(&scene.provider.input(), "algorithms", algorithms);
            assert_eq!(
                save(&kit, &scene.acme.secret_key, &both).await["userErrors"],
                json!([{"code": "INVALID", "field": "algorithms"}])
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_algorithm_that_the_issuer_does_not_use_is_refused_with_the_right_key()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        scene.provider.publishes(&[with(
            &published(super::provider::RSA_A, "a"),
            "alg",
            Value::Null,
        )]);
        kit.advance(TimeDelta::minutes(6));
        let said = claims(&kit, &scene.acme);
        assert!(is_accepted(&kit, &signed(&said)).await);
        for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            let key = rsa(super::provider::RSA_A);
            let other = jsonwebtoken::encode(&header(algorithm, "a"), &said, &key)?;
            assert_refused(&kit, &other, "not on the list").await;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_issuer_or_audience_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let own = scene.acme.id.to_string();
        for (name, value) in [
            ("iss", json!("https://id.acme.example")),
            ("iss", json!("https://ID.acme.example/")),
            ("iss", json!("growthos")),
            ("iss", json!([ISS])),
            ("iss", Value::Null),
            ("aud", json!("growthos")),
            ("aud", json!("")),
            ("aud", json!([])),
            ("aud", json!({"0": own})),
            ("aud", json!(format!("{own} "))),
            ("aud", json!(own.to_uppercase())),
            ("aud", Value::Null),
        ] {
            let wrong = signed(&with(&scene.said, name, value.clone()));
            assert_refused(&kit, &wrong, &format!("{name}: {value}")).await;
            // Naming the tenant beside the token does not make up for it.
            let named = kit
                .app
                .principals
                .by_token_at(&wrong, Some(scene.acme.id))
                .await;
            assert!(
                matches!(named, Err(Error::Unauthenticated)),
                "{name}: {value}"
            );
        }
        let several = signed(&with(
            &scene.said,
            "aud",
            json!(["https://api.acme.example", own]),
        ));
        assert!(is_accepted(&kit, &several).await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_tenants_issuer_is_nothing_at_another() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let bolt = kit.tenant("bolt").await?;
        // Bolt has an issuer of its own, whose tokens are let in there and nowhere else.
        let other = Provider::start().await?;
        other.publishes(&[published(RSA_B, "b")]);
        let input = with(&other.input(), "issuer", json!("https://id.bolt.example/"));
        assert_eq!(
            save(&kit, &bolt.secret_key, &input).await["userErrors"],
            json!([])
        );
        let of_bolt = |said: &Value| {
            jsonwebtoken::encode(&header(Algorithm::RS256, "b"), said, &rsa(RSA_B)).unwrap()
        };
        let said = with(
            &claims(&kit, &bolt),
            "iss",
            json!("https://id.bolt.example/"),
        );
        let caller = kit.app.principals.by_token(&of_bolt(&said)).await?;
        assert_eq!(caller.tenant, Some(bolt.id));

        let at = async |token: &str, tenant: TenantId| {
            kit.app.principals.by_token_at(token, Some(tenant)).await
        };
        // Acme's provider signs whatever it likes: it opens acme alone.
        for aud in [
            json!(bolt.id.to_string()),
            json!([bolt.id.to_string(), "x"]),
        ] {
            let token = signed(&with(&scene.said, "aud", aud));
            assert_refused(&kit, &token, "acme's token for bolt").await;
            assert!(at(&token, bolt.id).await.is_err());
        }
        assert!(
            at(&scene.token, bolt.id).await.is_err(),
            "acme's token at bolt"
        );
        assert!(at(&scene.token, scene.acme.id).await.is_ok());
        let both = json!([bolt.id.to_string(), scene.acme.id.to_string()]);
        let both = signed(&with(&scene.said, "aud", both));
        assert_refused(&kit, &both, "a token for two tenants").await;
        assert!(at(&both, bolt.id).await.is_err());
        assert_eq!(at(&both, scene.acme.id).await?.tenant, Some(scene.acme.id));
        // With the name of bolt's issuer, but acme's key.
        assert_refused(&kit, &signed(&said), "acme's key for bolt's issuer").await;
        // With acme's name, bolt's key.
        assert_refused(&kit, &of_bolt(&scene.said), "bolt's key for acme's issuer").await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_registers_anothers_issuer_captures_and_breaks_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        // The thief is first, and registers acme's issuer, and acme's audience, with keys of its own.
        let (thief, acme) = (kit.tenant("thief").await?, kit.tenant("acme").await?);
        let (own, stolen) = (Provider::start().await?, Provider::start().await?);
        stolen.publishes(&[published(RSA_B, "a")]);
        for audience in [
            json!(acme.id.to_string()),
            json!("https://api.acme.example"),
        ] {
            let input = with(&stolen.input(), "audience", audience);
            assert_eq!(
                save(&kit, &thief.secret_key, &input).await["userErrors"],
                json!([])
            );
        }
        own.registered_at(&kit, &acme).await?;
        let input = with(&own.input(), "audience", json!("https://api.acme.example"));
        assert_eq!(
            save(&kit, &acme.secret_key, &input).await["userErrors"],
            json!([])
        );

        let said = claims(&kit, &acme);
        let shared = with(&said, "aud", json!("https://api.acme.example"));
        let forged = |said: &Value| {
            jsonwebtoken::encode(&header(Algorithm::RS256, "a"), said, &rsa(RSA_B)).unwrap()
        };
        assert_eq!(
            kit.app.principals.by_token(&signed(&said)).await?.tenant,
            Some(acme.id)
        );
        assert_eq!(
            kit.app
                .principals
                .by_token_at(&signed(&shared), Some(acme.id))
                .await?
                .tenant,
            Some(acme.id)
        );
        assert_refused(&kit, &forged(&said), "the thief's key at acme").await;
        assert_refused(&kit, &forged(&shared), "no tenant is named").await;
        assert!(
            kit.app
                .principals
                .by_token_at(&forged(&shared), Some(acme.id))
                .await
                .is_err()
        );
        // What the thief signs opens the thief's own house.
        let inside = kit
            .app
            .principals
            .by_token_at(&forged(&said), Some(thief.id))
            .await?;
        assert_eq!(inside.tenant, Some(thief.id));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_kid_is_a_name_and_never_a_path_an_address_or_sql() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let long = "k".repeat(300);
        for kid in [
            "../../../../etc/passwd",
            "/dev/null",
            "file:///dev/null",
            "' OR '1'='1",
            "a'; DROP TABLE issuer; --",
            "a' UNION SELECT 'AA",
            "a\0",
            "A",
            "",
            " a",
            "*",
            &scene.provider.elsewhere(),
            &long,
        ] {
            let key = rsa(super::provider::RSA_A);
            let token = jsonwebtoken::encode(&header(Algorithm::RS256, kid), &scene.said, &key)?;
            assert_refused(&kit, &token, kid).await;
            // The classic: an empty file as the secret.
            let empty = EncodingKey::from_secret(b"");
            let token = jsonwebtoken::encode(&header(Algorithm::HS256, kid), &scene.said, &empty)?;
            assert_refused(&kit, &token, kid).await;
        }
        for kid in ["1", "null", "{}", r#"["a"]"#] {
            let head = format!(r#"{{"alg":"RS256","kid":{kid}}}"#);
            assert_refused(&kit, &signed_raw(&head, &scene.said.to_string()), kid).await;
        }
        assert_eq!(scene.provider.asked_elsewhere(), 0);
        assert!(
            is_accepted(&kit, &scene.token).await,
            "and the table is still there"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_or_points_at_is_not_used() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let evil = scene.provider.elsewhere();
        let jwk = published(RSA_B, "a");
        for head in [
            json!({"alg": "RS256", "kid": "a", "jku": evil}),
            json!({"alg": "RS256", "kid": "b", "jku": evil}),
            json!({"alg": "RS256", "jku": evil}),
            json!({"alg": "RS256", "kid": "a", "x5u": evil}),
            json!({"alg": "RS256", "kid": "a", "jwk": jwk}),
            json!({"alg": "RS256", "jwk": jwk}),
            json!({"alg": "RS256", "kid": "a", "x5c": ["MIIB"]}),
        ] {
            let message = format!(
                "{}.{}",
                part(&head.to_string()),
                part(&scene.said.to_string())
            );
            let signature =
                jsonwebtoken::crypto::sign(message.as_bytes(), &rsa(RSA_B), Algorithm::RS256)?;
            assert_refused(&kit, &format!("{message}.{signature}"), &head.to_string()).await;
        }
        assert_eq!(scene.provider.asked_elsewhere(), 0);
        // Beside a genuine signature they are passed over; what is critical is not.
        let body = scene.said.to_string();
        let with_jku = json!({"alg": "RS256", "kid": "a", "jku": evil}).to_string();
        assert!(is_accepted(&kit, &signed_raw(&with_jku, &body)).await);
        let critical = json!({"alg": "RS256", "kid": "a", "crit": ["exp"]}).to_string();
        assert_refused(&kit, &signed_raw(&critical, &body), "crit").await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_but_for_a_minute() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let now = kit.now().timestamp();
        for claim in ["nbf", "iat"] {
            assert!(is_accepted(&kit, &signed(&with(&scene.said, claim, json!(now + 60)))).await);
            for value in [
                json!(now + 61),
                json!(now + 86_400),
                json!("now"),
                json!([now]),
            ] {
                assert_refused(&kit, &signed(&with(&scene.said, claim, value)), claim).await;
            }
        }
        let early = signed(&with(&scene.said, "nbf", json!(now + 100)));
        assert_refused(&kit, &early, "early").await;
        kit.advance(TimeDelta::seconds(40));
        assert!(is_accepted(&kit, &early).await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_token_that_says_no_end_or_one_that_is_over_or_far_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let now = kit.now().timestamp();
        for exp in [
            Value::Null,
            json!("9999999999"),
            json!(true),
            json!({}),
            json!(now - 60),
            json!(-1),
            json!(now + 86_401),
            json!(9_999_999_999_i64),
            json!(1e300),
        ] {
            let token = signed(&with(&scene.said, "exp", exp.clone()));
            assert_refused(&kit, &token, &format!("exp {exp}")).await;
        }
        let null = scene
            .said
            .to_string()
            .replace(&(now + 3_600).to_string(), "null");
        assert_refused(&kit, &signed_raw(HEAD, &null), "exp null").await;
        for exp in [now - 59, now + 86_400] {
            assert!(is_accepted(&kit, &signed(&with(&scene.said, "exp", json!(exp)))).await);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn claims_that_are_said_twice_are_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let body = scene.said.to_string();
        let inner = body.trim_start_matches('{');
        assert!(is_accepted(&kit, &signed_raw(HEAD, &body)).await);
        for twice in [
            format!(r#"{{"role":"boss",{inner}"#),
            format!(r#"{{"exp":9999999999,{inner}"#),
            format!(r#"{{"\u0073ub":"other",{inner}"#),
            format!(r#"{{"x":{{"y":1,"y":1}},{inner}"#),
        ] {
            assert_refused(&kit, &signed_raw(HEAD, &twice), &twice).await;
        }
        let head = r#"{"alg":"none","alg":"RS256","kid":"a"}"#;
        assert_refused(&kit, &signed_raw(head, &body), head).await;
        let head = r#"{"alg":"RS256","kid":"b","kid":"a"}"#;
        assert_refused(&kit, &signed_raw(head, &body), head).await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn data_behind_a_token_or_behind_its_json_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let (token, body) = (&scene.token, scene.said.to_string());
        for token in [
            format!("{token}."),
            format!("{token}.AA"),
            format!("{token}=="),
            format!("{token}%00"),
            format!("{token}\0"),
            format!("{token}A"),
            format!(".{token}"),
            token.replacen('.', "..", 1),
            token.replacen('.', "=.", 1),
            token.replacen('.', "\n.", 1),
            signed_raw(HEAD, &format!("{body}{{}}")),
            signed_raw(HEAD, &format!("{body},")),
            signed_raw(HEAD, &format!("{body}\0")),
            signed_raw(&format!("{HEAD}1"), &body),
            signed_raw(HEAD, &format!("[{body}]")),
        ] {
            assert_refused(&kit, &token, &token).await;
        }
        // The last letter of a signature has bits that count for nothing: there is one way to write it.
        let signature = token.rsplit('.').next().unwrap();
        let (_, last) = signature.split_at(signature.len() - 1);
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
            if last != letter.to_string() {
                let other = format!("{}{letter}", &token[..token.len() - 1]);
                assert_refused(&kit, &other, "another last letter").await;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_token_of_16_kb_is_refused_unread() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let padded = |bytes: usize| signed(&with(&scene.said, "padding", json!("x".repeat(bytes))));
        let fits = padded(5_000);
        assert!((6_000..8_192).contains(&fits.len()));
        assert!(is_accepted(&kit, &fits).await);
        let huge = padded(12_000);
        assert!(huge.len() > 16_000);
        assert_refused(&kit, &huge, "16 KB").await;
        let server = kit.serve().await?;
        let client = reqwest::Client::new();
        for (token, status) in [(&fits, 200), (&huge, 401)] {
            let sent = client
                .post(server.url("/graphql"))
                .bearer_auth(token)
                .json(&json!({"query": "{ __typename }"}))
                .send()
                .await?;
            assert_eq!(sent.status(), status);
        }
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_key_that_the_issuer_took_back_is_refused_when_its_memory_ends() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        scene.provider.publishes(&[published(RSA_B, "b")]);
        kit.advance(TimeDelta::seconds(299));
        assert!(is_accepted(&kit, &scene.token).await, "remembered");
        assert_eq!(scene.provider.asked(), 1);
        kit.advance(TimeDelta::seconds(1));
        assert_refused(&kit, &scene.token, "taken back").await;
        assert_eq!(scene.provider.asked(), 2);

        // A token of the new key makes the old one forgotten at once.
        scene
            .provider
            .publishes(&[published(super::provider::RSA_A, "a")]);
        kit.advance(TimeDelta::minutes(5));
        assert!(is_accepted(&kit, &scene.token).await);
        kit.advance(TimeDelta::minutes(1));
        scene.provider.publishes(&[published(RSA_B, "b")]);
        let new = jsonwebtoken::encode(&header(Algorithm::RS256, "b"), &scene.said, &rsa(RSA_B))?;
        assert!(is_accepted(&kit, &new).await);
        assert_refused(&kit, &scene.token, "replaced").await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_signature_of_another_key_or_over_another_text_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let [head, _, signature] = scene.token.split('.').collect::<Vec<_>>()[..] else {
            anyhow::bail!("a token has three parts")
        };
        let raised = part(&with(&scene.said, "role", json!("boss")).to_string());
        assert_refused(
            &kit,
            &format!("{head}.{raised}.{signature}"),
            "a higher role",
        )
        .await;
        let stranger =
            jsonwebtoken::encode(&header(Algorithm::RS256, "a"), &scene.said, &rsa(RSA_B))?;
        assert_refused(&kit, &stranger, "another key under a known id").await;
        let unnamed =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &scene.said, &rsa(RSA_B))?;
        assert_refused(&kit, &unnamed, "another key without an id").await;
        Ok(())
    })
    .await
}

/// Opens a socket with a token and leaves it acknowledged; sends `subscription`, if any.
pub(super) async fn socket(
    url: &str,
    payload: Value,
    subscription: Option<&str>,
) -> anyhow::Result<
    impl futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
    + futures_util::Sink<Message>
    + Unpin
    + use<>,
> {
    let mut request = url.into_client_request()?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
    let (mut socket, _) = connect_async(request).await?;
    let init = json!({"type": "connection_init", "payload": payload});
    socket.send(Message::text(init.to_string())).await?;
    let ack = socket.next().await.unwrap()?;
    anyhow::ensure!(ack.to_text()?.contains("connection_ack"), "{ack}");
    if let Some(query) = subscription {
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": query}});
        socket.send(Message::text(subscribe.to_string())).await?;
    }
    Ok(socket)
}

#[tokio::test]
async fn a_token_that_expires_while_a_socket_is_open_closes_it() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let scene = scene(&kit).await?;
        let anna = scene
            .acme
            .cx
            .write(async |tx| crate::rows::contact(tx, "anna").await)
            .await?;
        let contact = kit.contact_token(&scene.acme, anna.id).await?;
        let server = kit.serve().await?;
        let url = server.ws_url();
        let bearer = |token: &str| json!({"authorization": format!("Bearer {token}")});
        let mut sockets = vec![
            socket(&url, bearer(&scene.token), None).await?,
            socket(
                &url,
                bearer(&contact),
                Some("subscription { nudges { __typename } }"),
            )
            .await?,
        ];
        kit.advance(TimeDelta::minutes(59));
        for socket in &mut sockets {
            let ping = json!({"type": "ping"}).to_string();
            anyhow::ensure!(socket.send(Message::text(ping)).await.is_ok());
            assert_eq!(
                socket.next().await.unwrap()?.to_text()?,
                r#"{"type":"pong"}"#
            );
        }
        kit.advance(TimeDelta::minutes(1));
        for socket in &mut sockets {
            let ping = json!({"type": "ping"}).to_string();
            anyhow::ensure!(socket.send(Message::text(ping)).await.is_ok());
            let Some(Ok(Message::Close(Some(close)))) = socket.next().await else {
                anyhow::bail!("the socket is still open")
            };
            assert_eq!(u16::from(close.code), 4403);
            assert_eq!(
                close.reason.as_str(),
                "forbidden: the credential has expired"
            );
        }
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_request_names_the_tenant_by_a_header_and_a_socket_by_a_parameter() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let input = with(&provider.input(), "audience", json!("https://api.example"));
        assert_eq!(
            save(&kit, &acme.secret_key, &input).await["userErrors"],
            json!([])
        );
        let token = signed(&with(
            &claims(&kit, &acme),
            "aud",
            json!("https://api.example"),
        ));
        let server = kit.serve().await?;
        let client = reqwest::Client::new();
        let (own, other) = (acme.id.to_string(), bolt.id.to_string());
        for (credential, named, status) in [
            (&token, None, 401),
            (&token, Some(own.as_str()), 200),
            (&token, Some(&other), 401),
            (&token, Some("acme"), 401),
            // It only narrows: a key opens its own tenant, and not where another is named.
            (&acme.secret_key, Some(&own), 200),
            (&acme.secret_key, Some(&other), 401),
        ] {
            let mut request = client
                .post(server.url("/graphql"))
                .bearer_auth(credential)
                .json(&json!({"query": "{ tenant { name } }"}));
            if let Some(named) = named {
                request = request.header("x-growthos-tenant", named);
            }
            assert_eq!(request.send().await?.status(), status, "{named:?}");
        }
        let bearer = format!("Bearer {token}");
        for (named, opens) in [
            (json!(own), true),
            (json!(other), false),
            (Value::Null, false),
        ] {
            let opened = socket(
                &server.ws_url(),
                json!({"authorization": bearer, "tenant": named}),
                None,
            )
            .await;
            assert_eq!(opened.is_ok(), opens, "{named}");
        }
        assert_eq!(
            code(&kit.gql(&token, "{ __typename }", json!({})).await),
            "UNAUTHENTICATED"
        );
        server.stop().await
    })
    .await
}
