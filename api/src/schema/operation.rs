//! Trusted documents in the schema: pushed, listed, deleted. What is pushed is read as any document is, and found valid first.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::{Id, operation};

use super::document::Documents;
use crate::{
    base::{
        Error, ErrorCode, Listing, PageArgs, Result, SortBy, fingerprint,
        gql::{self, CxExt, UserErrors, outcome},
        instant::Instant,
        page,
    },
    operation::{self as room, NewOperation},
};

/// Documents that one call may push.
const PUSHED_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 200;

/// A document that the tenant trusts: its clients may name it by its hash.
#[derive(SimpleObject)]
pub struct Operation {
    /// Names the operation.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// What a client sends as `documentId`: `sha256:` and the hash of the text.
    document_id: String,
    /// What people call it; absent when it was pushed without a name.
    name: Option<String>,
    /// The document itself.
    text: String,
    /// Who pushed it: a key's id, or `system` for the command line.
    pushed_by: String,
    /// When it was pushed first.
    pushed_at: Instant,
}

impl From<operation::Model> for Operation {
    fn from(row: operation::Model) -> Self {
        Self {
            id: row.id.to_string().into(),
            document_id: format!("sha256:{}", row.hash),
            name: row.name,
            text: row.text,
            pushed_by: row.pushed_by,
            pushed_at: row.pushed_at.into(),
        }
    }
}

/// Documents to trust.
#[derive(InputObject)]
struct OperationsPushInput {
    /// The documents, at most 100; all are trusted, or none.
    operations: Vec<OperationInput>,
}

/// A document to trust.
#[derive(InputObject, Clone)]
pub(crate) struct OperationInput {
    /// What people call it; at most 200 characters.
    pub(crate) name: Option<String>,
    /// The document, byte for byte as the clients would send it.
    pub(crate) text: String,
    /// The hash that the clients will send, SHA-256 in hexadecimal digits; refused where it is another.
    pub(crate) hash: Option<String>,
}

/// The documents that are trusted now.
#[derive(SimpleObject)]
struct OperationsPushPayload {
    /// The operations in the order of the input; absent when nothing was pushed.
    operations: Option<Vec<Operation>>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// A document to trust no more.
#[derive(InputObject)]
struct OperationDeleteInput {
    /// The operation's id.
    id: ID,
}

/// A document that is trusted no more.
#[derive(SimpleObject)]
struct OperationDeletePayload {
    /// The operation that was deleted; absent when there was none. Other processes forget it within seconds.
    operation: Option<Operation>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Reads the documents as the engine would, without executing them.
pub(crate) async fn checked(
    documents: &Documents,
    operations: Vec<OperationInput>,
) -> Result<Vec<NewOperation>> {
    if operations.is_empty() || operations.len() > PUSHED_MAX {
        return Err(Error::invalid(
            "operations",
            format!("between 1 and {PUSHED_MAX} documents are pushed at once"),
        ));
    }
    let mut checked = Vec::with_capacity(operations.len());
    for (at, operation) in operations.into_iter().enumerate() {
        let new = checked_one(documents, operation).await;
        checked.push(new.map_err(|error| error.under(&format!("operations.{at}")))?);
    }
    Ok(checked)
}

async fn checked_one(documents: &Documents, operation: OperationInput) -> Result<NewOperation> {
    let OperationInput { name, text, hash } = operation;
    if name
        .as_ref()
        .is_some_and(|name| name.chars().count() > NAME_CHARS_MAX)
    {
        return Err(Error::invalid(
            "name",
            format!("a name has at most {NAME_CHARS_MAX} characters"),
        ));
    }
    if hash.is_some_and(|hash| hash.to_ascii_lowercase() != fingerprint(text.as_bytes())) {
        return Err(Error::invalid(
            "hash",
            "it is not the SHA-256 of the text; Relay's compiler writes those with \"algorithm\": \"SHA256\"",
        ));
    }
    let known = documents
        .read(&text)
        .await
        .map_err(|unparsed| Error::invalid("text", unparsed.to_string()))?;
    known.validate().await.map_err(|errors| {
        let first = errors.first();
        let place = first
            .and_then(|error| error.locations.first())
            .map(|at| format!(" at line {}, column {}", at.line, at.column))
            .unwrap_or_default();
        let message = first
            .map(|error| error.message.as_str())
            .unwrap_or_default();
        Error::invalid(
            "text",
            format!("the document is not valid{place}: {message}"),
        )
    })?;
    Ok(NewOperation { name, text })
}

#[derive(Default)]
pub(super) struct OperationQuery;

#[Object]
impl OperationQuery {
    /// The documents that the tenant trusts, the newest first.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn operations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start; 25 unless said, at most 100.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<Operation>> {
        let cx = ctx.cx()?;
        let db = cx.db();
        let sort = SortBy {
            column: operation::Column::PushedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = page(cx, "operations", db.find::<operation::Entity>(), sort, args).await?;
        Ok(page.listing(Into::into))
    }
}

#[derive(Default)]
pub(super) struct OperationMutation;

#[Object]
impl OperationMutation {
    /// Trusts documents: the tenant's clients may name them by their hashes. One that is trusted already stays as it is.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn operations_push(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The documents to trust.")] input: OperationsPushInput,
    ) -> async_graphql::Result<OperationsPushPayload> {
        let cx = ctx.cx()?;
        let done = async {
            let new = checked(ctx.data_unchecked(), input.operations).await?;
            cx.write(async |tx| room::push(tx, cx.actor(), new.clone()).await)
                .await
        };
        let (rows, errors) = outcome(done.await)?;
        Ok(OperationsPushPayload {
            operations: rows.map(|rows| rows.into_iter().map(Into::into).collect()),
            errors,
        })
    }

    /// Trusts a document no more.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn operation_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The operation to delete.")] input: OperationDeleteInput,
    ) -> async_graphql::Result<OperationDeletePayload> {
        let cx = ctx.cx()?;
        let done = async {
            let id = Id::parse(&input.id).ok_or_else(|| {
                Error::user(ErrorCode::NotFound, "id", "there is no such operation")
            })?;
            cx.write(async |tx| room::delete(tx, id).await).await
        };
        let (row, errors) = outcome(done.await)?;
        if row.is_some() {
            ctx.data_unchecked::<Documents>().distrust(cx.tenant());
        }
        Ok(OperationDeletePayload {
            operation: row.map(Into::into),
            errors,
        })
    }
}
