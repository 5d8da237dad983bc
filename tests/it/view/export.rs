use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use chrono::TimeDelta;
use posthog_double::{Endpoint, Failure};
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database, on_each_place, process::Growthos};

use super::kit::{connect, double, metric, saved};
use crate::{
    contact::{ask, upsert},
    posthog::stage::{Sent, send},
};

const EXPORT: &str = "mutation($key: String!) { contactViewExport(input: {key: $key}) { job { id kind state } userErrors { code field message } } }";
const JOB: &str = "query($id: ID!) { job(id: $id) { state error progress { done total percent } download { url expiresAt name sizeBytes } } }";

async fn begun(kit: &Kit, credential: &str, key: &str) -> Value {
    let mut data = ask(kit, credential, EXPORT, json!({ "key": key })).await;
    let done = data["contactViewExport"].take();
    assert_eq!(done["userErrors"], json!([]), "{done}");
    assert_eq!(
        (&done["job"]["kind"], &done["job"]["state"]),
        (&json!("contactViewExport"), &json!("QUEUED"))
    );
    done["job"]["id"].clone()
}

async fn job(kit: &Kit, credential: &str, id: &Value) -> Value {
    let mut data = ask(kit, credential, JOB, json!({ "id": id })).await;
    data["job"].take()
}

fn path(job: &Value) -> String {
    let url = job["download"]["url"].as_str().unwrap();
    url.strip_prefix("http://127.0.0.1:8080")
        .unwrap()
        .to_owned()
}

/// Exports a view and fetches the file.
async fn exported(kit: &Kit, tenant: &Tenant, key: &str) -> anyhow::Result<String> {
    let id = begun(kit, &tenant.secret_key, key).await;
    kit.app.worker.drain().await?;
    let done = job(kit, &tenant.secret_key, &id).await;
    let server = kit.serve().await?;
    let text = reqwest::get(server.url(&path(&done))).await?.text().await?;
    server.stop().await?;
    Ok(text)
}

