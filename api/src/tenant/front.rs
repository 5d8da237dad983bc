//! How a tenant's door stands: the operator's limits, the tenant's origins, and whether its browsers must name trusted documents.

use std::{sync::Arc, time::Duration};

use async_graphql::MaybeUndefined;
use chrono::TimeDelta;
use entity::{TenantId, tenant_front};
use moka::future::Cache;
use sea_orm::{IntoActiveModel, Set};

use super::{commands, queries};
use crate::base::{Actor, Audited, Cx, Env, Error, Result, Scope, Tx};

/// After which time a change is seen by every process.
const KEPT: Duration = Duration::from_secs(5);

/// Tenants whose door is remembered.
const TENANTS_MAX: u64 = 10_000;

const ORIGINS_MAX: usize = 50;
const ORIGIN_BYTES_MAX: usize = 200;

/// What a tenant may ask of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Values that one operation's answer may have.
    pub cost_max: u32,
    /// Values a minute: of the tenant, and of each of its keys and contacts. As many at once.
    pub points_per_minute: u32,
    pub key_points_per_minute: u32,
    /// Subscriptions at the same time: of the tenant, and of each contact.
    pub subscriptions_max: u32,
    pub contact_subscriptions_max: u32,
}

/// A value costs about a microsecond: a tenant may use what two cores can answer, and a key half of it.
impl Default for Limits {
    fn default() -> Self {
        Self {
            cost_max: 50_000,
            points_per_minute: 120_000_000,
            key_points_per_minute: 60_000_000,
            subscriptions_max: 50_000,
            contact_subscriptions_max: 20,
        }
    }
}

/// A limit's name in the schema, and between what it may be set.
const BOUNDS: [(&str, u32, u32); 5] = [
    ("costMax", 100, 50_000),
    ("pointsPerMinute", 1_000, 1_000_000_000),
    ("keyPointsPerMinute", 1_000, 1_000_000_000),
    ("subscriptionsMax", 0, 1_000_000),
    ("contactSubscriptionsMax", 0, 1_000),
];

/// Limits as the operator sets them: in the order of [`BOUNDS`]; an absent one is the default.
pub type NewLimits = [Option<i32>; 5];

/// How a tenant's door stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    pub limits: Limits,
    /// Empty: every one.
    pub allowed_origins: Vec<String>,
    /// Whether publishable keys and contacts may run trusted documents alone.
    pub require_persisted_operations: bool,
}

impl Front {
    fn of(row: tenant_front::Model) -> Result<Self> {
        let or = |given: Option<i32>, default: u32| {
            given
                .and_then(|given| u32::try_from(given).ok())
                .unwrap_or(default)
        };
        let default = Limits::default();
        Ok(Self {
            limits: Limits {
                cost_max: or(row.cost_max, default.cost_max),
                points_per_minute: or(row.points_per_minute, default.points_per_minute),
                key_points_per_minute: or(row.key_points_per_minute, default.key_points_per_minute),
                subscriptions_max: or(row.subscriptions_max, default.subscriptions_max),
                contact_subscriptions_max: or(
                    row.contact_subscriptions_max,
                    default.contact_subscriptions_max,
                ),
            },
            allowed_origins: serde_json::from_value(row.allowed_origins)?,
            require_persisted_operations: row.require_persisted_operations,
        })
    }

    /// Whether a browser at `origin` may ask.
    pub fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.is_empty()
            || self
                .allowed_origins
                .iter()
                .any(|known| covers(known, origin))
    }

    /// Whether `actor` may run trusted documents alone: those whose credentials are in strangers' hands.
    pub fn binds(&self, actor: &Actor) -> bool {
        self.require_persisted_operations && is_in_browsers(actor)
    }
}

/// Whether a credential is one that is given to browsers.
pub fn is_in_browsers(actor: &Actor) -> bool {
    matches!(actor, Actor::PublishableKey { .. } | Actor::Contact { .. })
}

