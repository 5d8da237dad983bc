//! The stream of a contact's nudges.

use std::{collections::HashSet, pin::Pin, time::Duration};

use anyhow::Context as _;
use async_graphql::{Request, Variables};
use chrono::TimeDelta;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tests::{Kit, on_each_database};
use tokio::time::timeout;

use super::kit::{Ear, archive, deliveries, identify, published, rows, track};

const NUDGES: &str = "subscription ($after: String, $surface: String) { nudges(after: $after, surface: $surface) {
    __typename
    ... on NudgeDelivered { cursor delivery { id content { title action { url } } surface state nudge { key } } }
    ... on NudgeWithdrawn { cursor deliveryId reason }
    ... on StreamLagged { cursor missed } } }";

/// Long enough for a busy machine; nothing waits for it where all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough to see that nothing comes: the tail looks at least once in it.
const QUIET: Duration = Duration::from_millis(1_200);

struct Listening(Pin<Box<dyn Stream<Item = async_graphql::Response> + Send>>);

impl Listening {
    async fn new(kit: &Kit, token: &str, variables: Value) -> anyhow::Result<Self> {
        let caller = kit.app.principals.by_token(token).await?;
        let request = Request::new(NUDGES).variables(Variables::from_json(variables));
        Ok(Self(Box::pin(kit.subscribe(caller, request))))
    }
    /// The next item; null when the stream has ended.
    async fn next(&mut self) -> anyhow::Result<Value> {
        let next = timeout(PATIENCE, self.0.next())
            .await
            .context("nothing came")?;
        let Some(response) = next else {
            return Ok(Value::Null);
        };
        let mut response = serde_json::to_value(response)?;
        anyhow::ensure!(response.get("errors").is_none(), "{response}");
        Ok(response["data"]["nudges"].take())
    }
    async fn delivery(&mut self) -> anyhow::Result<String> {
        let item = self.next().await?;
        let id = item["delivery"]["id"].as_str();
        Ok(id
            .with_context(|| format!("not a delivery: {item}"))?
            .to_owned())
    }
    async fn is_quiet(&mut self) -> bool {
        timeout(QUIET, self.0.next()).await.is_err()
    }
}

async fn ids(tenant: &tests::Tenant) -> anyhow::Result<Vec<String>> {
    Ok(deliveries(tenant)
        .await?
        .into_iter()
        .map(|row| row.id.to_string())
        .collect())
}

