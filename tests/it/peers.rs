//! Bugs of other systems' contact graphs, by their names, and what is known to break such graphs: none of them is here.

use chrono::TimeDelta;
use entity::ContactId;
use serde_json::{Value, json};
use tests::{Kit, Tenant, on_each_database};

use crate::contact::{ask, track, upsert};

async fn did(kit: &Kit, tenant: &Tenant, input: Value) -> String {
    kit.advance(TimeDelta::seconds(1));
    let told = track(kit, &tenant.secret_key, input).await;
    assert_eq!(told["userErrors"], json!([]));
    told["contact"]["id"].as_str().unwrap().to_owned()
}

async fn merge(kit: &Kit, tenant: &Tenant, ids: &[&str]) -> Value {
    let document = "mutation($ids: [ID!]!) { contactMerge(input: {contactIds: $ids}) { contact { id } userErrors { code field } } }";
    let mut data = ask(kit, &tenant.secret_key, document, json!({ "ids": ids })).await;
    data["contactMerge"].take()
}

async fn merged(kit: &Kit, tenant: &Tenant, ids: &[&str]) -> anyhow::Result<String> {
    let done = merge(kit, tenant, ids).await;
    assert_eq!(done["userErrors"], json!([]));
    kit.app.worker.drain().await?;
    Ok(done["contact"]["id"].as_str().unwrap().to_owned())
}

async fn identify(kit: &Kit, tenant: &Tenant, input: Value) {
    kit.advance(TimeDelta::seconds(1));
    let document = "mutation($input: IdentifyInput!) { identify(input: $input) { accepted userErrors { code } } }";
    let data = ask(kit, &tenant.secret_key, document, json!({ "input": input })).await;
    assert_eq!(data["identify"]["userErrors"], json!([]));
}

/// Every contact of the tenant: external id and names of its own events, the newest first.
async fn contacts(kit: &Kit, tenant: &Tenant) -> Value {
    let document = "{ contacts { totalCount edges { node { id status externalId email traits anonymousIds events(first: 100) { edges { node { name source } } } } } } }";
    let mut data = ask(kit, &tenant.secret_key, document, json!({})).await;
    let mut all = data["contacts"]["edges"].take();
    for edge in all.as_array_mut().unwrap() {
        let events = edge["node"]["events"]["edges"].take();
        let events = events.as_array().unwrap().iter().map(|edge| &edge["node"]);
        let is_own = |event: &&Value| {
            event["source"] == "api" && !event["name"].as_str().unwrap().starts_with('$')
        };
        let own = events.filter(is_own);
        let names: Vec<Value> = own.map(|event| event["name"].clone()).collect();
        *edge = edge["node"].take();
        edge["events"] = names.into();
    }
    all
}

/// The only contact that there is.
async fn only(kit: &Kit, tenant: &Tenant) -> Value {
    let mut all = contacts(kit, tenant).await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    all[0].take()
}

