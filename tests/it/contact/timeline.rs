//! One stream of everything about a contact.

use api::{
    base::{Between, Seeing, TimelineWanted},
    contact,
};
use chrono::TimeDelta;
use entity::{ContactId, Id, event, merge_record, touchpoint, trait_observation};
use sea_orm::{ConnectionTrait as _, Database, DatabaseBackend, Set, Statement};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database, on_postgres, start};

use super::{ask, refused, track, upsert};

fn id(text: &str) -> ContactId {
    ContactId::parse(text).unwrap()
}

/// A merge at minute 10, a value of a trait at 11 and a visit at 12.
async fn happened(tenant: &Tenant, ann: ContactId, other: ContactId) -> anyhow::Result<()> {
    let at = |minute: i64| start() + TimeDelta::minutes(minute);
    tenant
        .cx
        .write(async |tx| {
            tx.insert(merge_record::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                kind: Set(merge_record::Kind::Merge),
                survivor_id: Set(ann),
                other_id: Set(other),
                mode: Set(merge_record::Mode::Manual),
                a_id: Set(None),
                b_id: Set(None),
                before: Set(json!({})),
                event_id: Set(None),
                said_by: Set("key".to_owned()),
                reason: Set(Some("same person".to_owned())),
                created_at: Set(at(10)),
                reversed_at: Set(None),
                known: Set(false),
            })
            .await?;
            let observation: Id<trait_observation::Entity> = tx.new_id();
            tx.insert(trait_observation::ActiveModel {
                id: Set(observation),
                tenant_id: Set(tx.tenant()),
                contact_id: Set(ann),
                identifier_id: Set(None),
                key: Set("salary".to_owned()),
                value: Set(json!(5000)),
                rank: Set(1),
                source: Set("crm".to_owned()),
                first_observed_at: Set(at(11)),
                observed_at: Set(at(11)),
                said_by: Set(observation.uuid()),
                same: Set(observation.uuid()),
                created_at: Set(at(11)),
            })
            .await?;
            tx.insert(touchpoint::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                contact_id: Set(ann),
                identifier_id: Set(None),
                event_id: Set(Id::<event::Entity>::from_uuid(observation.uuid())),
                touch: Set(json!({"source": "news", "campaign": "launch"})),
                occurred_at: Set(at(12)),
            })
            .await?;
            Ok(())
        })
        .await?;
    Ok(())
}

const TIMELINE: &str = "query($id: ID!, $first: Int, $last: Int, $after: String, $before: String, $kinds: [String!]) { contact(id: $id) { timeline(first: $first, last: $last, after: $after, before: $before, kinds: $kinds) { totalCount edges { cursor node { id kind at title details node { __typename id } } } pageInfo { hasNextPage hasPreviousPage } } } }";

async fn timeline(kit: &Kit, credential: &str, variables: Value) -> Value {
    let mut data = ask(kit, credential, TIMELINE, variables).await;
    data["contact"]["timeline"].take()
}

