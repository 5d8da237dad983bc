//! What one operation says: the messages that it hands over to its socket.

use std::{
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
};

use async_graphql::Response;
use futures_channel::mpsc;
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{self, BoxStream},
};

use tokio_util::sync::CancellationToken;

use super::message::say;
use crate::transport::{
    Backend, Item, RequestMeta,
    answer::{self, Failure, is_request_error},
};

/// Messages of one operation for the socket.
pub(super) struct Reply {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) said: Said,
}

/// What an operation says at once.
pub(super) struct Said {
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
    pub(super) async fn say(&mut self, said: Said) -> Result<(), Unheard> {
        let reply = Reply {
            id: self.id.clone(),
            number: self.number,
            said,
        };
        self.replies.send(reply).await.map_err(|_| Unheard)
    }
}

/// The answer of a query or mutation: its only one.
pub(super) fn answered(id: &str, response: &Response) -> Said {
    let texts = if is_request_error(response) {
        vec![say::error(id, response)]
    } else {
        vec![say::next(id, response), say::complete(id)]
    };
    Said {
        texts,
        is_last: true,
    }
}

/// Opens a subscription and gives what it says. A panic, while it opens or while it runs, is an answer, and its last one.
pub(super) fn opened<B: Backend>(
    id: &str,
    backend: B,
    caller: B::Caller,
    request: async_graphql::Request,
    meta: RequestMeta,
) -> BoxStream<'static, Said> {
    let id: Box<str> = id.into();
    let request_id: Box<str> = meta.request_id.as_str().into();
    let said = move |item: Result<Item, _>| {
        let response = if let Ok(Item { response, .. }) = item {
            response
        } else {
            tracing::error!(request_id, "a subscription panicked");
            answer::failure(&Failure::internal(), &request_id)
        };
        let is_last = is_request_error(&response);
        let text = if is_last {
            say::error(&id, &response)
        } else {
            say::next(&id, &response)
        };
        Said {
            texts: vec![text],
            is_last,
        }
    };
    match catch_unwind(AssertUnwindSafe(|| {
        backend.subscribe(caller, request, meta)
    })) {
        Ok(items) => AssertUnwindSafe(items).catch_unwind().map(said).boxed(),
        Err(panic) => stream::once(ready(Err(panic))).map(said).boxed(),
    }
}

/// Passes on what a subscription says, until it ends, fails or is cancelled. A stream that always has a next item never lets its
/// task see the cancellation, so it must end here when nobody hears it.
///
/// At a stop there is no `complete`, so that clients come back: which of the two is seen first is chance.
pub(super) async fn stream_out(
    mut subscription: BoxStream<'static, Said>,
    mut speaker: Speaker,
    stopping: CancellationToken,
) -> Result<(), Unheard> {
    while let Some(said) = subscription.next().await {
        let is_last = said.is_last;
        speaker.say(said).await?;
        if is_last {
            return Ok(());
        }
    }
    if stopping.is_cancelled() {
        return Ok(());
    }
    let complete = Said {
        texts: vec![say::complete(&speaker.id)],
        is_last: true,
    };
    speaker.say(complete).await
}
