//! Whom the process takes for its client.

use api::config::Config;
use reqwest::{Client, header};
use serde_json::{Value, json};
use tests::{Kind, Kit};

/// The address that an event was noted with, and whether the answer asked to stay with TLS.
async fn noted(
    trusted: &[&str],
    headers: &[(&'static str, &str)],
) -> anyhow::Result<(Value, bool)> {
    let config = Config {
        trusted_proxies: trusted
            .iter()
            .map(|net| net.parse())
            .collect::<Result<_, _>>()?,
        ..Config::default()
    };
    let kit = Kit::with(Kind::Sqlite, config).await?;
    let acme = kit.tenant("acme").await?;
    let server = kit.serve().await?;
    let mut request = Client::new().post(server.url("/e/")).json(&json!({
        "api_key": acme.publishable_key, "event": "seen", "distinct_id": "a",
    }));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await?;
    anyhow::ensure!(answer.status().is_success(), "{answer:?}");
    let stays = answer
        .headers()
        .contains_key(header::STRICT_TRANSPORT_SECURITY);
    let query = "{ events(filter: {name: {eq: \"seen\"}}) { edges { node { context } } } }";
    let mut events = kit.gql(&acme.secret_key, query, json!({})).await;
    server.stop().await?;
    let ip = events["data"]["events"]["edges"][0]["node"]["context"]["ip"].take();
    Ok((ip, stays))
}

#[tokio::test]
async fn what_a_proxy_says_of_its_client_counts_where_the_proxy_is_trusted() -> anyhow::Result<()> {
    let forged = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.7"),
        ("x-real-ip", "203.0.113.7"),
    ];
    for trusted in [&[][..], &["10.0.0.0/8"]] {
        assert_eq!(
            noted(trusted, &forged).await?,
            (json!("127.0.0.1"), false),
            "{trusted:?}"
        );
    }
    let trusted = ["127.0.0.0/8", "10.0.0.0/8"];
    assert_eq!(
        noted(&trusted, &forged).await?,
        (json!("203.0.113.7"), true)
    );
    let chain = [("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.9")];
    assert_eq!(
        noted(&trusted, &chain).await?,
        (json!("203.0.113.7"), false)
    );
    Ok(())
}
