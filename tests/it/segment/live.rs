//! Membership follows what happens, and time.

use api::base::Regrouped;
use chrono::TimeDelta;
use sea_orm::{ActiveValue::Unchanged, Set};
use serde_json::{Value, json};
use tests::on_each_database;

use super::kit::{members, person, saved, summed, told};
use crate::{
    contact::ask,
    nudge::kit::{identify, track},
};

const NOBODY: [&str; 0] = [];

#[tokio::test]
async fn who_meets_a_rule_enters_and_who_does_not_any_more_leaves_and_each_is_told_once()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let rule = json!({"and": [{"event": {"name": "order", "atLeast": 2}}, {"trait": {"key": "plan", "ne": "pro"}}]});
        let id = saved(&kit, &acme, "upsell", rule).await?;
        track(&kit, &acme, "ann", "order", json!({})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "upsell").await, NOBODY);
        assert!(told(&acme).await?.is_empty());

        let ann = track(&kit, &acme, "ann", "order", json!({})).await?;
        let cause = acme.cx.db().find::<entity::event::Entity>().all().await?;
        let cause = cause.iter().max_by_key(|event| (event.xid, event.seq)).unwrap();
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "upsell").await, ["ann"]);
        let entered = &told(&acme).await?[0];
        assert_eq!(entered.name, "segment.entered");
        assert_eq!(entered.contact_id, Some(ann));
        assert_eq!(entered.caused_by, Some(cause.id));
        assert_eq!(entered.identifier_id, cause.identifier_id);
        assert_eq!(entered.properties, json!({"segmentId": id, "segmentKey": "upsell", "reason": "event"}));

        track(&kit, &acme, "ann", "order", json!({})).await?;
        person(&kit, &acme, "bob", json!({"plan": "free"})).await;
        kit.app.worker.drain().await?;
        person(&kit, &acme, "ann", json!({"plan": "pro"})).await;
        kit.app.worker.drain().await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "upsell").await, NOBODY);
        assert_eq!(summed(&told(&acme).await?), ["segment.entered upsell event", "segment.left upsell event"]);

        let query = "{ segment(key: \"upsell\") { sizeHistory { totalCount edges { node { hour size } } } } }";
        let seen = ask(&kit, &acme.secret_key, query, json!({})).await;
        let point = json!({"node": {"hour": "2026-01-01T09:00:00Z", "size": 0}});
        assert_eq!(seen["segment"]["sizeHistory"], json!({"totalCount": 1, "edges": [point]}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn time_alone_moves_contacts_in_and_out_at_the_instant_at_which_it_does() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let visit = |more: Value| {
            let mut event = json!({"name": "visit"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        for (key, rule) in [
            ("active", json!({"event": visit(json!({"within": "P7D"}))})),
            ("keen", json!({"event": visit(json!({"within": "P7D", "atLeast": 2}))})),
            ("lost", json!({"and": [{"event": visit(json!({}))}, {"not": {"lastEvent": visit(json!({"within": "P30D"}))}}]})),
            ("fresh", json!({"firstEvent": visit(json!({"within": "P1D"}))})),
        ] {
            saved(&kit, &acme, key, rule).await?;
        }
        track(&kit, &acme, "ann", "visit", json!({})).await?;
        kit.advance(TimeDelta::days(2));
        track(&kit, &acme, "ann", "visit", json!({})).await?;
        kit.app.worker.drain().await?;
        let state = async || {
            kit.app.worker.drain().await?;
            let mut inside = vec![];
            for key in ["active", "keen", "lost", "fresh"] {
                if !members(&kit, &acme, key).await.is_empty() {
                    inside.push(key);
                }
            }
            anyhow::Ok(inside)
        };
        assert_eq!(state().await?, ["active", "keen"], "fresh ended before anything was heard");
        kit.advance(TimeDelta::days(5) - TimeDelta::milliseconds(1));
        assert_eq!(state().await?, ["active", "keen"]);
        kit.advance(TimeDelta::milliseconds(1));
        assert_eq!(state().await?, ["active"], "the first visit is seven days old");
        kit.advance(TimeDelta::days(2));
        assert_eq!(state().await?, NOBODY);
        kit.advance(TimeDelta::days(23) - TimeDelta::milliseconds(1));
        assert_eq!(state().await?, NOBODY);
        kit.advance(TimeDelta::milliseconds(1));
        assert_eq!(state().await?, ["lost"]);
        track(&kit, &acme, "ann", "visit", json!({})).await?;
        assert_eq!(state().await?, ["active"]);
        let times: Vec<String> = summed(&told(&acme).await?);
        assert_eq!(
            times,
            [
                "segment.entered active event", "segment.entered keen event",
                "segment.left keen time", "segment.left active time", "segment.entered lost time",
                "segment.entered active event", "segment.left lost event",
            ]
        );
        assert!(told(&acme).await?[2].caused_by.is_none());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_contact_is_in_what_holds_of_whom_nothing_is_known() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let never = json!({"event": {"name": "order", "atMost": 0}});
        saved(&kit, &acme, "never", never.clone()).await?;
        saved(
            &kit,
            &acme,
            "free",
            json!({"trait": {"key": "plan", "ne": "pro"}}),
        )
        .await?;
        saved(
            &kit,
            &acme,
            "outside",
            json!({"not": {"segment": {"key": "free"}}}),
        )
        .await?;
        track(&kit, &acme, "ann", "login", json!({})).await?;
        person(&kit, &acme, "bob", json!({"plan": "pro"})).await;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "never").await, ["ann", "bob"]);
        assert_eq!(members(&kit, &acme, "free").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "outside").await, ["bob"]);
        track(&kit, &acme, "ann", "order", json!({})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "never").await, ["bob"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn segments_that_name_each_other_follow_in_the_same_moment() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        saved(&kit, &acme, "a", json!({"event": {"name": "x"}})).await?;
        saved(&kit, &acme, "b", json!({"segment": {"key": "a"}})).await?;
        let both = json!({"and": [{"segment": {"key": "b"}}, {"not": {"segment": {"key": "a"}}}]});
        saved(&kit, &acme, "never", both).await?;
        saved(&kit, &acme, "c", json!({"not": {"segment": {"key": "b"}}})).await?;
        let ann = track(&kit, &acme, "ann", "y", json!({})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "c").await, ["ann"]);
        track(&kit, &acme, "ann", "x", json!({})).await?;
        kit.app.worker.drain().await?;
        for (key, expected) in [
            ("a", &["ann"][..]),
            ("b", &["ann"]),
            ("c", &[]),
            ("never", &[]),
        ] {
            assert_eq!(members(&kit, &acme, key).await, expected, "{key}");
        }
        let told = told(&acme).await?;
        assert_eq!(
            summed(&told),
            [
                "segment.entered c event",
                "segment.entered a event",
                "segment.entered b event",
                "segment.left c event"
            ]
        );
        assert_eq!(
            told[3].causation_depth, 1,
            "the event itself is the cause all the way up"
        );
        let query = "query($id: ID!) { contact(id: $id) { segments { key } } }";
        let seen = ask(
            &kit,
            &acme.secret_key,
            query,
            json!({"id": ann.to_string()}),
        )
        .await;
        assert_eq!(
            seen["contact"]["segments"],
            json!([{"key": "a"}, {"key": "b"}])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merged_person_stays_in_its_segments_and_is_counted_with_all_it_did() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        saved(&kit, &acme, "buyers", json!({"event": {"name": "order"}})).await?;
        saved(
            &kit,
            &acme,
            "keen",
            json!({"event": {"name": "order", "atLeast": 2}}),
        )
        .await?;
        saved(
            &kit,
            &acme,
            "once",
            json!({"event": {"name": "order", "atLeast": 1, "atMost": 1}}),
        )
        .await?;
        track(&kit, &acme, "anon-1", "order", json!({})).await?;
        track(&kit, &acme, "ann", "login", json!({})).await?;
        kit.app.worker.drain().await?;
        assert_eq!(
            members(&kit, &acme, "buyers").await,
            ["?"],
            "a visitor without an id"
        );
        identify(&kit, &acme, "ann", "anon-1").await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "buyers").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "once").await, ["ann"]);
        assert_eq!(
            summed(&told(&acme).await?),
            ["segment.entered buyers event", "segment.entered once event"],
            "the person was in, and is"
        );

        track(&kit, &acme, "anon-2", "order", json!({})).await?;
        kit.app.worker.drain().await?;
        identify(&kit, &acme, "ann", "anon-2").await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "buyers").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "keen").await, ["ann"]);
        assert_eq!(members(&kit, &acme, "once").await, NOBODY);
        let told = summed(&told(&acme).await?);
        assert_eq!(
            told[2..],
            [
                "segment.entered buyers event",
                "segment.entered once event",
                "segment.entered keen event",
                "segment.left once event",
            ]
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_processes_that_find_the_same_due_tell_of_it_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        saved(
            &kit,
            &acme,
            "active",
            json!({"event": {"name": "visit", "within": "P1D"}}),
        )
        .await?;
        for n in 0..20 {
            track(&kit, &acme, &format!("u{n}"), "visit", json!({})).await?;
        }
        kit.app.worker.drain().await?;
        kit.advance(TimeDelta::days(1));
        let other = kit.another_process().await?;
        let due = api::segment::MODULE.due.unwrap();
        let (mine, others) = tokio::join!(due(&kit.app.env), due(&other.env));
        assert_eq!(mine? + others?, 20);
        assert_eq!(members(&kit, &acme, "active").await, NOBODY);
        let told = summed(&told(&acme).await?);
        assert_eq!(told.iter().filter(|line| line.contains("left")).count(), 20);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_is_heard_twice_and_changes_nothing_more() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        saved(&kit, &acme, "buyers", json!({"event": {"name": "order"}})).await?;
        track(&kit, &acme, "ann", "order", json!({})).await?;
        let events = acme.cx.db().find::<entity::event::Entity>().all().await?;
        let hear = api::segment::MODULE.hear.unwrap();
        for _ in 0..2 {
            for heard in hear(&acme.cx, &events).await {
                heard?;
            }
        }
        assert_eq!(
            summed(&told(&acme).await?),
            ["segment.entered buyers event"]
        );
        assert_eq!(members(&kit, &acme, "buyers").await, ["ann"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_contact_that_is_taken_out_of_another_is_in_what_its_own_rows_say() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        saved(&kit, &acme, "buyers", json!({"event": {"name": "order"}})).await?;
        let visitor = track(&kit, &acme, "anon-1", "order", json!({})).await?;
        track(&kit, &acme, "ann", "login", json!({})).await?;
        let ann = identify(&kit, &acme, "ann", "anon-1").await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "buyers").await, ["ann"]);
        let regrouped = Regrouped {
            joined: vec![],
            parted: vec![(ann, visitor)],
        };
        acme.cx
            .write(async |tx| {
                tx.delete_where::<entity::contact_alias::Entity>(|delete| delete)
                    .await?;
                tx.update(entity::contact::ActiveModel {
                    id: Unchanged(visitor),
                    merged_into: Set(None),
                    status: Set(entity::contact::Status::Anonymous),
                    ..Default::default()
                })
                .await?;
                let settle = api::segment::MODULE.fold.settle.unwrap();
                settle(tx, &regrouped).await
            })
            .await?;
        kit.app.worker.drain().await?;
        assert_eq!(members(&kit, &acme, "buyers").await, ["?"]);
        let query = "query($id: ID!) { contact(id: $id) { segments { key } } }";
        for (contact, segments) in [(ann, json!([])), (visitor, json!([{"key": "buyers"}]))] {
            let seen = ask(
                &kit,
                &acme.secret_key,
                query,
                json!({"id": contact.to_string()}),
            )
            .await;
            assert_eq!(seen["contact"]["segments"], segments);
        }
        Ok(())
    })
    .await
}
