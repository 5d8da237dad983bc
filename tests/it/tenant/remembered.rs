//! Keys remembered between requests: what is saved, and that nothing that ended is let in.

use std::time::Duration;

use chrono::TimeDelta;
use entity::api_key;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tests::{Kit, OPERATOR, Tenant, on_each_database, on_postgres};

use super::code;

const ASK: &str = "{ __typename }";

/// Longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(20);

async fn until(mut met: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let waited = async {
        while !met().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(PATIENCE, waited).await?)
}

/// Lets the kit's process remember keys, where it ever does.
async fn listening(kit: &Kit) -> anyhow::Result<()> {
    kit.app.hear_revocations();
    if kit.app.env.db.is_postgres() {
        until(async || kit.app.env.revocations.now().is_some()).await?;
    }
    Ok(())
}

async fn made(kit: &Kit, tenant: &Tenant) -> (String, String) {
    let create = r#"mutation { apiKeyCreate(input: {kind: SECRET, name: "k", scopes: ["tenant:read"]}) { key apiKey { id } } }"#;
    let made = kit.gql(&tenant.secret_key, create, json!({})).await;
    let made = &made["data"]["apiKeyCreate"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]), text(&made["apiKey"]["id"]))
}

async fn revoke(kit: &Kit, tenant: &Tenant, id: &str) {
    let revoke = format!(
        r#"mutation {{ apiKeyRevoke(input: {{id: "{id}"}}) {{ userErrors {{ code }} }} }}"#
    );
    let done = kit.gql(&tenant.secret_key, &revoke, json!({})).await;
    assert_eq!(done["data"]["apiKeyRevoke"]["userErrors"], json!([]));
}

