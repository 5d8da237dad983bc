//! Work that takes longer than a request: what it is, how far it has come and what came of it.

use sea_orm::entity::prelude::*;

use crate::{Id, Named, TenantId, TenantOwned};

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Entity>,
    pub tenant_id: TenantId,
    /// Names the code that does it.
    pub kind: String,
    pub state: State,
    /// Whom it is about, where that is one contact.
    pub contact_id: Option<Id<crate::contact::Entity>>,
    pub input: Json,
    /// Where it goes on: committed with the work that led there.
    pub cursor: Json,
    pub done: i64,
    /// Absent while nobody knows how much there is.
    pub total: Option<i64>,
    pub result: Option<Json>,
    /// Why it failed, or why it waits.
    pub error: Option<String>,
    /// Failures in a row.
    pub attempts: i32,
    pub run_at: DateTimeUtc,
    /// The run that holds it, and until when.
    pub leased_by: Option<Uuid>,
    pub leased_until: Option<DateTimeUtc>,
    /// The principal who asked for it.
    pub created_by: String,
    pub created_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub finished_at: Option<DateTimeUtc>,
    /// When what it read and what it made are deleted.
    pub expires_at: Option<DateTimeUtc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum State {
    /// What it is to read is still being sent.
    Open,
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl ActiveModelBehavior for ActiveModel {}

impl Named for Entity {
    const PREFIX: &'static str = "job";
}

impl TenantOwned for Entity {
    const TENANT: Column = Column::TenantId;
}
