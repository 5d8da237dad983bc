//! The room's part of the schema.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::{Id, import_reject, job as job_row};
use sea_orm::{ColumnTrait, QueryFilter};

use super::{
    commands,
    queries::{self, KIND, Named, Rejects, shown},
    rules::{Column, ImportContent, ImportFormat, ImportTarget, Plan},
    step::{Counts, Cursor},
};
use crate::{
    base::{
        Error, ErrorCode, Listing, PageArgs, Result, SortBy,
        gql::{self, CxExt, PublicOrigin, Url, UserErrors, outcome},
        page,
    },
    job::{Job, Link},
};

/// A file that is brought in.
pub struct Import(job_row::Model);

impl Import {
    /// Nothing where the job is another's work.
    pub fn of(row: job_row::Model) -> Option<Self> {
        (row.kind == KIND).then_some(Self(row))
    }
    fn plan(&self) -> Result<Plan> {
        Ok(serde_json::from_value(self.0.input.clone())?)
    }
}

/// What became of the lines of a file. Of an import that only checks: what would become of them, one after the other, with the
/// contacts there are now.
#[derive(SimpleObject)]
struct ImportCounts {
    /// Lines that were read, without the heading.
    lines: i64,
    /// Lines of contacts that were not known.
    created: i64,
    /// Lines of contacts that were known.
    updated: i64,
    /// Lines whose ids belong to several contacts: they ask for these to become one. Whether they do, the identity rules say.
    merged: i64,
    /// Addresses that are not written to any more.
    suppressed: i64,
    /// Lines that were not taken: see `rejects`.
    refused: i64,
}

impl From<Counts> for ImportCounts {
    fn from(counts: Counts) -> Self {
        let Counts {
            lines,
            created,
            updated,
            merged,
            suppressed,
            refused,
        } = counts;
        Self {
            lines,
            created,
            updated,
            merged,
            suppressed,
            refused,
        }
    }
}

/// A line that was not taken.
pub struct ImportReject(import_reject::Model);

impl From<import_reject::Model> for ImportReject {
    fn from(row: import_reject::Model) -> Self {
        Self(row)
    }
}

/// A line that was not taken.
#[Object]
impl ImportReject {
    /// The line's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Which line, from 1; of CSV the heading is the first.
    async fn line(&self) -> i64 {
        self.0.line
    }
    /// The column that is wrong; null where the line as a whole is.
    async fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }
    /// What is wrong.
    async fn reason(&self) -> &str {
        &self.0.reason
    }
    /// The line as it came, its first 2,000 characters.
    async fn raw(&self) -> &str {
        &self.0.raw
    }
}

/// A file that is brought in. Its bytes are sent beside GraphQL, to `uploadUrl`.
#[Object]
impl Import {
    /// The import's id.
    pub(crate) async fn id(&self) -> ID {
        shown(&self.0).into()
    }
    /// The work on it: its state, progress in bytes, and error.
    async fn job(&self) -> Job {
        self.0.clone().into()
    }
    /// What its lines are.
    async fn content(&self) -> async_graphql::Result<ImportContent> {
        Ok(self.plan()?.content)
    }
    /// How it is written.
    async fn format(&self) -> async_graphql::Result<ImportFormat> {
        Ok(self.plan()?.format)
    }
    /// Whether it is only checked. `importApply` does what was checked.
    async fn dry_run(&self) -> async_graphql::Result<bool> {
        Ok(self.plan()?.dry_run)
    }
    /// Where its bytes are sent: `PUT`, with the same credential as here. `HEAD` says in `Upload-Offset` how many there are, and a
    /// `PUT` with that header goes on there. With `Upload-Complete: ?0` more will come; without it the file is whole.
    async fn upload_url(&self, ctx: &Context<'_>) -> Url {
        let PublicOrigin(origin) = ctx.data_unchecked();
        Url(format!("{origin}/imports/{}", shown(&self.0)))
    }
    /// What became of the lines that were read so far.
    async fn counts(&self) -> async_graphql::Result<ImportCounts> {
        let cursor: Cursor = serde_json::from_value(self.0.cursor.clone()).map_err(Error::from)?;
        Ok(cursor.counts.into())
    }
    /// The lines that were not taken, in their order.
    async fn rejects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start; 25 unless said, at most 100.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<ImportReject>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let listed: &Arc<Rejects> = ctx.data_opt().ok_or(Error::Forbidden)?;
        let page = listed.page(ctx.cx()?, self.0.id, args).await?;
        Ok(page.listing(ImportReject::from))
    }
    /// All lines that were not taken, as CSV. Whoever holds the link may download them, for 15 minutes: ask again for a fresh one.
    async fn rejects_url(&self, ctx: &Context<'_>) -> async_graphql::Result<Url> {
        let cx = ctx.cx()?;
        let PublicOrigin(origin) = ctx.data_unchecked();
        let token = Link::new(cx, self.0.id).token(&cx.env().secrets);
        Ok(Url(format!("{origin}/downloads/{token}")))
    }
}

