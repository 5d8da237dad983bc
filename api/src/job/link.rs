//! Links to what a job made: whoever holds one may download it, until it expires.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Id, TenantId,
    job::{self, State},
    job_chunk::Side,
};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::bytes;
use crate::base::{Cx, Env, Result, Scope, Secrets};

/// How long a link holds. Whoever may see the job is given a fresh one whenever they ask.
const HOLDS: TimeDelta = TimeDelta::minutes(15);

/// Tenant, job and second: 16 + 16 + 8 bytes.
const BODY_BYTES: usize = 40;
const MARK_BYTES: usize = 16;

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub tenant: TenantId,
    pub job: Id<job::Entity>,
    pub expires_at: DateTime<Utc>,
}

impl Link {
    pub fn new(cx: &Cx, job: Id<job::Entity>) -> Self {
        Self {
            tenant: cx.tenant(),
            job,
            expires_at: cx.now() + HOLDS,
        }
    }
    pub fn token(&self, secrets: &Secrets) -> String {
        let mut body = [0; BODY_BYTES];
        body[..16].copy_from_slice(self.tenant.uuid().as_bytes());
        body[16..32].copy_from_slice(self.job.uuid().as_bytes());
        body[32..].copy_from_slice(&self.expires_at.timestamp().to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode([&body[..], &mark(secrets, &body)].concat())
    }
    /// Reads a token of ours that has not expired.
    pub fn read(env: &Env, token: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, given) = bytes.split_at_checked(BODY_BYTES)?;
        let body: [u8; BODY_BYTES] = body.try_into().ok()?;
        if !bool::from(mark(&env.secrets, &body).ct_eq(given)) {
            return None;
        }
        let uuid = |from: usize| Uuid::from_slice(&body[from..from + 16]).ok();
        let second = i64::from_be_bytes(body[32..].try_into().ok()?);
        let expires_at = DateTime::from_timestamp(second, 0)?;
        (env.clock.now() < expires_at).then_some(Self {
            tenant: Id::from_uuid(uuid(0)?),
            job: Id::from_uuid(uuid(16)?),
            expires_at,
        })
    }
}

fn mark(secrets: &Secrets, body: &[u8; BODY_BYTES]) -> [u8; MARK_BYTES] {
    secrets.mark(&[b"download/", &body[..]].concat())
}

/// What a job made, to be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub name: String,
    pub content_type: String,
    pub size_bytes: i64,
}

/// What the job made, if it has ended well and made something.
pub async fn artifact(scope: &Scope, row: &job::Model) -> Result<Option<Artifact>> {
    if row.state != State::Succeeded {
        return Ok(None);
    }
    let file = row.result.as_ref().and_then(|result| result.get("file"));
    let text = |key: &str| Some(file?.get(key)?.as_str()?.to_owned());
    let (Some(name), Some(content_type)) = (text("name"), text("contentType")) else {
        return Ok(None);
    };
    let size_bytes = bytes::size(scope, row.id, Side::Output).await?;
    Ok((size_bytes > 0).then_some(Artifact {
        name,
        content_type,
        size_bytes,
    }))
}
