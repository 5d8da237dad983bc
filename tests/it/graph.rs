//! Who is who, whatever the order in which the touches arrive.

use std::collections::BTreeSet;

use api::{
    base::Cx,
    contact::{self, Claim, Incoming, Link, TraitChanges},
};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    contact::Status,
    contact_alias, contact_evidence,
    contact_identifier::{self, Kind, Verification},
    event,
};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::{Map, Value, json};
use tests::{on_each_database, start};

fn at(seconds: i64) -> DateTime<Utc> {
    start() - TimeDelta::days(1) + TimeDelta::seconds(seconds)
}

fn claim(kind: Kind, text: &str, verification: Verification) -> Claim {
    Claim::new(kind, text, verification, "id").unwrap()
}

fn touch(message: &str, seconds: i64, claims: Vec<Claim>) -> Incoming {
    let verification = claims
        .iter()
        .map(|claim| claim.verification)
        .max()
        .unwrap_or(Verification::Claimed);
    Incoming {
        name: "seen".to_owned(),
        claims,
        contact_id: None,
        link: Link::SameEvent,
        traits: TraitChanges::default(),
        touch: None,
        properties: Map::new(),
        context: Map::new(),
        source: "test",
        verification,
        message_id: Some(message.to_owned()),
        occurred_at: at(seconds),
        makes_contact: true,
    }
}

fn set(mut touch: Incoming, traits: Value) -> Incoming {
    let Value::Object(traits) = traits else {
        panic!("traits are an object");
    };
    touch.traits.set = traits;
    touch
}

/// A visitor on two browsers who signs up, in five touches.
fn story() -> Vec<Incoming> {
    use Verification::{AssertedByBackend as Backend, Claimed};
    let first = set(
        touch("1", 1, vec![claim(Kind::AnonymousId, "browser-1", Claimed)]),
        json!({"plan": "none", "seen": 1}),
    );
    let first = Incoming {
        touch: Some(json!({"source": "ads"})),
        ..first
    };
    let second = touch("2", 2, vec![claim(Kind::DistinctId, "user-1", Claimed)]);
    let third = Incoming {
        link: Link::Identify,
        ..set(
            touch(
                "3",
                3,
                vec![
                    claim(Kind::ExternalId, "user-1", Backend),
                    claim(Kind::AnonymousId, "browser-1", Backend),
                    claim(Kind::Email, "Ann@Example.com", Backend),
                ],
            ),
            json!({"plan": "free"}),
        )
    };
    let fourth = Incoming {
        touch: Some(json!({"source": "mail"})),
        ..touch("4", 4, vec![claim(Kind::AnonymousId, "browser-2", Claimed)])
    };
    let fifth = Incoming {
        link: Link::Alias,
        ..set(
            touch(
                "5",
                5,
                vec![
                    claim(Kind::DistinctId, "user-1", Backend),
                    claim(Kind::DistinctId, "browser-2", Backend),
                ],
            ),
            json!({"plan": "pro"}),
        )
    };
    vec![first, second, third, fourth, fifth]
}

fn permutations(of: &[Incoming]) -> Vec<Vec<Incoming>> {
    if of.len() <= 1 {
        return vec![of.to_vec()];
    }
    (0..of.len())
        .flat_map(|at| {
            let mut rest = of.to_vec();
            let head = rest.remove(at);
            permutations(&rest).into_iter().map(move |mut tail| {
                tail.insert(0, head.clone());
                tail
            })
        })
        .collect()
}

async fn arrive(cx: &Cx, touches: &[Incoming], together: bool) -> anyhow::Result<()> {
    let size = if together { touches.len() } else { 1 };
    for part in touches.chunks(size) {
        cx.write(async |tx| contact::ingest(tx, part).await).await?;
    }
    Ok(())
}

/// What is known of the one contact, but for its ids of ours.
async fn picture(cx: &Cx) -> anyhow::Result<Value> {
    let db = cx.db();
    let root = contact::find_by(&db, Kind::ExternalId, "user-1")
        .await?
        .unwrap();
    let family = contact::family(&db, root.id).await?;
    let identifiers: BTreeSet<String> = db
        .find::<contact_identifier::Entity>()
        .all()
        .await?
        .iter()
        .map(|row| {
            assert_eq!(row.contact_id, root.id, "every id is the root's");
            format!("{:?} {} {:?}", row.kind, row.value, row.verification)
        })
        .collect();
    let events: BTreeSet<String> = db
        .find::<event::Entity>()
        .filter(event::Column::ContactId.is_in(family.clone()))
        .filter(event::Column::Name.eq("seen"))
        .all()
        .await?
        .into_iter()
        .filter_map(|row| row.message_id)
        .collect();
    let traits = contact::traits(&db, &[root.id]).await?.remove(&root.id);
    Ok(json!({
        "identifiers": identifiers,
        "events": events,
        "traits": traits,
        "status": format!("{:?}", root.status),
        "first": root.first_touch,
        "last": root.last_touch,
        "seen": root.last_seen_at,
    }))
}

