//! All that is known of a person: given out, and erased.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    sync::Arc,
};

use api::privacy;
use chrono::TimeDelta;
use flate2::read::MultiGzDecoder;
use posthog_double::{Double, DoubleOptions, Endpoint, Failure};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tests::{Kind, Kit, Tenant, on_each_database};

use crate::contact::{ask, track, upsert};

const ERASE: &str = "mutation($id: ID!, $reason: String) { contactErase(input: {contactId: $id, reason: $reason}) { erasure { id contactId reason finishedAt receipts { store } } userErrors { code field message } } }";
const ERASURES: &str = "{ erasures { totalCount edges { node { id contactId requestedBy finishedAt receipts { store outcome message rows statement signature } } } } }";

async fn erase(kit: &Kit, credential: &str, id: &str) -> Value {
    let mut data = ask(
        kit,
        credential,
        ERASE,
        json!({"id": id, "reason": "asked by letter"}),
    )
    .await;
    data["contactErase"].take()
}

/// What the tenant's one erasure says.
async fn erasure(kit: &Kit, tenant: &Tenant) -> Value {
    let mut data = ask(kit, &tenant.secret_key, ERASURES, json!({})).await;
    assert_eq!(data["erasures"]["totalCount"], 1);
    data["erasures"]["edges"][0]["node"].take()
}

/// A person of whom there is something in every table: known by an address and two ids, merged, offered a nudge.
async fn ann(kit: &Kit, tenant: &Tenant) -> anyhow::Result<String> {
    let (sk, pk) = (&tenant.secret_key, &tenant.publishable_key);
    let save = "mutation { nudgeSave(input: {key: \"hi\", surface: \"app\", content: {title: \"t\", body: \"b\"}, trigger: {event: \"signup\"}}) { nudge { id } userErrors { message } } }";
    let saved = ask(kit, sk, save, json!({})).await;
    if let Some(id) = saved["nudgeSave"]["nudge"]["id"].as_str() {
        let publish = format!(
            "mutation {{ nudgePublish(input: {{id: \"{id}\"}}) {{ userErrors {{ message }} }} }}"
        );
        ask(kit, sk, &publish, json!({})).await;
    }
    track(
        kit,
        pk,
        json!({"event": "$pageview", "anonymousId": "browser-of-ann", "context": {"page": {"url": "https://acme.test/?utm_source=news"}}}),
    )
    .await;
    let id = upsert(
        kit,
        tenant,
        json!({"externalId": "user-ann", "email": "Ann@Example.com", "phone": "+4930901820", "name": "Ann", "traits": {"plan": "pro"}}),
    )
    .await;
    let joined = "mutation { identify(input: {userId: \"user-ann\", anonymousId: \"browser-of-ann\"}) @idempotent(key: \"k1\") { contact { id email } } }";
    ask(kit, sk, joined, json!({})).await;
    track(
        kit,
        sk,
        json!({"event": "signup", "userId": "user-ann", "messageId": "signup of ann@example.com", "properties": {"by": "ann@example.com"}}),
    )
    .await;
    kit.app.worker.drain().await?;
    let offered =
        "{ contact(by: {externalId: \"user-ann\"}) { nudges { edges { node { id } } } } }";
    let offered = ask(kit, sk, offered, json!({})).await;
    let delivery = offered["contact"]["nudges"]["edges"][0]["node"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("nothing was offered: {offered}"));
    let token = kit
        .contact_token(tenant, entity::Id::parse(&id).unwrap())
        .await?;
    let record = format!(
        "mutation {{ nudgeInteractionsRecord(input: {{interactions: [{{deliveryId: \"{delivery}\", kind: CLICKED, clientId: \"c1\", at: \"2026-01-01T09:00:00Z\"}}]}}) {{ userErrors {{ message }} }} }}"
    );
    ask(kit, &token, &record, json!({})).await;
    kit.app.worker.drain().await?;
    Ok(id)
}

