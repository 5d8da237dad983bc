//! The audit log: every mutation that manages a tenant writes down who did what, when and from where.

use std::collections::{BTreeMap, BTreeSet};

use api::{import, schema, tenant};
use chrono::TimeDelta;
use entity::{Id, audit_entry, dead_letter};
use sea_orm::{ColumnTrait as _, QueryFilter as _, Set};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tests::{Kind, Kit, OPERATOR, Tenant, on_each_database};

use super::{
    code,
    provider::{Provider, RSA_A_PUBLIC, claims, signed},
};
use crate::{contact::upsert, rows};

/// Mutations that tell what happened, by the million; the event log holds them, with their source. Everything else manages,
/// and stands in [`MANAGING`].
const TELLING: &[&str] = &[
    "accountUpsert",
    "alias",
    "consentSet",
    "contactUpdate",
    "contactUpsert",
    "identify",
    "nudgeInteractionsRecord",
    "relationshipEnd",
    "relationshipSet",
    "track",
    "trackBatch",
];

/// Each mutation that manages, in an order in which all of them succeed. Capitals in brackets stand for ids: of what was made before under
/// that name, or of what is there from the start.
const MANAGING: &[(&str, &str)] = &[
    (
        "apiKeyCreate",
        r#"(input: {kind: SECRET, name: "ci", scopes: ["tenant:read"]}) { apiKey { id } userErrors { message } }"#,
    ),
    (
        "apiKeyRotate",
        r#"(input: {id: "<APIKEYCREATE>"}) { apiKey { id } userErrors { message } }"#,
    ),
    (
        "apiKeyRevoke",
        r#"(input: {id: "<APIKEYCREATE>"}) { apiKey { id } userErrors { message } }"#,
    ),
    (
        "contactMerge",
        r#"(input: {contactIds: ["<CONTACT>", "<OTHER>"]}) { contact { id } userErrors { message } }"#,
    ),
    (
        "contactUnmerge",
        r#"(input: {contactId: "<CONTACT>"}) { contact { id } userErrors { message } }"#,
    ),
    (
        "contactExport",
        r#"(input: {contactId: "<CONTACT>"}) { job { id } userErrors { message } }"#,
    ),
    (
        "jobCancel",
        r#"(input: {id: "<CONTACTEXPORT>"}) { job { id } userErrors { message } }"#,
    ),
    (
        "contactTokenCreate",
        r#"(input: {contactId: "<CONTACT>"}) { token userErrors { message } }"#,
    ),
    (
        "contactErase",
        r#"(input: {contactId: "<CONTACT>"}) { erasure { id } userErrors { message } }"#,
    ),
    (
        "deadLetterReplay",
        r#"(input: {ids: ["<LETTER>"]}) { userErrors { message } }"#,
    ),
    (
        "identityBlockAdd",
        r#"(input: {value: {email: "null@x.com"}}) { identityBlock { id } userErrors { message } }"#,
    ),
    (
        "identityBlockRemove",
        r#"(input: {id: "<IDENTITYBLOCKADD>"}) { userErrors { message } }"#,
    ),
    (
        "identityPolicySave",
        "(input: {proofRequired: false}) { userErrors { message } }",
    ),
    (
        "identityProofSecretRotate",
        r#"(input: {reason: "new"}) { secret userErrors { message } }"#,
    ),
    (
        "mergeProposalApprove",
        r#"(input: {id: "<PROPOSAL>"}) { mergeProposal { id } userErrors { message } }"#,
    ),
    (
        "mergeProposalReject",
        r#"(input: {id: "<PROPOSAL2>"}) { mergeProposal { id } userErrors { message } }"#,
    ),
    (
        "contactViewSave",
        r#"(input: {key: "all", columns: []}) { view { id } userErrors { message } }"#,
    ),
    (
        "contactViewExport",
        r#"(input: {key: "all"}) { job { id } userErrors { message } }"#,
    ),
    (
        "contactViewDelete",
        r#"(input: {id: "<CONTACTVIEWSAVE>"}) { deletedId userErrors { message } }"#,
    ),
    (
        "importCreate",
        r#"(input: {format: CSV, columns: [{name: "mail", target: EMAIL}]}) { import { id } userErrors { message } }"#,
    ),
    (
        "importApply",
        r#"(input: {id: "<CHECKED>"}) { import { id } userErrors { message } }"#,
    ),
    (
        "issuerSave",
        r#"(input: {kind: CONTACT, issuer: "backend", algorithms: [HS256], sharedSecret: "a shared secret of more than 32 bytes"}) { issuer { id } userErrors { message } }"#,
    ),
    (
        "issuerDelete",
        r#"(input: {id: "<ISSUERSAVE>"}) { deletedId userErrors { message } }"#,
    ),
    (
        "metricSave",
        r#"(input: {key: "orders", expression: "count()"}) { metric { id } userErrors { message } }"#,
    ),
    (
        "metricDelete",
        r#"(input: {id: "<METRICSAVE>"}) { deletedId userErrors { message } }"#,
    ),
    (
        "nudgeSave",
        r#"(input: {key: "hi", surface: "app", content: {title: "t", body: "b"}, trigger: {event: "x"}}) { nudge { id } userErrors { message } }"#,
    ),
    (
        "nudgePublish",
        r#"(input: {id: "<NUDGESAVE>"}) { nudge { id } userErrors { message } }"#,
    ),
    (
        "nudgeArchive",
        r#"(input: {id: "<NUDGESAVE>"}) { nudge { id } userErrors { message } }"#,
    ),
    (
        "operationsPush",
        r#"(input: {operations: [{text: "{ tenant { id } }"}]}) { operations { id } userErrors { message } }"#,
    ),
    (
        "operationDelete",
        r#"(input: {id: "<OPERATIONSPUSH>"}) { operation { id } userErrors { message } }"#,
    ),
    (
        "posthogConnect",
        r#"(input: {ingestHost: "http://127.0.0.1:9", apiHost: "http://127.0.0.1:9", uiHost: "http://127.0.0.1:9", projectId: "1", projectToken: "phc_a_secret_of_acmes"}) { connection { id } userErrors { message } }"#,
    ),
    (
        "posthogDisconnect",
        r#"(input: {id: "<POSTHOGCONNECT>"}) { disconnectedId userErrors { message } }"#,
    ),
    (
        "segmentSave",
        r#"(input: {key: "vips"}) { segment { id } userErrors { message } }"#,
    ),
    (
        "segmentMembersAdd",
        r#"(input: {id: "<SEGMENTSAVE>", contactIds: ["<CONTACT>"]}) { segment { id } userErrors { message } }"#,
    ),
    (
        "segmentMembersRemove",
        r#"(input: {id: "<SEGMENTSAVE>", contactIds: ["<CONTACT>"]}) { segment { id } userErrors { message } }"#,
    ),
    (
        "segmentDelete",
        r#"(input: {id: "<SEGMENTSAVE>"}) { deletedId userErrors { message } }"#,
    ),
    (
        "traitDefinitionSave",
        r#"(input: {key: "plan", type: STRING}) { traitDefinition { id } userErrors { message } }"#,
    ),
    (
        "traitSchemaSave",
        "(input: {locked: true}) { traitSchema { lockedAt } userErrors { message } }",
    ),
    (
        "tenantCreate",
        r#"(input: {name: "another"}) { tenant { id } secretKey userErrors { message } }"#,
    ),
    (
        "tenantLimitsSet",
        r#"(input: {id: "<TENANT>", costMax: 40000}) { limits { costMax } userErrors { message } }"#,
    ),
    (
        "tenantRetentionSet",
        r#"(input: {id: "<TENANT>", eventRetention: "P90D"}) { tenant { id } userErrors { message } }"#,
    ),
    (
        "tenantUpdate",
        "(input: {requirePersistedOperations: false}) { tenant { id } userErrors { message } }",
    ),
    (
        "tenantSuspend",
        r#"(input: {id: "<TENANT>"}) { tenant { id } userErrors { message } }"#,
    ),
    (
        "tenantResume",
        r#"(input: {id: "<TENANT>"}) { tenant { id } userErrors { message } }"#,
    ),
    (
        "tenantDelete",
        r#"(input: {id: "<TENANT>", name: "acme"}) { tenantId userErrors { message } }"#,
    ),
];

