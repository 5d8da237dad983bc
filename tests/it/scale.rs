//! What lists cost a tenant that has much: no statement reads a large table from one end to the other. Every list of [`PAGED`] is asked, one that is added tomorrow too.

mod fill;
mod plans;

use std::collections::BTreeMap;

use serde_json::Value;
use tests::{OPERATOR, on_postgres};

use crate::{
    coverage::Victim,
    pages::PAGED,
    scale::{fill::Numbers, plans::Plan},
};

/// How much the tenant has where plans are looked at.
const MUCH: Numbers = Numbers {
    contacts: 6_000,
    events: 20_000,
    others: 6_000,
};

/// Rows that a statement may look at for a page of fifty of a list. A contact's page joins some of each of its tables; a
/// hundred times as much as that is reading a table.
const ROWS_READ_MAX: f64 = 2_000.0;

/// What lists of contacts are asked for besides: each with an order and a filter that most contacts do not meet.
const CONTACTS: &[&str] = &[
    r#"{ contacts(first: 50, orderBy: {field: UPDATED_AT, direction: ASC}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {trait: {key: "seats", eq: 77}}, orderBy: {field: UPDATED_AT, direction: DESC}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {trait: {key: "stage", eq: "rare"}}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {trait: {key: "stage", eq: "common"}}, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {externalId: {eq: "victim"}}) { edges { cursor } } }"#,
    r#"{ contacts(first: 50, filter: {email: {in: ["victim@example.com", "nobody@example.com"]}}) { edges { cursor } } }"#,
];

/// The list's document with these arguments, selecting of it what a page is made of.
fn document(of: &str, arguments: &str, selected: &str) -> String {
    of.replace("u1", "victim").replace(
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

#[tokio::test]
async fn no_list_reads_a_large_table_from_one_end_to_the_other() -> anyhow::Result<()> {
    on_postgres(async |kit| {
        let victim = Victim::new(&kit).await?;
        fill::fill(&kit, &victim.tenant, MUCH).await?;
        let large = plans::watch(&kit).await?;
        let mut faults = vec![];
        for (place, of) in PAGED {
            let asked = credential(place, &victim);
            let mut read = BTreeMap::new();
            let newest = "edges { cursor } pageInfo { hasNextPage startCursor endCursor }";
            let first = document(of, "first: 50", newest);
            let last = document(of, "last: 50", newest);
            let (front, plans) = plans::of(&kit, asked, &first).await?;
            assert_eq!(
                edges(&front["data"]).map(Vec::len),
                Some(50),
                "{place} is filled: {front}"
            );
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
                let deep = document(of, &arguments, newest);
                let (answer, plans) = plans::of(&kit, asked, &deep).await?;
                assert_eq!(
                    edges(&answer["data"]).map(Vec::len),
                    Some(49),
                    "{deep}: {answer}"
                );
                read.insert(deep, plans);
            }
            assert!(
                read.values()
                    .flatten()
                    .any(|plan| plan.reads_of(&large) > 0.0),
                "{place} reads no table that is large: `fill` leaves its table out"
            );
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