fn titles(timeline: &Value) -> Vec<&str> {
    let edges = timeline["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["node"]["title"].as_str().unwrap())
        .collect()
}

/// Ann, in whose life everything happened once; gives her id and that of a visitor who became part of her.
async fn ann(kit: &Kit, acme: &Tenant) -> anyhow::Result<(String, String)> {
    let sk = &acme.secret_key;
    let nudge = "mutation { s: nudgeSave(input: {key: \"hi\", surface: \"app\", content: {title: \"t\", body: \"b\"}, trigger: {event: \"signup\"}}) { nudge { id } } }";
    let saved = ask(kit, sk, nudge, json!({})).await;
    let publish = "mutation($id: ID!) { nudgePublish(input: {id: $id}) { userErrors { code } } }";
    ask(kit, sk, publish, json!({"id": saved["s"]["nudge"]["id"]})).await;
    let ann = upsert(kit, acme, json!({"externalId": "ann"})).await;
    let visitor = upsert(kit, acme, json!({"anonymousId": "a1"})).await;
    track(kit, sk, json!({"event": "signup", "userId": "ann", "properties": {"n": 1}, "timestamp": "2026-01-01T09:01:00Z"})).await;
    kit.advance(TimeDelta::minutes(2));
    kit.app.worker.drain().await?;
    let consent = "mutation($id: ID!) { consentSet(input: {contactId: $id, topic: \"news\", channel: EMAIL, state: GRANTED}) { userErrors { code } } }";
    kit.advance(TimeDelta::minutes(1));
    ask(kit, sk, consent, json!({"id": ann})).await;
    track(
        kit,
        sk,
        json!({"event": "seen", "anonymousId": "a1", "timestamp": "2026-01-01T09:00:40Z"}),
    )
    .await;
    ask(kit, sk, "mutation { identify(input: {userId: \"ann\", anonymousId: \"a1\", timestamp: \"2026-01-01T09:00:30Z\"}) { accepted } }", json!({})).await;
    happened(acme, id(&ann), id(&visitor)).await?;
    Ok((ann, visitor))
}

#[tokio::test]
async fn everything_about_a_contact_is_one_stream_the_newest_first() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let (ann, visitor) = ann(&kit, &acme).await?;
        let kinds = json!(["CONSENT", "NUDGE", "TOUCH", "TRAIT"]);
        let seen = timeline(&kit, sk, json!({"id": ann, "kinds": kinds})).await;
        assert_eq!(
            titles(&seen),
            ["Came by launch", "salary set", "news by email: granted", "Nudge offered on app"]
        );
        assert_eq!(seen["totalCount"], 4);
        let nodes: Vec<Value> = seen["edges"].as_array().unwrap().iter().map(|edge| {
            let node = &edge["node"];
            let shown = node["node"]["id"].as_str().unwrap();
            assert_eq!(node["id"], format!("item_{shown}"));
            json!([node["kind"], node["at"], node["node"]["__typename"]])
        }).collect();
        assert_eq!(
            nodes,
            [
                json!(["TOUCH", "2026-01-01T09:12:00Z", "Touchpoint"]),
                json!(["TRAIT", "2026-01-01T09:11:00Z", "TraitObservation"]),
                json!(["CONSENT", "2026-01-01T09:03:02Z", "Consent"]),
                json!(["NUDGE", "2026-01-01T09:02:02Z", "NudgeDelivery"]),
            ]
        );
        assert_eq!(seen["edges"][1]["node"]["details"], json!({"key": "salary", "value": 5000, "source": "crm"}));
        assert_eq!(seen["edges"][2]["node"]["details"], json!({"topic": "news", "channel": "email", "state": "granted", "basis": "consent"}));
        let touch = &seen["edges"][0]["node"]["details"];
        assert_eq!(touch["touch"], json!({"source": "news", "campaign": "launch"}));
        assert!(touch["eventId"].as_str().unwrap().starts_with("event_"));

        let events = timeline(&kit, sk, json!({"id": ann, "kinds": ["EVENT"]})).await;
        let names = titles(&events);
        // What is shown itself is not told of again.
        for told in ["consent.changed", "nudge.offered", "contact.merged"] {
            assert!(!names.contains(&told), "{names:?}");
        }
        assert!(names.contains(&"seen"), "what is about the absorbed contact is there: {names:?}");
        let signup = events["edges"].as_array().unwrap().iter().find(|edge| edge["node"]["title"] == "signup").unwrap();
        assert_eq!(signup["node"]["details"], json!({"name": "signup", "source": "api", "properties": {"n": 1}}));
        assert_eq!(signup["node"]["node"]["__typename"], "Event");

        let merges = timeline(&kit, sk, json!({"id": ann, "kinds": ["MERGE"]})).await;
        let merge = merges["edges"].as_array().unwrap().iter().find(|edge| edge["node"]["at"] == "2026-01-01T09:10:00Z").unwrap();
        assert_eq!(merge["node"]["title"], "Merged");
        assert_eq!(
            merge["node"]["details"],
            json!({"kind": "merge", "mode": "manual", "reason": "same person", "contactId": ann, "otherContactId": visitor})
        );
        assert_eq!(merges["totalCount"], merges["edges"].as_array().unwrap().len());
        let ids: std::collections::BTreeSet<&str> = merges["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), merges["edges"].as_array().unwrap().len(), "a merge stands there once");

        let unknown = kit.gql(sk, TIMELINE, json!({"id": ann, "kinds": ["X"]})).await;
        assert_eq!(unknown["errors"][0]["message"], "a kind is one of CONSENT, EVENT, MERGE, NUDGE, TOUCH, TRAIT");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_stream_is_paged_both_ways_and_a_page_costs_the_same_for_many() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let (ann, _) = ann(&kit, &acme).await?;
        let whole = timeline(&kit, sk, json!({"id": ann, "first": 100})).await;
        let all = titles(&whole);
        assert_eq!(whole["totalCount"], all.len());
        assert!(all.len() > 7, "{all:?}");
        let mut after = Value::Null;
        let mut paged = vec![];
        loop {
            let page = timeline(&kit, sk, json!({"id": ann, "first": 3, "after": after})).await;
            paged.extend(page["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["title"].as_str().unwrap().to_owned()));
            assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null());
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
            after = page["edges"][2]["cursor"].clone();
        }
        assert_eq!(paged, all);
        let last = timeline(&kit, sk, json!({"id": ann, "last": 2})).await;
        assert_eq!(titles(&last), all[all.len() - 2..]);
        let before = timeline(&kit, sk, json!({"id": ann, "last": 2, "before": last["edges"][0]["cursor"]})).await;
        assert_eq!(titles(&before), all[all.len() - 4..all.len() - 2]);
        // A cursor is no other list's.
        let foreign = kit.gql(sk, TIMELINE, json!({"id": ann, "kinds": ["EVENT"], "after": last["edges"][0]["cursor"]})).await;
        assert_eq!(foreign["errors"][0]["extensions"]["code"], "BAD_CURSOR");

        for name in ["b", "c", "d"] {
            upsert(&kit, &acme, json!({"externalId": name})).await;
        }
        let page = |size: usize| format!("{{ contacts(first: {size}, orderBy: {{field: CREATED_AT, direction: ASC}}) {{ edges {{ node {{ externalId timeline(first: 2) {{ totalCount edges {{ node {{ title }} }} }} }} }} }} }}");
        let many = ask(&kit, sk, &page(4), json!({})).await;
        assert_eq!(titles(&many["contacts"]["edges"][0]["node"]["timeline"]), all[..2]);
        assert_eq!(many["contacts"]["edges"][0]["node"]["timeline"]["totalCount"], all.len());
        assert_eq!(many["contacts"]["edges"][1]["node"]["timeline"]["totalCount"], 2);
        let one = kit.statements_of(sk, &page(1), json!({})).await;
        let four = kit.statements_of(sk, &page(4), json!({})).await;
        assert_eq!(one, four);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_stream_shows_what_its_reader_may_see() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let sk = &acme.secret_key;
        let (ann, _) = ann(&kit, &acme).await?;
        let pii = "mutation { traitDefinitionSave(input: {key: \"salary\", type: NUMBER, pii: true}) { userErrors { code } } }";
        ask(&kit, sk, pii, json!({})).await;
        let kinds = |timeline: &Value| -> std::collections::BTreeSet<String> {
            let edges = timeline["edges"].as_array().unwrap();
            edges.iter().map(|edge| edge["node"]["kind"].as_str().unwrap().to_owned()).collect()
        };
        let set = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        let seen = timeline(&kit, &reader, json!({"id": ann})).await;
        assert_eq!(kinds(&seen), set(&["CONSENT", "MERGE", "TOUCH"]));
        assert_eq!(seen["totalCount"], seen["edges"].as_array().unwrap().len());
        let more = kit.key(&acme, &["contacts:read", "contacts:pii", "nudges:read", "events:read"]).await?;
        let seen = timeline(&kit, &more, json!({"id": ann})).await;
        assert_eq!(kinds(&seen), set(&["CONSENT", "EVENT", "MERGE", "NUDGE", "TOUCH", "TRAIT"]));
        let own = kit.contact_token(&acme, id(&ann)).await?;
        let me = ask(&kit, &own, "{ me { timeline(first: 100) { edges { node { kind } } } } }", json!({})).await;
        assert_eq!(kinds(&me["me"]["timeline"]), kinds(&seen));
        let foreign = ask(&kit, &bolt.secret_key, TIMELINE, json!({"id": ann})).await;
        assert_eq!(foreign, json!({"contact": null}));
        assert_eq!(
            refused(&kit, &acme.publishable_key, TIMELINE, json!({"id": ann})).await,
            json!([[["contact"], "FORBIDDEN"]])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "it asks for what PostgreSQL alone can tell"
)]
async fn a_page_of_the_stream_walks_indexes_alone() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let acme = kit.tenant("acme").await?;
        let (ann, _) = ann(&kit, &acme).await?;
        // So many of others' that a scan of all would be the dearer way.
        let rows = Database::connect(kit.database_url()).await?;
        for (table, at, columns, values) in [
            ("event", "occurred_at", "partition, name, properties, context, source, causation_depth, received_at", "0, 'x', '{}', '{}', 'api', 0, now()"),
            ("touchpoint", "occurred_at", "event_id, touch", "gen_random_uuid(), '{}'"),
            ("trait_observation", "observed_at", "key, value, rank, source, first_observed_at, said_by, same, created_at", "'k' || n, '1', 1, 'api', now(), gen_random_uuid(), gen_random_uuid(), now()"),
            ("consent", "at", "topic, channel, state, basis, proof, said_by, created_at", "'t' || n, 'email', 'granted', 'consent', '{}', 'x', now()"),
        ] {
            let insert = format!(
                "INSERT INTO {table} (id, tenant_id, contact_id, {at}, {columns})
                 SELECT gen_random_uuid(), c.tenant_id, c.id, now() - n * interval '1 minute', {values}
                 FROM contact c, generate_series(1, 5000) n WHERE c.merged_into IS NOT NULL OR c.id = '{}'", id(&ann).uuid());
            rows.execute_raw(Statement::from_string(DatabaseBackend::Postgres, insert)).await?;
            rows.execute_raw(Statement::from_string(DatabaseBackend::Postgres, format!("ANALYZE {table}"))).await?;
        }
        let scope = acme.cx.db();
        let seeing = Seeing {
            scope: &scope,
            actor: acme.cx.actor(),
            modules: kit.app.env.modules,
        };
        let wanted = TimelineWanted {
            kinds: vec![],
            between: Between::default(),
            rows: 26,
            oldest: false,
        };
        let roots = [id(&ann).uuid()];
        let members = contact::members(&scope, &roots);
        let page = seeing.statement(&roots, &members, &wanted).unwrap();
        let mut explain = DatabaseBackend::Postgres.build(&page);
        explain.sql = format!("EXPLAIN {}", explain.sql);
        let plan: Vec<String> = rows
            .query_all_raw(explain)
            .await?
            .iter()
            .map(|row| row.try_get_by_index(0))
            .collect::<Result<_, _>>()?;
        let plan = plan.join("\n");
        for table in ["event", "touchpoint", "trait_observation", "consent"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
            assert!(plan.contains(&format!("on {table}")), "{plan}");
        }
        Ok(())
    })
    .await
}
