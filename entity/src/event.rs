//! The log of everything that happened; also the outbox. Append-only.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// Place in the log, together with `xid`; given by the database.
    pub seq: i64,
    /// PostgreSQL: the writing transaction, so that a late commit is never skipped. SQLite: 0.
    pub xid: i64,
    /// Hash of the contact, 0 to 15.
    pub partition: i32,
    /// Absent where the event names nobody.
    pub contact_id: Option<Id<crate::contact::Entity>>,
    /// The identifier that it came by, so that an unmerge can take it along.
    pub identifier_id: Option<Id<crate::contact_identifier::Entity>>,
    pub name: String,
    pub properties: Json,
    pub context: Json,
    pub source: String,
    /// The client's own id of it, unique in the tenant: what makes a retry harmless.
    pub message_id: Option<String>,
    pub caused_by: Option<Id<Entity>>,
    /// 0 for what came from outside; one more for each reaction.
    pub causation_depth: i32,
    pub occurred_at: DateTimeUtc,
    pub received_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "event";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
