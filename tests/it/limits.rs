//! What a document may ask for: documents that would cost the process its memory or its stack are refused before anything is
//! done for them, over every path; what clients ask in earnest is not.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_graphql::{Request, Variables};
use entity::ContactId;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{Kit, on_each_database, on_each_place, process::Growthos};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::contact::{ask, upsert};

/// Longer than any refusal takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each fragment spreads the next one twice: 2^24 fields out of a kilobyte.
fn bomb(operation: &str, root: &str) -> String {
    let fragments = (0..24)
        .map(|n| {
            let next = n + 1;
            format!(" fragment A{n} on {root} {{ ...A{next} ...A{next} }}")
        })
        .collect::<Vec<_>>()
        .concat();
    format!("{operation} {{ ...A0 }}{fragments} fragment A24 on {root} {{ __typename }}")
}

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

fn message(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_fragment_bomb_is_refused_over_every_path() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let server = kit.serve().await?;
        let url = server.url("/graphql");
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let query = bomb("query", "Query");
        assert!(query.len() < 1_000, "{}", query.len());
        for key in [&acme.secret_key, &acme.publishable_key] {
            let post = client.post(&url).bearer_auth(key);
            let answer: Value = post.json(&json!({"query": query})).send().await?.json().await?;
            assert_eq!(code(&answer), "QUERY_TOO_COMPLEX", "POST: {answer}");
        }
        let get = reqwest::Url::parse_with_params(&url, [("query", &query)])?;
        let get = client.get(get).bearer_auth(&acme.secret_key);
        let answer: Value = get.send().await?.json().await?;
        assert_eq!(code(&answer), "QUERY_TOO_COMPLEX", "GET: {answer}");

        let batch = json!([{"query": "{ tenant { name } }"}, {"query": query}, {"query": bomb("mutation", "Mutation")}]);
        let post = client.post(&url).bearer_auth(&acme.secret_key);
        let answer: Value = post.json(&batch).send().await?.json().await?;
        assert_eq!(answer[0]["data"]["tenant"]["name"], "acme");
        for part in [1, 2] {
            assert_eq!(code(&answer[part]), "QUERY_TOO_COMPLEX", "batch: {answer}");
        }

        let mut request = server.ws_url().into_client_request()?;
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (mut socket, _) = connect_async(request).await?;
        let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {}", acme.secret_key)}});
        socket.send(Message::text(init.to_string())).await?;
        // who subscribes before the acknowledgement is hung up on
        loop {
            let heard = timeout(PATIENCE, socket.next()).await?.context("the socket ended")??;
            if heard.to_text().is_ok_and(|text| text.contains("connection_ack")) {
                break;
            }
        }
        for (id, query) in [("1", query), ("2", bomb("subscription", "Subscription"))] {
            let subscribe = json!({"type": "subscribe", "id": id, "payload": {"query": query}});
            socket.send(Message::text(subscribe.to_string())).await?;
            let told = loop {
                let heard = timeout(PATIENCE, socket.next()).await?.context("the socket ended")??;
                let Message::Text(text) = heard else { continue };
                let told: Value = serde_json::from_str(&text)?;
                if told["id"] == id {
                    break told;
                }
            };
            assert_eq!(told["type"], "error", "{told}");
            assert_eq!(told["payload"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX", "{told}");
        }
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn fragments_that_no_operation_spreads_or_that_spread_themselves_are_refused()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let unused = format!("query Q {{ __typename }} {}", bomb("query R", "Query"));
        let answer = kit.gql(&acme.secret_key, &unused, json!({})).await;
        assert_eq!(code(&answer), "QUERY_TOO_COMPLEX");
        for cycle in [
            "{ ...A } fragment A on Query { ...A ...A }",
            "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }",
            "{ __typename } fragment A on Query { ...B } fragment B on Query { ...A }",
        ] {
            let answer = kit.gql(&acme.secret_key, cycle, json!({})).await;
            assert_eq!(code(&answer), "GRAPHQL_VALIDATION_FAILED", "{cycle}");
            assert_eq!(message(&answer), "a fragment spreads itself", "{cycle}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pages_within_pages_are_refused_before_they_are_read() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let nothing = kit.statements_of(&acme.secret_key, "{ __typename }", json!({})).await;
        let nested = |size: &str| {
            format!(
                "contacts({size}) {{ edges {{ node {{ events({size}) {{ edges {{ node {{ contact {{
                    events({size}) {{ edges {{ node {{ id name }} }} }} }} }} }} }} }} }} }}"
            )
        };
        for (document, variables) in [
            (format!("{{ {} }}", nested("first: 100")), json!({})),
            (format!("{{ {} }}", nested("last: 100")), json!({})),
            (format!("{{ {} }}", nested("first: 2147483647")), json!({})),
            (format!("query ($n: Int) {{ {} }}", nested("first: $n")), json!({"n": 100})),
            (format!("query ($n: Int = 100) {{ {} }}", nested("first: $n")), json!({})),
            // 25 each, where nothing is said; so also where a null is.
            (format!("query ($n: Int = 100) {{ {} }}", nested("first: $n")), json!({"n": null})),
            (format!("{{ {} }}", nested("after: null")), json!({})),
            (
                "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Contact { events(first: 100) { edges { node {
                    id name source occurredAt } } } } } }".to_owned(),
                json!({"ids": vec!["contact_0"; 100]}),
            ),
            (
                "{ contacts(first: 100) { ...C } } fragment C on ContactConnection { edges { node { ...E } } }
                 fragment E on Contact { events(first: 100) { edges { node { contact { ...T } } } } }
                 fragment T on Contact { identifiers { kind value verification firstSeenAt lastSeenAt } }".to_owned(),
                json!({}),
            ),
        ] {
            let answer = kit.gql(&acme.secret_key, &document, variables.clone()).await;
            assert_eq!(code(&answer), "QUERY_TOO_COMPLEX", "{document}: {answer}");
            assert!(message(&answer).contains("the limit is 50000"), "{}", message(&answer));
            assert_eq!(answer.get("data"), Some(&Value::Null), "{document}");
            assert_eq!(kit.statements_of(&acme.secret_key, &document, variables).await, nothing, "{document}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn documents_of_ordinary_clients_are_within_the_limits() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        upsert(&kit, &acme, json!({"externalId": "u1", "name": "Ann"})).await;
        for document in [
            INTROSPECTION,
            // a page of people with what PostHog tells of each
            "{ contacts(first: 100) { totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
                edges { cursor node { id status name email phone createdAt lastSeenAt traits
                    identifiers { kind value }
                    attribution { firstTouch { source medium campaign } lastTouch { source medium campaign } } } } } }",
            // a page of people with the first page of what each did
            "{ contacts(first: 100) { edges { node { id name email
                events(first: 25) { totalCount pageInfo { hasNextPage endCursor }
                    edges { cursor node { id name properties context source messageId occurredAt receivedAt } } } } } } }",
            // the widest page of one level in another
            "{ contacts(first: 100) { edges { node { id events(first: 100) { edges { node { id name } } } } } } }",
        ] {
            let answer = kit.gql(&acme.secret_key, document, json!({})).await;
            assert_eq!(answer["errors"], Value::Null, "{document}");
        }
        // PostHog is not connected here: the document is refused by that, not by its cost.
        let joined = "{ contacts(first: 100) { edges { node { id name email analytics {
            week: activity(window: \"P7D\") { eventCount pageviewCount sessionCount activeDays firstSeenAt lastSeenAt lastUrl asOf }
            month: activity(window: \"P30D\") { eventCount pageviewCount sessionCount activeDays firstSeenAt lastSeenAt lastUrl asOf }
            revenue: metric(key: \"revenue\") { key value asOf } orders: metric(key: \"orders\") { key value asOf }
            featureFlag(key: \"beta\") { key enabled variant payload reason } featureFlags { key enabled variant } personUrl } } } } }";
        let answer = kit.gql(&acme.secret_key, joined, json!({})).await;
        assert_eq!(code(&answer), "POSTHOG_NOT_CONNECTED", "{answer}");
        Ok(())
    })
    .await
}

/// What graphql-js, and so GraphiQL and the code generators, ask with every option on.
const INTROSPECTION: &str = "query IntrospectionQuery { __schema { description
    queryType { name kind } mutationType { name kind } subscriptionType { name kind }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } } } }
