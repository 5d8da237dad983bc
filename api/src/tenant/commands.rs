use std::sync::Arc;

use async_graphql::ScalarType as _;
use chrono::{DateTime, TimeDelta, Utc};
use entity::{ContactId, Id, TenantId, api_key, contact, tenant};
use sea_orm::{
    ColumnTrait, Condition, IntoActiveModel, QueryFilter, Set,
    sea_query::{Expr, ExprTrait},
};

use serde_json::{Value, json};

use super::{queries, rules, token};
use crate::base::{Actor, Audited, Cx, Env, Error, ErrorCode, Origin, Result, Tx, gql::Duration};

/// Keys of one tenant that work at the same time.
const KEYS_MAX: u64 = 100;

/// How long a rotated key may go on working.
const GRACE_MAX: TimeDelta = TimeDelta::days(30);

/// How long a contact token may live: it cannot be revoked singly.
pub const CONTACT_TOKEN_LIFETIME_MAX: TimeDelta = TimeDelta::hours(24);

/// A key about to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub kind: api_key::Kind,
    pub name: String,
    /// Of [`SCOPES`](crate::base::gql::SCOPES); empty for a publishable key.
    pub scopes: Vec<String>,
}

/// A key just made: the only time that the whole of it is known.
pub struct IssuedKey {
    pub row: api_key::Model,
    /// The credential itself.
    pub key: String,
}

/// A tenant just made, with its first keys.
pub struct NewTenant {
    pub tenant: tenant::Model,
    /// Holds every scope.
    pub secret: IssuedKey,
    pub publishable: IssuedKey,
}

/// A contact token just signed.
pub struct ContactToken {
    pub token: String,
    pub contact: ContactId,
    pub expires_at: DateTime<Utc>,
}

/// Makes a tenant from within, as the command line does.
pub async fn create_tenant(env: &Arc<Env>, name: &str) -> Result<NewTenant> {
    create_tenant_as(env, name, Actor::System, Origin::default()).await
}

