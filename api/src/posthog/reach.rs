//! Whether each tenant's PostHog answers: what `growthos doctor` asks.

use entity::{TenantId, posthog_connection};
use futures_util::{StreamExt as _, stream};
use sea_orm::{QueryOrder, QuerySelect};

use super::{connection::Connection, probe::Probe, rules::Hosts};
use crate::base::{Db, Error, Outbound, Result, Secrets};

/// Asking every tenant's project of a large installation would take longer than anybody waits.
pub const ASKED_MAX: u64 = 100;
const AT_ONCE: usize = 8;

/// What one tenant's project answered.
pub struct Reach {
    pub tenant: TenantId,
    /// Where its API is.
    pub host: String,
    /// What does not work, each thing once; empty when all does.
    pub problems: Vec<String>,
}

/// Probes the oldest [`ASKED_MAX`] connections. An upstream that does not answer is an answer here, not an error.
pub async fn reach(db: &Db, secrets: &Secrets, outbound: &Outbound) -> Result<Vec<Reach>> {
    let system = db.system();
    let rows = system
        .find::<posthog_connection::Entity>()
        .order_by(posthog_connection::Column::Id, sea_orm::Order::Asc)
        .limit(ASKED_MAX)
        .all()
        .await?;
    let asked = rows.into_iter().map(async |row| Reach {
        tenant: row.tenant_id,
        host: row.api_host.clone(),
        problems: problems(secrets, outbound, row)
            .await
            .unwrap_or_else(|error| vec![told(&error)]),
    });
    Ok(stream::iter(asked).buffered(AT_ONCE).collect().await)
}

async fn problems(
    secrets: &Secrets,
    outbound: &Outbound,
    row: posthog_connection::Model,
) -> Result<Vec<String>> {
    let hosts = Hosts {
        ingest: row.ingest_host.clone(),
        api: row.api_host.clone(),
        ui: row.ui_host.clone(),
    };
    let connection = Connection::open(secrets, outbound, row)?;
    let key = connection.key().ok();
    let probe = Probe {
        hosts: &hosts,
        project_id: &connection.project_id,
        project_token: &connection.project_token,
        personal_api_key: key,
    };
    let found = probe.run(outbound.client()).await?;
    let mut problems = Vec::new();
    for (capability, answer) in found {
        // Without a key only events and flags are wanted, and that is no fault.
        let wanted = key.is_some() || matches!(capability.as_str(), "capture" | "flags");
        if let Some(why) = answer.as_str().filter(|_| wanted)
            && !problems.iter().any(|known| known == why)
        {
            problems.push(why.to_owned());
        }
    }
    Ok(problems)
}

/// `doctor` is read by those who may know what lies under an error.
fn told(error: &Error) -> String {
    match error {
        Error::Internal(cause) => format!("{cause:#}"),
        error => error.to_string(),
    }
}