#[tokio::test]
async fn whatever_the_order_of_arrival_the_contact_is_the_same() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let expected = json!({
            "identifiers": [
                "AnonymousId browser-1 AssertedByBackend",
                "AnonymousId browser-2 Claimed",
                "DistinctId browser-2 AssertedByBackend",
                "DistinctId user-1 AssertedByBackend",
                "Email ann@example.com AssertedByBackend",
                "ExternalId user-1 AssertedByBackend",
            ],
            "events": ["1", "2", "3", "4", "5"],
            "traits": {"plan": "pro", "seen": 1, "email": "Ann@example.com"},
            "status": "Verified",
            "first": {"source": "ads"},
            "last": {"source": "mail"},
            "seen": at(5),
        });
        for (number, order) in permutations(&story()).into_iter().enumerate() {
            let tenant = kit.tenant(&format!("order {number}")).await?;
            arrive(&tenant.cx, &order, number % 3 == 0).await?;
            let told: Vec<_> = order.iter().map(|touch| touch.message_id.clone()).collect();
            let mut seen = picture(&tenant.cx).await?;
            // Sight is noted to the minute.
            seen["seen"] = expected["seen"].clone();
            assert_eq!(seen, expected, "{told:?}");
            // The same again changes nothing.
            arrive(&tenant.cx, &order, false).await?;
            let mut again = picture(&tenant.cx).await?;
            again["seen"] = expected["seen"].clone();
            assert_eq!(again, expected, "{told:?}, twice");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_said_at_one_instant_is_settled_the_same_way_each_time() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let said = ["a", "b", "c"].map(|word| {
            let mut touch = set(
                touch(
                    word,
                    1,
                    vec![claim(
                        Kind::ExternalId,
                        "user-1",
                        Verification::AssertedByBackend,
                    )],
                ),
                json!({"plan": word}),
            );
            touch.traits.set_once = Map::from_iter([("source".to_owned(), word.into())]);
            touch.touch = Some(json!({"source": word}));
            touch
        });
        let mut pictures = BTreeSet::new();
        for (number, order) in permutations(&said).into_iter().enumerate() {
            for together in [true, false] {
                let tenant = kit.tenant(&format!("order {number} {together}")).await?;
                arrive(&tenant.cx, &order, together).await?;
                pictures.insert(picture(&tenant.cx).await?.to_string());
            }
        }
        assert_eq!(pictures.len(), 1, "{pictures:#?}");
        Ok(())
    })
    .await
}

