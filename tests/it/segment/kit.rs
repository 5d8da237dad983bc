//! What these cases share.

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::{Kit, Tenant};

use crate::contact::ask;

pub(super) async fn save(kit: &Kit, tenant: &Tenant, input: Value) -> Value {
    let document = "mutation($input: SegmentSaveInput!) { segmentSave(input: $input) {
        segment { id key name description kind rule state progress size computedAt } userErrors { code field message } } }";
    ask(kit, &tenant.secret_key, document, json!({ "input": input })).await["segmentSave"].clone()
}

/// Saves a segment of this key and rule, and has its contacts asked. Gives its id.
pub(super) async fn saved(
    kit: &Kit,
    tenant: &Tenant,
    key: &str,
    rule: Value,
) -> anyhow::Result<String> {
    let saved = save(kit, tenant, json!({"key": key, "rule": rule})).await;
    let id = saved["segment"]["id"]
        .as_str()
        .with_context(|| format!("not saved: {saved}"))?
        .to_owned();
    kit.app.worker.drain().await?;
    Ok(id)
}

/// The external ids of the segment's members, sorted.
pub(super) async fn members(kit: &Kit, tenant: &Tenant, key: &str) -> Vec<String> {
    let document = "query($key: String!) { segment(key: $key) { size members(first: 100) { totalCount edges { node { externalId } } } } }";
    let data = ask(kit, &tenant.secret_key, document, json!({ "key": key })).await;
    let segment = &data["segment"];
    let mut ids: Vec<String> = segment["members"]["edges"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|edge| {
            edge["node"]["externalId"]
                .as_str()
                .unwrap_or("?")
                .to_owned()
        })
        .collect();
    ids.sort();
    assert_eq!(segment["size"], json!(ids.len()), "{key}: {data}");
    assert_eq!(
        segment["members"]["totalCount"],
        json!(ids.len()),
        "{key}: {data}"
    );
    ids
}

/// Has a person of this external id, with these traits; gives the contact's id.
pub(super) async fn person(kit: &Kit, tenant: &Tenant, id: &str, traits: Value) -> String {
    let document = "mutation($input: ContactUpsertInput!) { contactUpsert(input: $input) { contact { id } userErrors { message } } }";
    let input = json!({"externalId": id, "traits": traits});
    let made = ask(kit, &tenant.secret_key, document, json!({ "input": input })).await;
    made["contactUpsert"]["contact"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("not made: {made}"))
        .to_owned()
}

/// The tenant's events of these names: name, contact, properties.
pub(super) async fn told(tenant: &Tenant) -> anyhow::Result<Vec<entity::event::Model>> {
    let mut rows = tenant.cx.db().find::<entity::event::Entity>().all().await?;
    rows.retain(|row| row.source == "segment");
    rows.sort_by_key(|row| (row.xid, row.seq));
    Ok(rows)
}

/// As `name segment reason`, in order.
pub(super) fn summed(told: &[entity::event::Model]) -> Vec<String> {
    let text = |row: &entity::event::Model, key: &str| {
        row.properties[key].as_str().unwrap_or_default().to_owned()
    };
    told.iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row.name,
                text(row, "segmentKey"),
                text(row, "reason")
            )
        })
        .collect()
}
