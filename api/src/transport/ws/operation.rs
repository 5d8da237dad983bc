//! What one operation says: the messages that it hands over to its socket.

use std::{
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;

use super::message::say;
use crate::transport::{
    Backend, RequestMeta,
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
    pub(super) replies: mpsc::Sender<Box<Reply>>,
}

impl Speaker {
    async fn say(&self, texts: Vec<String>, is_last: bool) -> Result<(), Unheard> {
        self.replies
            .send(Box::new(Reply {
                id: self.id.clone(),
                number: self.number,
                texts,
                is_last,
            }))
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

/// Opens a subscription. A panic, while it opens or while it runs, is an answer, and its last one.
pub(super) fn opened<B: Backend>(
    backend: B,
    caller: B::Caller,
    request: async_graphql::Request,
    meta: RequestMeta,
) -> BoxStream<'static, async_graphql::Response> {
    let request_id = meta.request_id.clone();
    let panicked = move || {
        tracing::error!(request_id, "a subscription panicked");
        answer::failure(&Failure::internal(), &request_id)
    };
    match catch_unwind(AssertUnwindSafe(|| {
        backend.subscribe(caller, request, meta)
    })) {
        Ok(responses) => AssertUnwindSafe(responses)
            .catch_unwind()
            .map(move |item| item.unwrap_or_else(|_| panicked()))
            .boxed(),
        Err(_) => stream::once(ready(panicked())).boxed(),
    }
}

/// Passes the answers of a subscription on, until it ends, fails or is cancelled. A stream that always has a next item never
/// lets its task see the cancellation, so it must end here when nobody hears it.
pub(super) async fn stream_out(
    mut responses: BoxStream<'static, async_graphql::Response>,
    speaker: Speaker,
) -> Result<(), Unheard> {
    while let Some(response) = responses.next().await {
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
