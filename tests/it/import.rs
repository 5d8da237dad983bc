//! Files of contacts, brought in.

use std::fmt::Write as _;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tests::{Kind, Kit, Server, Tenant, on_each_database, on_each_place, process::Growthos};

use crate::contact::{ask, upsert};

const CREATE: &str = "mutation($input: ImportCreateInput!) { importCreate(input: $input) { import { id dryRun uploadUrl job { state } } userErrors { code field message } } }";
const APPLY: &str = "mutation($id: ID!) { importApply(input: {id: $id}) { import { job { state } } userErrors { code field } } }";
const SHOWN: &str = "query($id: ID!) { import(id: $id) { dryRun content format job { state error progress { done total percent } } counts { lines created updated merged suppressed refused } rejects { totalCount edges { node { line field reason raw } } } rejectsUrl } }";

fn columns() -> Value {
    json!([
        {"name": "id", "target": "EXTERNAL_ID"},
        {"name": "mail", "target": "EMAIL"},
        {"name": "plan", "target": "TRAIT"},
        {"name": "seats", "target": "NUMBER_TRAIT", "key": "seat_count"},
    ])
}

async fn create(kit: &Kit, tenant: &Tenant, input: Value) -> String {
    let made = ask(kit, &tenant.secret_key, CREATE, json!({"input": input})).await;
    assert_eq!(made["importCreate"]["userErrors"], json!([]));
    let import = &made["importCreate"]["import"];
    assert_eq!(import["job"]["state"], "OPEN");
    let id = import["id"].as_str().unwrap().to_owned();
    assert_eq!(
        import["uploadUrl"],
        format!("http://127.0.0.1:8080/imports/{id}")
    );
    id
}

