//! How long events are kept: who says so, what goes when, and what must not go yet.

#![expect(
    clippy::disallowed_methods,
    reason = "what lies below the product is looked at past it"
)]

use api::worker;
use chrono::TimeDelta;
use entity::{event, event_message};
use sea_orm::{ConnectionTrait as _, Database, DatabaseBackend, QueryOrder as _, Statement};
use serde_json::{Value, json};
use tests::{Kit, OPERATOR, Tenant, on_each_database, on_postgres};

use crate::{
    contact::{ask, track},
    rows,
};

/// Has the tenant keep its events for so long.
async fn keep(kit: &Kit, tenant: &Tenant, retention: Value) -> Value {
    let document = "mutation ($time: Duration) { tenantUpdate(input: {eventRetention: $time}) { tenant { eventRetention } userErrors { code field message } } }";
    let mut data = ask(
        kit,
        &tenant.secret_key,
        document,
        json!({ "time": retention }),
    )
    .await;
    data["tenantUpdate"].take()
}

async fn tell(kit: &Kit, tenant: &Tenant, name: &str, message: Option<&str>) {
    let input = json!({"event": name, "userId": "anna", "messageId": message});
    let told = track(kit, &tenant.secret_key, input).await;
    assert_eq!(told["accepted"], true, "{told}");
}

/// The tenant's events, in the log's order, but for what the graph tells of the contact.
async fn events(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let db = tenant.cx.db();
    let rows = db.find::<event::Entity>();
    let rows = rows.order_by_asc(event::Column::Seq).all().await?;
    let names = rows.into_iter().map(|row| row.name);
    Ok(names.filter(|name| name != "contact.identified").collect())
}

async fn messages(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let db = tenant.cx.db();
    let rows = db.find::<event_message::Entity>();
    let rows = rows
        .order_by_asc(event_message::Column::MessageId)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.message_id).collect())
}

/// The log's own timed work alone, before any consumer reads.
async fn look(kit: &Kit) -> anyhow::Result<usize> {
    Ok(worker::MODULE.due.unwrap()(&kit.app.env).await?)
}

