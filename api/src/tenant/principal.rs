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

use super::{commands, queries, rules, token};
use crate::base::{Actor, Cx, Env, Error, Result, fingerprint};

/// How stale a key's `lastUsedAt` may be: a busy key is written down once in this time.
const USE_RECORDED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// Longer credentials are refused unread.
const CREDENTIAL_BYTES_MAX: usize = 4096;

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
    /// Keys whose use is being written down just now.
    recording: Arc<Mutex<HashSet<Id<api_key::Entity>>>>,
}

/// What a credential is, by its looks.
enum Credential<'a> {
    Operator,
    ApiKey(&'a str),
    /// With the claims it makes, not yet believed.
    Jwt(&'a str, token::Unverified),
}

impl Principals {
    /// `operator_token`: without one nobody is the operator. `tasks` runs what outlives a request.
    pub fn new(env: Arc<Env>, operator_token: Option<&str>, tasks: TaskTracker) -> Self {
        Self {
            env,
            operator: operator_token.map(|token| Sha256::digest(token).into()),
            tasks,
            recording: Arc::default(),
        }
    }

    /// Tells who holds a credential, given as `Bearer …`.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] whatever is wrong with it: nothing tells a guesser how near a guess was.
    pub async fn authenticate(&self, credential: Option<&str>) -> Result<Caller> {
        let (scheme, token) = credential
            .and_then(|text| text.trim().split_once(' '))
            .ok_or(Error::Unauthenticated)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Error::Unauthenticated);
        }
        self.by_token(token.trim()).await
    }

    /// Tells who holds a token, given without a scheme.
    pub async fn by_token(&self, token: &str) -> Result<Caller> {
        match self.read(token).ok_or(Error::Unauthenticated)? {
            Credential::Operator => Ok(Caller {
                actor: Actor::Operator,
                tenant: None,
                expires_at: None,
            }),
            Credential::ApiKey(key) => self.by_key(key).await,
            // Members' and operators' issuers will be told apart here, by `iss`.
            Credential::Jwt(token, claims) if claims.iss.as_deref() == Some(token::ISSUER) => {
                self.by_contact_token(token, &claims).await
            }
            Credential::Jwt(..) => Err(Error::Unauthenticated),
        }
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
        token::peek(token).map(|claims| Credential::Jwt(token, claims))
    }

    async fn by_key(&self, key: &str) -> Result<Caller> {
        let now = self.env.clock.now();
        let row = queries::key_by_fingerprint(&self.env.db.system(), &fingerprint(key.as_bytes()))
            .await?
            .filter(|row| commands::is_working(row, now))
            .ok_or(Error::Unauthenticated)?;
        self.record_use(&row, now);
        let actor = match row.kind {
            api_key::Kind::Secret => Actor::SecretKey {
                id: row.id,
                scopes: commands::scopes_of(&row)?.into(),
            },
            api_key::Kind::Publishable => Actor::PublishableKey { id: row.id },
        };
        Ok(Caller {
            actor,
            tenant: Some(row.tenant_id),
            expires_at: row.expires_at,
        })
    }

    async fn by_contact_token(&self, token: &str, claims: &token::Unverified) -> Result<Caller> {
        let id = claims.tenant().ok_or(Error::Unauthenticated)?;
        let now = self.env.clock.now();
        let cx = Cx::new(Arc::clone(&self.env), id, Actor::System);
        let (contact, expires_at) = cx
            .snapshot(async |db| {
                let tenant = queries::tenant(db)
                    .await?
                    .filter(|tenant| tenant.suspended_at.is_none())
                    .ok_or(Error::Unauthenticated)?;
                let (contact, expires_at) = token::verify(&self.env.secrets, &tenant, token, now)?;
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

    /// Writes down that a key was used, beside the request and not in it, once a minute at most.
    fn record_use(&self, key: &api_key::Model, now: DateTime<Utc>) {
        let due = now - USE_RECORDED_EVERY;
        if key.last_used_at.is_some_and(|last| last > due) {
            return;
        }
        let id = key.id;
        if !self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id)
        {
            return;
        }
        let cx = Cx::new(Arc::clone(&self.env), key.tenant_id, Actor::System);
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
