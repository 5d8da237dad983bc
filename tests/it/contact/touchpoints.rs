//! Where contacts came from, visit by visit.

use chrono::TimeDelta;
use entity::{ContactId, Id, touchpoint};
use sea_orm::Set;
use serde_json::{Value, json};
use tests::{Tenant, on_each_database, start};

use super::{ask, upsert};

async fn touched(tenant: &Tenant, contact: &str, touches: &[(i64, Value)]) -> anyhow::Result<()> {
    let contact = ContactId::parse(contact).unwrap();
    tenant
        .cx
        .write(async |tx| {
            let rows = touches
                .iter()
                .map(|(minute, touch)| touchpoint::ActiveModel {
                    id: Set(tx.new_id()),
                    tenant_id: Set(tx.tenant()),
                    contact_id: Set(contact),
                    identifier_id: Set(None),
                    event_id: Set(Id::from_uuid(tx.new_id::<touchpoint::Entity>().uuid())),
                    touch: Set(touch.clone()),
                    occurred_at: Set(start() + TimeDelta::minutes(*minute)),
                });
            tx.insert_all(rows.collect(), None).await
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn every_visit_is_listed_the_oldest_first_and_narrowed_by_campaign_source_and_kind()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let sk = &acme.secret_key;
        let ann = upsert(&kit, &acme, json!({"externalId": "ann"})).await;
        let bob = upsert(&kit, &acme, json!({"externalId": "bob"})).await;
        touched(&acme, &ann, &[
            (3, json!({"qr": "table-7", "landingUrl": "https://acme.test/?qr=table-7"})),
            (1, json!({"source": "news", "medium": "email", "campaign": "launch"})),
            (2, json!({"referrer": "https://blog.test/", "referringDomain": "blog.test"})),
            (4, json!({"referralCode": "BOB7", "source": "news"})),
            (5, json!({"clickIds": {"gclid": "g1"}})),
            (6, json!({"source": "fair", "medium": "qr"})),
        ]).await?;
        touched(&acme, &bob, &[(1, json!({"source": "other"}))]).await?;
        let query = "query($id: ID!) { contact(id: $id) {
            touchpoints { totalCount edges { node { at kind source qrCode } } }
            last: touchpoints(last: 1) { edges { node { kind } } pageInfo { hasPreviousPage } }
            news: touchpoints(filter: {source: \"news\"}) { totalCount }
            launch: touchpoints(filter: {campaign: \"launch\", source: \"news\"}) { edges { node { at } } }
            qr: touchpoints(filter: {kind: QR}) { edges { node { at } } }
            campaign: touchpoints(filter: {kind: CAMPAIGN}) { edges { node { at } } }
            referral: touchpoints(filter: {kind: REFERRAL}) { edges { node { at } } }
            referrer: touchpoints(filter: {kind: REFERRER}) { edges { node { at } } }
        } }";
        let data = ask(&kit, sk, query, json!({"id": ann})).await;
        let at = |minute: i64| json!({"node": {"at": format!("2026-01-01T09:0{minute}:00Z")}});
        let node = |minute: i64, kind: &str, source: Value, qr: Value| {
            json!({"node": {"at": format!("2026-01-01T09:0{minute}:00Z"), "kind": kind, "source": source, "qrCode": qr}})
        };
        assert_eq!(
            data["contact"],
            json!({
                "touchpoints": {"totalCount": 6, "edges": [
                    node(1, "CAMPAIGN", json!("news"), Value::Null),
                    node(2, "REFERRER", Value::Null, Value::Null),
                    node(3, "QR", Value::Null, json!("table-7")),
                    node(4, "REFERRAL", json!("news"), Value::Null),
                    node(5, "CAMPAIGN", Value::Null, Value::Null),
                    node(6, "QR", json!("fair"), Value::Null),
                ]},
                "last": {"edges": [{"node": {"kind": "QR"}}], "pageInfo": {"hasPreviousPage": true}},
                "news": {"totalCount": 2},
                "launch": {"edges": [at(1)]},
                "qr": {"edges": [at(3), at(6)]},
                "campaign": {"edges": [at(1), at(5)]},
                "referral": {"edges": [at(4)]},
                "referrer": {"edges": [at(2)]},
            })
        );
        let page = "query($id: ID!, $after: String) { contact(id: $id) { touchpoints(first: 4, after: $after) { edges { node { at } cursor } pageInfo { hasNextPage endCursor } } } }";
        let first = ask(&kit, sk, page, json!({"id": ann})).await;
        let end = &first["contact"]["touchpoints"]["pageInfo"]["endCursor"];
        let rest = ask(&kit, sk, page, json!({"id": ann, "after": end})).await;
        let rest: Vec<&Value> = rest["contact"]["touchpoints"]["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]).collect();
        assert_eq!(rest, [&at(5)["node"], &at(6)["node"]]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_touches_of_a_page_of_contacts_cost_the_same_however_many_they_are()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        for name in ["a", "b", "c", "d", "e"] {
            let id = upsert(&kit, &acme, json!({"externalId": name})).await;
            touched(&acme, &id, &[(1, json!({"source": "x"})), (2, json!({"source": "y"}))]).await?;
        }
        let page = |size: usize| {
            format!("{{ contacts(first: {size}) {{ edges {{ node {{ consents {{ state }} consentHistory(first: 3) {{ totalCount }} touchpoints(first: 1) {{ totalCount edges {{ node {{ source }} }} }} traitHistory(key: \"plan\") {{ totalCount }} }} }} }} }}")
        };
        let data = ask(&kit, &acme.secret_key, &page(5), json!({})).await;
        assert_eq!(
            data["contacts"]["edges"][4]["node"],
            json!({"consents": [], "consentHistory": {"totalCount": 0}, "traitHistory": {"totalCount": 0},
                "touchpoints": {"totalCount": 2, "edges": [{"node": {"source": "x"}}]}})
        );
        let one = kit.statements_of(&acme.secret_key, &page(1), json!({})).await;
        let five = kit.statements_of(&acme.secret_key, &page(5), json!({})).await;
        assert_eq!(one, five);
        Ok(())
    })
    .await
}