/// What a column means.
#[derive(InputObject, Clone)]
struct ImportColumnInput {
    /// Its name: in the heading of CSV, or of the object's member.
    name: String,
    /// What it says of a contact.
    target: ImportTarget,
    /// The trait's key; the column's name unless given.
    key: Option<String>,
}

/// A file to bring in.
#[derive(InputObject)]
struct ImportCreateInput {
    /// What its lines are.
    #[graphql(default_with = "ImportContent::Contacts")]
    content: ImportContent,
    /// How it is written.
    format: ImportFormat,
    /// What stands between the cells of CSV: one character.
    #[graphql(default = ",")]
    delimiter: String,
    /// What its columns mean, 1 to 200; those that are not here are left out.
    #[graphql(validator(max_items = 200))]
    columns: Vec<ImportColumnInput>,
    /// Whether it is only checked at first.
    #[graphql(default = true)]
    dry_run: bool,
}

/// The import to apply.
#[derive(InputObject)]
struct ImportApplyInput {
    /// The import's id.
    id: ID,
}

/// The import.
#[derive(SimpleObject)]
struct ImportPayload {
    /// The import; null where the input is wrong.
    import: Option<Import>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The room's part of Query.
#[derive(Default)]
pub struct ImportQuery;

#[Object]
impl ImportQuery {
    /// One import by its id; null where there is none.
    #[graphql(visible = "gql::contacts_read")]
    async fn import(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The import's id.")] id: ID,
    ) -> Option<async_graphql::Result<Import>> {
        let found = async {
            let Some(id) = Id::<Named>::parse(&id) else {
                return Ok(None);
            };
            let id = Id::from_uuid(id.uuid());
            Ok(queries::find(&ctx.cx()?.db(), id).await?.map(Import))
        };
        gql::nullable(ctx, gql::CONTACTS_READ, found).await
    }

    /// The tenant's imports, the latest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn imports(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start; 25 unless said, at most 100.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Listing<Import>> {
        let cx = ctx.cx()?;
        let scope = cx.db();
        let rows = scope
            .find::<job_row::Entity>()
            .filter(job_row::Column::Kind.eq(KIND));
        let sort = SortBy {
            column: job_row::Column::CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        Ok(page(cx, "imports", rows, sort, args).await?.listing(Import))
    }
}

/// The room's part of Mutation.
#[derive(Default)]
pub struct ImportMutation;

#[Object]
impl ImportMutation {
    /// Makes an import, which waits for its bytes. Unless said otherwise they are only checked, and `importApply` does the rest.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn import_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file, and what its columns mean.")] input: ImportCreateInput,
    ) -> async_graphql::Result<ImportPayload> {
        let cx = ctx.cx()?;
        let done: Result<job_row::Model> = async {
            let mut letters = input.delimiter.chars();
            let (Some(delimiter), None) = (letters.next(), letters.next()) else {
                return Err(Error::invalid("delimiter", "a delimiter is one character"));
            };
            let columns = input.columns.into_iter().map(|column| Column {
                name: column.name,
                target: column.target,
                key: column.key,
            });
            let plan = Plan {
                content: input.content,
                format: input.format,
                delimiter,
                columns: columns.collect(),
                dry_run: input.dry_run,
            };
            cx.write(async |tx| commands::create(tx, cx.actor(), &plan).await)
                .await
        }
        .await;
        let (row, errors) = outcome(done)?;
        Ok(ImportPayload {
            import: row.map(Import),
            errors,
        })
    }

    /// Does what an import that was only checked found to do. The bytes need not be sent again.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn import_apply(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which import.")] input: ImportApplyInput,
    ) -> async_graphql::Result<ImportPayload> {
        let done = ctx.cx()?.write(async |tx| {
            let id = Id::<Named>::parse(&input.id)
                .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such import"))?;
            commands::apply(tx, Id::from_uuid(id.uuid())).await
        });
        let (row, errors) = outcome(done.await)?;
        Ok(ImportPayload {
            import: row.map(Import),
            errors,
        })
    }
}
