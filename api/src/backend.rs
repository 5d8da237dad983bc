//! What the transport asks of the application.

use std::{sync::Arc, time::Duration};

use async_graphql::{Request, Response};
use chrono::{DateTime, Utc};
use entity::TenantId;
use futures_util::{Stream, StreamExt as _};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::{App, Told},
    base::{Error, Origin, gql::StreamPlace},
    schema::Known,
    tenant::Caller,
    transport::{Asked, Backend, Failure, Hash, Item, Prepared, Refused, RequestMeta},
};

impl App {
    async fn trusted_by(
        &self,
        tenant: Option<TenantId>,
        hash: Hash,
    ) -> Result<Option<Arc<Known>>, Failure> {
        match tenant {
            Some(tenant) => self
                .trusted(tenant, hash)
                .await
                .map_err(|error| unread(&error)),
            None => Ok(None),
        }
    }
}

fn unread(error: &Error) -> Failure {
    tracing::error!(%error, "a tenant's documents or limits could not be read");
    Failure::internal()
}

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
        let caller = self
            .principals
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
            })?;
        if let (Some(origin), Some(tenant)) = (origin, caller.tenant) {
            let front = self.fronts.of(tenant).await.map_err(|error| {
                tracing::error!(%error, "a tenant's origins could not be read");
                Refused::Unavailable("the origin could not be checked".to_owned())
            })?;
            // the product's own pages, such as GraphiQL, are none of the tenant's
            if !front.allows(origin) && origin != self.config.public_origin() {
                return Err(Refused::Forbidden(
                    "this origin may not use this tenant".to_owned(),
                ));
            }
        }
        Ok(caller)
    }

    fn revocations(&self) -> Option<u64> {
        self.principals.revocations()
    }

    async fn still_holds(&self, caller: &Caller) -> bool {
        // Where it cannot be checked, what was found last holds: what asks for it will fail by itself.
        self.principals
            .still_holds(caller)
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a credential could not be checked again");
                true
            })
    }

    async fn prepare(&self, caller: &Caller, asked: Asked) -> Result<Prepared, Failure> {
        let tenant = caller.tenant;
        let is_bound = match tenant {
            Some(tenant) => self
                .fronts
                .of(tenant)
                .await
                .map_err(|error| unread(&error))?
                .binds(&caller.actor),
            None => false,
        };
        let known = match (&asked.query, asked.hash) {
            (Some(text), hash) => {
                let known = self.documents.read(text).await?;
                if hash.is_some_and(|hash| hash != known.hash()) {
                    return Err(Failure::malformed("the hash is not that of `query`"));
                }
                if is_bound {
                    // trusted documents may be sent as text too
                    self.trusted_by(tenant, known.hash())
                        .await?
                        .ok_or_else(Failure::untrusted)?
                } else {
                    if hash.is_some() {
                        self.documents.register(tenant, &known).await;
                    }
                    known
                }
            }
            (None, Some(hash)) => {
                let registered = if is_bound {
                    None
                } else {
                    self.documents.registered(tenant, hash).await
                };
                match registered {
                    Some(known) => known,
                    None => self
                        .trusted_by(tenant, hash)
                        .await?
                        .ok_or_else(Failure::not_found)?,
                }
            }
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
        let request = request.data(Arc::new(StreamPlace::new(meta.last_event_id)));
        Self::subscribe(&self, caller, request, &meta.request_id)
            .map(|Told { cursor, response }| Item { cursor, response })
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