/// Every place in the database where one of the texts is, in any column of any table, whatever it is written in; of this tenant's
/// rows, or of all.
async fn mentions(
    kit: &Kit,
    tenant: Option<&Tenant>,
    texts: &[&str],
) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (table, columns) in tables(kit).await? {
        for column in &columns {
            for text in texts {
                let mine = match tenant {
                    Some(tenant) if columns.contains(&"tenant_id".to_owned()) => {
                        match kit.database {
                            Kind::Postgres => {
                                format!("tenant_id = '{}' AND ", tenant.id.uuid())
                            }
                            Kind::Sqlite => {
                                format!("hex(tenant_id) = '{:X}' AND ", tenant.id.uuid().simple())
                            }
                        }
                    }
                    _ => String::new(),
                };
                let sql = format!(
                    "SELECT count(*) FROM \"{table}\" WHERE {mine}lower(CAST(\"{column}\" AS text)) LIKE '%{}%'",
                    text.to_lowercase()
                );
                if count(kit, &sql).await? > 0 {
                    found.insert(format!("{table}.{column}: {text}"));
                }
            }
        }
    }
    Ok(found)
}

async fn tables(kit: &Kit) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let pairs: Vec<(String, String)> = match kit.database {
        Kind::Postgres => {
            let mut conn = PgConnection::connect(kit.database_url()).await?;
            sqlx::query_as("SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'")
                .fetch_all(&mut conn)
                .await?
        }
        Kind::Sqlite => {
            let mut conn = SqliteConnection::connect(kit.database_url()).await?;
            sqlx::query_as("SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'")
                .fetch_all(&mut conn)
                .await?
        }
    };
    for (table, column) in pairs {
        tables.entry(table).or_default().push(column);
    }
    Ok(tables)
}

async fn count(kit: &Kit, sql: &str) -> anyhow::Result<i64> {
    let sql = AssertSqlSafe(sql.to_owned());
    Ok(match kit.database {
        Kind::Postgres => {
            let mut conn = PgConnection::connect(kit.database_url()).await?;
            sqlx::query_scalar(sql).fetch_one(&mut conn).await?
        }
        Kind::Sqlite => {
            let mut conn = SqliteConnection::connect(kit.database_url()).await?;
            sqlx::query_scalar(sql).fetch_one(&mut conn).await?
        }
    })
}

const OF_ANN: &[&str] = &[
    "ann@example.com",
    "user-ann",
    "browser-of-ann",
    "+4930901820",
];

