//! Bodies that mean harm, each within 1 MiB, and how they are answered.

use serde_json::{Value, json};

/// A body, and the code of its error; without one it is harmless, and is answered.
pub(super) struct Hostile {
    pub(super) name: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) code: &'static str,
}

const MIB: usize = 1024 * 1024;

const COMPLEX: &str = "QUERY_TOO_COMPLEX";
const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";
const SYNTAX: &str = "GRAPHQL_PARSE_FAILED";
const MALFORMED: &str = "BAD_REQUEST";

fn query(text: impl Into<String>) -> Vec<u8> {
    json!({"query": text.into()}).to_string().into_bytes()
}

fn with_variables(text: &str, variables: &Value) -> Vec<u8> {
    json!({"query": text, "variables": variables})
        .to_string()
        .into_bytes()
}

/// `{"query": "{ __typename }", "variables": …}` with the variables as they are.
fn raw_variables(variables: &str) -> Vec<u8> {
    format!(r#"{{"query":"{{ __typename }}","variables":{variables}}}"#).into_bytes()
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

fn fragments(count: usize, of_one: impl Fn(usize) -> String) -> String {
    (0..count).map(of_one).collect::<Vec<_>>().concat()
}

/// Everything that was thought of.
pub(super) fn corpus() -> Vec<Hostile> {
    let all = [
        ("open lists", query("[".repeat(MIB - 100)), COMPLEX),
        (
            "nested lists in an argument",
            query(format!("{{ a(b: {}) }}", nested("[", "]", 100_000))),
            COMPLEX,
        ),
        (
            "nested objects in an argument",
            query(format!(
                "{{ a(b: {}1{}) }}",
                "{a:".repeat(100_000),
                "}".repeat(100_000)
            )),
            COMPLEX,
        ),
        (
            "nested selections",
            query(format!("{}a{}", "{a".repeat(100_000), "}".repeat(100_000))),
            COMPLEX,
        ),
        (
            "nested types",
            query(format!(
                "query ($a: {}Int{}) {{ a }}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            )),
            COMPLEX,
        ),
        (
            "nested default values",
            query(format!(
                "query ($a: X = {}) {{ a }}",
                nested("[", "]", 100_000)
            )),
            COMPLEX,
        ),
        (
            "nesting at its limit",
            query(format!("{{ a(b: {}) }}", nested("[", "]", 62))),
            INVALID,
        ),
        (
            "a fragment bomb",
            query(format!(
                "{{ ...A0 }}{} fragment A24 on Query {{ __typename }}",
                fragments(24, |n| format!(
                    " fragment A{n} on Query {{ ...A{0} ...A{0} }}",
                    n + 1
                ))
            )),
            COMPLEX,
        ),
        (
            "a fragment bomb that nobody spreads",
            query(format!(
                "{{ __typename }}{} fragment A24 on Query {{ __typename }}",
                fragments(24, |n| format!(
                    " fragment A{n} on Query {{ ...A{0} ...A{0} }}",
                    n + 1
                ))
            )),
            COMPLEX,
        ),
        (
            "a long chain of fragments",
            query(format!(
                "{{ ...A0 }}{} fragment A500 on Query {{ a }}",
                fragments(500, |n| format!(
                    " fragment A{n} on Query {{ ...A{} }}",
                    n + 1
                ))
            )),
            COMPLEX,
        ),
        (
            "a circle of fragments",
            query("{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }"),
            INVALID,
        ),
        (
            "sets of fields in each other",
            query(format!(
                "{{ {} }}",
                (0..30).fold("a(b: 1, c: 2) ".repeat(300), |inner, _| format!(
                    "... {{ {inner} }}"
                ))
            )),
            COMPLEX,
        ),
        (
            "fields with many arguments",
            query(format!(
                "{{ a({0}) a({0}) }}",
                fragments(600, |n| format!("a{n}: 1 "))
            )),
            COMPLEX,
        ),
        (
            "100,000 aliases",
            query(format!(
                "{{ {} }}",
                fragments(70_000, |n| format!("a{n}:a "))
            )),
            COMPLEX,
        ),
        (
            "31 aliases",
            query(format!(
                "{{ {} }}",
                fragments(31, |n| format!("a{n}: __typename "))
            )),
            COMPLEX,
        ),
        (
            "a flood of directives",
            query(format!("{{ a {} }}", "@a".repeat(300_000))),
            COMPLEX,
        ),
        (
            "directives to the limit",
            query(format!(
                "{{ __typename {} }}",
                "@skip(if: false) ".repeat(500)
            )),
            "",
        ),
        (
            "unknown directives to the limit",
            query(format!("query {} {{ __typename }}", "@a ".repeat(1_900))),
            INVALID,
        ),
        (
            "unknown fields to the limit",
            query(format!("{{ {} }}", fragments(1_900, |n| format!("f{n} ")))),
            INVALID,
        ),
        (
            "conflicts to the limit",
            query(format!("{{ {} }}", fragments(900, |n| format!("x: f{n} ")))),
            COMPLEX,
        ),
        (
            "operations to the limit",
            query(fragments(600, |n| format!("query A{n} {{ a }} "))),
            "OPERATION_RESOLUTION_FAILURE",
        ),
        (
            "variables to the limit",
            query(format!(
                "query ({}) {{ a }}",
                fragments(1_000, |n| format!("$v{n}: Int "))
            )),
            COMPLEX,
        ),
        (
            "uses of unknown variables",
            query(format!(
                "{{ {} }}",
                fragments(500, |n| format!("f(a: $v{n}) "))
            )),
            INVALID,
        ),
        (
            "long names",
            query(format!("{{ {}: __typename }}", "a".repeat(30_000))),
            COMPLEX,
        ),
        (
            "long unknown fields",
            query(format!(
                "{{ {} }}",
                fragments(240, |n| format!("{}{n:03} ", "a".repeat(125)))
            )),
            INVALID,
        ),
        (
            "a huge string",
            query(format!("{{ a(b: \"{}\") }}", "x".repeat(MIB - 100))),
            COMPLEX,
        ),
        (
            "a huge block string",
            query(format!("{{ a(b: \"\"\"{}\"\"\") }}", "x".repeat(MIB - 100))),
            COMPLEX,
        ),
        (
            "a string to the limit",
            query(format!("{{ a(b: \"{}\") }}", "\\u0041".repeat(5_000))),
            INVALID,
        ),
        (
            "a block string to the limit",
            query(format!("{{ a(b: \"\"\"{}\"\"\") }}", "\n x".repeat(10_000))),
            INVALID,
        ),
        (
            "a string without an end",
            query(format!("{{ a(b: \"{}", "x".repeat(30_000))),
            SYNTAX,
        ),
        (
            "white space",
            query(format!("{{ a {} }}", " ".repeat(MIB - 100))),
            COMPLEX,
        ),
        (
            "commas to the limit",
            query(format!("{{ a {} }}", ",".repeat(30_000))),
            INVALID,
        ),
        (
            "comments to the limit",
            query(format!("{{ a {}\n }}", "#\n".repeat(3_900))),
            INVALID,
        ),
        (
            "a syntax error far away",
            query(format!("{{ a {} ( }}", " ".repeat(30_000))),
            SYNTAX,
        ),
        (
            "pages in pages",
            query(
                "{ contacts(first: 100) { edges { node { events(first: 100) { edges { node { contact { events(first: 100) { edges { node { id } } } } } } } } } } }",
            ),
            COMPLEX,
        ),
        (
            "introspection in introspection",
            query(format!(
                "{{ __schema {{ types {{ {} }} }} }}",
                (0..5).fold("name".to_owned(), |inner, _| format!(
                    "fields {{ type {{ {inner} ofType {{ {inner} }} }} }}"
                ))
            )),
            COMPLEX,
        ),
        (
            "deep variables",
            raw_variables(&format!("{{\"a\":{}}}", nested("[", "]", 100_000))),
            MALFORMED,
        ),
        (
            "deep extensions",
            format!(
                r#"{{"query":"{{ __typename }}","extensions":{{"a":{}}}}}"#,
                "{\"a\":".repeat(100_000)
            )
            .into_bytes(),
            MALFORMED,
        ),
        (
            "500,000 numbers in a variable",
            raw_variables(&format!("{{\"a\":[{}1]}}", "1,".repeat(520_000))),
            COMPLEX,
        ),
        (
            "100,000 variables",
            raw_variables(&format!(
                "{{{}\"z\":1}}",
                fragments(70_000, |n| format!("\"v{n}\":1,"))
            )),
            COMPLEX,
        ),
        (
            "300,000 times the same variable",
            raw_variables(&format!("{{{}\"a\":1}}", "\"\":1,".repeat(170_000))),
            COMPLEX,
        ),
        (
            "empty objects",
            raw_variables(&format!("{{\"a\":[{}{{}}]}}", "{},".repeat(340_000))),
            COMPLEX,
        ),
        (
            "a huge variable used often",
            with_variables(
                &format!("query ($v: JSON) {{ {} }}", "a(b: $v) ".repeat(400)),
                &json!({"v": "x".repeat(MIB - 10_000)}),
            ),
            COMPLEX,
        ),
        (
            "a wide variable used often",
            with_variables(
                &format!("query ($v: JSON) {{ {} }}", "a(b: $v) ".repeat(400)),
                &json!({"v": vec![1; 25_000]}),
            ),
            COMPLEX,
        ),
        (
            "a variable in each row",
            with_variables(
                "query ($v: String!) { contacts(first: 100) { edges { node { a1: trait(key: $v) a2: trait(key: $v) } } } }",
                &json!({"v": "x".repeat(MIB - 1_000)}),
            ),
            COMPLEX,
        ),
        (
            "values to the limit",
            with_variables(
                "query ($v: Nothing) { a(b: $v) }",
                &json!({"v": vec![1; 14_900]}),
            ),
            INVALID,
        ),
        (
            "a wrong value of any length",
            with_variables(
                "query ($v: ContactOrderField!) { contacts(orderBy: {field: $v}) { totalCount } }",
                &json!({"v": "secretword".repeat(100_000)}),
            ),
            INVALID,
        ),
        (
            "escapes in a variable",
            raw_variables(&format!("{{\"a\":\"{}\"}}", "\\u00e9".repeat(170_000))),
            "",
        ),
        (
            "no UTF-8",
            [&b"{\"query\":\"{ \xff\xfe }\"}"[..], &vec![0xff; 30_000]].concat(),
            MALFORMED,
        ),
        (
            "half a character",
            b"{\"query\":\"{ a } \xc3\"}".to_vec(),
            MALFORMED,
        ),
        (
            "a lone surrogate",
            br#"{"query":"{ \ud800 }"}"#.to_vec(),
            MALFORMED,
        ),
        ("no JSON", vec![b'['; MIB - 1], MALFORMED),
        ("quotes", vec![b'"'; MIB - 1], MALFORMED),
        (
            "backslashes",
            [&b"\""[..], &vec![b'\\'; MIB - 2]].concat(),
            MALFORMED,
        ),
        ("nothing", vec![], MALFORMED),
    ];
    all.into_iter()
        .map(|(name, body, code)| Hostile { name, body, code })
        .collect()
}
