//! Relay connections in plans.

use super::{
    Json,
    ask::{Arguments, Asked, Compiled, Field, Given, Run},
};
use crate::base::{PageArgs, page::Window};

/// A connection that a document asks for; `N` is what it asks of a node.
#[derive(Debug)]
pub struct ListPlan<N> {
    pub arguments: Arguments,
    /// The node's type.
    of: &'static str,
    fields: Vec<Field<Part<N>>>,
}

#[derive(Debug)]
enum Part<N> {
    Typename,
    Edges(Vec<Field<Edge<N>>>),
    PageInfo(Vec<Field<Info>>),
    TotalCount,
}

#[derive(Debug)]
enum Edge<N> {
    Typename,
    Cursor,
    Node(N),
}

#[derive(Debug)]
enum Info {
    Typename,
    HasNextPage,
    HasPreviousPage,
    StartCursor,
    EndCursor,
}

/// Relay's four arguments, which every list takes.
const PAGE_ARGUMENTS: [&str; 4] = ["first", "after", "last", "before"];

/// One list of an answer: the rows of a page in the order in which they were read, one more than it shows if the list goes on.
pub struct Found<'r, R> {
    pub window: &'r Window,
    pub rows: Vec<R>,
    /// How long the whole list is; to be given where [`ListPlan::counts`].
    pub total: Option<i64>,
}

impl<N> ListPlan<N> {
    /// `of` is the node's type; `more` names the list's own arguments beside Relay's.
    pub fn compile<'d>(
        asked: &Asked<'d>,
        of: &'static str,
        more: &[&str],
        mut node: impl FnMut(&Asked<'d>) -> Compiled<N>,
    ) -> Compiled<Self> {
        let known: Vec<&str> = PAGE_ARGUMENTS.iter().chain(more).copied().collect();
        let fields = asked.fields(&[&format!("{of}Connection")], |part| {
            Some(match part.name() {
                "__typename" => Part::Typename,
                "edges" => Part::Edges(part.fields(&[&format!("{of}Edge")], |field| {
                    Some(match field.name() {
                        "__typename" => Edge::Typename,
                        "cursor" => Edge::Cursor,
                        "node" => Edge::Node(node(field)?),
                        _ => return None,
                    })
                })?),
                "pageInfo" => Part::PageInfo(part.fields(&["PageInfo"], |field| {
                    Some(match field.name() {
                        "__typename" => Info::Typename,
                        "hasNextPage" => Info::HasNextPage,
                        "hasPreviousPage" => Info::HasPreviousPage,
                        "startCursor" => Info::StartCursor,
                        "endCursor" => Info::EndCursor,
                        _ => return None,
                    })
                })?),
                "totalCount" => Part::TotalCount,
                _ => return None,
            })
        })?;
        Some(Self {
            arguments: asked.arguments(&known)?,
            of,
            fields,
        })
    }

    pub fn page_arguments(&self, given: &Given<'_>) -> Run<PageArgs> {
        let arguments = &self.arguments;
        Some(PageArgs {
            first: given.argument(arguments, "first")?,
            after: given.argument(arguments, "after")?,
            last: given.argument(arguments, "last")?,
            before: given.argument(arguments, "before")?,
        })
    }

    /// Whether the list's length is asked for.
    pub fn counts(&self) -> bool {
        self.fields
            .iter()
            .any(|field| matches!(field.what, Part::TotalCount))
    }

    /// Whether anything is asked of which the page's rows are needed.
    pub fn has_rows(&self) -> bool {
        self.fields
            .iter()
            .any(|field| matches!(field.what, Part::Edges(_) | Part::PageInfo(_)))
    }

    /// What is asked of the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &N> {
        self.fields
            .iter()
            .filter_map(|field| match &field.what {
                Part::Edges(fields) => Some(fields),
                _ => None,
            })
            .flatten()
            .filter_map(|field| match &field.what {
                Edge::Node(node) => Some(node),
                _ => None,
            })
    }

    /// Writes the connection; `cursor` makes a row's cursor, `node` writes a row as what is asked of it.
    pub fn write<R>(
        &self,
        json: &mut Json,
        given: &Given<'_>,
        found: Found<'_, R>,
        cursor: impl Fn(&R) -> Run<String>,
        mut node: impl FnMut(&mut Json, &N, &R) -> Run<()>,
    ) -> Run<()> {
        let Found {
            window,
            mut rows,
            total,
        } = found;
        let ends = window.cut(&mut rows);
        json.object(&self.fields, given, |json, part| match part {
            Part::Typename => json.plain(&format!("{}Connection", self.of)),
            Part::TotalCount => json.value(&total?),
            Part::Edges(fields) => json.list(&rows, |json, row| {
                json.object(fields, given, |json, field| match field {
                    Edge::Typename => json.plain(&format!("{}Edge", self.of)),
                    Edge::Cursor => json.plain(&cursor(row)?),
                    Edge::Node(asked) => node(json, asked, row),
                })
            }),
            Part::PageInfo(fields) => json.object(fields, given, |json, field| match field {
                Info::Typename => json.plain("PageInfo"),
                Info::HasNextPage => json.bool(ends.has_next),
                Info::HasPreviousPage => json.bool(ends.has_previous),
                Info::StartCursor => {
                    let first = rows.first().map(&cursor);
                    json.or_null(first, |json, cursor| json.plain(&cursor?))
                }
                Info::EndCursor => {
                    let last = rows.last().map(&cursor);
                    json.or_null(last, |json, cursor| json.plain(&cursor?))
                }
            }),
        })
    }
}
