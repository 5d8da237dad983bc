//! `@idempotent`: what is sent again happens once.

mod kill;
mod wire;

use chrono::TimeDelta;
use entity::idempotency;
use futures_util::future::join_all;
use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _, Set};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

const TRACK: &str = "mutation($key: String!, $event: String!) { t: track(input: {event: $event, userId: \"u1\"}) @idempotent(key: $key) { accepted contact { id externalId } } }";

async fn track(kit: &Kit, credential: &str, key: &str, event: &str) -> Value {
    kit.gql(credential, TRACK, json!({"key": key, "event": event}))
        .await
}

async fn events(kit: &Kit, tenant: &Tenant) -> Value {
    let query = "{ events(filter: {source: {eq: \"api\"}}) { totalCount } }";
    kit.gql(&tenant.secret_key, query, json!({})).await["data"]["events"]["totalCount"].take()
}

async fn keys(tenant: &Tenant) -> anyhow::Result<Vec<idempotency::Model>> {
    Ok(tenant.cx.db().find::<idempotency::Entity>().all().await?)
}

#[tokio::test]
async fn a_call_that_is_sent_again_gets_the_first_answer_and_happens_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let first = track(&kit, sk, "k1", "paid").await;
        assert_eq!(first["data"]["t"]["contact"]["externalId"], "u1");
        kit.advance(TimeDelta::hours(23));
        assert_eq!(track(&kit, sk, "k1", "paid").await, first);
        assert_eq!(events(&kit, &acme).await, 1);

        let other_input = track(&kit, sk, "k1", "refunded").await;
        assert_eq!(other_input["errors"][0]["extensions"]["code"], "CONFLICT");
        assert_eq!(other_input["errors"][0]["extensions"]["retryAfter"], Value::Null);
        assert_eq!(other_input["errors"][0]["path"], json!(["t"]));
        let other_selection = "mutation { t: track(input: {event: \"paid\", userId: \"u1\"}) @idempotent(key: \"k1\") { accepted } }";
        let other_selection = kit.gql(sk, other_selection, json!({})).await;
        assert_eq!(other_selection["errors"][0]["extensions"]["code"], "CONFLICT");
        assert_eq!(events(&kit, &acme).await, 1);

        track(&kit, sk, "k2", "paid").await;
        assert_eq!(events(&kit, &acme).await, 2);
        kit.advance(TimeDelta::hours(2));
        assert_eq!(track(&kit, sk, "k1", "paid").await["data"]["t"]["accepted"], true);
        assert_eq!(events(&kit, &acme).await, 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_is_one_callers_and_one_mutations() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let other = kit.tenant("other").await?;
        let second = kit.key(&acme, &["events:write"]).await?;
        for credential in [
            &acme.secret_key,
            &acme.publishable_key,
            &second,
            &other.secret_key,
        ] {
            let answer = track(&kit, credential, "k1", "paid").await;
            assert_eq!(answer["data"]["t"]["accepted"], true, "{answer}");
        }
        let identify =
            "mutation { identify(input: {userId: \"u1\"}) @idempotent(key: \"k1\") { accepted } }";
        let answer = kit.gql(&acme.secret_key, identify, json!({})).await;
        assert_eq!(answer["data"]["identify"]["accepted"], true);
        assert_eq!(events(&kit, &acme).await, 4);
        assert_eq!(events(&kit, &other).await, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_calls_at_the_same_time_one_works_and_the_others_hear_of_it() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        // The contact is there before, so that the calls meet at nothing but the key.
        track(&kit, &acme.secret_key, "warm", "seen").await;
        let answers = join_all((0..10).map(|_| track(&kit, &acme.secret_key, "k1", "paid"))).await;
        for answer in &answers {
            let conflict = &answer["errors"][0]["extensions"];
            assert!(
                answer["data"]["t"]["accepted"] == true
                    || (conflict["code"] == "CONFLICT" && conflict["retryAfter"] == 1),
                "{answer}"
            );
        }
        assert!(
            answers
                .iter()
                .any(|answer| answer["data"]["t"]["accepted"] == true)
        );
        assert_eq!(events(&kit, &acme).await, 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_call_that_died_half_way_frees_its_key_after_a_while() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        track(&kit, &acme.secret_key, "k1", "paid").await;
        let row = keys(&acme).await?.remove(0);
        let in_flight = row.created_at + TimeDelta::minutes(5);
        acme.cx
            .write(async move |tx| {
                let mut row = row.clone().into_active_model();
                row.set(idempotency::Column::Response, None::<Value>.into());
                row.expires_at = Set(in_flight);
                tx.update(row).await
            })
            .await?;
        let answer = track(&kit, &acme.secret_key, "k1", "paid").await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "CONFLICT");
        assert_eq!(answer["errors"][0]["extensions"]["retryAfter"], 1);
        kit.advance(TimeDelta::minutes(5));
        let answer = track(&kit, &acme.secret_key, "k1", "paid").await;
        assert_eq!(answer["data"]["t"]["accepted"], true);
        Ok(())
    })
    .await
}

