//! How many statements a page costs: as many for eight rows as for two, with everything that can be selected of them, by a plan
//! and by the engine.

use std::{collections::BTreeMap, fmt::Write as _};

use api::{base::Origin, schema};
use async_graphql::Request;
use serde_json::Value;
use tests::{Kit, on_each_database};

use super::{credential, document, edges, everything};
use crate::{pages::PAGED, scale::fill::Numbers};

/// Enough for the largest page, of what each of its rows has, too.
const SOME: Numbers = Numbers {
    events: 640,
    others: 640,
    own: 32,
};

/// The rows of two pages that must cost the same, with as many of what each row has.
const SIZES: [usize; 2] = [2, 8];

/// The same of a list whose rows are of several kinds and lead to one statement a kind: both pages have all kinds.
const SIZES_OF_KINDS: [usize; 2] = [72, 96];

/// What leads to rows of several kinds. It is asked of its own list alone: how many kinds there are among the rows of others' lists,
/// their number decides.
const OF_KINDS: &str = "TimelineItem.node";

/// Rows of what is another level down.
const BELOW: usize = 1;

/// How deep what rows point at is selected: lists of lists of the list's rows.
const DEPTH: usize = 2;

/// Where less deep: eight rows with all of that are more values than any document may ask for.
const SHALLOW: &str = "MergeProposal.contacts";

