//! What contacts do with their deliveries.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, on_each_database};

use super::kit::{Ear, answer, deliveries, events, identify, published, rows, track};

async fn record(kit: &Kit, token: &str, interactions: Value) -> Value {
    let query = "mutation ($interactions: [NudgeInteractionInput!]!) { nudgeInteractionsRecord(input: {interactions: $interactions}) {
        interactions { clientId deliveryId kind at } userErrors { code field message } } }";
    let recorded = kit
        .gql(token, query, json!({ "interactions": interactions }))
        .await;
    answer(recorded, "nudgeInteractionsRecord")
}

#[tokio::test]
async fn what_a_contact_did_is_recorded_once_and_told() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let delivery = deliveries(&acme).await?[0].id.to_string();
        kit.advance(TimeDelta::minutes(10));

        let displayed = json!({"deliveryId": delivery, "kind": "DISPLAYED", "clientId": "c1", "at": "2026-01-01T09:02:00Z"});
        let clicked = json!({"deliveryId": delivery, "kind": "CLICKED", "clientId": "c2", "at": "2026-01-01T09:12:00Z"});
        let first = record(&kit, &token, json!([displayed, clicked, displayed])).await;
        let shown = |kind: &str, client_id: &str, at: &str| json!({"clientId": client_id, "deliveryId": delivery, "kind": kind, "at": at});
        let as_displayed = shown("DISPLAYED", "c1", "2026-01-01T09:02:00Z");
        // a clock that runs two minutes ahead
        let as_clicked = shown("CLICKED", "c2", "2026-01-01T09:10:00Z");
        assert_eq!(first["userErrors"], json!([]));
        assert_eq!(first["interactions"], json!([as_displayed, as_clicked, as_displayed]));

        // told again, later and otherwise
        kit.advance(TimeDelta::minutes(1));
        let otherwise = json!({"deliveryId": delivery, "kind": "DISMISSED", "clientId": "c1", "at": "2026-01-01T09:01:00Z"});
        let again = record(&kit, &token, json!([otherwise])).await;
        assert_eq!(again, json!({"interactions": [as_displayed], "userErrors": []}));

        let row = &deliveries(&acme).await?[0];
        let minute = |minute| tests::start() + TimeDelta::minutes(minute);
        assert_eq!(row.displayed_at, Some(minute(2)));
        assert_eq!(row.clicked_at, Some(minute(10)));
        assert_eq!((row.received_at, row.dismissed_at), (None, None));
        assert_eq!(rows::<entity::nudge_interaction::Entity>(&acme).await?.len(), 2);

        let told = events(&acme, "nudge.displayed").await?;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].contact_id, Some(contact));
        assert_eq!(told[0].occurred_at, minute(2));
        assert_eq!(
            told[0].properties,
            json!({"deliveryId": delivery, "nudgeId": id, "nudgeKey": "tour", "nudgeVersion": 1, "surface": "app"})
        );
        assert_eq!(events(&acme, "nudge.clicked").await?.len(), 1);
        assert_eq!(events(&acme, "nudge.dismissed").await?.len(), 0);
        Ok(())
    })
    .await
}