#[tokio::test]
async fn mautic_16425_the_known_contact_keeps_its_id_whichever_is_older() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        for is_known_first in [true, false] {
            let acme = kit
                .tenant(if is_known_first { "known" } else { "anonymous" })
                .await?;
            let known =
                json!({"externalId": "ann", "email": "ann@example.com", "traits": {"plan": "pro"}});
            if is_known_first {
                upsert(&kit, &acme, known.clone()).await;
            }
            did(&kit, &acme, json!({"event": "visit", "anonymousId": "a1"})).await;
            if !is_known_first {
                upsert(&kit, &acme, known).await;
            }
            identify(&kit, &acme, json!({"userId": "ann", "anonymousId": "a1"})).await;
            let ann = only(&kit, &acme).await;
            assert_eq!(
                (&ann["externalId"], &ann["email"], &ann["traits"]["plan"]),
                (&json!("ann"), &json!("ann@example.com"), &json!("pro"))
            );
            assert_eq!(
                (&ann["status"], &ann["anonymousIds"]),
                (&json!("VERIFIED"), &json!(["a1"]))
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn mautic_7559_a_device_that_was_seen_makes_no_new_contact_after_a_merge()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        did(
            &kit,
            &acme,
            json!({"event": "visit", "anonymousId": "phone"}),
        )
        .await;
        did(
            &kit,
            &acme,
            json!({"event": "visit", "anonymousId": "laptop"}),
        )
        .await;
        identify(
            &kit,
            &acme,
            json!({"userId": "ann", "anonymousId": "phone"}),
        )
        .await;
        identify(
            &kit,
            &acme,
            json!({"userId": "ann", "anonymousId": "laptop"}),
        )
        .await;
        let mut roots = vec![];
        for device in ["phone", "laptop"] {
            roots.push(
                did(
                    &kit,
                    &acme,
                    json!({"event": "again", "anonymousId": device}),
                )
                .await,
            );
        }
        let ann = only(&kit, &acme).await;
        assert_eq!(roots, [ann["id"].clone(), ann["id"].clone()]);
        assert_eq!(ann["events"], json!(["again", "again", "visit", "visit"]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn mautic_6079_a_cookie_that_says_the_losers_id_speaks_for_its_root() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = did(&kit, &acme, json!({"event": "visit", "anonymousId": "a1"})).await;
        let bob = did(&kit, &acme, json!({"event": "visit", "anonymousId": "b1"})).await;
        let cookies = [
            kit.contact_token(&acme, ContactId::parse(&ann).unwrap())
                .await?,
            kit.contact_token(&acme, ContactId::parse(&bob).unwrap())
                .await?,
        ];
        let root = merged(&kit, &acme, &[&ann, &bob]).await?;
        for cookie in &cookies {
            let me = ask(&kit, cookie, "{ me { id } }", json!({})).await;
            assert_eq!(me["me"]["id"], json!(root));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn mautic_pr_3327_what_is_told_of_the_absorbed_id_is_not_lost() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = did(&kit, &acme, json!({"event": "visit", "anonymousId": "a1"})).await;
        let bob = did(&kit, &acme, json!({"event": "visit", "anonymousId": "b1"})).await;
        let root = merged(&kit, &acme, &[&ann, &bob]).await?;
        for (id, event) in [(&ann, "of ann"), (&bob, "of bob")] {
            assert_eq!(
                did(&kit, &acme, json!({"event": event, "contactId": id})).await,
                root
            );
        }
        let whole = only(&kit, &acme).await;
        assert_eq!(
            whole["events"],
            json!(["of bob", "of ann", "visit", "visit"])
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn mautic_pr_2950_and_6947_strangers_behind_one_address_stay_strangers() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let context = json!({"ip": "203.0.113.7", "userAgent": "Mozilla/5.0"});
        for visitor in ["a1", "b1", "c1"] {
            did(&kit, &acme, json!({"event": "visit", "anonymousId": visitor, "context": context, "properties": {"$ip": "203.0.113.7"}})).await;
        }
        assert_eq!(contacts(&kit, &acme).await.as_array().unwrap().len(), 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn customer_io_a_merge_with_nobody_says_so_and_a_merge_loses_no_trait_and_no_old_event()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(
            &kit,
            &acme,
            json!({"externalId": "ann", "traits": {"plan": "free", "city": "Oslo"}}),
        )
        .await;
        did(&kit, &acme, json!({"event": "long ago", "userId": "ann"})).await;
        kit.advance(TimeDelta::days(400));
        let bob = did(
            &kit,
            &acme,
            json!({"event": "today", "anonymousId": "b1", "properties": {"$set": {"plan": "pro"}}}),
        )
        .await;
        let stranger = ContactId::from_uuid(uuid::Uuid::from_u128(7)).to_string();
        let refused = merge(&kit, &acme, &[&ann, &stranger]).await;
        assert_eq!(
            refused,
            json!({"contact": null, "userErrors": [{"code": "NOT_FOUND", "field": "contactIds"}]})
        );
        merged(&kit, &acme, &[&ann, &bob]).await?;
        let whole = only(&kit, &acme).await;
        // The last word wins, also where the survivor had one.
        assert_eq!(whole["traits"], json!({"plan": "pro", "city": "Oslo"}));
        assert_eq!(whole["events"], json!(["today", "long ago"]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn customer_io_a_merge_is_no_avalanche_who_was_in_a_segment_does_not_enter_it_again()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let save = "mutation($key: String!, $rule: SegmentRuleInput!) { segmentSave(input: {key: $key, rule: $rule}) { userErrors { code } } }";
        for event in ["visit", "buy"] {
            ask(&kit, &acme.secret_key, save, json!({"key": event, "rule": {"event": {"name": event}}})).await;
        }
        let ann = did(&kit, &acme, json!({"event": "visit", "anonymousId": "a1"})).await;
        let bob = did(&kit, &acme, json!({"event": "visit", "anonymousId": "b1"})).await;
        did(&kit, &acme, json!({"event": "buy", "anonymousId": "b1"})).await;
        kit.app.worker.drain().await?;
        let told = "{ events(filter: {source: {eq: \"segment\"}}) { totalCount } }";
        let before = ask(&kit, &acme.secret_key, told, json!({})).await;
        assert_eq!(before["events"]["totalCount"], 3);
        let root = merged(&kit, &acme, &[&ann, &bob]).await?;
        assert_eq!(ask(&kit, &acme.secret_key, told, json!({})).await, before);
        let document = "query($id: ID!) { contact(id: $id) { segments { key } } }";
        let data = ask(&kit, &acme.secret_key, document, json!({ "id": root })).await;
        assert_eq!(data["contact"]["segments"].as_array().unwrap().len(), 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn hubspot_the_most_restrictive_consent_wins_a_merge_and_not_the_most_marketable()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        for denied_first in [true, false] {
            let acme = kit.tenant(if denied_first { "first" } else { "last" }).await?;
            let ann = did(&kit, &acme, json!({"event": "visit", "anonymousId": "a1"})).await;
            let bob = did(&kit, &acme, json!({"event": "visit", "anonymousId": "b1"})).await;
            let document = "mutation($id: ID!, $state: ConsentState!) { consentSet(input: {contactId: $id, topic: \"news\", channel: EMAIL, state: $state}) { userErrors { code } } }";
            let mut said = [(&ann, "WITHDRAWN"), (&bob, "GRANTED")];
            if !denied_first {
                said.reverse();
            }
            for (id, state) in said {
                kit.advance(TimeDelta::seconds(1));
                let data = ask(&kit, &acme.secret_key, document, json!({"id": id, "state": state})).await;
                assert_eq!(data["consentSet"]["userErrors"], json!([]));
            }
            let root = merged(&kit, &acme, &[&bob, &ann]).await?;
            let document = "query($id: ID!) { contact(id: $id) { consents { topic state } } }";
            let data = ask(&kit, &acme.secret_key, document, json!({ "id": root })).await;
            assert_eq!(data["contact"]["consents"], json!([{"topic": "news", "state": "WITHDRAWN"}]));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn attio_1268_merges_that_cross_neither_wait_for_each_other_nor_undo_each_other()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let mut ids = vec![];
        for visitor in ["a1", "b1", "c1"] {
            ids.push(
                did(
                    &kit,
                    &acme,
                    json!({"event": "visit", "anonymousId": visitor}),
                )
                .await,
            );
        }
        let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
        let both = [[a, b], [b, a], [c, a], [b, c]];
        let crossing = both.iter().map(async |pair| {
            let ids = pair.map(String::as_str);
            merge(&kit, &acme, &ids).await
        });
        for done in futures_util::future::join_all(crossing).await {
            // Whoever comes late finds that they are one already.
            let errors = done["userErrors"].as_array().unwrap();
            assert!(
                errors.is_empty() || errors.iter().all(|error| error["code"] != "CONFLICT"),
                "{done}"
            );
        }
        kit.app.worker.drain().await?;
        let whole = only(&kit, &acme).await;
        assert_eq!(whole["events"].as_array().unwrap().len(), 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn attio_1268_what_enriches_a_contact_overwrites_nothing_that_it_said() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        upsert(&kit, &acme, json!({"externalId": "ann", "traits": {"company": "Acme"}})).await;
        did(&kit, &acme, json!({"event": "enriched", "userId": "ann", "properties": {"$set_once": {"company": "Guessed", "size": 12}}})).await;
        assert_eq!(only(&kit, &acme).await["traits"], json!({"company": "Acme", "size": 12}));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn links_that_come_in_any_order_make_one_contact() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let pairs = [("a", "b"), ("b", "c"), ("c", "d")];
        for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 2, 0]] {
            let acme = kit.tenant(&format!("order {order:?}")).await?;
            for at in order {
                let (from, to) = pairs[at];
                kit.advance(TimeDelta::seconds(1));
                let document = "mutation($input: AliasInput!) { alias(input: $input) { userErrors { code } } }";
                let input = json!({"alias": from, "distinctId": to});
                let data = ask(&kit, &acme.secret_key, document, json!({ "input": input })).await;
                assert_eq!(data["alias"]["userErrors"], json!([]));
            }
            only(&kit, &acme).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_merge_of_who_referred_and_who_was_referred_makes_nobody_refer_themselves()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let bob = did(&kit, &acme, json!({"event": "visit", "anonymousId": "b1"})).await;
        let document = "mutation($input: RelationshipSetInput!) { relationshipSet(input: $input) { userErrors { code } } }";
        let input = json!({"from": {"externalId": "ann"}, "to": {"anonymousId": "b1"}, "kind": "REFERRED"});
        let data = ask(&kit, &acme.secret_key, document, json!({ "input": input })).await;
        assert_eq!(data["relationshipSet"]["userErrors"], json!([]));
        let root = merged(&kit, &acme, &[&ann, &bob]).await?;
        let document = "query($id: ID!) { contact(id: $id) { related(depth: 5) { contact { id } } } }";
        let data = ask(&kit, &acme.secret_key, document, json!({ "id": root })).await;
        assert_eq!(data["contact"]["related"], json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_absorbed_contact_that_is_erased_takes_its_root_with_it_and_another_tenants_stays()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let mut ids = vec![];
        for tenant in [&acme, &bolt] {
            let ann = upsert(&kit, tenant, json!({"externalId": "ann", "email": "ann@example.com"})).await;
            let visitor = did(&kit, tenant, json!({"event": "visit", "anonymousId": "a1"})).await;
            merged(&kit, tenant, &[&ann, &visitor]).await?;
            ids.push([ann, visitor]);
        }
        let root = only(&kit, &acme).await["id"].clone();
        let absorbed = ids[0].iter().find(|id| root != **id).unwrap();
        let document = "mutation($id: ID!) { contactErase(input: {contactId: $id}) { erasure { id } userErrors { code } } }";
        let data = ask(&kit, &acme.secret_key, document, json!({ "id": absorbed })).await;
        assert_eq!(data["contactErase"]["userErrors"], json!([]));
        kit.app.worker.drain().await?;
        assert_eq!(contacts(&kit, &acme).await, json!([]));
        assert_eq!(only(&kit, &bolt).await["email"], "ann@example.com");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_recycled_address_goes_to_its_new_owner_once_the_old_link_is_blocked()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        upsert(&kit, &acme, json!({"externalId": "ann", "email": "sales@corp.example"})).await;
        kit.advance(TimeDelta::days(300));
        upsert(&kit, &acme, json!({"externalId": "bob", "email": "sales@corp.example"})).await;
        let owner = async || {
            let document = "{ contact(by: {email: \"sales@corp.example\"}) { externalId } }";
            ask(&kit, &acme.secret_key, document, json!({})).await["contact"]["externalId"].take()
        };
        // Two people are never joined by it, and it stays with the first until somebody says otherwise.
        assert_eq!(owner().await, "ann");
        let document = "mutation($input: IdentityBlockAddInput!) { identityBlockAdd(input: $input) { userErrors { code } } }";
        let input = json!({"value": {"email": "sales@corp.example"}, "other": {"externalId": "ann"}});
        let data = ask(&kit, &acme.secret_key, document, json!({ "input": input })).await;
        assert_eq!(data["identityBlockAdd"]["userErrors"], json!([]));
        assert_eq!(owner().await, "bob");
        assert_eq!(contacts(&kit, &acme).await.as_array().unwrap().len(), 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_placeholder_in_every_row_joins_nobody() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for at in 0..40 {
            upsert(
                &kit,
                &acme,
                json!({"externalId": format!("u{at}"), "email": "unknown@example.com"}),
            )
            .await;
        }
        assert_eq!(contacts_total(&kit, &acme).await, 40);
        // Visitors, of whom no better id is known, are joined until it is noticed, and come apart then.
        for at in 0..20 {
            let visitor = format!("a{at}");
            did(
                &kit,
                &acme,
                json!({"event": "visit", "anonymousId": visitor}),
            )
            .await;
            identify(
                &kit,
                &acme,
                json!({"anonymousId": visitor, "phone": "+15550000000"}),
            )
            .await;
        }
        kit.app.worker.drain().await?;
        // The number itself is nobody's from now on, and lies in quarantine.
        assert_eq!(contacts_total(&kit, &acme).await, 40 + 20 + 1);
        let blocks = ask(
            &kit,
            &acme.secret_key,
            "{ identityBlocks { totalCount } }",
            json!({}),
        )
        .await;
        assert_eq!(blocks["identityBlocks"]["totalCount"], 1);
        Ok(())
    })
    .await
}

async fn contacts_total(kit: &Kit, tenant: &Tenant) -> u64 {
    let data = ask(
        kit,
        &tenant.secret_key,
        "{ contacts { totalCount } }",
        json!({}),
    )
    .await;
    data["contacts"]["totalCount"].as_u64().unwrap()
}

#[tokio::test]
async fn clocks_that_go_wrong_change_neither_who_somebody_is_nor_the_last_word()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let now = kit.now();
        let at = |days: i64| (now + TimeDelta::days(days)).to_rfc3339();
        let set = |plan: &str| json!({"$set": {"plan": plan}});
        did(&kit, &acme, json!({"event": "from 2036", "userId": "ann", "timestamp": at(3_650), "properties": set("future")})).await;
        did(&kit, &acme, json!({"event": "from 1999", "userId": "ann", "timestamp": at(-9_000), "properties": set("past")})).await;
        did(&kit, &acme, json!({"event": "now", "userId": "ann", "properties": set("pro")})).await;
        let ann = only(&kit, &acme).await;
        assert_eq!(ann["traits"], json!({"plan": "pro"}));
        assert_eq!(ann["events"], json!(["now", "from 2036", "from 1999"]));
        Ok(())
    })
    .await
}
