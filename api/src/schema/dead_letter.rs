//! Dead letters: events that a consumer gave up on, shown and replayed.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::{Id, dead_letter};
use sea_orm::{ColumnTrait, QueryFilter};

use super::event::Event;
use crate::{
    base::{
        Error, ErrorCode, Listing, PageArgs, Result, SortBy,
        gql::{self, CxExt, UserErrors, outcome},
        instant::Instant,
        page,
    },
    contact::Loaders,
    worker,
};

/// Letters that one call may replay: as many as a page shows.
const REPLAY_MAX: usize = 100;

/// An event that a consumer gave up on. Nothing is lost: it is replayed when the cause is mended.
pub struct DeadLetter(dead_letter::Model);

impl From<dead_letter::Model> for DeadLetter {
    fn from(row: dead_letter::Model) -> Self {
        Self(row)
    }
}

/// An event that a consumer gave up on. Nothing is lost: it is replayed when the cause is mended.
#[Object]
impl DeadLetter {
    /// The letter's id.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Who gave up: a module's name, or `posthog_forward`, which sends to PostHog.
    async fn consumer(&self) -> &str {
        &self.0.consumer
    }
    /// The event's id.
    async fn event_id(&self) -> ID {
        self.0.event_id.to_string().into()
    }
    /// The event.
    #[graphql(guard = "gql::EVENTS_READ", visible = "gql::events_read")]
    async fn event(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Event>> {
        let row = Loaders::of(ctx)?.events_by_id.ask(self.0.event_id).await?;
        Ok(row.map(Event::from))
    }
    /// What failed the last time.
    async fn error(&self) -> &str {
        &self.0.error
    }
    /// How often it was tried.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }
    /// When the consumer gave up.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was put back to be tried again; absent when it was not, or when it has failed again since.
    async fn replayed_at(&self) -> Option<Instant> {
        self.0.replayed_at.map(Instant)
    }
}

/// Which dead letters; each condition that is given must hold.
#[derive(InputObject, Default)]
struct DeadLetterFilter {
    /// Those of this consumer.
    consumer: Option<String>,
    /// True: those that were replayed. False: those that were not.
    replayed: Option<bool>,
}

#[derive(Default)]
pub(super) struct DeadLetterQuery;

#[Object]
impl DeadLetterQuery {
    /// Events that a consumer gave up on, the latest first.
    #[graphql(guard = "gql::TENANT_READ", visible = "gql::tenant_read")]
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many to give from the start; 25 unless given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Those after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many to give from the end; 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which ones; all of them unless given.")] filter: Option<DeadLetterFilter>,
    ) -> async_graphql::Result<Listing<DeadLetter>> {
        use dead_letter::Column::{Consumer, CreatedAt, ReplayedAt};
        let cx = ctx.cx()?;
        let filter = filter.unwrap_or_default();
        let list = format!("deadLetters/{:?}/{:?}", filter.consumer, filter.replayed);
        let scope = cx.db();
        let mut rows = scope.find::<dead_letter::Entity>();
        if let Some(consumer) = filter.consumer {
            rows = rows.filter(Consumer.eq(consumer));
        }
        match filter.replayed {
            Some(true) => rows = rows.filter(ReplayedAt.is_not_null()),
            Some(false) => rows = rows.filter(ReplayedAt.is_null()),
            None => {}
        }
        let sort = SortBy {
            column: CreatedAt,
            descending: true,
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        Ok(page(cx, &list, rows, sort, args).await?.listing(DeadLetter))
    }
}

/// Which events go back to their consumers.
#[derive(InputObject)]
struct DeadLetterReplayInput {
    /// The letters to replay; 1 to 100.
    ids: Vec<ID>,
}

/// Letters that are being tried again.
#[derive(SimpleObject)]
struct DeadLetterReplayPayload {
    /// The letters in the order of the ids; absent when nothing was replayed.
    dead_letters: Option<Vec<DeadLetter>>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub(super) struct DeadLetterMutation;

#[Object]
impl DeadLetterMutation {
    /// Puts events back to the consumers that gave up on them. Each is tried as if it had never failed; one that keeps
    /// failing is a dead letter again.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn dead_letter_replay(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which letters.")] input: DeadLetterReplayInput,
    ) -> async_graphql::Result<DeadLetterReplayPayload> {
        let cx = ctx.cx()?;
        let done = match read(&input.ids) {
            Ok(ids) => cx.write(async |tx| worker::replay(tx, &ids).await).await,
            Err(error) => Err(error),
        };
        let (letters, errors) = outcome(done)?;
        Ok(DeadLetterReplayPayload {
            dead_letters: letters.map(|letters| letters.into_iter().map(DeadLetter).collect()),
            errors,
        })
    }
}

fn read(ids: &[ID]) -> Result<Vec<Id<dead_letter::Entity>>> {
    if ids.is_empty() || ids.len() > REPLAY_MAX {
        return Err(Error::invalid(
            "ids",
            format!("give 1 to {REPLAY_MAX} ids, not {}", ids.len()),
        ));
    }
    ids.iter()
        .map(|id| {
            Id::parse(id).ok_or_else(|| {
                Error::user(
                    ErrorCode::NotFound,
                    "ids",
                    format!("there is no dead letter {}", id.as_str()),
                )
            })
        })
        .collect()
}
