//! Every root field, tried with another tenant's ids and keys, and as every principal. A field that is not in
//! [`TRIES`] fails the first test: add it there, with what an intruder would send.

use std::{collections::BTreeSet, time::Duration};

use api::{
    base::{Cx, gql::SCOPES},
    schema,
};
use async_graphql::{Request, Variables};
use chrono::TimeDelta;
use entity::{
    ContactId, EventId, Id, TenantOwned, account, account_membership, api_key, audit_entry,
    consent, contact, contact_alias, contact_evidence, contact_identifier, contact_trait,
    dead_letter, erasure, event, idempotency, identity_block, identity_policy, issuer, job,
    merge_proposal, merge_record, metric, nudge, nudge_decision, nudge_delivery, nudge_interaction,
    nudge_version, operation, posthog_connection, relationship, segment, segment_due,
    segment_listing, segment_member, segment_size, segment_trigger, suppression, tenant_front,
    tombstone, touchpoint, trait_definition, trait_observation, trait_schema,
};
use futures_util::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header};
use sea_orm::Set;
use serde_json::{Value, json};
use tests::{Kit, OPERATOR, Tenant, on_each_database};

use crate::{
    contact::{ask, upsert},
    rows,
};

/// Who tries.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// Another tenant's secret key that holds every scope.
    Key,
    /// A contact of the other tenant.
    Contact,
    /// The same, over a subscription.
    Stream,
}
use By::{Contact, Key, Stream};