/// `https://*.example.com` covers every origin below it, with the same scheme and port, and not `https://example.com` itself.
fn covers(known: &str, origin: &str) -> bool {
    match known.split_once("://*.") {
        None => known == origin,
        Some((scheme, domain)) => origin
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .and_then(|host| host.strip_suffix(domain))
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| {
                !labels.is_empty()
                    && labels
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            }),
    }
}

/// Origins as browsers write them: scheme, host, and the port where it is not the scheme's own.
fn checked_origins(origins: &[String]) -> Result<Vec<String>> {
    if origins.len() > ORIGINS_MAX {
        return Err(Error::invalid(
            "allowedOrigins",
            format!("at most {ORIGINS_MAX} origins are allowed"),
        ));
    }
    let mut checked: Vec<String> = Vec::with_capacity(origins.len());
    for (at, origin) in origins.iter().enumerate() {
        let plain = origin.replacen("://*.", "://", 1);
        let is_origin = origin.len() <= ORIGIN_BYTES_MAX
            && !plain.contains('*')
            && url::Url::parse(&plain).is_ok_and(|url| {
                ["http", "https"].contains(&url.scheme())
                    && url.origin().ascii_serialization() == plain
            });
        if !is_origin {
            return Err(Error::invalid(
                format!("allowedOrigins.{at}"),
                "an origin looks like https://app.example.com, or https://*.example.com for all below it",
            ));
        }
        if !checked.contains(origin) {
            checked.push(origin.clone());
        }
    }
    Ok(checked)
}

/// The door of every tenant that asks. Clones share it.
#[derive(Clone)]
pub struct Fronts {
    env: Arc<Env>,
    known: Cache<TenantId, Arc<Front>>,
}

impl Fronts {
    pub fn new(env: Arc<Env>) -> Self {
        Self {
            env,
            known: Cache::builder()
                .max_capacity(TENANTS_MAX)
                .time_to_live(KEPT)
                .build(),
        }
    }

    /// How the tenant's door stands, as it was a few seconds ago at most.
    pub async fn of(&self, tenant: TenantId) -> Result<Arc<Front>> {
        let read = async {
            let cx = Cx::new(Arc::clone(&self.env), tenant, Actor::System);
            front(&cx.db()).await.map(Arc::new)
        };
        self.known
            .try_get_with(tenant, read)
            .await
            .map_err(|error| anyhow::anyhow!("a tenant's limits cannot be read: {error:#}").into())
    }

    /// Reads the tenant's door anew the next time.
    pub async fn forget(&self, tenant: TenantId) {
        self.known.invalidate(&tenant).await;
    }
}

/// How the tenant's door stands.
pub async fn front(db: &Scope) -> Result<Front> {
    match db.find::<tenant_front::Entity>().one().await? {
        Some(row) => Front::of(row),
        None => Ok(Front::default()),
    }
}

/// Sets all of the tenant's limits.
pub async fn set_limits(tx: &Tx, new: NewLimits) -> Result<Front> {
    for ((name, least, most), value) in BOUNDS.into_iter().zip(new) {
        let fits =
            |value: i32| u32::try_from(value).is_ok_and(|value| (least..=most).contains(&value));
        if value.is_some_and(|value| !fits(value)) {
            return Err(Error::invalid(
                name,
                format!("{name} is between {least} and {most}"),
            ));
        }
    }
    let front = change(tx, |row| {
        let [
            cost,
            points,
            key_points,
            subscriptions,
            contact_subscriptions,
        ] = new;
        row.cost_max = Set(cost);
        row.points_per_minute = Set(points);
        row.key_points_per_minute = Set(key_points);
        row.subscriptions_max = Set(subscriptions);
        row.contact_subscriptions_max = Set(contact_subscriptions);
    })
    .await?;
    let changes: serde_json::Map<String, serde_json::Value> = BOUNDS
        .into_iter()
        .zip(new)
        .map(|((name, ..), value)| (name.to_owned(), value.into()))
        .collect();
    tx.audit(Audited::new(
        "tenantLimitsSet",
        &tx.tenant(),
        changes.into(),
    ))
    .await?;
    Ok(front)
}

