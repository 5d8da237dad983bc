//! What a client's bytes go through before the engine: JSON, scan, parser, scales. Run with a nightly compiler:
//!
//! `cd tests && cargo +nightly fuzz run document fuzz/corpus/document fuzz/seeds -- -max_total_time=600 -timeout=5 -max_len=70000`

#![no_main]

use std::collections::BTreeMap;

use async_graphql_value::{ConstValue, Name};
use document::{Sizes, json, parse, weigh};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SIZES: Sizes = Sizes {
    page_default: 25,
    page_max: 100,
    lists: &[("featureFlags", 50), ("fields", 5), ("types", 200)],
};

fuzz_target!(|bytes: &[u8]| {
    // A body, and the text alone: most of what the fuzzer finds would be lost in JSON's escapes.
    if let Ok(Value::Object(body)) = json::read::<Value>(bytes) {
        let text = body.get("query").and_then(Value::as_str).unwrap_or_default();
        let name = body.get("operationName").and_then(Value::as_str);
        let variables = body.get("variables").cloned().unwrap_or_default();
        let variables = serde_json::from_value(variables).unwrap_or_default();
        measure(text, name, &variables);
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        measure(text, None, &BTreeMap::new());
        measure(text, Some("A"), &BTreeMap::new());
    }
});

fn measure(text: &str, name: Option<&str>, variables: &BTreeMap<Name, ConstValue>) {
    if let Ok(document) = parse(text) {
        // whatever it weighs
        let _ = weigh(&document, name, variables, &SIZES);
    }
}
