//! Who is asking, for which tenant, at what time: the one thing passed down.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use entity::{ContactId, Id, TenantId, api_key, issuer};
use futures_util::future::BoxFuture;

use super::{
    Bus, Clock, Db, Ids, Kept, MemberRole, Memory, Module, Result, Revocations, Rng, Scope,
    Secrets, Tx,
};

/// Who asks. See the table "Who asks" in `docs/architecture.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The tenant's backend.
    SecretKey {
        id: Id<api_key::Entity>,
        scopes: Arc<[String]>,
    },
    /// One of the tenant's own people, whom its identity provider vouches for.
    Member {
        issuer: Id<issuer::Entity>,
        /// Who it is, in the provider's words: unique for the issuer.
        subject: Arc<str>,
        role: MemberRole,
    },
    /// A browser: may write, reads no contact.
    PublishableKey { id: Id<api_key::Entity> },
    /// One person, until the token expires.
    Contact {
        id: ContactId,
        expires_at: DateTime<Utc>,
    },
    /// The one who hosts; nothing inside a tenant.
    Operator,
    /// The product itself: the worker, the command line.
    System,
}

impl Actor {
    /// Whether this actor holds `scope`, such as `contacts:read`. `x:write` includes `x:read`.
    pub fn holds(&self, scope: &str) -> bool {
        match self {
            Self::SecretKey { scopes, .. } => scopes.iter().any(|held| {
                held == "*"
                    || held == scope
                    || scope
                        .strip_suffix(":read")
                        .is_some_and(|noun| held.strip_suffix(":write") == Some(noun))
            }),
            Self::Member { role, .. } => role.holds(scope),
            Self::System => true,
            Self::PublishableKey { .. } | Self::Contact { .. } | Self::Operator => false,
        }
    }
    /// What is written down as the source of what this actor says.
    pub const fn source(&self) -> &'static str {
        match self {
            Self::SecretKey { .. } => "secret_key",
            Self::Member { .. } => "member",
            Self::PublishableKey { .. } => "publishable_key",
            Self::Contact { .. } => "contact",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
    /// One text a principal, for idempotency keys.
    pub fn principal(&self) -> String {
        match self {
            Self::SecretKey { id, .. } | Self::PublishableKey { id } => id.to_string(),
            Self::Member {
                issuer, subject, ..
            } => format!("{issuer}/{subject}"),
            Self::Contact { id, .. } => id.to_string(),
            Self::Operator | Self::System => self.source().to_owned(),
        }
    }
}

/// What a process holds one of: made by the composition root.
pub struct Env {
    pub db: Db,
    pub clock: Clock,
    pub ids: Ids,
    pub rng: Rng,
    pub secrets: Secrets,
    pub bus: Bus,
    pub revocations: Revocations,
    pub memory: Arc<Memory>,
    /// Every room's declaration.
    pub modules: &'static [&'static Module],
    pub kept: Kept,
}

/// Where a request came from: what the audit log keeps of it beside who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
}

/// Who asks, and from where.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) actor: Actor,
    pub(super) origin: Origin,
}

/// What is written down in the transaction of each write, see [`Cx::note_writes`].
pub type Note = Arc<dyn for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// Clones share what notes their writes.
#[derive(Clone)]
pub struct Cx {
    env: Arc<Env>,
    tenant: TenantId,
    asker: Arc<Asker>,
    note: Arc<Mutex<Option<Note>>>,
}

/// Ends the notes of a [`Cx`] when it is dropped.
pub struct Noting(Arc<Mutex<Option<Note>>>);

impl Drop for Noting {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Cx {
    /// For what comes from within, such as the worker's and the command line's work: it has no origin.
    pub fn new(env: Arc<Env>, tenant: TenantId, actor: Actor) -> Self {
        Self::asked(env, tenant, actor, Origin::default())
    }
    /// For what a request asks.
    pub fn asked(env: Arc<Env>, tenant: TenantId, actor: Actor, origin: Origin) -> Self {
        Self {
            env,
            tenant,
            asker: Arc::new(Asker { actor, origin }),
            note: Arc::default(),
        }
    }
    /// Reads of this tenant, each in a transaction of its own.
    pub fn db(&self) -> Scope {
        self.env.db.tenant(self.tenant)
    }
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }
    pub fn actor(&self) -> &Actor {
        &self.asker.actor
    }
    pub fn env(&self) -> &Env {
        &self.env
    }
    pub fn now(&self) -> DateTime<Utc> {
        self.env.clock.now()
    }
    /// Several reads in one transaction: they see one state, and pay its round trips once.
    pub async fn snapshot<T>(&self, work: impl AsyncFnOnce(&Scope) -> Result<T>) -> Result<T> {
        self.env.db.snapshot(self.tenant, work).await
    }
    /// Runs `work` in one transaction: all of it happens, or none. It may run more than once, when
    /// another write got in the way.
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&Tx) -> Result<T> + Clone) -> Result<T> {
        let note = self
            .note
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let db = &self.env.db;
        let Some(note) = note else {
            return db.write(&self.env, self.tenant, &self.asker, work).await;
        };
        let noted = async move |tx: &Tx| {
            let done = work(tx).await?;
            note(tx).await?;
            Ok(done)
        };
        db.write(&self.env, self.tenant, &self.asker, noted).await
    }
    /// Has each write of this `Cx` and its clones note in its own transaction that it happened, until what this gives is
    /// dropped. A note that fails undoes the write.
    pub fn note_writes(&self, note: Note) -> Noting {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
        Noting(Arc::clone(&self.note))
    }
}