async fn put(
    server: &Server,
    credential: &str,
    id: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> anyhow::Result<(StatusCode, Option<String>)> {
    let mut request = reqwest::Client::new()
        .put(server.url(&format!("/imports/{id}")))
        .bearer_auth(credential)
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await?;
    let offset = answer.headers().get("upload-offset");
    let offset = offset.map(|value| value.to_str().unwrap().to_owned());
    Ok((answer.status(), offset))
}

async fn shown(kit: &Kit, tenant: &Tenant, id: &str) -> Value {
    let mut data = ask(kit, &tenant.secret_key, SHOWN, json!({"id": id})).await;
    data["import"].take()
}

const FILE: &str = "\u{feff}id,mail,plan,seats,extra\r\n\
    u1,ann@example.com,pro,3,x\r\n\
    u2,Bob@Example.com,=free,,x\r\n\
    u3,nobody,pro,1,x\r\n\
    u4,dan@example.com,\"a\r\nb\",many,x\r\n\
    u5,eve@example.com,pro\r\n\
    ,,pro,1,x\r\n\
    u6,ann@example.com,pro,1,x\r\n";

#[tokio::test]
async fn a_file_is_checked_first_and_then_applied_and_no_bad_line_is_lost() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let server = kit.serve().await?;
        upsert(&kit, &acme, json!({"externalId": "u2", "traits": {"plan": "old", "kept": true}})).await;
        upsert(&kit, &acme, json!({"externalId": "u6"})).await;
        upsert(&kit, &acme, json!({"email": "ann@example.com"})).await;
        let before = ask(&kit, sk, "{ contacts { totalCount } events { totalCount } }", json!({})).await;
        let id = create(&kit, &acme, json!({"format": "CSV", "columns": columns()})).await;
        assert_eq!(put(&server, sk, &id, &[], FILE).await?, (StatusCode::NO_CONTENT, Some(FILE.len().to_string())));
        kit.app.worker.drain().await?;

        let checked = shown(&kit, &acme, &id).await;
        assert_eq!((&checked["dryRun"], &checked["job"]["state"], &checked["job"]["error"]), (&json!(true), &json!("SUCCEEDED"), &Value::Null));
        assert_eq!(checked["job"]["progress"], json!({"done": FILE.len(), "total": FILE.len(), "percent": 100}));
        let counts = json!({"lines": 7, "created": 0, "updated": 2, "merged": 1, "suppressed": 0, "refused": 4});
        assert_eq!(checked["counts"], counts);
        let rejects = json!([
            {"node": {"line": 4, "field": "mail", "reason": "\"nobody\" is not an e-mail address", "raw": "u3,nobody,pro,1,x"}},
            {"node": {"line": 5, "field": "seats", "reason": "it is not a number", "raw": "u4,dan@example.com,\"a\r\nb\",many,x"}},
            {"node": {"line": 7, "field": null, "reason": "it has 3 cells, and the heading has 5", "raw": "u5,eve@example.com,pro"}},
            {"node": {"line": 8, "field": null, "reason": "it has no id and no address", "raw": ",,pro,1,x"}},
        ]);
        assert_eq!(checked["rejects"], json!({"totalCount": 4, "edges": rejects}));
        let after = ask(&kit, sk, "{ contacts { totalCount } events { totalCount } }", json!({})).await;
        assert_eq!(after, before, "a check changes nothing");

        let applied = ask(&kit, sk, APPLY, json!({"id": id})).await;
        assert_eq!(applied["importApply"], json!({"import": {"job": {"state": "QUEUED"}}, "userErrors": []}));
        kit.app.worker.drain().await?;
        let done = shown(&kit, &acme, &id).await;
        assert_eq!((&done["dryRun"], &done["job"]["state"], &done["counts"]), (&json!(false), &json!("SUCCEEDED"), &counts));
        assert_eq!(done["rejects"], json!({"totalCount": 4, "edges": rejects}));
        let known = ask(&kit, sk, "{ u1: contact(by: {externalId: \"u1\"}) { email traits } u2: contact(by: {externalId: \"u2\"}) { email traits } u3: contact(by: {externalId: \"u3\"}) { id } }", json!({})).await;
        assert_eq!(known["u1"], json!({"email": "ann@example.com", "traits": {"email": "ann@example.com", "plan": "pro", "seat_count": 3}}));
        assert_eq!(known["u2"], json!({"email": "Bob@example.com", "traits": {"email": "Bob@example.com", "kept": true, "plan": "=free"}}));
        assert_eq!(known["u3"], Value::Null);

        let again = ask(&kit, sk, APPLY, json!({"id": id})).await;
        assert_eq!(again["importApply"], json!({"import": null, "userErrors": [{"code": "CONFLICT", "field": "id"}]}));

        let path = done["rejectsUrl"].as_str().unwrap().strip_prefix("http://127.0.0.1:8080").unwrap().to_owned();
        let answer = reqwest::get(server.url(&path)).await?;
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
        let csv = answer.text().await?;
        let mut lines = csv.split("\r\n");
        assert_eq!(lines.next(), Some("line,field,reason,raw"));
        assert_eq!(lines.next(), Some("4,mail,\"\"\"nobody\"\" is not an e-mail address\",\"u3,nobody,pro,1,x\""));
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn bytes_are_sent_in_parts_and_go_on_where_they_broke_off() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let bolt = kit.tenant("bolt").await?;
        let sk = &acme.secret_key;
        let server = kit.serve().await?;
        let input = json!({"format": "JSONL", "dryRun": false, "columns": [{"name": "id", "target": "EXTERNAL_ID"}, {"name": "tags", "target": "TRAIT"}]});
        let id = create(&kit, &acme, input).await;
        let (one, two) = ("{\"id\": \"u1\", \"tags\": [1, 2]}\n{\"id\"", ": 2, \"tags\": null}\n[]\n");
        let more = ("upload-complete", "?0");
        assert_eq!(put(&server, sk, &id, &[more], one).await?, (StatusCode::NO_CONTENT, Some(one.len().to_string())));
        let head = reqwest::Client::new().head(server.url(&format!("/imports/{id}"))).bearer_auth(sk).send().await?;
        assert_eq!(head.headers()["upload-offset"], one.len().to_string());
        // From the beginning, or from behind the end: there is something already, and nothing is lost.
        for offset in ["0", "99"] {
            let refused = put(&server, sk, &id, &[("upload-offset", offset)], two).await?;
            assert_eq!(refused, (StatusCode::CONFLICT, Some(one.len().to_string())));
        }
        for (credential, status) in [
            (bolt.secret_key.as_str(), StatusCode::NOT_FOUND),
            (acme.publishable_key.as_str(), StatusCode::FORBIDDEN),
            ("nobody", StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(put(&server, credential, &id, &[("upload-offset", "99")], two).await?.0, status);
        }
        kit.app.worker.drain().await?;
        assert_eq!(shown(&kit, &acme, &id).await["job"]["state"], "OPEN");
        let offset = one.len().to_string();
        assert_eq!(put(&server, sk, &id, &[("upload-offset", &offset)], two).await?.0, StatusCode::NO_CONTENT);
        kit.app.worker.drain().await?;
        let done = shown(&kit, &acme, &id).await;
        assert_eq!(done["counts"], json!({"lines": 3, "created": 2, "updated": 0, "merged": 0, "suppressed": 0, "refused": 1}));
        assert_eq!(done["rejects"]["edges"][0]["node"], json!({"line": 3, "field": null, "reason": "it is JSON, but not an object", "raw": "[]"}));
        let late = put(&server, sk, &id, &[], "x").await?;
        assert_eq!(late.0, StatusCode::CONFLICT);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_and_says_why() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let endless = format!("id,mail\n1,\"{}", "x".repeat(1_100_000));
        for (file, why) in [
            ("", "the file has no heading"),
            ("id,name\n1,2\n", "the heading has no column \"mail\""),
            ("id,mail,id\n", "the heading names a column twice"),
            (
                &endless,
                "the record at line 2 is longer than 1048576 bytes: is a quote not closed?",
            ),
        ] {
            let input = json!({"format": "CSV", "columns": [{"name": "mail", "target": "EMAIL"}]});
            let id = create(&kit, &acme, input).await;
            put(&server, &acme.secret_key, &id, &[], file.to_owned()).await?;
            kit.app.worker.drain().await?;
            let failed = shown(&kit, &acme, &id).await;
            assert_eq!(
                (&failed["job"]["state"], &failed["job"]["error"]),
                (&json!("FAILED"), &json!(why))
            );
        }
        let refused = ask(
            &kit,
            &acme.secret_key,
            CREATE,
            json!({"input": {"format": "CSV", "columns": [{"name": "plan", "target": "TRAIT"}]}}),
        )
        .await;
        assert_eq!(refused["importCreate"]["import"], Value::Null);
        assert_eq!(refused["importCreate"]["userErrors"][0]["field"], "columns");
        server.stop().await
    })
    .await
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

