//! Every root field is tried by another tenant with this tenant's ids over HTTP and over a WebSocket: nothing of
//! this tenant shows, and nothing of it changes. `coverage` holds the exact answers.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::{Kit, Server, Tenant, on_each_database};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Secret,
    Contact,
    /// Reaches every tenant by right; tried as the other tenant's secret key, which must be refused.
    OperatorsOwn,
}

/// Each root field, who could use it, and how it is tried. `$…` stand for acme's ids.
const TRIED: &[(&str, As, &str)] = &[
    (
        "contactView",
        As::Secret,
        "{ a: contactView(id: \"$view\") { id name } b: contactView(key: \"acme-view\") { id name rows { edges { node { contact { name } cells { text } } } } } }",
    ),
    (
        "contactViews",
        As::Secret,
        "{ contactViews { totalCount edges { node { id name rows { totalCount edges { node { contact { id name } } } } } } } }",
    ),
    (
        "contactViewSave",
        As::Secret,
        "mutation { contactViewSave(input: {id: \"$view\", key: \"theirs\", columns: []}) { view { name } userErrors { field } } }",
    ),
    (
        "contactViewDelete",
        As::Secret,
        "mutation { contactViewDelete(input: {id: \"$view\"}) { deletedId userErrors { field } } }",
    ),
    (
        "contactViewExport",
        As::Secret,
        "mutation { contactViewExport(input: {id: \"$view\"}) { job { id } userErrors { field } } }",
    ),
    (
        "segment",
        As::Secret,
        "{ a: segment(id: \"$segment\") { id name } b: segment(key: \"acme-all\") { id name } }",
    ),
    (
        "segments",
        As::Secret,
        "{ segments { totalCount edges { node { id name members { edges { node { id name } } } } } } }",
    ),
    (
        "segmentEstimate",
        As::Secret,
        "{ segmentEstimate(rule: {or: [{segment: {key: \"acme-all\"}}, {event: {name: \"signup\"}}, {state: {state: \"nudge.offered\", key: \"acme-welcome\"}}]}) { count sample { id name } } }",
    ),
    (
        "segmentExplain",
        As::Secret,
        "{ segmentExplain(id: \"$segment\", contactId: \"$contact\") { segment { name } contact { name } nodes { seen } } }",
    ),
    (
        "segmentSave",
        As::Secret,
        "mutation { segmentSave(input: {key: \"mine\", rule: {segment: {key: \"acme-all\"}}}) { segment { name } userErrors { field } } }",
    ),
    (
        "segmentDelete",
        As::Secret,
        "mutation { segmentDelete(input: {id: \"$segment\"}) { deletedId userErrors { field } } }",
    ),
    (
        "segmentMembersAdd",
        As::Secret,
        "mutation { segmentMembersAdd(input: {id: \"$segment\", contactIds: [\"$contact\"]}) { segment { name } userErrors { field } } }",
    ),
    (
        "segmentMembersRemove",
        As::Secret,
        "mutation { segmentMembersRemove(input: {id: \"$segment\", contactIds: [\"$contact\"]}) { segment { name } userErrors { field } } }",
    ),
    (
        "contact",
        As::Secret,
        "{ a: contact(id: \"$contact\") { id name } b: contact(by: {externalId: \"acme-user\"}) { id name } }",
    ),
    (
        "account",
        As::Secret,
        "{ account(by: {type: \"company\", key: \"acme\"}) { id name } }",
    ),
    (
        "accounts",
        As::Secret,
        "{ accounts { totalCount edges { node { id name contacts { totalCount } } } } }",
    ),
    (
        "contacts",
        As::Secret,
        "{ contacts(filter: {externalId: {startsWith: \"acme\"}}) { totalCount edges { node { id name } } } }",
    ),
    (
        "operations",
        As::Secret,
        "{ operations { totalCount edges { node { id name text } } } }",
    ),
    (
        "deadLetters",
        As::Secret,
        "{ deadLetters { totalCount edges { node { id error } } } }",
    ),
    (
        "events",
        As::Secret,
        "{ events(filter: {contactId: \"$contact\"}) { totalCount edges { node { id name } } } }",
    ),
    (
        "erasures",
        As::Secret,
        "{ erasures(filter: {contactId: \"$contact\"}) { totalCount edges { node { id } } } }",
    ),
    ("featureFlags", As::Secret, "{ featureFlags { key } }"),
    (
        "hogql",
        As::Secret,
        "{ hogql(query: \"SELECT distinct_id FROM events\") { rows } }",
    ),
    (
        "import",
        As::Secret,
        "{ import(id: \"$import\") { id uploadUrl } }",
    ),
    (
        "imports",
        As::Secret,
        "{ imports { totalCount edges { node { id } } } }",
    ),
    ("job", As::Secret, "{ job(id: \"$job\") { id kind } }"),
    (
        "jobs",
        As::Secret,
        "{ jobs { totalCount edges { node { id kind } } } }",
    ),
    ("me", As::Contact, "{ me { id name } }"),
    (
        "metrics",
        As::Secret,
        "{ metrics { totalCount edges { node { key name } } } }",
    ),
    (
        "node",
        As::Secret,
        "{ a: node(id: \"$contact\") { id } b: node(id: \"$event\") { id } c: node(id: \"$nudge\") { id } d: node(id: \"$delivery\") { id } e: node(id: \"$posthog\") { id } f: node(id: \"$key\") { id } g: node(id: \"$tenant\") { id } }",
    ),
    (
        "nodes",
        As::Contact,
        "{ nodes(ids: [\"$contact\", \"$event\", \"$nudge\", \"$delivery\", \"$metric\", \"$identifier\", \"$version\"]) { id } }",
    ),
    (
        "nudge",
        As::Secret,
        "{ a: nudge(id: \"$nudge\") { id name } b: nudge(key: \"acme-welcome\") { id name } }",
    ),
    (
        "nudges",
        As::Secret,
        "{ nudges { totalCount edges { node { id name } } } }",
    ),
    (
        "auditLog",
        As::Secret,
        "{ auditLog { edges { node { objectId actor { id } changes } } } of: auditLog(filter: {objectId: \"$nudge\"}) { edges { node { id } } } }",
    ),
    (
        "tenant",
        As::Secret,
        "{ tenant { id name apiKeys { id name } issuers { id issuer } posthog { id } } }",
    ),
    (
        "traitDefinitions",
        As::Secret,
        "{ traitDefinitions { totalCount edges { node { id key description } } } }",
    ),
    ("traitSchema", As::Secret, "{ traitSchema { lockedAt } }"),
    (
        "tenants",
        As::OperatorsOwn,
        "{ tenants { edges { node { id name } } } }",
    ),
    (
        "alias",
        As::Secret,
        "mutation { alias(input: {userId: \"acme-user\", alias: \"acme-browser\"}) { contact { id name } } }",
    ),
    (
        "apiKeyCreate",
        As::Secret,
        "mutation { apiKeyCreate(input: {kind: SECRET, name: \"x\", scopes: [\"*\"]}) { apiKey { name } } }",
    ),
    (
        "apiKeyRevoke",
        As::Secret,
        "mutation { apiKeyRevoke(input: {id: \"$key\"}) { apiKey { id name } userErrors { code } } }",
    ),
    (
        "apiKeyRotate",
        As::Secret,
        "mutation { apiKeyRotate(input: {id: \"$key\"}) { apiKey { id name } userErrors { code } } }",
    ),
    (
        "accountUpsert",
        As::Secret,
        "mutation { accountUpsert(input: {type: \"company\", key: \"acme\", name: \"stolen\"}) { account { name } userErrors { code } } }",
    ),
    (
        "relationshipEnd",
        As::Secret,
        "mutation { relationshipEnd(input: {id: \"relationship_01h455vb4pex5vsknk084sn02q\"}) { userErrors { code } } }",
    ),
    (
        "relationshipSet",
        As::Secret,
        "mutation { relationshipSet(input: {fromId: \"$contact\", to: {externalId: \"bolt-user\"}, kind: REFERRED}) { relationship { id } userErrors { code } } }",
    ),
    (
        "consentSet",
        As::Secret,
        "mutation { consentSet(input: {contactId: \"$contact\", topic: \"news\", channel: EMAIL, state: DENIED}) { consent { topic } userErrors { code } } }",
    ),
    (
        "traitDefinitionSave",
        As::Secret,
        "mutation { traitDefinitionSave(input: {key: \"name\", type: STRING, description: \"stolen\"}) { userErrors { code } } }",
    ),
    (
        "traitSchemaSave",
        As::Secret,
        "mutation { traitSchemaSave(input: {locked: false}) { traitSchema { lockedAt } } }",
    ),
    (
        "contactErase",
        As::Secret,
        "mutation { contactErase(input: {contactId: \"$contact\"}) { erasure { id } userErrors { code } } }",
    ),
    (
        "contactExport",
        As::Secret,
        "mutation { contactExport(input: {contactId: \"$contact\"}) { job { id } userErrors { code } } }",
    ),
    (
        "contactTokenCreate",
        As::Secret,
        "mutation { contactTokenCreate(input: {contactId: \"$contact\"}) { token userErrors { code } } }",
    ),
    (
        "contactUpdate",
        As::Secret,
        "mutation { contactUpdate(input: {id: \"$contact\", name: \"stolen\"}) { contact { id name } userErrors { code } } }",
    ),
    (
        "contactUpsert",
        As::Secret,
        "mutation { contactUpsert(input: {externalId: \"acme-user\", name: \"stolen\"}) { contact { id } userErrors { code } } }",
    ),
    (
        "deadLetterReplay",
        As::Secret,
        "mutation { deadLetterReplay(input: {ids: [\"$letter\"]}) { userErrors { code } } }",
    ),
    (
        "identify",
        As::Secret,
        "mutation { identify(input: {userId: \"acme-user\", traits: {name: \"stolen\"}}) { contact { id } } }",
    ),
    (
        "importApply",
        As::Secret,
        "mutation { importApply(input: {id: \"$import\"}) { import { id } userErrors { code } } }",
    ),
    (
        "importCreate",
        As::Secret,
        "mutation { importCreate(input: {format: JSONL, columns: [{name: \"id\", target: EXTERNAL_ID}]}) { userErrors { code } } }",
    ),
    (
        "issuerDelete",
        As::Secret,
        "mutation { issuerDelete(input: {id: \"$issuer\"}) { deletedId userErrors { code } } }",
    ),
    (
        "issuerSave",
        As::Secret,
        "mutation { issuerSave(input: {id: \"$issuer\", kind: CONTACT, issuer: \"stolen\", algorithms: [HS256], sharedSecret: \"a secret of the thief's, of 32 bytes\"}) { issuer { id issuer } userErrors { code } } }",
    ),
    (
        "jobCancel",
        As::Secret,
        "mutation { jobCancel(input: {id: \"$job\"}) { job { id } userErrors { code } } }",
    ),
    (
        "metricDelete",
        As::Secret,
        "mutation { metricDelete(input: {id: \"$metric\"}) { userErrors { code } } }",
    ),
    (
        "metricSave",
        As::Secret,
        "mutation { metricSave(input: {key: \"acme-count\", expression: \"count()\"}) { metric { name } } }",
    ),
    (
        "nudgeArchive",
        As::Secret,
        "mutation { nudgeArchive(input: {id: \"$nudge\"}) { nudge { id } userErrors { code } } }",
    ),
    (
        "nudgeInteractionsRecord",
        As::Contact,
        "mutation { nudgeInteractionsRecord(input: {interactions: [{deliveryId: \"$delivery\", kind: CLICKED, clientId: \"x\", at: \"2026-01-01T09:00:00Z\"}]}) { userErrors { code } } }",
    ),
    (
        "nudgePublish",
        As::Secret,
        "mutation { nudgePublish(input: {id: \"$nudge\"}) { nudge { id } userErrors { code } } }",
    ),
    (
        "nudgeSave",
        As::Secret,
        "mutation { nudgeSave(input: {id: \"$nudge\", name: \"stolen\", surface: \"app\", content: {title: \"stolen\", body: \"x\"}, trigger: {event: \"x\"}}) { nudge { id name } userErrors { code } } }",
    ),
    (
        "operationDelete",
        As::Secret,
        "mutation { operationDelete(input: {id: \"$operation\"}) { operation { id name } userErrors { code } } }",
    ),
    (
        "operationsPush",
        As::Secret,
        "mutation { operationsPush(input: {operations: [{text: \"{ tenant { name } }\"}]}) { userErrors { code } } }",
    ),
    (
        "posthogConnect",
        As::Secret,
        "mutation { posthogConnect(input: {ingestHost: \"http://127.0.0.1:9\", apiHost: \"http://127.0.0.1:9\", uiHost: \"http://127.0.0.1:9\", projectId: \"7\", projectToken: \"phc_other\"}) { connection { projectId } } }",
    ),
    (
        "posthogDisconnect",
        As::Secret,
        "mutation { posthogDisconnect(input: {id: \"$posthog\"}) { disconnectedId userErrors { code } } }",
    ),
    (
        "tenantCreate",
        As::OperatorsOwn,
        "mutation { tenantCreate(input: {name: \"x\"}) { tenant { id } } }",
    ),
    (
        "tenantDelete",
        As::OperatorsOwn,
        "mutation { tenantDelete(input: {id: \"$tenant\", name: \"acme\"}) { userErrors { code } } }",
    ),
    (
        "tenantLimitsSet",
        As::OperatorsOwn,
        "mutation { tenantLimitsSet(input: {id: \"$tenant\", costMax: 100}) { limits { costMax } } }",
    ),
    (
        "tenantRetentionSet",
        As::OperatorsOwn,
        "mutation { tenantRetentionSet(input: {id: \"$tenant\", eventRetention: \"P30D\"}) { tenant { id } } }",
    ),
    (
        "tenantResume",
        As::OperatorsOwn,
        "mutation { tenantResume(input: {id: \"$tenant\"}) { tenant { id } } }",
    ),
    (
        "tenantSuspend",
        As::OperatorsOwn,
        "mutation { tenantSuspend(input: {id: \"$tenant\"}) { tenant { id } } }",
    ),
    (
        "tenantUpdate",
        As::Secret,
        "mutation { tenantUpdate(input: {requirePersistedOperations: false}) { tenant { name } } }",
    ),
    (
        "track",
        As::Secret,
        "mutation { track(input: {event: \"stolen\", contactId: \"$contact\"}) { accepted contact { id } userErrors { code } } }",
    ),
    (
        "trackBatch",
        As::Secret,
        "mutation { trackBatch(input: {events: [{event: \"stolen\", contactId: \"$contact\"}]}) { accepted userErrors { code } } }",
    ),
    (
        "nudges",
        As::Contact,
        "subscription { nudges { __typename ... on NudgeDelivered { delivery { id } } } }",
    ),
    (
        "contactMerge",
        As::Secret,
        "mutation { contactMerge(input: {contactIds: [\"$contact\", \"$contact\"]}) { contact { id name } userErrors { code } } }",
    ),
    (
        "contactMergePreview",
        As::Secret,
        "{ contactMergePreview(contactIds: [\"$contact\", \"$contact\"]) { survivor { id name } userErrors { code } } }",
    ),
    (
        "contactUnmerge",
        As::Secret,
        "mutation { contactUnmerge(input: {contactId: \"$contact\"}) { contact { id name } userErrors { code } } }",
    ),
    (
        "identityBlockAdd",
        As::Secret,
        "mutation { identityBlockAdd(input: {value: {externalId: \"acme-user\"}}) { identityBlock { value } userErrors { code } } }",
    ),
    (
        "identityBlockRemove",
        As::Secret,
        "mutation { identityBlockRemove(input: {id: \"block_01h455vb4pex5vsknk084sn02q\"}) { userErrors { code } } }",
    ),
    (
        "identityBlocks",
        As::Secret,
        "{ identityBlocks { totalCount edges { node { value } } } }",
    ),
    (
        "identityPolicy",
        As::Secret,
        "{ identityPolicy { proofRequired } }",
    ),
    (
        "identityPolicySave",
        As::Secret,
        "mutation { identityPolicySave(input: {limits: []}) { userErrors { code } } }",
    ),
    (
        "identityProofSecretRotate",
        As::Secret,
        "mutation { identityProofSecretRotate(input: {}) { userErrors { code } } }",
    ),
    (
        "mergeProposalApprove",
        As::Secret,
        "mutation { mergeProposalApprove(input: {id: \"proposal_01h455vb4pex5vsknk084sn02q\"}) { userErrors { code } } }",
    ),
    (
        "mergeProposalReject",
        As::Secret,
        "mutation { mergeProposalReject(input: {id: \"proposal_01h455vb4pex5vsknk084sn02q\"}) { userErrors { code } } }",
    ),
    (
        "mergeProposals",
        As::Secret,
        "{ mergeProposals { totalCount edges { node { id } } } }",
    ),
    (
        "resolve",
        As::Secret,
        "{ resolve(by: {externalId: \"acme-user\"}) { contact { id name } } }",
    ),
];

