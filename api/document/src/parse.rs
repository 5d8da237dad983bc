//! From text to document, never without a scan.

use async_graphql_parser::{Error, Pos, parse_query, types::ExecutableDocument};

use crate::scan::{self, scan};

/// Why a text is no document. Quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unparsed {
    /// Too deep or too long to be parsed.
    #[error("{0}")]
    Refused(#[from] scan::Refusal),
    /// It breaks the grammar.
    #[error("{message}")]
    Syntax {
        message: String,
        locations: Vec<Pos>,
    },
}

/// Scans a document's text, then parses it. The only place that parses one.
pub fn parse(text: &str) -> Result<ExecutableDocument, Unparsed> {
    match scan(text) {
        Ok(()) => {}
        Err(scan::Refusal::OpenString) => {
            return Err(Unparsed::Syntax {
                message: scan::Refusal::OpenString.to_string(),
                locations: Vec::new(),
            });
        }
        Err(refusal) => return Err(refusal.into()),
    }
    parse_query(text).map_err(|error| {
        // the parser's own texts quote the document: a line of it, or a name of any length
        let message = match &error {
            Error::Syntax { start, .. } => format!(
                "syntax error at line {}, column {}",
                start.line, start.column
            ),
            Error::MultipleOperations { .. } => {
                "an operation without a name must be the only one".to_owned()
            }
            Error::OperationDuplicated { .. } => "two operations have the same name".to_owned(),
            Error::FragmentDuplicated { .. } => "two fragments have the same name".to_owned(),
            Error::MissingOperation => "the document has no operation".to_owned(),
            _ => "the document cannot be parsed".to_owned(),
        };
        Unparsed::Syntax {
            message,
            locations: error.positions().collect(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Unparsed, parse};

    fn syntax(text: &str) -> (String, Vec<(usize, usize)>) {
        match parse(text) {
            Err(Unparsed::Syntax { message, locations }) => {
                let places = locations.iter().map(|at| (at.line, at.column)).collect();
                (message, places)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_syntax_error_has_a_place_and_no_text_of_the_document() {
        assert_eq!(
            syntax("{ secret(word: ) }"),
            (
                "syntax error at line 1, column 16".to_owned(),
                vec![(1, 16)]
            )
        );
    }

    #[test]
    fn a_document_that_contradicts_itself_is_refused_without_its_names() {
        for (text, message) in [
            (
                "query A {a} query A {a}",
                "two operations have the same name",
            ),
            (
                "{a} fragment F on T {a} fragment F on T {a}",
                "two fragments have the same name",
            ),
            (
                "{a} query A {a}",
                "an operation without a name must be the only one",
            ),
            ("fragment F on T {a}", "the document has no operation"),
        ] {
            assert_eq!(syntax(text).0, message, "{text}");
        }
    }

    #[test]
    fn a_document_is_scanned_before_it_is_parsed() {
        assert!(matches!(
            parse(&"[".repeat(60_000)),
            Err(Unparsed::Refused(_))
        ));
    }
}
