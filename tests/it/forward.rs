//! The forwarder, against the PostHog double: what arrives, in which order, and what failure does to it.

use std::{collections::HashSet, sync::Arc};

use api::{
    base::{NewEvent, Outbound, Result},
    contact::{self, Claim, Incoming, Link, TraitChanges},
    ingest::wire::EVENT_BYTES_MAX,
    posthog::secret,
    worker::Worker,
};
use chrono::TimeDelta;
use entity::{
    contact_identifier::{Kind, Verification},
    dead_letter, posthog_connection,
};
use posthog_double::{Double, DoubleOptions, Endpoint, Failure};
use sea_orm::Set;
use serde_json::{Map, Value, json};
use tests::{Kit, Tenant, on_each_database};

fn worker(kit: &Kit) -> Result<Worker> {
    Ok(Worker::new(
        Arc::clone(&kit.app.env),
        Outbound::new(true)?,
        &[],
    ))
}

async fn posthog(kit: &Kit) -> anyhow::Result<Double> {
    let clock = kit.app.env.clock.clone();
    Ok(Double::start(DoubleOptions::new(Arc::new(move || clock.now()))).await?)
}

async fn connect(kit: &Kit, tenant: &Tenant, double: &Double) -> Result<()> {
    let (env, now) = (&kit.app.env, kit.now());
    let token = env.secrets.seal(
        &env.rng,
        &secret::token_place(tenant.id),
        &double.options().project_token,
    )?;
    tenant
        .cx
        .write(async |tx| {
            tx.insert(posthog_connection::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tenant.id),
                ingest_host: Set(double.url()),
                api_host: Set(double.url()),
                ui_host: Set(double.url()),
                project_id: Set("1".to_owned()),
                project_token: Set(token.clone()),
                personal_api_key: Set(None),
                capabilities: Set(json!({})),
                probed_at: Set(None),
                forwarded_xid: Set(0),
                forwarded_seq: Set(0),
                forward_at: Set(None),
                forward_leased_until: Set(None),
                forward_attempt: Set(0),
                forward_error: Set(None),
                created_at: Set(now),
                updated_at: Set(now),
            })
            .await
        })
        .await?;
    Ok(())
}

/// A touch by these distinct ids.
fn touch(kit: &Kit, name: &str, ids: &[&str]) -> Result<Incoming> {
    let claims = ids
        .iter()
        .map(|id| Claim::new(Kind::DistinctId, id, Verification::Claimed, "id"));
    Ok(Incoming {
        name: name.to_owned(),
        claims: claims.collect::<Result<_>>()?,
        contact_id: None,
        link: if name == "$identify" {
            Link::Identify
        } else {
            Link::SameEvent
        },
        traits: TraitChanges::default(),
        touch: None,
        properties: match ids {
            // As every client says it.
            [_, other] if name == "$identify" => {
                Map::from_iter([("$anon_distinct_id".to_owned(), json!(other))])
            }
            _ => Map::new(),
        },
        context: Map::new(),
        source: "capture",
        verification: Verification::Claimed,
        message_id: None,
        occurred_at: kit.now(),
        makes_contact: true,
    })
}

async fn ingest(tenant: &Tenant, touches: Vec<Incoming>) -> Result<()> {
    tenant
        .cx
        .write(async |tx| contact::ingest(tx, &touches).await)
        .await?;
    Ok(())
}

async fn track(kit: &Kit, tenant: &Tenant, names: &[&str]) -> Result<()> {
    let touches = names.iter().map(|name| touch(kit, name, &["ann"]));
    ingest(tenant, touches.collect::<Result<_>>()?).await
}

async fn connection(tenant: &Tenant) -> anyhow::Result<posthog_connection::Model> {
    let row = tenant
        .cx
        .db()
        .find::<posthog_connection::Entity>()
        .one()
        .await?;
    row.ok_or_else(|| anyhow::anyhow!("the tenant is not connected"))
}