/// Makes a tenant, with a secret key that holds every scope and a publishable key.
pub(super) async fn create_tenant_as(
    env: &Arc<Env>,
    name: &str,
    actor: Actor,
    origin: Origin,
) -> Result<NewTenant> {
    let name = rules::checked_name(name)?;
    let id = env.ids.next(env.clock.now());
    let cx = Cx::asked(Arc::clone(env), id, actor, origin);
    cx.write(async |tx| {
        let tenant = tx
            .insert(tenant::ActiveModel {
                id: Set(id),
                name: Set(name.clone()),
                token_key: Set(token::draw_signing_key(env, id)?),
                created_at: Set(tx.now()),
                suspended_at: Set(None),
                event_retention_s: Set(None),
            })
            .await?;
        let first = |kind, scopes: &[&str]| NewKey {
            kind,
            name: "first".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        tx.audit(Audited::new("tenantCreate", &id, json!({ "name": name })))
            .await?;
        Ok(NewTenant {
            tenant,
            secret: issue(tx, first(api_key::Kind::Secret, &["*"])).await?,
            publishable: issue(tx, first(api_key::Kind::Publishable, &[])).await?,
        })
    })
    .await
}

/// Suspends the tenant: from now on its credentials are refused. Suspending again changes nothing.
pub async fn suspend_tenant(tx: &Tx) -> Result<tenant::Model> {
    let now = tx.now();
    tx.update_many::<tenant::Entity>(|rows| {
        rows.col_expr(tenant::Column::SuspendedAt, Expr::value(now))
            .filter(tenant::Column::SuspendedAt.is_null())
    })
    .await?;
    tx.revokes().await?;
    told(tx, "tenantSuspend").await
}

/// Ends the tenant's suspension; its credentials work again.
pub async fn resume_tenant(tx: &Tx) -> Result<tenant::Model> {
    tx.update_many::<tenant::Entity>(|rows| {
        rows.col_expr(
            tenant::Column::SuspendedAt,
            Expr::value(None::<DateTime<Utc>>),
        )
    })
    .await?;
    told(tx, "tenantResume").await
}

/// How long events are kept at least: what hears of them late, by a retry or after a long stop, still finds them.
const EVENT_RETENTION_MIN: TimeDelta = TimeDelta::days(30);

/// Sets how long the tenant's events are kept after their receipt; `None`: for ever.
pub(super) async fn keep_events(tx: &Tx, retention: Option<TimeDelta>) -> Result<()> {
    if retention.is_some_and(|retention| retention < EVENT_RETENTION_MIN) {
        return Err(Error::invalid(
            "eventRetention",
            "events are kept for P30D at least",
        ));
    }
    let seconds = retention.map(|retention| retention.num_seconds());
    tx.update_many::<tenant::Entity>(|rows| {
        rows.col_expr(tenant::Column::EventRetentionS, Expr::value(seconds))
    })
    .await?;
    Ok(())
}

/// Does the same for the operator; the tenant's log tells of it.
pub(super) async fn set_retention(tx: &Tx, retention: Option<TimeDelta>) -> Result<tenant::Model> {
    keep_events(tx, retention).await?;
    let tenant = queries::tenant(tx).await?.ok_or(Error::NotFound)?;
    let changes = json!({"eventRetention": retention.map(in_words)});
    tx.audit(Audited::new("tenantRetentionSet", &tenant.id, changes))
        .await?;
    Ok(tenant)
}

/// A length of time as the schema writes it.
pub(super) fn in_words(time: TimeDelta) -> Value {
    Duration(time).to_value().into_json().unwrap_or_default()
}

/// The tenant as it is now, with an entry about what was done to it.
async fn told(tx: &Tx, action: &'static str) -> Result<tenant::Model> {
    let tenant = queries::tenant(tx).await?.ok_or(Error::NotFound)?;
    tx.audit(Audited::new(action, &tenant.id, json!({})))
        .await?;
    Ok(tenant)
}

/// Deletes the tenant and every row of its own, for good. `name` is its name, as a confirmation.
pub async fn delete_tenant(tx: &Tx, name: &str) -> Result<TenantId> {
    let tenant = queries::tenant(tx).await?.ok_or(Error::NotFound)?;
    if tenant.name != name {
        return Err(Error::invalid(
            "name",
            "this is not the tenant's name, so nothing was deleted",
        ));
    }
    tx.delete::<tenant::Entity>(tenant.id).await?;
    tx.revokes().await?;
    // Stays when the tenant's rows are gone.
    tx.audit(Audited::new(
        "tenantDelete",
        &tenant.id,
        json!({ "name": name }),
    ))
    .await?;
    Ok(tenant.id)
}

/// Makes a key. `actor` cannot give it a scope that it does not hold itself.
pub async fn create_key(tx: &Tx, actor: &Actor, new: NewKey) -> Result<IssuedKey> {
    let now = tx.now();
    let new = NewKey {
        kind: new.kind,
        name: rules::checked_name(&new.name)?,
        scopes: rules::checked_scopes(new.kind, &new.scopes)?,
    };
    rules::may_hand_on(actor, &new.scopes)?;
    let working = tx
        .find::<api_key::Entity>()
        .filter(works_at(now))
        .count()
        .await?;
    if working >= KEYS_MAX {
        return Err(Error::user(
            ErrorCode::LimitReached,
            "name",
            format!("a tenant has at most {KEYS_MAX} keys: revoke one first"),
        ));
    }
    let issued = issue(tx, new).await?;
    let changes = shown(&issued.row);
    tx.audit(Audited::new("apiKeyCreate", &issued.row.id, changes))
        .await?;
    Ok(issued)
}

/// What the audit log says of a key.
fn shown(key: &api_key::Model) -> Value {
    json!({"name": key.name, "prefix": key.prefix, "scopes": key.scopes})
}

async fn issue(tx: &Tx, new: NewKey) -> Result<IssuedKey> {
    let key = rules::draw_key(new.kind, tx.rng());
    let row = tx
        .insert(api_key::ActiveModel {
            id: Set(tx.new_id()),
            tenant_id: Set(tx.tenant()),
            kind: Set(new.kind),
            name: Set(new.name),
            prefix: Set(rules::shown(&key)),
            hash: Set(crate::base::fingerprint(key.as_bytes())),
            scopes: Set(serde_json::json!(new.scopes)),
            created_at: Set(tx.now()),
            last_used_at: Set(None),
            expires_at: Set(None),
            revoked_at: Set(None),
        })
        .await?;
    Ok(IssuedKey { row, key })
}

/// The keys that are accepted at `now`.
fn works_at(now: DateTime<Utc>) -> Condition {
    use api_key::Column::{ExpiresAt, RevokedAt};
    Condition::all()
        .add(RevokedAt.is_null())
        .add(ExpiresAt.is_null().or(ExpiresAt.gt(now)))
}

/// Makes a key of the same kind, name and scopes; the old one goes on working for `grace` (0 to 30 days).
pub async fn rotate_key(
    tx: &Tx,
    actor: &Actor,
    id: Id<api_key::Entity>,
    grace: TimeDelta,
) -> Result<IssuedKey> {
    if grace < TimeDelta::zero() || grace > GRACE_MAX {
        return Err(Error::invalid(
            "graceFor",
            format!(
                "the grace period is between PT0S and P{}D",
                GRACE_MAX.num_days()
            ),
        ));
    }
    let old = key(tx, id).await?;
    if !is_working(&old, tx.now()) {
        return Err(Error::user(
            ErrorCode::Conflict,
            "id",
            "this key has expired or was revoked: create a new one",
        ));
    }
    let scopes = scopes_of(&old)?;
    rules::may_hand_on(actor, &scopes)?;
    let ends = tx.now() + grace;
    let issued = issue(
        tx,
        NewKey {
            kind: old.kind,
            name: old.name.clone(),
            scopes,
        },
    )
    .await?;
    let sooner = old
        .expires_at
        .filter(|already| *already < ends)
        .unwrap_or(ends);
    let mut old = old.into_active_model();
    old.expires_at = Set(Some(sooner));
    tx.update(old).await?;
    tx.revokes().await?;
    let changes = json!({
        "newKeyId": issued.row.id.to_string(),
        "newPrefix": issued.row.prefix,
        "oldWorksUntil": sooner,
    });
    tx.audit(Audited::new("apiKeyRotate", &id, changes)).await?;
    Ok(issued)
}

/// Ends a key at once. Revoking it again changes nothing.
pub async fn revoke_key(tx: &Tx, id: Id<api_key::Entity>) -> Result<api_key::Model> {
    let row = key(tx, id).await?;
    if row.revoked_at.is_some() {
        return Ok(row);
    }
    let mut row = row.into_active_model();
    row.revoked_at = Set(Some(tx.now()));
    let row = tx.update(row).await?;
    tx.revokes().await?;
    tx.audit(Audited::new("apiKeyRevoke", &id, shown(&row)))
        .await?;
    Ok(row)
}

async fn key(tx: &Tx, id: Id<api_key::Entity>) -> Result<api_key::Model> {
    tx.find::<api_key::Entity>()
        .filter(api_key::Column::Id.eq(id))
        .locked()
        .one()
        .await?
        .ok_or_else(no_such_key)
}

fn no_such_key() -> Error {
    Error::user(ErrorCode::NotFound, "id", "there is no such key")
}

/// Notes that a key was used at `at`.
pub(super) async fn record_use(tx: &Tx, id: Id<api_key::Entity>, at: DateTime<Utc>) -> Result<u64> {
    tx.update_many::<api_key::Entity>(|rows| {
        rows.col_expr(api_key::Column::LastUsedAt, Expr::value(at))
            .filter(api_key::Column::Id.eq(id))
    })
    .await
}

pub(super) fn is_working(key: &api_key::Model, now: DateTime<Utc>) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now)
}