#[tokio::test]
async fn a_file_holds_every_row_and_no_formula() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let corpus = ["=HYPERLINK(\"http://evil\",\"x\")", "+1", "-1", "@SUM(1)", "\tx", "\rx", "\nx", "＝1+1", "a,b", "say \"hi\"", "two\nlines", "", "ünï", "'quoted"];
        let mut expected = "contactId,'=note,score\r\n".to_owned();
        for (n, text) in corpus.iter().enumerate() {
            let id = upsert(&kit, &acme, json!({"externalId": format!("u{n}"), "traits": {"note": text, "score": -1.5}})).await;
            let safe = match *text {
                "a,b" => "\"a,b\"".to_owned(),
                "say \"hi\"" => "\"say \"\"hi\"\"\"".to_owned(),
                "two\nlines" => "\"two\nlines\"".to_owned(),
                "" | "ünï" | "'quoted" => (*text).to_owned(),
                "=HYPERLINK(\"http://evil\",\"x\")" => "\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\"".to_owned(),
                "\rx" | "\nx" => format!("\"'{text}\""),
                other => format!("'{other}"),
            };
            write!(expected, "{id},{safe},-1.5\r\n")?;
        }
        let columns = json!([{"trait": {"key": "note", "label": "=note"}}, {"trait": {"key": "score"}}]);
        saved(&kit, &acme, json!({"key": "notes", "columns": columns, "orderBy": {"field": "CREATED_AT", "direction": "ASC"}})).await;
        assert_eq!(exported(&kit, &acme, "notes").await?, expected);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_link_is_signed_expires_and_is_given_to_who_may_see_as_much() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let sk = &acme.secret_key;
        for n in 0..3 {
            upsert(&kit, &acme, json!({"externalId": format!("u{n}"), "traits": {"salary": n}})).await;
        }
        let mark = "mutation { traitDefinitionSave(input: {key: \"salary\", pii: true}) { userErrors { code } } segmentSave(input: {key: \"vips\"}) { segment { id } } }";
        ask(&kit, sk, mark, json!({})).await;
        let columns = json!([{"trait": {"key": "salary"}}, {"segment": {"key": "vips"}}]);
        saved(&kit, &acme, json!({"key": "people", "columns": columns})).await;
        let id = begun(&kit, sk, "people").await;
        assert_eq!(job(&kit, sk, &id).await["download"], Value::Null);
        // The export is of the view as it was when it was asked for.
        saved(&kit, &acme, json!({"key": "people", "columns": []})).await;
        kit.app.worker.drain().await?;
        let done = job(&kit, sk, &id).await;
        assert_eq!(
            (&done["state"], &done["error"], &done["progress"], &done["download"]["name"]),
            (&json!("SUCCEEDED"), &Value::Null, &json!({"done": 3, "total": 3, "percent": 100}), &json!("people.csv"))
        );
        let server = kit.serve().await?;
        let good = path(&done);
        let answer = reqwest::get(server.url(&good)).await?;
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
        assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"people.csv\"");
        let text = answer.text().await?;
        assert_eq!(text.lines().next(), Some("contactId,salary,vips"));
        assert!(text.lines().nth(1).unwrap().ends_with(",2,false"), "{text}");
        assert_eq!(done["download"]["sizeBytes"], text.len());

        let forged = format!("{}A", &good[..good.len() - 1]);
        assert_eq!(reqwest::get(server.url(&forged)).await?.status(), 404);
        kit.advance(TimeDelta::minutes(16));
        assert_eq!(reqwest::get(server.url(&good)).await?.status(), 404);
        assert_eq!(reqwest::get(server.url(&path(&job(&kit, sk, &id).await))).await?.status(), 200);

        // Another tenant finds no such job; whoever may not see salaries or segments is given no link.
        assert_eq!(job(&kit, &bolt.secret_key, &id).await, Value::Null);
        for scopes in [&["contacts:write", "segments:read"][..], &["contacts:write", "contacts:pii"]] {
            let reader = kit.key(&acme, scopes).await?;
            let seen = job(&kit, &reader, &id).await;
            assert_eq!((&seen["state"], &seen["download"]), (&json!("SUCCEEDED"), &Value::Null), "{scopes:?}");
        }
        // They export what they may see, and what they may not is refused.
        saved(&kit, &acme, json!({"key": "people", "columns": columns})).await;
        let writer = kit.key(&acme, &["contacts:write"]).await?;
        let refused = ask(&kit, &writer, EXPORT, json!({"key": "people"})).await;
        assert_eq!((&refused["contactViewExport"]["job"], &refused["contactViewExport"]["userErrors"][0]["field"]), (&Value::Null, &json!("columns.1")));
        let editor = kit.key(&acme, &["contacts:write", "segments:read"]).await?;
        let hidden = begun(&kit, &editor, "people").await;
        kit.app.worker.drain().await?;
        let done = job(&kit, &editor, &hidden).await;
        let text = reqwest::get(server.url(&path(&done))).await?.text().await?;
        assert!(text.lines().skip(1).all(|line| line.ends_with(",,false")) && text.lines().count() == 4, "{text}");

        kit.advance(TimeDelta::days(2));
        kit.app.worker.drain().await?;
        assert_eq!(job(&kit, sk, &id).await, Value::Null);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_file_waits_for_posthog_rather_than_leave_cells_empty() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let double = double(&kit).await?;
        connect(&kit, &acme, &double).await;
        metric(&kit, &acme, "revenue", "sumIf(toFloat(properties.amount), event = 'purchase')").await;
        for id in ["u1", "u2"] {
            upsert(&kit, &acme, json!({"externalId": id})).await;
        }
        send(&double, &[Sent("purchase", "u1", 60, json!({"amount": 7.5})), Sent("purchase", "u2", 60, json!({"amount": 9}))]).await;
        saved(&kit, &acme, json!({"key": "best", "columns": [{"identifier": {"kind": "EXTERNAL_ID"}}, {"metric": {"key": "revenue"}}], "orderBy": {"metric": "revenue", "direction": "DESC"}})).await;
        double.fail(Endpoint::Query, Failure::Status { code: 503, retry_after: None, times: None });
        let id = begun(&kit, sk, "best").await;
        kit.app.worker.drain().await?;
        let waiting = job(&kit, sk, &id).await;
        assert_eq!((&waiting["state"], &waiting["progress"]["done"]), (&json!("QUEUED"), &json!(0)), "{waiting}");
        assert!(waiting["error"].as_str().is_some_and(|error| error.contains("PostHog")), "{waiting}");
        double.heal();
        kit.advance(TimeDelta::minutes(5));
        kit.app.worker.drain().await?;
        let done = job(&kit, sk, &id).await;
        assert_eq!(done["state"], "SUCCEEDED", "{done}");
        let server = kit.serve().await?;
        let text = reqwest::get(server.url(&path(&done))).await?.text().await?;
        server.stop().await?;
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(',').unwrap().1).collect();
        assert_eq!(lines, ["externalId,revenue", "u2,9.0", "u1,7.5"]);
        Ok(())
    })
    .await
}