#[tokio::test]
async fn after_an_erasure_no_row_holds_what_the_person_was_known_by() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let id = ann(&kit, &acme).await?;
        let theirs = ann(&kit, &bolt).await?;
        let of_bolt = mentions(&kit, Some(&bolt), OF_ANN).await?;
        for place in [
            "contact_identifier.value: ann@example.com",
            "contact_trait.value: ann@example.com",
            "event.properties: ann@example.com",
            "event.context: browser-of-ann",
            "event_message.message_id: ann@example.com",
        ] {
            assert!(of_bolt.contains(place), "{place} of {of_bolt:#?}");
        }

        let begun = erase(&kit, &acme.secret_key, &id).await;
        assert_eq!(
            (
                &begun["userErrors"],
                &begun["erasure"]["contactId"],
                &begun["erasure"]["finishedAt"]
            ),
            (&json!([]), &json!(id), &Value::Null)
        );
        let again = erase(&kit, &acme.secret_key, &id).await;
        assert_eq!(again["erasure"]["id"], begun["erasure"]["id"]);
        kit.app.worker.drain().await?;

        assert_eq!(mentions(&kit, Some(&acme), OF_ANN).await?, BTreeSet::new());
        assert_eq!(mentions(&kit, Some(&bolt), OF_ANN).await?, of_bolt);
        let gone = "query($id: ID!) { contact(id: $id) { id } contacts { totalCount } }";
        assert_eq!(
            ask(&kit, &acme.secret_key, gone, json!({"id": id})).await,
            json!({"contact": null, "contacts": {"totalCount": 0}})
        );
        let there = ask(&kit, &bolt.secret_key, gone, json!({"id": theirs})).await;
        assert_eq!(there["contacts"]["totalCount"], 1);

        let done = erasure(&kit, &acme).await;
        assert_eq!(done["finishedAt"], "2026-01-01T09:00:02Z");
        let receipts = &done["receipts"];
        assert_eq!(
            (
                &receipts[0]["store"],
                &receipts[0]["outcome"],
                &receipts[1]["store"],
                &receipts[1]["outcome"]
            ),
            (
                &json!("DATABASE"),
                &json!("DONE"),
                &json!("POSTHOG"),
                &json!("NOT_APPLICABLE")
            )
        );
        let rows = &receipts[0]["rows"];
        assert_eq!(
            (
                &rows["contact"],
                &rows["contact_identifier"],
                &rows["nudge_delivery"],
                &rows["nudge_interaction"]
            ),
            (&json!(2), &json!(4), &json!(1), &json!(1)),
            "{rows}"
        );
        let statement: Value = serde_json::from_str(receipts[0]["statement"].as_str().unwrap())?;
        assert_eq!(
            (&statement["erasureId"], &statement["rows"]),
            (&done["id"], rows)
        );
        assert!(privacy::is_signed(
            &kit.app.env.secrets,
            receipts[0]["statement"].as_str().unwrap(),
            receipts[0]["signature"].as_str().unwrap()
        ));

        // Asked for once more, there is nobody.
        let none = erase(&kit, &acme.secret_key, &id).await;
        assert_eq!(
            (
                &none["erasure"],
                &none["userErrors"][0]["code"],
                &none["userErrors"][0]["field"]
            ),
            (&Value::Null, &json!("NOT_FOUND"), &json!("contactId"))
        );
        assert_eq!(erasure(&kit, &acme).await["id"], done["id"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_comes_late_does_not_bring_an_erased_person_back() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let id = ann(&kit, &acme).await?;
        erase(&kit, &acme.secret_key, &id).await;
        // At once, before a row is deleted.
        let late = [
            json!({"event": "late", "userId": "user-ann"}),
            json!({"event": "late", "anonymousId": "browser-of-ann"}),
            json!({"event": "late", "userId": "other", "properties": {"$set": {"email": "ANN@example.com"}}}),
        ];
        for round in ["before", "after"] {
            for event in &late {
                let told = track(&kit, &acme.secret_key, event.clone()).await;
                assert_eq!((&told["accepted"], &told["contact"]), (&json!(true), &Value::Null), "{round} {event}");
            }
            let by_email = "mutation { identify(input: {email: \" Ann@EXAMPLE.com\", userId: \"new-one\"}) { accepted contact { id } } alias(input: {userId: \"new-one\", alias: \"browser-of-ann\"}) { accepted contact { id } } contactUpsert(input: {phone: \"+49 30 901820\"}) { contact { id } userErrors { code } } }";
            let told = ask(&kit, &acme.secret_key, by_email, json!({})).await;
            assert_eq!(
                told,
                json!({"identify": {"accepted": true, "contact": null}, "alias": {"accepted": true, "contact": null}, "contactUpsert": {"contact": null, "userErrors": []}}),
                "{round}"
            );
            kit.app.worker.drain().await?;
        }
        let of_contact = track(&kit, &acme.secret_key, json!({"event": "late", "contactId": id})).await;
        assert_eq!(of_contact, json!({"contact": null, "accepted": true, "requestId": "test", "userErrors": []}));
        let batch = "mutation { trackBatch(input: {events: [{event: \"late\", userId: \"user-ann\"}, {event: \"kept\", userId: \"bob\"}, {event: \"late\", anonymousId: \"browser-of-ann\"}]}) { accepted userErrors { code } } }";
        assert_eq!(
            ask(&kit, &acme.secret_key, batch, json!({})).await["trackBatch"],
            json!({"accepted": 3, "userErrors": []})
        );
        let seen = "{ contacts { edges { node { externalId } } } events { edges { node { name } } } }";
        let seen = ask(&kit, &acme.secret_key, seen, json!({})).await;
        assert_eq!(seen["contacts"]["edges"], json!([{"node": {"externalId": "bob"}}]));
        let names: BTreeSet<&str> = seen["events"]["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, BTreeSet::from(["contact.erased", "contact.identified", "kept"]));
        // The same address is another's elsewhere.
        upsert(&kit, &bolt, json!({"externalId": "user-ann", "email": "ann@example.com"})).await;
        Ok(())
    })
    .await
}

