//! A tenant's door: what operations cost, limits that the operator sets, origins, introspection in production.

use std::time::Duration;

use api::config::{Config, Environment};
use chrono::TimeDelta;
use entity::ContactId;
use futures_util::StreamExt as _;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tests::{Kind, Kit, OPERATOR, Tenant, on_each_database};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::contact::{ask, upsert};

async fn set_limits(kit: &Kit, tenant: &Tenant, limits: &str) {
    let document = format!(
        "mutation {{ tenantLimitsSet(input: {{id: \"{}\", {limits}}}) {{ limits {{ costMax }} userErrors {{ message }} }} }}",
        tenant.id
    );
    let set = ask(kit, OPERATOR, &document, json!({})).await;
    assert_eq!(set["tenantLimitsSet"]["userErrors"], json!([]));
}

#[tokio::test]
async fn every_answer_tells_what_it_cost_and_gives_back_what_it_did_not_use() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        set_limits(
            &kit,
            &acme,
            "pointsPerMinute: 10000, keyPointsPerMinute: 5000",
        )
        .await;
        upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        kit.advance(TimeDelta::minutes(2));
        let page = "{ contacts(first: 50) { edges { node { id name } } } }";
        let answer = kit.gql_with_cost(&acme.secret_key, page, json!({})).await;
        // contacts; edges; and of the one row: node, id, name
        assert_eq!(
            answer["extensions"]["cost"],
            json!({"requested": 201, "actual": 5, "remaining": 4995})
        );
        kit.advance(TimeDelta::seconds(60));
        let wrong = kit
            .gql_with_cost(&acme.secret_key, "{ nothing }", json!({}))
            .await;
        assert_eq!(
            wrong["extensions"]["cost"],
            json!({"requested": 1, "actual": 0, "remaining": 5000})
        );
        let operator = kit
            .gql_with_cost(OPERATOR, "{ tenants { totalCount } }", json!({}))
            .await;
        assert_eq!(
            operator["extensions"]["cost"],
            json!({"requested": 2, "actual": 2, "remaining": null})
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_asks_too_much_waits_and_others_do_not() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let other = kit.tenant("other").await?;
        set_limits(&kit, &acme, "keyPointsPerMinute: 1000").await;
        let server = kit.serve().await?;
        let client = Client::new();
        // 1 + 8 × 100 points, of which an empty list uses one
        let page = "{ contacts(first: 100) { edges { node { id status name email phone createdAt } } } }";
        let post = async |key: &str, accept: &str, query: &str| {
            let request = client.post(server.url("/graphql")).bearer_auth(key).header("accept", accept);
            request.json(&json!({"query": query})).send().await
        };
        let first = post(&acme.secret_key, "application/json", page).await?;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()["ratelimit-policy"], "\"tenant\";q=120000000;w=60, \"key\";q=1000;w=60");
        assert_eq!(first.headers()["ratelimit"], "\"tenant\";r=119999998;t=1, \"key\";r=998;t=1");
        let told = "{ tenant { id name createdAt limits { costMax pointsPerMinute keyPointsPerMinute } allowedOrigins } }";
        let mut refused = None;
        for _ in 0..200 {
            let answer = post(&acme.secret_key, "application/json", told).await?;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("a bucket of 1,000 points never ran over");
        assert_eq!(refused.headers()["retry-after"], "1");
        assert!(refused.headers()["ratelimit"].to_str()?.contains("\"key\";r="));
        let answer: Value = refused.json().await?;
        let error = &answer["errors"][0];
        assert_eq!(error["message"], "too much was asked in too short a time");
        assert_eq!((&error["extensions"]["code"], &error["extensions"]["retryAfter"]), (&json!("RATE_LIMITED"), &json!(1)));
        let told_new = post(&acme.secret_key, "application/graphql-response+json", told).await?;
        assert_eq!(told_new.status(), StatusCode::TOO_MANY_REQUESTS);
        for key in [&acme.publishable_key, &other.secret_key] {
            let answer = post(key, "application/json", "{ __typename }").await?;
            assert_eq!(answer.status(), StatusCode::OK);
        }
        kit.advance(TimeDelta::seconds(60));
        assert_eq!(post(&acme.secret_key, "application/json", told).await?.status(), StatusCode::OK);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn the_operator_bounds_what_one_operation_may_cost() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        set_limits(&kit, &acme, "costMax: 100").await;
        let shown = ask(&kit, &acme.secret_key, "{ tenant { limits { costMax pointsPerMinute keyPointsPerMinute subscriptionsMax contactSubscriptionsMax } } }", json!({})).await;
        assert_eq!(
            shown["tenant"]["limits"],
            json!({"costMax": 100, "pointsPerMinute": 120_000_000, "keyPointsPerMinute": 60_000_000, "subscriptionsMax": 50_000, "contactSubscriptionsMax": 20})
        );
        let answer = kit.gql(&acme.secret_key, "{ contacts(first: 50) { edges { node { id } } } }", json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX");
        assert_eq!(answer["errors"][0]["message"], "the answer may have 151 values with pages of these sizes, the limit is 100");
        for (limits, field) in [("costMax: 99", "costMax"), ("costMax: 50001", "costMax"), ("pointsPerMinute: -1", "pointsPerMinute"), ("contactSubscriptionsMax: 1001", "contactSubscriptionsMax")] {
            let document = format!("mutation {{ tenantLimitsSet(input: {{id: \"{}\", {limits}}}) {{ limits {{ costMax }} userErrors {{ field }} }} }}", acme.id);
            let refused = ask(&kit, OPERATOR, &document, json!({})).await;
            assert_eq!(refused["tenantLimitsSet"], json!({"limits": null, "userErrors": [{"field": field}]}));
        }
        let nobody = ask(&kit, OPERATOR, "mutation { tenantLimitsSet(input: {id: \"tenant_01h455vb4pex5vsknk084sn02q\"}) { userErrors { code field } } }", json!({})).await;
        assert_eq!(nobody["tenantLimitsSet"]["userErrors"], json!([{"code": "NOT_FOUND", "field": "id"}]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn subscriptions_have_ceilings_for_a_contact_and_for_a_tenant() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        set_limits(
            &kit,
            &acme,
            "subscriptionsMax: 3, contactSubscriptionsMax: 2",
        )
        .await;
        let mut tokens = vec![];
        for n in 0..2 {
            let id = upsert(&kit, &acme, json!({"externalId": format!("u{n}")})).await;
            tokens.push(
                kit.contact_token(&acme, ContactId::parse(&id).unwrap())
                    .await?,
            );
        }
        // An open one says nothing; one that is refused says so at once.
        let open = async |token: &str| {
            let caller = kit.app.principals.by_token(token).await.unwrap();
            let request = "subscription { nudges { __typename } }".into();
            let mut items = Box::pin(kit.subscribe(caller, request));
            let first = tokio::time::timeout(Duration::from_millis(200), items.next()).await;
            match first {
                Ok(Some(refused)) => {
                    Err(serde_json::to_value(refused).unwrap()["errors"][0].clone())
                }
                Ok(None) => panic!("a stream ended"),
                Err(_) => Ok(items),
            }
        };
        let first = open(&tokens[0]).await.unwrap();
        let _second = open(&tokens[0]).await.unwrap();
        let refused = open(&tokens[0]).await.err().unwrap();
        assert_eq!(
            refused["message"],
            "a contact has at most 2 subscriptions at the same time"
        );
        assert_eq!(refused["extensions"]["code"], "RATE_LIMITED");
        let _third = open(&tokens[1]).await.unwrap();
        let refused = open(&tokens[1]).await.err().unwrap();
        assert_eq!(
            refused["message"],
            "a tenant has at most 3 subscriptions at the same time"
        );
        drop(first);
        assert!(open(&tokens[1]).await.is_ok());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tenants_origins_are_let_in_and_others_are_not() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let client = Client::new();
        let from = async |origin: &str| {
            let request = client.post(server.url("/graphql")).bearer_auth(&acme.publishable_key);
            let request = request.header("origin", origin).json(&json!({"query": "{ __typename }"}));
            let response = request.send().await.unwrap();
            let allowed = response.headers().get("access-control-allow-origin").cloned();
            (response.status(), allowed.map(|value| value.to_str().unwrap().to_owned()))
        };
        let let_in = |origin: &str| (StatusCode::OK, Some(origin.to_owned()));
        assert_eq!(from("https://anyone.example").await, let_in("https://anyone.example"));
        let update = "mutation ($origins: [String!]) { tenantUpdate(input: {allowedOrigins: $origins}) { tenant { allowedOrigins } userErrors { field } } }";
        let origins = json!({"origins": ["https://app.example.com", "https://*.shop.example"]});
        let set = ask(&kit, &acme.secret_key, update, origins.clone()).await;
        assert_eq!(set["tenantUpdate"]["tenant"]["allowedOrigins"], origins["origins"]);
        for origin in ["https://app.example.com", "https://eu.shop.example"] {
            assert_eq!(from(origin).await, let_in(origin));
        }
        for origin in ["https://anyone.example", "https://shop.example", "null"] {
            assert_eq!(from(origin).await, (StatusCode::FORBIDDEN, None), "{origin}");
        }
        // who sends no origin is no browser
        let plain = client.post(server.url("/graphql")).bearer_auth(&acme.secret_key);
        assert_eq!(plain.json(&json!({"query": "{ __typename }"})).send().await?.status(), StatusCode::OK);

        let mut request = server.ws_url().into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        request.headers_mut().insert("origin", "https://anyone.example".parse()?);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
        let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {}", acme.publishable_key)}});
        futures_util::SinkExt::send(&mut socket, init.to_string().into()).await?;
        let closed = loop {
            if let tokio_tungstenite::tungstenite::Message::Close(frame) = socket.next().await.unwrap()? {
                break frame.unwrap();
            }
        };
        assert_eq!(u16::from(closed.code), 4403);

        let wrong = ask(&kit, &acme.secret_key, update, json!({"origins": ["https://a.example/"]})).await;
        assert_eq!(wrong["tenantUpdate"], json!({"tenant": null, "userErrors": [{"field": "allowedOrigins.0"}]}));
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn in_production_browsers_credentials_see_nothing_of_the_schema() -> anyhow::Result<()> {
    tests::on_each_place(async |kind: Kind, _| {
        let config = Config {
            environment: Environment::Production,
            ..Config::default()
        };
        let kit = Kit::with(kind, config).await?;
        let acme = kit.tenant("acme").await?;
        let id = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let token = kit.contact_token(&acme, ContactId::parse(&id).unwrap()).await?;
        for document in [
            "{ __schema { types { name } } }",
            "{ ...F } fragment F on Query { __type(name: \"Contact\") { name } }",
            "{ __typename } fragment F on Query { __schema { types { name } } }",
        ] {
            for credential in [&token, &acme.publishable_key] {
                let answer = kit.gql(credential, document, json!({})).await;
                assert_eq!(answer["data"], Value::Null, "{document}");
                assert_eq!(answer["errors"][0]["message"], "this credential may not do this");
                assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
            }
        }
        // what is hidden, and what is not there, under a name of the same length
        for (hidden, missing) in [
            ("{ tenants { totalCount } }", "{ tenantz { totalCount } }"),
            ("{ tenant { name } }", "{ tenanz { name } }"),
            ("{ ...F } fragment F on Query { contacts { totalCount } }", "{ ...F } fragment F on Query { contactz { totalCount } }"),
            ("{ contacts(first: 1) { totalCount } }", "{ contactz(first: 1) { totalCount } }"),
            ("{ contacts(first: 1) { totalCount } }", "{ contacts(fjrst: 1) { totalCount } }"),
            ("{ contacts(first: 1) { totalCount } }", "{ contacts(first: 1) { totalCounz } }"),
            ("{ __typename ... on TenantLimits { costMax } }", "{ __typename ... on TenantLimitz { costMax } }"),
            ("{ ...F } fragment F on TenantLimits { costMax }", "{ ...F } fragment F on TenantLimitz { costMax }"),
            ("query ($n: TenantCreateInput) { __typename }", "query ($n: TenantCreateInpud) { __typename }"),
            ("mutation { tenantCreate(input: {name: \"x\"}) { tenant { id } } }", "mutation { tenantCreatz(input: {name: \"x\"}) { tenant { id } } }"),
        ] {
            for credential in [&token, &acme.publishable_key] {
                let refused = kit.gql(credential, hidden, json!({})).await;
                assert_eq!(refused["data"], Value::Null, "{hidden}: {refused}");
                assert_eq!(refused["errors"][0]["message"], "this credential may not do this");
                assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
                assert_eq!(kit.gql(credential, missing, json!({})).await, refused, "{missing}");
            }
            // the tenant's own backend is told what is wrong
            let told = kit.gql(&acme.secret_key, missing, json!({})).await;
            assert_eq!(told["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{told}");
        }
        let field = "{ me { tenants } }";
        let refused = kit.gql(&token, field, json!({})).await;
        assert_eq!(refused["errors"][0]["locations"], json!([{"line": 1, "column": 8}]));
        let told = "mutation { track(input: {event: \"x\", anonymousId: \"a\"}) { accepted } }";
        assert_eq!(ask(&kit, &acme.publishable_key, told, json!({})).await["track"]["accepted"], true);
        assert_eq!(ask(&kit, &token, "{ __typename me { __typename } }", json!({})).await["me"]["__typename"], "Contact");
        let seen = ask(&kit, &acme.secret_key, "{ __type(name: \"Contact\") { name } }", json!({})).await;
        assert_eq!(seen["__type"]["name"], "Contact");
        Ok(())
    })
    .await
}
