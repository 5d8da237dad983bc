//! The worker: what is heard, in which order, how often, by whom; and what happens to what fails.

use std::collections::BTreeMap;
use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use api::{
    base::{Cx, Error, Fut, Module, NewEvent, Outbound, Result},
    worker::Worker,
};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{ContactId, Id, consumer, dead_letter, event, event_retry};
use sea_orm::{QueryFilter as _, QueryOrder as _, entity::ColumnTrait as _};
use serde_json::{Value, json};
use tests::{Kind, Kit, Tenant, on_each_database, start};
use tokio::sync::Notify;
use uuid::Uuid;

/// A room that says what it heard, and fails on what asks it to.
const EAR: Module = Module {
    hear: Some(hear),
    ..Module::named("ear")
};

fn hear<'a>(cx: &'a Cx, events: &'a [event::Model]) -> Fut<'a, Vec<Result<()>>> {
    Box::pin(async move {
        let mut answers = vec![];
        for event in events {
            assert_ne!(event.properties["act"], "panic", "as it was told to");
            if event.properties["act"] == "say nothing" {
                return answers;
            }
            answers.push(hear_one(cx, event).await);
        }
        answers
    })
}

async fn hear_one(cx: &Cx, event: &event::Model) -> Result<()> {
    let (Some(label), Some(contact)) = (event.properties["label"].as_str(), event.contact_id)
    else {
        return Ok(());
    };
    let fails_until = event.properties["failsUntil"].as_str();
    if fails_until.is_some_and(|text| cx.now() < text.parse::<DateTime<Utc>>().unwrap_or_default())
    {
        return Err(Error::invalid("event", "it is too early"));
    }
    cx.write(async |tx| {
        let heard = NewEvent::of_room("ear", "heard", contact, tx.now()).with("heard", label);
        tx.emit(heard.caused_by(event)).await
    })
    .await?;
    Ok(())
}

fn worker(kit: &Kit) -> Result<Worker> {
    Ok(Worker::new(
        Arc::clone(&kit.app.env),
        Outbound::new(true)?,
        &[&EAR],
    ))
}

/// The contact of this number: its partition is the number's last four bits.
fn contact(number: u128) -> ContactId {
    Id::from_uuid(Uuid::from_u128(number))
}

fn told(contact: ContactId, label: &str) -> NewEvent {
    NewEvent::of_room("test", "told", contact, start()).with("label", label)
}

async fn tell(tenant: &Tenant, events: Vec<NewEvent>) -> Result<()> {
    tenant
        .cx
        .write(async |tx| tx.emit_all(events).await)
        .await?;
    Ok(())
}

/// What the room heard, in the order in which it did.
async fn heard(tenant: &Tenant) -> Result<Vec<(ContactId, String)>> {
    let rows = tenant
        .cx
        .db()
        .find::<event::Entity>()
        .filter(event::Column::Name.eq("heard"))
        .order_by_asc(event::Column::Seq)
        .all()
        .await?;
    let label = |row: &event::Model| {
        row.properties["heard"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.contact_id?, label(row))))
        .collect())
}

async fn labels(tenant: &Tenant) -> Result<Vec<String>> {
    Ok(heard(tenant)
        .await?
        .into_iter()
        .map(|(_, label)| label)
        .collect())
}

async fn waiting(tenant: &Tenant) -> Result<Vec<(i32, Option<String>)>> {
    let scope = tenant.cx.db();
    let rows = scope.find::<event_retry::Entity>();
    let rows = rows
        .order_by_desc(event_retry::Column::Attempt)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.attempt, row.last_error))
        .collect())
}

