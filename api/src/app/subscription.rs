//! Open subscriptions, of which there are many at once, all waiting.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Request, Response};
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use super::{Admitted, App, engines};
use crate::{
    base::{
        Error, Origin, Result, SourceItem,
        gql::{self, StreamPlace},
    },
    schema::{self, Subscribed},
    tenant::{Caller, Seat},
};

/// One answer of a subscription.
pub struct Told {
    /// Where it stands in its stream, for who resumes behind it.
    pub cursor: Option<String>,
    pub response: Response,
}

/// What lives as long as a subscription.
struct Open {
    app: App,
    caller: Caller,
    request_id: Box<str>,
    subscribed: Subscribed,
    /// What the credential was checked under last.
    as_of: Mutex<Option<u64>>,
    _seat: Option<Seat>,
}

impl App {
    /// Runs a subscription for `caller` until it is dropped.
    pub fn subscribe(
        &self,
        caller: Caller,
        request: Request,
        request_id: &str,
    ) -> impl Stream<Item = Told> + Send + use<> {
        stream::once(self.clone().open(caller, request, request_id.into())).flatten()
    }

    /// Boxed, like all that happens while a subscription does not wait: it would carry the size of the largest of them.
    fn open(
        self,
        caller: Caller,
        request: Request,
        request_id: Box<str>,
    ) -> BoxFuture<'static, BoxStream<'static, Told>> {
        async move {
            let as_of = self.principals.revocations();
            let request = self.with_caller(&caller, request, &request_id, Origin::default());
            let opened = async {
                let Admitted { ready, limits } = self.admit(&caller, request).await?;
                let seat = self.allowances.open(&caller, &limits).map_err(engines)?;
                Ok((schema::subscribe(&self.schema, ready).await, seat))
            };
            let mut refused = match opened.await {
                Ok((Ok((subscribed, source)), seat)) => {
                    let open = Arc::new(Open {
                        app: self,
                        caller,
                        request_id,
                        subscribed,
                        as_of: Mutex::new(as_of),
                        _seat: seat,
                    });
                    return source
                        .then(move |item| Arc::clone(&open).tell(item))
                        .boxed();
                }
                Ok((Err(response), _)) => response,
                Err(error) => self.refuse(&caller, error),
            };
            gql::seal(&mut refused, &request_id);
            stream::iter([Told {
                cursor: None,
                response: refused,
            }])
            .boxed()
        }
        .boxed()
    }
}

impl Open {
    /// Nothing is told to a caller whose credential has ended. It is looked up only after one has, somewhere.
    async fn check_credential(&self) -> Result<()> {
        let now = self.app.principals.revocations();
        let last = *self.as_of.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_some() && now == last {
            return Ok(());
        }
        if !self.app.principals.still_holds(&self.caller).await? {
            return Err(Error::Unauthenticated);
        }
        *self.as_of.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    fn tell(self: Arc<Self>, item: SourceItem) -> BoxFuture<'static, Told> {
        async move {
            if let Err(error) = self.check_credential().await {
                let mut response = self.app.refuse(&self.caller, engines(error));
                gql::seal(&mut response, &self.request_id);
                return Told {
                    cursor: None,
                    response,
                };
            }
            let place = Arc::new(StreamPlace::default());
            let request = self.subscribed.request(item).data(Arc::clone(&place));
            let request =
                self.app
                    .with_caller(&self.caller, request, &self.request_id, Origin::default());
            let request = self.app.with_loaders(request);
            let mut response = schema::tell(&self.app.items, request).await;
            gql::seal(&mut response, &self.request_id);
            Told {
                cursor: place.take(),
                response,
            }
        }
        .boxed()
    }
}