const ROOTS: &str = "{ __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { fields { name } } } }";

fn roots(answer: &Value) -> BTreeSet<(String, String)> {
    ["queryType", "mutationType", "subscriptionType"]
        .into_iter()
        .flat_map(|kind| {
            let fields = answer["data"]["__schema"][kind]["fields"]
                .as_array()
                .cloned();
            fields
                .unwrap_or_default()
                .into_iter()
                .filter_map(move |field| {
                    Some((kind.to_owned(), field["name"].as_str()?.to_owned()))
                })
        })
        .collect()
}

fn kind_of(document: &str) -> &'static str {
    match document.split_whitespace().next() {
        Some("mutation") => "mutationType",
        Some("subscription") => "subscriptionType",
        _ => "queryType",
    }
}

/// What acme has, and its ids.
struct Acme {
    tenant: Tenant,
    names: Vec<(&'static str, String)>,
}

impl Acme {
    async fn set_up(kit: &Kit) -> anyhow::Result<Self> {
        let tenant = kit.tenant("acme").await?;
        let key = &tenant.secret_key;
        let say = async |document: &str| {
            let answer = kit.gql(key, document, json!({})).await;
            anyhow::ensure!(answer["errors"].is_null(), "{document}: {answer}");
            Ok(answer["data"].clone())
        };
        let text = |value: &Value| {
            value
                .as_str()
                .map(ToOwned::to_owned)
                .with_context(|| format!("no id but {value}"))
        };
        let nudge = say("mutation { nudgeSave(input: {key: \"acme-welcome\", name: \"Acme's\", surface: \"app\", content: {title: \"Acme's\", body: \"x\"}, trigger: {event: \"signup\"}}) { nudge { id } userErrors { field message } } }").await?;
        anyhow::ensure!(nudge["nudgeSave"]["nudge"]["id"].is_string(), "{nudge}");
        let nudge = text(&nudge["nudgeSave"]["nudge"]["id"])?;
        say(&format!(
            "mutation {{ nudgePublish(input: {{id: \"{nudge}\"}}) {{ userErrors {{ message }} }} }}"
        ))
        .await?;
        let metric = say("mutation { metricSave(input: {key: \"acme_count\", name: \"Acme's\", expression: \"count()\"}) { metric { id } userErrors { message } } }").await?;
        anyhow::ensure!(metric["metricSave"]["metric"]["id"].is_string(), "{metric}");
        say("mutation { posthogConnect(input: {ingestHost: \"http://127.0.0.1:9\", apiHost: \"http://127.0.0.1:9\", uiHost: \"http://127.0.0.1:9\", projectId: \"1\", projectToken: \"phc_acme\"}) { userErrors { message } } }").await?;
        let issuer = say("mutation { issuerSave(input: {kind: CONTACT, issuer: \"Acme's\", algorithms: [HS256], sharedSecret: \"a shared secret of more than 32 bytes\"}) { issuer { id } userErrors { message } } }").await?;
        let pushed = say("mutation { operationsPush(input: {operations: [{name: \"Acme's\", text: \"{ tenant { name } }\"}]}) { operations { id } userErrors { message } } }").await?;
        let segment = say("mutation { segmentSave(input: {key: \"acme-all\", name: \"Acme's\", rule: {event: {name: \"signup\"}}}) { segment { id } userErrors { message } } }").await?;
        let view = say("mutation { contactViewSave(input: {key: \"acme-view\", name: \"Acme's\", columns: [{field: {field: NAME}}]}) { view { id } userErrors { message } } }").await?;
        let made = say("mutation { identify(input: {userId: \"acme-user\", anonymousId: \"acme-browser\", traits: {name: \"Acme's Ann\"}}) { contact { id } } track(input: {event: \"signup\", userId: \"acme-user\"}) { accepted } }").await?;
        let contact = text(&made["identify"]["contact"]["id"])?;
        kit.app.worker.drain().await?;
        let imported = say("mutation { importCreate(input: {format: CSV, columns: [{name: \"mail\", target: EMAIL}]}) { import { id } userErrors { message } } }").await?;
        let exported = say(&format!(
            "mutation {{ contactExport(input: {{contactId: \"{contact}\"}}) {{ job {{ id }} userErrors {{ message }} }} }}"
        ))
        .await?;
        let seen = say("{ events(first: 1) { edges { node { id } } } contact(by: {externalId: \"acme-user\"}) { identifiers { id } nudges { edges { node { id nudge { liveVersion { id } } } } } } tenant { id apiKeys { id } posthog { id } } metrics { edges { node { id } } } }").await?;
        anyhow::ensure!(
            seen["contact"]["nudges"]["edges"][0]["node"]["id"].is_string(),
            "acme lacks something: {seen}"
        );
        let names = vec![
            ("$contact", contact),
            ("$event", text(&seen["events"]["edges"][0]["node"]["id"])?),
            ("$nudge", nudge),
            (
                "$delivery",
                text(&seen["contact"]["nudges"]["edges"][0]["node"]["id"])?,
            ),
            (
                "$identifier",
                text(&seen["contact"]["identifiers"][0]["id"])?,
            ),
            (
                "$version",
                text(&seen["contact"]["nudges"]["edges"][0]["node"]["nudge"]["liveVersion"]["id"])?,
            ),
            ("$posthog", text(&seen["tenant"]["posthog"]["id"])?),
            ("$key", text(&seen["tenant"]["apiKeys"][0]["id"])?),
            ("$metric", text(&seen["metrics"]["edges"][0]["node"]["id"])?),
            ("$issuer", text(&issuer["issuerSave"]["issuer"]["id"])?),
            ("$segment", text(&segment["segmentSave"]["segment"]["id"])?),
            ("$view", text(&view["contactViewSave"]["view"]["id"])?),
            ("$import", text(&imported["importCreate"]["import"]["id"])?),
            ("$job", text(&exported["contactExport"]["job"]["id"])?),
            ("$tenant", text(&seen["tenant"]["id"])?),
            (
                "$operation",
                text(&pushed["operationsPush"]["operations"][0]["id"])?,
            ),
            // No letter of acme's: one that is not there is refused the same way.
            ("$letter", "letter_01h455vb4pex5vsknk084sn02q".to_owned()),
        ];
        Ok(Self { tenant, names })
    }

