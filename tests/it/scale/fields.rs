//! What can be asked of a list's items without arguments, by the schema's own word.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::Kit;

const TYPES: &str = "{ __schema { types { name kind fields { name args { defaultValue type { kind } } type { ...Of } } } } }
    fragment Of on __Type { name kind ofType { name kind ofType { name kind ofType { name kind } } } }";

/// The schema, as far as these credentials see it: of each type its kind, and its fields.
pub(super) struct Schema {
    types: BTreeMap<String, (String, Vec<Value>)>,
}

impl Schema {
    pub(super) async fn read(kit: &Kit, credentials: &[&str]) -> Self {
        let mut types: BTreeMap<String, (String, Vec<Value>)> = BTreeMap::new();
        for credential in credentials {
            let answer = kit.gql(credential, TYPES, json!({})).await;
            for ty in answer["data"]["__schema"]["types"].as_array().unwrap() {
                let name = ty["name"].as_str().unwrap().to_owned();
                let kind = ty["kind"].as_str().unwrap().to_owned();
                let (_, known) = types.entry(name).or_insert((kind, vec![]));
                for field in ty["fields"].as_array().into_iter().flatten() {
                    if !known.iter().any(|known| known["name"] == field["name"]) {
                        known.push(field.clone());
                    }
                }
            }
        }
        Self { types }
    }

    /// A selection for each field of the items of the list `Type.field`.
    pub(super) fn selections(&self, place: &str) -> Vec<String> {
        let (ty, field) = place.split_once('.').unwrap();
        let list = self.fields(ty).find(|known| known["name"] == field);
        let connection = list.map_or_else(String::new, |list| named(&list["type"]));
        let node = connection.strip_suffix("Connection").unwrap_or_default();
        let selections: Vec<String> = self
            .fields(node)
            .filter_map(|field| self.selection(field, true))
            .collect();
        assert!(
            !selections.is_empty(),
            "nothing is known of the items of {place}"
        );
        selections
    }

    fn fields(&self, ty: &str) -> impl Iterator<Item = &Value> {
        self.types
            .get(ty)
            .into_iter()
            .flat_map(|(_, fields)| fields)
    }

    /// The field with everything right below it that is no object itself; `None` where it must be given arguments.
    fn selection(&self, field: &Value, deeper: bool) -> Option<String> {
        let must_say = |argument: &Value| {
            argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null()
        };
        if field["args"].as_array()?.iter().any(must_say) {
            return None;
        }
        let (name, ty) = (field["name"].as_str()?, named(&field["type"]));
        match self.types.get(&ty).map(|(kind, _)| kind.as_str()) {
            Some("OBJECT") if deeper => {
                let below = if let Some(node) = ty.strip_suffix("Connection") {
                    let node = self.below(node);
                    return Some(format!(
                        "{name}(first: 2) {{ totalCount edges {{ node {{ {node} }} }} }}"
                    ));
                } else {
                    self.below(&ty)
                };
                Some(format!("{name} {{ {below} }}"))
            }
            Some("UNION" | "INTERFACE") if deeper => Some(format!("{name} {{ __typename }}")),
            Some("OBJECT" | "UNION" | "INTERFACE") => None,
            _ => Some(name.to_owned()),
        }
    }

    fn below(&self, ty: &str) -> String {
        let fields = self
            .fields(ty)
            .filter_map(|field| self.selection(field, false));
        std::iter::once("__typename".to_owned())
            .chain(fields)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The name of a type without its wrappings.
fn named(ty: &Value) -> String {
    let mut ty = ty;
    while !ty["ofType"].is_null() {
        ty = &ty["ofType"];
    }
    ty["name"].as_str().unwrap_or_default().to_owned()
}