#[tokio::test]
async fn a_remembered_key_costs_no_statement_where_others_are_heard() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        assert!(
            kit.statements_of(&acme.secret_key, ASK, json!({})).await > 0,
            "nobody listens"
        );
        listening(&kit).await?;
        let cost = kit.statements_of(&acme.secret_key, ASK, json!({})).await;
        assert_eq!(cost, u64::from(!kit.app.env.db.is_postgres()));
        kit.app.stopping.cancel();
        until(async || kit.app.env.revocations.now().is_none()).await?;
        assert!(
            kit.statements_of(&acme.secret_key, ASK, json!({})).await > 0,
            "nobody listens"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_request_after_a_revocation_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        listening(&kit).await?;
        for _ in 0..20 {
            let (key, id) = made(&kit, &acme).await;
            for _ in 0..3 {
                assert_eq!(code(&kit.gql(&key, ASK, json!({})).await), "none");
            }
            revoke(&kit, &acme, &id).await;
            assert_eq!(
                code(&kit.gql(&key, ASK, json!({})).await),
                "UNAUTHENTICATED"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_look_up_under_way_keeps_a_revoked_key_alive() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        listening(&kit).await?;
        for _ in 0..10 {
            let (key, id) = made(&kit, &acme).await;
            let asking =
                futures_util::future::join_all((0..20).map(|_| kit.gql(&key, ASK, json!({}))));
            let (_, ()) = futures_util::future::join(asking, revoke(&kit, &acme, &id)).await;
            assert_eq!(
                code(&kit.gql(&key, ASK, json!({})).await),
                "UNAUTHENTICATED"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_suspended_or_deleted_tenants_remembered_keys_are_refused_at_once() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        listening(&kit).await?;
        let asked = async || code(&kit.gql(&acme.secret_key, ASK, json!({})).await).to_owned();
        let order = async |verb: &str, more: &str| {
            let order = format!(r#"mutation {{ tenant{verb}(input: {{id: "{}"{more}}}) {{ userErrors {{ code }} }} }}"#, acme.id);
            let done = kit.gql(OPERATOR, &order, json!({})).await;
            assert_eq!(done["data"][format!("tenant{verb}")]["userErrors"], json!([]));
        };
        assert_eq!(asked().await, "none");
        order("Suspend", "").await;
        assert_eq!(asked().await, "UNAUTHENTICATED");
        order("Resume", "").await;
        assert_eq!(asked().await, "none");
        order("Delete", r#", name: "acme""#).await;
        assert_eq!(asked().await, "UNAUTHENTICATED");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_remembered_key_ends_with_its_grace_and_both_end_when_they_are_revoked()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        listening(&kit).await?;
        let rotate = async |id: &str, grace: &str| {
            let rotate = format!(r#"mutation {{ apiKeyRotate(input: {{id: "{id}", graceFor: "{grace}"}}) {{ key apiKey {{ id }} }} }}"#);
            let done = kit.gql(&acme.secret_key, &rotate, json!({})).await;
            let done = &done["data"]["apiKeyRotate"];
            (done["key"].as_str().unwrap().to_owned(), done["apiKey"]["id"].as_str().unwrap().to_owned())
        };
        let works = async |key: &str| code(&kit.gql(key, ASK, json!({})).await) == "none";
        let (old, old_id) = made(&kit, &acme).await;
        assert!(works(&old).await);
        let (new, new_id) = rotate(&old_id, "PT3S").await;
        assert!(works(&old).await && works(&new).await);
        kit.advance(TimeDelta::milliseconds(2_999));
        assert!(works(&old).await && works(&new).await, "within the grace");
        // Remembered for another two seconds, and over.
        kit.advance(TimeDelta::milliseconds(1));
        assert!(!works(&old).await && works(&new).await, "after the grace");

        let (newer, newer_id) = rotate(&new_id, "P1D").await;
        assert!(works(&new).await && works(&newer).await);
        revoke(&kit, &acme, &new_id).await;
        assert!(!works(&new).await && works(&newer).await);
        revoke(&kit, &acme, &newer_id).await;
        assert!(!works(&newer).await);
        let (gone, gone_id) = made(&kit, &acme).await;
        assert!(works(&gone).await);
        let (at_once, _) = rotate(&gone_id, "PT0S").await;
        assert!(!works(&gone).await && works(&at_once).await, "no grace");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_revoked_by_one_process_is_refused_by_the_other() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let other = kit.another_process().await?;
        listening(&kit).await?;
        other.hear_revocations();
        if kit.app.env.db.is_postgres() {
            until(async || other.env.revocations.now().is_some()).await?;
        }
        for _ in 0..5 {
            let (key, id) = made(&kit, &acme).await;
            assert!(other.principals.by_token(&key).await.is_ok());
            assert!(other.principals.by_token(&key).await.is_ok());
            revoke(&kit, &acme, &id).await;
            // The clock stands still: nothing is forgotten by age.
            until(async || other.principals.by_token(&key).await.is_err()).await?;
        }
        other.stopping.cancel();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_is_remembered_over_a_lost_connection() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let acme = kit.tenant("acme").await?;
        listening(&kit).await?;
        let (key, id) = made(&kit, &acme).await;
        assert_eq!(code(&kit.gql(&key, ASK, json!({})).await), "none");
        let before = kit.app.env.revocations.now();
        let mut admin = PgConnection::connect(kit.database_url()).await?;
        // Ended unheard, as it would be while the connection is gone.
        admin
            .execute(sqlx::AssertSqlSafe(format!(
                "UPDATE api_key SET revoked_at = now() WHERE id = '{}'",
                entity::Id::<api_key::Entity>::parse(&id).unwrap().uuid()
            )))
            .await?;
        assert_eq!(code(&kit.gql(&key, ASK, json!({})).await), "none", "nobody was told");
        let ended = admin
            .fetch_one("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
            .await?;
        assert_eq!(ended.try_get::<i64, _>(0)?, 1);
        until(async || kit.app.env.revocations.now().is_some_and(|now| Some(now) != before)).await?;
        assert_eq!(code(&kit.gql(&key, ASK, json!({})).await), "UNAUTHENTICATED");
        kit.app.stopping.cancel();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_use_of_a_remembered_key_is_written_down_once_a_minute() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        listening(&kit).await?;
        let (key, id) = made(&kit, &acme).await;
        let id = entity::Id::<api_key::Entity>::parse(&id).unwrap();
        let used = async || {
            acme.cx
                .db()
                .get::<api_key::Entity>(id)
                .await
                .unwrap()
                .unwrap()
                .last_used_at
        };
        assert_eq!(used().await, None);
        let first = kit.now();
        kit.gql(&key, ASK, json!({})).await;
        until(async || used().await == Some(first)).await?;
        kit.advance(TimeDelta::seconds(59));
        for _ in 0..3 {
            kit.gql(&key, ASK, json!({})).await;
        }
        kit.advance(TimeDelta::seconds(1));
        let second = kit.now();
        kit.gql(&key, ASK, json!({})).await;
        kit.gql(&key, ASK, json!({})).await;
        until(async || used().await != Some(first)).await?;
        assert_eq!(used().await, Some(second));
        Ok(())
    })
    .await
}
