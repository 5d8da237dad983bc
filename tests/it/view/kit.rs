//! What these cases share.

use std::sync::Arc;

use posthog_double::{Double, DoubleOptions, Endpoint};
use serde_json::{Value, json};
use tests::{Kit, Tenant};

use crate::{
    contact::ask,
    posthog::stage::{CONNECT, connect_input, requests},
};

pub(super) const SAVE: &str = "mutation($input: ContactViewSaveInput!) { contactViewSave(input: $input) {
    view { id key name description filter metricFilter { key eq gt gte lt lte } orderBy { field trait metric direction }
        columns { label kind key field identifier state } createdAt updatedAt }
    userErrors { code field message } } }";

pub(super) const ROWS: &str =
    "query($key: String!, $first: Int, $after: String, $last: Int, $before: String) {
    contactView(key: $key) { rows(first: $first, after: $after, last: $last, before: $before) {
        totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        edges { node { contact { externalId } cells { value text asOf error { code } } } } } } }";

pub(super) async fn save(kit: &Kit, tenant: &Tenant, input: Value) -> Value {
    let mut data = ask(kit, &tenant.secret_key, SAVE, json!({ "input": input })).await;
    data["contactViewSave"].take()
}

/// Saves a view that is fit.
pub(super) async fn saved(kit: &Kit, tenant: &Tenant, input: Value) -> Value {
    let mut done = save(kit, tenant, input).await;
    assert_eq!(done["userErrors"], json!([]), "{done}");
    done["view"].take()
}

/// A page of a view's rows, as this credential gets it.
pub(super) async fn page(kit: &Kit, credential: &str, key: &str, mut args: Value) -> Value {
    args["key"] = json!(key);
    let mut data = ask(kit, credential, ROWS, args).await;
    data["contactView"]["rows"].take()
}

/// The external ids of a page.
pub(super) fn ids(page: &Value) -> Vec<&str> {
    let edges = page["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["node"]["contact"]["externalId"].as_str().unwrap())
        .collect()
}

/// One column's values of a page.
pub(super) fn values(page: &Value, column: usize) -> Vec<Value> {
    let edges = page["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["node"]["cells"][column]["value"].clone())
        .collect()
}

/// All ids of a view, read in pages of two, from the start or from the end.
pub(super) async fn walked(kit: &Kit, credential: &str, key: &str, backward: bool) -> Vec<String> {
    let mut all: Vec<String> = vec![];
    let mut args = if backward {
        json!({"last": 2})
    } else {
        json!({"first": 2})
    };
    loop {
        let page = page(kit, credential, key, args.clone()).await;
        let found = ids(&page).into_iter().map(str::to_owned);
        let (more, cursor, there) = if backward {
            all = found.chain(all).collect();
            ("hasPreviousPage", "startCursor", "before")
        } else {
            all.extend(found);
            ("hasNextPage", "endCursor", "after")
        };
        if page["pageInfo"][more] == false {
            return all;
        }
        args[there] = page["pageInfo"][cursor].clone();
    }
}

/// A double of PostHog whose clock is the kit's.
pub(super) async fn double(kit: &Kit) -> anyhow::Result<Double> {
    let clock = kit.app.env.clock.clone();
    Ok(Double::start(DoubleOptions::new(Arc::new(move || clock.now()))).await?)
}

pub(super) async fn connect(kit: &Kit, tenant: &Tenant, double: &Double) {
    let done = ask(kit, &tenant.secret_key, CONNECT, connect_input(double)).await;
    assert_eq!(done["posthogConnect"]["userErrors"], json!([]));
}

pub(super) async fn metric(kit: &Kit, tenant: &Tenant, key: &str, expression: &str) {
    let document = "mutation($input: MetricSaveInput!) { metricSave(input: $input) { userErrors { field message } } }";
    let input = json!({"input": {"key": key, "expression": expression}});
    let done = ask(kit, &tenant.secret_key, document, input).await;
    assert_eq!(done["metricSave"]["userErrors"], json!([]));
}

/// The names of the queries that PostHog was asked.
pub(super) fn queries(double: &Double) -> Vec<String> {
    let bodies = requests(double, Endpoint::Query)
        .into_iter()
        .filter_map(|request| request.body);
    bodies
        .filter(|body| body["query"]["kind"] == "HogQLQuery")
        .map(|body| {
            body["query"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .filter(|name| name.starts_with("growthos."))
        .collect()
}