/// The names of the events that arrived, in the order in which they did.
fn names(double: &Double) -> Vec<String> {
    let names = double
        .events()
        .iter()
        .map(|event| event.event.clone())
        .collect::<Vec<_>>();
    // A contact's becoming known is told after the event that made it so.
    names
        .into_iter()
        .filter(|name| name != "contact.identified")
        .collect()
}

const fn always(code: u16) -> Failure {
    Failure::Status {
        code,
        retry_after: None,
        times: None,
    }
}

#[tokio::test]
async fn a_visitor_who_becomes_known_is_one_person_there_too() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        ingest(
            &acme,
            vec![
                touch(&kit, "$pageview", &["anon-1"])?,
                touch(&kit, "$identify", &["user-1", "anon-1"])?,
                touch(&kit, "signup", &["user-1"])?,
            ],
        )
        .await?;
        worker.drain().await?;
        assert_eq!(names(&double), ["$pageview", "$identify", "signup"]);
        let ids: HashSet<String> = double
            .events()
            .iter()
            .map(|event| event.distinct_id.clone())
            .collect();
        assert_eq!(ids.len(), 1, "a contact has one id there: {ids:?}");
        let persons = double.persons();
        assert_eq!(persons.len(), 1);
        let known: HashSet<&str> = persons[0].distinct_ids.iter().map(String::as_str).collect();
        assert_eq!(known, HashSet::from(["anon-1", "user-1"]));

        let requests = double.requests().len();
        worker.drain().await?;
        assert_eq!(
            double.requests().len(),
            requests,
            "nothing new, nothing sent"
        );
        assert_eq!(connection(&acme).await?.forward_at, None);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_contacts_that_turn_out_to_be_one_are_aliased_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        ingest(&acme, vec![touch(&kit, "$pageview", &["anon-1"])?]).await?;
        kit.advance(TimeDelta::seconds(1));
        ingest(&acme, vec![touch(&kit, "$pageview", &["anon-2"])?]).await?;
        worker.drain().await?;
        assert_eq!(double.persons().len(), 2);
        for _ in 0..2 {
            ingest(
                &acme,
                vec![touch(&kit, "$identify", &["anon-1", "anon-2"])?],
            )
            .await?;
            worker.drain().await?;
        }
        let aliases: Vec<_> = double
            .events()
            .iter()
            .filter(|event| event.event == "$create_alias")
            .cloned()
            .collect();
        assert_eq!(aliases.len(), 1);
        assert_eq!(double.persons().len(), 1);
        assert_eq!(double.warnings(), []);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn posthog_is_down_for_a_day_and_nothing_is_lost() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        double.fail(Endpoint::Capture, always(503));
        let mut told = vec![];
        for hour in 0..24 {
            let name = format!("hour {hour}");
            track(&kit, &acme, &[&name]).await?;
            told.push(name);
            // Three looks an hour, each later than the longest delay.
            for _ in 0..3 {
                worker.drain().await?;
                kit.advance(TimeDelta::minutes(20));
            }
        }
        assert_eq!(double.requests().len(), 72);
        let down = connection(&acme).await?;
        assert_eq!(down.forward_attempt, 72);
        assert!(
            down.forward_error
                .as_deref()
                .is_some_and(|why| why.starts_with("PostHog answered 503")),
            "{down:?}"
        );
        assert_eq!(names(&double), Vec::<String>::new());

        double.heal();
        worker.drain().await?;
        assert_eq!(names(&double), told);
        let up = connection(&acme).await?;
        assert_eq!(
            (up.forward_attempt, up.forward_error, up.forward_at),
            (0, None, None)
        );
        assert_eq!(acme.cx.db().find::<dead_letter::Entity>().count().await?, 0);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_batch_is_sent_again_as_it_was_and_not_before_its_time() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        let limited = Failure::Status {
            code: 429,
            retry_after: Some(120),
            times: Some(1),
        };
        double.fail(Endpoint::Capture, limited);
        double.fail(Endpoint::Capture, Failure::Reset { times: Some(1) });
        track(&kit, &acme, &["one", "two"]).await?;
        worker.drain().await?;
        assert_eq!(double.requests().len(), 1);

        // 120 s were asked for; what is told meanwhile does not shorten them.
        kit.advance(TimeDelta::seconds(119));
        track(&kit, &acme, &["three"]).await?;
        worker.drain().await?;
        assert_eq!(double.requests().len(), 1);
        kit.advance(TimeDelta::seconds(1));
        worker.drain().await?;
        assert_eq!(double.requests().len(), 2);
        assert_eq!(names(&double), Vec::<String>::new());
        kit.advance(TimeDelta::seconds(3));
        worker.drain().await?;
        assert_eq!(names(&double), ["one", "two", "three"]);

        let requests = double.requests();
        let tried: Vec<_> = requests
            .iter()
            .map(|request| &request.events[..2])
            .collect();
        assert_eq!(tried[0], tried[1]);
        assert_eq!(tried[0], tried[2]);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_a_crash_before_the_checkpoint_sends_nothing_under_two_uuids()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        let begun = connection(&acme).await?;
        // Takes the events, and hangs in the middle of its answer until the request is given up.
        double.fail(Endpoint::Capture, Failure::HalfOpen { times: Some(1) });
        track(&kit, &acme, &["one", "two"]).await?;
        worker.drain().await?;
        let why = connection(&acme).await?.forward_error;
        assert_eq!(
            why.as_deref(),
            Some("PostHog did not answer: it took longer than 10 s")
        );
        kit.advance(TimeDelta::seconds(2));
        worker.drain().await?;

        // As a process leaves it that died between the acknowledgement and the checkpoint: leased, not moved.
        let lease = kit.now() + TimeDelta::seconds(60);
        acme.cx
            .write(async |tx| {
                tx.update(posthog_connection::ActiveModel {
                    id: Set(begun.id),
                    forwarded_xid: Set(begun.forwarded_xid),
                    forwarded_seq: Set(begun.forwarded_seq),
                    forward_leased_until: Set(Some(lease)),
                    forward_at: Set(Some(lease)),
                    ..Default::default()
                })
                .await
            })
            .await?;
        let before = double.requests().len();
        worker.pass().await?;
        assert_eq!(
            double.requests().len(),
            before,
            "the dead process's lease holds"
        );
        kit.advance(TimeDelta::seconds(60));
        worker.drain().await?;

        assert_eq!(names(&double), ["one", "two", "one", "two", "one", "two"]);
        let unique: HashSet<_> = double
            .events()
            .iter()
            .filter(|event| event.event != "contact.identified")
            .map(|event| {
                (
                    event.uuid,
                    event.event.clone(),
                    event.distinct_id.clone(),
                    event.timestamp,
                )
            })
            .collect();
        assert_eq!(unique.len(), 2);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_bad_event_is_buried_and_holds_up_no_other() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        double.poison("bad");
        let mut told: Vec<String> = (0..20).map(|number| format!("event {number}")).collect();
        told.insert(7, "bad".to_owned());
        let refs: Vec<&str> = told.iter().map(String::as_str).collect();
        track(&kit, &acme, &refs).await?;
        worker.drain().await?;
        let good: Vec<String> = told.iter().filter(|name| *name != "bad").cloned().collect();
        assert_eq!(names(&double), good);

        let query = "{ deadLetters(first: 5) { edges { node { id consumer error attempts } } } }";
        let seen = kit.gql(&acme.secret_key, query, json!({})).await;
        let letters = seen["data"]["deadLetters"]["edges"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert_eq!(letters.len(), 1, "{seen}");
        let letter = &letters[0]["node"];
        assert_eq!(letter["consumer"], "posthog_forward");
        assert_eq!(letter["attempts"], 1);
        assert!(
            letter["error"]
                .as_str()
                .is_some_and(|why| why.starts_with("PostHog answered 400")),
            "{letter}"
        );

        // Replayed while it is still refused, it is buried again; afterwards it goes out.
        let replay =
            "mutation($id: ID!) { deadLetterReplay(input: {ids: [$id]}) { userErrors { code } } }";
        for (healed, replayed) in [(false, Value::Null), (true, json!("2026-01-01T09:00:00Z"))] {
            if healed {
                double.heal();
            }
            let done = kit
                .gql(&acme.secret_key, replay, json!({"id": letter["id"]}))
                .await;
            assert_eq!(done["data"]["deadLetterReplay"]["userErrors"], json!([]));
            worker.drain().await?;
            let seen = kit
                .gql(
                    &acme.secret_key,
                    "{ deadLetters(first: 5) { edges { node { id replayedAt } } } }",
                    json!({}),
                )
                .await;
            assert_eq!(
                seen["data"]["deadLetters"]["edges"],
                json!([{"node": {"id": letter["id"], "replayedAt": replayed}}])
            );
        }
        assert_eq!(names(&double).last().map(String::as_str), Some("bad"));
        assert_eq!(names(&double).len(), 21);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn too_much_at_once_is_split_and_too_large_an_event_is_buried() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        let too_large = Failure::Status {
            code: 413,
            retry_after: None,
            times: Some(1),
        };
        double.fail(Endpoint::Capture, too_large);
        let mut huge = touch(&kit, "huge", &["ann"])?;
        huge.properties
            .insert("text".to_owned(), "x".repeat(1024 * 1024).into());
        ingest(
            &acme,
            vec![
                touch(&kit, "one", &["ann"])?,
                huge,
                touch(&kit, "two", &["ann"])?,
                touch(&kit, "three", &["ann"])?,
            ],
        )
        .await?;
        worker.drain().await?;
        assert_eq!(names(&double), ["one", "two", "three"]);
        assert!(double.requests().len() > 2, "the batch was split");
        let letters = acme.cx.db().find::<dead_letter::Entity>().all().await?;
        assert_eq!(letters.len(), 1);
        assert!(
            letters[0].error.ends_with("bytes, more than 980000"),
            "{}",
            letters[0].error
        );
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_token_waits_and_says_so_and_another_tenant_is_not_held_up() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, other) = (kit.tenant("acme").await?, kit.tenant("other").await?);
        let (double, others) = (posthog(&kit).await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        connect(&kit, &other, &others).await?;
        let worker = worker(&kit)?;
        double.fail(Endpoint::Capture, always(401));
        track(&kit, &acme, &["one"]).await?;
        track(&kit, &other, &["theirs"]).await?;
        worker.drain().await?;
        assert_eq!(names(&others), ["theirs"]);
        let waits = connection(&acme).await?;
        assert!(
            waits
                .forward_error
                .as_deref()
                .is_some_and(|why| why.starts_with("PostHog answered 401")),
            "{waits:?}"
        );
        assert_eq!(waits.forward_at, Some(kit.now() + TimeDelta::minutes(5)));

        double.heal();
        worker.drain().await?;
        assert_eq!(names(&double), Vec::<String>::new());
        kit.advance(TimeDelta::minutes(5));
        worker.drain().await?;
        assert_eq!(names(&double), ["one"]);
        assert_eq!(acme.cx.db().find::<dead_letter::Entity>().count().await?, 0);
        double.stop().await;
        others.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_host_that_refuses_everything_buries_nothing_and_is_asked_with_one_event_from_then_on()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        double.fail(Endpoint::Capture, always(400));
        double.fail(Endpoint::Flags, always(404));
        let told: Vec<String> = (0..25).map(|number| format!("event {number}")).collect();
        let refs: Vec<&str> = told.iter().map(String::as_str).collect();
        track(&kit, &acme, &refs).await?;
        worker.drain().await?;
        for _ in 0..2 {
            let waits = connection(&acme).await?;
            assert!(
                waits
                    .forward_error
                    .as_deref()
                    .is_some_and(|why| why.starts_with("PostHog refuses every event: ")),
                "{waits:?}"
            );
            assert_eq!(waits.forward_at, Some(kit.now() + TimeDelta::minutes(5)));
            assert_eq!(acme.cx.db().find::<dead_letter::Entity>().count().await?, 0);
            kit.advance(TimeDelta::minutes(5));
            let before = double.requests().len();
            worker.drain().await?;
            let again: Vec<_> = double.requests()[before..]
                .iter()
                .map(|request| (request.endpoint, request.events.len()))
                .collect();
            assert_eq!(
                again,
                [(Some(Endpoint::Capture), 1), (Some(Endpoint::Flags), 0)]
            );
        }

        double.heal();
        kit.advance(TimeDelta::minutes(5));
        worker.drain().await?;
        assert_eq!(names(&double), told);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_whole_page_of_bad_events_is_buried_and_holds_up_no_other() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        track(&kit, &acme, &["first"]).await?;
        worker.drain().await?;
        double.poison("bad");
        let contact = contact::find_by(&acme.cx.db(), Kind::DistinctId, "ann").await?;
        let contact = contact
            .ok_or_else(|| anyhow::anyhow!("ann is not there"))?
            .id;
        let bad = NewEvent::of_room("test", "bad", contact, kit.now());
        acme.cx
            .write(async |tx| tx.emit_all(vec![bad.clone(); 501]).await)
            .await?;
        track(&kit, &acme, &["good"]).await?;
        worker.drain().await?;
        assert_eq!(names(&double), ["first", "good"]);
        assert_eq!(
            acme.cx.db().find::<dead_letter::Entity>().count().await?,
            501
        );
        let asked = double
            .requests()
            .iter()
            .filter(|request| request.endpoint == Some(Endpoint::Flags))
            .count();
        assert_eq!(asked, 2, "whether the host is right is asked once a page");
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_host_without_flags_is_believed_once_it_takes_an_event() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        double.fail(Endpoint::Flags, always(404));
        double.poison("bad");
        let mut told = vec!["bad"; 25];
        told.extend(["good", "bad", "better"]);
        track(&kit, &acme, &told).await?;
        worker.drain().await?;
        assert_eq!(names(&double), ["good", "better"]);
        assert_eq!(
            acme.cx.db().find::<dead_letter::Entity>().count().await?,
            26
        );
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_client_calls_a_merge_is_an_event_and_joins_nobody_there() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        track(&kit, &acme, &["seen"]).await?;
        let forged = json!({"survivorDistinctId": "mallory", "absorbedDistinctId": "ann"});
        let query = "mutation($input: TrackInput!) { track(input: $input) { userErrors { message } } }";
        for properties in [forged.clone(), json!({})] {
            let input = json!({"event": "contact.merged", "anonymousId": "mallory", "properties": properties});
            let done = kit.gql(&acme.publishable_key, query, json!({"input": input})).await;
            assert_eq!(done["data"]["track"]["userErrors"], json!([]), "{done}");
        }
        let mut captured = touch(&kit, "contact.merged", &["mallory"])?;
        captured.properties = forged.as_object().cloned().unwrap();
        ingest(&acme, vec![captured]).await?;
        // An address is no id of PostHog's, so whom the caller's context names is not looked at.
        let query = "mutation($input: IdentifyInput!) { identify(input: $input) { userErrors { message } } }";
        let input = json!({"email": "mallory@example.com", "context": {"ids": ["ann", "mallory"]}});
        let done = kit.gql(&acme.publishable_key, query, json!({"input": input})).await;
        assert_eq!(done["data"]["identify"]["userErrors"], json!([]), "{done}");
        worker.drain().await?;
        assert_eq!(
            names(&double),
            ["seen", "contact.merged", "contact.merged", "contact.merged", "$identify"]
        );
        let merged: Vec<_> = double
            .events()
            .iter()
            .filter(|event| event.event == "contact.merged")
            .map(|event| {
                let said = event.properties.get("absorbedDistinctId").cloned();
                (event.distinct_id.clone(), said)
            })
            .collect();
        let by_mallory = |said| ("mallory".to_owned(), said);
        assert_eq!(
            merged,
            [by_mallory(Some(json!("ann"))), by_mallory(None), by_mallory(Some(json!("ann")))]
        );
        let persons = double.persons();
        assert!(
            persons.iter().all(|person| person.distinct_ids.len() == 1),
            "{persons:?}"
        );
        assert_eq!(acme.cx.db().find::<dead_letter::Entity>().count().await?, 0);
        double.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_largest_event_that_is_taken_in_is_sent_on_and_one_byte_more_is_refused()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        let server = kit.serve().await?;
        // As wide as an id and a name can be: JSON writes the character with six.
        let wide = "\u{1}".repeat(200);
        let captured = |bytes: usize| {
            let event = |text: &str| json!({"event": wide, "distinct_id": wide, "properties": {"distinct_id": "a", "text": text}});
            let frame = event("").to_string().len();
            event(&"x".repeat(bytes - frame))
        };
        let send = async |event: Value| {
            let body = json!({"api_key": acme.publishable_key, "batch": [event]});
            let client = reqwest::Client::builder().user_agent("x".repeat(1_000)).build()?;
            anyhow::Ok(client.post(server.url("/i/v0/e/")).json(&body).send().await?.status().as_u16())
        };
        assert_eq!(send(captured(EVENT_BYTES_MAX)).await?, 200);
        assert_eq!(send(captured(EVENT_BYTES_MAX + 1)).await?, 400);

        let query = "mutation($input: TrackInput!) { track(input: $input) { userErrors { field message } } }";
        let tracked = async |bytes: usize| {
            let properties = json!({"text": "x".repeat(bytes - json!({"text": ""}).to_string().len())});
            let input = json!({"event": "tracked", "userId": wide, "properties": properties, "context": {"ip": "203.0.113.9"}});
            let mut done = kit.gql(&acme.secret_key, query, json!({"input": input})).await;
            done["data"]["track"]["userErrors"].take()
        };
        assert_eq!(tracked(EVENT_BYTES_MAX).await, json!([]));
        assert_eq!(
            tracked(EVENT_BYTES_MAX + 1).await,
            json!([{"field": "properties", "message": "properties is larger than 921600 bytes"}])
        );
        // Traits travel as one event as well, however many may change at once.
        let query = "mutation($input: ContactUpsertInput!) { contactUpsert(input: $input) { userErrors { field message } } }";
        let upserted = async |count: usize| {
            let traits: Map<String, Value> = (0..count)
                .map(|number| (format!("trait {number}"), "x".repeat(16_000).into()))
                .collect();
            let input = json!({"externalId": "ann", "traits": traits});
            let mut done = kit.gql(&acme.secret_key, query, json!({"input": input})).await;
            done["data"]["contactUpsert"]["userErrors"].take()
        };
        assert_eq!(upserted(57).await, json!([]));
        assert_eq!(
            upserted(58).await,
            json!([{"field": "traits", "message": "traits is larger than 921600 bytes"}])
        );

        worker.drain().await?;
        assert_eq!(names(&double), [wide.as_str(), "tracked", "$set"]);
        assert_eq!(acme.cx.db().find::<dead_letter::Entity>().count().await?, 0);
        double.stop().await;
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn more_than_a_page_arrives_whole_and_in_order() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, double) = (kit.tenant("acme").await?, posthog(&kit).await?);
        connect(&kit, &acme, &double).await?;
        let worker = worker(&kit)?;
        let at = kit.now();
        let told: Vec<String> = (0..1_200).map(|number| format!("event {number}")).collect();
        track(&kit, &acme, &["first"]).await?;
        let contact = contact::find_by(&acme.cx.db(), Kind::DistinctId, "ann").await?;
        let contact = contact
            .ok_or_else(|| anyhow::anyhow!("ann is not there"))?
            .id;
        let events: Vec<NewEvent> = told
            .iter()
            .map(|name| NewEvent::of_room("test", name, contact, at))
            .collect();
        acme.cx
            .write(async |tx| tx.emit_all(events.clone()).await)
            .await?;
        worker.drain().await?;
        assert_eq!(names(&double)[1..], told);
        assert!(
            double
                .requests()
                .iter()
                .all(|request| request.events.len() <= 500)
        );
        double.stop().await;
        Ok(())
    })
    .await
}
