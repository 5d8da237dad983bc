//! A connection with its secrets open: what a call to PostHog needs.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use entity::{Id, TenantId, posthog_connection};
use url::Url;

use super::secret;
use crate::base::{Error, Outbound, Result, Scope, Secrets, Unavailable};

/// One tenant's way to PostHog. Its `Debug` shows no secret.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) id: Id<posthog_connection::Entity>,
    pub(super) tenant: TenantId,
    pub(super) ingest: Url,
    pub(super) api: Url,
    pub(super) ui: Url,
    pub(super) project_id: String,
    pub(super) project_token: String,
    personal_api_key: Option<String>,
    version: u64,
}

/// A connection as it was told once: hosts or credentials that change make another, so nothing learned of the
/// old project is ever shown for the new one.
pub(super) type ConnectionKey = (Id<posthog_connection::Entity>, u64);

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("ingest", &self.ingest.as_str())
            .field("api", &self.api.as_str())
            .field("project_id", &self.project_id)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Opens a row's secrets. Fails when the configuration's key changed or a host may no longer be called.
    pub(super) fn open(
        secrets: &Secrets,
        outbound: &Outbound,
        row: posthog_connection::Model,
    ) -> Result<Self> {
        let mut version = DefaultHasher::new();
        (&row.ingest_host, &row.api_host, &row.project_id).hash(&mut version);
        (&row.project_token, &row.personal_api_key).hash(&mut version);
        // Read again at each use: what the configuration allows may have become less since it was stored.
        let host = |text: &str| {
            outbound
                .base_url("host", text)
                .map_err(|e| unavailable(format!("the host {text} may not be called: {e}")))
        };
        let key_place = secret::key_place(row.tenant_id);
        let key = row.personal_api_key.as_deref();
        Ok(Self {
            id: row.id,
            tenant: row.tenant_id,
            ingest: host(&row.ingest_host)?,
            api: host(&row.api_host)?,
            ui: host(&row.ui_host)?,
            project_token: secrets.open(&secret::token_place(row.tenant_id), &row.project_token)?,
            personal_api_key: key.map(|key| secrets.open(&key_place, key)).transpose()?,
            project_id: row.project_id,
            version: version.finish(),
        })
    }
    /// The key of the private API.
    pub(super) fn key(&self) -> Result<&str> {
        self.personal_api_key.as_deref().ok_or_else(|| {
            Error::Unavailable(Unavailable {
                code: "POSTHOG_NOT_CONNECTED",
                message: "the PostHog connection has no personal API key".into(),
                retry_after: None,
            })
        })
    }
    pub(super) const fn cache_key(&self) -> ConnectionKey {
        (self.id, self.version)
    }
    /// `path` has no slash in front.
    pub(super) fn ingest_url(&self, path: &str) -> Url {
        below(&self.ingest, path)
    }
    /// `path` is below the project, without a slash in front.
    pub(super) fn project_url(&self, path: &str) -> Url {
        below(
            &self.api,
            &format!("api/projects/{}/{path}", self.project_id),
        )
    }
    /// Where PostHog shows a person.
    pub(super) fn person_url(&self, distinct_id: &str) -> Url {
        let mut url = below(&self.ui, &format!("project/{}/person/", self.project_id));
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(distinct_id);
        }
        url
    }
}

/// A base may have a path of its own, which `Url::join` would replace.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// The tenant's connection, if there is one.
pub(super) async fn row(scope: &Scope) -> Result<Option<posthog_connection::Model>> {
    scope.find::<posthog_connection::Entity>().one().await
}

pub(super) fn not_connected() -> Error {
    Error::Unavailable(Unavailable {
        code: "POSTHOG_NOT_CONNECTED",
        message: "this tenant is not connected to PostHog: use posthogConnect".into(),
        retry_after: None,
    })
}

fn unavailable(message: String) -> Error {
    Error::Unavailable(Unavailable {
        code: "POSTHOG_UNAVAILABLE",
        message,
        retry_after: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_below_a_bases_own_path_and_ids_are_escaped() {
        let base = Url::parse("https://ph.example.com/proxy").unwrap();
        assert_eq!(
            below(&base, "flags/").as_str(),
            "https://ph.example.com/proxy/flags/"
        );
        let base = Url::parse("https://ph.example.com").unwrap();
        assert_eq!(
            below(&base, "flags/").as_str(),
            "https://ph.example.com/flags/"
        );
        let connection = Connection {
            id: Id::from_uuid(uuid::Uuid::nil()),
            tenant: Id::from_uuid(uuid::Uuid::nil()),
            ingest: base.clone(),
            api: base.clone(),
            ui: base,
            project_id: "7".into(),
            project_token: "phc_x".into(),
            personal_api_key: Some("phx_secret".into()),
            version: 0,
        };
        assert_eq!(
            connection.person_url("a/b ?ä").as_str(),
            "https://ph.example.com/project/7/person/a%2Fb%20%3F%C3%A4"
        );
        assert!(!format!("{connection:?}").contains("phx_secret"));
    }
}
