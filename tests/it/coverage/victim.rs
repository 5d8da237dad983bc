//! A tenant with one of everything, and words that must never be told to another.

use api::base::Cx;
use chrono::TimeDelta;
use entity::{
    ContactId, EventId, Id, TenantOwned, account, account_membership, api_key, audit_entry,
    consent, contact, contact_alias, contact_evidence, contact_identifier, contact_trait,
    contact_view, dead_letter, erasure, event, idempotency, identity_block, identity_policy,
    import_reject, issuer, job, merge_proposal, merge_record, metric, nudge, nudge_decision,
    nudge_delivery, nudge_interaction, nudge_version, operation, posthog_connection, relationship,
    segment, segment_due, segment_listing, segment_member, segment_size, segment_trigger,
    suppression, tenant_front, tombstone, touchpoint, trait_definition, trait_observation,
    trait_schema,
};
use sea_orm::Set;
use serde_json::{Value, json};
use tests::{Kit, Tenant};

use crate::{
    contact::{ask, upsert},
    rows,
};

/// Words of the victim's that must never be answered to another.
pub(super) const SECRETS: &[&str] = &[
    "victims",
    "victim@",
    "secret value",
    "secret title",
    "secret error",
    "secret name",
    "secret source",
    "secret-topic",
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
        let save = "mutation { contactViewSave(input: {key: \"secret-view\", columns: [{segment: {key: \"secret-segment\"}}]}) { view { id } userErrors { message } } }";
        let saved = ask(kit, sk, save, json!({})).await;
        let view_id = saved["contactViewSave"]["view"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let visit = "mutation { track(input: {event: \"$pageview\", userId: \"victim\", properties: {utm_source: \"secret source\"}}) { accepted } }";
        ask(kit, sk, visit, json!({})).await;
        let allow = "mutation($id: ID!) { consentSet(input: {contactId: $id, topic: \"secret-topic\", channel: EMAIL, state: GRANTED, basis: CONSENT}) { userErrors { message } } }";
        ask(kit, sk, allow, json!({"id": contact_id})).await;
        let add = "mutation($input: SegmentMembersInput!) { segmentMembersAdd(input: $input) { userErrors { message } } }";
        let input = json!({"input": {"id": segment_id, "contactIds": [contact_id]}});
        ask(kit, sk, add, input).await;
        let rows = Rows {
            contact: ContactId::parse(&contact_id).unwrap(),
            event: EventId::parse(&event_id).unwrap(),
            nudge: Id::parse(&nudge_id).unwrap(),
        };
        let reject_id = rejected(&tenant.cx, &import_id).await?;
        let (delivery_id, letter_id, posthog_id) = rows.add(&tenant.cx).await?;
        let shown = "query($contact: ID!, $nudge: ID!, $segment: ID!) { contact(id: $contact) { identifiers { id } consents { id } touchpoints { edges { node { id } } } timeline(kinds: [\"TRAIT\"]) { edges { node { id } } } traitHistory { edges { node { id } } } } contactView(key: \"secret-view\") { rows { edges { node { id } } } } segment(id: $segment) { sizeHistory { edges { node { id } } } } nudge(id: $nudge) { liveVersion { id } } auditLog(first: 1) { edges { node { id } } } traitDefinitions { edges { node { id } } } }";
        let ids = json!({"contact": contact_id, "nudge": nudge_id, "segment": segment_id});
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
                ("STATEMENT", text(&shown["contact"]["consents"][0]["id"])),
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
                (
                    "ITEM",
                    text(&shown["contact"]["timeline"]["edges"][0]["node"]["id"]),
                ),
                (
                    "OBSERVATION",
                    text(&shown["contact"]["traitHistory"]["edges"][0]["node"]["id"]),
                ),
                ("REJECT", reject_id),
                (
                    "SIZE",
                    text(&shown["segment"]["sizeHistory"]["edges"][0]["node"]["id"]),
                ),
                (
                    "TOUCH",
                    text(&shown["contact"]["touchpoints"]["edges"][0]["node"]["id"]),
                ),
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
                (
                    "LINE",
                    text(&shown["contactView"]["rows"]["edges"][0]["node"]["id"]),
                ),
                ("VIEW", view_id),
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
    pub(super) async fn rows(&self) -> anyhow::Result<String> {
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
            all::<contact_view::Entity>(cx).await?,
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

/// A line of an import that was not taken.
async fn rejected(cx: &Cx, import: &str) -> anyhow::Result<String> {
    let job = Id::<api::import::Named>::parse(import).unwrap().uuid();
    let row = cx
        .write(async |tx| {
            tx.insert(import_reject::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                job_id: Set(Id::from_uuid(job)),
                line: Set(1),
                field: Set(None),
                reason: Set("secret error".to_owned()),
                raw: Set("secret value".to_owned()),
            })
            .await
        })
        .await?;
    Ok(row.id.to_string())
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