#[tokio::test]
async fn every_event_is_heard_once_and_each_contacts_in_order() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, other) = (kit.tenant("acme").await?, kit.tenant("other").await?);
        let worker = worker(&kit)?;
        let mut events = vec![];
        for number in 0..40 {
            for of in 1..=3 {
                events.push(told(contact(of), &number.to_string()));
            }
        }
        tell(&acme, events).await?;
        tell(&other, vec![told(contact(1), "other's")]).await?;
        // Both consumers deal with 121 events, and with the 121 that the room says.
        assert_eq!(worker.drain().await?, 4 * 121);
        let all = heard(&acme).await?;
        assert_eq!(all.len(), 120);
        for of in 1..=3 {
            let of_one: Vec<_> = all
                .iter()
                .filter(|(who, _)| *who == contact(of))
                .map(|(_, label)| label.clone())
                .collect();
            let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
            assert_eq!(of_one, expected);
        }
        assert_eq!(labels(&other).await?, ["other's"]);
        assert_eq!(worker.drain().await?, 0);
        assert_eq!(worker.unread().await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_event_holds_back_its_contact_alone_until_it_is_heard() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let worker = worker(&kit)?;
        let until = (start() + TimeDelta::seconds(3)).to_rfc3339();
        tell(
            &acme,
            vec![
                told(contact(1), "a1").with("failsUntil", until),
                told(contact(1), "a2"),
                told(contact(2), "b1"),
            ],
        )
        .await?;
        worker.drain().await?;
        assert_eq!(labels(&acme).await?, ["b1"]);
        let too_early = Some("it is too early".to_owned());
        assert_eq!(waiting(&acme).await?, [(1, too_early.clone()), (0, None)]);

        // The first delay is 1 s and a part more: before, nothing is tried.
        kit.advance(TimeDelta::milliseconds(900));
        tell(&acme, vec![told(contact(1), "a3")]).await?;
        worker.drain().await?;
        assert_eq!(
            waiting(&acme).await?,
            [(1, too_early.clone()), (0, None), (0, None)]
        );
        kit.advance(TimeDelta::milliseconds(400));
        worker.drain().await?;
        assert_eq!(
            waiting(&acme).await?,
            [(2, too_early), (0, None), (0, None)]
        );

        kit.advance(TimeDelta::milliseconds(2_600));
        worker.drain().await?;
        assert_eq!(labels(&acme).await?, ["b1", "a1", "a2", "a3"]);
        assert_eq!(waiting(&acme).await?, []);
        Ok(())
    })
    .await
}

const LETTERS: &str = "query($consumer: String, $replayed: Boolean) {
    deadLetters(first: 10, filter: {consumer: $consumer, replayed: $replayed}) {
        totalCount edges { node { id consumer event { name contact { id } } error attempts replayedAt } }
    }
}";
const REPLAY: &str = "mutation($id: ID!) {
    deadLetterReplay(input: {ids: [$id]}) { deadLetters { id replayedAt } userErrors { code field } }
}";