#[tokio::test]
async fn suppressed_addresses_are_kept_as_marks_and_each_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let file = "address\nann@example.com\nANN@example.com\nnobody\nbob@example.com\n";
        for (round, suppressed) in [2, 0].into_iter().enumerate() {
            let input = json!({"content": "SUPPRESSIONS", "format": "CSV", "dryRun": false, "columns": [{"name": "address", "target": "EMAIL"}]});
            let id = create(&kit, &acme, input).await;
            put(&server, &acme.secret_key, &id, &[], file).await?;
            kit.app.worker.drain().await?;
            let done = shown(&kit, &acme, &id).await;
            assert_eq!(
                done["counts"],
                json!({"lines": 4, "created": 0, "updated": 0, "merged": 0, "suppressed": suppressed, "refused": 1}),
                "{round}"
            );
        }
        let scope = acme.cx.db();
        let asked = [
            (entity::suppression::Channel::Email, "ann@example.com"),
            (entity::suppression::Channel::Email, "carl@example.com"),
            (entity::suppression::Channel::Phone, "ann@example.com"),
        ];
        let found = api::suppression::suppressed(&scope, &kit.app.env.secrets, &asked).await?;
        assert_eq!(found, [true, false, false]);
        let bolt = kit.tenant("bolt").await?;
        let found = api::suppression::suppressed(&bolt.cx.db(), &kit.app.env.secrets, &asked).await?;
        assert_eq!(found, [false, false, false]);
        assert_eq!(count(&kit, "SELECT count(*) FROM suppression").await?, 2);
        assert_eq!(count(&kit, "SELECT count(*) FROM contact").await?, 0);
        assert_eq!(count(&kit, "SELECT count(*) FROM job_chunk").await?, 0);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn an_import_does_not_bring_back_who_was_erased() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let ann = upsert(&kit, &acme, json!({"email": "ann@example.com"})).await;
        ask(&kit, &acme.secret_key, "mutation($id: ID!) { contactErase(input: {contactId: $id}) { userErrors { code } } }", json!({"id": ann})).await;
        kit.app.worker.drain().await?;
        let input = json!({"format": "CSV", "dryRun": false, "columns": [{"name": "mail", "target": "EMAIL"}]});
        let id = create(&kit, &acme, input).await;
        put(&server, &acme.secret_key, &id, &[], "mail\nann@example.com\nbob@example.com\n").await?;
        kit.app.worker.drain().await?;
        let done = shown(&kit, &acme, &id).await;
        assert_eq!(done["counts"], json!({"lines": 2, "created": 1, "updated": 0, "merged": 0, "suppressed": 0, "refused": 1}));
        assert_eq!(done["rejects"]["edges"][0]["node"]["reason"], "the person was erased");
        assert_eq!(count(&kit, "SELECT count(*) FROM contact").await?, 1);
        server.stop().await
    })
    .await
}

