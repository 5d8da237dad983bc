//! Contacts are joined and taken apart by hand; what evidence does by itself has its limits, and its reasons are told.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use entity::ContactId;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use crate::contact::{ask, track, upsert};

const MERGE: &str = "mutation($ids: [ID!]!) { contactMerge(input: {contactIds: $ids, reason: \"the same\"}) { contact { id } userErrors { code field message } } }";
const UNMERGE: &str = "mutation($id: ID!) { contactUnmerge(input: {contactId: $id}) { contact { id } former { id } userErrors { code field message } } }";

async fn merge(kit: &Kit, tenant: &Tenant, ids: &[&str]) -> Value {
    let mut data = ask(kit, &tenant.secret_key, MERGE, json!({"ids": ids})).await;
    data["contactMerge"].take()
}

async fn unmerge(kit: &Kit, tenant: &Tenant, id: &str) -> Value {
    let mut data = ask(kit, &tenant.secret_key, UNMERGE, json!({"id": id})).await;
    data["contactUnmerge"].take()
}

/// All that a contact has, by its id.
async fn picture(kit: &Kit, tenant: &Tenant, id: &str) -> Value {
    let query = "query($id: ID!) { contact(id: $id) { id status traits identifiers { kind value }
        attribution { firstTouch { source } lastTouch { source } } events(first: 100) { totalCount edges { node { name } } }
        nudges(first: 100) { totalCount } } }";
    let mut data = ask(kit, &tenant.secret_key, query, json!({"id": id})).await;
    let contact = &mut data["contact"];
    // What is told of a merge stays told.
    let events: Vec<Value> = contact["events"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["name"].clone())
        .filter(|name| *name != "contact.merged" && *name != "contact.unmerged")
        .collect();
    contact["events"] = events.into();
    contact.take()
}

async fn did(kit: &Kit, tenant: &Tenant, input: Value) -> String {
    let told = track(kit, &tenant.secret_key, input).await;
    assert_eq!(told["userErrors"], json!([]));
    told["contact"]["id"].as_str().unwrap().to_owned()
}

/// Ann and Bob, with events, traits, touches and a nudge each.
async fn ann_and_bob(kit: &Kit, tenant: &Tenant) -> anyhow::Result<[String; 2]> {
    let saved = ask(
        kit,
        &tenant.secret_key,
        r#"mutation { nudgeSave(input: {key: "hi", surface: "app", content: {title: "t", body: "b"}, trigger: {event: "came"}}) { nudge { id } userErrors { message } } }"#,
        json!({}),
    )
    .await;
    let publish =
        "mutation($id: ID!) { nudgePublish(input: {id: $id}) { userErrors { message } } }";
    let id = &saved["nudgeSave"]["nudge"]["id"];
    ask(kit, &tenant.secret_key, publish, json!({"id": id})).await;
    let mut ids = vec![];
    for (name, plan) in [("ann", "free"), ("bob", "pro")] {
        let email = format!("{name}@example.com");
        let id = upsert(
            kit,
            tenant,
            json!({"externalId": name, "email": email, "traits": {"plan": plan, (format!("of_{name}")): 1}}),
        )
        .await;
        did(
            kit,
            tenant,
            json!({"event": "came", "userId": name,
            "context": {"page": {"url": format!("https://acme.test/?utm_source={name}s")}}}),
        )
        .await;
        ids.push(id);
    }
    kit.app.worker.drain().await?;
    Ok([ids[0].clone(), ids[1].clone()])
}