/// As a process leaves it that dies when the work is committed and before its answer is.
#[tokio::test]
async fn a_call_that_died_between_its_work_and_its_answer_never_works_again() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        track(&kit, &acme.secret_key, "k1", "paid").await;
        let row = keys(&acme).await?.remove(0);
        acme.cx
            .write(async move |tx| {
                let mut row = row.clone().into_active_model();
                row.set(idempotency::Column::Response, Some(json!(true)).into());
                tx.update(row).await
            })
            .await?;
        let again = track(&kit, &acme.secret_key, "k1", "paid").await;
        assert_eq!(
            again["errors"][0]["extensions"],
            json!({"code": "CONFLICT", "retryAfter": 1, "requestId": "test"})
        );
        for wait in [TimeDelta::minutes(5), TimeDelta::hours(23)] {
            kit.advance(wait);
            let again = track(&kit, &acme.secret_key, "k1", "paid").await;
            assert_eq!(
                again["errors"][0]["extensions"],
                json!({"code": "CONFLICT", "requestId": "test"})
            );
        }
        assert_eq!(events(&kit, &acme).await, 1);
        Ok(())
    })
    .await
}

/// The note stands in the transaction of the work itself: without it, and without the answer, there is no work.
#[tokio::test]
async fn work_whose_key_was_taken_by_another_call_meanwhile_is_undone() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let gone = acme.cx.env().ids.next::<idempotency::Entity>(kit.now());
        let noting = acme.cx.note_writes(std::sync::Arc::new(move |tx| {
            Box::pin(async move {
                tx.update(idempotency::ActiveModel {
                    id: Set(gone),
                    response: Set(Some(json!(true))),
                    ..Default::default()
                })
                .await?;
                Ok(())
            })
        }));
        let written = acme
            .cx
            .write(async |tx| crate::rows::contact(tx, "undone").await)
            .await;
        assert!(written.is_err());
        drop(noting);
        acme.cx
            .write(async |tx| crate::rows::contact(tx, "done").await)
            .await?;
        let scope = acme.cx.db();
        let contacts = scope.find::<entity::contact::Entity>();
        assert_eq!(contacts.count().await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_call_that_failed_frees_its_key_and_expired_keys_are_cleared_away() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let reader = kit.key(&acme, &["events:read"]).await?;
        let answer = track(&kit, &reader, "k1", "paid").await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
        assert_eq!(keys(&acme).await?.len(), 0);
        for n in 0..3 {
            track(&kit, &acme.secret_key, &format!("k{n}"), "paid").await;
        }
        kit.advance(TimeDelta::hours(25));
        track(&kit, &acme.secret_key, "new", "paid").await;
        assert_eq!(keys(&acme).await?.len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_secret_that_is_shown_once_is_shown_again_to_its_own_call_and_stored_sealed()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let create = "mutation { apiKeyCreate(input: {kind: SECRET, name: \"ci\", scopes: [\"contacts:read\"]}) @idempotent(key: \"k1\") { key apiKey { id } userErrors { message } } }";
        let first = kit.gql(&acme.secret_key, create, json!({})).await;
        let key = first["data"]["apiKeyCreate"]["key"].as_str().unwrap();
        assert_eq!(kit.gql(&acme.secret_key, create, json!({})).await, first);
        assert!(!format!("{:?}", keys(&acme).await?).contains(key));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_directive_stands_at_a_tenants_mutation_with_a_fitting_key() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let long = "x".repeat(201);
        for (credential, query) in [
            (acme.secret_key.as_str(), "{ contacts @idempotent(key: \"k\") { totalCount } }".to_owned()),
            (&acme.secret_key, "mutation { track(input: {event: \"x\", userId: \"u\"}) { accepted @idempotent(key: \"k\") } }".to_owned()),
            (&acme.secret_key, "mutation { track(input: {event: \"x\", userId: \"u\"}) @idempotent(key: \"\") { accepted } }".to_owned()),
            (&acme.secret_key, format!("mutation {{ track(input: {{event: \"x\", userId: \"u\"}}) @idempotent(key: \"{long}\") {{ accepted }} }}")),
            (tests::OPERATOR, "mutation { tenantCreate(input: {name: \"x\"}) @idempotent(key: \"k\") { tenant { id } } }".to_owned()),
        ] {
            let answer = kit.gql(credential, &query, json!({})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{query}");
        }
        Ok(())
    })
    .await
}
