//! The two lanes to an answer, a plan and the engine, give the same bytes: for generated documents, of two tenants, as several
//! principals.

mod document;

use api::{
    base::Origin,
    schema::{self, Answered, Lane, Ready},
};
use async_graphql::{Request, Variables};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use self::document::{Dice, Known};
use crate::{
    contact::{ask, upsert},
    nudge::kit::{Ear, identify, published, track},
};

/// Generated documents on each database.
const DOCUMENTS: u64 = 800;

/// A tenant with people of every kind: merged ones, unknown ones, some with many events, some offered nudges.
async fn people(kit: &Kit, name: &str) -> anyhow::Result<(Tenant, Vec<String>)> {
    let tenant = kit.tenant(name).await?;
    published(kit, &tenant, "welcome", json!({})).await?;
    published(kit, &tenant, "plain", json!({"content": {"title": "Näxt \"step\"", "body": "a\nb"}, "surface": "web", "priority": 5, "expiresAfter": "PT1H"})).await?;
    let mut ids = vec![];
    for n in 0..7 {
        let user = format!("{name}-{n}");
        let traits = json!({"plan": if n % 2 == 0 { "pro" } else { "free" }, "n": n, "nested": {"b": [1.5, null, "x\u{7}"], "aa": true}, "first_name": "Ünï"});
        let input =
            json!({"externalId": user, "email": format!("{user}@Example.com"), "traits": traits});
        upsert(kit, &tenant, input).await;
        kit.advance(TimeDelta::milliseconds(1_500));
        for e in 0..n {
            let properties = json!({"z": e, "a": "é\"\\", "big": 1e21, "url": "https://example.com/?utm_source=ads&utm_campaign=x"});
            track(
                kit,
                &tenant,
                &format!("anon-{name}-{n}"),
                "signup",
                properties,
            )
            .await?;
            kit.advance(TimeDelta::microseconds(1_001));
        }
        if n > 3 {
            identify(kit, &tenant, &user, &format!("anon-{name}-{n}")).await?;
        }
        let landing = json!({"page": {"url": "https://example.com/?utm_source=ads&gclid=1", "referrer": "https://search.example/"}});
        let input = json!({"event": "$pageview", "userId": user, "context": landing});
        ask(
            kit,
            &tenant.secret_key,
            "mutation($input: TrackInput!) { track(input: $input) { accepted } }",
            json!({"input": input}),
        )
        .await;
    }
    Ear::of(kit, &tenant).listen().await?;
    let everyone = "{ contacts(first: 100) { edges { node { id } } } }";
    let found = ask(kit, &tenant.secret_key, everyone, json!({})).await;
    for edge in found["contacts"]["edges"].as_array().unwrap() {
        ids.push(edge["node"]["id"].as_str().unwrap().to_owned());
    }
    let absorbed = tenant
        .cx
        .db()
        .find::<entity::contact_alias::Entity>()
        .all()
        .await?;
    anyhow::ensure!(!absorbed.is_empty(), "somebody is merged");
    ids.extend(absorbed.iter().map(|row| row.absorbed_id.to_string()));
    Ok((tenant, ids))
}

fn bytes(response: &async_graphql::Response) -> String {
    serde_json::to_string(response).unwrap()
}

#[tokio::test]
async fn a_plan_and_the_engine_answer_with_the_same_bytes() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, mut ids) = people(&kit, "acme").await?;
        let (other, others) = people(&kit, "other").await?;
        let first = ids[0].clone();
        ids.extend(others);
        ids.push("contact_01h455vb4pex5vsknk084sn02q".to_owned());
        ids.push("nonsense".to_owned());
        let cursors = cursors(&kit, &acme).await;
        let known = Known { ids, cursors };
        let callers = [
            acme.secret_key.clone(),
            other.secret_key.clone(),
            kit.key(&acme, &["contacts:read"]).await?,
            kit.key(&acme, &["events:read"]).await?,
            kit.contact_token(&acme, first.parse_contact()).await?,
        ];
        let mut planned = 0;
        for number in 0..DOCUMENTS {
            let mut dice = Dice::new(number);
            let (document, variables) = document::generate(&mut dice, &known);
            let credential = &callers[if dice.one_in(5) {
                dice.below(callers.len())
            } else {
                0
            }];
            let caller = kit.app.principals.by_token(credential).await?;
            let request = || {
                let request =
                    Request::new(&document).variables(Variables::from_json(variables.clone()));
                kit.app
                    .with_caller(&caller, request, "test", Origin::default())
            };
            let equipped = kit.app.with_loaders(request());
            let expected = bytes(&kit.app.schema.execute(equipped).await);
            // Once for the engine to accept the document, and once more.
            for _ in 0..2 {
                // Some ask for too much.
                let Ok(ready) = Ready::new(&kit.app.documents, request()).await else {
                    break;
                };
                let Answered {
                    response: answer,
                    lane,
                    ..
                } = schema::execute(&kit.app.schema, ready, |request| {
                    kit.app.with_loaders(request)
                })
                .await;
                // Of several errors the engine gives another one each time.
                if lane == Lane::Plan {
                    assert_eq!(
                        bytes(&answer),
                        expected,
                        "{number}: {document}\n{variables}"
                    );
                    planned += 1;
                }
            }
        }
        // The rest are documents that have errors or ask as somebody who may not.
        assert!(planned > DOCUMENTS / 2, "only {planned} were planned");
        Ok(())
    })
    .await
}

trait ParseContact {
    fn parse_contact(&self) -> entity::ContactId;
}
impl ParseContact for String {
    fn parse_contact(&self) -> entity::ContactId {
        entity::ContactId::parse(self).unwrap()
    }
}

async fn cursors(kit: &Kit, tenant: &Tenant) -> Vec<String> {
    let query = "{ contacts(first: 100) { edges { cursor } } oldest: contacts(orderBy: {field: UPDATED_AT, direction: ASC}) { edges { cursor } } }";
    let found: Value = ask(kit, &tenant.secret_key, query, json!({})).await;
    let mut cursors = vec!["nonsense".to_owned()];
    for list in ["contacts", "oldest"] {
        for edge in found[list]["edges"].as_array().unwrap() {
            cursors.push(edge["cursor"].as_str().unwrap().to_owned());
        }
    }
    cursors
}