/// Changes what the tenant lets in; what is absent stays.
pub(super) async fn change_door(
    tx: &Tx,
    allowed_origins: Option<&[String]>,
    require_persisted_operations: Option<bool>,
    event_retention: MaybeUndefined<TimeDelta>,
) -> Result<Front> {
    let origins = allowed_origins.map(checked_origins).transpose()?;
    let front = change(tx, |row| {
        if let Some(origins) = &origins {
            row.allowed_origins = Set(serde_json::json!(origins));
        }
        if let Some(required) = require_persisted_operations {
            row.require_persisted_operations = Set(required);
        }
    })
    .await?;
    let mut changes = serde_json::json!({
        "allowedOrigins": origins,
        "requirePersistedOperations": require_persisted_operations,
    });
    if !event_retention.is_undefined() {
        let retention = event_retention.take();
        commands::keep_events(tx, retention).await?;
        changes["eventRetention"] = retention.map(commands::in_words).into();
    }
    tx.audit(Audited::new("tenantUpdate", &tx.tenant(), changes))
        .await?;
    Ok(front)
}

async fn change(tx: &Tx, change: impl Fn(&mut tenant_front::ActiveModel)) -> Result<Front> {
    queries::tenant(tx).await?.ok_or(Error::NotFound)?;
    let row = tx.find::<tenant_front::Entity>().locked().one().await?;
    let changed = match row {
        Some(row) => {
            let mut row = row.into_active_model();
            change(&mut row);
            row.updated_at = Set(tx.now());
            tx.update(row).await?
        }
        None => {
            let mut row = tenant_front::ActiveModel {
                id: Set(tx.new_id()),
                tenant_id: Set(tx.tenant()),
                cost_max: Set(None),
                points_per_minute: Set(None),
                key_points_per_minute: Set(None),
                subscriptions_max: Set(None),
                contact_subscriptions_max: Set(None),
                allowed_origins: Set(serde_json::json!([])),
                require_persisted_operations: Set(false),
                updated_at: Set(tx.now()),
            };
            change(&mut row);
            tx.insert(row).await.map_err(Error::contended)?
        }
    };
    Front::of(changed)
}

#[cfg(test)]
mod tests {
    use super::{checked_origins, covers};

    #[test]
    fn an_origin_is_covered_by_itself_or_by_a_pattern_above_it() {
        for (known, origin) in [
            ("https://a.example", "https://a.example"),
            ("https://*.a.example", "https://b.a.example"),
            ("https://*.a.example", "https://c.b.a.example"),
            ("http://*.a.example:8080", "http://b.a.example:8080"),
        ] {
            assert!(covers(known, origin), "{known} {origin}");
        }
        for (known, origin) in [
            ("https://a.example", "http://a.example"),
            ("https://a.example", "https://a.example:444"),
            ("https://*.a.example", "https://a.example"),
            ("https://*.a.example", "https://.a.example"),
            ("https://*.a.example", "https://xa.example"),
            ("https://*.a.example", "https://evil.example/.a.example"),
            ("https://*.a.example", "https://evil.example#.a.example"),
            ("https://*.a.example", "http://b.a.example"),
            ("https://*.a.example", "https://b.a.example:444"),
            ("https://*.a.example", "null"),
        ] {
            assert!(!covers(known, origin), "{known} {origin}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let checked = |origin: &str| checked_origins(&[origin.to_owned()]);
        for origin in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://*.example.com",
            "https://*.example.com:8443",
        ] {
            assert_eq!(checked(origin).unwrap(), [origin]);
        }
        for origin in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://App.example.com",
            "https://a.*.example.com",
            "ftp://a.example",
            "https://user@a.example",
        ] {
            assert!(checked(origin).is_err(), "{origin}");
        }
    }
}