/// The first id anywhere in a payload.
fn id_in(payload: &Value) -> Option<String> {
    match payload {
        Value::Object(members) => members.iter().find_map(|(name, value)| match value {
            Value::String(text) if ["id", "tenantId", "deletedId"].contains(&name.as_str()) => {
                Some(text.clone())
            }
            value => id_in(value),
        }),
        Value::Array(items) => items.iter().find_map(id_in),
        _ => None,
    }
}

async fn letter(tenant: &Tenant) -> anyhow::Result<(String, String)> {
    Ok(tenant
        .cx
        .write(async |tx| {
            let contact = rows::contact(tx, "anna").await?;
            let event = api::base::NewEvent::of_room("test", "test.happened", contact.id, tx.now());
            let event = tx.emit(event).await?;
            let letter = dead_letter::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                consumer: Set("nudge".to_owned()),
                event_id: Set(event),
                error: Set("x".to_owned()),
                attempts: Set(10),
                created_at: Set(tx.now()),
                replayed_at: Set(None),
            };
            let letter = tx.insert(letter).await?;
            Ok((contact.id.to_string(), letter.id.to_string()))
        })
        .await?)
}

/// An import that was checked, and waits to be applied.
async fn checked_import(kit: &Kit, tenant: &Tenant) -> anyhow::Result<String> {
    let create = "mutation { importCreate(input: {format: CSV, columns: [{name: \"mail\", target: EMAIL}]}) { import { id } } }";
    let made = kit.gql(&tenant.secret_key, create, json!({})).await;
    let id = made["data"]["importCreate"]["import"]["id"]
        .as_str()
        .unwrap();
    let job = Id::from_uuid(Id::<import::Named>::parse(id).unwrap().uuid());
    tenant
        .cx
        .write(async |tx| {
            import::append(tx, job, 0, b"mail\n").await?;
            import::complete(tx, job).await
        })
        .await?;
    kit.app.worker.drain().await?;
    Ok(id.to_owned())
}

