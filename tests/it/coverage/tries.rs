//! What is tried of every root field.

use Answer::{Code, Data, Silence};
use By::{Contact, Key, Stream};

/// Who tries.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum By {
    /// Another tenant's secret key that holds every scope.
    Key,
    /// A contact of the other tenant.
    Contact,
    /// The same, over a subscription.
    Stream,
}

/// What the intruder must be answered.
pub(super) enum Answer {
    /// This data, in JSON.
    Data(&'static str),
    /// Errors of this code at the root, one a field.
    Code(&'static str),
    /// No item at all.
    Silence,
}

pub(super) struct Try {
    pub field: &'static str,
    pub by: By,
    /// Capitals stand for the victim's ids, as [`Victim::named_in`](super::victim::Victim::named_in) knows them.
    pub document: &'static str,
    pub answer: Answer,
}

const fn tried(field: &'static str, by: By, document: &'static str, answer: Answer) -> Try {
    Try {
        field,
        by,
        document,
        answer,
    }
}

pub(super) const TRIES: &[Try] = &[
    tried(
        "contactView",
        Key,
        r#"{ a: contactView(id: "VIEW") { id } b: contactView(key: "secret-view") { id rows { totalCount } } }"#,
        Data(r#"{"a": null, "b": null}"#),
    ),
    tried(
        "contactViews",
        Key,
        r#"{ contactViews(filter: {key: {startsWith: "secret"}}) { totalCount edges { node { id } } } }"#,
        Data(r#"{"contactViews": {"totalCount": 0, "edges": []}}"#),
    ),
    tried(
        "contactViewSave",
        Key,
        r#"mutation { a: contactViewSave(input: {id: "VIEW", key: "mine", columns: []}) { view { key } userErrors { code field } } b: contactViewSave(input: {key: "mine", columns: [{segment: {key: "secret-segment"}}]}) { view { key } userErrors { code field } } }"#,
        Data(
            r#"{"a": {"view": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}, "b": {"view": null, "userErrors": [{"code": "NOT_FOUND", "field": "columns.0.segment.key"}]}}"#,
        ),
    ),
    tried(
        "contactViewDelete",
        Key,
        r#"mutation { contactViewDelete(input: {id: "VIEW"}) { deletedId userErrors { code field } } }"#,
        Data(
            r#"{"contactViewDelete": {"deletedId": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}}"#,
        ),
    ),
    tried(
        "contactViewExport",
        Key,
        r#"mutation { a: contactViewExport(input: {id: "VIEW"}) { job { id } userErrors { code field } } b: contactViewExport(input: {key: "secret-view"}) { job { id } userErrors { code field } } }"#,
        Data(
            r#"{"a": {"job": null, "userErrors": [{"code": "NOT_FOUND", "field": "id"}]}, "b": {"job": null, "userErrors": [{"code": "NOT_FOUND", "field": "key"}]}}"#,
        ),
    ),
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
        r#"{ nodes(ids: ["CONTACT", "EVENT", "KEY", "METRIC", "NUDGE", "DELIVERY", "LETTER", "TENANT", "POSTHOG", "IDENTIFIER", "VERSION", "ENTRY", "ISSUER", "OPERATION", "DEFINITION", "ACCOUNT", "RELATION", "JOB", "ERASURE", "IMPORT", "SEGMENT", "BLOCK", "PROPOSAL", "RECORD", "STATEMENT", "ITEM", "OBSERVATION", "REJECT", "SIZE", "TOUCH", "VIEW", "LINE"]) { id } }"#,
        Data(
            r#"{"nodes": [null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null]}"#,
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