#[tokio::test]
async fn after_a_merge_and_an_unmerge_every_row_is_where_it_was() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let [ann, bob] = ann_and_bob(&kit, &acme).await?;
        let before = [
            picture(&kit, &acme, &ann).await,
            picture(&kit, &acme, &bob).await,
        ];
        assert_eq!(before[1]["nudges"]["totalCount"], 1);

        kit.advance(TimeDelta::minutes(1));
        let merged = merge(&kit, &acme, &[&bob, &ann]).await;
        assert_eq!(
            merged,
            json!({"contact": {"id": ann}, "userErrors": []}),
            "the one seen first stays"
        );
        let both = picture(&kit, &acme, &bob).await;
        assert_eq!(both["id"], json!(ann), "an absorbed id leads to its root");
        assert_eq!(both["traits"]["plan"], "pro", "the newest value wins");
        assert_eq!(both["nudges"]["totalCount"], 2);
        let events = |of: &Value| of["events"].as_array().unwrap().len();
        assert_eq!(events(&both), events(&before[0]) + events(&before[1]));

        // What happens meanwhile goes with the identifier that caused it.
        kit.advance(TimeDelta::minutes(1));
        did(
            &kit,
            &acme,
            json!({"event": "came", "userId": "bob", "properties": {"$set": {"later": true}}}),
        )
        .await;
        kit.app.worker.drain().await?;
        kit.advance(TimeDelta::minutes(1));
        let parted = unmerge(&kit, &acme, &bob).await;
        assert_eq!(
            parted,
            json!({"contact": {"id": bob}, "former": {"id": ann}, "userErrors": []})
        );
        assert_eq!(picture(&kit, &acme, &ann).await, before[0]);
        let after = picture(&kit, &acme, &bob).await;
        assert_eq!(
            after["traits"],
            json!({"plan": "pro", "of_bob": 1, "email": "bob@example.com", "later": true})
        );
        assert_eq!(after["identifiers"], before[1]["identifiers"]);
        assert_eq!(after["attribution"], before[1]["attribution"]);
        assert_eq!(after["nudges"]["totalCount"], 2);

        // They stay apart, whatever is heard, until somebody says otherwise.
        upsert(
            &kit,
            &acme,
            json!({"externalId": "ann", "email": "bob@example.com"}),
        )
        .await;
        assert_eq!(picture(&kit, &acme, &bob).await["id"], json!(bob));
        assert_eq!(
            merge(&kit, &acme, &[&ann, &bob]).await["contact"]["id"],
            json!(ann)
        );
        assert_eq!(picture(&kit, &acme, &bob).await["id"], json!(ann));
        let history =
            "query($id: ID!) { contact(id: $id) { mergeHistory { totalCount edges { node {
            kind mode survivorId otherId reason reversedAt } } } } }";
        let data = ask(&kit, &acme.secret_key, history, json!({"id": ann})).await;
        let history = &data["contact"]["mergeHistory"];
        let kinds: Vec<_> = history["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| {
                let node = &edge["node"];
                assert_eq!(
                    (&node["survivorId"], &node["otherId"]),
                    (&json!(ann), &json!(bob))
                );
                (
                    node["kind"].clone(),
                    node["mode"].clone(),
                    node["reversedAt"].is_null(),
                )
            })
            .collect();
        assert_eq!(
            kinds,
            [
                (json!("MERGE"), json!("MANUAL"), true),
                (json!("SPLIT"), json!("MANUAL"), false),
                (json!("MERGE"), json!("MANUAL"), false),
            ]
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merge_that_cannot_be_is_refused_and_changes_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let theirs = upsert(&kit, &bolt, json!({"externalId": "ann"})).await;
        let before = picture(&kit, &acme, &ann).await;
        for ids in [vec![], vec![ann.as_str()], vec![ann.as_str(); 11]] {
            let refused = merge(&kit, &acme, &ids).await;
            assert_eq!(refused["userErrors"][0]["code"], "INVALID");
            assert_eq!(refused["userErrors"][0]["field"], "contactIds");
        }
        for stranger in [
            theirs.as_str(),
            "contact_01h455vb4pex5vsknk084sn02q",
            "nonsense",
        ] {
            let refused = merge(&kit, &acme, &[&ann, stranger]).await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
            assert_eq!(refused["userErrors"][0]["field"], "contactIds");
            let refused = unmerge(&kit, &acme, stranger).await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
        }
        assert_eq!(
            unmerge(&kit, &acme, &ann).await["userErrors"][0]["code"],
            "CONFLICT"
        );
        assert_eq!(
            merge(&kit, &acme, &[&ann, &ann]).await["contact"]["id"],
            json!(ann),
            "it is one already"
        );
        assert_eq!(picture(&kit, &acme, &ann).await, before);
        assert_eq!(picture(&kit, &bolt, &theirs).await["id"], json!(theirs));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_preview_says_what_a_merge_would_do_and_does_nothing() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"plan": "free", "a": 1}})).await;
        let bob = upsert(&kit, &acme, json!({"externalId": "bob", "traits": {"plan": "pro"}})).await;
        let query = "query($ids: [ID!]!) { contactMergePreview(contactIds: $ids) { survivor { id } absorbedIds identifierCount
            conflicts { key values } userErrors { code } } }";
        let data = ask(&kit, &acme.secret_key, query, json!({"ids": [bob, ann]})).await;
        assert_eq!(data["contactMergePreview"], json!({
            "survivor": {"id": ann}, "absorbedIds": [bob], "identifierCount": 2,
            "conflicts": [{"key": "plan", "values": ["pro", "free"]}], "userErrors": [],
        }));
        assert_eq!(picture(&kit, &acme, &bob).await["id"], json!(bob));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_somebody_is_comes_with_the_reason() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "email": "ann@example.com"})).await;
        let identify = "mutation($input: IdentifyInput!) { identify(input: $input) { accepted userErrors { message } } }";
        for input in [
            json!({"userId": "ann", "anonymousId": "browser"}),
            // An address that somebody else types is no evidence.
            json!({"anonymousId": "stranger", "email": "ann@example.com"}),
        ] {
            ask(&kit, &acme.publishable_key, identify, json!({"input": input})).await;
        }
        let query = "query($by: ContactKey!) { resolve(by: $by) { contact { id } identifier { kind value }
            why { kind level between { value } } dormant { dormantReason between { value } } } }";
        let resolve = async |by: Value| ask(&kit, &acme.secret_key, query, json!({"by": by})).await["resolve"].take();
        let browser = resolve(json!({"anonymousId": "browser"})).await;
        assert_eq!(browser["contact"]["id"], json!(ann));
        assert_eq!(browser["why"].as_array().unwrap().len(), 1);
        assert_eq!(browser["why"][0]["kind"], "IDENTIFY");
        assert_eq!(browser["why"][0]["level"], "CLAIMED");
        let email = resolve(json!({"email": "ann@example.com"})).await;
        assert_eq!(email["why"][0]["level"], "ASSERTED_BY_BACKEND");
        assert_eq!(email["dormant"][0]["dormantReason"], "unverified");
        let ends: BTreeSet<&str> = email["dormant"][0]["between"].as_array().unwrap().iter()
            .map(|end| end["value"].as_str().unwrap()).collect();
        assert_eq!(ends, BTreeSet::from(["ann@example.com", "stranger"]));
        assert_eq!(resolve(json!({"externalId": "ann"})).await["why"], json!([]));
        assert_eq!(resolve(json!({"email": "nobody@example.com"})).await, Value::Null);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_value_that_joins_too_many_within_an_hour_is_blocked_and_what_it_joined_comes_apart()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let mut visitors = vec![];
        for number in 0..12 {
            let browser = format!("browser-{number}");
            visitors.push(
                did(
                    &kit,
                    &acme,
                    json!({"event": "seen", "anonymousId": browser}),
                )
                .await,
            );
        }
        for number in 0..12 {
            let browser = format!("browser-{number}");
            upsert(
                &kit,
                &acme,
                json!({"anonymousId": browser, "email": "null@x.com"}),
            )
            .await;
        }
        let blocks = ask(
            &kit,
            &acme.secret_key,
            "{ identityBlocks { edges { node { id kind value saidBy } } } }",
            json!({}),
        )
        .await;
        let block = &blocks["identityBlocks"]["edges"][0]["node"];
        assert_eq!(
            (&block["value"], &block["saidBy"]),
            (&json!("null@x.com"), &json!("system"))
        );
        for (number, visitor) in visitors.iter().enumerate() {
            let query = "query($by: ContactKey!) { contact(by: $by) { id } }";
            let by = json!({"anonymousId": format!("browser-{number}")});
            let data = ask(&kit, &acme.secret_key, query, json!({"by": by})).await;
            assert_eq!(
                data["contact"]["id"],
                json!(visitor),
                "browser {number} is its own again"
            );
        }
        let alerts = ask(
            &kit,
            &acme.secret_key,
            r#"{ events(filter: {name: {eq: "identifier.blocked"}}) { totalCount } }"#,
            json!({}),
        )
        .await;
        assert_eq!(alerts["events"]["totalCount"], 1);
        // It joins nobody from now on, and whoever lifts the block has it join again.
        upsert(
            &kit,
            &acme,
            json!({"anonymousId": "browser-new", "email": "null@x.com"}),
        )
        .await;
        let data = ask(
            &kit,
            &acme.secret_key,
            r#"{ contact(by: {anonymousId: "browser-new"}) { identifiers { value } } }"#,
            json!({}),
        )
        .await;
        assert_eq!(
            data["contact"]["identifiers"],
            json!([{"value": "browser-new"}])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_value_or_a_link_that_a_tenant_blocks_joins_nobody_until_it_is_let() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let sk = &acme.secret_key;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann", "phone": "+4930901820"})).await;
        let add = "mutation($input: IdentityBlockAddInput!) { identityBlockAdd(input: $input) { identityBlock { id } userErrors { code field } } }";
        let remove = "mutation($id: ID!) { identityBlockRemove(input: {id: $id}) { userErrors { code } } }";
        let owner = async || {
            let query = r#"{ contact(by: {phone: "+4930901820"}) { id status } }"#;
            ask(&kit, sk, query, json!({})).await["contact"].take()
        };
        for input in [
            json!({"value": {"phone": "+4930901820"}}),
            json!({"value": {"phone": "+4930901820"}, "other": {"externalId": "ann"}}),
        ] {
            let whole = input.get("other").is_none();
            let data = ask(&kit, sk, add, json!({"input": input})).await;
            let id = data["identityBlockAdd"]["identityBlock"]["id"].clone();
            assert_eq!(data["identityBlockAdd"]["userErrors"], json!([]));
            let alone = owner().await;
            assert_ne!(alone["id"], json!(ann));
            assert_eq!(alone["status"] == "QUARANTINED", whole, "{alone}");
            // Another tenant cannot lift it.
            let data = ask(&kit, &bolt.secret_key, remove, json!({"id": id})).await;
            assert_eq!(data["identityBlockRemove"]["userErrors"][0]["code"], "NOT_FOUND");
            let data = ask(&kit, sk, remove, json!({"id": id})).await;
            assert_eq!(data["identityBlockRemove"]["userErrors"], json!([]));
            assert_eq!(owner().await["id"], json!(ann));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn more_merges_than_usual_wait_for_a_person() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        // Fifty-two people known by an address and by a user id, and then by both at once.
        for number in 0..52 {
            upsert(&kit, &acme, json!({"externalId": format!("user-{number}")})).await;
            upsert(&kit, &acme, json!({"email": format!("user-{number}@example.com")})).await;
        }
        for number in 0..52 {
            upsert(&kit, &acme, json!({"externalId": format!("user-{number}"), "email": format!("user-{number}@example.com")})).await;
        }
        let list = "query($state: MergeProposalState) { mergeProposals(state: $state) { totalCount edges { node { id concern contacts { id } evidence { value } } } } }";
        let waiting = ask(&kit, sk, list, json!({})).await;
        assert_eq!(waiting["mergeProposals"]["totalCount"], 2);
        let proposals = waiting["mergeProposals"]["edges"].as_array().unwrap();
        let decide = async |verb: &str, id: &Value| {
            let query = format!("mutation($id: ID!) {{ mergeProposal{verb}(input: {{id: $id}}) {{ mergeProposal {{ state contacts {{ id }} }} userErrors {{ code }} }} }}");
            ask(&kit, sk, &query, json!({"id": id})).await[format!("mergeProposal{verb}")].take()
        };
        for (proposal, verb, state, people) in [(&proposals[0], "Approve", "APPLIED", 1), (&proposals[1], "Reject", "REJECTED", 2)] {
            let node = &proposal["node"];
            assert_eq!(node["concern"], "merge_rate");
            let decided = decide(verb, &node["id"]).await;
            assert_eq!(decided["mergeProposal"]["state"], state);
            let contacts: BTreeSet<String> = decided["mergeProposal"]["contacts"].as_array().unwrap().iter()
                .map(|contact| contact["id"].to_string()).collect();
            assert_eq!(contacts.len(), people);
            let other = if verb == "Approve" { "Reject" } else { "Approve" };
            assert_eq!(decide(other, &node["id"]).await["userErrors"][0]["code"], "CONFLICT");
        }
        // What was refused stays so, whatever is heard.
        let refused = proposals[1]["node"]["evidence"].as_array().unwrap();
        let email = refused.iter().map(|end| end["value"].as_str().unwrap()).find(|value| value.contains('@')).unwrap();
        let user = email.split('@').next().unwrap();
        upsert(&kit, &acme, json!({"externalId": user, "email": email})).await;
        let query = "query($a: ContactKey!, $b: ContactKey!) { a: contact(by: $a) { id } b: contact(by: $b) { id } }";
        let data = ask(&kit, sk, query, json!({"a": {"externalId": user}, "b": {"email": email}})).await;
        assert_ne!(data["a"]["id"], data["b"]["id"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_browser_proves_the_user_that_it_names_where_the_tenant_asks_for_it() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let (sk, pk) = (&acme.secret_key, &acme.publishable_key);
        let save = "mutation($required: Boolean) { identityPolicySave(input: {proofRequired: $required}) { identityPolicy { proofRequired hasProofSecret } userErrors { code field } } }";
        let early = ask(&kit, sk, save, json!({"required": true})).await;
        assert_eq!(early["identityPolicySave"]["userErrors"][0]["field"], "proofRequired");
        let rotate = "mutation { identityProofSecretRotate(input: {reason: \"first\"}) { secret userErrors { code } } }";
        let secret = ask(&kit, sk, rotate, json!({})).await["identityProofSecretRotate"]["secret"].as_str().unwrap().to_owned();
        let hash = hmac_hex(&secret, "ann");
        let identify = "mutation($input: IdentifyInput!) { identify(input: $input) { accepted userErrors { field } } }";
        let tell = async |input: Value| ask(&kit, pk, identify, json!({"input": input})).await["identify"].take();
        let refused = json!({"accepted": false, "userErrors": [{"field": "userHash"}]});
        let taken = json!({"accepted": true, "userErrors": []});
        assert_eq!(tell(json!({"userId": "ann"})).await, taken, "no proof is asked for yet");
        assert_eq!(tell(json!({"userId": "ann", "userHash": hmac_hex(&secret, "bob")})).await, refused);
        let level = async || {
            let query = r#"{ contact(by: {externalId: "ann"}) { identifiers { verification } } }"#;
            ask(&kit, sk, query, json!({})).await["contact"]["identifiers"][0]["verification"].take()
        };
        assert_eq!(level().await, "CLAIMED");
        assert_eq!(tell(json!({"userId": "ann", "userHash": hash})).await, taken);
        assert_eq!(level().await, "ASSERTED_BY_BACKEND");
        let saved = ask(&kit, sk, save, json!({"required": true})).await;
        assert_eq!(saved["identityPolicySave"]["identityPolicy"], json!({"proofRequired": true, "hasProofSecret": true}));
        assert_eq!(tell(json!({"userId": "eve"})).await, refused);
        assert_eq!(tell(json!({"userId": "ann", "userHash": hash})).await, taken);
        assert_eq!(tell(json!({"anonymousId": "browser"})).await, taken, "a browser needs no proof of itself");
        let nobody = ask(&kit, sk, r#"{ contact(by: {externalId: "eve"}) { id } }"#, json!({})).await;
        assert_eq!(nobody["contact"], Value::Null);
        // The backend's word needs none.
        upsert(&kit, &acme, json!({"externalId": "eve"})).await;
        Ok(())
    })
    .await
}

fn hmac_hex(secret: &str, text: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    api::base::hex(&mac.finalize().into_bytes())
}

#[tokio::test]
async fn an_absorbed_id_leads_to_its_root_by_every_path() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let [ann, bob] = ann_and_bob(&kit, &acme).await?;
        let token = kit.contact_token(&acme, ContactId::parse(&bob).unwrap()).await?;
        merge(&kit, &acme, &[&ann, &bob]).await;
        let me = ask(&kit, &token, "{ me { id } }", json!({})).await;
        assert_eq!(me["me"]["id"], json!(ann), "a token that was minted before");
        let query = "query($id: ID!) { contact(id: $id) { id } node(id: $id) { id } nodes(ids: [$id]) { id } }";
        let data = ask(&kit, &acme.secret_key, query, json!({"id": bob})).await;
        assert_eq!(data, json!({"contact": {"id": ann}, "node": {"id": ann}, "nodes": [{"id": ann}]}));
        assert_eq!(did(&kit, &acme, json!({"event": "late", "contactId": bob})).await, ann);
        let update = "mutation($id: ID!) { contactUpdate(input: {id: $id, name: \"Ann Bob\"}) { contact { id name } } }";
        let data = ask(&kit, &acme.secret_key, update, json!({"id": bob})).await;
        assert_eq!(data["contactUpdate"]["contact"], json!({"id": ann, "name": "Ann Bob"}));
        let filtered = "query($id: ID!) { events(filter: {contactId: $id, name: {eq: \"late\"}}) { totalCount } }";
        let data = ask(&kit, &acme.secret_key, filtered, json!({"id": ann})).await;
        assert_eq!(data["events"]["totalCount"], 1);
        Ok(())
    })
    .await
}
