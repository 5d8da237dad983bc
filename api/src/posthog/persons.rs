//! Persons, deleted.

use serde_json::json;

use super::{Posthog, client::Endpoint, connection};
use crate::base::{Cx, Result};

/// Ids that one call may name.
const IDS_AT_ONCE: usize = 500;

impl Posthog {
    /// Whether the tenant is connected to a project.
    pub async fn is_connected(&self, cx: &Cx) -> Result<bool> {
        Ok(connection::row(&cx.db()).await?.is_some())
    }
    /// Asks PostHog to delete the persons behind these distinct ids, with their events. It does so later; ids that it does not
    /// know are no failure. Needs a personal API key with the scope `person:write`.
    pub async fn delete_persons(&self, cx: &Cx, distinct_ids: &[String]) -> Result<()> {
        let connection = self.connection(&cx.db()).await?;
        let key = connection.key()?;
        for ids in distinct_ids.chunks(IDS_AT_ONCE) {
            let request = self
                .http()
                .post(connection.project_url("persons/bulk_delete/"))
                .bearer_auth(key)
                .json(&json!({"distinct_ids": ids, "delete_events": true}));
            self.gates
                .send(&connection, Endpoint::Persons, request)
                .await?;
        }
        Ok(())
    }
}
