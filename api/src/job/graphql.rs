//! The room's part of the schema.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use entity::{
    Id,
    job::{self, State},
};
use sea_orm::{ColumnTrait, QueryFilter};

use super::{
    commands,
    link::{Link, artifact},
};
use crate::base::{
    Error, ErrorCode, Listing, PageArgs, SortBy,
    gql::{self, CxExt, PublicOrigin, Url, UserErrors, outcome},
    instant::Instant,
    page,
};

/// Kinds of jobs that nobody stops: what was promised is done.
const LASTING: &[&str] = &["contactErase"];

/// Work that takes longer than a request.
pub struct Job(job::Model);

impl From<job::Model> for Job {
    fn from(row: job::Model) -> Self {
        Self(row)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum JobState {
    /// What it is to read is still being sent.
    Open,
    /// It waits for its turn, or for another try.
    Queued,
    /// A process works on it.
    Running,
    /// It did all that it was to do.
    Succeeded,
    /// It was given up; `error` says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// The state as the schema names it.
pub fn state(row: &job::Model) -> JobState {
    row.state.into()
}

impl From<JobState> for State {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Open => Self::Open,
            JobState::Queued => Self::Queued,
            JobState::Running => Self::Running,
            JobState::Succeeded => Self::Succeeded,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

/// How far a job is.
#[derive(SimpleObject)]
pub struct Progress {
    /// What is done, in the job's own unit: bytes of an import, rows of an export or an erasure.
    done: i64,
    /// How much there is; null while nobody knows.
    total: Option<i64>,
    /// Of a hundred; null while nobody knows how much there is.
    percent: Option<i32>,
}

impl Progress {
    pub fn of(row: &job::Model) -> Self {
        let percent = row.total.map(|total| match total {
            ..=0 => 100,
            total => i32::try_from((row.done.min(total)) * 100 / total).unwrap_or(100),
        });
        Self {
            done: row.done,
            total: row.total,
            percent,
        }
    }
}

/// What a job made, to be downloaded.
#[derive(SimpleObject)]
struct Download {
    /// Where it is. Whoever holds the link may download it: no other credential is asked for.
    url: Url,
    /// Until when the link holds. Ask again for a fresh one.
    expires_at: Instant,
    /// What to call it.
    name: String,
    /// How long it is.
    size_bytes: i64,
}

/// Work that takes longer than a request.
#[Object]
impl Job {
    /// The job's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// What is done: `contactErase`, `contactExport` or `import`.
    async fn kind(&self) -> &str {
        &self.0.kind
    }
    /// Where it stands.
    async fn state(&self) -> JobState {
        self.0.state.into()
    }
    /// How far it is.
    async fn progress(&self) -> Progress {
        Progress::of(&self.0)
    }
    /// Why it failed, or why it waits; null while all is well.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }
    /// How often in a row it has failed.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }
    /// What it made; null where it made nothing, until it has succeeded, and when its time is over.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn download(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Download>> {
        let cx = ctx.cx()?;
        let Some(made) = artifact(&cx.db(), &self.0).await? else {
            return Ok(None);
        };
        let link = Link::new(cx, self.0.id);
        let PublicOrigin(origin) = ctx.data_unchecked();
        let token = link.token(&cx.env().secrets);
        Ok(Some(Download {
            url: Url(format!("{origin}/downloads/{token}")),
            expires_at: link.expires_at.into(),
            name: made.name,
            size_bytes: made.size_bytes,
        }))
    }
    /// Who asked for it: a key's id, or a member's issuer and subject.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }
    /// When it was asked for.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When work on it began; null until then.
    async fn started_at(&self) -> Option<Instant> {
        self.0.started_at.map(Instant)
    }
    /// When it ended; null until then.
    async fn finished_at(&self) -> Option<Instant> {
        self.0.finished_at.map(Instant)
    }
    /// When it is forgotten, with all that it read and made; null until it has ended.
    async fn expires_at(&self) -> Option<Instant> {
        self.0.expires_at.map(Instant)
    }
}

/// Which jobs; each condition that is given must hold.
#[derive(InputObject, Default)]
struct JobFilter {
    /// Those of this kind.
    kind: Option<String>,
    /// Those that stand there.
    state: Option<JobState>,
}

/// The job to stop.
#[derive(InputObject)]
struct JobCancelInput {
    /// The job's id.
    id: ID,
}

/// The job that was stopped.
#[derive(SimpleObject)]
struct JobCancelPayload {
    /// The job; null where nothing was stopped.
    job: Option<Job>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct JobQuery;

#[Object]
impl JobQuery {
    /// One job by its id; null where there is none.
    #[graphql(visible = "gql::contacts_read")]
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job's id.")] id: ID,
    ) -> Option<async_graphql::Result<Job>> {
        let found = async {
            let Some(id) = Id::parse(&id) else {
                return Ok(None);
            };
            let row = super::find(&ctx.cx()?.db(), id).await?;
            Ok(row.map(Job))
        };
        gql::nullable(ctx, gql::CONTACTS_READ, found).await
    }

    /// The tenant's jobs, the latest first.
    #[graphql(guard = "gql::CONTACTS_READ", visible = "gql::contacts_read")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start; 25 unless said, at most 100.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end; at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which ones; all of them unless given.")] filter: Option<JobFilter>,
    ) -> async_graphql::Result<Listing<Job>> {
        let cx = ctx.cx()?;
        let filter = filter.unwrap_or_default();
        let list = format!("jobs/{:?}/{:?}", filter.kind, filter.state);
        let scope = cx.db();
        let mut rows = scope.find::<job::Entity>();
        if let Some(kind) = filter.kind {
            rows = rows.filter(job::Column::Kind.eq(kind));
        }
        if let Some(state) = filter.state {
            rows = rows.filter(job::Column::State.eq(State::from(state)));
        }
        let sort = SortBy {
            column: job::Column::CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        Ok(page(cx, &list, rows, sort, args).await?.listing(Job))
    }
}

#[derive(Default)]
pub struct JobMutation;

#[Object]
impl JobMutation {
    /// Stops a job. What it did stays done. An erasure is not stopped.
    #[graphql(guard = "gql::CONTACTS_WRITE", visible = "gql::contacts_write")]
    async fn job_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job.")] input: JobCancelInput,
    ) -> async_graphql::Result<JobCancelPayload> {
        let done = ctx.cx()?.write(async |tx| {
            let id = Id::parse(&input.id)
                .ok_or_else(|| Error::user(ErrorCode::NotFound, "id", "there is no such job"))?;
            commands::cancel(tx, id, LASTING).await
        });
        let (row, errors) = outcome(done.await)?;
        Ok(JobCancelPayload {
            job: row.map(Job),
            errors,
        })
    }
}