/// A form on a page, without an id of the visitor, and the backend that learns whose address it is.
#[tokio::test]
async fn what_was_said_by_an_email_alone_belongs_to_whoever_has_it() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let form = set(
            touch(
                "form",
                1,
                vec![claim(Kind::Email, "ann@example.com", Verification::Claimed)],
            ),
            json!({"newsletter": true}),
        );
        let backend = touch(
            "backend",
            2,
            vec![
                claim(Kind::ExternalId, "user-1", Verification::AssertedByBackend),
                claim(
                    Kind::Email,
                    "ann@example.com",
                    Verification::AssertedByBackend,
                ),
            ],
        );
        for (number, order) in permutations(&[form, backend]).into_iter().enumerate() {
            let tenant = kit.tenant(&format!("order {number}")).await?;
            arrive(&tenant.cx, &order, false).await?;
            let seen = picture(&tenant.cx).await?;
            assert_eq!(seen["events"], json!(["backend", "form"]), "{number}");
            assert_eq!(
                seen["traits"],
                json!({"newsletter": true, "email": "ann@example.com"}),
                "{number}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_personless_event_says_nothing_of_whom_nothing_was_said() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let tenant = kit.tenant("acme").await?;
        let id = claim(Kind::DistinctId, "user-1", Verification::Claimed);
        let known = vec![id, claim(Kind::ExternalId, "user-1", Verification::Claimed)];
        let said = |message: &str, seconds, value: i64, personless| {
            let mut touch = set(touch(message, seconds, known.clone()), json!({"a": value}));
            touch.traits.personless = personless;
            touch
        };
        let traits = async || Ok::<_, anyhow::Error>(picture(&tenant.cx).await?["traits"].take());
        arrive(&tenant.cx, &[said("1", 1, 1, true)], false).await?;
        assert_eq!(traits().await?, Value::Null);
        arrive(
            &tenant.cx,
            &[said("2", 2, 2, true), said("3", 3, 3, false)],
            true,
        )
        .await?;
        assert_eq!(traits().await?, json!({"a": 3}));
        arrive(&tenant.cx, &[said("4", 4, 4, true)], false).await?;
        assert_eq!(traits().await?, json!({"a": 4}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_absorbed_contact_leads_to_its_root_for_ever() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let tenant = kit.tenant("acme").await?;
        let cx = &tenant.cx;
        let [a, b, c] =
            ["a", "b", "c"].map(|id| claim(Kind::AnonymousId, id, Verification::Claimed));
        let mut ids = vec![];
        for (message, claim) in [("1", &a), ("2", &b), ("3", &c)] {
            kit.advance(TimeDelta::seconds(1));
            let one = [touch(message, 1, vec![claim.clone()])];
            let done = cx.write(async |tx| contact::ingest(tx, &one).await).await?;
            ids.push(done[0].contact_id.unwrap());
        }
        // c joins b, then b joins a: c's way must lead to a in one step.
        for (message, pair) in [("4", [&c, &b]), ("5", [&b, &a])] {
            let one = [touch(message, 2, pair.into_iter().cloned().collect())];
            cx.write(async |tx| contact::ingest(tx, &one).await).await?;
        }
        for id in &ids {
            let root = contact::root(&cx.db(), *id).await?.unwrap();
            assert_eq!(root.id, ids[0], "the oldest survives");
        }
        let aliases = cx.db().find::<contact_alias::Entity>().all().await?;
        assert_eq!(aliases.len(), 2);
        assert!(
            aliases
                .iter()
                .all(|alias| alias.contact_id == ids[0] && alias.event_id.is_some())
        );
        let merged = cx
            .db()
            .find::<event::Entity>()
            .filter(event::Column::Name.eq("contact.merged"))
            .all()
            .await?;
        assert_eq!(merged.len(), 2);
        assert!(merged.iter().all(|event| event.caused_by.is_some()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_people_on_one_browser_stay_two() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let tenant = kit.tenant("acme").await?;
        let cx = &tenant.cx;
        let browser = claim(Kind::AnonymousId, "shared", Verification::Claimed);
        let mut owners = vec![];
        for (message, user) in [("1", "ann"), ("2", "bob"), ("3", "ann")] {
            let one = [touch(
                message,
                1,
                vec![
                    claim(Kind::ExternalId, user, Verification::Claimed),
                    browser.clone(),
                ],
            )];
            let done = cx.write(async |tx| contact::ingest(tx, &one).await).await?;
            owners.push(done[0].contact_id.unwrap());
        }
        assert_ne!(owners[0], owners[1]);
        assert_eq!(owners[0], owners[2]);
        let dormant = cx
            .db()
            .find::<contact_evidence::Entity>()
            .filter(contact_evidence::Column::DormantReason.eq("shared_device"))
            .count()
            .await?;
        assert_eq!(dormant, 1, "why they were not joined is written down");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_browsers_word_for_an_email_joins_nobody_and_the_backends_takes_it_away()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let tenant = kit.tenant("acme").await?;
        let cx = &tenant.cx;
        let one = |message: &str, kind, id: &str, verification| {
            [touch(
                message,
                1,
                vec![
                    claim(kind, id, verification),
                    claim(Kind::Email, "ann@example.com", verification),
                ],
            )]
        };
        let thief = one("1", Kind::AnonymousId, "thief", Verification::Claimed);
        let thief = cx
            .write(async |tx| contact::ingest(tx, &thief).await)
            .await?[0]
            .contact_id;
        let ann = one(
            "2",
            Kind::ExternalId,
            "ann",
            Verification::AssertedByBackend,
        );
        let ann = cx.write(async |tx| contact::ingest(tx, &ann).await).await?[0].contact_id;
        assert_ne!(thief, ann);
        let owner = contact::find_by(&cx.db(), Kind::Email, "ann@example.com")
            .await?
            .unwrap();
        assert_eq!(Some(owner.id), ann);
        assert_eq!(owner.status, Status::Verified);
        let other = one("3", Kind::AnonymousId, "other", Verification::Claimed);
        let other = cx
            .write(async |tx| contact::ingest(tx, &other).await)
            .await?[0]
            .contact_id;
        assert_ne!(other, ann);
        // Neither is known by the address any more, or yet: a browser is all there is of them.
        for visitor in [thief, other].into_iter().flatten() {
            let row = contact::root(&cx.db(), visitor).await?.unwrap();
            assert_eq!(row.status, Status::Anonymous);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_that_meet_on_one_person_make_one_contact() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let tenant = kit.tenant("acme").await?;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16 {
            let cx = tenant.cx.clone();
            writers.spawn(async move {
                for number in 0..5 {
                    let one = [touch(
                        &format!("{writer}/{number}"),
                        1,
                        vec![
                            claim(Kind::ExternalId, "user-1", Verification::Claimed),
                            claim(
                                Kind::AnonymousId,
                                &format!("browser-{number}"),
                                Verification::Claimed,
                            ),
                        ],
                    )];
                    cx.write(async |tx| contact::ingest(tx, &one).await).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        let db = tenant.cx.db();
        let roots: BTreeSet<_> = db
            .find::<contact_identifier::Entity>()
            .all()
            .await?
            .into_iter()
            .map(|row| row.contact_id)
            .collect();
        assert_eq!(roots.len(), 1);
        let seen = db
            .find::<event::Entity>()
            .filter(event::Column::Name.eq("seen"))
            .count()
            .await?;
        assert_eq!(seen, 80);
        Ok(())
    })
    .await
}
