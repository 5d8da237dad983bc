//! From a credential to the one who holds it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::{Id, TenantId, api_key, contact};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::task::TaskTracker;

use super::{
    commands,
    issuer::{self, Jwks},
    jwt::{JWT_BYTES_MAX, Jwt},
    queries,
    remembered::{Keys, Remembered},
    rules, token,
};
use crate::base::{Actor, Cx, Env, Error, Outbound, Result, fingerprint};

/// How stale a key's `lastUsedAt` may be: a busy key is written down once in this time.
const USE_RECORDED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// Longer credentials are refused unread.
const CREDENTIAL_BYTES_MAX: usize = JWT_BYTES_MAX;

/// Who asks, in whose house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    /// Absent for the operator.
    pub tenant: Option<TenantId>,
    /// When the credential ends, where it does.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Knows every principal by its credential. One a process.
#[derive(Clone)]
pub struct Principals {
    env: Arc<Env>,
    /// SHA-256: digests have one length, so that comparing them tells nothing of the token's.
    operator: Option<[u8; 32]>,
    tasks: TaskTracker,
    keys: Keys,
    jwks: Jwks,
    /// Keys whose use is being written down just now.
    recording: Arc<Mutex<HashSet<Id<api_key::Entity>>>>,
}

/// What a credential is, by its looks.
enum Credential<'a> {
    Operator,
    ApiKey(&'a str),
    /// Well formed, and not yet believed.
    Jwt(Jwt<'a>),
}

impl Principals {
    /// `operator_token`: without one nobody is the operator. `tasks` runs what outlives a request.
    pub fn new(
        env: Arc<Env>,
        operator_token: Option<&str>,
        outbound: Outbound,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            jwks: Jwks::new(outbound, env.clock.clone()),
            env,
            operator: operator_token.map(|token| Sha256::digest(token).into()),
            tasks,
            keys: Keys::new(),
            recording: Arc::default(),
        }
    }

    /// Tells who holds a credential, given as `Bearer …`. `tenant` is the tenant that the request names, if it names one:
    /// it only narrows, so that a credential of another tenant is refused.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] whatever is wrong with it: nothing tells a guesser how near a guess was.
    /// [`Error::Unavailable`] where the credential's issuer does not answer.
    pub async fn authenticate(
        &self,
        credential: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Caller> {
        let (scheme, token) = credential
            .and_then(|text| text.trim().split_once(' '))
            .ok_or(Error::Unauthenticated)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Error::Unauthenticated);
        }
        let tenant = match tenant {
            Some(named) => Some(TenantId::parse(named.trim()).ok_or(Error::Unauthenticated)?),
            None => None,
        };
        self.by_token_at(token.trim(), tenant).await
    }

    /// Tells who holds a token, given without a scheme.
    pub async fn by_token(&self, token: &str) -> Result<Caller> {
        self.by_token_at(token, None).await
    }

    /// Tells who holds a token at the tenant that the request names.
    pub async fn by_token_at(&self, token: &str, named: Option<TenantId>) -> Result<Caller> {
        let caller = match self.read(token).ok_or(Error::Unauthenticated)? {
            Credential::Operator => Caller {
                actor: Actor::Operator,
                tenant: None,
                expires_at: None,
            },
            Credential::ApiKey(key) => self.by_key(key).await?,
            Credential::Jwt(jwt) if jwt.text("iss") == Some(token::ISSUER) => {
                self.by_contact_token(&jwt).await?
            }
            Credential::Jwt(jwt) => self.by_issuer(&jwt, named).await?,
        };
        match (named, caller.tenant) {
            (Some(named), Some(own)) if named != own => Err(Error::Unauthenticated),
            _ => Ok(caller),
        }
    }

    /// What credentials are checked under at this moment: another value tells that one has ended since, `None` that it cannot be
    /// told.
    pub fn revocations(&self) -> Option<u64> {
        self.env.revocations.now()
    }

    /// Whether what let the caller in still holds: its key, its issuer, and its tenant's standing. That it expires is the caller's own
    /// knowledge.
    pub async fn still_holds(&self, caller: &Caller) -> Result<bool> {
        let Some(tenant) = caller.tenant else {
            return Ok(true);
        };
        let now = self.env.clock.now();
        let cx = Cx::new(Arc::clone(&self.env), tenant, Actor::System);
        cx.snapshot(async |db| {
            let stands = queries::tenant(db)
                .await?
                .is_some_and(|tenant| tenant.suspended_at.is_none());
            Ok(stands
                && match &caller.actor {
                    Actor::SecretKey { id, .. } | Actor::PublishableKey { id } => db
                        .get::<api_key::Entity>(*id)
                        .await?
                        .is_some_and(|row| commands::is_working(&row, now)),
                    Actor::Member { issuer, .. } => db.get(*issuer).await?.is_some(),
                    Actor::Contact { id, .. } => db.get::<contact::Entity>(*id).await?.is_some(),
                    Actor::Operator | Actor::System => true,
                })
        })
        .await
    }

    fn read<'a>(&self, token: &'a str) -> Option<Credential<'a>> {
        if token.is_empty() || token.len() > CREDENTIAL_BYTES_MAX {
            return None;
        }
        let given: [u8; 32] = Sha256::digest(token).into();
        if self
            .operator
            .is_some_and(|operator| operator.ct_eq(&given).into())
        {
            return Some(Credential::Operator);
        }
        if rules::looks_like_key(token) {
            return Some(Credential::ApiKey(token));
        }
        Jwt::read(token).map(Credential::Jwt)
    }

    async fn by_key(&self, key: &str) -> Result<Caller> {
        let now = self.env.clock.now();
        let key = self.key(fingerprint(key.as_bytes()), now).await?;
        if !commands::is_working(&key.row, now) {
            return Err(Error::Unauthenticated);
        }
        self.record_use(&key, now);
        let row = &key.row;
        let actor = match row.kind {
            api_key::Kind::Secret => Actor::SecretKey {
                id: row.id,
                scopes: commands::scopes_of(row)?.into(),
            },
            api_key::Kind::Publishable => Actor::PublishableKey { id: row.id },
        };
        Ok(Caller {
            actor,
            tenant: Some(row.tenant_id),
            expires_at: row.expires_at,
        })
    }

    /// The key with this fingerprint, remembered or looked up.
    async fn key(&self, fingerprint: String, now: DateTime<Utc>) -> Result<Arc<Remembered>> {
        // Before the look-up: what ends from here on is not overlooked.
        let revocations = self.env.revocations.now();
        if let Some(known) = self.keys.get(&fingerprint, revocations, now).await {
            return Ok(known);
        }
        let row = queries::key_by_fingerprint(&self.env.db.system(), &fingerprint)
            .await?
            .ok_or(Error::Unauthenticated)?;
        let known = Arc::new(Remembered::new(row, now, revocations));
        self.keys.put(fingerprint, &known).await;
        Ok(known)
    }

    async fn by_contact_token(&self, jwt: &Jwt<'_>) -> Result<Caller> {
        let id = token::tenant(jwt).ok_or(Error::Unauthenticated)?;
        let now = self.env.clock.now();
        let cx = Cx::new(Arc::clone(&self.env), id, Actor::System);
        let (contact, expires_at) = cx
            .snapshot(async |db| {
                let tenant = queries::tenant(db)
                    .await?
                    .filter(|tenant| tenant.suspended_at.is_none())
                    .ok_or(Error::Unauthenticated)?;
                let (contact, expires_at) = token::verify(&self.env.secrets, &tenant, jwt, now)?;
                let contact = db
                    .get::<contact::Entity>(contact)
                    .await?
                    .ok_or(Error::Unauthenticated)?;
                Ok((contact.merged_into.unwrap_or(contact.id), expires_at))
            })
            .await?;
        Ok(Caller {
            actor: Actor::Contact {
                id: contact,
                expires_at,
            },
            tenant: Some(id),
            expires_at: Some(expires_at),
        })
    }

    /// A token of a tenant's own issuer. Which tenant, the request names, or else the token, by holding its id in `aud`;
    /// nothing else chooses whose keys it is checked with.
    async fn by_issuer(&self, jwt: &Jwt<'_>, named: Option<TenantId>) -> Result<Caller> {
        let mut told = jwt.audiences().into_iter().filter_map(TenantId::parse);
        let tenant = match (named, told.next(), told.next()) {
            (Some(named), ..) => named,
            (None, Some(one), None) => one,
            _ => return Err(Error::Unauthenticated),
        };
        let cx = Cx::new(Arc::clone(&self.env), tenant, Actor::System);
        let vouched = issuer::vouched(&cx, &self.jwks, jwt).await?;
        Ok(Caller {
            actor: vouched.actor,
            tenant: Some(tenant),
            expires_at: Some(vouched.ends_at),
        })
    }

    /// Writes down that a key was used, beside the request and not in it, once a minute at most.
    fn record_use(&self, key: &Remembered, now: DateTime<Utc>) {
        let id = key.row.id;
        let due = key.is_use_due(now, USE_RECORDED_EVERY)
            && self
                .recording
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id);
        if !due {
            return;
        }
        let cx = Cx::new(Arc::clone(&self.env), key.row.tenant_id, Actor::System);
        let recording = Arc::clone(&self.recording);
        self.tasks.spawn(async move {
            let recorded = cx
                .write(async |tx| commands::record_use(tx, id, now).await)
                .await;
            if let Err(error) = recorded {
                tracing::warn!(%error, key = %id, "the use of a key could not be written down");
            }
            recording
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
        });
    }
}
