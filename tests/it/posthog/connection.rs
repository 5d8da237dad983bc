//! Connecting a project, and what is refused.

use api::base::LogPlace;
use entity::posthog_connection;
use posthog_double::{Endpoint, Failure};
use serde_json::{Value, json};
use tests::on_each_database;

use super::stage::{CONNECT, DISCONNECT, Stage, connect_input, contact};

fn errors(answer: &Value) -> Vec<(String, String)> {
    let errors = answer["data"]["posthogConnect"]["userErrors"]
        .as_array()
        .unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    errors
        .iter()
        .map(|e| (text(&e["field"]), text(&e["message"])))
        .collect()
}

#[tokio::test]
async fn a_connection_shows_what_it_can_do_and_never_its_secrets() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.kit.tenant("acme").await?;
        contact(&tenant, &["ann"], json!({})).await;
        // PostgreSQL shows the log up to the oldest open write of the whole server, other cases' writes included.
        while tenant.cx.db().log_after(LogPlace::default()).all().await?.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let answer = stage.gql(&tenant, CONNECT, connect_input(&double)).await;
        let connection = &answer["data"]["posthogConnect"]["connection"];
        let id = connection["id"].as_str().unwrap();
        assert!(id.starts_with("posthog_"), "{answer}");
        assert_eq!(
            answer,
            json!({"data": {"posthogConnect": {"connection": {
                "id": id, "ingestHost": double.url(), "apiHost": double.url(), "uiHost": "https://us.posthog.com", "projectId": "1",
                "hasPersonalApiKey": true,
                "capabilities": {"project": true, "query": true, "flagDefinitions": true, "flags": true, "capture": true},
                "probedAt": stage.now(),
                "forwarder": {"behind": 1, "lastError": null, "nextAttemptAt": stage.now()},
            }, "userErrors": []}}})
        );
        let row = tenant.cx.db().find::<posthog_connection::Entity>().one().await?.unwrap();
        let stored = format!("{row:?}");
        for secret in [&double.options().project_token, &double.options().personal_api_key] {
            assert!(!stored.contains(secret.as_str()) && !answer.to_string().contains(secret.as_str()));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn wrong_credentials_are_the_callers_error_by_field_and_store_nothing() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.kit.tenant("acme").await?;
        for (field, value, message) in [
            ("projectToken", "phc_other", "PostHog does not know this project token"),
            (
                "projectToken",
                "phx_double_personal_key",
                "this is a secret key, not a project token: the token starts with phc_ and is public",
            ),
            (
                "personalApiKey",
                "phx_other",
                "PostHog does not take this personal API key: is it of another region, or revoked?",
            ),
            (
                "personalApiKey",
                "phc_double_project_token",
                "this is a project token, not a personal API key: the key starts with phx_",
            ),
            ("projectId", "1/../2", "the project id is a number, or @current"),
        ] {
            let mut input = connect_input(&double);
            input["input"][field] = json!(value);
            let answer = stage.gql(&tenant, CONNECT, input).await;
            assert_eq!(errors(&answer), [(field.to_owned(), message.to_owned())]);
            assert_eq!(answer["data"]["posthogConnect"]["connection"], Value::Null);
        }
        assert_eq!(tenant.cx.db().find::<posthog_connection::Entity>().count().await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn hosts_inside_the_network_are_refused_unless_allowed() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::reaching(kit, false);
        let double = stage.double().await;
        let tenant = stage.kit.tenant("acme").await?;
        for field in ["ingestHost", "apiHost", "uiHost"] {
            for host in [
                "http://127.0.0.1:8000",
                "https://127.0.0.1:8000",
                "https://169.254.169.254/latest/meta-data",
                "https://[::1]",
                "https://localhost",
                "https://10.0.0.1",
                "https://user:secret@us.posthog.com",
                "file:///etc/passwd",
            ] {
                let mut input = connect_input(&double);
                for name in ["ingestHost", "apiHost", "uiHost"] {
                    input["input"][name] = json!("US");
                }
                input["input"][field] = json!(host);
                let answer = stage.gql(&tenant, CONNECT, input).await;
                assert_eq!(errors(&answer).len(), 1, "{host}: {answer}");
                assert_eq!(errors(&answer)[0].0, field);
            }
        }
        assert_eq!(double.requests().len(), 0);
        assert_eq!(
            tenant
                .cx
                .db()
                .find::<posthog_connection::Entity>()
                .count()
                .await?,
            0
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_posthog_that_is_down_is_connected_all_the_same_and_the_reasons_are_shown()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.kit.tenant("acme").await?;
        let failure = |code| Failure::Status {
            code,
            retry_after: None,
            times: None,
        };
        double.fail(Endpoint::Query, failure(503));
        double.fail(Endpoint::Definitions, failure(503));
        double.fail(Endpoint::Api, failure(403));
        let answer = stage.gql(&tenant, CONNECT, connect_input(&double)).await;
        assert_eq!(errors(&answer), []);
        let capabilities = &answer["data"]["posthogConnect"]["connection"]["capabilities"];
        assert_eq!(capabilities["query"], "PostHog failed with 503");
        assert_eq!(capabilities["flagDefinitions"], "PostHog failed with 503");
        assert!(
            capabilities["project"]
                .as_str()
                .unwrap()
                .starts_with("PostHog refused the credential with 403")
        );
        assert_eq!(capabilities["capture"], true);

        let mut input = connect_input(&double);
        input["input"]["personalApiKey"] = Value::Null;
        let answer = stage.gql(&tenant, CONNECT, input).await;
        let connection = &answer["data"]["posthogConnect"]["connection"];
        assert_eq!(connection["hasPersonalApiKey"], false);
        assert_eq!(
            connection["capabilities"]["query"],
            "no personal API key was given"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn connecting_again_keeps_the_forwarders_place_in_the_same_project_alone()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let tenant = stage.connected("acme", &double).await;
        contact(&tenant, &["ann"], json!({})).await;
        let end = tenant.cx.db().log_end().await?;
        let place = async || {
            let row = tenant
                .cx
                .db()
                .find::<posthog_connection::Entity>()
                .one()
                .await
                .unwrap()
                .unwrap();
            (row.forwarded_xid, row.forwarded_seq)
        };
        assert_eq!(place().await, (0, 0));
        let connect = async |changes: Value| {
            let mut input = connect_input(&double);
            for (name, value) in changes.as_object().unwrap() {
                input["input"][name] = value.clone();
            }
            let answer = stage.gql(&tenant, CONNECT, input).await;
            assert_eq!(errors(&answer), []);
            answer["data"]["posthogConnect"]["connection"]["id"].clone()
        };
        let first = connect(json!({"forwardFrom": "NOW"})).await;
        assert_eq!(place().await, (end.xid, end.seq));
        assert_eq!(connect(json!({})).await, first, "one connection a tenant");
        assert_eq!(place().await, (end.xid, end.seq));
        connect(json!({"projectId": "@current"})).await;
        assert_eq!(place().await, (0, 0));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_connection_is_forgotten_and_only_ones_own() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let stage = Stage::new(kit);
        let double = stage.double().await;
        let acme = stage.connected("acme", &double).await;
        let other = stage.connected("other", &double).await;
        let id = stage.disconnect(&acme).await;
        let not_found = json!({"disconnectedId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]});
        let others = stage.gql(&other, "{ connection { id } }", json!({})).await["data"]["connection"]["id"].clone();
        for id in [json!(id), others, json!("posthog_nobody")] {
            let refused = stage.gql(&acme, DISCONNECT, json!({"id": id})).await;
            assert_eq!(refused["data"]["posthogDisconnect"], not_found, "{id}");
        }
        let shown = "{ connection { hasPersonalApiKey } }";
        assert_eq!(stage.gql(&acme, shown, json!({})).await["data"]["connection"], Value::Null);
        assert_eq!(stage.gql(&other, shown, json!({})).await["data"]["connection"]["hasPersonalApiKey"], true);

        let id = contact(&acme, &["ann"], json!({})).await;
        let answer = stage
            .gql(&acme, "query($ids: [ID!]!) { people(ids: $ids) { id analytics { activity { eventCount } personUrl } } }", json!({"ids": [id]}))
            .await;
        assert_eq!(answer["data"]["people"], json!([{"id": id, "analytics": {"activity": null, "personUrl": null}}]));
        assert_eq!(answer["errors"][0]["extensions"]["code"], "POSTHOG_NOT_CONNECTED");
        assert_eq!(answer["errors"][1]["extensions"]["code"], "POSTHOG_NOT_CONNECTED");
        Ok(())
    })
    .await
}
