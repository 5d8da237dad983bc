//! What a document may ask for at once: the crate `document` measures it, and knows shapes, not types. Here is what it must be told
//! of this schema.

use async_graphql::{Pos, ServerError, Variables, parser::types::ExecutableDocument};
use document::{Overweight, Sizes};

use crate::base::{Error, PAGE_DEFAULT, PAGE_MAX};

/// How many objects a list is taken to have, where neither a page nor an argument says so: about as many as it has in earnest.
/// A test looks whether a list of the schema is missing.
const LISTS: &[(&str, usize)] = &[
    ("algorithms", 12),
    ("apiKeys", 20),
    ("between", 2),
    ("cells", 10),
    ("columns", 10),
    ("conditions", 10),
    ("conflicts", 20),
    ("consents", 20),
    ("contacts", 10),
    ("deadLetters", 100),
    ("dormant", 10),
    ("evidence", 2),
    ("featureFlags", 50),
    ("identifiers", 10),
    ("interactions", 100),
    ("issuers", 10),
    ("limits", 5),
    ("operations", 100),
    ("publicKeys", 10),
    ("receipts", 5),
    ("related", 25),
    ("roles", 10),
    ("sample", 10),
    ("segments", 20),
    ("sources", 2),
    ("userErrors", 5),
    ("variants", 5),
    ("versions", 20),
    ("why", 5),
    // introspection: means of our schema, in which most types have no fields and most fields no arguments
    ("args", 3),
    ("directives", 10),
    ("enumValues", 5),
    ("fields", 5),
    ("inputFields", 5),
    ("interfaces", 2),
    ("possibleTypes", 2),
    ("types", 200),
];

const SIZES: Sizes = Sizes {
    page_default: PAGE_DEFAULT,
    page_max: PAGE_MAX,
    lists: LISTS,
};

/// How many values the answer may have. Fails for a document that is over a limit, or has a fragment that spreads itself.
pub(super) fn check(
    document: &ExecutableDocument,
    operation_name: Option<&str>,
    variables: &Variables,
) -> Result<usize, ServerError> {
    document::weigh(document, operation_name, variables, &SIZES).map_err(|refusal| match refusal {
        Overweight::TooComplex(message) => too_complex(message),
        Overweight::Cycle(pos) => ServerError::new("a fragment spreads itself", Some(pos)),
    })
}

/// An error of the document as a whole.
pub(super) fn too_complex(message: String) -> ServerError {
    let error = async_graphql::Error::from(Error::TooComplex(message));
    ServerError {
        locations: vec![],
        ..error.into_server_error(Pos::default())
    }
}

#[cfg(test)]
mod tests {
    use super::LISTS;

    #[tokio::test]
    async fn every_list_of_the_schema_has_a_size() {
        let query = "{ __schema { types { name fields { name args { name } type { ...T } } } } }
            fragment T on __Type { kind ofType { kind ofType { kind ofType { kind } } } }";
        let answer = crate::schema::build().finish().execute(query).await;
        let answer = serde_json::to_value(answer).unwrap();
        let types = answer["data"]["__schema"]["types"].as_array().unwrap();
        let fields = types
            .iter()
            .filter_map(|ty| ty["fields"].as_array())
            .flatten();
        let mut unknown: Vec<&str> = fields
            .filter(|field| {
                let ty = field["type"].to_string();
                ty.contains("LIST")
                    && (ty.contains("OBJECT") || ty.contains("INTERFACE") || ty.contains("UNION"))
            })
            .map(|field| field["name"].as_str().unwrap())
            // a page's length is asked for, and that of `nodes` is given
            .filter(|name| !["edges", "nodes"].contains(name))
            .filter(|name| !LISTS.iter().any(|(list, _)| list == name))
            .collect();
        unknown.dedup();
        assert_eq!(unknown, Vec::<&str>::new());
    }
}
