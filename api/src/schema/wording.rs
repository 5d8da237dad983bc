//! What the engine says of a wrong document, without the document: its messages quote names and values of any length. A message
//! is made again from its fixed words and from names of the schema; whatever else stood in it is left out.

use std::{collections::HashSet, sync::LazyLock};

use async_graphql::Response;

use super::document::VALIDATING;

/// The engine's messages that quote. Longer ones stand before those that they begin with.
const QUOTING: &[&str] = &[
    r#"Unknown field "{}" on type "{}"."#,
    r#"Unknown argument "{}" on field "{}" of type "{}"."#,
    r#"Unknown argument "{}" on directive "{}"."#,
    r#"Unknown directive "{}""#,
    r#"Unknown fragment: "{}""#,
    r#"Unknown type "{}""#,
    r#"Unknown operation named "{}""#,
    r#"Invalid value for argument "{}", enumeration type "{}" does not contain the value "{}""#,
    r#"Invalid value for argument "{}", field "{}" of type "{}" is required but not provided"#,
    r#"Invalid value for argument "{}", unknown field "{}" of type "{}""#,
    r#"Invalid value for argument "{}", expected type "{}""#,
    r#"Invalid value for argument "{}", an Int has at most 32 bits"#,
    r#"Invalid value for argument "{}", an enum's value is a name and no text"#,
    r#"Duplicate directive "{}""#,
    r#"Directive "@{}" argument "{}" of type "{}" is required but not provided"#,
    r#"Directive "{}" may not be used on "{}""#,
    r#"Field "{}" argument "{}" of type "{}" is required but not provided"#,
    r#"Field "{}" must not have a selection since type "{}" has no subfields"#,
    r#"Field "{}" of type "{}" must have a selection of subfields"#,
    r#"Fields "{}" conflict because they have differing arguments. Use different aliases on the fields to fetch both if this was intentional."#,
    r#"Fields "{}" conflict because "{}" and "{}" are different fields. Use different aliases on the fields to fetch both if this was intentional."#,
    r#"Fragment "{}" cannot be spread here as objects of type "{}" can never be of type "{}""#,
    r#"Fragment cannot be spread here as objects of type "{}" can never be of type "{}""#,
    r#"Fragment "{}" cannot condition non composite type "{}""#,
    r#"Fragment cannot condition non composite type "{}""#,
    r#"Fragment "{}" is never used"#,
    r#"Cannot spread fragment "{}""#,
    r#"There can only be one argument named "{}""#,
    r#"There can only be one variable named "${}""#,
    r#"Variable "${}" is not defined by operation "{}""#,
    r#"Variable "${}" is not defined"#,
    r#"Variable "${}" is not used by operation "{}""#,
    r#"Variable "${}" is not used"#,
    r#"Variable "{}" cannot be of non-input type "{}""#,
    r#"Variable "{}" of type "{}" used in position expecting type "{}""#,
    "Variable {} is not defined.",
    r#"Expected input type "{}", found {}. (occurred while parsing "{}")"#,
    r#"Expected input type "{}", found {}."#,
];

/// What is said where a message is none of these.
const OTHERWISE: &str = "the document does not fit the schema";

/// What stands for words of the document.
const LEFT_OUT: &str = "…";

static NAMES: LazyLock<HashSet<String>> =
    LazyLock::new(|| VALIDATING.names().into_iter().collect());

/// Takes the document's own words out of the engine's errors. Ours have a source, and say what they mean to.
pub(super) fn without_quotes(response: &mut Response) {
    for error in &mut response.errors {
        if error.source.is_none() {
            error.message = plain(&error.message);
        }
    }
}

fn plain(message: &str) -> String {
    // a scalar says what it expects, and does not quote
    if let Some((ty, reason)) = message
        .strip_prefix("Failed to parse \"")
        .and_then(|rest| rest.split_once("\": "))
    {
        let reason = reason.split(" (occurred").next().unwrap_or_default();
        return if quotes(reason) {
            OTHERWISE.to_owned()
        } else {
            format!("Failed to parse \"{}\": {reason}", shown(ty))
        };
    }
    if let Some(plain) = QUOTING.iter().find_map(|form| remade(form, message)) {
        return plain;
    }
    if quotes(message) {
        return OTHERWISE.to_owned();
    }
    message.to_owned()
}

fn quotes(text: &str) -> bool {
    text.contains(['"', '`', '$'])
}

/// The message made again, if it is of this form.
fn remade(form: &str, message: &str) -> Option<String> {
    let mut pieces = form.split("{}");
    let first = pieces.next()?;
    let mut rest = message.strip_prefix(first)?;
    let mut made = first.to_owned();
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let (quoted, after) = if pieces.peek().is_none() {
            (rest.strip_suffix(piece)?, "")
        } else {
            rest.split_once(piece)?
        };
        made.push_str(&shown(quoted));
        made.push_str(piece);
        rest = after;
    }
    Some(made)
}

/// A name of the schema, also within a type or a path; else nothing of it.
fn shown(quoted: &str) -> String {
    let is_known = quoted.len() <= 500
        && quoted.split('.').all(|part| {
            let name = part.trim_matches(['[', ']', '!', '@']);
            NAMES.contains(name) || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
        });
    if is_known { quoted } else { LEFT_OUT }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_of_the_schema_stay_and_words_of_the_document_go() {
        for (message, expected) in [
            (
                "Unknown field \"secretWord\" on type \"Contact\".",
                "Unknown field \"…\" on type \"Contact\".",
            ),
            (
                "Invalid value for argument \"input.events.0.event\", expected type \"String\"",
                "Invalid value for argument \"input.events.0.event\", expected type \"String\"",
            ),
            (
                "Invalid value for argument \"input\", unknown field \"covert\" of type \"TrackInput\"",
                "Invalid value for argument \"input\", unknown field \"…\" of type \"TrackInput\"",
            ),
            (
                "Invalid value for argument \"orderBy.field\", enumeration type \"ContactOrderField\" does not contain the value \"a\" of type \"b\"",
                "Invalid value for argument \"orderBy.field\", enumeration type \"ContactOrderField\" does not contain the value \"…\"",
            ),
            (
                "Variable \"$covert\" of type \"[ID!]!\" used in position expecting type \"Secret\"",
                "Variable \"…\" of type \"[ID!]!\" used in position expecting type \"…\"",
            ),
            (
                "Variable covert is not defined.",
                "Variable … is not defined.",
            ),
            (
                "Expected input type \"Int\", found {a: \"covert\"}.",
                "Expected input type \"Int\", found ….",
            ),
            (
                "Failed to parse \"Int\": Only integers are accepted",
                "Failed to parse \"Int\": Only integers are accepted",
            ),
            (
                "Failed to parse \"X\": \"covert\" is bad",
                "the document does not fit the schema",
            ),
            (
                "a new message about \"covert\"",
                "the document does not fit the schema",
            ),
            ("a fragment spreads itself", "a fragment spreads itself"),
        ] {
            assert_eq!(plain(message), expected, "{message}");
        }
    }
}
