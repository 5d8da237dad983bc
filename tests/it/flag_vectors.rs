//! The flag evaluator against the vectors on which posthog-python and posthog-node agree.

use api::posthog::flag::{Definitions, FlagValue, Outcome, Subject, bucket, holdout, lines};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/flag-vectors.json")).unwrap()
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    vectors[name].as_array().unwrap()
}

/// The moment the vectors without a clock of their own were recorded at.
fn now() -> DateTime<Utc> {
    "2026-11-22T14:48:46Z".parse().unwrap()
}

fn ask(vector: &Value) -> Value {
    serde_json::from_str(&lines::answer(&vector.to_string(), now())).unwrap()
}

/// The answer a vector expects: a value is only given with the outcome `value`.
fn expected(vector: &Value) -> Value {
    let expected = &vector["expected"];
    if expected["outcome"] == "value" {
        json!({"outcome": "value", "value": expected["value"]})
    } else {
        json!({"outcome": expected["outcome"]})
    }
}

#[test]
fn every_vector_the_clients_agree_on_is_answered_as_they_do() {
    let vectors = vectors();
    let agreed = list(&vectors, "vectors");
    let wrong: Vec<String> = agreed
        .iter()
        .filter(|vector| ask(vector) != expected(vector))
        .map(|vector| {
            format!(
                "{} gives {}, not {}",
                vector["id"],
                ask(vector),
                expected(vector)
            )
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(agreed.len(), 540);
}

#[test]
fn every_vector_the_clients_differ_on_is_left_to_the_server() {
    let vectors = vectors();
    let divergent = list(&vectors, "divergent");
    let decided: Vec<&Value> = divergent
        .iter()
        .filter(|vector| {
            let outcome = &ask(vector)["outcome"];
            outcome != "inconclusive" && outcome != "requires_server"
        })
        .collect();
    assert_eq!(decided, Vec::<&Value>::new());
    assert_eq!(divergent.len(), 30);
}

#[test]
fn hashes_are_equal_to_the_last_bit() {
    let vectors = vectors();
    let hashes = list(&vectors, "hash_vectors");
    for vector in hashes {
        let id = vector["bucketing_value"].as_str().unwrap();
        let hash = match (vector["flag_key"].as_str(), vector["salt"].as_str()) {
            (Some(key), Some(salt)) => bucket(key, id, salt),
            _ => holdout(id),
        };
        let expected = vector["hash"].as_f64().unwrap();
        assert_eq!(hash.to_bits(), expected.to_bits(), "{vector}");
    }
    assert_eq!(hashes.len(), 27);
}

#[test]
fn the_consistency_sample_is_bucketed_alike() {
    let vectors = vectors();
    let mut rows = 0;
    for sample in list(&vectors, "consistency_sample") {
        let definitions = Definitions::parse(&json!({"flags": [sample["flag"]]})).unwrap();
        let key = sample["flag"]["key"].as_str().unwrap();
        let none = Map::new();
        for row in sample["first_40"].as_array().unwrap() {
            let subject = Subject::person(row["distinct_id"].as_str().unwrap(), &none);
            let value = match &row["expected"] {
                Value::String(variant) => FlagValue::Variant(variant.clone()),
                enabled => FlagValue::Bool(enabled.as_bool().unwrap()),
            };
            let evaluation = definitions.evaluate(key, &subject, now()).unwrap();
            assert_eq!(evaluation.outcome, Outcome::Value(value), "{row}");
            rows += 1;
        }
    }
    assert_eq!(rows, 80);
}