async fn posthog(kit: &Kit, scopes: &[&str]) -> anyhow::Result<Double> {
    let clock = kit.app.env.clock.clone();
    let mut options = DoubleOptions::new(Arc::new(move || clock.now()));
    options.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    Ok(Double::start(options).await?)
}

async fn connect(kit: &Kit, tenant: &Tenant, double: &Double) {
    let connect = "mutation($host: String!, $token: String!, $key: String!) { posthogConnect(input: {ingestHost: $host, apiHost: $host, uiHost: $host, projectId: \"@current\", projectToken: $token, personalApiKey: $key}) { userErrors { message } } }";
    let options = double.options();
    let input = json!({"host": double.url(), "token": options.project_token, "key": options.personal_api_key});
    let done = ask(kit, &tenant.secret_key, connect, input).await;
    assert_eq!(done["posthogConnect"]["userErrors"], json!([]));
}

#[tokio::test]
async fn a_segment_is_smaller_by_who_was_erased() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let save = "mutation { a: segmentSave(input: {key: \"all\", rule: {not: {event: {name: \"never\"}}}}) { userErrors { code } } b: segmentSave(input: {key: \"buyers\", rule: {event: {name: \"buy\"}}}) { userErrors { code } } }";
        ask(&kit, &acme.secret_key, save, json!({})).await;
        for name in ["ann", "bob"] {
            track(&kit, &acme.secret_key, json!({"event": "buy", "userId": name})).await;
        }
        kit.app.worker.drain().await?;
        let sizes = async || {
            let query = "{ segments { edges { node { size members(first: 10) { totalCount } sizeHistory(first: 1) { edges { node { size } } } } } } }";
            ask(&kit, &acme.secret_key, query, json!({})).await["segments"]["edges"].take()
        };
        let of = |size: u64| json!({"node": {"size": size, "members": {"totalCount": size}, "sizeHistory": {"edges": [{"node": {"size": size}}]}}});
        assert_eq!(sizes().await, json!([of(2), of(2)]));
        let found = ask(&kit, &acme.secret_key, "{ contact(by: {externalId: \"ann\"}) { id } }", json!({})).await;
        erase(&kit, &acme.secret_key, found["contact"]["id"].as_str().unwrap()).await;
        kit.app.worker.drain().await?;
        assert_eq!(sizes().await, json!([of(1), of(1)]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn posthog_is_asked_to_delete_the_person_until_it_takes_the_order() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let double = posthog(&kit, &["*"]).await?;
        connect(&kit, &acme, &double).await;
        let id = ann(&kit, &acme).await?;
        track(&kit, &acme.secret_key, json!({"event": "kept", "userId": "bob"})).await;
        kit.app.worker.drain().await?;
        let rows = |of: &str| double.persons().into_iter().filter(|person| person.distinct_ids.iter().any(|id| id == of)).count();
        assert_eq!((rows("user-ann"), rows("bob")), (1, 1));

        double.fail(Endpoint::Api, Failure::Status { code: 500, retry_after: None, times: None });
        erase(&kit, &acme.secret_key, &id).await;
        kit.app.worker.drain().await?;
        let waiting = erasure(&kit, &acme).await;
        assert_eq!(waiting["finishedAt"], Value::Null);
        assert_eq!(waiting["receipts"][0]["outcome"], "DONE");
        assert_eq!(
            (&waiting["receipts"][1]["outcome"], &waiting["receipts"][1]["message"]),
            (&json!("WAITING"), &json!("PostHog failed with 500"))
        );
        let job = ask(&kit, &acme.secret_key, "{ jobs(filter: {kind: \"contactErase\"}) { edges { node { id state error attempts } } } }", json!({})).await;
        let job = &job["jobs"]["edges"][0]["node"];
        assert_eq!((&job["state"], &job["error"], &job["attempts"]), (&json!("QUEUED"), &json!("PostHog failed with 500"), &json!(1)));
        let cancel = format!("mutation {{ jobCancel(input: {{id: {}}}) {{ job {{ id }} userErrors {{ code field }} }} }}", job["id"]);
        assert_eq!(
            ask(&kit, &acme.secret_key, &cancel, json!({})).await["jobCancel"],
            json!({"job": null, "userErrors": [{"code": "CONFLICT", "field": "id"}]})
        );
        assert_eq!(rows("user-ann"), 1);

        double.heal();
        kit.app.worker.drain().await?;
        assert_eq!(rows("user-ann"), 1, "not before its time");
        kit.advance(TimeDelta::minutes(2));
        kit.app.worker.drain().await?;
        assert_eq!((rows("user-ann"), rows("bob")), (0, 1));
        let done = erasure(&kit, &acme).await;
        assert_eq!(done["receipts"][1]["outcome"], "ACCEPTED");
        assert!(done["finishedAt"].is_string());
        assert_eq!(mentions(&kit, None, OF_ANN).await?, BTreeSet::new());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_receipt_says_that_the_connection_may_not_delete_persons() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let double = posthog(&kit, &["query:read", "project:read", "feature_flag:read"]).await?;
        connect(&kit, &acme, &double).await;
        let id = ann(&kit, &acme).await?;
        erase(&kit, &acme.secret_key, &id).await;
        kit.app.worker.drain().await?;
        let receipt = erasure(&kit, &acme).await["receipts"][1].take();
        assert_eq!(receipt["outcome"], "WAITING");
        assert_eq!(
            receipt["message"],
            "PostHog refused the credential with 403: API key missing required scope 'person:write'"
        );
        Ok(())
    })
    .await
}