/// The months that there are partitions for, on PostgreSQL.
async fn months(kit: &Kit) -> anyhow::Result<Vec<String>> {
    let database = Database::connect(kit.database_url()).await?;
    let rows = database
        .query_all_raw(Statement::from_string(
            DatabaseBackend::Postgres,
            "SELECT substr(relname, 7) FROM pg_inherits JOIN pg_class ON oid = inhrelid
             WHERE inhparent = 'event'::regclass AND relname <> 'event_default' ORDER BY 1",
        ))
        .await?;
    database.close().await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn a_tenant_or_the_operator_says_how_long_its_events_are_kept() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let kept = async |tenant: &Tenant| {
            let asked = "{ tenant { eventRetention } }";
            ask(&kit, &tenant.secret_key, asked, json!({})).await["tenant"]["eventRetention"].take()
        };
        assert_eq!(kept(&acme).await, Value::Null);
        assert_eq!(
            keep(&kit, &acme, json!("P13W")).await,
            json!({"tenant": {"eventRetention": "P91D"}, "userErrors": []})
        );
        assert_eq!(
            keep(&kit, &acme, json!("P29DT23H59M59S")).await,
            json!({"tenant": null, "userErrors": [{"code": "INVALID", "field": "eventRetention", "message": "events are kept for P30D at least"}]})
        );
        let other = "mutation { tenantUpdate(input: {requirePersistedOperations: false}) { tenant { eventRetention } } }";
        assert_eq!(
            ask(&kit, &acme.secret_key, other, json!({})).await,
            json!({"tenantUpdate": {"tenant": {"eventRetention": "P91D"}}})
        );
        assert_eq!(kept(&bolt).await, Value::Null);

        let operators = async |retention: Value| {
            let document = "mutation ($id: ID!, $time: Duration) { tenantRetentionSet(input: {id: $id, eventRetention: $time}) { tenant { eventRetention } userErrors { code field } } }";
            let asked = json!({"id": acme.id.to_string(), "time": retention});
            ask(&kit, OPERATOR, document, asked).await["tenantRetentionSet"].take()
        };
        assert_eq!(
            operators(json!("P1D")).await,
            json!({"tenant": null, "userErrors": [{"code": "INVALID", "field": "eventRetention"}]})
        );
        assert_eq!(kept(&acme).await, "P91D");
        assert_eq!(
            operators(json!("P30D")).await,
            json!({"tenant": {"eventRetention": "P30D"}, "userErrors": []})
        );
        assert_eq!(kept(&acme).await, "P30D");
        assert_eq!(keep(&kit, &acme, Value::Null).await["tenant"]["eventRetention"], Value::Null);
        assert_eq!(kept(&acme).await, Value::Null);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_tenant_keeps_no_longer_goes_and_nothing_of_anothers() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        keep(&kit, &acme, json!("P30D")).await;
        for tenant in [&acme, &bolt] {
            tell(&kit, tenant, "old", Some("m-old")).await;
        }
        kit.app.worker.drain().await?;
        kit.advance(TimeDelta::days(29));
        tell(&kit, &acme, "young", Some("m-young")).await;
        kit.app.worker.drain().await?;
        assert_eq!(events(&acme).await?, ["old", "young"]);

        kit.advance(TimeDelta::days(1) + TimeDelta::hours(1));
        kit.app.worker.drain().await?;
        assert_eq!(events(&acme).await?, ["young"]);
        assert_eq!(messages(&acme).await?, ["m-young"]);
        assert_eq!(events(&bolt).await?, ["old"]);
        assert_eq!(messages(&bolt).await?, ["m-old"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_that_somebody_has_not_read_stays_however_old_it_is() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        keep(&kit, &acme, json!("P30D")).await;
        tell(&kit, &acme, "old", None).await;
        // No consumer has begun.
        kit.advance(TimeDelta::days(60));
        assert_eq!(look(&kit).await?, 0);
        assert_eq!(events(&acme).await?, ["old"]);
        kit.app.worker.drain().await?;
        tell(&kit, &acme, "late", None).await;
        kit.advance(TimeDelta::days(60));
        // They have read the first event, and not the second.
        look(&kit).await?;
        assert_eq!(events(&acme).await?, ["late"]);
        // The work was done: it is due again in an hour.
        kit.app.worker.drain().await?;
        assert_eq!(events(&acme).await?, ["late"]);
        kit.advance(TimeDelta::hours(1));
        kit.app.worker.drain().await?;
        assert_eq!(events(&acme).await?, Vec::<String>::new());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_that_posthog_has_not_been_sent_stays() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        keep(&kit, &acme, json!("P30D")).await;
        tell(&kit, &acme, "old", None).await;
        kit.app.worker.drain().await?;
        acme.cx
            .write(async |tx| rows::posthog_connection(tx).await)
            .await?;
        kit.advance(TimeDelta::days(60));
        assert_eq!(look(&kit).await?, 0);
        assert_eq!(events(&acme).await?, ["old"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn months_are_made_ahead_and_an_event_without_one_is_not_refused() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let acme = kit.tenant("acme").await?;
        assert_eq!(months(&kit).await?, ["2026_01", "2026_02", "2026_03"]);
        kit.advance(TimeDelta::days(31));
        kit.app.worker.drain().await?;
        assert_eq!(
            months(&kit).await?,
            ["2026_01", "2026_02", "2026_03", "2026_04"]
        );
        // No worker runs until June, which has no partition then: what came stays in the default one. Of what is over and empty
        // nothing is left.
        kit.advance(TimeDelta::days(130));
        tell(&kit, &acme, "in june", None).await;
        assert_eq!(events(&acme).await?, ["in june"]);
        kit.app.worker.drain().await?;
        assert_eq!(months(&kit).await?, ["2026_07", "2026_08"]);
        assert_eq!(events(&acme).await?, ["in june"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_month_goes_as_a_whole_when_nobody_keeps_any_of_it() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        keep(&kit, &acme, json!("P30D")).await;
        tell(&kit, &acme, "in january", Some("m1")).await;
        kit.app.worker.drain().await?;
        kit.advance(TimeDelta::days(31));
        // Who keeps everything has nothing in January, and something in February.
        tell(&kit, &bolt, "in february", Some("m2")).await;
        kit.app.worker.drain().await?;
        assert_eq!(
            months(&kit).await?,
            ["2026_01", "2026_02", "2026_03", "2026_04"]
        );
        kit.advance(TimeDelta::days(31));
        tell(&kit, &acme, "in march", None).await;
        kit.app.worker.drain().await?;
        assert_eq!(
            months(&kit).await?,
            ["2026_02", "2026_03", "2026_04", "2026_05"]
        );
        assert_eq!(
            (events(&acme).await?, messages(&acme).await?),
            (vec!["in march".to_owned()], vec![])
        );
        kit.advance(TimeDelta::days(31));
        kit.app.worker.drain().await?;
        assert_eq!(
            months(&kit).await?,
            ["2026_02", "2026_03", "2026_04", "2026_05", "2026_06"]
        );
        assert_eq!(
            (events(&bolt).await?, messages(&bolt).await?),
            (vec!["in february".to_owned()], vec!["m2".to_owned()])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_message_id_is_taken_in_every_month() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        tell(&kit, &acme, "first", Some("m1")).await;
        kit.advance(TimeDelta::days(45));
        tell(&kit, &acme, "again", Some("m1")).await;
        assert_eq!(events(&acme).await?, ["first"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_application_reaches_no_month_past_the_log() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let acme = kit.tenant("acme").await?;
        tell(&kit, &acme, "secret", None).await;
        let database = Database::connect(kit.database_url()).await?;
        for (statement, refusal) in [
            (
                "SELECT * FROM log.event_2026_01",
                "permission denied for schema log",
            ),
            (
                "SELECT log_month_drop('2026-01-01')",
                "permission denied for function log_month_drop",
            ),
            (
                "SELECT log_month_make('2027-01-01')",
                "permission denied for function log_month_make",
            ),
        ] {
            let tried = format!("SET ROLE {}; {statement}", migration::APP_ROLE);
            let refused = database.execute_unprepared(&tried).await.unwrap_err();
            assert!(
                refused.to_string().contains(refusal),
                "{statement}: {refused}"
            );
        }
        database.close().await?;
        assert_eq!(
            months(&kit).await?.first().map(String::as_str),
            Some("2026_01")
        );
        Ok(())
    })
    .await
}
