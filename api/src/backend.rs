//! What the transport asks of the application.

use std::{sync::Arc, time::Duration};

use async_graphql::{Request, Response};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::App,
    base::{Error, Origin, gql::StreamPlace},
    tenant::Caller,
    transport::{Asked, Backend, Failure, Item, Prepared, Refused, RequestMeta},
};

impl Backend for App {
    type Caller = Caller;

    async fn authenticate(
        &self,
        credential: Option<&str>,
        origin: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Caller, Refused> {
        if let Some(origin) = origin
            && !self.allows_origin(origin)
        {
            return Err(Refused::Forbidden(
                "this origin may not use this endpoint".to_owned(),
            ));
        }
        self.principals
            .authenticate(credential, tenant)
            .await
            .map_err(|error| match error {
                Error::Internal(cause) => {
                    tracing::error!(
                        error = format!("{cause:#}"),
                        "a credential could not be checked"
                    );
                    Refused::Unavailable("the credential could not be checked".to_owned())
                }
                Error::Unavailable(why) => Refused::Unavailable(why.message),
                error => Refused::Unauthenticated(error.to_string()),
            })
    }

    async fn prepare(&self, caller: &Caller, asked: Asked) -> Result<Prepared, Failure> {
        let tenant = caller.tenant;
        let known = match (&asked.query, asked.hash) {
            (Some(text), hash) => {
                let known = self.documents.read(text).await?;
                if let Some(hash) = hash {
                    if hash != known.hash() {
                        return Err(Failure::malformed(
                            "`sha256Hash` is not the hash of `query`",
                        ));
                    }
                    self.documents.register(tenant, &known).await;
                }
                known
            }
            (None, Some(hash)) => self
                .documents
                .registered(tenant, hash)
                .await
                .ok_or_else(Failure::not_found)?,
            (None, None) => return Err(Failure::not_found()),
        };
        let mut prepared = asked.of(known.document())?;
        prepared.request = prepared.request.data(known);
        Ok(prepared)
    }

    fn expires_at(&self, caller: &Caller) -> Option<DateTime<Utc>> {
        caller.expires_at
    }

    async fn execute(&self, caller: Caller, request: Request, meta: RequestMeta) -> Response {
        let origin = Origin {
            ip: meta.client.ip,
            user_agent: meta.client.user_agent,
            request_id: None,
        };
        Self::execute_from(self, &caller, request, &meta.request_id, origin).await
    }

    fn subscribe(
        self,
        caller: Caller,
        request: Request,
        meta: RequestMeta,
    ) -> impl Stream<Item = Item> + Send + 'static {
        let place = Arc::new(StreamPlace::new(meta.last_event_id));
        let request = request.data(Arc::clone(&place));
        Self::subscribe(&self, &caller, request, meta.request_id).map(move |response| Item {
            cursor: place.take(),
            response,
        })
    }

    fn request_time_max(&self) -> Duration {
        Duration::from_secs(self.config.request_timeout_s)
    }

    fn now(&self) -> DateTime<Utc> {
        self.env.clock.now()
    }

    fn request_id(&self) -> String {
        self.new_request_id()
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    fn graphiql_enabled(&self) -> bool {
        self.config.graphiql_enabled()
    }
}