const EXPORT: &str = "mutation($id: ID!) { contactExport(input: {contactId: $id}) { job { id state } userErrors { code field } } }";
const DOWNLOAD: &str = "query($id: ID!) { job(id: $id) { state progress { done total percent } download { url expiresAt name sizeBytes } } }";

/// The lines of an archive.
fn lines(archive: &[u8]) -> anyhow::Result<Vec<Value>> {
    let mut text = String::new();
    MultiGzDecoder::new(archive).read_to_string(&mut text)?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn an_archive_holds_the_rows_of_every_module_behind_a_link_that_expires() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let id = ann(&kit, &acme).await?;
        upsert(&kit, &acme, json!({"externalId": "bob", "email": "bob@example.com"})).await;
        let batch: Vec<Value> = (0..150).map(|n| json!({"event": format!("e{n}"), "userId": "user-ann"})).collect();
        ask(&kit, sk, "mutation($events: [TrackInput!]!) { trackBatch(input: {events: $events}) { accepted } }", json!({"events": batch})).await;
        let begun = ask(&kit, sk, EXPORT, json!({"id": id})).await;
        let job = &begun["contactExport"]["job"]["id"];
        assert_eq!(begun["contactExport"]["job"]["state"], "QUEUED");
        let early = ask(&kit, sk, DOWNLOAD, json!({"id": job})).await;
        assert_eq!(early["job"]["download"], Value::Null);
        kit.app.worker.drain().await?;
        let made = ask(&kit, sk, DOWNLOAD, json!({"id": job})).await["job"].take();
        assert_eq!((&made["state"], &made["download"]["name"]), (&json!("SUCCEEDED"), &json!(format!("{id}.jsonl.gz"))));
        assert_eq!(made["download"]["expiresAt"], "2026-01-01T09:15:02Z");
        let reader = kit.key(&acme, &["contacts:read", "contacts:pii"]).await?;
        let seen = ask(&kit, &reader, DOWNLOAD, json!({"id": job})).await;
        assert_eq!((&seen["job"]["state"], &seen["job"]["download"]), (&json!("SUCCEEDED"), &Value::Null));

        let server = kit.serve().await?;
        let path = made["download"]["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:8080").unwrap().to_owned();
        let answer = reqwest::get(server.url(&path)).await?;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-disposition"], format!("attachment; filename=\"{id}.jsonl.gz\""));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let bytes = answer.bytes().await?;
        assert_eq!(json!(bytes.len()), made["download"]["sizeBytes"]);
        let lines = lines(&bytes)?;
        assert_eq!((&lines[0]["format"], &lines[0]["contactId"]), (&json!("growthos.contact"), &json!(id)));
        let mut tables: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &lines[1..] {
            *tables.entry(line["table"].as_str().unwrap()).or_default() += 1;
            assert!(line["row"]["id"].is_string() && line["row"].get("tenant_id").is_none(), "{line}");
            assert!(!line.to_string().contains("bob"), "{line}");
        }
        assert_eq!((tables["contact"], tables["contact_identifier"], tables["nudge_delivery"], tables["nudge_interaction"], tables["nudge_decision"]), (2, 4, 1, 1, 1));
        assert!(tables["event"] > 150, "{tables:?}");
        let email = lines.iter().find(|line| line["row"]["kind"] == "email").unwrap();
        assert_eq!((&email["row"]["value"], &email["row"]["shown"]), (&json!("ann@example.com"), &json!("Ann@example.com")));
        let plan = lines.iter().find(|line| line["table"] == "contact_trait" && line["row"]["key"] == "plan").unwrap();
        assert_eq!(plan["row"]["value"], "pro");
        assert_eq!(made["progress"]["done"], lines.len() - 1);

        let (token, altered) = (path.as_str(), format!("{}A", &path[..path.len() - 1]));
        assert_eq!(reqwest::get(server.url(&altered)).await?.status(), 404);
        kit.advance(TimeDelta::minutes(16));
        assert_eq!(reqwest::get(server.url(token)).await?.status(), 404);
        kit.advance(TimeDelta::days(8));
        kit.app.worker.drain().await?;
        let forgotten = ask(&kit, sk, DOWNLOAD, json!({"id": job})).await;
        assert_eq!(forgotten["job"], Value::Null);
        assert_eq!(count(&kit, "SELECT count(*) FROM job_chunk").await?, 0);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn who_may_not_erase_or_export_changes_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = ann(&kit, &acme).await?;
        let writer = kit.key(&acme, &["contacts:write", "privacy:read"]).await?;
        for credential in [&writer, &acme.publishable_key] {
            for document in [ERASE, EXPORT] {
                let answer = kit.gql(credential, document, json!({"id": id})).await;
                assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
            }
        }
        let seen = ask(&kit, &acme.secret_key, "{ erasures { totalCount } jobs { totalCount } contacts { totalCount } }", json!({})).await;
        assert_eq!(seen, json!({"erasures": {"totalCount": 0}, "jobs": {"totalCount": 0}, "contacts": {"totalCount": 1}}));
        assert_eq!(count(&kit, "SELECT count(*) FROM tombstone").await?, 0);
        Ok(())
    })
    .await
}