/// What the intruder must be answered.
enum Answer {
    /// This data, in JSON.
    Data(&'static str),
    /// Errors of this code at the root, one a field.
    Code(&'static str),
    /// No item at all.
    Silence,
}
use Answer::{Code, Data, Silence};

struct Try {
    field: &'static str,
    by: By,
    /// Capitals stand for the victim's ids: `CONTACT`, `ENTRY`, `ERASURE`, `IDENTIFIER`, `IMPORT`, `EVENT`, `ISSUER`, `JOB`, `KEY`, `METRIC`, `NUDGE`, `OPERATION`,
    /// `VERSION`, `DELIVERY`, `LETTER`, `POSTHOG`, `TENANT`.
    document: &'static str,
    answer: Answer,
}

const fn tried(field: &'static str, by: By, document: &'static str, answer: Answer) -> Try {
    Try {
        field,
        by,
        document,
        answer,
    }
}

const TRIES: &[Try] = &[
    tried(
        "segment",
        Key,
        r#"{ a: segment(id: "SEGMENT") { id } b: segment(key: "secret-segment") { id } }"#,
        Data(r#"{"a": null, "b": null}"#),
    ),
    tried(
        "segments",
        Key,
        r#"{ segments(filter: {key: {startsWith: "secret"}}) { totalCount edges { node { id } } } }"#,
        Data(r#"{"segments": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "segmentEstimate",
        Key,
        r#"{ segmentEstimate(rule: {or: [{segment: {key: "secret-segment"}}, {trait: {key: "secret", exists: true}}, {event: {name: "secret event"}}, {identifier: {kind: EMAIL, value: {contains: "victim"}}}]}) { count } }"#,
        Data(r#"{"segmentEstimate": {"count": 0}}"#),
    ),
    tried(
        "segmentExplain",
        Key,
        r#"{ segmentExplain(key: "secret-segment", contactId: "CONTACT") { member } b: segmentExplain(id: "SEGMENT", contactId: "CONTACT") { member } }"#,
        Data(r#"{"segmentExplain": null, "b": null}"#),
    ),
    tried(
        "segmentSave",
        Key,
        r#"mutation { segmentSave(input: {key: "mine", rule: {segment: {key: "secret-segment"}}}) { segment { key } userErrors { code field } } }"#,
        Data(
            r#"{"segmentSave": {"segment": null, "userErrors": [{"code": "NOT_FOUND", "field": "rule.segment.key"}]}}"#,
        ),
    ),
    tried(
        "segmentDelete",
        Key,
        r#"mutation { segmentDelete(input: {id: "SEGMENT"}) { deletedId userErrors { code field } } }"#,
        Data(
            r#"{"segmentDelete": {"deletedId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}}"#,
        ),
    ),
    tried(
        "segmentMembersAdd",
        Key,
        r#"mutation { segmentMembersAdd(input: {id: "SEGMENT", contactIds: ["CONTACT"]}) { segment { id } userErrors { code field } } }"#,
        Data(
            r#"{"segmentMembersAdd": {"segment": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}}"#,
        ),
    ),
    tried(
        "segmentMembersRemove",
        Key,
        r#"mutation { segmentMembersRemove(input: {id: "SEGMENT", contactIds: ["CONTACT"]}) { segment { id } userErrors { code field } } }"#,
        Data(
            r#"{"segmentMembersRemove": {"segment": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}}"#,
        ),
    ),
    tried(
        "account",
        Key,
        r#"{ a: account(id: "ACCOUNT") { id } b: account(by: {type: "company", key: "secret-account"}) { id } }"#,
        Data(r#"{"a": null, "b": null}"#),
    ),
    tried(
        "accounts",
        Key,
        "{ accounts { totalCount edges { node { id contacts { totalCount } } } } }",
        Data(r#"{"accounts": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "auditLog",
        Key,
        r#"{ auditLog(filter: {objectId: "TENANT"}) { totalCount } of: auditLog(filter: {objectId: "KEY"}) { edges { node { id } } } }"#,
        Data(r#"{"auditLog": {"totalCount": 0}, "of": {"edges": []}}"#),
    ),
    tried(
        "contact",
        Key,
        r#"{ a: contact(id: "CONTACT") { id } b: contact(by: {externalId: "victim"}) { id } c: contact(by: {email: "victim@example.com"}) { id } }"#,
        Data(r#"{"a": null, "b": null, "c": null}"#),
    ),
    tried(
        "contacts",
        Key,
        r#"{ contacts(filter: {or: [{email: {contains: "victim"}}, {trait: {key: "secret", exists: true}}, {events: {some: {name: "secret event"}}}]}) { totalCount edges { node { id } } } }"#,
        Data(r#"{"contacts": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "deadLetters",
        Key,
        "{ deadLetters { totalCount edges { node { id } } } }",
        Data(r#"{"deadLetters": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "erasures",
        Key,
        r#"{ erasures { totalCount } of: erasures(filter: {contactId: "CONTACT"}) { edges { node { id } } } }"#,
        Data(r#"{"erasures": {"totalCount": 0}, "of": {"edges": []}}"#),
    ),
    tried(
        "events",
        Key,
        r#"{ events(filter: {contactId: "CONTACT"}) { totalCount } named: events(filter: {name: {eq: "secret event"}}) { edges { node { id } } } }"#,
        Data(r#"{"events": {"totalCount": 0}, "named": {"edges": []}}"#),
    ),
    tried(
        "featureFlags",
        Key,
        "{ featureFlags { key } }",
        Code("POSTHOG_NOT_CONNECTED"),
    ),
    tried(
        "hogql",
        Key,
        r#"{ hogql(query: "SELECT 1") { rows } }"#,
        Code("POSTHOG_NOT_CONNECTED"),
    ),
    tried(
        "import",
        Key,
        r#"{ import(id: "IMPORT") { id } }"#,
        Data(r#"{"import": null}"#),
    ),
    tried(
        "imports",
        Key,
        "{ imports { totalCount edges { node { id } } } }",
        Data(r#"{"imports": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "job",
        Key,
        r#"{ job(id: "JOB") { id } }"#,
        Data(r#"{"job": null}"#),
    ),
    tried(
        "jobs",
        Key,
        "{ jobs { totalCount edges { node { id } } } }",
        Data(r#"{"jobs": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "me",
        Contact,
        r#"{ me { externalId events(filter: {name: {eq: "$set"}}) { totalCount } } }"#,
        Data(r#"{"me": {"externalId": "intruder", "events": {"totalCount": 1}}}"#),
    ),
    tried(
        "metrics",
        Key,
        "{ metrics { totalCount edges { node { id } } } }",
        Data(r#"{"metrics": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "node",
        Key,
        r#"{ a: node(id: "CONTACT") { id } b: node(id: "EVENT") { id } c: node(id: "NUDGE") { id } }"#,
        Data(r#"{"a": null, "b": null, "c": null}"#),
    ),
    tried(
        "node",
        Contact,
        r#"{ a: node(id: "CONTACT") { id } b: node(id: "EVENT") { id } }"#,
        Data(r#"{"a": null, "b": null}"#),
    ),
    tried(
        "nodes",
        Key,
        r#"{ nodes(ids: ["CONTACT", "EVENT", "KEY", "METRIC", "NUDGE", "DELIVERY", "LETTER", "TENANT", "POSTHOG", "IDENTIFIER", "VERSION", "ENTRY", "ISSUER", "OPERATION", "DEFINITION", "ACCOUNT", "RELATION", "JOB", "ERASURE", "IMPORT", "SEGMENT", "BLOCK", "PROPOSAL", "RECORD"]) { id } }"#,
        Data(
            r#"{"nodes": [null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null]}"#,
        ),
    ),
    tried(
        "nudge",
        Key,
        r#"{ a: nudge(id: "NUDGE") { id } b: nudge(key: "secret-nudge") { id } }"#,
        Data(r#"{"a": null, "b": null}"#),
    ),
    tried(
        "nudges",
        Key,
        "{ nudges { totalCount edges { node { id } } } }",
        Data(r#"{"nudges": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "operations",
        Key,
        "{ operations { totalCount edges { node { id } } } }",
        Data(r#"{"operations": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "traitDefinitions",
        Key,
        "{ traitDefinitions { totalCount edges { node { id key } } } }",
        Data(r#"{"traitDefinitions": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "traitSchema",
        Key,
        "{ traitSchema { lockedAt } }",
        Data(r#"{"traitSchema": {"lockedAt": null}}"#),
    ),
    tried(
        "tenant",
        Key,
        "{ tenant { name posthog { id } } }",
        Data(r#"{"tenant": {"name": "intruders", "posthog": null}}"#),
    ),
    tried(
        "tenants",
        Key,
        "{ tenants { totalCount } }",
        Code("FORBIDDEN"),
    ),
    tried(
        "accountUpsert",
        Key,
        r#"mutation { accountUpsert(input: {type: "company", key: "secret-account", traits: {mine: 1}}) { account { traits contacts { totalCount } } userErrors { code } } }"#,
        Data(
            r#"{"accountUpsert": {"account": {"traits": {"mine": 1}, "contacts": {"totalCount": 0}}, "userErrors": []}}"#,
        ),
    ),
    tried(
        "relationshipEnd",
        Key,
        r#"mutation { relationshipEnd(input: {id: "RELATION"}) { relationship { id } userErrors { code } } }"#,
        Data(
            r#"{"relationshipEnd": {"relationship": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "relationshipSet",
        Key,
        r#"mutation { relationshipSet(input: {fromId: "CONTACT", to: {externalId: "intruder"}, kind: REFERRED}) { relationship { id } userErrors { code } } }"#,
        Data(
            r#"{"relationshipSet": {"relationship": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "alias",
        Key,
        r#"mutation { alias(input: {userId: "victim", alias: "intruder"}) { accepted } }"#,
        Data(r#"{"alias": {"accepted": true}}"#),
    ),
    tried(
        "apiKeyCreate",
        Key,
        r#"mutation { apiKeyCreate(input: {kind: PUBLISHABLE, name: "own"}) { apiKey { name } } }"#,
        Data(r#"{"apiKeyCreate": {"apiKey": {"name": "own"}}}"#),
    ),
    tried(
        "apiKeyRevoke",
        Key,
        r#"mutation { apiKeyRevoke(input: {id: "KEY"}) { apiKey { id } userErrors { code } } }"#,
        Data(r#"{"apiKeyRevoke": {"apiKey": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "apiKeyRotate",
        Key,
        r#"mutation { apiKeyRotate(input: {id: "KEY"}) { key userErrors { code } } }"#,
        Data(r#"{"apiKeyRotate": {"key": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "consentSet",
        Key,
        r#"mutation { consentSet(input: {contactId: "CONTACT", topic: "secret", channel: EMAIL, state: WITHDRAWN}) { consent { topic } userErrors { code } } }"#,
        Data(r#"{"consentSet": {"consent": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "contactErase",
        Key,
        r#"mutation { contactErase(input: {contactId: "CONTACT"}) { erasure { id } userErrors { code } } }"#,
        Data(r#"{"contactErase": {"erasure": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "contactExport",
        Key,
        r#"mutation { contactExport(input: {contactId: "CONTACT"}) { job { id } userErrors { code } } }"#,
        Data(r#"{"contactExport": {"job": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "contactTokenCreate",
        Key,
        r#"mutation { contactTokenCreate(input: {contactId: "CONTACT"}) { token userErrors { code } } }"#,
        Data(r#"{"contactTokenCreate": {"token": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "contactUpdate",
        Key,
        r#"mutation { contactUpdate(input: {id: "CONTACT", name: "x"}) { contact { id } userErrors { code } } }"#,
        Data(r#"{"contactUpdate": {"contact": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "contactUpsert",
        Key,
        r#"mutation { contactUpsert(input: {externalId: "victim", traits: {mine: 1}}) { contact { traits } userErrors { code } } }"#,
        Data(r#"{"contactUpsert": {"contact": {"traits": {"mine": 1}}, "userErrors": []}}"#),
    ),
    tried(
        "deadLetterReplay",
        Key,
        r#"mutation { deadLetterReplay(input: {ids: ["LETTER"]}) { deadLetters { id } userErrors { code } } }"#,
        Data(
            r#"{"deadLetterReplay": {"deadLetters": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "identify",
        Key,
        r#"mutation { identify(input: {userId: "victim", email: "victim@example.com"}) { accepted } }"#,
        Data(r#"{"identify": {"accepted": true}}"#),
    ),
    tried(
        "importApply",
        Key,
        r#"mutation { importApply(input: {id: "IMPORT"}) { import { id } userErrors { code } } }"#,
        Data(r#"{"importApply": {"import": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "importCreate",
        Key,
        r#"mutation { importCreate(input: {format: CSV, columns: [{name: "mail", target: EMAIL}]}) { import { dryRun } userErrors { code } } }"#,
        Data(r#"{"importCreate": {"import": {"dryRun": true}, "userErrors": []}}"#),
    ),
    tried(
        "issuerDelete",
        Key,
        r#"mutation { issuerDelete(input: {id: "ISSUER"}) { deletedId userErrors { code } } }"#,
        Data(r#"{"issuerDelete": {"deletedId": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "issuerSave",
        Key,
        r#"mutation { issuerSave(input: {id: "ISSUER", kind: MEMBER, issuer: "secret-issuer", algorithms: [HS256], sharedSecret: "another secret of more than 32 bytes"}) { issuer { id } userErrors { code } } }"#,
        Data(r#"{"issuerSave": {"issuer": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "jobCancel",
        Key,
        r#"mutation { jobCancel(input: {id: "JOB"}) { job { id } userErrors { code } } }"#,
        Data(r#"{"jobCancel": {"job": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "metricDelete",
        Key,
        r#"mutation { metricDelete(input: {id: "METRIC"}) { deletedId userErrors { code } } }"#,
        Data(r#"{"metricDelete": {"deletedId": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "metricSave",
        Key,
        r#"mutation { metricSave(input: {key: "secret_metric", expression: "count()"}) { userErrors { code } } }"#,
        Data(r#"{"metricSave": {"userErrors": []}}"#),
    ),
    tried(
        "nudgeArchive",
        Key,
        r#"mutation { nudgeArchive(input: {id: "NUDGE"}) { nudge { id } userErrors { code } } }"#,
        Data(r#"{"nudgeArchive": {"nudge": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "nudgeInteractionsRecord",
        Contact,
        r#"mutation { nudgeInteractionsRecord(input: {interactions: [{deliveryId: "DELIVERY", kind: CLICKED, clientId: "c1", at: "2026-01-01T09:00:00Z"}]}) { interactions { kind } userErrors { code } } }"#,
        Data(
            r#"{"nudgeInteractionsRecord": {"interactions": [], "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "nudgePublish",
        Key,
        r#"mutation { nudgePublish(input: {id: "NUDGE"}) { nudge { id } userErrors { code } } }"#,
        Data(r#"{"nudgePublish": {"nudge": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "nudgeSave",
        Key,
        r#"mutation { nudgeSave(input: {id: "NUDGE", surface: "web", content: {title: "x", body: "x"}, trigger: {event: "x"}}) { nudge { id } userErrors { code } } }"#,
        Data(r#"{"nudgeSave": {"nudge": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "operationDelete",
        Key,
        r#"mutation { operationDelete(input: {id: "OPERATION"}) { operation { id } userErrors { code } } }"#,
        Data(r#"{"operationDelete": {"operation": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "operationsPush",
        Key,
        r#"mutation { operationsPush(input: {operations: [{text: "{ secret }"}]}) { operations { id } userErrors { field } } }"#,
        Data(
            r#"{"operationsPush": {"operations": null, "userErrors": [{"field": "operations.0.text"}]}}"#,
        ),
    ),
    tried(
        "posthogConnect",
        Key,
        r#"mutation { posthogConnect(input: {ingestHost: "ftp://nonsense", projectId: "1", projectToken: "phc_x"}) { connection { id } } }"#,
        Data(r#"{"posthogConnect": {"connection": null}}"#),
    ),
    tried(
        "posthogDisconnect",
        Key,
        "mutation { posthogDisconnect(input: {id: \"POSTHOG\"}) { disconnectedId userErrors { code } } }",
        Data(
            r#"{"posthogDisconnect": {"disconnectedId": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "tenantCreate",
        Key,
        r#"mutation { tenantCreate(input: {name: "x"}) { secretKey } }"#,
        Code("FORBIDDEN"),
    ),
    tried(
        "tenantDelete",
        Key,
        r#"mutation { tenantDelete(input: {id: "TENANT", name: "victims"}) { tenantId } }"#,
        Code("FORBIDDEN"),
    ),
    tried(
        "tenantLimitsSet",
        Key,
        r#"mutation { tenantLimitsSet(input: {id: "TENANT", costMax: 100}) { limits { costMax } } }"#,
        Code("FORBIDDEN"),
    ),
    tried(
        "tenantRetentionSet",
        Key,
        r#"mutation { tenantRetentionSet(input: {id: "TENANT", eventRetention: "P30D"}) { tenant { id } } }"#,
        Code("FORBIDDEN"),
    ),
    tried(
        "tenantResume",
        Key,
        r#"mutation { tenantResume(input: {id: "TENANT"}) { tenant { id } } }"#,
        Code("FORBIDDEN"),
    ),
    tried(
        "tenantSuspend",
        Key,
        r#"mutation { tenantSuspend(input: {id: "TENANT"}) { tenant { id } } }"#,
        Code("FORBIDDEN"),
    ),
    tried(
        "tenantUpdate",
        Key,
        "mutation { tenantUpdate(input: {requirePersistedOperations: false}) { tenant { name } } }",
        Data(r#"{"tenantUpdate": {"tenant": {"name": "intruders"}}}"#),
    ),
    tried(
        "track",
        Key,
        r#"mutation { track(input: {event: "x", contactId: "CONTACT"}) { accepted userErrors { code } } }"#,
        Data(r#"{"track": {"accepted": false, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "trackBatch",
        Key,
        r#"mutation { trackBatch(input: {events: [{event: "x", contactId: "CONTACT"}]}) { accepted userErrors { code } } }"#,
        Data(r#"{"trackBatch": {"accepted": 0, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "traitDefinitionSave",
        Key,
        r#"mutation { traitDefinitionSave(input: {key: "secret", pii: true}) { traitDefinition { id } userErrors { field } } }"#,
        Data(
            r#"{"traitDefinitionSave": {"traitDefinition": null, "userErrors": [{"field": "type"}]}}"#,
        ),
    ),
    tried(
        "traitSchemaSave",
        Key,
        "mutation { traitSchemaSave(input: {locked: false}) { traitSchema { lockedAt } } }",
        Data(r#"{"traitSchemaSave": {"traitSchema": {"lockedAt": null}}}"#),
    ),
    tried(
        "nudges",
        Stream,
        "subscription { nudges { __typename } }",
        Silence,
    ),
    tried(
        "contactMerge",
        Key,
        r#"mutation { contactMerge(input: {contactIds: ["CONTACT", "CONTACT"]}) { contact { id } userErrors { code } } }"#,
        Data(r#"{"contactMerge": {"contact": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "contactMergePreview",
        Key,
        r#"{ contactMergePreview(contactIds: ["CONTACT", "CONTACT"]) { survivor { id } userErrors { code } } }"#,
        Data(
            r#"{"contactMergePreview": {"survivor": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "contactUnmerge",
        Key,
        r#"mutation { contactUnmerge(input: {contactId: "CONTACT"}) { contact { id } userErrors { code } } }"#,
        Data(r#"{"contactUnmerge": {"contact": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "identityBlocks",
        Key,
        "{ identityBlocks { totalCount edges { node { id } } } }",
        Data(r#"{"identityBlocks": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "identityBlockAdd",
        Key,
        r#"mutation { identityBlockAdd(input: {value: {externalId: "victim"}}) { identityBlock { value } userErrors { code } } }"#,
        Data(r#"{"identityBlockAdd": {"identityBlock": {"value": "victim"}, "userErrors": []}}"#),
    ),
    tried(
        "identityBlockRemove",
        Key,
        r#"mutation { identityBlockRemove(input: {id: "BLOCK"}) { userErrors { code } } }"#,
        Data(r#"{"identityBlockRemove": {"userErrors": [{"code": "NOT_FOUND"}]}}"#),
    ),
    tried(
        "identityPolicy",
        Key,
        "{ identityPolicy { proofRequired hasProofSecret } }",
        Data(r#"{"identityPolicy": {"proofRequired": false, "hasProofSecret": false}}"#),
    ),
    tried(
        "identityPolicySave",
        Key,
        "mutation { identityPolicySave(input: {limits: []}) { identityPolicy { hasProofSecret } userErrors { code } } }",
        Data(
            r#"{"identityPolicySave": {"identityPolicy": {"hasProofSecret": false}, "userErrors": []}}"#,
        ),
    ),
    tried(
        "identityProofSecretRotate",
        Key,
        "mutation { identityProofSecretRotate(input: {}) { userErrors { code } } }",
        Data(r#"{"identityProofSecretRotate": {"userErrors": []}}"#),
    ),
    tried(
        "mergeProposalApprove",
        Key,
        r#"mutation { mergeProposalApprove(input: {id: "PROPOSAL"}) { mergeProposal { id } userErrors { code } } }"#,
        Data(
            r#"{"mergeProposalApprove": {"mergeProposal": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "mergeProposalReject",
        Key,
        r#"mutation { mergeProposalReject(input: {id: "PROPOSAL"}) { mergeProposal { id } userErrors { code } } }"#,
        Data(
            r#"{"mergeProposalReject": {"mergeProposal": null, "userErrors": [{"code": "NOT_FOUND"}]}}"#,
        ),
    ),
    tried(
        "mergeProposals",
        Key,
        "{ mergeProposals { totalCount edges { node { id } } } }",
        Data(r#"{"mergeProposals": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "resolve",
        Key,
        r#"{ resolve(by: {externalId: "victim"}) { contact { id } } }"#,
        Data(r#"{"resolve": null}"#),
    ),
];

/// How long a subscription is listened to that must stay silent.
const LISTENED: Duration = Duration::from_millis(200);

/// Words of the victim's that must never be answered to another.
const SECRETS: &[&str] = &[
    "victims",
    "victim@",
    "secret value",
    "secret title",
    "secret error",
    "secret name",
    "phc_secret",
    "secret-issuer",
];

/// What the victim has, by the capitals that stand for it.
pub(crate) struct Victim {
    pub(crate) tenant: Tenant,
    ids: Vec<(&'static str, String)>,
}

impl Victim {
    pub(crate) async fn new(kit: &Kit) -> anyhow::Result<Self> {
        let tenant = kit.tenant("victims").await?;
        let sk = &tenant.secret_key;
        let input = json!({"externalId": "victim", "email": "victim@example.com", "traits": {"secret": "secret value"}});
        let contact_id = upsert(kit, &tenant, input).await;
        let account = "mutation { accountUpsert(input: {type: \"company\", key: \"secret-account\", name: \"secret name\"}) { account { id } } }";
        let account = ask(kit, sk, account, json!({})).await;
        upsert(kit, &tenant, json!({"externalId": "friend"})).await;
        let relate = "mutation { relationshipSet(input: {from: {externalId: \"victim\"}, to: {externalId: \"friend\"}, kind: REFERRED}) { relationship { id } } }";
        let related = ask(kit, sk, relate, json!({})).await;
        let tell =
            "mutation { track(input: {event: \"secret event\", userId: \"victim\"}) { accepted } }";
        ask(kit, sk, tell, json!({})).await;
        let events = ask(
            kit,
            sk,
            "{ events(filter: {name: {eq: \"secret event\"}}) { edges { node { id } } } }",
            json!({}),
        )
        .await;
        let event_id = events["events"]["edges"][0]["node"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let save = "mutation { nudgeSave(input: {key: \"secret-nudge\", name: \"secret name\", surface: \"web\", content: {title: \"secret title\", body: \"x\"}, trigger: {event: \"x\"}}) { nudge { id } userErrors { message } } }";
        let saved = ask(kit, sk, save, json!({})).await;
        let nudge_id = saved["nudgeSave"]["nudge"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        ask(kit, sk, &format!("mutation {{ nudgePublish(input: {{id: \"{nudge_id}\"}}) {{ userErrors {{ message }} }} }}"), json!({})).await;
        let save = "mutation { metricSave(input: {key: \"secret_metric\", expression: \"count()\"}) { metric { id } userErrors { message } } }";
        let saved = ask(kit, sk, save, json!({})).await;
        let metric_id = saved["metricSave"]["metric"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let save = "mutation { issuerSave(input: {kind: CONTACT, issuer: \"secret-issuer\", algorithms: [HS256], sharedSecret: \"a shared secret of more than 32 bytes\"}) { issuer { id } userErrors { message } } }";
        let saved = ask(kit, sk, save, json!({})).await;
        let issuer_id = saved["issuerSave"]["issuer"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let keys = ask(kit, sk, "{ tenant { apiKeys { id } } }", json!({})).await;
        let push = "mutation { operationsPush(input: {operations: [{name: \"secret name\", text: \"{ tenant { name } }\"}]}) { operations { id } userErrors { message } } }";
        let pushed = ask(kit, sk, push, json!({})).await;
        let operation_id = pushed["operationsPush"]["operations"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let export = "mutation($id: ID!) { contactExport(input: {contactId: $id}) { job { id } userErrors { message } } }";
        let exported = ask(kit, sk, export, json!({"id": contact_id})).await;
        let job_id = exported["contactExport"]["job"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let create = "mutation { importCreate(input: {format: CSV, columns: [{name: \"mail\", target: EMAIL}]}) { import { id } userErrors { message } } }";
        let created = ask(kit, sk, create, json!({})).await;
        let import_id = created["importCreate"]["import"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let other = upsert(kit, &tenant, json!({"externalId": "erased"})).await;
        let erase = "mutation($id: ID!) { contactErase(input: {contactId: $id}) { erasure { id } userErrors { message } } }";
        let erased = ask(kit, sk, erase, json!({"id": other})).await;
        let erasure_id = erased["contactErase"]["erasure"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let update = "mutation { tenantUpdate(input: {requirePersistedOperations: true}) { tenant { id } } }";
        ask(kit, sk, update, json!({})).await;
        let key_id = keys["tenant"]["apiKeys"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let save = "mutation { segmentSave(input: {key: \"secret-segment\", name: \"secret name\"}) { segment { id } userErrors { message } } }";
        let saved = ask(kit, sk, save, json!({})).await;
        let segment_id = saved["segmentSave"]["segment"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let add = "mutation($input: SegmentMembersInput!) { segmentMembersAdd(input: $input) { userErrors { message } } }";
        let input = json!({"input": {"id": segment_id, "contactIds": [contact_id]}});
        ask(kit, sk, add, input).await;
        let rows = Rows {
            contact: ContactId::parse(&contact_id).unwrap(),
            event: EventId::parse(&event_id).unwrap(),
            nudge: Id::parse(&nudge_id).unwrap(),
        };
        let (delivery_id, letter_id, posthog_id) = rows.add(&tenant.cx).await?;
        let shown = "query($contact: ID!, $nudge: ID!) { contact(id: $contact) { identifiers { id } } nudge(id: $nudge) { liveVersion { id } } auditLog(first: 1) { edges { node { id } } } traitDefinitions { edges { node { id } } } }";
        let ids = json!({"contact": contact_id, "nudge": nudge_id});
        let shown = ask(kit, sk, shown, ids).await;
        let text = |id: &Value| id.as_str().unwrap().to_owned();
        let identifier = text(&shown["contact"]["identifiers"][0]["id"]);
        let (block_id, proposal_id, record_id) = rows.decide(&tenant.cx, &identifier).await?;
        Ok(Self {
            ids: vec![
                ("ACCOUNT", text(&account["accountUpsert"]["account"]["id"])),
                (
                    "RELATION",
                    text(&related["relationshipSet"]["relationship"]["id"]),
                ),
                ("BLOCK", block_id),
                ("CONTACT", contact_id),
                (
                    "DEFINITION",
                    text(&shown["traitDefinitions"]["edges"][0]["node"]["id"]),
                ),
                ("DELIVERY", delivery_id),
                ("ENTRY", text(&shown["auditLog"]["edges"][0]["node"]["id"])),
                ("EVENT", event_id),
                ("IDENTIFIER", identifier),
                ("ISSUER", issuer_id),
                ("ERASURE", erasure_id),
                ("IMPORT", import_id),
                ("JOB", job_id),
                ("KEY", key_id),
                ("LETTER", letter_id),
                ("METRIC", metric_id),
                ("NUDGE", nudge_id),
                ("OPERATION", operation_id),
                ("POSTHOG", posthog_id),
                ("PROPOSAL", proposal_id),
                ("RECORD", record_id),
                ("SEGMENT", segment_id),
                ("TENANT", tenant.id.to_string()),
                ("VERSION", text(&shown["nudge"]["liveVersion"]["id"])),
            ],
            tenant,
        })
    }
    pub(crate) fn named_in(&self, document: &str) -> String {
        self.ids
            .iter()
            .fold(document.to_owned(), |text, (capitals, id)| {
                text.replace(capitals, id)
            })
    }
    /// Everything of the victim's, as text.
    async fn rows(&self) -> anyhow::Result<String> {
        async fn all<E: TenantOwned>(cx: &Cx) -> anyhow::Result<String>
        where
            E::Model: std::fmt::Debug,
        {
            let mut rows: Vec<String> = cx
                .db()
                .find::<E>()
                .all()
                .await?
                .iter()
                .map(|row| format!("{row:?}"))
                .collect();
            rows.sort_unstable();
            Ok(rows.join("\n"))
        }
        let cx = &self.tenant.cx;
        Ok([
            all::<account::Entity>(cx).await?,
            all::<account_membership::Entity>(cx).await?,
            all::<relationship::Entity>(cx).await?,
            all::<api_key::Entity>(cx).await?,
            all::<audit_entry::Entity>(cx).await?,
            all::<consent::Entity>(cx).await?,
            all::<contact::Entity>(cx).await?,
            all::<contact_alias::Entity>(cx).await?,
            all::<contact_evidence::Entity>(cx).await?,
            all::<contact_identifier::Entity>(cx).await?,
            all::<contact_trait::Entity>(cx).await?,
            all::<dead_letter::Entity>(cx).await?,
            all::<erasure::Entity>(cx).await?,
            all::<event::Entity>(cx).await?,
            all::<idempotency::Entity>(cx).await?,
            all::<identity_block::Entity>(cx).await?,
            all::<identity_policy::Entity>(cx).await?,
            all::<issuer::Entity>(cx).await?,
            all::<job::Entity>(cx).await?,
            all::<merge_proposal::Entity>(cx).await?,
            all::<merge_record::Entity>(cx).await?,
            all::<metric::Entity>(cx).await?,
            all::<nudge::Entity>(cx).await?,
            all::<nudge_decision::Entity>(cx).await?,
            all::<nudge_delivery::Entity>(cx).await?,
            all::<nudge_interaction::Entity>(cx).await?,
            all::<operation::Entity>(cx).await?,
            all::<suppression::Entity>(cx).await?,
            all::<tenant_front::Entity>(cx).await?,
            all::<trait_definition::Entity>(cx).await?,
            all::<trait_schema::Entity>(cx).await?,
            all::<tombstone::Entity>(cx).await?,
            all::<touchpoint::Entity>(cx).await?,
            all::<trait_observation::Entity>(cx).await?,
            all::<nudge_version::Entity>(cx).await?,
            all::<posthog_connection::Entity>(cx).await?,
            all::<segment::Entity>(cx).await?,
            all::<segment_due::Entity>(cx).await?,
            all::<segment_listing::Entity>(cx).await?,
            all::<segment_member::Entity>(cx).await?,
            all::<segment_size::Entity>(cx).await?,
            all::<segment_trigger::Entity>(cx).await?,
        ]
        .join("\n"))
    }
}

#[tokio::test]
async fn whoever_may_read_an_object_finds_it_by_its_id() -> anyhow::Result<()> {
    /// What stands for an object of each type, and whether the contact that it is about may read it.
    const TYPES: [(&str, &str, bool); 24] = [
        ("ACCOUNT", "Account", false),
        ("RELATION", "Relationship", false),
        ("BLOCK", "IdentityBlock", false),
        ("CONTACT", "Contact", true),
        ("DEFINITION", "TraitDefinition", false),
        ("DELIVERY", "NudgeDelivery", true),
        ("ENTRY", "AuditEntry", false),
        ("ERASURE", "Erasure", false),
        ("EVENT", "Event", true),
        ("IDENTIFIER", "Identifier", true),
        ("IMPORT", "Import", false),
        ("ISSUER", "Issuer", false),
        ("JOB", "Job", false),
        ("KEY", "ApiKey", false),
        ("LETTER", "DeadLetter", false),
        ("METRIC", "Metric", false),
        ("NUDGE", "Nudge", false),
        ("OPERATION", "Operation", false),
        ("POSTHOG", "PosthogIntegration", false),
        ("PROPOSAL", "MergeProposal", false),
        ("RECORD", "MergeRecord", false),
        ("SEGMENT", "Segment", false),
        ("TENANT", "Tenant", false),
        ("VERSION", "NudgeVersion", false),
    ];
    on_each_database(async |kit| {
        let victim = Victim::new(&kit).await?;
        let sk = &victim.tenant.secret_key;
        let contact = ContactId::parse(&victim.named_in("CONTACT")).unwrap();
        let own = kit.contact_token(&victim.tenant, contact).await?;
        let input = json!({"externalId": "stranger"});
        let stranger = ContactId::parse(&upsert(&kit, &victim.tenant, input).await).unwrap();
        let stranger = kit.contact_token(&victim.tenant, stranger).await?;
        for (capitals, name, is_own) in TYPES {
            let id = victim.named_in(capitals);
            let query = "query($id: ID!) { node(id: $id) { __typename id } }";
            let found = json!({"node": {"__typename": name, "id": id}});
            assert_eq!(ask(&kit, sk, query, json!({"id": id})).await, found);
            for (token, data) in [(&own, &found), (&stranger, &json!({"node": null}))] {
                let answer = kit.gql(token, query, json!({"id": id})).await;
                if is_own {
                    assert_eq!((&answer["data"], &answer["errors"]), (data, &Value::Null));
                } else {
                    assert_eq!(answer["data"]["node"], Value::Null);
                    assert_eq!(
                        answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                        "{name}"
                    );
                }
            }
        }
        Ok(())
    })
    .await
}

/// What no mutation makes by itself: a delivery, a dead letter and a connection.
#[derive(Clone, Copy)]
struct Rows {
    contact: ContactId,
    event: EventId,
    nudge: Id<nudge::Entity>,
}

impl Rows {
    /// What was decided about who is who: a block, a proposal and a merge.
    async fn decide(&self, cx: &Cx, identifier: &str) -> anyhow::Result<(String, String, String)> {
        let identifier = Id::parse(identifier).unwrap();
        let contact = self.contact;
        Ok(cx
            .write(async |tx| {
                let block = tx
                    .insert(identity_block::ActiveModel {
                        id: Set(tx.new_id()),
                        tenant_id: Set(tx.tenant()),
                        kind: Set(contact_identifier::Kind::Email),
                        value: Set("victim@example.org".to_owned()),
                        other_kind: Set(None),
                        other_value: Set(None),
                        reason: Set(None),
                        said_by: Set("test".to_owned()),
                        created_at: Set(tx.now()),
                    })
                    .await?;
                let proposal = tx
                    .insert(merge_proposal::ActiveModel {
                        id: Set(tx.new_id()),
                        tenant_id: Set(tx.tenant()),
                        contact_a_id: Set(contact),
                        contact_b_id: Set(contact),
                        a_id: Set(identifier),
                        b_id: Set(identifier),
                        concern: Set("merge_rate".to_owned()),
                        blast: Set(json!({})),
                        risk: Set(1),
                        state: Set(merge_proposal::State::NeedsReview),
                        event_id: Set(None),
                        created_at: Set(tx.now()),
                        expires_at: Set(tx.now() + TimeDelta::days(30)),
                        decided_at: Set(None),
                        decided_by: Set(None),
                    })
                    .await?;
                let record = tx
                    .insert(merge_record::ActiveModel {
                        id: Set(tx.new_id()),
                        tenant_id: Set(tx.tenant()),
                        kind: Set(merge_record::Kind::Merge),
                        survivor_id: Set(contact),
                        other_id: Set(contact),
                        mode: Set(merge_record::Mode::Auto),
                        known: Set(false),
                        a_id: Set(Some(identifier)),
                        b_id: Set(Some(identifier)),
                        before: Set(json!({})),
                        event_id: Set(None),
                        said_by: Set("test".to_owned()),
                        reason: Set(None),
                        created_at: Set(tx.now()),
                        reversed_at: Set(None),
                    })
                    .await?;
                Ok((
                    block.id.to_string(),
                    proposal.id.to_string(),
                    record.id.to_string(),
                ))
            })
            .await?)
    }
    async fn add(self, cx: &Cx) -> anyhow::Result<(String, String, String)> {
        let version = cx
            .db()
            .find::<nudge_version::Entity>()
            .one()
            .await?
            .unwrap();
        let Self {
            contact,
            event,
            nudge,
        } = self;
        let ids = cx
            .write(async move |tx| {
                let delivery = tx
                    .insert(nudge_delivery::ActiveModel {
                        id: Set(tx.new_id()),
                        tenant_id: Set(tx.tenant()),
                        nudge_id: Set(nudge),
                        nudge_version_id: Set(version.id),
                        contact_id: Set(contact),
                        event_id: Set(event),
                        surface: Set("web".to_owned()),
                        priority: Set(0),
                        offered_at: Set(tx.now()),
                        ..Default::default()
                    })
                    .await?;
                let letter = tx
                    .insert(dead_letter::ActiveModel {
                        id: Set(tx.new_id()),
                        tenant_id: Set(tx.tenant()),
                        consumer: Set("nudge".to_owned()),
                        event_id: Set(event),
                        error: Set("secret error".to_owned()),
                        attempts: Set(10),
                        created_at: Set(tx.now()),
                        replayed_at: Set(None),
                    })
                    .await?;
                let posthog = rows::posthog_connection(tx).await?;
                Ok((
                    delivery.id.to_string(),
                    letter.id.to_string(),
                    posthog.id.to_string(),
                ))
            })
            .await?;
        Ok(ids)
    }
}

/// The names of the root fields of `query`, `mutation` and `subscription`, as introspection tells them.
fn root_fields(introspected: &Value) -> BTreeSet<(String, String)> {
    let mut names = BTreeSet::new();
    for kind in ["queryType", "mutationType", "subscriptionType"] {
        let fields = introspected["__schema"][kind]["fields"].as_array();
        for field in fields.into_iter().flatten() {
            names.insert((kind.to_owned(), field["name"].as_str().unwrap().to_owned()));
        }
    }
    names
}

const ROOTS: &str = "{ __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { fields { name } } } }";

fn kind_of(document: &str) -> &'static str {
    if document.starts_with("mutation") {
        "mutationType"
    } else if document.starts_with("subscription") {
        "subscriptionType"
    } else {
        "queryType"
    }
}

#[tokio::test]
async fn every_root_field_is_among_those_that_are_tried() {
    let answer = schema::build().finish().execute(ROOTS).await;
    let there = root_fields(&serde_json::to_value(answer).unwrap()["data"]);
    let tried: BTreeSet<_> = TRIES
        .iter()
        .map(|attempt| {
            (
                kind_of(attempt.document).to_owned(),
                attempt.field.to_owned(),
            )
        })
        .collect();
    assert_eq!(there, tried);
}

#[tokio::test]
async fn another_tenants_ids_and_keys_open_nothing_and_change_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let victim = Victim::new(&kit).await?;
        let before = victim.rows().await?;
        let intruder = kit.tenant("intruders").await?;
        let own = upsert(&kit, &intruder, json!({"externalId": "intruder"})).await;
        let token = kit
            .contact_token(&intruder, ContactId::parse(&own).unwrap())
            .await?;
        let server = kit.serve().await?;
        let client = reqwest::Client::new();
        for attempt in TRIES {
            let document = victim.named_in(attempt.document);
            let answer: Value = match attempt.by {
                Stream => match stream(&kit, &token, &document).await? {
                    Some(item) => item,
                    None => json!({"data": null}),
                },
                by => {
                    let credential = if by == Contact {
                        &token
                    } else {
                        &intruder.secret_key
                    };
                    let sent = client
                        .post(server.url("/graphql"))
                        .bearer_auth(credential)
                        .json(&json!({"query": document}))
                        .send()
                        .await?;
                    sent.json().await?
                }
            };
            match attempt.answer {
                Data(data) => {
                    assert_eq!(answer["errors"], Value::Null, "{document}");
                    assert_eq!(
                        answer["data"],
                        serde_json::from_str::<Value>(data)?,
                        "{document}"
                    );
                }
                Code(code) => assert_eq!(
                    answer["errors"][0]["extensions"]["code"], code,
                    "{document}"
                ),
                Silence => assert_eq!(answer, json!({"data": null}), "{document}"),
            }
            let text = answer.to_string();
            for secret in SECRETS {
                assert!(!text.contains(secret), "{document} was answered {text}");
            }
        }
        assert_eq!(victim.rows().await?, before);
        server.stop().await
    })
    .await
}

/// The first item of a subscription, if one comes soon.
async fn stream(kit: &Kit, credential: &str, document: &str) -> anyhow::Result<Option<Value>> {
    let caller = kit.app.principals.by_token(credential).await?;
    let request = Request::new(document).variables(Variables::default());
    let items = kit.subscribe(caller, request);
    let mut items = std::pin::pin!(items);
    match tokio::time::timeout(LISTENED, items.next()).await {
        Ok(Some(item)) => Ok(Some(serde_json::to_value(item)?)),
        Ok(None) | Err(_) => Ok(None),
    }
}

#[tokio::test]
async fn introspection_shows_each_principal_exactly_the_fields_it_may_use() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let own = upsert(&kit, &acme, json!({"externalId": "u1"})).await;
        let mut principals = vec![
            ("operator".to_owned(), OPERATOR.to_owned()),
            ("publishable key".to_owned(), acme.publishable_key.clone()),
            (
                "contact".to_owned(),
                kit.contact_token(&acme, ContactId::parse(&own).unwrap())
                    .await?,
            ),
        ];
        let secret = "a shared secret of more than 32 bytes";
        let save = format!(
            "mutation {{ issuerSave(input: {{kind: MEMBER, issuer: \"id\", algorithms: [HS256], sharedSecret: \"{secret}\", roleClaim: \"role\", roles: [{{value: \"OWNER\", role: OWNER}}, {{value: \"ADMIN\", role: ADMIN}}, {{value: \"EDITOR\", role: EDITOR}}, {{value: \"VIEWER\", role: VIEWER}}]}}) {{ userErrors {{ message }} }} }}"
        );
        ask(&kit, &acme.secret_key, &save, json!({})).await;
        for role in ["OWNER", "ADMIN", "EDITOR", "VIEWER"] {
            let claims = json!({"iss": "id", "aud": acme.id.to_string(), "sub": "ann", "role": role, "exp": kit.now().timestamp() + 60});
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = jsonwebtoken::encode(&Header::default(), &claims, &key)?;
            principals.push((role.to_owned(), token));
        }
        for scope in SCOPES {
            principals.push(((*scope).to_owned(), kit.key(&acme, &[*scope]).await?));
        }
        for (name, credential) in principals {
            let shown = root_fields(&ask(&kit, &credential, ROOTS, json!({})).await);
            let mut usable = BTreeSet::new();
            for attempt in TRIES {
                // Capitals name nothing that is there.
                let answer = if attempt.by == Stream {
                    stream(&kit, &credential, attempt.document)
                        .await?
                        .unwrap_or_default()
                } else {
                    kit.gql(&credential, attempt.document, json!({})).await
                };
                let errors = answer["errors"].as_array().cloned().unwrap_or_default();
                let invalid = errors
                    .iter()
                    .any(|error| error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED");
                assert!(!invalid, "{errors:?}");
                let refused = errors.iter().any(|error| {
                    let at_root = error["path"].as_array().is_some_and(|path| path.len() == 1);
                    at_root && error["extensions"]["code"] == "FORBIDDEN"
                });
                if !refused {
                    usable.insert((
                        kind_of(attempt.document).to_owned(),
                        attempt.field.to_owned(),
                    ));
                }
            }
            assert_eq!(shown, usable, "{name}");
        }
        Ok(())
    })
    .await
}
