//! An identity provider, as tenants have one: it signs tokens and publishes its keys.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tests::{Kit, Tenant};
use tokio::{net::TcpListener, task::JoinHandle};

pub(super) const ISS: &str = "https://id.acme.example/";

pub(super) const RSA_A: &str = include_str!("../../fixtures/jwt/rsa-a.pem");
pub(super) const RSA_A_PUBLIC: &str = include_str!("../../fixtures/jwt/rsa-a.pub.pem");
pub(super) const RSA_B: &str = include_str!("../../fixtures/jwt/rsa-b.pem");
pub(super) const EC: &str = include_str!("../../fixtures/jwt/ec.pem");
pub(super) const EC_PUBLIC: &str = include_str!("../../fixtures/jwt/ec.pub.pem");
pub(super) const ED: &str = include_str!("../../fixtures/jwt/ed.pem");
pub(super) const ED_PUBLIC: &str = include_str!("../../fixtures/jwt/ed.pub.pem");

pub(super) fn rsa(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

/// The public half of an RSA key, as it is published.
pub(super) fn published(pem: &str, kid: &str) -> Value {
    let jwk = Jwk::from_encoding_key(&rsa(pem), Algorithm::RS256).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = kid.into();
    jwk["use"] = "sig".into();
    jwk
}

pub(super) fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header {
        kid: Some(kid.to_owned()),
        ..Header::new(algorithm)
    }
}

/// A token of the provider's first key.
pub(super) fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&header(Algorithm::RS256, "a"), claims, &rsa(RSA_A)).unwrap()
}

/// What an administrator's token says at `tenant`.
pub(super) fn claims(kit: &Kit, tenant: &Tenant) -> Value {
    let now = kit.now().timestamp();
    json!({
        "iss": ISS,
        "aud": tenant.id.to_string(),
        "sub": "auth0|ann",
        "role": "admin",
        "iat": now,
        "exp": now + 3_600,
    })
}

/// The claims with one of them changed; null takes it out.
pub(super) fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

#[derive(Default)]
struct Published {
    answer: Mutex<Option<(StatusCode, String, Option<String>)>>,
    asked: AtomicUsize,
    elsewhere: AtomicUsize,
}

/// The provider's server. Gone when dropped.
pub(super) struct Provider {
    address: SocketAddr,
    published: Arc<Published>,
    task: JoinHandle<()>,
}

impl Provider {
    #[expect(
        clippy::disallowed_methods,
        reason = "a server beside the product's own tasks"
    )]
    pub(super) async fn start() -> anyhow::Result<Self> {
        let published = Arc::new(Published::default());
        let routes = Router::new()
            .route("/jwks", get(answer))
            .route("/elsewhere", get(elsewhere))
            .with_state(Arc::clone(&published));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let provider = Self {
            address: listener.local_addr()?,
            published,
            task: tokio::spawn(async move {
                let _ = axum::serve(listener, routes).await;
            }),
        };
        provider.publishes(&[self::published(RSA_A, "a")]);
        Ok(provider)
    }
    pub(super) fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }
    pub(super) fn publishes(&self, keys: &[Value]) {
        self.answers(StatusCode::OK, &json!({ "keys": keys }).to_string());
    }
    pub(super) fn answers(&self, status: StatusCode, text: &str) {
        *self.published.answer.lock().unwrap() = Some((status, text.to_owned(), None));
    }
    /// Sends who asks to another place of the provider's, where the keys are.
    pub(super) fn redirects(&self) {
        let to = format!("http://{}/elsewhere", self.address);
        *self.published.answer.lock().unwrap() = Some((StatusCode::FOUND, String::new(), Some(to)));
    }
    /// How often the keys were asked for.
    pub(super) fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }
    /// How often anything else was.
    pub(super) fn asked_elsewhere(&self) -> usize {
        self.published.elsewhere.load(Ordering::SeqCst)
    }
    pub(super) fn elsewhere(&self) -> String {
        format!("http://{}/elsewhere", self.address)
    }

    /// Registers the provider for the tenant's members.
    pub(super) async fn registered_at(&self, kit: &Kit, tenant: &Tenant) -> anyhow::Result<String> {
        let input = self.input();
        let saved = save(kit, &tenant.secret_key, &input).await;
        anyhow::ensure!(saved["userErrors"] == json!([]), "{saved}");
        Ok(saved["issuer"]["id"].as_str().unwrap().to_owned())
    }
    pub(super) fn input(&self) -> Value {
        json!({
            "kind": "MEMBER",
            "issuer": ISS,
            "algorithms": ["RS256"],
            "jwksUrl": self.url(),
            "roleClaim": "role",
            "roles": [
                {"value": "admin", "role": "ADMIN"},
                {"value": "boss", "role": "OWNER"},
                {"value": "writer", "role": "EDITOR"},
                {"value": "guest", "role": "VIEWER"},
            ],
        })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(published): State<Arc<Published>>) -> Response {
    published.asked.fetch_add(1, Ordering::SeqCst);
    // Long enough that those who ask at once meet.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let answer = published.answer.lock().unwrap().clone();
    let Some((status, text, to)) = answer else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match to {
        Some(to) => (status, [("location", to)], text).into_response(),
        None => (status, text).into_response(),
    }
}

async fn elsewhere(State(published): State<Arc<Published>>) -> Response {
    published.elsewhere.fetch_add(1, Ordering::SeqCst);
    json!({"keys": [self::published(RSA_B, "a"), self::published(RSA_A, "a")]})
        .to_string()
        .into_response()
}

pub(super) const SAVE: &str = "mutation($input: IssuerSaveInput!) { issuerSave(input: $input) { issuer { id } userErrors { code field } } }";

/// `issuerSave`'s payload.
pub(super) async fn save(kit: &Kit, credential: &str, input: &Value) -> Value {
    let answer = kit.gql(credential, SAVE, json!({ "input": input })).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    answer["data"]["issuerSave"].clone()
}

pub(super) async fn is_accepted(kit: &Kit, token: &str) -> bool {
    kit.app.principals.by_token(token).await.is_ok()
}

/// Asserts that a token is refused as any other is: nothing tells what was wrong with it.
pub(super) async fn assert_refused(kit: &Kit, token: &str, what: &str) {
    let answer = kit.gql(token, "{ __typename }", json!({})).await;
    assert_eq!(
        answer["errors"],
        json!([{"message": "the credential is missing, unknown or expired", "extensions": {"code": "UNAUTHENTICATED"}}]),
        "{what}"
    );
}
