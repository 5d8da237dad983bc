//! What the transport asks of the application.

use async_graphql::{Request, Response};
use chrono::{DateTime, Utc};
use futures_util::Stream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::App,
    base::{Error, Origin},
    tenant::Caller,
    transport::{Backend, Refused, RequestMeta},
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
    ) -> impl Stream<Item = Response> + Send + 'static {
        Self::subscribe(&self, &caller, request, meta.request_id)
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