/// Lines of the file that is cut off in the middle.
const LINES: usize = 6_000;

#[tokio::test]
async fn an_import_that_is_killed_goes_on_and_repeats_nothing() -> anyhow::Result<()> {
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
        let input = json!({"format": "CSV", "dryRun": false, "columns": [{"name": "id", "target": "EXTERNAL_ID"}, {"name": "mail", "target": "EMAIL"}]});
        let made = gql(&growthos, CREATE, json!({"input": input})).await?;
        let id = made["importCreate"]["import"]["id"].as_str().unwrap().to_owned();
        let mut file = "id,mail\n".to_owned();
        for n in 0..LINES {
            writeln!(file, "u{n},u{n}@example.com")?;
        }
        let sent = client.put(format!("{}/imports/{id}", growthos.base)).bearer_auth(&key).body(file);
        anyhow::ensure!(sent.send().await?.status().is_success());
        let lines = async |growthos: &Growthos| {
            let shown = gql(growthos, SHOWN, json!({"id": id})).await?;
            anyhow::Ok((shown["import"]["counts"]["lines"].as_u64().unwrap_or_default(), shown["import"].clone()))
        };
        let mut read = 0;
        while read == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            read = lines(&growthos).await?.0;
        }
        growthos.kill_and_serve().await?;
        anyhow::ensure!(read < LINES as u64, "it was done before it was killed");
        let begun = tokio::time::Instant::now();
        let done = loop {
            let (_, shown) = lines(&growthos).await?;
            if shown["job"]["state"] == "SUCCEEDED" {
                break shown;
            }
            anyhow::ensure!(begun.elapsed().as_secs() < 300, "{shown}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        assert_eq!(done["counts"], json!({"lines": LINES, "created": LINES, "updated": 0, "merged": 0, "suppressed": 0, "refused": 0}));
        let seen = gql(&growthos, "{ contacts { totalCount } events(filter: {name: {eq: \"$set\"}}) { totalCount } }", json!({})).await?;
        assert_eq!(seen, json!({"contacts": {"totalCount": LINES}, "events": {"totalCount": LINES}}));
        Ok(())
    })
    .await
}