/// A merge that waits for a person.
async fn proposal(kit: &Kit, tenant: &Tenant, name: &str) -> anyhow::Result<String> {
    use entity::{contact_cannot_link, contact_identifier as identifier, merge_proposal};
    let email = format!("{name}@example.com");
    upsert(kit, tenant, json!({"externalId": name})).await;
    upsert(kit, tenant, json!({"email": email})).await;
    let id = tenant
        .cx
        .write(async |tx| {
            let of = async |value: &str| {
                let rows = tx.find::<identifier::Entity>();
                rows.filter(identifier::Column::Value.eq(value)).one().await
            };
            let (a, b) = (of(name).await?.unwrap(), of(&email).await?.unwrap());
            let row = merge_proposal::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                contact_a_id: Set(a.contact_id),
                contact_b_id: Set(b.contact_id),
                a_id: Set(a.id),
                b_id: Set(b.id),
                concern: Set("merge_rate".to_owned()),
                blast: Set(json!({})),
                risk: Set(1),
                state: Set(merge_proposal::State::NeedsReview),
                event_id: Set(None),
                created_at: Set(tx.now()),
                expires_at: Set(tx.now() + TimeDelta::days(30)),
                decided_at: Set(None),
                decided_by: Set(None),
            };
            let proposal = tx.insert(row).await?.id;
            tx.insert(contact_cannot_link::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                a_id: Set(a.id.min(b.id)),
                b_id: Set(a.id.max(b.id)),
                said_by: Set("test".to_owned()),
                reason: Set(None),
                proposal_id: Set(Some(proposal)),
                created_at: Set(tx.now()),
            })
            .await?;
            Ok(proposal.to_string())
        })
        .await?;
    upsert(kit, tenant, json!({"externalId": name, "email": email})).await;
    Ok(id)
}