#[tokio::test]
async fn what_fails_ten_times_is_buried_and_heard_when_it_is_replayed() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, other) = (kit.tenant("acme").await?, kit.tenant("other").await?);
        let worker = worker(&kit)?;
        let until = (start() + TimeDelta::hours(2)).to_rfc3339();
        tell(
            &acme,
            vec![told(contact(1), "a1").with("failsUntil", until), told(contact(1), "a2")],
        )
        .await?;
        for attempt in 1..10 {
            worker.drain().await?;
            assert_eq!(waiting(&acme).await?[0].0, attempt);
            kit.advance(TimeDelta::seconds(400));
        }
        assert_eq!(labels(&acme).await?, Vec::<String>::new());
        worker.drain().await?;
        assert_eq!(labels(&acme).await?, ["a2"]);
        assert_eq!(waiting(&acme).await?, []);

        let seen = kit.gql(&acme.secret_key, LETTERS, json!({"consumer": "ear", "replayed": false})).await;
        let id = seen["data"]["deadLetters"]["edges"][0]["node"]["id"].clone();
        let letter = json!({"id": id, "consumer": "ear", "event": {"name": "told", "contact": null}, "error": "it is too early", "attempts": 10, "replayedAt": null});
        assert_eq!(seen["data"]["deadLetters"], json!({"totalCount": 1, "edges": [{"node": letter}]}));
        let none = json!({"totalCount": 0, "edges": []});
        for filter in [json!({"consumer": "posthog_forward"}), json!({"replayed": true})] {
            let seen = kit.gql(&acme.secret_key, LETTERS, filter).await;
            assert_eq!(seen["data"]["deadLetters"], none);
        }

        // Another tenant neither sees nor replays it.
        assert_eq!(kit.gql(&other.secret_key, LETTERS, json!({})).await["data"]["deadLetters"], none);
        let refused = kit.gql(&other.secret_key, REPLAY, json!({"id": id})).await;
        assert_eq!(
            refused["data"]["deadLetterReplay"],
            json!({"deadLetters": null, "userErrors": [{"code": "NOT_FOUND", "field": "ids"}]})
        );
        assert_eq!(waiting(&acme).await?, []);

        kit.advance(TimeDelta::hours(2));
        let replayed = kit.gql(&acme.secret_key, REPLAY, json!({"id": id})).await;
        assert_eq!(
            replayed["data"]["deadLetterReplay"],
            json!({"deadLetters": [{"id": id, "replayedAt": "2026-01-01T12:00:00Z"}], "userErrors": []})
        );
        worker.drain().await?;
        assert_eq!(labels(&acme).await?, ["a2", "a1"]);
        assert_eq!(waiting(&acme).await?, []);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_may_not_read_the_tenant_sees_no_dead_letter_and_replays_none() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        let viewer = kit.key(&acme, &["tenant:read"]).await?;
        for (key, query) in [(&reader, LETTERS), (&reader, REPLAY), (&viewer, REPLAY), (&acme.publishable_key, LETTERS)] {
            let refused = kit.gql(key, query, json!({"id": "letter_00000000000000000000000000"})).await;
            assert_ne!(refused["errors"], Value::Null, "{query}");
        }
        let many: Vec<String> = (0..101).map(|_| "letter_00000000000000000000000000".to_owned()).collect();
        let query = "mutation($ids: [ID!]!) { deadLetterReplay(input: {ids: $ids}) { userErrors { code } } }";
        for (ids, code) in [(json!([]), "INVALID"), (json!(many), "INVALID"), (json!(["x"]), "NOT_FOUND")] {
            let refused = kit.gql(&acme.secret_key, query, json!({"ids": ids})).await;
            assert_eq!(refused["data"]["deadLetterReplay"]["userErrors"], json!([{"code": code}]));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_room_that_panics_or_keeps_silent_has_failed() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let worker = worker(&kit)?;
        for (number, act) in ["panic", "say nothing"].into_iter().enumerate() {
            tell(
                &acme,
                vec![told(contact(number as u128), act).with("act", act)],
            )
            .await?;
            worker.drain().await?;
        }
        assert_eq!(labels(&acme).await?, Vec::<String>::new());
        let internal = Some("internal error".to_owned());
        assert_eq!(
            waiting(&acme).await?,
            [(1, internal.clone()), (1, internal)]
        );
        assert_eq!(worker.unread().await?, 0);
        Ok(())
    })
    .await
}

/// How many partitions of the room's consumer each process holds.
async fn shares(kit: &Kit) -> Result<Vec<usize>> {
    let system = kit.app.env.db.system();
    let rows = system.find::<consumer::Entity>();
    let rows = rows.filter(consumer::Column::Name.eq("ear")).all().await?;
    let holders: BTreeMap<Uuid, usize> = rows.iter().filter_map(|row| row.leased_by).fold(
        BTreeMap::default(),
        |mut counts, holder| {
            *counts.entry(holder).or_default() += 1;
            counts
        },
    );
    let mut counts: Vec<usize> = holders.into_values().collect();
    counts.sort_unstable();
    Ok(counts)
}

