//! The audit log: who changed what of a tenant, and from where.

use entity::{api_key, audit_entry};
use sea_orm::{ColumnTrait as _, QueryFilter as _, Set};
use serde_json::Value;

use super::{Actor, Result, Tx, cut, storable, storable_json};

const USER_AGENT_CHARS_MAX: usize = 300;

/// One thing done, as the audit log keeps it.
#[derive(Clone, Debug)]
pub struct Audited {
    /// The mutation's name.
    pub action: &'static str,
    /// The id of what it was done to.
    pub object: Option<String>,
    /// An object that says what changed, without secrets.
    pub changes: Value,
}

impl Audited {
    pub fn new(action: &'static str, object: &impl ToString, changes: Value) -> Self {
        Self {
            action,
            object: Some(object.to_string()),
            changes,
        }
    }
}

impl Tx {
    /// Writes down what is done, in the transaction that does it. Who and from where is the unit of work's own: nobody
    /// can name another.
    pub async fn audit(&self, done: Audited) -> Result<()> {
        let asker = self.asker();
        let (actor_id, actor_name) = self.named(&asker.actor).await?;
        let origin = &asker.origin;
        self.insert(audit_entry::ActiveModel {
            id: Set(self.new_id()),
            tenant_id: Set(self.tenant()),
            at: Set(self.now()),
            actor_kind: Set(asker.actor.source().to_owned()),
            actor_id: Set(actor_id.map(storable)),
            actor_name: Set(actor_name.map(storable)),
            action: Set(done.action.to_owned()),
            object_id: Set(done.object.map(storable)),
            changes: Set(storable_json(done.changes)),
            ip: Set(origin.ip.map(|ip| ip.to_string())),
            user_agent: Set(origin
                .user_agent
                .clone()
                .map(|text| storable(cut(text, USER_AGENT_CHARS_MAX)))),
            request_id: Set(origin.request_id.clone()),
        })
        .await?;
        Ok(())
    }

    /// An actor's id, and what people know it by: a key's prefix and name, a member's subject.
    async fn named(&self, actor: &Actor) -> Result<(Option<String>, Option<String>)> {
        Ok(match actor {
            Actor::SecretKey { id, .. } | Actor::PublishableKey { id } => {
                let key = self
                    .find::<api_key::Entity>()
                    .filter(api_key::Column::Id.eq(*id))
                    .one()
                    .await?;
                let name = key.map(|key| format!("{} ({})", key.name, key.prefix));
                (Some(id.to_string()), name)
            }
            Actor::Member {
                issuer, subject, ..
            } => (
                Some(format!("{issuer}/{subject}")),
                Some(subject.to_string()),
            ),
            Actor::Contact { id, .. } => (Some(id.to_string()), None),
            Actor::Operator | Actor::System => (None, None),
        })
    }
}
