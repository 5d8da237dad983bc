//! What lists cost a tenant that has much: no statement reads a large table from one end to the other, and no list costs more
//! statements for more rows. Every list of [`PAGED`] is asked, one that is added tomorrow too.

mod fields;
mod fill;
mod plans;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Kit, OPERATOR, on_postgres};

use crate::{
    contact::{ask, track},
    coverage::victim::Victim,
    pages::PAGED,
    rows,
    scale::{fill::Numbers, plans::Plan},
};

/// How much the tenant has where plans are looked at.
const MUCH: Numbers = Numbers {
    events: 40_000,
    others: 6_000,
    own: 100,
};

/// Rows that a statement may look at for a page of fifty of a list. Of a list of sixty it may read all, of a contact's
/// events it may not.
const ROWS_READ_MAX: f64 = 300.0;

/// What lists of contacts are asked for besides: each with an order and a filter that most contacts do not meet.
const CONTACTS: &[&str] = &[
    "{ contacts(first: 50, orderBy: {field: UPDATED_AT, direction: ASC}) { edges { cursor } } }",
    r#"{ contacts(first: 50, filter: {trait: {key: "seats", eq: 77}}, orderBy: {field: UPDATED_AT, direction: DESC}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {trait: {key: "stage", eq: "rare"}}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {trait: {key: "stage", eq: "common"}}, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {externalId: {eq: "victim"}}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {email: {in: ["victim@example.com", "nobody@example.com"]}}) { edges { cursor } } }"#,
];

/// The list's document with these arguments, selecting of it what a page is made of.
fn document(victim: &Victim, of: &str, arguments: &str, selected: &str) -> String {
    let mut asked = of.to_owned();
    for (tried, there) in [
        ("u1", "victim"),
        ("\"acme\"", "\"secret-account\""),
        ("vips", "secret-segment"),
        (
            "imports(first: 1) { edges { node { rejects PAGE { pageInfo { hasNextPage } } } } }",
            r#"import(id: "IMPORT") { rejects PAGE { pageInfo { hasNextPage } } }"#,
        ),
    ] {
        asked = asked.replace(tried, there);
    }
    victim.named_in(&asked).replace(
        "PAGE { pageInfo { hasNextPage } }",
        &format!("({arguments}) {{ {selected} }}"),
    )
}

fn credential<'a>(place: &str, victim: &'a Victim) -> &'a str {
    if place == "Query.tenants" {
        OPERATOR
    } else {
        &victim.tenant.secret_key
    }
}

/// The edges of the page that an answer holds, wherever it is in it.
fn edges(answer: &Value) -> Option<&Vec<Value>> {
    let fields = answer.as_object()?;
    let here = fields.get("edges").and_then(Value::as_array);
    here.or_else(|| fields.values().find_map(edges))
}

/// A tenant that has so much of everything that a list can show.
async fn everything(kit: &Kit, numbers: Numbers) -> anyhow::Result<Victim> {
    let victim = Victim::new(kit).await?;
    let key = &victim.tenant.secret_key;
    let consent = r#"mutation { consentSet(input: {by: {externalId: "victim"}, topic: "news", channel: EMAIL, state: GRANTED}) { userErrors { message } } }"#;
    let consented = ask(kit, key, consent, json!({})).await;
    assert_eq!(consented["consentSet"]["userErrors"], json!([]));
    let view = r#"mutation { contactViewSave(input: {key: "all", columns: [{trait: {key: "secret"}}, {segment: {key: "secret-segment"}}]}) { userErrors { code } } }"#;
    let saved = ask(kit, key, view, json!({})).await;
    assert_eq!(saved["contactViewSave"]["userErrors"], json!([]));
    let visit = json!({"event": "$pageview", "userId": "victim", "messageId": "m1", "context": {"page": {"url": "https://example.com/?utm_source=ads"}}});
    track(kit, key, visit).await;
    let cx = &victim.tenant.cx;
    cx.write(async |tx| rows::of_lists(tx).await).await?;
    fill::fill(kit, &victim.tenant, numbers).await?;
    Ok(victim)
}

#[tokio::test]
async fn no_list_reads_a_large_table_from_one_end_to_the_other() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let victim = everything(&kit, MUCH).await?;
        let large = plans::watch(&kit).await?;
        let mut faults = vec![];
        for (place, of) in PAGED {
            let asked = credential(place, &victim);
            let mut read = BTreeMap::new();
            let newest = "edges { cursor } pageInfo { hasNextPage startCursor endCursor }";
            let first = document(&victim, of, "first: 50", newest);
            let last = document(&victim, of, "last: 50", newest);
            let (front, plans) = plans::of(&kit, asked, &first).await?;
            if edges(&front["data"]).map(Vec::len) != Some(50) {
                faults.push(format!("{place} has no fifty rows: {front}"));
                continue;
            }
            read.insert(first, plans);
            let (back, plans) = plans::of(&kit, asked, &last).await?;
            read.insert(last, plans);
            // From the far end on, where what lies before a cursor must not be read to find it.
            let cursor = |answer: &Value, at: usize| {
                edges(&answer["data"]).unwrap()[at]["cursor"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            for arguments in [
                format!("first: 50, after: \"{}\"", cursor(&back, 0)),
                format!("last: 50, before: \"{}\"", cursor(&front, 49)),
            ] {
                let deep = document(&victim, of, &arguments, newest);
                let (answer, plans) = plans::of(&kit, asked, &deep).await?;
                let given = edges(&answer["data"]).map(Vec::len);
                if given != Some(49) {
                    faults.push(format!("{given:?} of 49 rows are behind the first: {deep}"));
                }
                read.insert(deep, plans);
            }
            let mut plans = read.values().flatten();
            if !plans.any(|plan| plan.reads_of(&large) > 0.0) {
                faults.push(format!(
                    "{place} reads no table that is large: `fill` leaves its table out"
                ));
            }
            faults.extend(faults_of(&read, &large));
        }
        for document in CONTACTS {
            let (answer, plans) = plans::of(&kit, &victim.tenant.secret_key, document).await?;
            assert_eq!(answer["errors"], Value::Null, "{document}");
            faults.extend(faults_of(
                &BTreeMap::from([((*document).to_owned(), plans)]),
                &large,
            ));
        }
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
        Ok(())
    })
    .await
}

/// Which documents made PostgreSQL read more than a page is worth, and by which plans.
fn faults_of(read: &BTreeMap<String, Vec<Plan>>, large: &[String]) -> Vec<String> {
    let of = |(document, plans): (&String, &Vec<Plan>)| {
        let faults = plans
            .iter()
            .filter_map(|plan| plan.fault(large, ROWS_READ_MAX))
            .map(|fault| format!("{document}\n{fault}"));
        faults.collect::<Vec<_>>()
    };
    read.iter().flat_map(of).collect()
}