/// What fields are asked with that must be asked with something.
const ARGUMENTS: &[(&str, &str)] = &[("Contact.trait", r#"(key: "seats")"#)];

/// What the operator may see of a tenant.
const TO_OPERATORS: [&str; 5] = ["id", "name", "createdAt", "suspendedAt", "eventRetention"];

/// What asks PostHog, whose answers are counted where they are tested: one request a page. And the rows of a view, under a list of
/// views: each view is a list of its own, with a filter of its own; that list is a case itself.
const ELSEWHERE: &[&str] = &["Contact.analytics", "ContactView.rows"];

const TYPES: &str = "{ __schema { types { name fields { name args { name defaultValue type { kind } } type { ...Of ofType { ...Of ofType { ...Of ofType { ...Of } } } } } } } } fragment Of on __Type { name kind }";

struct Field {
    name: String,
    /// Of what type it is, once it is taken out of lists.
    of: String,
    is_leaf: bool,
    /// As `Type.field`.
    place: String,
    needs_arguments: bool,
}

struct Types(BTreeMap<String, Vec<Field>>);

impl Types {
    async fn new() -> anyhow::Result<Self> {
        let answer = schema::build().finish().execute(TYPES).await;
        let answer = serde_json::to_value(answer)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut types = BTreeMap::new();
        for ty in answer["data"]["__schema"]["types"].as_array().unwrap() {
            let mut fields = vec![];
            for field in ty["fields"].as_array().into_iter().flatten() {
                let mut of = &field["type"];
                while of["name"].is_null() {
                    of = &of["ofType"];
                }
                let needs_arguments = field["args"].as_array().unwrap().iter().any(|argument| {
                    argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null()
                });
                fields.push(Field {
                    place: format!("{}.{}", text(&ty["name"]), text(&field["name"])),
                    name: text(&field["name"]),
                    of: text(&of["name"]),
                    is_leaf: of["kind"] == "SCALAR" || of["kind"] == "ENUM",
                    needs_arguments,
                });
            }
            types.insert(text(&ty["name"]), fields);
        }
        Ok(Self(types))
    }

    fn of(&self, ty: &str) -> &[Field] {
        self.0.get(ty).map(Vec::as_slice).unwrap_or_default()
    }

    /// The type of the rows of the list at a place.
    fn rows_of(&self, place: &str) -> &str {
        let (ty, name) = place.split_once('.').unwrap();
        let connection = self.of(ty).iter().find(|field| field.name == name);
        let edges = self.of(&connection.unwrap().of);
        let edge = edges.iter().find(|field| field.name == "edges").unwrap();
        let node = self.of(&edge.of).iter().find(|field| field.name == "node");
        &node.unwrap().of
    }

    /// All that can be selected of a type.
    fn everything(&self, ty: &str, depth: usize, first: usize) -> String {
        let fields = self.of(ty).iter();
        fields.fold("__typename".to_owned(), |mut all, field| {
            if let Some(one) = self.one(field, depth, first) {
                let _ = write!(all, " {one}");
            }
            all
        })
    }

    /// A field with all that can be selected of it; `None` where that is too deep.
    fn one(&self, field: &Field, depth: usize, first: usize) -> Option<String> {
        let Field {
            name, of, place, ..
        } = field;
        let elsewhere = ELSEWHERE.contains(&place.as_str()) || (place == OF_KINDS && depth < DEPTH);
        if elsewhere || (depth == 0 && !field.is_leaf) {
            return None;
        }
        let arguments = if of.ends_with("Connection") {
            format!("(first: {})", if depth == DEPTH { first } else { BELOW })
        } else if field.needs_arguments {
            let given = ARGUMENTS.iter().find(|(of, _)| of == place);
            let (_, given) =
                given.unwrap_or_else(|| panic!("say what {place} is to be asked with"));
            (*given).to_owned()
        } else {
            String::new()
        };
        if field.is_leaf {
            return Some(format!("{name}{arguments}"));
        }
        let selected = if of.ends_with("Connection") {
            let rows = self.everything(self.rows_of(place), depth - 1, first);
            format!("edges {{ node {{ {rows} }} }}")
        } else {
            self.everything(of, depth - 1, first)
        };
        Some(format!("{name}{arguments} {{ {selected} }}"))
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
enum By {
    /// As for every caller: by a plan, where one can be made.
    Plan,
    Engine,
}

/// Other statements, such as the note that a key was used, may fall into a run, and not into each.
const RUNS: usize = 3;

/// The statements that a document costs in a process that knows its caller, and its answer.
async fn cost(kit: &Kit, credential: &str, document: &str, by: By) -> anyhow::Result<(u64, Value)> {
    let caller = kit.app.principals.by_token(credential).await?;
    let mut least = u64::MAX;
    let mut answer = Value::Null;
    for _ in 0..RUNS {
        let request = Request::new(document);
        let before = kit.app.env.db.statements();
        let response = match by {
            By::Plan => kit.app.execute(&caller, request, "test").await,
            By::Engine => {
                let request = kit
                    .app
                    .with_caller(&caller, request, "test", Origin::default());
                kit.app.schema.execute(kit.app.with_loaders(request)).await
            }
        };
        least = least.min(kit.app.env.db.statements() - before);
        answer = serde_json::to_value(response)?;
    }
    Ok((least, answer))
}

#[tokio::test]
async fn a_list_costs_the_same_statements_however_many_rows_it_gives() -> anyhow::Result<()> {
    let types = Types::new().await?;
    on_each_database(async |kit| {
        let victim = everything(&kit, SOME).await?;
        let mut faults = vec![];
        for (place, of) in PAGED {
            let asked = credential(place, &victim);
            let rows = types.of(types.rows_of(place)).iter().filter(|field| {
                *place != "Query.tenants" || TO_OPERATORS.contains(&field.name.as_str())
            });
            // The values of the rows themselves are one case, each field that leads on is another.
            let (leaves, others): (Vec<_>, Vec<_>) = rows.partition(|field| field.is_leaf);
            let mut cases = vec![leaves];
            cases.extend(others.into_iter().map(|field| vec![field]));
            for fields in cases {
                let sizes = if fields[0].place == OF_KINDS {
                    SIZES_OF_KINDS
                } else {
                    SIZES
                };
                for by in [By::Plan, By::Engine] {
                    let mut counts = vec![];
                    let depth = DEPTH - usize::from(fields[0].place == SHALLOW);
                    for first in sizes {
                        let ones = fields
                            .iter()
                            .filter_map(|field| types.one(field, depth, first));
                        let selected: Vec<String> = ones.collect();
                        if selected.is_empty() {
                            continue;
                        }
                        let selected = format!("edges {{ node {{ {} }} }}", selected.join(" "));
                        let page = document(&victim, of, &format!("first: {first}"), &selected);
                        let (count, answer) = cost(&kit, asked, &page, by).await?;
                        let given = edges(&answer["data"]).map(Vec::len);
                        if (&answer["errors"], given) != (&Value::Null, Some(first)) {
                            let errors = &answer["errors"];
                            faults.push(format!(
                                "{by:?} gives {given:?} of {first}: {page}\n    {errors}"
                            ));
                        }
                        counts.push(count);
                    }
                    if counts.first() != counts.last() {
                        let name = &fields[0].name;
                        faults.push(format!(
                            "{place} with {name} costs by {by:?} {counts:?} statements"
                        ));
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
    .await
}
