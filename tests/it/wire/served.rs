//! The routes over HTTP, as a page's posthog-js meets them.

use api::{
    contact::{self, Claim, Incoming, Link, TraitChanges},
    ingest::wire::remote_config,
};
use entity::contact_identifier::{Kind, Verification};
use posthog_double::{Double, DoubleOptions};
use reqwest::{Client, Method, header};
use serde_json::{Map, Value, json};
use tests::{Kit, Tenant, on_each_database};

/// A tenant whose flag `pro` is on for the plan of that name.
async fn connected(kit: &Kit) -> anyhow::Result<(Tenant, Double)> {
    let clock = kit.app.env.clock.clone();
    let double =
        Double::start(DoubleOptions::new(std::sync::Arc::new(move || clock.now()))).await?;
    double.set_flags(json!({"flags": [{"id": 1, "key": "pro", "name": "", "active": true, "filters": {"groups": [{
        "properties": [{"key": "plan", "value": "pro", "operator": "exact", "type": "person"}], "rollout_percentage": 100,
    }]}}]}));
    let acme = kit.tenant("acme").await?;
    let options = double.options();
    let input = json!({
        "ingestHost": double.url(), "apiHost": double.url(), "projectId": options.project_id,
        "projectToken": options.project_token, "personalApiKey": options.personal_api_key,
    });
    let query = "mutation($input: PosthogConnectInput!) { posthogConnect(input: $input) { userErrors { message } } }";
    let done = kit
        .gql(&acme.secret_key, query, json!({"input": input}))
        .await;
    assert_eq!(
        done["data"]["posthogConnect"]["userErrors"],
        json!([]),
        "{done}"
    );
    Ok((acme, double))
}

#[tokio::test]
async fn flags_bring_the_configuration_along_where_it_is_asked_for() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = connected(&kit).await?;
        let server = kit.serve().await?;
        let ask = async |query: &str, disabled: bool| {
            let body = json!({"token": acme.publishable_key, "distinct_id": "a", "person_properties": {"plan": "pro"},
                "disable_flags": disabled});
            let answer = Client::new().post(server.url(&format!("/flags/?{query}"))).json(&body).send().await?;
            anyhow::Ok(answer.json::<Value>().await?)
        };
        let config = remote_config(&acme.publishable_key);
        let both = ask("v=2&config=true", false).await?;
        for (key, value) in config.as_object().unwrap() {
            assert_eq!(&both[key], value, "{key}");
        }
        assert_eq!(both["flags"]["pro"]["enabled"], true, "{both}");
        assert_eq!(both["errorsWhileComputingFlags"], false);
        let alone = ask("v=2&config=true", true).await?;
        assert_eq!((&alone["flags"], &alone["analytics"]), (&json!({}), &config["analytics"]));
        let plain = ask("v=2", false).await?;
        assert_eq!((&plain["analytics"], &plain["token"]), (&Value::Null, &Value::Null));
        assert_eq!(plain["flags"], both["flags"]);
        double.stop().await;
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn who_just_became_known_keeps_the_flags_of_the_visitor() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = connected(&kit).await?;
        let visitor = Incoming {
            name: "$pageview".to_owned(),
            claims: vec![Claim::new(Kind::AnonymousId, "anon-1", Verification::Claimed, "id")?],
            contact_id: None,
            link: Link::SameEvent,
            traits: TraitChanges {
                set: Map::from_iter([("plan".to_owned(), json!("pro"))]),
                ..TraitChanges::default()
            },
            touch: None,
            properties: Map::new(),
            context: Map::new(),
            source: "capture",
            verification: Verification::Claimed,
            message_id: None,
            occurred_at: kit.now(),
            makes_contact: true,
        };
        let free = Incoming {
            claims: vec![Claim::new(Kind::DistinctId, "user-1", Verification::Claimed, "id")?],
            traits: TraitChanges {
                set: Map::from_iter([("plan".to_owned(), json!("free"))]),
                ..TraitChanges::default()
            },
            ..visitor.clone()
        };
        acme.cx.write(async |tx| contact::ingest(tx, &[visitor, free]).await).await?;
        let server = kit.serve().await?;
        for (id, anonymous, on) in [
            ("user-2", Some("anon-1"), true),
            ("user-2", Some(" anon-1 "), true),
            ("user-2", Some("nobody"), false),
            ("user-2", None, false),
            // Whom the graph knows is who it is.
            ("user-1", Some("anon-1"), false),
        ] {
            let body = json!({"token": acme.publishable_key, "distinct_id": id, "$anon_distinct_id": anonymous});
            let answer = Client::new().post(server.url("/flags/?v=2")).json(&body).send().await?;
            let answer: Value = answer.json().await?;
            assert_eq!(answer["flags"]["pro"]["enabled"], on, "{id} {anonymous:?}: {answer}");
        }
        double.stop().await;
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn every_route_of_posthogs_clients_answers_pages_that_ask_with_credentials()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let credentials = async |path: &str| {
            let response = Client::new()
                .request(Method::OPTIONS, server.url(path))
                .header(header::ORIGIN, "https://page.example")
                .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
                .send()
                .await?;
            anyhow::Ok(
                response
                    .headers()
                    .contains_key("access-control-allow-credentials"),
            )
        };
        let body = json!({"api_key": acme.publishable_key, "event": "e", "distinct_id": "a"});
        for path in [
            "/e", "/i/v0/e", "/capture", "/track", "/engage", "/batch", "/flags",
        ] {
            for path in [path.to_owned(), format!("{path}/")] {
                let answer = Client::new()
                    .post(server.url(&path))
                    .json(&body)
                    .send()
                    .await?;
                assert_eq!(answer.status(), 200, "{path}");
                assert!(credentials(&path).await?, "{path}");
            }
        }
        for end in ["", "/"] {
            let path = format!("/array/{}/config{end}", acme.publishable_key);
            assert_eq!(
                Client::new().get(server.url(&path)).send().await?.status(),
                200,
                "{path}"
            );
            assert!(credentials(&path).await?, "{path}");
        }
        for path in [
            "/static/array.js",
            "/i/v1/x",
            "/array/x/config.js",
            "/graphql",
        ] {
            assert!(!credentials(path).await?, "{path}");
        }
        server.stop().await
    })
    .await
}