#[tokio::test]
async fn two_processes_share_the_partitions_and_one_takes_over_when_the_other_dies()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let second = kit.another_process().await?;
        let (one, two) = (
            worker(&kit)?,
            Worker::new(Arc::clone(&second.env), Outbound::new(true)?, &[&EAR]),
        );
        one.join().await?;
        one.pass().await?;
        assert_eq!(shares(&kit).await?, [16]);
        two.join().await?;
        two.pass().await?;
        assert_eq!(shares(&kit).await?, [16], "what is held is not taken");
        one.pass().await?;
        two.pass().await?;
        assert_eq!(shares(&kit).await?, [8, 8]);

        let all: Vec<NewEvent> = (0..64)
            .map(|number| told(contact(number), &number.to_string()))
            .collect();
        tell(&acme, all.clone()).await?;
        let mut both = [0, 0];
        for _ in 0..200 {
            both[0] += one.pass().await?;
            both[1] += two.pass().await?;
            if one.unread().await? == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ensure!(
            both.iter().all(|done| *done > 0),
            "each process hears its share: {both:?}"
        );
        let mut labels_heard = labels(&acme).await?;
        labels_heard.sort_by_key(|label| label.parse::<u32>().unwrap_or(u32::MAX));
        assert_eq!(
            labels_heard,
            (0..64).map(|number| number.to_string()).collect::<Vec<_>>()
        );

        // The first dies without a word; while its leases run, nobody takes them.
        tell(&acme, all).await?;
        kit.advance(TimeDelta::seconds(19));
        two.pass().await?;
        assert_eq!(shares(&kit).await?, [8, 8]);
        kit.advance(TimeDelta::seconds(6));
        two.drain().await?;
        assert_eq!(heard(&acme).await?.len(), 128);

        // Returned from the dead, it moves nothing that is another's.
        two.join().await?;
        two.pass().await?;
        one.pass().await?;
        assert_eq!(heard(&acme).await?.len(), 128);
        second.env.db.close().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_late_commit_is_never_skipped() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        if kit.database == Kind::Sqlite {
            // One writer: no commit can be late.
            return Ok(());
        }
        let acme = kit.tenant("acme").await?;
        let worker = worker(&kit)?;
        worker.join().await?;
        let (written, go_on) = (Notify::new(), Notify::new());
        let late = acme.cx.write(async |tx| {
            tx.emit(told(contact(1), "late")).await?;
            written.notify_one();
            go_on.notified().await;
            Ok(())
        });
        let overtaking = async {
            written.notified().await;
            tell(&acme, vec![told(contact(2), "early")]).await?;
            worker.pass().await?;
            let before = labels(&acme).await?;
            go_on.notify_one();
            Ok(before)
        };
        let (late, before) = tokio::join!(late, overtaking);
        late?;
        let before: Result<Vec<String>> = before;
        assert_eq!(
            before?,
            Vec::<String>::new(),
            "what is behind an open transaction waits for it"
        );
        worker.drain().await?;
        assert_eq!(labels(&acme).await?, ["late", "early"]);
        Ok(())
    })
    .await
}

async fn until_heard(tenant: &Tenant, count: usize) -> anyhow::Result<()> {
    for _ in 0..1_000 {
        if heard(tenant).await?.len() >= count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = heard(tenant).await?;
    Err(anyhow::anyhow!("heard {seen:?}")).context(format!("{count} events were not heard in 10 s"))
}

#[tokio::test]
async fn a_started_worker_hears_every_process_and_gives_back_what_it_held() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let worker = worker(&kit)?;
        let (tasks, stopping) = (&kit.app.tasks, &kit.app.stopping);
        worker.start(tasks, stopping).await?;
        tell(&acme, vec![told(contact(1), "own")]).await?;
        until_heard(&acme, 1).await?;
        let second = kit.another_process().await?;
        let cx = Cx::new(Arc::clone(&second.env), acme.id, acme.cx.actor().clone());
        cx.write(async |tx| tx.emit(told(contact(2), "another's")).await)
            .await?;
        until_heard(&acme, 2).await?;
        second.env.db.close().await?;

        stopping.cancel();
        tasks.close();
        tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await?;
        assert_eq!(shares(&kit).await?, Vec::<usize>::new());
        assert_eq!(labels(&acme).await?, ["own", "another's"]);
        assert_eq!(acme.cx.db().find::<dead_letter::Entity>().count().await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_consumer_that_joins_later_begins_at_the_logs_end() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let without = Worker::new(Arc::clone(&kit.app.env), Outbound::new(true)?, &[]);
        tell(&acme, vec![told(contact(1), "before")]).await?;
        without.drain().await?;
        let with = worker(&kit)?;
        with.join().await?;
        tell(&acme, vec![told(contact(1), "after")]).await?;
        with.drain().await?;
        assert_eq!(labels(&acme).await?, ["after"]);
        Ok(())
    })
    .await
}