pub(super) fn scopes_of(key: &api_key::Model) -> Result<Vec<String>> {
    Ok(serde_json::from_value(key.scopes.clone())?)
}

/// Signs a token for a contact of the caller's tenant; one that was merged stands for the contact it became.
pub async fn mint_contact_token(
    cx: &Cx,
    contact: ContactId,
    lifetime: TimeDelta,
) -> Result<ContactToken> {
    if lifetime < TimeDelta::seconds(1) || lifetime > CONTACT_TOKEN_LIFETIME_MAX {
        return Err(Error::invalid(
            "expiresIn",
            format!(
                "a contact token lives between PT1S and PT{}H",
                CONTACT_TOKEN_LIFETIME_MAX.num_hours()
            ),
        ));
    }
    let now = cx.now();
    let expires_at = now + lifetime;
    cx.write(async |tx| {
        let tenant = queries::tenant(tx).await?.ok_or(Error::NotFound)?;
        let contact = tx
            .get::<contact::Entity>(contact)
            .await?
            .map(|row| row.merged_into.unwrap_or(row.id))
            .ok_or_else(|| {
                Error::user(ErrorCode::NotFound, "contactId", "there is no such contact")
            })?;
        let changes = json!({ "expiresAt": expires_at });
        tx.audit(Audited::new("contactTokenCreate", &contact, changes))
            .await?;
        Ok(ContactToken {
            token: token::sign(cx.env(), &tenant, contact, now, expires_at)?,
            contact,
            expires_at,
        })
    })
    .await
}