/// Contacts of the file that is cut off in the middle.
const CONTACTS: usize = 3_000;

#[tokio::test]
async fn an_export_that_is_killed_goes_on_and_repeats_no_row() -> anyhow::Result<()> {
    on_each_place(async |_, url| {
        let mut growthos = Growthos::start(url).await?;
        let key = growthos.key("secretKey")?;
        let client = reqwest::Client::new();
        let gql = async |growthos: &Growthos, query: &str, variables: Value| {
            let sent = client
                .post(format!("{}/graphql", growthos.base))
                .bearer_auth(&key)
                .json(&json!({"query": query, "variables": variables}));
            let answer: Value = sent.send().await?.json().await?;
            anyhow::ensure!(answer["errors"].is_null(), "{answer}");
            Ok(answer["data"].clone())
        };
        let track = "mutation($events: [TrackInput!]!) { trackBatch(input: {events: $events}) { accepted } }";
        for batch in 0..CONTACTS / 500 {
            let events: Vec<Value> = (0..500).map(|n| json!({"event": "seen", "userId": format!("u{}", batch * 500 + n)})).collect();
            gql(&growthos, track, json!({ "events": events })).await?;
        }
        let save = "mutation { contactViewSave(input: {key: \"all\", columns: [{identifier: {kind: EXTERNAL_ID}}]}) { userErrors { message } } }";
        gql(&growthos, save, json!({})).await?;
        let made = gql(&growthos, EXPORT, json!({"key": "all"})).await?;
        let id = made["contactViewExport"]["job"]["id"].clone();
        let done = async |growthos: &Growthos| {
            let shown = gql(growthos, JOB, json!({ "id": id })).await?;
            anyhow::Ok((shown["job"]["progress"]["done"].as_u64().unwrap_or_default(), shown["job"].clone()))
        };
        let mut written = 0;
        while written == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            written = done(&growthos).await?.0;
        }
        growthos.kill_and_serve().await?;
        anyhow::ensure!(written < CONTACTS as u64, "it was done before it was killed");
        let since = tokio::time::Instant::now();
        let job = loop {
            let (_, job) = done(&growthos).await?;
            if job["state"] == "SUCCEEDED" {
                break job;
            }
            anyhow::ensure!(since.elapsed().as_secs() < 300, "{job}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(job["progress"], json!({"done": CONTACTS, "total": CONTACTS, "percent": 100}));
        let link = job["download"]["url"].as_str().unwrap();
        let path = &link[link.find("/downloads/").unwrap()..];
        let text = client.get(format!("{}{path}", growthos.base)).send().await?.text().await?;
        let rows: BTreeSet<&str> = text.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
        assert_eq!((rows.len(), text.lines().count()), (CONTACTS, CONTACTS + 1));
        Ok(())
    })
    .await
}
