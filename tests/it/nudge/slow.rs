//! A subscriber that reads nothing: what waits for it is bounded, over both transports, and nobody else waits for it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use api::base::NewEvent;
use entity::{ContactId, nudge_delivery};
use futures_util::{SinkExt as _, StreamExt as _};
use sea_orm::IntoActiveModel as _;
use serde_json::{Value, json};
use tests::{Kit, Server, Tenant, on_each_database};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use super::kit::{Ear, deliveries, published, track};

const OFFERS: usize = 10_000;

/// Offers that are made in one transaction.
const AT_ONCE: usize = 500;

/// Offers that wait in the hub, and then a few in each step on the way to the socket.
const WAITING: usize = 64 + 32;

const NUDGES: &str = "subscription { nudges { __typename
    ... on NudgeDelivered { delivery { id content { body } } }
    ... on StreamLagged { cursor missed } } }";

/// Longer than anything waits here, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Subscribes over WebSocket. What the server says is read when it is asked for.
async fn socket(server: &Server, token: &str) -> anyhow::Result<Socket> {
    let mut request = server.ws_url().into_client_request()?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = connect_async(request).await?;
    let init =
        json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}});
    socket.send(Message::text(init.to_string())).await?;
    let acknowledged = said(&mut socket).await?;
    ensure!(acknowledged["type"] == "connection_ack", "{acknowledged}");
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": NUDGES}});
    socket.send(Message::text(subscribe.to_string())).await?;
    Ok(socket)
}

/// The next message of the protocol that is not a ping.
async fn said(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        let heard = timeout(PATIENCE, socket.next()).await?;
        let Message::Text(text) = heard.context("the socket ended")?? else {
            continue;
        };
        let said: Value = serde_json::from_str(&text)?;
        if said["type"] != "ping" {
            return Ok(said);
        }
    }
}

/// The items of a WebSocket until its subscription is complete.
async fn of_socket(mut socket: Socket) -> anyhow::Result<Vec<Value>> {
    let mut items = vec![];
    loop {
        let mut said = said(&mut socket).await?;
        if said["type"] == "complete" {
            return Ok(items);
        }
        items.push(said["payload"]["data"]["nudges"].take());
    }
}

/// The items of an event stream until it ends.
async fn of_events(mut events: reqwest::Response) -> anyhow::Result<Vec<Value>> {
    let mut text = vec![];
    while let Some(part) = timeout(PATIENCE, events.chunk()).await?? {
        text.extend_from_slice(&part);
    }
    let text = String::from_utf8(text)?;
    let items = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    items
        .map(|item| {
            let mut item: Value = serde_json::from_str(&format!("{{{item}"))?;
            Ok(item["data"]["nudges"].take())
        })
        .collect()
}

/// Makes `count` more offers like `first` to `contact`, and tells of them as the room does.
async fn offer(
    kit: &Kit,
    acme: &Tenant,
    contact: ContactId,
    first: &nudge_delivery::Model,
    count: usize,
) -> anyhow::Result<()> {
    for _ in 0..count.div_ceil(AT_ONCE) {
        let offers: Vec<_> = (0..AT_ONCE.min(count))
            .map(|_| nudge_delivery::Model {
                id: kit.app.env.ids.next(kit.now()),
                event_id: kit.app.env.ids.next(kit.now()),
                contact_id: contact,
                ..first.clone()
            })
            .collect();
        let offers = &offers;
        acme.cx
            .write(async |tx| {
                let rows = offers.iter().map(|row| row.clone().into_active_model());
                tx.insert_all(rows.collect(), None).await?;
                let events = offers.iter().map(|row| {
                    NewEvent::of_room("nudge", "nudge.offered", contact, tx.now())
                        .once(&format!("nudge.offered/{}", row.id))
                });
                tx.emit_all(events.collect()).await
            })
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_waits_for_one_who_reads_nothing_is_bounded_and_others_get_theirs()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        // long, so that the kernel's buffers do not take all of it
        published(
            &kit,
            &acme,
            "tour",
            json!({"content": {"title": "Long", "body": "x".repeat(2_000)}}),
        )
        .await?;
        let other = track(&kit, &acme, "other", "signup", json!({})).await?;
        let slow = track(&kit, &acme, "slow", "login", json!({})).await?;
        Ear::of(&kit, &acme).listen().await?;
        let first = deliveries(&acme).await?.remove(0);
        let server = kit.serve().await?;

        let token = kit.contact_token(&acme, slow).await?;
        let unread_socket = socket(&server, &token).await?;
        let unread_events = reqwest::Client::new()
            .post(server.url("/graphql"))
            .header("accept", "text/event-stream")
            .bearer_auth(&token)
            .json(&json!({"query": NUDGES}))
            .send()
            .await?;
        let mut quick = socket(&server, &kit.contact_token(&acme, other).await?).await?;
        assert_eq!(
            said(&mut quick).await?["payload"]["data"]["nudges"]["delivery"]["id"],
            first.id.to_string()
        );
        timeout(PATIENCE, async {
            while kit.app.streams.len() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await?;

        offer(&kit, &acme, slow, &first, OFFERS).await?;
        for _ in 0..20 {
            offer(&kit, &acme, other, &first, 1).await?;
            let told = said(&mut quick).await?;
            assert_eq!(
                told["payload"]["data"]["nudges"]["__typename"], "NudgeDelivered",
                "{told}"
            );
        }

        let read = [
            ("WebSocket", of_socket(unread_socket).await?),
            ("SSE", of_events(unread_events).await?),
        ];
        for (transport, mut items) in read {
            let last = items.pop().context("nothing was told")?;
            assert_eq!(last["__typename"], "StreamLagged", "{transport}: {last}");
            assert!(
                items
                    .iter()
                    .all(|item| item["__typename"] == "NudgeDelivered"),
                "{transport}"
            );
            // counted when the stream ended: at least so many
            let missed = last["missed"].as_u64().context("no count")?;
            assert!(
                (1..=(OFFERS - items.len()) as u64).contains(&missed),
                "{transport}: {missed} of {OFFERS} missed"
            );
            // what was told before the first was missed
            assert!(
                items.len() <= WAITING,
                "{transport}: {} were kept",
                items.len()
            );
        }
        server.stop().await
    })
    .await
}
