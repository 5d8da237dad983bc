//! The command line as an operator types it, beside a server on the same database.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tests::{Server, on_each_database, process::command};

use crate::contact::ask;

const SEEN: &str =
    "mutation Seen { track(input: {event: \"seen\", anonymousId: \"a\"}) { accepted } }";
const NAME: &str = "query Name { tenant { name } }";

struct Ran {
    ok: bool,
    out: String,
    err: String,
}

async fn growthos(database_url: &str, arguments: &[&str]) -> anyhow::Result<Ran> {
    let done = command(database_url, arguments)?.output().await?;
    Ok(Ran {
        ok: done.status.success(),
        out: String::from_utf8(done.stdout)?,
        err: String::from_utf8(done.stderr)?,
    })
}

fn sha256(text: &str) -> String {
    api::base::fingerprint(text.as_bytes())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn post(server: &Server, key: &str, body: &Value) -> anyhow::Result<Value> {
    let request = reqwest::Client::new().post(server.url("/graphql"));
    let sent = request.bearer_auth(key).json(body).send().await?;
    Ok(sent.json().await?)
}

#[tokio::test]
async fn documents_that_were_pushed_from_files_run_where_others_are_refused() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let folder = tempfile::tempdir()?;
        let (plain, relay, apollo) = (folder.path().join("Seen.graphql"), folder.path().join("persisted_queries.json"), folder.path().join("persisted-query-manifest.json"));
        let ping = "query Ping { __typename }";
        fs::write(&plain, SEEN)?;
        fs::write(&relay, json!({sha256(NAME): NAME}).to_string())?;
        fs::write(&apollo, json!({"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id": sha256(ping), "name": "Ping", "type": "query", "body": ping}]}).to_string())?;
        let require = "mutation { tenantUpdate(input: {requirePersistedOperations: true}) { userErrors { code } } }";
        ask(&kit, &acme.secret_key, require, json!({})).await;
        let by_hash = json!({"documentId": format!("sha256:{}", sha256(SEEN))});
        let refused = post(&server, &acme.publishable_key, &json!({"query": SEEN})).await?;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_REQUIRED");

        let id = acme.id.to_string();
        let push = ["operations", "push", "--tenant", &id, text(&plain), text(&relay), text(&apollo)];
        let pushed = growthos(kit.database_url(), &push).await?;
        assert!(pushed.ok, "{}", pushed.err);
        let expected = format!("sha256:{}  Seen\nsha256:{}  \nsha256:{}  Ping\n", sha256(SEEN), sha256(NAME), sha256(ping));
        assert_eq!(pushed.out, expected);
        // again, as every release does
        assert_eq!(growthos(kit.database_url(), &push).await?.out, expected);

        for body in [&by_hash, &json!({"query": SEEN})] {
            let answer = post(&server, &acme.publishable_key, body).await?;
            assert_eq!(answer["data"]["track"]["accepted"], true, "{answer}");
        }
        let listed = ask(&kit, &acme.secret_key, "{ operations { edges { node { name pushedBy } } } }", json!({})).await;
        let mut listed: Vec<String> = listed["operations"]["edges"].as_array().unwrap().iter().map(|edge| edge["node"].to_string()).collect();
        listed.sort_unstable();
        assert_eq!(listed, [r#"{"name":"Ping","pushedBy":"system"}"#, r#"{"name":"Seen","pushedBy":"system"}"#, r#"{"name":null,"pushedBy":"system"}"#]);
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_bad_file_is_named_and_nothing_is_trusted() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let good = file("Name.graphql", NAME.as_bytes());
        let id = acme.id.to_string();
        for (bad, message) in [
            (file("unknown.graphql", b"{ nothing }"), "operations.0.text: the document is not valid at line 1, column 3: "),
            (file("broken.graphql", b"{ tenant {"), "operations.0.text: syntax error at line 1, column 11"),
            (file("empty.graphql", b""), "operations.0.text: "),
            (file("binary.graphql", b"\xff\xfe"), "stream did not contain valid UTF-8"),
            (file("list.json", b"[1]"), "it is neither Relay's persisted_queries.json nor Apollo's persisted-query-manifest.json"),
            (file("md5.json", json!({"d41d8cd98f00b204e9800998ecf8427e": NAME}).to_string().as_bytes()), "operations.0.hash: it is not the SHA-256 of the text"),
            (folder.path().join("missing.graphql"), "cannot read "),
        ] {
            // a good one before it is not trusted either
            let push = ["operations", "push", "--tenant", &id, text(&good), text(&bad)];
            let refused = growthos(kit.database_url(), &push).await?;
            assert!(!refused.ok && refused.out.is_empty(), "{}", refused.out);
            let name = bad.file_name().unwrap().to_str().unwrap();
            assert!(refused.err.contains(name) && refused.err.contains(message), "{}", refused.err);
        }
        for (tenant, message) in [
            ("tenant_01h455vb4pex5vsknk084sn02q", "there is no tenant tenant_01h455vb4pex5vsknk084sn02q"),
            ("acme", "\"acme\" is not a tenant's id"),
        ] {
            let push = ["operations", "push", "--tenant", tenant, text(&good)];
            let refused = growthos(kit.database_url(), &push).await?;
            assert!(!refused.ok && refused.err.contains(message), "{}", refused.err);
        }
        let trusted = ask(&kit, &acme.secret_key, "{ operations { totalCount } }", json!({})).await;
        assert_eq!(trusted["operations"]["totalCount"], 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tenants_limits_are_set_shown_and_held() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = acme.id.to_string();
        let set = growthos(kit.database_url(), &["tenant", "limits", &id, "--cost-max", "100", "--subscriptions-max", "7"]).await?;
        assert!(set.ok, "{}", set.err);
        assert_eq!(
            set.out,
            "cost at most               100\npoints a minute            120000000\npoints a minute of a key   60000000\nsubscriptions              7\nsubscriptions of a contact 20\n"
        );
        let limits = "{ tenant { limits { costMax subscriptionsMax } } }";
        let seen = ask(&kit, &acme.secret_key, limits, json!({})).await;
        assert_eq!(seen["tenant"]["limits"], json!({"costMax": 100, "subscriptionsMax": 7}));
        let wide = "{ contacts(first: 100) { edges { node { id name } } } }";
        let refused = kit.gql(&acme.secret_key, wide, json!({})).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX");

        for (arguments, message) in [
            (["tenant", "limits", &id, "--cost-max", "1"], "costMax"),
            (["tenant", "limits", &id, "--cost-max", "x"], "invalid value 'x'"),
            (["tenant", "limits", "tenant_01h455vb4pex5vsknk084sn02q", "--cost-max", "100"], "there is no tenant tenant_01h455vb4pex5vsknk084sn02q"),
            (["tenant", "limits", "acme", "--cost-max", "100"], "\"acme\" is not a tenant's id"),
        ] {
            let refused = growthos(kit.database_url(), &arguments).await?;
            assert!(!refused.ok && refused.err.contains(message), "{arguments:?}: {}", refused.err);
        }
        let seen = ask(&kit, &acme.secret_key, limits, json!({})).await;
        assert_eq!(seen["tenant"]["limits"], json!({"costMax": 100, "subscriptionsMax": 7}));
        Ok(())
    })
    .await
}