/// Whoever may track chooses message ids; none of them may stand where the room's own event belongs.
#[tokio::test]
async fn a_message_id_of_a_client_keeps_no_event_of_the_rooms_out() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let delivery = deliveries(&acme).await?[0].id.to_string();
        let track = async |message_id: &str| {
            let input = json!({"event": "whatever", "anonymousId": "squatter", "messageId": message_id});
            let query = "mutation ($input: TrackInput!) { track(input: $input) { accepted userErrors { code field } } }";
            answer(kit.gql(&acme.publishable_key, query, json!({"input": input})).await, "track")
        };
        for taken in ["nudge.clicked/c1", &format!("nudge.offered/{delivery}")] {
            assert_eq!(track(taken).await["accepted"], json!(true));
        }
        let refused = json!({"accepted": false, "userErrors": [{"code": "INVALID", "field": "messageId"}]});
        assert_eq!(track("growthos:nudge.clicked/c1").await, refused);
        // PostgreSQL stores no U+0000.
        for client_id in ["c1", "c\0"] {
            let clicked = json!({"deliveryId": delivery, "kind": "CLICKED", "clientId": client_id, "at": kit.now()});
            let recorded = record(&kit, &token, json!([clicked])).await;
            assert_eq!(recorded["userErrors"], json!([]), "{recorded}");
        }
        assert_eq!(events(&acme, "nudge.clicked").await?.len(), 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn anothers_delivery_is_not_found_and_keeps_no_other_out() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let mut tokens = vec![];
        for tenant in [&acme, &bolt] {
            published(&kit, tenant, "tour", json!({})).await?;
            for user in ["u1", "u2"] {
                let contact = track(&kit, tenant, user, "signup", json!({})).await?;
                tokens.push((contact, kit.contact_token(tenant, contact).await?));
            }
            Ear::of(&kit, tenant).listen().await?;
        }
        let (own, token) = &tokens[0];
        let mut made = deliveries(&acme).await?;
        made.sort_by_key(|row| row.contact_id != *own);
        let (own, anothers) = (made[0].id.to_string(), made[1].id.to_string());
        let foreign = deliveries(&bolt).await?[0].id.to_string();
        let told = |delivery: &str, client: &str| json!({"deliveryId": delivery, "kind": "DISPLAYED", "clientId": client, "at": "2026-01-01T09:00:00Z"});
        let answered = record(
            &kit,
            token,
            json!([told(&anothers, "a"), told(&own, "b"), told(&foreign, "c"), told("nonsense", "d"), told(&own, "")]),
        )
        .await;
        assert_eq!(answered["interactions"][0]["clientId"], "b");
        assert_eq!(answered["interactions"].as_array().unwrap().len(), 1);
        let not_found = |at: usize| {
            json!({"code": "NOT_FOUND", "field": format!("interactions.{at}.deliveryId"), "message": "you have no delivery of this id"})
        };
        assert_eq!(
            answered["userErrors"],
            json!([
                not_found(0),
                not_found(2),
                not_found(3),
                {"code": "INVALID", "field": "interactions.4.clientId", "message": "clientId has 1 to 200 characters, not 0"},
            ])
        );
        assert_eq!(deliveries(&acme).await?.iter().filter(|row| row.displayed_at.is_some()).count(), 1);
        assert!(deliveries(&bolt).await?.iter().all(|row| row.displayed_at.is_none()));

        // a client id is its delivery's own: another contact may use it too
        let free = record(&kit, &tokens[1].1, json!([told(&anothers, "b")])).await;
        assert_eq!(free["userErrors"], json!([]));
        assert_eq!(free["interactions"].as_array().map(Vec::len), Some(1));
        // and is free in another tenant
        let foreign = deliveries(&bolt).await?;
        let foreign = foreign.iter().find(|row| row.contact_id == tokens[2].0).unwrap();
        let free = record(&kit, &tokens[2].1, json!([told(&foreign.id.to_string(), "b")])).await;
        assert_eq!(free["userErrors"], json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_time_out_of_reason_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let delivery = deliveries(&acme).await?[0].id.to_string();
        for at in ["2026-01-01T09:05:01Z", "2025-10-01T09:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"] {
            let told = json!([{"deliveryId": delivery, "kind": "DISPLAYED", "clientId": "c", "at": at}]);
            let refused = record(&kit, &token, told).await;
            assert_eq!(refused["userErrors"][0]["field"], "interactions.0.at", "{at} {refused}");
        }
        let many: Vec<_> = (0..101)
            .map(|n| json!({"deliveryId": delivery, "kind": "DISPLAYED", "clientId": n.to_string(), "at": "2026-01-01T09:00:00Z"}))
            .collect();
        let refused = record(&kit, &token, json!(many)).await;
        assert_eq!(refused["userErrors"][0]["code"], "LIMIT_REACHED");
        assert!(rows::<entity::nudge_interaction::Entity>(&acme).await?.is_empty());
        let all = record(&kit, &token, json!(many[..100])).await;
        assert_eq!(all["interactions"].as_array().unwrap().len(), 100);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_same_queue_sent_many_times_at_once_is_recorded_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let delivery = deliveries(&acme).await?[0].id.to_string();
        let queue: Vec<_> = ["RECEIVED", "DISPLAYED", "SNOOZED", "COMPLETED"]
            .iter()
            .map(|kind| json!({"deliveryId": delivery, "kind": kind, "clientId": kind, "at": "2026-01-01T08:59:59.123456789Z"}))
            .collect();
        let calls = (0..8).map(|_| record(&kit, &token, json!(queue)));
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(answers[0]["interactions"].as_array().unwrap().len(), 4);
        assert_eq!(answers[0]["interactions"][0]["at"], "2026-01-01T08:59:59.123456Z");
        assert_eq!(rows::<entity::nudge_interaction::Entity>(&acme).await?.len(), 4);
        for name in ["received", "displayed", "snoozed", "completed"] {
            assert_eq!(events(&acme, &format!("nudge.{name}")).await?.len(), 1, "{name}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merged_contact_answers_for_the_deliveries_of_both() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let visitor = track(&kit, &acme, "anon-visitor", "signup", json!({})).await?;
        let known = track(&kit, &acme, "known", "signup", json!({})).await?;
        let tokens = [kit.contact_token(&acme, visitor).await?, kit.contact_token(&acme, known).await?];
        Ear::of(&kit, &acme).listen().await?;
        let root = identify(&kit, &acme, "known", "anon-visitor").await?;
        let made = deliveries(&acme).await?;
        for (at, token) in tokens.iter().enumerate() {
            let told: Vec<_> = made
                .iter()
                .map(|row| json!({"deliveryId": row.id.to_string(), "kind": "DISPLAYED", "clientId": format!("{at} {}", row.id), "at": "2026-01-01T09:00:00Z"}))
                .collect();
            let recorded = record(&kit, token, json!(told)).await;
            assert_eq!(recorded["userErrors"], json!([]));
        }
        let told = events(&acme, "nudge.displayed").await?;
        assert_eq!(told.len(), 4);
        assert!(told.iter().all(|event| event.contact_id == Some(root)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_a_contact_records_interactions() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for credential in [&acme.secret_key, &acme.publishable_key] {
            let refused = record(&kit, credential, json!([])).await;
            assert_eq!(
                refused["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{refused}"
            );
        }
        Ok(())
    })
    .await
}
