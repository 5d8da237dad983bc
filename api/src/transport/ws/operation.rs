//! What one operation says: the messages that it hands over to its socket.

use std::{panic::AssertUnwindSafe, pin::pin};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::message::say;
use crate::transport::{
    Backend, Item, RequestMeta,
    answer::{self, Failure, is_request_error},
};

/// Messages of one operation for the socket.
pub(super) struct Reply {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) texts: Vec<String>,
    pub(super) is_last: bool,
}

/// The session has ended, and nobody is left to hear an operation.
pub(super) struct Unheard;

/// Speaks for one operation. Waits while the queue is full.
pub(super) struct Speaker {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) replies: mpsc::Sender<Reply>,
}

impl Speaker {
    async fn say(&self, texts: Vec<String>, is_last: bool) -> Result<(), Unheard> {
        self.replies
            .send(Reply {
                id: self.id.clone(),
                number: self.number,
                texts,
                is_last,
            })
            .await
            .map_err(|_| Unheard)
    }

    /// The answer of a query or mutation: its only one.
    pub(super) async fn answer(&self, response: &async_graphql::Response) -> Result<(), Unheard> {
        if is_request_error(response) {
            self.say(vec![say::error(&self.id, response)], true).await
        } else {
            self.say(
                vec![say::next(&self.id, response), say::complete(&self.id)],
                true,
            )
            .await
        }
    }
}

/// Passes the answers of a subscription on, until it ends, fails or is cancelled. A stream that always has a next item never
/// lets its task see the cancellation, so it must end here when nobody hears it.
pub(super) async fn stream_out<B: Backend>(
    backend: B,
    caller: B::Caller,
    request: async_graphql::Request,
    meta: RequestMeta,
    speaker: Speaker,
) -> Result<(), Unheard> {
    let request_id = meta.request_id.clone();
    // opened inside the stream, so that a panic while opening is caught like one while it runs
    let responses = stream::once(async move { backend.subscribe(caller, request, meta) }).flatten();
    let mut responses = pin!(AssertUnwindSafe(responses).catch_unwind());
    while let Some(item) = responses.next().await {
        let response = if let Ok(Item { response, .. }) = item {
            response
        } else {
            tracing::error!(request_id, "a subscription panicked");
            answer::failure(&Failure::internal(), &request_id)
        };
        if is_request_error(&response) {
            return speaker
                .say(vec![say::error(&speaker.id, &response)], true)
                .await;
        }
        speaker
            .say(vec![say::next(&speaker.id, &response)], false)
            .await?;
    }
    speaker.say(vec![say::complete(&speaker.id)], true).await
}
