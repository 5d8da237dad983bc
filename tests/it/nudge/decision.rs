//! What an event leads to.

use std::sync::Arc;

use api::{
    base::{Actor, Cx},
    nudge,
};
use chrono::TimeDelta;
use serde_json::json;
use tests::on_each_database;

use super::kit::{
    Ear, deliveries, draft, events, identify, publish, published, save, track, verdicts,
};

#[tokio::test]
async fn a_matching_event_is_an_offer_once_however_often_it_is_heard() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({"expiresAfter": "PT1H", "priority": 5})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        let mut ear = Ear::of(&kit, &acme);
        ear.listen().await?;

        let signup = &events(&acme, "signup").await?[0];
        let made = deliveries(&acme).await?;
        assert_eq!(made.len(), 1);
        let delivery = &made[0];
        assert_eq!(delivery.contact_id, contact);
        assert_eq!(delivery.event_id, signup.id);
        assert_eq!(delivery.identifier_id, signup.identifier_id);
        assert!(delivery.identifier_id.is_some());
        assert_eq!((delivery.surface.as_str(), delivery.priority), ("app", 5));
        assert_eq!(delivery.offered_at, kit.now());
        assert_eq!(delivery.expires_at, Some(kit.now() + TimeDelta::hours(1)));

        let told = events(&acme, "nudge.offered").await?;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].contact_id, Some(contact));
        assert_eq!(told[0].caused_by, Some(signup.id));
        assert_eq!(told[0].causation_depth, 1);
        assert_eq!(
            told[0].properties,
            json!({"deliveryId": delivery.id.to_string(), "nudgeId": id, "nudgeKey": "tour", "surface": "app"})
        );

        // heard again, also after another version was published
        ear.listen_again().await?;
        save(&kit, &acme, draft("tour", json!({}))).await;
        publish(&kit, &acme, &id).await;
        kit.advance(TimeDelta::minutes(1));
        ear.listen_again().await?;
        assert_eq!(deliveries(&acme).await?, made);
        assert_eq!(events(&acme, "nudge.offered").await?.len(), 1);
        assert_eq!(verdicts(&acme).await?, ["offered"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_an_event_that_meets_every_condition_is_decided_about() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let trigger = json!({"event": "signup", "conditions": [
            {"property": "plan", "operator": "EQ", "value": "pro"},
            {"property": "seats", "operator": "GT", "value": 3},
        ]});
        published(&kit, &acme, "pro", json!({ "trigger": trigger })).await?;
        // a draft waits for nothing
        save(&kit, &acme, draft("draft", json!({}))).await;
        for (user, properties) in [
            ("u1", json!({"plan": "pro", "seats": 3})),
            ("u2", json!({"plan": "free", "seats": 9})),
            ("u3", json!({})),
            ("u4", json!({"plan": "pro", "seats": 4})),
        ] {
            track(&kit, &acme, user, "signup", properties).await?;
        }
        let unmet = track(
            &kit,
            &acme,
            "u4",
            "login",
            json!({"plan": "pro", "seats": 4}),
        )
        .await?;
        Ear::of(&kit, &acme).listen().await?;
        let made = deliveries(&acme).await?;
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].contact_id, unmet);
        assert_eq!(verdicts(&acme).await?, ["offered"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_batch_that_nothing_waits_for_costs_one_statement() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        for at in 0..20 {
            track(&kit, &acme, &format!("u{at}"), "login", json!({})).await?;
        }
        let heard = acme.cx.db().find::<entity::event::Entity>().all().await?;
        let cx = Cx::new(Arc::clone(&kit.app.env), acme.id, Actor::System);
        let hear = nudge::MODULE.hear.unwrap();
        let mut least = u64::MAX;
        for _ in 0..3 {
            let before = kit.app.env.db.statements();
            hear(&cx, &heard)
                .await
                .into_iter()
                .collect::<Result<(), _>>()?;
            least = least.min(kit.app.env.db.statements() - before);
        }
        assert_eq!(least, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cap_counts_what_was_seen_and_what_is_open() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(
            &kit,
            &acme,
            "tour",
            json!({"capPerContact": 2, "expiresAfter": "PT1H"}),
        )
        .await?;
        let mut ear = Ear::of(&kit, &acme);
        // in one batch, and in another
        for _ in 0..3 {
            track(&kit, &acme, "u1", "signup", json!({})).await?;
        }
        track(&kit, &acme, "u2", "signup", json!({})).await?;
        ear.listen().await?;
        track(&kit, &acme, "u1", "signup", json!({})).await?;
        ear.listen().await?;
        assert_eq!(
            verdicts(&acme).await?,
            ["offered", "offered", "capped", "offered", "capped"]
        );

        // an offer that ran out unseen frees its place, one that was seen does not
        let made = deliveries(&acme).await?;
        let seen = made
            .iter()
            .find(|row| row.contact_id == made[0].contact_id)
            .unwrap()
            .id;
        acme.cx
            .write(async |tx| {
                tx.update(entity::nudge_delivery::ActiveModel {
                    id: sea_orm::ActiveValue::Unchanged(seen),
                    displayed_at: sea_orm::Set(Some(tx.now())),
                    ..Default::default()
                })
                .await
            })
            .await?;
        kit.advance(TimeDelta::hours(1));
        for _ in 0..2 {
            track(&kit, &acme, "u1", "signup", json!({})).await?;
        }
        ear.listen().await?;
        assert_eq!(verdicts(&acme).await?[5..], ["offered", "capped"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cap_holds_when_many_decide_at_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({"capPerContact": 3})).await?;
        for _ in 0..24 {
            track(&kit, &acme, "u1", "signup", json!({})).await?;
        }
        let heard = events(&acme, "signup").await?;
        let cx = Cx::new(Arc::clone(&kit.app.env), acme.id, Actor::System);
        let hear = nudge::MODULE.hear.unwrap();
        // each event alone and twice, as two processes that both believe to hold the lane would
        let at_once = heard
            .iter()
            .chain(&heard)
            .map(|event| hear(&cx, std::slice::from_ref(event)));
        for answers in futures_util::future::join_all(at_once).await {
            answers.into_iter().collect::<Result<(), _>>()?;
        }
        let verdicts = verdicts(&acme).await?;
        assert_eq!(verdicts.len(), 24);
        assert_eq!(
            verdicts
                .iter()
                .filter(|verdict| *verdict == "offered")
                .count(),
            3
        );
        assert_eq!(deliveries(&acme).await?.len(), 3);
        assert_eq!(events(&acme, "nudge.offered").await?.len(), 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merged_contact_has_one_cap_and_its_root_gets_the_offer() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({"capPerContact": 2})).await?;
        let mut ear = Ear::of(&kit, &acme);
        let visitor = track(&kit, &acme, "anon-visitor", "signup", json!({})).await?;
        let known = track(&kit, &acme, "known", "login", json!({})).await?;
        ear.listen().await?;
        track(&kit, &acme, "anon-visitor", "signup", json!({})).await?;
        let root = identify(&kit, &acme, "known", "anon-visitor").await?;
        assert!(root == visitor || root == known);
        // the second offer's event was written for the visitor, and is heard after the merge
        ear.listen().await?;
        track(&kit, &acme, "known", "signup", json!({})).await?;
        ear.listen().await?;
        assert_eq!(verdicts(&acme).await?, ["offered", "offered", "capped"]);
        let made = deliveries(&acme).await?;
        assert_eq!(made[1].contact_id, root);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_that_is_too_old_is_no_occasion() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "hour", json!({"expiresAfter": "PT1H"})).await?;
        published(&kit, &acme, "ever", json!({})).await?;
        published(&kit, &acme, "week", json!({"expiresAfter": "P7D"})).await?;
        track(&kit, &acme, "u1", "signup", json!({})).await?;
        kit.advance(TimeDelta::hours(30));
        Ear::of(&kit, &acme).listen().await?;
        let mut verdicts = verdicts(&acme).await?;
        verdicts.sort();
        assert_eq!(verdicts, ["expired_event", "expired_event", "offered"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_of_nobody_is_no_occasion() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let gone = entity::Id::from_uuid(uuid::Uuid::from_u128(7));
        acme.cx
            .write(async |tx| {
                let told = api::base::NewEvent::of_room("test", "signup", gone, tx.now());
                let nobody = api::base::NewEvent {
                    contact_id: None,
                    ..told.clone()
                };
                tx.emit_all(vec![told, nobody]).await
            })
            .await?;
        Ear::of(&kit, &acme).listen().await?;
        assert!(deliveries(&acme).await?.is_empty());
        assert!(verdicts(&acme).await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_forged_archiving_takes_nothing_back() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({})).await?;
        let mut ear = Ear::of(&kit, &acme);
        track(&kit, &acme, "u1", "signup", json!({})).await?;
        ear.listen().await?;
        track(
            &kit,
            &acme,
            "u1",
            "nudge.archived",
            json!({"nudgeId": id, "nudgeKey": "tour"}),
        )
        .await?;
        ear.listen().await?;
        assert_eq!(deliveries(&acme).await?[0].withdrawn_at, None);
        Ok(())
    })
    .await
}
