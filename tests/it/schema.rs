//! The schema as clients see it, and what an answer looks like.

use std::time::Duration;

use api::schema;
use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};
use serde_json::{Value, json};
use tests::{Kit, on_each_database};

/// Everything there is, as introspection tells it.
const INTROSPECTION: &str = "{ __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types {
        kind name description
        fields(includeDeprecated: true) { name description args { name description type { ...T } } type { ...T } }
        inputFields { name description type { ...T } }
        enumValues(includeDeprecated: true) { name description }
        possibleTypes { name }
    }
} }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

async fn types() -> Vec<Value> {
    let answer = schema::build().finish().execute(INTROSPECTION).await;
    let mut answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["errors"], Value::Null);
    let Value::Array(types) = answer["data"]["__schema"]["types"].take() else {
        panic!("introspection lists types");
    };
    types
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_exported_schema_is_the_one_in_the_repository() {
    let kept = include_str!("../../schema.graphql");
    assert!(
        kept == schema::sdl(),
        "schema.graphql is stale: run `cargo run -- schema print > schema.graphql`, and look at the difference"
    );
}

#[tokio::test]
async fn every_type_field_argument_and_enum_value_says_what_it_is() {
    // GraphQL's own scalars, and what the engine adds.
    let own = |name: &str| {
        !name.starts_with("__") && !["Boolean", "Float", "ID", "Int", "String"].contains(&name)
    };
    let mut silent = vec![];
    for ty in types()
        .await
        .iter()
        .filter(|ty| own(ty["name"].as_str().unwrap()))
    {
        let name = ty["name"].as_str().unwrap();
        let mut hear = |place: String, part: &Value| {
            if part["description"]
                .as_str()
                .is_none_or(|text| text.trim().is_empty())
            {
                silent.push(place);
            }
        };
        hear(name.to_owned(), ty);
        for part in ["fields", "inputFields", "enumValues"] {
            for member in list(ty, part) {
                let place = format!("{name}.{}", member["name"].as_str().unwrap());
                for argument in list(member, "args") {
                    hear(
                        format!("{place}({})", argument["name"].as_str().unwrap()),
                        argument,
                    );
                }
                hear(place, member);
            }
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[tokio::test]
async fn every_mutation_takes_one_input_and_tells_user_errors() {
    let types = types().await;
    let named = |name: &str| types.iter().find(|ty| ty["name"] == name).unwrap();
    for mutation in list(named("Mutation"), "fields") {
        let name = mutation["name"].as_str().unwrap();
        let arguments: Vec<&str> = list(mutation, "args")
            .iter()
            .map(|argument| argument["name"].as_str().unwrap())
            .collect();
        assert_eq!(arguments, ["input"], "{name}");
        assert_eq!(mutation["type"]["kind"], "NON_NULL", "{name}");
        let payload = named(mutation["type"]["ofType"]["name"].as_str().unwrap());
        assert!(
            list(payload, "fields")
                .iter()
                .any(|field| field["name"] == "userErrors"),
            "{name}"
        );
    }
}

/// Their ids are other things'.
const OTHERS: [&str; 2] = ["AuditActor", "TimelineItem"];

#[tokio::test]
async fn what_has_an_id_is_found_by_it() {
    let types = types().await;
    let nodes: Vec<&str> = list(
        types.iter().find(|ty| ty["name"] == "Node").unwrap(),
        "possibleTypes",
    )
    .iter()
    .map(|ty| ty["name"].as_str().unwrap())
    .collect();
    for ty in types.iter().filter(|ty| ty["kind"] == "OBJECT") {
        let name = ty["name"].as_str().unwrap();
        let has_id =
            list(ty, "fields").iter().any(|field| field["name"] == "id") && !OTHERS.contains(&name);
        assert_eq!(has_id, nodes.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn the_export_tells_of_a_key_what_introspection_tells() {
    let query = "{ __schema { directives { name args { name description } } } }";
    let answer = schema::build().finish().execute(query).await;
    let answer = serde_json::to_value(answer).unwrap();
    let directives = list(&answer["data"]["__schema"], "directives");
    let idempotent = directives
        .iter()
        .find(|directive| directive["name"] == "idempotent")
        .unwrap();
    let told = idempotent["args"][0]["description"].as_str().unwrap();
    let sdl = schema::sdl();
    assert!(
        sdl.contains(&format!("\t{told}\n\t\"\"\"\n\tkey: String!")),
        "{sdl}"
    );
    assert_eq!(sdl.matches("\ndirective @").count(), 1);
}

#[tokio::test]
async fn every_list_is_a_connection_with_a_total_and_without_a_shortcut() {
    for ty in types().await {
        let name = ty["name"].as_str().unwrap();
        if !name.ends_with("Connection") {
            continue;
        }
        let mut fields: Vec<&str> = list(&ty, "fields")
            .iter()
            .map(|field| field["name"].as_str().unwrap())
            .collect();
        fields.sort_unstable();
        assert_eq!(fields, ["edges", "pageInfo", "totalCount"], "{name}");
    }
}

struct Query;

/// Fields that answer in the reverse of the order in which they are asked.
#[Object]
impl Query {
    async fn slow(&self) -> i32 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        1
    }
    async fn fast(&self) -> i32 {
        2
    }
    async fn part(&self) -> Option<Part> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some(Part)
    }
    async fn parts(&self) -> Vec<Part> {
        vec![Part, Part]
    }
}

struct Part;

#[Object]
impl Part {
    async fn fine(&self) -> i32 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        3
    }
    async fn absent(&self) -> Option<async_graphql::Result<i32>> {
        Some(Err("absent failed".into()))
    }
    async fn required(&self) -> async_graphql::Result<i32> {
        Err("required failed".into())
    }
    async fn inner(&self) -> Self {
        Self
    }
}

async fn engine(query: &str) -> String {
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    serde_json::to_string(&schema.execute(query).await).unwrap()
}

#[tokio::test]
async fn fields_come_in_the_order_in_which_they_are_asked_for() {
    assert_eq!(
        engine("{ slow fast ...F again: fast slow } fragment F on Query { z: slow part { fine } a: fast }").await,
        r#"{"data":{"slow":1,"fast":2,"z":1,"part":{"fine":3},"a":2,"again":2}}"#
    );
    assert_eq!(
        engine("{ parts { x: fine ... on Part { inner { fine } } y: fine } slow }").await,
        r#"{"data":{"parts":[{"x":3,"inner":{"fine":3},"y":3},{"x":3,"inner":{"fine":3},"y":3}],"slow":1}}"#
    );
}

#[tokio::test]
async fn a_field_that_fails_is_null_where_it_may_be_and_nulls_its_parent_where_not() {
    assert_eq!(
        engine("{ part { fine x: absent inner { absent fine } } fast }").await,
        concat!(
            r#"{"errors":[{"message":"absent failed","locations":[{"line":1,"column":15}],"path":["part","x"]},"#,
            r#"{"message":"absent failed","locations":[{"line":1,"column":33}],"path":["part","inner","absent"]}],"#,
            r#""data":{"part":{"fine":3,"x":null,"inner":{"absent":null,"fine":3}},"fast":2}}"#
        )
    );
    assert_eq!(
        engine("{ part { fine inner { y: required } } fast }").await,
        concat!(
            r#"{"errors":[{"message":"required failed","locations":[{"line":1,"column":23}],"path":["part","inner","y"]}],"#,
            r#""data":{"part":null,"fast":2}}"#
        )
    );
    assert_eq!(
        engine("{ parts { absent fine } fast }").await,
        concat!(
            r#"{"errors":[{"message":"absent failed","locations":[{"line":1,"column":11}],"path":["parts",0,"absent"]},"#,
            r#"{"message":"absent failed","locations":[{"line":1,"column":11}],"path":["parts",1,"absent"]}],"#,
            r#""data":{"parts":[{"absent":null,"fine":3},{"absent":null,"fine":3}],"fast":2}}"#
        )
    );
}

/// The answer as text: in it the order of fields can be seen.
async fn text(kit: &Kit, credential: &str, query: &str) -> anyhow::Result<String> {
    let caller = kit.app.principals.by_token(credential).await?;
    let mut response = kit.app.execute(&caller, Request::new(query), "r1").await;
    response.extensions.clear();
    Ok(serde_json::to_string(&response)?)
}

#[tokio::test]
async fn an_answer_of_ours_has_the_order_of_its_document_and_its_errors_at_their_places()
-> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let upsert = "mutation { u: contactUpsert(input: {externalId: \"u1\", name: \"Ann\"}) { userErrors { code } contact { name externalId } } }";
        assert_eq!(
            text(&kit, &acme.secret_key, upsert).await?,
            r#"{"data":{"u":{"userErrors":[],"contact":{"name":"Ann","externalId":"u1"}}}}"#
        );
        let query = "{ b: contacts { edges { node { n: name ...F status } } totalCount } a: tenant { name } } fragment F on Contact { anonymousIds externalId }";
        assert_eq!(
            text(&kit, &acme.secret_key, query).await?,
            r#"{"data":{"b":{"edges":[{"node":{"n":"Ann","anonymousIds":[],"externalId":"u1","status":"VERIFIED"}}],"totalCount":1},"a":{"name":"acme"}}}"#
        );
        // A key that may read contacts and nothing else.
        let reader = kit.key(&acme, &["contacts:read"]).await?;
        assert_eq!(
            text(&kit, &reader, "{ contact(by: {externalId: \"u1\"}) { name events { totalCount } } }").await?,
            concat!(
                r#"{"errors":[{"message":"this credential may not do this","locations":[{"line":1,"column":42}],"#,
                r#""path":["contact","events"],"extensions":{"code":"FORBIDDEN","requestId":"r1"}}],"data":{"contact":null}}"#
            )
        );
        assert_eq!(
            text(&kit, &reader, "{ me { id } contact(by: {externalId: \"u1\"}) { name } }").await?,
            concat!(
                r#"{"errors":[{"message":"this credential may not do this","locations":[{"line":1,"column":3}],"#,
                r#""path":["me"],"extensions":{"code":"FORBIDDEN","requestId":"r1"}}],"data":{"me":null,"contact":{"name":"Ann"}}}"#
            )
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_document_too_deep_is_refused_and_introspection_is_not() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let deep = |levels: usize| {
            let inner = (0..levels).fold("id".to_owned(), |inner, _| {
                format!("causedBy {{ {inner} }}")
            });
            format!("{{ events {{ edges {{ node {{ {inner} }} }} }} }}")
        };
        assert_eq!(
            kit.gql(&acme.secret_key, &deep(8), json!({})).await["errors"],
            Value::Null
        );
        let over = kit.gql(&acme.secret_key, &deep(9), json!({})).await;
        assert_eq!(
            over["errors"][0]["message"],
            "the document selects 13 deep, the limit is 12"
        );
        assert_eq!(over["errors"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX");
        assert_eq!(
            kit.gql(&acme.secret_key, INTROSPECTION, json!({})).await["errors"],
            Value::Null
        );
        Ok(())
    })
    .await
}