fragment FullType on __Type { kind name description specifiedByURL isOneOf
    fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue }
        type { ...TypeRef } isDeprecated deprecationReason }
    inputFields(includeDeprecated: true) { ...InputValue }
    interfaces { ...TypeRef }
    enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
    possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType {
    kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }";

#[tokio::test]
async fn a_wide_introspection_is_refused() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let nested = (0..5).fold("name".to_owned(), |inner, _| {
            format!("fields {{ type {{ {inner} ofType {{ {inner} }} }} }}")
        });
        let nested = format!("{{ __schema {{ types {{ {nested} }} }} }}");
        let repeated = (0..30).map(|n| format!("a{n}: __schema {{ types {{ ...T }} }} ")).collect::<Vec<_>>().concat();
        let repeated = format!("{{ {repeated} }} fragment T on __Type {{ fields {{ name args {{ name type {{ name kind }} }} type {{ name kind ofType {{ name kind }} }} }} }}");
        for document in [&nested, &repeated] {
            let answer = kit.gql(&acme.secret_key, document, json!({})).await;
            assert!(message(&answer).ends_with("values with pages of these sizes, the limit is 50000"), "{answer}");
        }
        Ok(())
    })
    .await
}

/// As deep as documents may be: 12 fields, as many brackets within each other as the engine takes, introspection likewise.
fn deepest() -> [String; 3] {
    let people = "{ me { events(first: 1) { edges { node { contact { events(first: 1) { edges { node { contact {
        nudges(first: 1) { edges { cursor } } } } } } } } } } } }";
    let wrapped = |name: &str, inner: &str| format!("{name} {{ ... {{ ... {{ {inner} }} }} }}");
    let spread = [
        "me",
        "events(first: 1)",
        "edges",
        "node",
        "contact",
        "events(first: 1)",
        "edges",
        "node",
        "contact",
    ]
    .iter()
    .rev()
    .fold(
        "events(first: 1) { edges { cursor } }".to_owned(),
        |inner, name| wrapped(name, &inner),
    );
    let types = "{ __type(name: \"Contact\") { fields { type { ofType { fields { type { ofType { fields { type { ofType {
        fields { type { ofType { kind } } } } } } } } } } } } } }";
    [
        people.to_owned(),
        format!("{{ {spread} }}"),
        types.to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_document_leaves_the_process_standing() -> anyhow::Result<()> {
    on_each_place(async |_, url| {
        let growthos = Growthos::start(url).await?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let ask = async |key: &Value, query: &str, variables: Value| -> anyhow::Result<Value> {
            let post = client.post(format!("{}/graphql", growthos.base));
            let post = post.bearer_auth(key.as_str().context("no key")?);
            let answer = post.json(&json!({"query": query, "variables": variables}));
            let answer: Value = answer.send().await?.json().await?;
            ensure!(answer.get("errors").is_none(), "{query}: {answer}");
            Ok(answer)
        };
        let secret = &growthos.tenant["secretKey"];
        let made = ask(
            secret,
            "mutation { contactUpsert(input: {externalId: \"u1\"}) { contact { id } } }",
            json!({}),
        )
        .await?;
        let made = ask(
            secret,
            "mutation ($id: ID!) { contactTokenCreate(input: {contactId: $id}) { token } }",
            json!({"id": made["data"]["contactUpsert"]["contact"]["id"]}),
        )
        .await?;
        let token = &made["data"]["contactTokenCreate"]["token"];
        for document in deepest() {
            ask(token, &document, json!({})).await?;
        }
        ask(secret, "{ tenant { name } }", json!({})).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_subscription_has_one_field_at_its_root() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let id = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let token = kit.contact_token(&acme, ContactId::parse(&id).context("no id")?).await?;
        for (document, refusal) in [
            ("subscription { a: nudges { __typename } b: nudges { __typename } }", "a subscription asks for one field"),
            ("subscription { nudges { __typename } ...F } fragment F on Subscription { b: nudges { __typename } }", "a subscription asks for one field"),
            ("subscription { __typename }", "a subscription cannot ask for introspection"),
            ("subscription { nudges { __typename } ... { __typename } }", "a subscription asks for one field"),
            ("subscription { nudges @include(if: false) { __typename } }", "what a subscription asks for cannot be skipped"),
            ("subscription { ... @skip(if: true) { nudges { __typename } } }", "what a subscription asks for cannot be skipped"),
        ] {
            let answer = first(&kit, &token, document, None).await?;
            assert_eq!(message(&answer), refusal, "{document}");
            assert_eq!(code(&answer), "GRAPHQL_VALIDATION_FAILED", "{document}");
            assert_eq!(answer["errors"][0].get("path"), None, "{document}");
        }
        // Only the document as a whole is asked about: which of its operations runs changes nothing.
        let several = "subscription A { nudges { __typename } } subscription B { a: nudges { __typename } b: nudges { __typename } }";
        let answer = first(&kit, &token, several, Some("A")).await?;
        assert_eq!(message(&answer), "a subscription asks for one field", "{answer}");
        let seen = ask(&kit, &token, "{ me { id } }", json!({})).await;
        assert_eq!(seen["me"]["id"], id);
        Ok(())
    })
    .await
}

/// The first item of a subscription.
async fn first(
    kit: &Kit,
    token: &str,
    document: &str,
    operation: Option<&str>,
) -> anyhow::Result<Value> {
    let caller = kit.app.principals.by_token(token).await?;
    let mut request = Request::new(document).variables(Variables::default());
    request.operation_name = operation.map(ToOwned::to_owned);
    let items = kit.subscribe(caller, request);
    let mut items = std::pin::pin!(items);
    let item = timeout(Duration::from_secs(2), items.next()).await;
    let item = item.with_context(|| format!("nothing is said to {document}"))?;
    Ok(serde_json::to_value(
        item.with_context(|| format!("{document} ended"))?,
    )?)
}