    fn fill(&self, document: &str) -> String {
        self.names
            .iter()
            .fold(document.to_owned(), |text, (name, id)| {
                text.replace(name, id)
            })
    }

    /// Everything of acme's that another tenant could have changed.
    async fn picture(&self, kit: &Kit) -> Value {
        let document = "{ tenant { name suspendedAt allowedOrigins requirePersistedOperations limits { costMax } apiKeys { id name revokedAt expiresAt } issuers { issuer updatedAt } posthog { projectId } }
            contacts { totalCount edges { node { id name identifiers { kind value } traits } } }
            contactViews { edges { node { key name columns { label } } } } operations { totalCount } events { totalCount } segments { edges { node { name size rule members { edges { node { id } } } } } } nudges { totalCount edges { node { id name archivedAt } } } metrics { edges { node { key expression } } }
            operations { totalCount } jobs { edges { node { id state } } } erasures { totalCount } events { totalCount } nudges { totalCount edges { node { id name archivedAt } } } metrics { edges { node { key expression } } }
            contact(by: {externalId: \"acme-user\"}) { nudges { edges { node { id state } } } } }";
        kit.gql(&self.tenant.secret_key, document, json!({})).await["data"].clone()
    }
}

async fn over_http(server: &Server, credential: &str, document: &str) -> anyhow::Result<Value> {
    Ok(reqwest::Client::new()
        .post(server.url("/graphql"))
        .bearer_auth(credential)
        .json(&json!({"query": document}))
        .send()
        .await?
        .json()
        .await?)
}

/// What a socket of its own answers: for a subscription what comes in a moment, else until it completes.
async fn over_websocket(
    server: &Server,
    credential: &str,
    document: &str,
) -> anyhow::Result<Value> {
    let mut request = server.ws_url().into_client_request()?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
    let (mut socket, _) = connect_async(request).await?;
    let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {credential}")}});
    socket.send(Message::text(init.to_string())).await?;
    // Not before the acknowledgement: the server closes with 4401.
    socket.next().await.context("the socket closed")??;
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": document}});
    socket.send(Message::text(subscribe.to_string())).await?;
    let mut frames = vec![];
    let patience = if kind_of(document) == "subscriptionType" {
        Duration::from_millis(500)
    } else {
        Duration::from_secs(20)
    };
    while let Ok(Some(Ok(frame))) = timeout(patience, socket.next()).await {
        let Ok(text) = frame.into_text() else {
            continue;
        };
        let Ok(frame) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        let over = ["complete", "error"].contains(&frame["type"].as_str().unwrap_or_default());
        frames.push(frame);
        if over {
            break;
        }
    }
    Ok(Value::Array(frames))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_root_field_is_tried_by_another_tenant_over_every_transport() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = Acme::set_up(&kit).await?;
        let bolt = kit.tenant("bolt").await?;
        let own = kit
            .gql(
                &bolt.secret_key,
                "mutation { identify(input: {userId: \"bolt-user\"}) { contact { id } } }",
                json!({}),
            )
            .await;
        let own = own["data"]["identify"]["contact"]["id"]
            .as_str()
            .context("a contact")?
            .to_owned();
        let token = kit
            .gql(
                &bolt.secret_key,
                &format!(
                    "mutation {{ contactTokenCreate(input: {{contactId: \"{own}\"}}) {{ token }} }}"
                ),
                json!({}),
            )
            .await;
        let token = token["data"]["contactTokenCreate"]["token"]
            .as_str()
            .context("a token")?
            .to_owned();

        let there = roots(&serde_json::to_value(
            api::schema::build().finish().execute(ROOTS).await,
        )?);
        let tried: BTreeSet<(String, String)> = TRIED
            .iter()
            .map(|(field, _, document)| (kind_of(document).to_owned(), (*field).to_owned()))
            .collect();
        assert_eq!(there, tried, "a root field is not tried");

        let before = acme.picture(&kit).await;
        assert!(before["errors"].is_null(), "{before}");
        let server = kit.serve().await?;
        for (field, by, document) in TRIED {
            let document = acme.fill(document);
            let credential = match by {
                As::Secret | As::OperatorsOwn => &bolt.secret_key,
                As::Contact => &token,
            };
            let mut answers = vec![over_websocket(&server, credential, &document).await?];
            if kind_of(&document) != "subscriptionType" {
                answers.push(over_http(&server, credential, &document).await?);
            }
            for answer in answers {
                let told = answer.to_string();
                let silent = kind_of(&document) == "subscriptionType";
                assert!(silent || told.len() > 2, "{field} was not answered");
                assert!(!told.contains("\"code\":\"INTERNAL\""), "{field}: {told}");
                for (_, id) in &acme.names {
                    assert!(!told.contains(id.as_str()), "{field} shows {id}: {told}");
                }
                assert!(!told.contains("Acme's"), "{field} shows acme's: {told}");
                if *by == As::OperatorsOwn {
                    assert!(told.contains("FORBIDDEN"), "{field}: {told}");
                }
            }
        }
        assert_eq!(
            acme.picture(&kit).await,
            before,
            "nothing of acme's changed"
        );
        Ok(())
    })
    .await
}