/// Every entry there is, of every tenant.
async fn entries(kit: &Kit) -> anyhow::Result<Vec<audit_entry::Model>> {
    Ok(kit
        .app
        .env
        .db
        .system()
        .find::<audit_entry::Entity>()
        .all()
        .await?)
}

#[tokio::test]
async fn every_mutation_that_manages_writes_one_entry_and_no_secret() -> anyhow::Result<()> {
    let introspected = schema::build()
        .finish()
        .execute("{ __schema { mutationType { fields { name } } } }")
        .await;
    let introspected = serde_json::to_value(introspected)?;
    let there: BTreeSet<&str> = introspected["data"]["__schema"]["mutationType"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    let known: BTreeSet<&str> = MANAGING
        .iter()
        .map(|(name, _)| *name)
        .chain(TELLING.iter().copied())
        .collect();
    assert_eq!(there, known, "a mutation is in neither list");
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let (contact, letter) = letter(&acme).await?;
        let other = upsert(&kit, &acme, json!({"externalId": "other"})).await;
        let proposals = [
            proposal(&kit, &acme, "p1").await?,
            proposal(&kit, &acme, "p2").await?,
        ];
        let mut ids = BTreeMap::from([
            ("<CHECKED>".to_owned(), checked_import(&kit, &acme).await?),
            ("<OTHER>".to_owned(), other),
            ("<PROPOSAL>".to_owned(), proposals[0].clone()),
            ("<PROPOSAL2>".to_owned(), proposals[1].clone()),
            ("<CONTACT>".to_owned(), contact),
            ("<LETTER>".to_owned(), letter),
            ("<TENANT>".to_owned(), acme.id.to_string()),
        ]);
        let mut answers = String::new();
        for (name, call) in MANAGING {
            let before = entries(&kit).await?.len();
            let call = ids.iter().fold((*call).to_owned(), |text, (capitals, id)| {
                text.replace(capitals, id)
            });
            let credential = if name.starts_with("tenant") && *name != "tenantUpdate" {
                OPERATOR
            } else {
                &acme.secret_key
            };
            let answer = kit
                .gql(
                    credential,
                    &format!("mutation {{ {name}{call} }}"),
                    json!({}),
                )
                .await;
            let payload = &answer["data"][*name];
            assert_eq!(payload["userErrors"], json!([]), "{name}: {answer}");
            answers.push_str(&answer.to_string());
            if let Some(id) = id_in(payload) {
                ids.entry(format!("<{}>", name.to_uppercase()))
                    .or_insert(id);
            }
            let after = entries(&kit).await?;
            assert_eq!(after.len(), before + 1, "{name} writes one entry");
            let entry = after.iter().max_by_key(|entry| entry.id.uuid()).unwrap();
            assert_eq!(entry.action, *name);
            assert!(
                entry.object_id.is_some() && entry.changes.is_object(),
                "{entry:?}"
            );
            assert_eq!(entry.request_id.as_deref(), Some("test"));
        }
        let log = format!("{:?}", entries(&kit).await?);
        let shown = answers
            .match_indices("gos_sk_")
            .map(|(at, _)| &answers[at..at + 71]);
        for secret in shown.chain(["phc_a_secret_of_acmes", "a shared secret of more", "eyJ"]) {
            assert!(!log.contains(secret), "{secret}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_fails_or_changes_nothing_writes_no_entry() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let seen = kit.gql(&acme.secret_key, "{ tenant { apiKeys { id } } }", json!({})).await;
        let publishable = seen["data"]["tenant"]["apiKeys"][1]["id"].as_str().unwrap();
        let revoke = format!(r#"mutation {{ apiKeyRevoke(input: {{id: "{publishable}"}}) {{ userErrors {{ code }} }} }}"#);
        kit.gql(&acme.secret_key, &revoke, json!({})).await;
        let before = entries(&kit).await?;
        assert_eq!(before.len(), 2);
        let reader = kit.key(&acme, &["tenant:read"]).await?;
        let with_reader = entries(&kit).await?.len();
        for (credential, document) in [
            (&acme.secret_key, revoke.as_str()),
            (&reader, revoke.as_str()),
            (&acme.secret_key, r#"mutation { apiKeyCreate(input: {kind: SECRET, name: "", scopes: ["*"]}) { userErrors { code } } }"#),
            (&acme.secret_key, r#"mutation { issuerDelete(input: {id: "issuer_01h455vb4pex5vsknk084sn02q"}) { userErrors { code } } }"#),
            (&acme.secret_key, r#"mutation { posthogDisconnect(input: {id: "posthog_01h455vb4pex5vsknk084sn02q"}) { userErrors { code } } }"#),
            (&acme.secret_key, r#"mutation { contactUpsert(input: {externalId: "u"}) { userErrors { code } } }"#),
        ] {
            let answer = kit.gql(credential, document, json!({})).await;
            let error = &answer["errors"][0]["extensions"]["code"];
            assert_ne!(error, "GRAPHQL_VALIDATION_FAILED", "{document}: {answer}");
            assert_eq!(entries(&kit).await?.len(), with_reader, "{document}");
        }
        Ok(())
    })
    .await
}

const LOG: &str = "query($first: Int, $after: String, $filter: AuditLogFilter) { auditLog(first: $first, after: $after, filter: $filter) { totalCount edges { node { at actor { kind id name } action objectId changes ip userAgent requestId } } pageInfo { hasNextPage endCursor } } }";

async fn log(kit: &Kit, credential: &str, variables: Value) -> Value {
    let answer = kit.gql(credential, LOG, variables).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    answer["data"]["auditLog"].clone()
}

/// The actions of a page, in its order.
fn actions(log: &Value) -> Vec<&str> {
    log["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["action"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn an_entry_says_who_what_when_and_from_where() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let provider = Provider::start().await?;
        let acme = kit.tenant("acme").await?;
        let issuer = provider.registered_at(&kit, &acme).await?;
        kit.advance(TimeDelta::minutes(1));
        let member = signed(&claims(&kit, &acme));
        let server = kit.serve().await?;
        let sent = reqwest::Client::new()
            .post(server.url("/graphql"))
            .bearer_auth(&member)
            .header("user-agent", "curl/8.0")
            .header("x-request-id", "r-42")
            .json(&json!({"query": "mutation { apiKeyCreate(input: {kind: SECRET, name: \"ci\", scopes: [\"events:write\"]}) { apiKey { id prefix } } }"}))
            .send()
            .await?;
        let made: Value = sent.json().await?;
        let made = &made["data"]["apiKeyCreate"]["apiKey"];
        let seen = log(&kit, &acme.secret_key, json!({})).await;
        assert_eq!(actions(&seen), ["apiKeyCreate", "issuerSave", "tenantCreate"]);
        assert_eq!(
            seen["edges"][0]["node"],
            json!({
                "at": "2026-01-01T09:01:00Z",
                "actor": {"kind": "MEMBER", "id": format!("{issuer}/auth0|ann"), "name": "auth0|ann"},
                "action": "apiKeyCreate",
                "objectId": made["id"],
                "changes": {"name": "ci", "prefix": made["prefix"], "scopes": ["events:write"]},
                "ip": "127.0.0.1",
                "userAgent": "curl/8.0",
                "requestId": "r-42",
            })
        );
        let keys = kit.gql(&acme.secret_key, "{ tenant { apiKeys { id prefix } } }", json!({})).await;
        let first = &keys["data"]["tenant"]["apiKeys"][0];
        assert_eq!(
            seen["edges"][1]["node"]["actor"],
            json!({"kind": "SECRET_KEY", "id": first["id"], "name": format!("first ({})", first["prefix"].as_str().unwrap())})
        );
        assert_eq!(seen["edges"][2]["node"]["actor"], json!({"kind": "SYSTEM", "id": null, "name": null}));
        server.stop().await
    })
    .await
}

#[tokio::test]
async fn a_tenant_sees_what_the_operator_did_to_it_and_nothing_of_anothers() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        for verb in ["Suspend", "Resume"] {
            let order = format!(
                r#"mutation {{ tenant{verb}(input: {{id: "{}"}}) {{ userErrors {{ code }} }} }}"#,
                acme.id
            );
            kit.gql(OPERATOR, &order, json!({})).await;
        }
        let seen = log(
            &kit,
            &acme.secret_key,
            json!({"filter": {"actorKind": "OPERATOR"}}),
        )
        .await;
        assert_eq!(actions(&seen), ["tenantResume", "tenantSuspend"]);
        assert_eq!(seen["edges"][0]["node"]["objectId"], acme.id.to_string());
        assert_eq!(
            actions(&log(&kit, &bolt.secret_key, json!({})).await),
            ["tenantCreate"]
        );
        let about = json!({"filter": {"objectId": acme.id.to_string()}});
        assert_eq!(log(&kit, &bolt.secret_key, about).await["totalCount"], 0);
        for credential in [
            OPERATOR,
            &acme.publishable_key,
            &kit.key(&acme, &["contacts:write"]).await?,
        ] {
            assert_eq!(
                code(&kit.gql(credential, LOG, json!({})).await),
                "FORBIDDEN"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_log_is_paged_filtered_and_exported() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let mut ids = vec![];
        for n in 0..4 {
            kit.advance(TimeDelta::minutes(1));
            let create = format!(r#"mutation {{ apiKeyCreate(input: {{kind: PUBLISHABLE, name: "k{n}"}}) {{ apiKey {{ id }} }} }}"#);
            let made = kit.gql(&acme.secret_key, &create, json!({})).await;
            ids.push(made["data"]["apiKeyCreate"]["apiKey"]["id"].clone());
        }
        let revoke = format!(r"mutation {{ apiKeyRevoke(input: {{id: {}}}) {{ userErrors {{ code }} }} }}", ids[1]);
        kit.gql(&acme.secret_key, &revoke, json!({})).await;

        let first = log(&kit, &acme.secret_key, json!({"first": 4})).await;
        assert_eq!(first["totalCount"], 6);
        let after = &first["pageInfo"]["endCursor"];
        let rest = log(&kit, &acme.secret_key, json!({"first": 4, "after": after})).await;
        let all: Vec<&str> = [actions(&first), actions(&rest)].concat();
        assert_eq!(
            all,
            ["apiKeyRevoke", "apiKeyCreate", "apiKeyCreate", "apiKeyCreate", "apiKeyCreate", "tenantCreate"]
        );
        for (filter, found) in [
            (json!({"action": "apiKeyRevoke"}), 1),
            (json!({"objectId": ids[1]}), 2),
            (json!({"objectId": ids[1], "action": "apiKeyCreate"}), 1),
            (json!({"actorKind": "SECRET_KEY"}), 5),
            (json!({"actorKind": "SYSTEM"}), 1),
            (json!({"actorId": first["edges"][0]["node"]["actor"]["id"]}), 5),
            (json!({"actorId": "key_x"}), 0),
            (json!({"at": {"after": "2026-01-01T09:02:00Z"}}), 3),
            (json!({"at": {"before": "2026-01-01T09:02:00Z"}}), 2),
        ] {
            let seen = log(&kit, &acme.secret_key, json!({ "filter": filter })).await;
            assert_eq!(seen["totalCount"], found, "{filter}");
        }
        let foreign = log(&kit, &acme.secret_key, json!({"filter": {"action": "apiKeyCreate"}, "first": 1})).await;
        let cursor = &foreign["pageInfo"]["endCursor"];
        assert_eq!(code(&kit.gql(&acme.secret_key, LOG, json!({"after": cursor})).await), "BAD_CURSOR");

        let exported = async |since: Option<&str>| {
            let mut lines = vec![];
            let since = since.map(|text| text.parse().unwrap());
            tenant::export(&acme.cx.db(), since, |entry| {
                lines.push(serde_json::to_value(entry)?);
                Ok(())
            })
            .await
            .map(|()| lines)
        };
        let lines = exported(None).await?;
        assert_eq!(lines.len(), 6);
        assert_eq!(
            (&lines[0]["action"], &lines[5]["action"], &lines[5]["objectId"], &lines[5]["at"]),
            (&json!("tenantCreate"), &json!("apiKeyRevoke"), &ids[1], &json!("2026-01-01T09:04:00Z"))
        );
        assert_eq!(exported(Some("2026-01-01T09:03:00Z")).await?.len(), 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_changes_or_deletes_an_entry_and_it_outlives_its_tenant() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let entry = entries(&kit).await?.remove(0);
        let id = entry.id;
        let changed = acme
            .cx
            .write(async move |tx| {
                tx.update(audit_entry::ActiveModel {
                    id: Set(id),
                    action: Set("x".to_owned()),
                    ..Default::default()
                })
                .await
            })
            .await;
        assert!(changed.is_err());
        let deleted = acme
            .cx
            .write(async move |tx| tx.delete::<audit_entry::Entity>(id).await)
            .await;
        assert!(deleted.is_err());
        assert_eq!(entries(&kit).await?, std::slice::from_ref(&entry));

        // Below the application, too.
        for statement in [
            "UPDATE audit_entry SET action = 'x'",
            "DELETE FROM audit_entry",
        ] {
            let refused = match kit.database {
                Kind::Sqlite => {
                    let mut conn = SqliteConnection::connect(kit.database_url()).await?;
                    conn.execute(AssertSqlSafe(statement)).await.is_err()
                }
                Kind::Postgres => {
                    let mut conn = PgConnection::connect(kit.database_url()).await?;
                    conn.execute(AssertSqlSafe(format!("SET ROLE {}", migration::APP_ROLE)))
                        .await?;
                    conn.execute(AssertSqlSafe(statement)).await.is_err()
                }
            };
            assert!(refused, "{statement}");
        }

        let delete = format!(
            r#"mutation {{ tenantDelete(input: {{id: "{}", name: "acme"}}) {{ tenantId }} }}"#,
            acme.id
        );
        let done = kit.gql(OPERATOR, &delete, json!({})).await;
        assert_eq!(
            done["data"]["tenantDelete"]["tenantId"],
            acme.id.to_string()
        );
        let left: Vec<String> = entries(&kit)
            .await?
            .into_iter()
            .map(|entry| entry.action)
            .collect();
        assert_eq!(left, ["tenantCreate", "tenantDelete"]);
        assert!(Id::<audit_entry::Entity>::parse(&id.to_string()).is_some());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_registered_key_is_in_the_log_and_what_changed_of_a_metric() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let save = "mutation($keys: [String!]) { issuerSave(input: {kind: CONTACT, issuer: \"b\", algorithms: [RS256], publicKeys: $keys}) { userErrors { code } } }";
        kit.gql(&acme.secret_key, save, json!({"keys": [RSA_A_PUBLIC]})).await;
        for expression in ["count()", "sum(toFloat(properties.amount))"] {
            let save = format!(r#"mutation {{ metricSave(input: {{key: "m", expression: "{expression}"}}) {{ userErrors {{ code }} }} }}"#);
            kit.gql(&acme.secret_key, &save, json!({})).await;
        }
        let seen = log(&kit, &acme.secret_key, json!({})).await;
        assert_eq!(
            seen["edges"][0]["node"]["changes"],
            json!({"key": "m", "expression": "sum(toFloat(properties.amount))", "expressionBefore": "count()"})
        );
        let issuer = &seen["edges"][2]["node"]["changes"];
        assert_eq!((&issuer["kind"], &issuer["publicKeys"][0]["kty"]), (&json!("CONTACT"), &json!("RSA")));
        Ok(())
    })
    .await
}
