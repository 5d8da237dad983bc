//! The room's part of the schema.

use async_graphql::{Context, ID, InputObject, Json, Object, SimpleObject};
use entity::{ContactId, erasure, job as job_row};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::{Map, Value};

use super::{
    commands,
    rules::{ErasureOutcome, ErasureStore, Receipt},
};
use crate::{
    base::{
        Error, ErrorCode, Listing, PageArgs, Result, SortBy,
        gql::{self, CxExt, UserErrors, outcome},
        instant::Instant,
        page,
    },
    job::Job,
};

/// A person who was erased, or is being.
pub struct Erasure(erasure::Model);

impl From<erasure::Model> for Erasure {
    fn from(row: erasure::Model) -> Self {
        Self(row)
    }
}

/// What a store answered, signed.
#[derive(SimpleObject)]
struct ErasureReceipt {
    /// Which store.
    store: ErasureStore,
    /// What it did.
    outcome: ErasureOutcome,
    /// When it answered.
    at: Instant,
    /// Rows deleted, an object by table; empty where the store does not say.
    rows: Json<Map<String, Value>>,
    /// What it said, where it did not do it; null else.
    message: Option<String>,
    /// What is signed: the receipt as JSON.
    statement: String,
    /// HMAC of the statement under a key of this installation, in hexadecimal digits.
    signature: String,
}

impl From<Receipt> for ErasureReceipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            store: receipt.store,
            outcome: receipt.outcome,
            at: receipt.at.into(),
            rows: Json(receipt.rows),
            message: receipt.message,
            statement: receipt.statement,
            signature: receipt.signature,
        }
    }
}

/// A person who was erased, or is being. It names nobody: the contact's id leads nowhere any more.
#[Object]
impl Erasure {
    /// The erasure's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// The id that the contact had.
    async fn contact_id(&self) -> ID {
        self.0.contact_id.to_string().into()
    }
    /// Why, as whoever asked for it said.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// Who asked for it: a key's id, or a member's issuer and subject.
    async fn requested_by(&self) -> &str {
        &self.0.requested_by
    }
    /// When it was asked for: from then on nothing brings the person back.
    async fn requested_at(&self) -> Instant {
        self.0.requested_at.into()
    }
    /// When every store had done its part; null until then.
    async fn finished_at(&self) -> Option<Instant> {
        self.0.finished_at.map(Instant)
    }
    /// What each store answered last; a store that was not asked yet is not in it.
    async fn receipts(&self) -> async_graphql::Result<Vec<ErasureReceipt>> {
        let receipts: Vec<Receipt> =
            serde_json::from_value(self.0.receipts.clone()).map_err(Error::from)?;
        Ok(receipts.into_iter().map(Into::into).collect())
    }
}

/// Which erasures; each condition that is given must hold.
#[derive(InputObject, Default)]
struct ErasureFilter {
    /// That of the contact that had this id.
    contact_id: Option<ID>,
    /// True: those that every store has done. False: those that go on.
    finished: Option<bool>,
}

/// Whom to erase.
#[derive(InputObject)]
struct ContactEraseInput {
    /// The contact; an absorbed contact's id stands for its root. All that it absorbed is erased with it.
    contact_id: ID,
    /// Why; at most 500 characters. It is kept: name nobody in it.
    reason: Option<String>,
}

/// The erasure that began.
#[derive(SimpleObject)]
struct ContactErasePayload {
    /// The erasure; null where the input is wrong.
    erasure: Option<Erasure>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// Whose archive to make.
#[derive(InputObject)]
struct ContactExportInput {
    /// The contact; an absorbed contact's id stands for its root.
    contact_id: ID,
}

/// The export that began.
#[derive(SimpleObject)]
struct ContactExportPayload {
    /// The job; once it has succeeded, its `download` leads to the archive: a gzip file of JSON lines, a line a row of every module.
    job: Option<Job>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// The room's part of Query.
#[derive(Default)]
pub struct PrivacyQuery;

#[Object]
impl PrivacyQuery {
    /// The tenant's erasures, the latest first.
    #[graphql(guard = "gql::PRIVACY_READ", visible = "gql::privacy_read")]
    async fn erasures(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start; 25 unless said, at most 100.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which ones; all of them unless given.")] filter: Option<ErasureFilter>,
    ) -> async_graphql::Result<Listing<Erasure>> {
        use erasure::Column::{ContactId as Contact, FinishedAt, RequestedAt};
        let cx = ctx.cx()?;
        let filter = filter.unwrap_or_default();
        let list = format!(
            "erasures/{:?}/{:?}",
            filter.contact_id.as_deref(),
            filter.finished
        );
        let scope = cx.db();
        let mut rows = scope.find::<erasure::Entity>();
        if let Some(id) = &filter.contact_id {
            rows = match ContactId::parse(id) {
                Some(id) => rows.filter(Contact.eq(id)),
                None => rows.filter(Contact.is_null()),
            };
        }
        match filter.finished {
            Some(true) => rows = rows.filter(FinishedAt.is_not_null()),
            Some(false) => rows = rows.filter(FinishedAt.is_null()),
            None => {}
        }
        let sort = SortBy {
            column: RequestedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        Ok(page(cx, &list, rows, sort, args).await?.listing(Erasure))
    }
}

/// The room's part of Mutation.
#[derive(Default)]
pub struct PrivacyMutation;

#[Object]
impl PrivacyMutation {
    /// Erases a person, for ever: from now on nothing brings them back, and what is known of them is deleted here and in PostHog.
    /// What comes later with one of their ids or addresses is dropped. It cannot be undone.
    #[graphql(guard = "gql::PRIVACY_WRITE", visible = "gql::privacy_write")]
    async fn contact_erase(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to erase.")] input: ContactEraseInput,
    ) -> async_graphql::Result<ContactErasePayload> {
        let cx = ctx.cx()?;
        let done: Result<erasure::Model> = async {
            let id = contact_id(&input.contact_id)?;
            cx.write(async |tx| commands::erase(tx, cx.actor(), id, input.reason.clone()).await)
                .await
        }
        .await;
        let (row, errors) = outcome(done)?;
        Ok(ContactErasePayload {
            erasure: row.map(Erasure),
            errors,
        })
    }

    /// Writes down all that is known of a contact, over every module, for download.
    #[graphql(guard = "gql::PRIVACY_WRITE", visible = "gql::privacy_write")]
    async fn contact_export(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose archive to make.")] input: ContactExportInput,
    ) -> async_graphql::Result<ContactExportPayload> {
        let cx = ctx.cx()?;
        let done: Result<job_row::Model> = async {
            let id = contact_id(&input.contact_id)?;
            cx.write(async |tx| commands::export(tx, cx.actor(), id).await)
                .await
        }
        .await;
        let (row, errors) = outcome(done)?;
        Ok(ContactExportPayload {
            job: row.map(Job::from),
            errors,
        })
    }
}

fn contact_id(id: &ID) -> Result<ContactId> {
    ContactId::parse(id).ok_or_else(|| {
        Error::user(
            ErrorCode::NotFound,
            "contactId",
            "there is no contact with this id",
        )
    })
}