/// Waits until that many subscribers sit in the hub.
async fn seated(kit: &Kit, count: usize) -> anyhow::Result<()> {
    timeout(PATIENCE, async {
        while kit.app.streams.len() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .with_context(|| format!("{} sit there", kit.app.streams.len()))
}

#[tokio::test]
async fn a_stream_begins_with_the_open_offers_and_goes_on_live() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({})).await?;
        published(&kit, &acme, "old", json!({"trigger": {"event": "old"}})).await?;
        published(&kit, &acme, "brief", json!({"trigger": {"event": "brief"}, "expiresAfter": "PT1H", "surface": "side"})).await?;
        let mut ear = Ear::of(&kit, &acme);
        let contact = track(&kit, &acme, "u1", "old", json!({})).await?;
        ear.listen().await?;
        kit.advance(TimeDelta::days(30) + TimeDelta::seconds(1));
        track(&kit, &acme, "u1", "brief", json!({})).await?;
        ear.listen().await?;
        kit.advance(TimeDelta::hours(2));
        track(&kit, &acme, "u1", "signup", json!({})).await?;
        track(&kit, &acme, "u2", "signup", json!({})).await?;
        track(&kit, &acme, "u1", "brief", json!({})).await?;
        ear.listen().await?;

        let token = kit.contact_token(&acme, contact).await?;
        let mut all = Listening::new(&kit, &token, json!({})).await?;
        let mut side = Listening::new(&kit, &token, json!({"surface": "side"})).await?;
        let first = all.next().await?;
        assert_eq!(first["__typename"], "NudgeDelivered");
        let mut delivery = first["delivery"].clone();
        let delivery_id = delivery["id"].take();
        assert_eq!(
            delivery,
            json!({"id": null, "content": {"title": "Welcome", "action": {"url": "/tour"}}, "surface": "app", "state": "OFFERED", "nudge": {"key": "tour"}})
        );
        assert_eq!(all.next().await?["delivery"]["nudge"]["key"], "brief");
        assert_eq!(side.next().await?["delivery"]["nudge"]["key"], "brief");

        track(&kit, &acme, "u2", "brief", json!({})).await?;
        ear.listen().await?;
        kit.advance(TimeDelta::seconds(1));
        track(&kit, &acme, "u1", "brief", json!({})).await?;
        ear.listen().await?;
        let live = all.delivery().await?;
        assert_eq!(side.delivery().await?, live);
        assert_eq!(ids(&acme).await?.last(), Some(&live));

        archive(&kit, &acme, &id).await;
        ear.listen().await?;
        let withdrawn = all.next().await?;
        assert_eq!(withdrawn["__typename"], "NudgeWithdrawn");
        assert_eq!(withdrawn["deliveryId"], delivery_id);
        assert_eq!(withdrawn["reason"], "archived");
        assert!(side.is_quiet().await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_field_of_a_subscription_may_stand_in_fragments() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let delivered = json!({"__typename": "NudgeDelivered", "delivery": {"surface": "app"}});
        for document in [
            "subscription { ...F } fragment F on Subscription { nudges { __typename ... on NudgeDelivered { delivery { surface } } } }",
            "subscription { ... on Subscription { ... { nudges { ...I } } } } fragment I on NudgeStreamItem { __typename ... on NudgeDelivered { delivery { surface } } }",
            "subscription { nudges { __typename } ...F ...F } fragment F on Subscription { ...G } fragment G on Subscription { nudges { ... on NudgeDelivered { delivery { surface } } } }",
            "subscription ($s: String!) { nudges(surface: $s) { __typename } nudges(surface: $s) { ... on NudgeDelivered { delivery { surface } } } }",
        ] {
            let caller = kit.app.principals.by_token(&token).await?;
            let variables = if document.contains("$s") { json!({"s": "app"}) } else { json!({}) };
            let request = Request::new(document).variables(Variables::from_json(variables));
            let items = kit.subscribe(caller, request);
            let mut stream = Listening(Box::pin(items));
            assert_eq!(stream.next().await?, delivered, "{document}");
            assert!(stream.is_quiet().await, "{document}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_nothing_twice() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        let id = published(&kit, &acme, "tour", json!({})).await?;
        let gone = published(&kit, &acme, "gone", json!({"trigger": {"event": "gone"}})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        let token = kit.contact_token(&acme, contact).await?;
        let mut ear = Ear::of(&kit, &acme);
        ear.listen().await?;
        let mut stream = Listening::new(&kit, &token, json!({})).await?;
        let first = stream.next().await?;
        drop(stream);
        seated(&kit, 0).await?;

        // missed: one that is withdrawn meanwhile, and two that stand
        for event in ["gone", "signup", "signup"] {
            track(&kit, &acme, "u1", event, json!({})).await?;
        }
        ear.listen().await?;
        archive(&kit, &acme, &gone).await;
        ear.listen().await?;
        let made = deliveries(&acme).await?;
        let of = |nudge: &str| {
            made.iter()
                .filter(|row| row.nudge_id.to_string() == nudge)
                .map(|row| row.id.to_string())
                .collect::<Vec<_>>()
        };

        let mut stream = Listening::new(&kit, &token, json!({"after": first["cursor"]})).await?;
        let second = stream.next().await?;
        let third = stream.next().await?;
        let mut got = vec![
            first["delivery"]["id"].clone(),
            second["delivery"]["id"].clone(),
            third["delivery"]["id"].clone(),
        ];
        got.sort_by_key(ToString::to_string);
        let mut expected = of(&id);
        expected.sort();
        assert_eq!(got, expected);
        let withdrawn = stream.next().await?;
        assert_eq!(withdrawn["deliveryId"], of(&gone)[0]);
        assert!(stream.is_quiet().await);

        let mut again = Listening::new(&kit, &token, json!({"after": second["cursor"]})).await?;
        assert_eq!(again.next().await?, third);
        assert_eq!(again.next().await?, withdrawn);
        assert!(again.is_quiet().await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn over_many_random_disconnects_nothing_is_lost_and_nothing_comes_twice() -> anyhow::Result<()>
{
    const OFFERS: usize = 300;
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "login", json!({})).await?;
        let token = kit.contact_token(&acme, contact).await?;
        let offering = async {
            let mut ear = Ear::of(&kit, &acme);
            for _ in 0..OFFERS {
                track(&kit, &acme, "u1", "signup", json!({})).await?;
                ear.listen().await?;
            }
            anyhow::Ok(())
        };
        let listening = async {
            let (mut got, mut after, mut disconnects) = (vec![], Value::Null, 0);
            // A small generator, so that a failure can be repeated (Knuth, MMIX).
            let mut random: u64 = 1;
            while got.len() < OFFERS {
                let mut stream = Listening::new(&kit, &token, json!({ "after": after })).await?;
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // Between nothing and a few items; some drop the stream while it reads the log, some while it waits.
                for _ in 0..(random >> 33) % 6 {
                    if got.len() == OFFERS {
                        break;
                    }
                    let item = stream.next().await?;
                    anyhow::ensure!(item["__typename"] == "NudgeDelivered", "{item}");
                    after = item["cursor"].clone();
                    got.push(
                        item["delivery"]["id"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                    );
                }
                let patience = Duration::from_micros((random >> 40) % 3_000);
                if let Ok(Some(last)) = timeout(patience, stream.0.next()).await {
                    // it was given, so the cursor moves on
                    let item = serde_json::to_value(last)?["data"]["nudges"].take();
                    after = item["cursor"].clone();
                    got.push(
                        item["delivery"]["id"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                    );
                }
                disconnects += 1;
            }
            anyhow::Ok((got, disconnects))
        };
        let (offered, listened) = futures_util::future::join(offering, listening).await;
        offered?;
        let (got, disconnects) = listened?;
        assert!(disconnects > 50, "{disconnects}");
        assert_eq!(got.len(), OFFERS);
        let once: HashSet<_> = got.iter().collect();
        assert_eq!(once.len(), OFFERS, "one came twice");
        assert_eq!(once, ids(&acme).await?.iter().collect());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_and_loses_nothing() -> anyhow::Result<()> {
    const OFFERS: usize = 150;
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let mut ear = Ear::of(&kit, &acme);
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        ear.listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let mut slow = Listening::new(&kit, &token, json!({})).await?;
        let mut quick = Listening::new(&kit, &token, json!({})).await?;
        let mut got = vec![slow.delivery().await?];
        quick.delivery().await?;
        for _ in 1..OFFERS {
            track(&kit, &acme, "u1", "signup", json!({})).await?;
            ear.listen().await?;
            quick.delivery().await?;
        }
        let lagged = loop {
            let item = slow.next().await?;
            match item["delivery"]["id"].as_str() {
                Some(id) => got.push(id.to_owned()),
                None => break item,
            }
        };
        assert_eq!(lagged["__typename"], "StreamLagged");
        assert_eq!(got.len(), 1 + 64);
        assert_eq!(lagged["missed"], OFFERS - 65);
        assert_eq!(slow.next().await?, Value::Null, "the stream has ended");
        drop(slow);
        let mut back = Listening::new(&kit, &token, json!({"after": lagged["cursor"]})).await?;
        while got.len() < OFFERS {
            got.push(back.delivery().await?);
        }
        assert_eq!(
            got.iter().collect::<HashSet<_>>(),
            ids(&acme).await?.iter().collect()
        );
        assert!(back.is_quiet().await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stream_follows_its_contact_through_a_merge() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let mut ear = Ear::of(&kit, &acme);
        let mut streams = vec![];
        for user in ["known", "anon-visitor", "stranger"] {
            let contact = track(&kit, &acme, user, "login", json!({})).await?;
            let token = kit.contact_token(&acme, contact).await?;
            streams.push((
                token.clone(),
                Listening::new(&kit, &token, json!({})).await?,
            ));
        }
        // each has its first offer, so each is seated
        for (user, at) in [("known", 0), ("anon-visitor", 1), ("stranger", 2)] {
            track(&kit, &acme, user, "signup", json!({})).await?;
            ear.listen().await?;
            streams[at].1.delivery().await?;
        }
        track(&kit, &acme, "anon-visitor", "signup", json!({})).await?;
        identify(&kit, &acme, "known", "anon-visitor").await?;
        track(&kit, &acme, "known", "signup", json!({})).await?;
        ear.listen().await?;
        let made = ids(&acme).await?;
        let merged: HashSet<_> = made[3..].iter().cloned().collect();
        assert_eq!(merged.len(), 2);
        let mut cursors = vec![];
        for at in [0, 1] {
            let (one, two) = (streams[at].1.next().await?, streams[at].1.next().await?);
            let got = [&one, &two].map(|item| {
                item["delivery"]["id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            });
            assert_eq!(HashSet::from(got), merged);
            cursors.push(one["cursor"].clone());
        }
        assert!(streams[2].1.is_quiet().await);
        // either cursor, with either token, goes on behind its item
        for (token, cursor) in [(&streams[0].0, &cursors[1]), (&streams[1].0, &cursors[0])] {
            let mut stream = Listening::new(&kit, token, json!({"after": cursor})).await?;
            stream.delivery().await?;
            assert!(stream.is_quiet().await);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cursor_of_another_tenant_or_an_altered_one_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let mut cursors = vec![];
        let mut tokens = vec![];
        for name in ["acme", "bolt"] {
            let tenant = kit.tenant(name).await?;
            published(&kit, &tenant, "tour", json!({})).await?;
            let contact = track(&kit, &tenant, "u1", "signup", json!({})).await?;
            Ear::of(&kit, &tenant).listen().await?;
            tokens.push(kit.contact_token(&tenant, contact).await?);
            let mut stream = Listening::new(&kit, &tokens[tokens.len() - 1], json!({})).await?;
            cursors.push(stream.next().await?["cursor"].as_str().unwrap().to_owned());
        }
        let mut altered = cursors[0].clone().into_bytes();
        *altered.last_mut().unwrap() ^= 1;
        let altered = String::from_utf8(altered)?;
        for cursor in ["", "x", "AAAA", &cursors[1], &altered] {
            let refused = Listening::new(&kit, &tokens[0], json!({"after": cursor}))
                .await?
                .next()
                .await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("BAD_CURSOR"), "{cursor}: {refused}");
        }
        let secret = kit.tenant("crab").await?.secret_key;
        let refused = Listening::new(&kit, &secret, json!({}))
            .await?
            .next()
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("FORBIDDEN"), "{refused}");
        let refused = Listening::new(&kit, &tokens[0], json!({"surface": "a b"}))
            .await?
            .next()
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("BAD_USER_INPUT"), "{refused}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn another_tenants_offers_and_forged_events_reach_nobody() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        published(&kit, &bolt, "tour", json!({})).await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "login", json!({})).await?;
        let token = kit.contact_token(&acme, contact).await?;
        let mut stream = Listening::new(&kit, &token, json!({})).await?;
        track(&kit, &acme, "u2", "signup", json!({})).await?;
        track(&kit, &bolt, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &bolt).listen().await?;
        Ear::of(&kit, &acme).listen().await?;
        let anothers = ids(&acme).await?[0].clone();
        let query = "mutation ($input: TrackInput!) { track(input: $input) { accepted } }";
        let forged = json!({"event": "nudge.offered", "userId": "u1", "messageId": format!("nudge.offered/{anothers}"), "properties": {"deliveryId": anothers}});
        kit.gql(&acme.publishable_key, query, json!({"input": forged})).await;
        let forged = json!({"event": "nudge.withdrawn", "userId": "u1", "messageId": format!("nudge.withdrawn/{anothers}")});
        kit.gql(&acme.publishable_key, query, json!({"input": forged})).await;
        assert!(stream.is_quiet().await);
        drop(stream);
        assert!(Listening::new(&kit, &token, json!({})).await?.is_quiet().await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn those_who_wait_cost_no_statement_each() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        let statements = || kit.app.env.db.statements();
        // nobody listens: the tail rests
        let before = statements();
        tokio::time::sleep(QUIET).await;
        assert_eq!(statements(), before);

        let mut streams = vec![];
        for at in 0..100 {
            let contact = track(&kit, &acme, &format!("u{at}"), "login", json!({})).await?;
            let token = kit.contact_token(&acme, contact).await?;
            streams.push(Listening::new(&kit, &token, json!({})).await?);
        }
        let told =
            futures_util::future::select_all(streams.iter_mut().map(|stream| stream.0.next()));
        let quiet = async {
            seated(&kit, 100).await?;
            // Soon, however busy the machine, the readers of the log have ended, and the tail's reads have become rare. If each
            // who waits cost a statement, that would never be.
            loop {
                let before = statements();
                tokio::time::sleep(QUIET / 3).await;
                if statements() - before <= 8 {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::select! {
            (item, ..) = told => anyhow::bail!("{item:?} came of itself"),
            quiet = timeout(PATIENCE, quiet) => quiet.context("100 who wait cost statements")??,
        }
        drop(streams);
        seated(&kit, 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stop_ends_every_stream() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        kit.app.feed_streams();
        let acme = kit.tenant("acme").await?;
        published(&kit, &acme, "tour", json!({})).await?;
        let contact = track(&kit, &acme, "u1", "signup", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let token = kit.contact_token(&acme, contact).await?;
        let mut stream = Listening::new(&kit, &token, json!({})).await?;
        stream.delivery().await?;
        kit.app.stopping.cancel();
        assert_eq!(stream.next().await?, Value::Null);
        kit.app.tasks.close();
        timeout(PATIENCE, kit.app.tasks.wait()).await?;
        // who comes now is sent away
        let mut late = Listening::new(&kit, &token, json!({})).await?;
        assert_eq!(late.next().await?, Value::Null);
        assert_eq!(
            rows::<entity::nudge_delivery::Entity>(&acme).await?.len(),
            1
        );
        Ok(())
    })
    .await
}
